"""What a host remembers: several processes at once, damage, bounds."""

from __future__ import annotations

import dataclasses
import logging
import os
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from plotfarm.base import state as state_module
from plotfarm.base.state import Room, State, Transfer, TransferOutcome
from testbed.plots import CHECKOUT

SAMPLE = Transfer(
    finished=1000.0,
    plot="x.plot",
    kind="v1",
    source="/plots/x.plot",
    target="/drive/x.plot",
    plotter="plotter",
    bytes=7,
    seconds=2.0,
    digest="ab",
    segments="cd ef",
    outcome=TransferOutcome.STORED,
)
PLOT = "/plots/x.plot"
HOUR = 3600.0

WRITER = """
import dataclasses, sys, time
from pathlib import Path
from plotfarm.base.state import State, Transfer, TransferOutcome
state = State(Path(sys.argv[1]))
for number in range(100):
    name = f"{sys.argv[2]}-{number}.plot"
    state.record_transfer(Transfer(time.time(), name, "v1", "", "", "", 1, 1.0, "", "", TransferOutcome.STORED))
    state.journal_write(f"{sys.argv[2]}-{number}", "nas")
    state.count_received("plotter", 7)
state.close()
"""


class Clock:
    """The wall clock that the state sees; CLOCK_BOOTTIME goes on by itself unless it is set too."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.now = 1_700_000_000.0
        self.running = 5_000.0
        patch.setattr(state_module.time, "time", lambda: self.now)
        patch.setattr(state_module.time, "clock_gettime", lambda which: self.running)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


# ---- Transfers ----


def test_a_transfer_comes_back_as_it_was(tmp_path: Path) -> None:
    state = State(tmp_path)
    state.record_transfer(SAMPLE)
    state.close()
    again = State(tmp_path)
    assert again.transfers() == again.transfers(plot="x.plot") == [SAMPLE]
    assert again.transfers(plot="y.plot") == again.transfers(since=1001.0) == []


def test_several_processes_write_at_once(tmp_path: Path) -> None:
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, tmp_path, str(number)], cwd=CHECKOUT, stderr=subprocess.PIPE)
        for number in range(3)
    ]
    assert [writer.communicate()[1] for writer in writers] == [b""] * 3
    state = State(tmp_path)
    assert len({each.plot for each in state.transfers()}) == 300
    journaled = state.journal_nas("2-99")
    assert journaled is not None
    assert journaled[0] == "nas"
    assert state.received_bytes("plotter") == 3 * 100 * 7


def test_a_killed_writer_leaves_a_whole_database(tmp_path: Path) -> None:
    writer = subprocess.Popen([sys.executable, "-c", WRITER, tmp_path, "x"], cwd=CHECKOUT)
    deadline = time.monotonic() + 20
    state = State(tmp_path)
    while len(state.transfers()) < 10 and writer.poll() is None:
        assert time.monotonic() < deadline
    writer.kill()
    writer.wait()
    with sqlite3.connect(state.database.path) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    state.record_transfer(SAMPLE)
    assert state.transfers(limit=1) == [SAMPLE]


@pytest.mark.parametrize("damage", ["garbage", "a directory", "a file where the directory should be"])
def test_without_a_usable_file_this_run_remembers_for_itself(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    directory = tmp_path / "state"
    if damage.startswith("a file"):
        directory.write_text("in the way")
    else:
        directory.mkdir()
        file = directory / "state.sqlite"
        file.mkdir() if damage == "a directory" else file.write_bytes(b"garbage " * 1000)
    with caplog.at_level(logging.ERROR):
        state = State(directory)
        state.record_transfer(SAMPLE)
        state.journal_write(PLOT, "nas")
    assert state.transfers() == [SAMPLE]
    journaled = state.journal_nas(PLOT)
    assert journaled is not None
    assert journaled[0] == "nas"
    assert [record.levelname for record in caplog.records] == ["ERROR"], "said once"
    assert "this run remembers nothing" in caplog.text


def test_damage_in_the_middle_stops_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    State(tmp_path).close()
    with open(tmp_path / "state.sqlite", "r+b") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(4096)  # the first page stays: so it can be opened
        file.write(b"\xff" * (size - 4096))
    state = State(tmp_path)
    state.record_transfer(SAMPLE)
    state.count_received("plotter", 7)
    assert state.transfers() == [SAMPLE], "in RAM"
    assert state.received_bytes("plotter") == 7
    assert "cannot be used" in caplog.text


def test_what_sqlite_cannot_hold_is_only_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    state = State(tmp_path)
    state.record_transfer(dataclasses.replace(SAMPLE, source="/plots/\udcff"))
    state.record_transfer(dataclasses.replace(SAMPLE, bytes=2**70))
    assert state.transfers() == []
    assert len(caplog.records) == 2
    state.record_transfer(SAMPLE)
    assert state.transfers() == [SAMPLE]


# ---- What one plotter can make others forget ----


def test_a_plotter_evicts_only_its_own_transfers(tmp_path: Path) -> None:
    state = State(tmp_path)
    state.record_transfer(dataclasses.replace(SAMPLE, plotter="quiet"), keep=10)
    for number in range(30):
        state.record_transfer(dataclasses.replace(SAMPLE, plot=f"{number}.plot", plotter="loud"), keep=10)
    names = [each.plot for each in state.transfers()]
    assert names == [*(f"{number}.plot" for number in range(29, 19, -1)), "x.plot"]


def test_rooms_are_kept_for_a_time_and_for_few_directories_of_each_host(tmp_path: Path) -> None:
    state = State(tmp_path)
    now = time.time()
    state.record_room(Room("plotter", "/plots", now - 20 * 86400, 1, 1, None))
    state.record_room(Room("plotter", "/plots", now, 2, 1, 3.5))
    state.record_room(Room("plotter", "/plots", now + 1, 3, 1, None))
    assert [room.free_bytes for room in state.rooms(since=0.0)] == [2, 3]

    for number in range(100):
        state.record_room(Room("liar", f"/{number}", now + number, 4, 1, None))
    rooms = state.rooms(since=0.0)
    assert len([room for room in rooms if room.host == "plotter"]) == 2
    assert [room.directory for room in rooms if room.host == "liar"] == [f"/{number}" for number in range(92, 100)]


# ---- What counts for a quota ----


def test_received_bytes_count_for_their_plotter_and_for_24_hours(tmp_path: Path, clock: Clock) -> None:
    state = State(tmp_path)
    state.count_received("plotter", 10)
    clock.now += HOUR
    state.count_received("plotter", 5)
    state.count_received("other", 100)
    assert (state.received_bytes("plotter"), state.received_bytes("other")) == (15, 100)

    clock.now += 23 * HOUR
    assert state.received_bytes("plotter") == 15
    clock.now += HOUR
    assert state.received_bytes("plotter") == 5
    clock.now += HOUR
    assert state.received_bytes("plotter") == 0


def test_a_clock_that_is_set_back_frees_nothing(tmp_path: Path, clock: Clock) -> None:
    state = State(tmp_path)
    state.count_received("plotter", 10)
    clock.now -= 20 * HOUR
    state.count_received("plotter", 5)
    assert state.received_bytes("plotter") == 15


def test_nothing_else_takes_received_bytes_off(tmp_path: Path, clock: Clock) -> None:
    state = State(tmp_path)
    state.count_received("plotter", 10)
    for number in range(20):
        state.record_transfer(dataclasses.replace(SAMPLE, plot=f"{number}.plot"), keep=2)
    assert State(tmp_path).received_bytes("plotter") == 10


# ---- The plotter's notes ----


def test_the_journal(tmp_path: Path, clock: Clock) -> None:
    state = State(tmp_path)
    assert state.journal_nas(PLOT) is None
    state.journal_write(PLOT, "first")
    begun = clock.now
    clock.now += HOUR
    state.journal_write(PLOT, "first")
    assert state.journal_nas(PLOT) == ("first", begun), "it has waited since the first note"
    state.journal_write(PLOT, "second")
    assert State(tmp_path).journal_nas(PLOT) == ("second", clock.now)
    state.journal_remove(PLOT)
    assert state.journal_nas(PLOT) is None


def test_the_notes_about_one_nas_are_released_together(tmp_path: Path) -> None:
    state = State(tmp_path)
    for plot, nas in (("a", "dead"), ("b", "dead"), ("c", "alive")):
        state.journal_write(plot, nas)
    assert state.journal_release("dead") == 2
    assert state.journal_release("dead") == 0
    assert [state.journal_nas(plot) is None for plot in "abc"] == [True, True, False]


def test_changed_times_survive_a_run_that_dies(tmp_path: Path) -> None:
    state = State(tmp_path)
    state.remember_time(PLOT, 1_700_000_000_123_456_789, 10**18)
    assert State(tmp_path).changed_times() == [(PLOT, 1_700_000_000_123_456_789, 10**18)]
    state.forget_time(PLOT)
    assert State(tmp_path).changed_times() == []


def test_failures_count_for_the_very_file(tmp_path: Path, clock: Clock) -> None:
    state = State(tmp_path)
    assert state.failures(PLOT, (1, 2)) == 0
    state.count_failure(PLOT, (1, 2))
    state.count_failure(PLOT, (1, 2))
    assert state.failures(PLOT, (1, 2)) == 2
    assert state.failures(PLOT, (1, 3)) == 0
    state.count_failure(PLOT, (1, 3))
    assert state.failures(PLOT, (1, 3)) == 1, "another file at that path begins anew"
    state.forget_failures(PLOT)
    assert state.failures(PLOT, (1, 3)) == 0

    state.count_failure(PLOT, (1, 3))
    clock.now += 15 * 24 * HOUR
    state.count_failure("/plots/other.plot", (1, 2))
    assert state.failures(PLOT, (1, 3)) == 0, "old ones are forgotten"


def test_what_cannot_be_removed_is_tried_again_after_a_day(tmp_path: Path, clock: Clock) -> None:
    state = State(tmp_path)
    state.note_unremovable(PLOT, (1, 2), "it is the very file that is stored")
    assert state.why_unremovable(PLOT, (1, 2)) == "it is the very file that is stored"
    assert state.why_unremovable(PLOT, (1, 3)) == "", "another file"
    clock.now += 25 * HOUR
    assert state.why_unremovable(PLOT, (1, 2)) == ""


def test_kept_plots_are_known_by_their_facts(tmp_path: Path) -> None:
    state = State(tmp_path)
    state.note_kept(PLOT, (1, 2))
    assert state.is_kept(PLOT, (1, 2))
    assert not state.is_kept(PLOT, (1, 3))


# ---- Age ----


def test_age_counts_running_time_only(tmp_path: Path, clock: Clock) -> None:
    state = State(tmp_path)
    assert state.unchanged_seconds("drive/part", (7, 1)) == 0.0
    clock.now += 365 * 24 * HOUR
    assert state.unchanged_seconds("drive/part", (7, 1)) == 0.0, "the wall clock jumped"
    clock.running += 60.0
    assert state.unchanged_seconds("drive/part", (7, 1)) == 60.0
    assert state.unchanged_seconds("drive/part", (8, 1)) == 0.0, "it has grown"
    clock.running += 5.0
    assert state.unchanged_seconds("drive/part", (8, 1)) == 5.0
