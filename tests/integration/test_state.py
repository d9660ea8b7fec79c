"""What a host remembers: several processes at once, damage, bounds."""

from __future__ import annotations

import dataclasses
import logging
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from plotfarm.base.state import Room, State, Transfer
from testbed.plots import CHECKOUT

SAMPLE = Transfer(
    finished=1000.0, plot="x.plot", kind="v1", source="/plots/x.plot", target="/drive/x.plot", plotter="plotter",
    bytes=7, seconds=2.0, digest="ab", segments="cd ef", result="stored", inode=5, mtime_ns=6,
)  # fmt: skip

WRITER = """
import dataclasses, sys, time
from pathlib import Path
from plotfarm.base.state import State, Transfer
state = State(Path(sys.argv[1]))
for number in range(100):
    name = f"{sys.argv[2]}-{number}.plot"
    state.record_transfer(Transfer(time.time(), name, "v1", "", "", "", 1, 1.0, "", "", "stored"))
    state.journal_write(f"{sys.argv[2]}-{number}", "nas")
state.close()
"""


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
    assert state.journal_nas("2-99") == "nas"


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
        state.journal_write("/plots/x.plot", "nas")
    assert state.transfers() == [SAMPLE]
    assert state.journal_nas("/plots/x.plot") == "nas"
    assert [record.levelname for record in caplog.records] == ["ERROR"], "said once"
    assert "this run remembers nothing" in caplog.text


def test_damage_in_the_middle_stops_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    state = State(tmp_path)
    with sqlite3.connect(state.database.path) as other:
        other.execute("DROP TABLE transfers")
    state.record_transfer(SAMPLE)
    assert state.transfers() == []
    assert state.stored_bytes_since("plotter", 0.0) == 0
    assert "cannot be used" in caplog.text


def test_what_sqlite_cannot_hold_is_only_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    state = State(tmp_path)
    state.record_transfer(dataclasses.replace(SAMPLE, source="/plots/\udcff"))
    state.record_transfer(dataclasses.replace(SAMPLE, bytes=2**70))
    assert state.transfers() == []
    assert len(caplog.records) == 2
    state.record_transfer(SAMPLE)
    assert state.transfers() == [SAMPLE]


def test_rows_are_bounded(tmp_path: Path) -> None:
    state = State(tmp_path)
    for number in range(30):
        state.record_transfer(dataclasses.replace(SAMPLE, plot=f"{number}.plot"), keep=10)
    assert [each.plot for each in state.transfers()] == [f"{number}.plot" for number in range(29, 19, -1)]
    now = time.time()
    state.record_room(Room("plotter", "/plots", now - 20 * 86400, 1, 1, None))
    state.record_room(Room("plotter", "/plots", now, 2, 1, 3.5))
    state.record_room(Room("plotter", "/plots", now + 1, 3, 1, None))
    assert [room.free_bytes for room in state.rooms(since=0.0)] == [2, 3]


def test_the_quota_counts_one_plotters_stored_bytes(tmp_path: Path) -> None:
    state = State(tmp_path)
    for change in ({}, {"plotter": "other"}, {"result": "have"}, {"result": "stalled"}, {"finished": 10.0}, {}):
        state.record_transfer(dataclasses.replace(SAMPLE, **change))  # type: ignore[arg-type]
    assert state.stored_bytes_since("plotter", 500.0) == 14


def test_the_journal(tmp_path: Path) -> None:
    state = State(tmp_path)
    assert state.journal_nas("/plots/x") is None
    state.journal_write("/plots/x", "first")
    state.journal_write("/plots/x", "second")
    assert State(tmp_path).journal_nas("/plots/x") == "second"
    state.journal_remove("/plots/x")
    assert state.journal_nas("/plots/x") is None
