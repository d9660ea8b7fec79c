"""coin_monitor.py as cron starts it: each coin is told once, whatever happens."""

from __future__ import annotations

import contextlib
import csv
import gzip
import io
import json
import os
import pty
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from plotfarm.base.checkpoints import STOP_AT
from plotfarm.base.database import Database
from plotfarm.base.locks import Lock
from testbed import chia_logs
from testbed.chia_logs import FARMER, POOL, STRANGER, parent_of
from testbed.mail_server import MailServer

CHECKOUT = Path(__file__).parents[2]
TIME = "2026-11-24T03:00:00.123"
HEIGHT = 5_200_000
XCH = 10**12


class Farmer:
    """A farmer's host with a log of Chia's, which gets mails."""

    def __init__(self, base: Path, server: MailServer) -> None:
        self.base, self.server, self.config = base, server, base / "config"
        self.log = base / "chia/log/debug.log"
        self.log.parent.mkdir(parents=True)
        self.log.write_text(chia_logs.noise(TIME))
        self.coins = base / "logs/new_coins.log"
        self.configure("")

    def configure(self, more: str, notifications: str = "", silent_minutes: int = 0) -> None:
        self.config.write_text(
            f"[system_settings]\nserver_name = farmer01\n[system_logging]\nlog_level = DEBUG\n"
            f"[paths]\nlogs = {self.base}/logs\nstate = {self.base}/state\nlocks = {self.base}/locks\n"
            f"[chia]\nhome = {self.base}/chia\nsilent_minutes = {silent_minutes}\n"
            f"[watch]\ntrouble_minutes = 0\nsystem_disk_free = 1 MiB\n"
            f"[notifications]\nalerting = True\nemail = True\n{notifications}\n"
            f"[email]\nhost = {self.server.address}\nport = {self.server.port}\nsecurity = none\n"
            f"sender = farm@example.org\nrecipients = farmer@example.org\n{more}\n"
        )

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, str(CHECKOUT / "coin_monitor.py"), *arguments, "--config", str(self.config)]

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(self.command(*arguments), capture_output=True, text=True, timeout=60, check=False)

    def write(self, *lines: str) -> None:
        with open(self.log, "a") as file:
            file.write("".join(lines))

    def receive(self, number: int = 1, mojo: int = XCH) -> None:
        self.write(chia_logs.state(TIME, parent_of(STRANGER, number), mojo))

    def mails(self, count: int) -> list[str]:
        """Return the subjects of all mails about coins, once so many have come."""
        deadline = time.monotonic() + 30
        while len(self.server.received) < count and time.monotonic() < deadline:
            time.sleep(0.02)
        return [mail.mail["Subject"] for mail in self.server.received]

    def text(self) -> str:
        return (self.base / "logs/coin_monitor.log").read_text()

    def waiting(self) -> int:
        """Return how many messages are not sent, at the latest when what is on its way has had time to arrive."""
        database = Database(self.base / "state")
        deadline = time.monotonic() + 10
        while True:
            rows = database.rows("SELECT count(*) FROM outbox WHERE ended IS NULL")
            if not rows[0][0] or time.monotonic() > deadline:
                break
            time.sleep(0.02)
        database.close()
        return int(rows[0][0])


@pytest.fixture
def farmer(tmp_path: Path) -> Iterator[Farmer]:
    with MailServer() as server:
        yield Farmer(tmp_path, server)


def test_the_first_run_tells_nothing_of_the_past_and_the_next_tells_what_is_new(farmer):
    farmer.receive(1)
    assert farmer.run().returncode == 0
    farmer.receive(2, 3 * XCH)
    assert farmer.run().returncode == 0
    assert farmer.mails(1) == ["farmer01: 3 XCH received (payment)"]
    for part in ("plain", "html"):
        assert "4 XCH" in farmer.server.received[0].part(part), "the total"
    assert farmer.run().returncode == 0
    assert farmer.waiting() == 0
    assert len(farmer.mails(1)) == 1


def test_the_past_is_told_if_that_is_asked_for(farmer):
    farmer.receive(1)
    farmer.receive(2)
    farmer.run("--tell_past")
    assert farmer.mails(1) == ["farmer01: 2 coins received: 2 XCH"]


def test_many_coins_at_once_are_one_message_and_the_same_coin_on_five_peers_is_one(farmer):
    farmer.run()
    for _ in range(5):
        farmer.receive(1)
    for number in range(2, 100):
        farmer.receive(number)
    farmer.run()
    assert farmer.mails(1) == ["farmer01: 99 coins received: 99 XCH"]
    assert "And 59 more." in farmer.server.received[0].part("plain")


def test_rewards_are_named_with_their_fees(farmer):
    farmer.run()
    farmer.write(chia_logs.state(TIME, parent_of(FARMER, HEIGHT), 125_005_000_000))
    farmer.run()
    assert farmer.mails(1) == ["farmer01: 0.125005 XCH received (farmer reward, 0.000005 of it fees)"]


def test_new_coins_log_holds_each_coin_once_and_goes_on_where_the_system_before_stopped(farmer):
    farmer.coins.parent.mkdir()
    farmer.coins.write_text(f"[LEAVE THIS LINE HERE]\n['17:50:27.246', '250000000000']\n['{TIME}', '{XCH}']\n['cut of")
    farmer.run()
    farmer.receive(1)  # the one that the file has
    farmer.receive(2, 2 * XCH)
    farmer.run()
    assert farmer.mails(1) == ["farmer01: 2 XCH received (payment)"]
    lines = farmer.coins.read_text().splitlines()
    assert lines[:4] == [
        "[LEAVE THIS LINE HERE]",
        "['17:50:27.246', '250000000000']",
        f"['{TIME}', '{XCH}']",
        "['cut of",
    ]
    assert [line.startswith(f"['{TIME}', '{2 * XCH}', '2 XCH', 'height 5200002', 'payment'") for line in lines[4:]] == [
        True
    ]


def test_the_line_that_the_system_before_was_tried_with(farmer, tmp_path):
    log = tmp_path / "test.log"
    wallet = "wallet chia.wallet.wallet_state_manager"
    log.write_text(f"2021-04-24T14:16:11.298 {wallet}: INFO     Confirmed balance amount is 9200000000000\n")
    for _ in range(2):
        assert farmer.run("--log", str(log)).returncode == 0
    assert "Confirmed balance: 9.2 XCH" in farmer.text()
    known = "Found coins that were already accounted for in the log!: ['2021-04-24T14:16:11.298', '9200000000000']"
    assert known in farmer.text()
    assert "neither Chia's log nor its wallet was ever read" in farmer.run("--report").stdout
    facts = json.loads(farmer.run("--report", "--json").stdout)["data"]
    assert facts["received_xch"] is None, "the test has a state of its own"
    farmer.run()
    assert json.loads(farmer.run("--report", "--json").stdout)["data"]["received_xch"] == "0"


def test_a_test_log_is_told_at_once_and_only_once(farmer, tmp_path):
    log = tmp_path / "test.log"
    log.write_text(chia_logs.state(TIME, parent_of(POOL, HEIGHT), 875_000_000_000))
    for _ in range(2):
        farmer.run("--log", str(log))
    assert farmer.mails(1) == ["farmer01: 0.875 XCH received (pool reward)"]
    assert farmer.waiting() == 0
    assert not farmer.coins.exists()


def test_a_balance_sets_the_total_and_is_no_coin(farmer):
    farmer.run()
    farmer.receive(1)
    farmer.write(f"{chia_logs.prefix(TIME)}Confirmed balance amount is {7 * XCH}\n")
    farmer.receive(2)
    farmer.run()
    assert farmer.mails(1) == ["farmer01: 2 coins received: 2 XCH"]
    assert "8 XCH" in farmer.server.received[0].part("plain")


def test_a_coin_that_a_reorganisation_takes_back_is_told_and_told_again_when_it_returns(farmer):
    farmer.run()
    farmer.receive(1)
    farmer.run()
    farmer.write(chia_logs.state(TIME, parent_of(STRANGER, 1), XCH, None))
    farmer.run()
    assert farmer.mails(2)[1] == "farmer01: 1 coin taken back"
    assert "0 XCH" in farmer.server.received[1].part("plain")
    farmer.write(chia_logs.state(TIME, parent_of(STRANGER, 1), XCH, HEIGHT))
    farmer.run()
    assert farmer.mails(3)[2] == "farmer01: 1 XCH received (payment)"


def test_spends_change_dust_and_other_assets_are_no_coins_received(farmer):
    farmer.run()
    mine = chia_logs.coin_id(parent_of(STRANGER, 1), chia_logs.PUZZLE, XCH)
    farmer.write(
        chia_logs.state(TIME, parent_of(STRANGER, 1), XCH, HEIGHT, HEIGHT + 1),
        chia_logs.state(TIME, mine, XCH // 2, HEIGHT + 1),
        chia_logs.state(TIME, parent_of(STRANGER, 2), 1),
        chia_logs.added(TIME, parent_of(STRANGER, 3), XCH, more=" wallet_id:5 and type: 6"),
    )
    farmer.run()
    assert json.loads(farmer.run("--report", "--json").stdout)["data"]["coins"] == []
    assert farmer.waiting() == 0
    assert farmer.server.received == []


@pytest.mark.parametrize("state", ["coins:noted", "coins:stored"])
def test_kill_between_any_two_steps_tells_each_coin_once(farmer, state):
    farmer.run()
    farmer.receive(1)
    killed = subprocess.Popen(
        farmer.command(), env={**os.environ, STOP_AT: state}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    assert os.WIFSTOPPED(os.waitpid(killed.pid, os.WUNTRACED)[1])
    killed.kill()
    killed.wait()
    farmer.receive(2)
    for _ in range(2):
        assert farmer.run().returncode == 0
    subjects = farmer.mails(1 if state == "coins:noted" else 2)
    assert (
        sum(int(words[0]) if (words := subject.split(": ")[1].split())[1] == "coins" else 1 for subject in subjects)
        == 2
    )
    assert len(farmer.coins.read_text().splitlines()) == 3
    assert farmer.waiting() == 0


def test_a_coin_is_on_the_disk_before_its_alert_is_stored(farmer, tmp_path):
    if not shutil.which("strace") or subprocess.run(["strace", "-o", "/dev/null", "true"], check=False).returncode:
        pytest.skip("strace, which shows the order, is not installed or may not trace here")
    farmer.run()
    farmer.receive(1)
    trace = tmp_path / "trace"
    subprocess.run(
        ["strace", "-y", "-o", trace, "-e", "trace=fsync,pwrite64", *farmer.command()], check=True, timeout=60
    )
    lines = trace.read_text().splitlines()
    noted = next(number for number, line in enumerate(lines) if line.startswith("fsync(") and "new_coins.log" in line)
    stored = [
        number for number, line in enumerate(lines) if line.startswith("pwrite64(") and "state.sqlite-wal" in line
    ]
    assert max(stored) > noted


def test_a_second_run_at_the_same_time_leaves_it_to_the_first(farmer):
    farmer.run()
    farmer.receive(1)
    with Lock(farmer.base / "locks/coin_monitor.lock"):
        assert farmer.run().returncode == 0
    assert "coin_monitor is running already" in farmer.text()
    farmer.run()
    assert len(farmer.mails(1)) == 1


def test_a_damaged_rotated_log_is_an_alert_until_it_is_gone(farmer):
    packed = farmer.log.with_name("debug.log.1.gz")
    packed.write_bytes(gzip.compress(chia_logs.state(TIME, parent_of(STRANGER, 7), XCH).encode() * 999)[:-9])
    farmer.run()
    assert farmer.mails(1) == ["farmer01: an old log of Chia's is damaged"]
    plain = " ".join(farmer.server.received[0].part("plain").split())
    assert f"{packed} cannot be read to its end" in plain
    farmer.receive(1)
    packed = packed.rename(farmer.log.with_name("debug.log.2.gz"))  # rotated once more
    farmer.run()
    assert set(farmer.mails(2)[1:]) == {"farmer01: 1 XCH received (payment)"}, "the good log goes on"
    packed.unlink()
    farmer.run()
    assert (
        farmer.mails(3)[2]
        == "farmer01: A damaged old log of Chia's matters no more: it is gone, or the wallet is asked"
    )
    farmer.run()
    assert farmer.waiting() == 0
    assert len(farmer.mails(3)) == 3


def test_a_coin_file_that_cannot_be_written_delays_the_alert_and_loses_nothing(farmer):
    farmer.run()
    farmer.coins.mkdir(parents=True)
    farmer.receive(1)
    done = farmer.run()
    assert done.returncode == 1
    assert "found again in the next run" in done.stderr
    farmer.coins.rmdir()
    farmer.run()
    assert "farmer01: 1 XCH received (payment)" in farmer.mails(3), "besides the trouble, and that it is over"


def test_coins_go_by_all_ways_but_mail_if_that_is_wanted(farmer):
    farmer.configure("", "per_coin_email = False")
    farmer.run()
    farmer.receive(1)
    farmer.run()
    assert "New coin: 1 XCH" in farmer.text()
    assert farmer.waiting() == 0
    assert farmer.server.received == []


@pytest.mark.parametrize(("content", "words"), [
    (None, "there is no Chia log"),
    (f"{TIME} 2.7.3 full_node chia.full_node.full_node: WARNING  slow\n", "only lines of level WARNING"),
    ("what is this\n", "holds no line that this program knows"),
])  # fmt: skip
def test_a_log_that_cannot_be_read_is_told_once_and_once_more_when_it_can(farmer, content, words):
    farmer.log.unlink()
    for _ in range(3):
        if content:
            farmer.write(content)
        farmer.run()
    assert farmer.mails(1) == ["farmer01: Chia's log cannot be read: no coin will be seen"]
    assert words in " ".join(farmer.server.received[0].part("plain").split())
    farmer.write(chia_logs.noise(TIME))
    farmer.run()
    assert farmer.mails(2)[1] == "farmer01: Chia's log can be read again"
    assert farmer.waiting() == 0


def test_before_anything_was_read_no_report_says_that_there_are_no_coins(farmer):
    farmer.log.unlink()
    text = farmer.run("--report").stdout
    assert "neither Chia's log nor its wallet was ever read" in text
    assert "Received in all" not in text
    facts = json.loads(farmer.run("--report", "--json").stdout)["data"]
    assert (facts["received_mojo"], facts["received_xch"]) == (None, None)
    summary = " ".join(farmer.run("--summary").stdout.split())
    assert "neither Chia's log nor its wallet was ever read" in summary
    assert "0 XCH" not in summary
    assert "0 XCH" not in farmer.mails(1)[0]
    farmer.log.write_text(chia_logs.noise(TIME))
    farmer.run()
    assert json.loads(farmer.run("--report", "--json").stdout)["data"]["received_xch"] == "0"
    assert "0 XCH" in farmer.run("--summary").stdout


def at_a_terminal(farmer: Farmer) -> str:
    """Return what a user sees of a run."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(farmer.command(), stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    shown = b""
    with contextlib.suppress(OSError):  # how Linux says that nobody has the other end any more
        while data := os.read(ours, 65536):
            shown += data
    os.close(ours)
    process.wait(30)
    return shown.decode()


def test_a_user_who_looks_is_not_told_of_no_coins_where_none_can_be_seen(farmer):
    farmer.receive(1)
    assert "of the past: 1; 1 XCH received in all" in at_a_terminal(farmer)
    farmer.log.unlink()
    seen = at_a_terminal(farmer)
    assert "No coin can be seen: there is no Chia log" in seen
    assert "New coins" not in seen


def test_report_csv_and_json_say_the_same(farmer):
    farmer.configure("[coins]\nprice = 10\ncurrency = EUR\nnetspace_eib = 20\nfarm_size_tib = 100\n")
    farmer.write(
        chia_logs.state("2026-10-31T23:00:00.000", parent_of(FARMER, HEIGHT), 125_000_000_000),
        chia_logs.state(TIME, parent_of(POOL, HEIGHT), 875_000_000_000),
        f"{chia_logs.prefix(TIME)}Farmed unfinished_block {'de' * 32}\n",
    )
    farmer.run()
    text = farmer.run("--report").stdout
    for words in ("farmer01 Coin Report", "2026-10", "2026-11-24", "10.00 EUR", "Blocks found:", "45 d"):
        assert words in text
    facts = json.loads(farmer.run("--report", "--json").stdout)["data"]
    assert (facts["received_xch"], len(facts["coins"]), len(facts["blocks"])) == ("1", 2, 1)
    rows = list(csv.DictReader(io.StringIO(farmer.run("--csv", "-").stdout)))
    assert [row["amount_xch"] for row in rows] == ["0.125", "0.875"]
    assert all(value[:1] not in tuple("=+-@\t\r") for row in rows for value in row.values())
    since = json.loads(farmer.run("--report", "--json", "--since", "2026-11-01").stdout)["data"]
    assert [coin["kind"] for coin in since["coins"]] == ["pool"]
    file = farmer.base / "coins.csv"
    assert "2 coins written" in farmer.run("--csv", str(file)).stdout
    assert file.read_text().count("\n") == 3


def test_the_summary_is_sent_and_printed(farmer):
    farmer.receive(1)
    farmer.run()
    done = farmer.run("--summary")
    assert "1 XCH" in done.stdout
    assert "Sent on its way to 1 recipient" in done.stdout
    assert "1 XCH received in all" in farmer.mails(1)[0]


def test_two_keys_are_enough(tmp_path):
    with MailServer() as server:
        farmer = Farmer(tmp_path, server)
        home = tmp_path / "home"
        (home / ".chia/mainnet/log").mkdir(parents=True)
        log = home / ".chia/mainnet/log/debug.log"
        log.write_text(chia_logs.noise(datetime.now().isoformat(timespec="milliseconds")))
        paths = "".join(f"{name} = {tmp_path}/{name}\n" for name in ("logs", "state", "locks"))
        farmer.config.write_text(
            f"[notifications]\nalerting = True\nservices = mailto://{server.address}:{server.port}"
            f"?from=farm@example.org&to=farmer@example.org\n[paths]\n{paths}"
        )
        farmer.config.chmod(0o600)
        environment = {**os.environ, "HOME": str(home)}
        subprocess.run(farmer.command(), env=environment, check=True, timeout=60)
        with open(log, "a") as file:
            file.write(chia_logs.state(TIME, parent_of(STRANGER, 1), XCH))
        subprocess.run(farmer.command(), env=environment, check=True, timeout=60)
        assert "1 XCH received (payment)" in farmer.mails(1)[0]


def test_sigterm_in_the_middle_leaves_all_for_the_next_run(farmer):
    farmer.run()
    farmer.receive(1)
    stopped = subprocess.Popen(farmer.command(), env={**os.environ, STOP_AT: "coins:noted"})
    assert os.WIFSTOPPED(os.waitpid(stopped.pid, os.WUNTRACED)[1])
    stopped.send_signal(signal.SIGTERM)
    stopped.send_signal(signal.SIGCONT)
    stopped.wait(10)
    farmer.run()
    assert farmer.mails(1) == ["farmer01: 1 XCH received (payment)"]
