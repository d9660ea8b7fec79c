"""coin_monitor.py beside a real Chia: what its wallet has is what is reported, and each coin is told once."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from testbed.real_chia import CHECKOUT, RealChia, why_no_chia

pytestmark = [pytest.mark.root, pytest.mark.timeout(500)]
_PAYMENT = 123_456_789_012
_SILENT_MINUTES = 0.1


@dataclass
class Monitor:
    """A coin_monitor.py of its own beside that Chia."""

    chia: RealChia
    base: Path
    wallet: str  # auto, always or never

    def __post_init__(self) -> None:
        self.base.mkdir()
        self.config = self.base / "config"
        self.config.write_text(
            f"[system_settings]\nserver_name = farmer01\n[paths]\nlogs = {self.base}/logs\nstate = {self.base}/state\n"
            f"locks = {self.base}/locks\n[chia]\nhome = {self.chia.root}\nsilent_minutes = {_SILENT_MINUTES}\n"
            f"[coins]\nwallet = {self.wallet}\nwallet_port = {self.chia.wallet_port}\n"
        )

    def run(self, *arguments: str) -> str:
        done = subprocess.run(
            self.chia.inside(
                sys.executable, str(CHECKOUT / "coin_monitor.py"), *arguments, "--config", str(self.config)
            ),
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr + self.told
        return done.stdout

    @property
    def told(self) -> str:
        return (self.base / "logs/coin_monitor.log").read_text()

    @property
    def coins(self) -> Counter[str]:
        """The ids of the coins that were told, and how often."""
        return Counter(re.findall(r"New coin: .* ([0-9a-f]{64})", self.told))

    @property
    def facts(self) -> dict[str, object]:
        found: dict[str, object] = json.loads(self.run("--report", "--json"))["data"]
        return found


@pytest.fixture(scope="module")
def chia(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealChia]:
    if (why := why_no_chia()) is not None:
        pytest.skip(why)
    with RealChia(tmp_path_factory.mktemp("chia"), "DEBUG") as running:
        yield running


@pytest.fixture(scope="module")
def monitors(chia: RealChia, tmp_path_factory: pytest.TempPathFactory) -> list[Monitor]:
    base = tmp_path_factory.mktemp("monitors")
    made = [Monitor(chia, base / "wallet", "auto"), Monitor(chia, base / "log", "never")]
    for one in made:
        one.run()
        assert not one.coins, "the first run takes what is there for the past"
    return made


def balance(chia: RealChia) -> int:
    """Return what the wallet holds: it has never paid anything, so that is all that it has received."""
    chia.until(chia.is_synced, 90)
    mojo = chia.ask("wallet", "get_wallet_balance", {"wallet_id": 1})["wallet_balance"]["confirmed_wallet_balance"]
    return int(mojo)


def check(chia: RealChia, monitors: list[Monitor], coins: int) -> None:
    """Run each twice: both have what the wallet has, and told of so many coins, each once."""
    held = balance(chia)
    for one in monitors:
        for _ in range(2):
            one.run()
        facts = one.facts
        assert facts["received_mojo"] == str(held), one.wallet
        assert list(one.coins.values()) == [1] * coins, (one.wallet, one.told)
        if one.wallet == "auto":
            assert facts["wallet"]["mojo"] == str(held)


def test_rewards_and_a_payment_are_told_once_and_exactly(chia, monitors):
    chia.farm(2)
    check(chia, monitors, 4)
    chia.farm(3, chia.address(bob=True))
    check(chia, monitors, 6)  # a block's rewards come with the next one
    chia.pay(_PAYMENT)
    chia.farm(1, chia.address(bob=True))
    check(chia, monitors, 7)
    for one in monitors:
        assert "New coin: 0.123456789012 XCH, payment" in one.told
        assert Counter(re.findall(r"XCH, (\w+), height", one.told)) == {"pool": 3, "farmer": 3, "payment": 1}
    assert monitors[0].coins == monitors[1].coins, "both call a coin the same"


def test_a_restart_of_the_node_and_a_resync_of_the_wallet_tell_nothing_again(chia, monitors):
    for name in ("wallet", "node"):
        chia.end(name)
    for name in ("node", "wallet"):
        chia.begin(name)
    check(chia, monitors, 7)
    chia.resync_wallet()
    check(chia, monitors, 7)
    assert all("Not received after all" not in one.told for one in monitors)


def test_a_reorganisation_leaves_what_the_wallet_has(chia, monitors):
    chia.farm(2)
    balance(chia)
    for one in monitors:
        one.run()
    chia.reorganise(3, 4)
    held = balance(chia)
    for one in monitors:
        one.run()
        assert one.facts["received_mojo"] == str(held), (one.wallet, one.told)


def test_the_wallet_says_whose_it_is(chia):
    """By that a coin is known to be taken back, even if it was the only one."""
    said = chia.ask("wallet", "get_logged_in_fingerprint")["fingerprint"]
    assert isinstance(said, int)
    assert 0 < said < 2**32


def test_a_harvester_that_ends_does_not_farm_until_it_runs_again(chia, monitors):
    log = chia.root / "log/debug.log"

    def eligible() -> int:
        return log.read_text(errors="replace").count("plots were eligible for farming")

    chia.begin("farmer")
    chia.begin("harvester")
    chia.until(lambda: eligible() > 0, 60)
    for one in monitors:
        one.run()
        assert "has not looked for proofs" not in one.told
    chia.end("harvester")
    silent = "has not looked for proofs since "
    for one in monitors:
        chia.until(lambda one=one: silent in (one.run() or one.told), 60)
        one.run()
        assert one.told.count(silent) == 1
    before = eligible()
    chia.begin("harvester")
    chia.until(lambda: eligible() > before, 60)
    for one in monitors:
        one.run()
        assert one.told.count("This host farms again") == 1


def test_the_harvester_itself_says_what_it_farms_where_no_log_does(chia, tmp_path):
    config = tmp_path / "config"
    config.write_text(
        f"[paths]\nlogs = {tmp_path}/logs\nstate = {tmp_path}/state\nlocks = {tmp_path}/locks\n"
        f"[drives]\nmounts = {tmp_path}/nowhere/*\n"
        f"[chia]\nhome = {chia.root}\nlog = {tmp_path}/debug.log\nharvester_port = {chia.harvester_port}\n"
    )
    command = [sys.executable, str(CHECKOUT / "drive_manager.py"), "-pr", "--json", "--config", str(config)]

    def said() -> dict[str, object]:
        done = subprocess.run(chia.inside(*command), capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        found: dict[str, object] = json.loads(done.stdout)["data"]
        return found

    asked: dict[str, object] = {}

    def is_heard() -> bool:
        asked.update(said())
        return asked["chia_source"] == "harvester RPC" and bool(asked["chia_plots"])

    chia.until(is_heard, 60)
    plots = chia.ask("harvester", "get_plots")["plots"]
    assert asked["chia_plots"] == len(plots)
    assert asked["chia_bytes"] == sum(plot["file_size"] for plot in plots)
    chia.end("harvester")
    gone = said()
    assert (gone["chia_plots"], gone["chia_source"]) == (len(plots), "harvester RPC"), (
        "what it said last, with its time"
    )
    chia.end("farmer")
    chia.begin("harvester")
    chia.until(lambda: chia.ask("harvester", "get_plots") is not None, 60)
    assert said()["chia_said"] == gone["chia_said"], "without a farmer it does not farm, though it answers"


def test_a_log_of_the_usual_level_is_an_alert_from_the_first_run(chia, tmp_path):
    chia.log_at("INFO")
    chia.until(lambda: chia.ask("wallet", "get_sync_status") is not None, 90)
    blind = Monitor(chia, tmp_path / "blind", "never")
    blind.run()
    assert "Chia names coins in its log at level DEBUG only" in blind.told
    seeing = Monitor(chia, tmp_path / "seeing", "auto")
    held = balance(chia)
    seeing.run()
    assert "Chia names coins" not in seeing.told
    assert seeing.facts["received_mojo"] == str(held)
