"""Reading a log on while it grows, is rotated, packed, cut off or replaced: nothing is missed."""

from __future__ import annotations

import gzip
import os
import shutil
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from plotfarm.chia.coins import CoinState
from plotfarm.chia.farm_log import Unreadable
from plotfarm.chia.log_reader import LogReader, Place, read_new
from testbed import chia_logs

TIME = "2026-11-24T03:00:00.123"


class ChiaLog:
    """A log as Chia's handler writes it: it goes on in a new file when the old one is full."""

    def __init__(self, directory: Path, packed: bool = False) -> None:
        self.path, self._packed, self.written = directory / "debug.log", packed, 0

    def write(self, coins: int = 1) -> None:
        with open(self.path, "a") as file:
            for _ in range(coins):
                self.written += 1
                parent = chia_logs.parent_of(chia_logs.STRANGER, self.written)
                form = chia_logs.state if self.written % 2 else chia_logs.old_state
                file.write(chia_logs.noise(TIME, self.written) + form(TIME, parent, 10**12 + self.written))

    def rotate(self) -> None:
        suffix = ".gz" if self._packed else ""
        names = [self.path.with_name(f"debug.log.{number}{suffix}") for number in range(1, 8)]
        names[-1].unlink(missing_ok=True)
        for older, newer in zip(reversed(names), reversed(names[:-1]), strict=False):
            if newer.exists():
                newer.rename(older)
        if self._packed:
            with open(self.path, "rb") as plain, gzip.open(names[0], "wb") as packed:
                shutil.copyfileobj(plain, packed)
            self.path.unlink()
        else:
            self.path.rename(names[0])


class Follower:
    """What coin_monitor.py does in each run, with what it has to remember."""

    def __init__(self, log: Path) -> None:
        self.log, self.place, self.amounts, self.found = log, None, [], True

    def read(self) -> list[int]:
        news = read_new(self.log, self.place)
        assert not isinstance(news, Unreadable), news
        events, read = news
        self.place, self.found = read.place, read.was_found
        new = [event.mojo - 10**12 for event in events if isinstance(event, CoinState)]
        self.amounts += new
        return new


@pytest.fixture
def log(tmp_path):
    return ChiaLog(tmp_path)


@pytest.fixture
def follower(log):
    return Follower(log.path)


def test_only_what_is_new_is_read(log, follower):
    log.write(3)
    assert follower.read() == [1, 2, 3]
    assert follower.read() == []
    log.write(2)
    assert follower.read() == [4, 5]


@pytest.mark.parametrize("packed", [False, True])
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from(["write", "write", "rotate", "read"]), max_size=14))
def test_whatever_happens_between_two_runs_each_coin_is_found_once(tmp_path_factory, packed, steps):
    directory = tmp_path_factory.mktemp("log")
    log = ChiaLog(directory, packed)
    follower = Follower(log.path)
    log.write()
    rotations = 0
    for step in [*steps, "read"]:
        if step == "write":
            log.write()
        elif step == "rotate" and log.path.exists() and rotations < 7:
            rotations += 1
            log.rotate()
        elif step == "read":
            follower.read()
    assert follower.amounts == list(range(1, log.written + 1))


@pytest.mark.parametrize("packed", [False, True])
def test_the_first_run_reads_all_rotated_files_oldest_first(tmp_path, packed):
    log = ChiaLog(tmp_path, packed)
    for _ in range(4):
        log.write(2)
        log.rotate()
    log.write()
    assert Follower(log.path).read() == list(range(1, 10))


def test_a_rotation_between_two_renames_loses_nothing(log, follower):
    log.write(2)
    follower.read()
    log.write(1)
    log.path.rename(log.path.with_name("debug.log.1"))  # and the new file is not there yet
    assert follower.read() == [3]
    log.write(1)
    assert follower.read() == [4]


def test_a_rotation_while_files_are_opened_hides_none(log, follower, monkeypatch):
    log.write(2)
    follower.read()
    log.write(1)
    real, times = os.open, []

    def rotating(path, *arguments, **named):
        if str(path) == str(log.path) and not times:
            times.append(1)
            log.rotate()
            log.write(1)
            log.rotate()
            log.write(1)
        return real(path, *arguments, **named)

    monkeypatch.setattr(os, "open", rotating)
    assert follower.read() == [3, 4, 5]


def test_a_half_written_line_waits_for_its_end(log, follower):
    log.write(1)
    text = chia_logs.old_state(TIME, chia_logs.parent_of(chia_logs.STRANGER, 9), 10**12 + 9)
    for end in range(1, len(text)):
        with open(log.path, "r+") as file:
            file.seek(0, os.SEEK_END)
            file.write(text[end - 1])
        follower.read()
        assert follower.amounts == [1]
    with open(log.path, "a") as file:
        file.write(text[-1])
    assert follower.read() == [9]


def test_a_log_that_was_cut_off_is_read_again_from_its_begin(log, follower):
    log.write(3)
    follower.read()
    os.truncate(log.path, 0)
    log.write(1)
    assert follower.read() == [4]
    assert not follower.found


def test_another_log_in_its_place_is_read_whole(log, follower):
    log.write(3)
    follower.read()
    log.path.unlink()
    log.write(5)
    assert follower.read() == [4, 5, 6, 7, 8]


def test_the_same_inode_with_other_bytes_is_another_log(log, follower):
    log.write(2)
    follower.read()
    os.truncate(log.path, 0)
    log.write(4)  # longer than before
    assert follower.read() == [3, 4, 5, 6]


@pytest.mark.parametrize("make", ["missing", "directory", "pipe"])
def test_a_log_that_cannot_be_read_is_said_to_be(log, make):
    if make == "directory":
        log.path.mkdir()
    elif make == "pipe":
        os.mkfifo(log.path)
    news = read_new(log.path, None)
    assert isinstance(news, Unreadable)
    assert news.why


@pytest.mark.parametrize(
    "broken",
    [b"no gzip at all", gzip.compress(b"x\n" * 9999)[:-9], gzip.compress(b"")[:-4] + b"1234"],
    ids=["no gzip", "cut short", "another size"],  # the bytes hold the time
)
def test_a_broken_rotated_file_costs_only_itself(log, broken):
    log.path.with_name("debug.log.1.gz").write_bytes(broken)
    log.write(2)
    news = read_new(log.path, None)
    assert not isinstance(news, Unreadable)
    events, read = news
    assert [event.mojo - 10**12 for event in events] == [1, 2]
    path = log.path.with_name("debug.log.1.gz")
    assert [(one.path, one.inode) for one in read.broken] == [(path, path.stat().st_ino)]
    assert all(one.why for one in read.broken)
    follower = Follower(log.path)
    assert follower.read() == [1, 2]
    log.write()
    assert follower.read() == [3]


def test_what_logrotate_copies_and_truncates_is_found_again(log, follower):
    log.write(2)
    assert follower.read() == [1, 2]
    log.write(1)
    shutil.copy(log.path, log.path.with_name("debug.log-20261124"))
    os.truncate(log.path, 0)
    log.write(1)
    assert follower.read() == [3, 4]
    log.write(1)
    shutil.copy(log.path, log.path.with_name("debug.log-20261125"))
    os.truncate(log.path, 0)
    assert follower.read() == [5]


def test_megabytes_of_zeros_hide_no_coin(log, follower):
    log.write(1)
    with open(log.path, "ab") as file:
        file.write(b"\0" * 5_000_000)
    log.write(2)
    assert follower.read() == [1, 2, 3]


@pytest.mark.parametrize("line", [
    "1" * 900_000, "00:00:00.1 " + "1.1" * 300_000, "00:00:00.1 a " + ": " * 300_000, "\n" * 100_000,
    "00:00:00.1 wallet x: INFO Adding coin: \n" + "a\n" * 300_000,
    "00:00:00.1 wallet x: INFO request coin: " + "amount: " * 100_000, "} " * 300_000,
])  # fmt: skip
def test_no_line_takes_longer_than_it_is_long(log, line):
    log.path.write_text(f"{line}\n")
    begun = time.process_time()
    news = read_new(log.path, None)
    assert time.process_time() - begun < 1
    assert not isinstance(news, Unreadable)
    assert news[0] == []


def test_endless_lines_and_bytes_that_are_no_text_cost_only_themselves(log, follower):
    with open(log.path, "wb") as file:
        file.write(b"\xff\xfe\0" + b"x" * 3_000_000)
        file.write(b"\n")
    log.write(2)
    assert follower.read() == [1, 2]
    log.write(1)
    assert follower.read() == [3]


def test_a_run_reads_the_new_bytes_only(log):
    log.write(20_000)  # 12 MB
    follower = Follower(log.path)
    follower.read()
    log.write(1)
    reader = LogReader(log.path, follower.place)
    before = _bytes_read()
    assert len([event for event in reader.events() if isinstance(event, CoinState)]) == 1
    assert _bytes_read() - before < 100_000


def _bytes_read() -> int:
    lines = Path("/proc/self/io").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("rchar")).split()[1])


def test_a_place_of_nowhere_is_no_place(log):
    log.write(2)
    events, read = read_new(log.path, Place(1, 10**12, "nothing"))
    assert len(events) == 2
    assert not read.was_found
