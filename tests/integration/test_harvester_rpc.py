"""What Chia farms where its log does not say it: the harvester itself is asked, over real TLS."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from plotfarm.base.config.sections import Chia
from plotfarm.base.database import Database
from plotfarm.chia.farm_log import Farmed, Source, Unreadable
from plotfarm.chia.harvester import _read, read_harvester
from plotfarm.chia.rpc import Refused
from plotfarm.jobs.farming import hear
from testbed.certificates import Authority
from testbed.farm import Farm
from testbed.harvester_server import HarvesterServer, connection, loaded

K32 = 108_836_000_000
PLOTS = [loaded(number, K32 + number) for number in range(40)]
HARVESTER = (
    "{:%Y-%m-%dT%H:%M:%S}.123 2.7.0 harvester chia.harvester.harvester: INFO     challenge_hash: 0123456789 ..."
    "1 plots were eligible for farming challenge. Found 0 proofs. Time: 0.1 s. Total {} plots\n"
)


@pytest.fixture
def farm(tmp_path: Path) -> Farm:
    return Farm(tmp_path / "farm", nas_settings={"system_settings.server_name": "nas01"})


@pytest.fixture
def harvester(farm: Farm) -> Iterator[HarvesterServer]:
    with HarvesterServer(farm.home / ".chia/mainnet/config/ssl", plots=PLOTS) as server:
        farm.nas.change({"chia.harvester_port": server.port})
        yield server


def write_log(farm: Farm, text: str) -> Path:
    log = farm.home / ".chia/mainnet/log/debug.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text(text)
    return log


def facts(farm: Farm) -> dict[str, object]:
    done = farm.drive_manager("-pr", "--json")
    assert (done.returncode, done.stderr) == (0, ""), done
    found: dict[str, object] = json.loads(done.stdout)
    return found


def seconds_ago(said: object) -> float:
    return time.time() - datetime.fromisoformat(str(said)).timestamp()


# ---- The reports ----


@pytest.mark.parametrize(
    "log",
    [None, "", "nothing that anybody knows\n", HARVESTER.format(datetime.now() - timedelta(days=4), 4777)],
    ids=["missing", "empty", "unknown", "old"],
)
def test_where_the_log_says_nothing_of_now_the_harvester_is_asked(farm, harvester, log):
    if log is not None:
        write_log(farm, log)
    said = facts(farm)
    assert (said["chia_plots"], said["chia_source"]) == (40, "harvester RPC")
    assert said["chia_bytes"] == sum(plot["file_size"] for plot in PLOTS)
    assert 0 <= seconds_ago(said["chia_said"]) < 300
    row = next(line for line in farm.drive_manager("-pr").stdout.splitlines() if "Plots Chia is Farming" in line)
    assert "40 (harvester RPC, " in row
    assert "not farming" not in farm.drive_manager("-dr").stdout


def test_where_the_log_speaks_nobody_else_is_asked(farm, harvester):
    write_log(farm, HARVESTER.format(datetime.now(), 4777))
    said = facts(farm)
    assert (said["chia_plots"], said["chia_source"]) == (4777, "log")
    assert harvester.asked == []


def test_it_is_asked_only_if_that_is_wanted(farm, harvester):
    farm.nas.change({"chia.harvester": "never"})
    said = facts(farm)
    assert (said["chia_plots"], said["chia_source"]) == (None, None)
    assert "there is no Chia log" in said["chia_plots_why"]
    assert harvester.asked == []


def test_one_that_answers_and_has_no_farmer_does_not_farm(farm, harvester):
    harvester.connections = [connection(time.time(), kind=1)]
    said = facts(farm)
    assert said["chia_plots"] is None
    assert "it is connected to no farmer, so it does not farm" in said["chia_plots_why"]
    assert "there is no Chia log" in said["chia_plots_why"]


def test_one_whose_farmer_is_silent_is_not_farming(farm, harvester):
    ended = datetime.now() - timedelta(hours=3)
    harvester.connections = [connection(ended.timestamp()), connection(ended.timestamp() - 60)]
    said = facts(farm)
    assert (said["chia_plots"], said["chia_source"]) == (None, "harvester RPC")
    assert f"not farming since {ended:%Y-%m-%d %H:%M}" in farm.drive_manager("-pr").stdout


# ---- The alert ----


def test_the_alert_is_about_what_nobody_says_and_over_when_one_says_it(farm, harvester):
    write_log(farm, HARVESTER.format(datetime.now() - timedelta(days=4), 4777))
    farm.drive_manager()
    log = farm.nas.logs / "drive_manager.log"
    assert "has not looked for proofs" not in log.read_text()

    harvester.stop()
    state = Database(farm.nas.state)
    an_hour_ago = time.time() - 3600
    state.write("UPDATE farming SET said = ?", (an_hour_ago,))
    state.close()
    farm.drive_manager()
    assert log.read_text().count("has not looked for proofs since") == 1
    assert "it had 40 plots (source: harvester RPC)" in log.read_text()

    harvester.start()
    farm.nas.change({"chia.harvester_port": harvester.port})
    farm.drive_manager()
    assert log.read_text().count("This host farms again") == 1


def test_the_drives_are_compared_with_what_it_farms(farm, harvester):
    (farm.drives[0] / "plot-k32-a.plot").write_bytes(b"no header")
    farm.drive_manager()
    told = (farm.nas.logs / "drive_manager.log").read_text()
    assert "There are 1 plots on the drives, but Chia farms 40" in told
    assert "It is not known how many plots Chia farms" not in told


# ---- The decision when to ask ----


@pytest.fixture
def settings_of(harvester, farm) -> Chia:
    return Chia(home=str(farm.home / ".chia/mainnet"), harvester_port=harvester.port)


def test_nothing_new_in_the_log_is_no_reason_to_ask_until_all_is_old(settings_of, harvester):
    database = Database(None)
    now = time.time()
    fresh, old = Farmed(7, None, now - 60), Farmed(7, None, now - 3600)
    assert hear(settings_of, database, fresh).newest == fresh
    assert hear(settings_of, database, None).newest == fresh
    assert harvester.asked == []
    assert hear(settings_of, database, Unreadable("", "")).now.source is Source.HARVESTER
    database = Database(None)
    heard = hear(settings_of, database, old)
    assert (heard.newest.source, heard.newest.plots) == (Source.HARVESTER, 40)
    assert hear(settings_of, database, None).newest == heard.newest


def test_silence_that_is_no_matter_asks_nobody(settings_of, harvester):
    old = Farmed(7, None, time.time() - 10**6)
    assert hear(replace(settings_of, silent_minutes=0), Database(None), old).newest == old
    assert harvester.asked == []


# ---- Whatever it may answer ----


def test_a_stranger_is_refused_on_either_side(harvester, tmp_path):
    stranger = Authority(tmp_path / "stranger")
    certificate, key = stranger.certificate_for("chia.net")
    address = harvester.wallet_address()
    for changed in ({"certificate": certificate, "key": key}, {"authority": stranger.certificate}):
        assert isinstance(read_harvester(replace(address, **changed)), Unreadable)
    assert isinstance(read_harvester(address), Farmed)


@pytest.mark.parametrize(
    ("answers", "why"),
    [
        ({"get_plots": b"{}"}, "refuses"),
        ({"get_plots": b'{"success": true}'}, "no plots"),
        ({"get_connections": b'{"success": true, "connections": 1}'}, "no connections"),
        ({"get_connections": b"<html>"}, "no JSON"),
    ],
)
def test_an_answer_that_makes_no_sense_is_none(harvester, answers, why):
    harvester.answers = answers
    said = read_harvester(harvester.wallet_address())
    assert isinstance(said, Unreadable)
    assert why in said.why
    assert said.remedy


def test_a_large_farm_fits_into_its_answer(harvester):
    harvester.plots = [loaded(number, K32) for number in range(50_000)]
    said = read_harvester(harvester.wallet_address(60))
    assert (said.plots, said.bytes) == (50_000, 50_000 * K32)


def test_a_time_to_come_is_now(harvester):
    harvester.connections = [connection(time.time() + 10**6)]
    assert read_harvester(harvester.wallet_address()).said <= time.time()


KEYS = st.sampled_from(["type", "file_size", "last_message_time", "x"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=8,
)


@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow])
@given(connections=JSON, plots=JSON, heard=st.floats(1, 2e9))
def test_no_answer_is_a_traceback(connections, plots, heard):
    for said in (
        [*connections, connection(heard)] if isinstance(connections, list) else [connection(heard)],
        connections,
    ):
        answers = {"get_connections": {"connections": said}, "get_plots": {"plots": plots}}
        asked = SimpleNamespace(ask=lambda what, *_, answers=answers: answers[what])
        with contextlib.suppress(Refused):
            assert isinstance(_read(asked), Farmed)
