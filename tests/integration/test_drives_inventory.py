"""Counting the plots on real drives: what counts, what is read once, and what a slow or hanging drive costs."""

from __future__ import annotations

import os
import re
import sqlite3
import subprocess
import threading
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from plotfarm.base.database import Database
from plotfarm.base.locks import Lock
from plotfarm.drives import counting, header_reader, inventory, said
from plotfarm.drives.counted import Count, CountedDirectory, Headers, ReadThrough
from plotfarm.drives.effort import Effort, OutOfTimeError
from plotfarm.drives.inventory import Inventory, LastCount
from plotfarm.drives.model import MARKER, Drive, lock_name
from plotfarm.drives.probe import Counting, probe
from plotfarm.drives.reasons import Reason, Why
from plotfarm.drives.remembered import LastReadings
from testbed.mounts import mount_small, private_mounts, why_no_mounts

V1 = b"Proof of Space Plot" + bytes(32) + b"\x20\0\x04v1.0" + (112).to_bytes(2, "big") + bytes(112 + 80)
BLADEBIT = b"PLOT\2\0\0\0" + bytes(32) + b"\x20" + (112).to_bytes(2, "big") + bytes(400)
PLOT2 = b"pos2\1" + bytes(32) + b"\x1c\2\0\0\0\0" + bytes(100)
GROUP = b"PoS2\2" + bytes(32) + b"\x1c\2" + (128).to_bytes(2, "little") + bytes(100)
GIGAHORSE = b"whatever it may be" + bytes(5000)


class Farm:
    """Declared directories drive0, drive1 ... and what is remembered of them."""

    def __init__(self, base: Path, count: int) -> None:
        self.base, self.locks = base, base / "locks"
        self.places = [base / f"drive{number}" for number in range(count)]
        for place in self.places:
            place.mkdir()
            (place / MARKER).touch()
        self.drives = [drive_at(place) for place in self.places]

    def count(self, seconds: float = 30.0):
        """Count as a process of its own would: with what the database holds."""
        database = Database(self.base / "state")
        try:
            return probe(self.drives, [], seconds, self.locks, Counting(Inventory(database), seconds))
        finally:
            database.close()

    def read_errors(self):
        database = Database(self.base / "state")
        try:
            return Inventory(database).read_errors()
        finally:
            database.close()

    def sql(self, query: str):
        with sqlite3.connect(self.base / "state/state.sqlite") as connection:
            return connection.execute(query).fetchall()


def drive_at(place: Path) -> Drive:
    return Drive(str(place), "", f"directory:{place}", 0, "", directory_mode=True)


def plots_on(reading):
    return replace(reading, total_bytes=0, free_bytes=0)


def put(path: Path, content: bytes = V1) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


@pytest.fixture
def farm(tmp_path):
    return Farm(tmp_path, 2)


def test_real_plots_and_made_ones_by_kind_and_k(farm, shop):
    place = farm.places[0]
    shop.v1(place)
    shop.gplot(place)
    put(place / "plot-k32-a.plot", BLADEBIT)
    put(place / "plots/plot-k28-b.plot2", PLOT2)
    put(place / "plots/og/plot-k32-c7-c.plot", GIGAHORSE)
    put(place / "a/b/c/d/no name at all.gplot", GROUP)
    first, second = farm.count()
    assert first.counts == {
        ("v1", 18): 1, ("gplot", 18): 1, ("bladebit", 32): 1, ("plot2", 28): 1, ("unknown", 32): 1, ("gplot", 28): 1,
    }  # fmt: skip
    assert (first.plot_files, first.plots, first.headers_missing) == (6, 5 + 128, 0)
    files = [path for path in place.rglob("*") if path.suffix in (".plot", ".plot2", ".gplot")]
    assert first.plot_bytes == sum(path.stat().st_size for path in files)
    assert (second.counts, second.plot_files, second.plots, second.plot_bytes) == ({}, 0, 0, 0)
    assert list(map(plots_on, farm.count())) == [plots_on(first), plots_on(second)]
    plain = probe(farm.drives, [], 30, farm.locks)[0]
    assert (plain.counts, plain.plot_files, plain.uncounted) == (None, None, None)


def test_what_is_no_plot_on_this_drive_does_not_count(farm):
    place, outside = farm.places[0], farm.base / "outside"
    put(outside / "plot-k32-a.plot")
    for name in (
        "plot-k32-a.plot.part", "plot-k32-a.plot.2.tmp", "._plot-k32-a.plot", "plot-k32-a.PLOT", ".hidden/a.plot",
        "lost+found/a.plot", "$RECYCLE.BIN/a.plot", "1/2/3/4/5/a.plot", "plot-k32-directory.plot/a.txt",
    ):  # fmt: skip
        put(place / name)
    (place / "link.plot").symlink_to(outside / "plot-k32-a.plot")
    (place / "linked").symlink_to(outside)
    os.mkfifo(place / "pipe.plot")
    assert farm.count()[0].counts == {}
    put(place / "1/2/3/4/a.plot")
    assert farm.count()[0].counts == {("v1", 32): 1}


def test_a_drive_within_another_drive_is_counted_once(farm):
    inner = farm.places[0] / "plots/inner"
    put(inner / "plot-k32-a.plot")
    put(farm.places[0] / "plots/plot-k32-b.plot")
    (inner / MARKER).touch()
    farm.drives.append(drive_at(inner))
    assert [reading.plot_files for reading in farm.count()] == [1, 0, 1]


def test_names_from_outside_are_only_bytes(farm):
    for name in (
        b"new\nline.plot",
        b"\xff\xfe.plot",
        b"\x1b[31m.plot",
        b"x" * 250 + b".plot",
        "grün-k33-ü.plot".encode(),
    ):
        put(farm.places[0] / os.fsdecode(name), V1)
    assert farm.count()[0].counts == {("v1", 32): 5}
    assert farm.count()[0].headers_missing == 0


@pytest.mark.parametrize(
    ("name", "content", "counted"),
    [
        ("plot-k33-a.plot", V1.replace(b"\x20\0\x04v1.0", b"\xc8\0\x04v1.0"), ("v1", 33)),
        ("plot-k32-a.plot", b"", ("unknown", 32)),
        ("plot-k32-a.plot", bytes(10000), ("testing", 32)),
        ("plot-k32-a.plot", bytes(4096) + b"x", ("testing", 32)),
        ("plot-k32-a.plot", bytes(4095) + b"x" * 9, ("unknown", 32)),
        ("plot-mmx-k31-a.plot", GIGAHORSE, ("unknown", 31)),
        ("portable.plot-k34-a.plot", GIGAHORSE, ("unknown", 34)),
        ("plot-k99-k-k3-ak32-b.plot", GIGAHORSE, ("unknown", 0)),
        ("plot-k32-a.plot", GROUP, ("gplot", 28)),
    ],
)
def test_the_header_decides_and_the_name_helps(farm, name, content, counted):
    put(farm.places[0] / name, content)
    assert farm.count()[0].counts == {counted: 1}
    assert farm.count()[0].counts == {counted: 1}


def test_testing_plots_are_counted_apart(farm):
    put(farm.places[0] / "plot-k32-a.plot", GIGAHORSE)
    put(farm.places[0] / "plot-test.plot", bytes(100_000))
    first = farm.count()[0]
    assert first.counts == {("unknown", 32): 1, ("testing", 0): 1}
    assert (first.plot_files, first.plots, first.plot_bytes) == (1, 1, len(GIGAHORSE))
    assert plots_on(farm.count()[0]) == plots_on(first), "also by what is remembered of the headers"
    counted = farm.sql("SELECT plots, bytes FROM counted_drives WHERE identity LIKE '%drive0'")
    assert counted == [(1, len(GIGAHORSE))]


def test_a_header_is_read_once_and_what_did_not_change_is_not_written(farm):
    kept, moved, gone = (put(farm.places[0] / f"plot-k32-{name}.plot") for name in ("kept", "moved", "gone"))
    farm.count()
    farm.sql("CREATE TABLE written (what TEXT)")
    for event in ("INSERT", "UPDATE", "DELETE"):
        farm.sql(
            f"CREATE TRIGGER on_{event} AFTER {event} ON counted_directories "
            f"BEGIN INSERT INTO written VALUES ('{event}'); END"
        )
    before = kept.stat()
    kept.write_bytes(b"PLOT\2\0\0\0".ljust(len(V1), b"\0"))
    os.utime(kept, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert farm.count()[0].counts == {("v1", 32): 3}, "same name, size and time: its header is not read again"
    assert farm.sql("SELECT what FROM written") == []
    os.utime(kept)
    (farm.places[0] / "plots").mkdir()
    moved.rename(farm.places[0] / "plots" / moved.name)
    gone.unlink()
    assert farm.count()[0].counts == {("v1", 32): 1, ("bladebit", 32): 1}
    assert ("INSERT",) in farm.sql("SELECT what FROM written")
    assert headers_of(farm) == {"": 1, "plots": 1}, "what is known of files that are gone is forgotten"
    (farm.places[0] / "plots" / moved.name).unlink()
    (farm.places[0] / "plots").rmdir()
    farm.count()
    assert headers_of(farm) == {"": 1}, "and of directories"


def headers_of(farm: Farm) -> dict[str, int]:
    """Return of how many files in which directory of the first drive the header is known."""
    database = Database(farm.base / "state")
    known = Inventory(database).directories([farm.drives[0].identity])[farm.drives[0].identity]
    database.close()
    return {path: len(Headers(directory.headers)) for path, directory in known.items()}


def slow(monkeypatch, log: Path, seconds: float) -> None:
    """Let every header take its time, and note which was read."""
    read = said.said_by

    def slowly(name, directory):
        time.sleep(seconds)
        with log.open("a") as file:
            file.write(f"{name}\n")
        return read(name, directory)

    monkeypatch.setattr(header_reader, "said_by", slowly)


def test_when_the_time_runs_out_names_count_and_the_next_run_goes_on(farm, monkeypatch):
    log = farm.base / "log"
    names = [f"plot-k32-{number}.plot" for number in range(10)] + [f"{number}-k28-.plot2" for number in range(10)]
    for name in names:
        put(farm.places[0] / name, V1 if name.startswith("plot") else PLOT2)
    slow(monkeypatch, log, 0.06)
    first = farm.count(seconds=0.8)[0]
    assert 0 < first.headers_missing < 20
    assert (first.plot_files, first.problem, first.uncounted) == (20, None, None)
    assert first.counts[("plot2", 28)] == 10
    assert first.counts[("unknown", 32)] + first.counts.get(("v1", 32), 0) == 10
    while (reading := farm.count(seconds=0.8)[0]).headers_missing:
        assert reading.headers_missing < first.headers_missing
    assert reading.counts == {("v1", 32): 10, ("plot2", 28): 10}
    assert sorted(log.read_text().split()) == sorted(names), "each was read once"


def test_a_drive_that_falls_silent_at_one_header_keeps_the_rest(farm, monkeypatch):
    for number in range(5):
        put(farm.places[0] / f"plot-k32-{number}.plot")
        put(farm.places[1] / f"plot-k32-{number}.plot")
    bad = put(farm.places[0] / "plot-k32-bad.plot")
    read = said.said_by
    monkeypatch.setattr(header_reader, "_REPORT_SECONDS", 0.0)
    monkeypatch.setattr(
        header_reader, "said_by", lambda name, at: threading.Event().wait() if name == bad.name else read(name, at)
    )
    started = time.monotonic()
    for_ever, fine = farm.count(seconds=1.5)
    assert time.monotonic() - started < 10
    assert (for_ever.problem, for_ever.uncounted, for_ever.plot_files) == (None, None, 6)
    assert for_ever.headers_missing >= 1
    assert fine.counts == {("v1", 32): 5}
    (helper,) = psutil.Process().children()
    again, fine = farm.count(seconds=0.8)
    assert again.problem is None and again.total_bytes > 0, "asking for its room goes on"
    assert (again.counts, again.uncounted) == (None, Why(Reason.COUNT_UNDER_WAY))
    assert fine.counts == {("v1", 32): 5}
    assert [child for child in psutil.Process().children() if child != helper and child.status() != "zombie"] == []
    helper.kill()
    helper.wait(20)
    monkeypatch.setattr(header_reader, "said_by", read)
    assert farm.count()[0].counts == {("v1", 32): 6}


def first_count(root: int, place: Path) -> Count:
    """Return the count by names alone."""
    found = counting.count_plots(root, str(place), {}, (), Effort(time.monotonic() + 30))
    return next(each for each in found if isinstance(each, Count))


def counts_below(place: Path):
    root = os.open(place, os.O_RDONLY)
    try:
        return list(counting.count_plots(root, str(place), {}, (), Effort(time.monotonic() + 30)))
    finally:
        os.close(root)


def test_what_is_learnt_is_told_on_the_way(farm, monkeypatch):
    monkeypatch.setattr(header_reader, "_REPORT_SECONDS", 0.0)
    for number in range(5):
        put(farm.places[0] / f"plot-k32-{number}.plot")
    found = counts_below(farm.places[0])
    directories = [each for each in found if isinstance(each, CountedDirectory)]
    assert [len(Headers(each.headers)) for each in directories] == [0, 1, 2, 3, 4, 5]
    assert [each.unread for each in directories] == [5, 4, 3, 2, 1, 0]
    assert [each.headers_missing for each in found if isinstance(each, Count)] == [5, 4, 3, 2, 1, 0]
    assert found[-1] == ReadThrough(None)


def test_what_took_the_place_of_a_plot_after_the_listing_is_not_read(farm):
    os.mkfifo(farm.places[0] / "pipe.plot")
    (farm.places[0] / "link.plot").symlink_to(put(farm.base / "plot-k32-a.plot"))
    (farm.places[0] / "directory.plot").mkdir()
    root = os.open(farm.places[0], os.O_RDONLY)
    assert [said.said_by(f"{name}.plot", root) for name in ("pipe", "link", "directory", "gone")] == [None] * 4
    os.close(root)


def test_an_error_below_keeps_the_count_by_names(farm, monkeypatch):
    put(farm.places[0] / "plots/plot-k32-a.plot")

    def broken(*arguments):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(header_reader, "_read_headers", broken)
    first = farm.count()[0]
    assert (first.counts, first.headers_missing, first.uncounted) == ({("unknown", 32): 1}, 1, None)
    assert list(farm.read_errors().values()) == [Why(Reason.IO_ERROR, "Input/output error")]


def failing_reads(monkeypatch, log: Path) -> None:
    """Let every header be unreadable, and note each try: the helper process makes them."""

    def broken(*_):
        with log.open("a") as file:
            file.write("x")
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(said, "read_header", broken)


def test_of_headers_that_cannot_be_read_one_is_tried_in_each_count(farm, monkeypatch):
    tries = farm.base / "tries"
    for name in ("bad", "worse", "worst"):
        put(farm.places[0] / f"plots/plot-k32-{name}.plot2", PLOT2)
    failing_reads(monkeypatch, tries)
    first = farm.count()[0]
    assert (first.counts, first.headers_missing) == ({("plot2", 32): 3}, 3)
    (error,) = farm.read_errors().values()
    assert error.reason is Reason.IO_ERROR
    assert re.fullmatch(r"the header of plots/plot-k32-(bad|worse|worst).plot2 cannot be read", error.detail)
    assert len(tries.read_text()) == 3
    assert plots_on(farm.count()[0]) == plots_on(first)
    assert len(tries.read_text()) == 4
    assert len(farm.read_errors()) == 1

    monkeypatch.undo()
    well = farm.count()[0]
    assert (well.counts, well.headers_missing) == ({("plot2", 28): 3}, 0)
    assert farm.read_errors() == {}
    assert plots_on(farm.count()[0]) == plots_on(well)


def out_of_time(*_):
    raise OutOfTimeError


def test_what_could_not_be_read_is_remembered_until_all_of_the_drive_was(farm, monkeypatch):
    put(farm.places[0] / "plot-k32-bad.plot2", PLOT2)
    failing_reads(monkeypatch, farm.base / "tries")
    farm.count()
    monkeypatch.undo()
    monkeypatch.setattr(counting, "_go_through", out_of_time)
    assert farm.count()[0].uncounted == Why(Reason.NOT_COUNTED_IN_TIME)
    assert len(farm.read_errors()) == 1, "it ran out of time: that is no news of the error"


def test_a_drive_that_cannot_be_listed_in_time_says_so_and_is_not_silent(farm, monkeypatch):
    monkeypatch.setattr(counting, "_go_through", out_of_time)
    first, second = farm.count()
    assert first.uncounted == second.uncounted == Why(Reason.NOT_COUNTED_IN_TIME)
    assert (first.problem, first.counts) == (None, None)
    monkeypatch.undo()
    (farm.places[1] / MARKER).unlink()
    first, second = farm.count()
    assert first.counts == {}
    assert second.problem == second.uncounted == Why(Reason.NO_MARKER)


def test_an_error_in_a_directory_hides_no_other_drive(farm, monkeypatch):
    put(farm.places[0] / "plot-k32-a.plot")
    go_through = counting._go_through

    def broken(directory, *arguments):
        if os.path.exists(f"/proc/self/fd/{directory}/bad"):
            raise OSError(5, "Input/output error")
        return go_through(directory, *arguments)

    monkeypatch.setattr(counting, "_go_through", broken)
    (farm.places[1] / "bad").touch()
    first, second = farm.count()
    assert first.plot_files == 1
    assert (second.counts, second.uncounted) == (None, Why(Reason.IO_ERROR, "Input/output error"))
    assert farm.read_errors() == {farm.drives[1].identity: second.uncounted}


def test_somebody_elses_directory_is_left_out(farm):
    put(farm.places[0] / "mine/plot-k32-a.plot")
    put(farm.places[0] / "theirs/plot-k32-b.plot").parent.chmod(0)
    root, user = os.open(farm.places[0], os.O_RDONLY), os.geteuid()
    try:
        os.seteuid(user or 12345)  # root may read every directory
        count = first_count(root, farm.places[0])
    finally:
        os.seteuid(user)
        os.close(root)
        (farm.places[0] / "theirs").chmod(0o755)
    assert count.counts == (("unknown", 32, 1),)


def test_counting_never_keeps_another_process_from_asking_for_room(farm):
    lock = Lock(farm.locks / lock_name("count", farm.drives[0].identity))
    lock.acquire()
    started = time.monotonic()
    assert [reading.problem for reading in probe(farm.drives, [], 30, farm.locks)] == [None, None]
    assert time.monotonic() - started < 10
    first, second = farm.count(seconds=0.8)
    assert first.uncounted == Why(Reason.COUNT_UNDER_WAY)
    assert second.counts == {}
    lock.release()
    assert [reading.counts for reading in farm.count()] == [{}, {}]


def test_the_last_count_of_a_drive_outlives_it(farm):
    put(farm.places[0] / "plot-k32-a.plot")
    put(farm.places[0] / "plot-k32-b.plot")
    before = time.time()
    farm.count()
    farm.places[0].rename(farm.base / "away")
    assert farm.count()[0].problem == Why(Reason.NOT_MOUNTED)
    database = Database(farm.base / "state")
    counts = Inventory(database).last_counts()
    database.close()
    last = counts[farm.drives[0].identity]
    assert (last.plots, last.bytes) == (2, 2 * len(V1))
    assert before <= last.time <= time.time()
    assert counts[farm.drives[1].identity].plots == 0
    (farm.base / "away").rename(farm.places[0])
    assert farm.count()[0].plot_files == 2


def test_what_is_known_of_a_drive_whose_name_is_no_text_is_remembered(tmp_path):
    place = tmp_path / os.fsdecode(b"drive\xff")
    place.mkdir()
    (place / MARKER).touch()
    farm = Farm(tmp_path, 1)
    farm.drives = [drive_at(place)]
    put(place / os.fsdecode(b"plots\xfe/plot-k32-a.plot"))
    first = farm.count()[0]
    assert (first.problem, first.counts, first.uncounted) == (None, {("v1", 32): 1}, None)
    assert plots_on(farm.count()[0]) == plots_on(first)

    identity = farm.drives[0].identity
    why = Why(Reason.IO_ERROR, "the header of a plot cannot be read")
    database = Database(tmp_path / "state")
    known = Inventory(database)
    known.remember_read_errors({identity: why}, 1.0)
    assert known.read_errors() == {identity: why}
    assert list(known.directories([identity])[identity]) == ["", os.fsdecode(b"plots\xfe")]
    assert known.last_counts()[identity].plots == 1
    readings = LastReadings(database)
    readings.remember([first], 5.0)
    assert readings.of(farm.drives)[identity].reading.free_bytes == first.free_bytes
    database.close()
    farm.count()
    assert farm.read_errors() == {}


@pytest.mark.parametrize("text", ["", "null", "{}", "[1]", '{"parts": [{}], "no_parts": {"other": 1}, "tally": 7}'])
def test_what_another_version_has_remembered_is_asked_for_again(farm, text):
    put(farm.places[0] / "plot-k32-a.plot")
    before = farm.count()
    identity = farm.drives[0].identity
    database = Database(farm.base / "state")
    readings = LastReadings(database)
    readings.remember(before, 5.0)
    for table, column in (("drive_readings", "facts"), ("counted_directories", "facts"), ("counted_drives", "counts")):
        database.write(f"UPDATE {table} SET {column} = ?", (text,))
    assert (readings.of(farm.drives), readings.last_known(farm.drives)) == ({}, {})
    assert Inventory(database).last_counts()[identity].plots == 1
    database.close()
    assert list(map(plots_on, farm.count())) == list(map(plots_on, before))


def test_what_is_remembered_is_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(inventory, "_MOST_DRIVES", 3)
    monkeypatch.setattr(inventory, "_MOST_HEADER_BYTES", 24)
    database = Database(tmp_path)
    remembered = Inventory(database)
    for number in range(1, 6):
        identity = f"uuid:{number}"
        remembered.remember_directories([(identity, directory("", 2)), (identity, directory("too many", 3))])
        remembered.remember_counts({identity: Count((("v1", 32, 1),), 1, 10, 0)}, float(number))
    counts = {("v1", 32): 1}
    expected = {f"uuid:{number}": LastCount(1, 10, float(number), counts) for number in (3, 4, 5)}
    assert remembered.last_counts() == expected
    known = remembered.directories(["uuid:1", "uuid:5", "uuid:x"])
    assert known == {"uuid:5": {"": directory("", 2)}}
    assert database.rows("SELECT count(*) FROM counted_directories") == [(3,)]
    database.close()


def directory(path: str, headers: int) -> CountedDirectory:
    packed = Headers().with_more((number, 513) for number in range(-1, headers - 1)).packed()
    return CountedDirectory(path, "1:2:3:4", 5.0, {513: 1}, 10, 0, 0, (os.fsdecode(b"\xff"), "plots"), packed)


def test_headers_are_found_by_the_numbers_of_their_files() -> None:
    said = {-(2**63): 513, 2**63 - 1: 2**32 - 1, 0: 0, 77: 5}
    headers = Headers(Headers().with_more(said.items()).packed())
    assert len(headers) == 4
    assert {number: headers.get(number) for number in said} == said
    assert [headers.get(number) for number in (1, -1, 78)] == [None] * 3
    fewer = headers.kept([77, 0, 4]).with_more([(77, 6), (4, 1)])
    assert {number: fewer.get(number) for number in (0, 4, 77, -(2**63))} == {0: 0, 4: 1, 77: 6, -(2**63): None}


def test_without_a_database_plots_are_counted_anyway(farm, caplog):
    (farm.base / "state").write_text("no directory")
    put(farm.places[0] / "plot-k32-a.plot")
    assert farm.count()[0].counts == {("v1", 32): 1}
    database = Database(farm.base / "other")
    remembered = Inventory(database)
    database.rows("PRAGMA query_only = ON")
    assert probe(farm.drives, [], 30, farm.locks, Counting(remembered))[0].counts == {("v1", 32): 1}
    database.close()


def leave_alone(path: Path) -> None:
    """Let a plot look as if it had been written long ago."""
    os.utime(path, (time.time() - 10**6,) * 2)


def gone_through(farm: Farm, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Count, and return the directories that were gone through, by their names."""
    log = farm.base / "gone through"
    log.write_text("")
    go_through = counting._go_through

    def noted(directory, *arguments):
        with log.open("a") as file:
            file.write(f"{Path(os.readlink(f'/proc/self/fd/{directory}')).name}\n")
        return go_through(directory, *arguments)

    with monkeypatch.context() as patched:
        patched.setattr(counting, "_go_through", noted)
        farm.count()
    return sorted(log.read_text().split())


def test_a_directory_that_did_not_change_is_not_gone_through_again(farm, monkeypatch):
    monkeypatch.setattr(counting, "_LEFT_ALONE_SECONDS", 0.0)
    for name in ("plot-k32-a.plot", "plots/plot-k32-b.plot", "plots/og/plot-k32-c.plot"):
        leave_alone(put(farm.places[0] / name))
    assert gone_through(farm, monkeypatch) == ["drive0", "drive1", "og", "plots"]
    assert gone_through(farm, monkeypatch) == []
    assert farm.count()[0].counts == {("v1", 32): 3}

    leave_alone(put(farm.places[0] / "plots/plot-k32-d.plot2", PLOT2))
    assert "plots" in gone_through(farm, monkeypatch)
    (farm.places[0] / "plots/og/plot-k32-c.plot").rename(farm.places[0] / "plots/og/plot-k32-e.plot")
    assert gone_through(farm, monkeypatch) == ["og"]
    os.unlink(farm.places[0] / "plot-k32-a.plot")
    assert "drive0" in gone_through(farm, monkeypatch)
    assert farm.count()[0].counts == {("v1", 32): 2, ("plot2", 28): 1}


def test_a_broken_header_is_tried_again_in_a_directory_that_did_not_change(farm, monkeypatch):
    monkeypatch.setattr(counting, "_LEFT_ALONE_SECONDS", 0.0)
    for name in ("plots/plot-k32-a.plot2", "plots/plot-k32-b.plot2"):
        leave_alone(put(farm.places[0] / name, PLOT2))
    tries = farm.base / "tries"
    with monkeypatch.context() as patched:
        failing_reads(patched, tries)
        farm.count()
        assert gone_through(farm, monkeypatch) == []
    assert len(tries.read_text()) == 3, "both, and later one of them"
    assert len(farm.read_errors()) == 1

    assert gone_through(farm, monkeypatch) == []
    assert farm.read_errors() == {}
    assert (farm.count()[0].counts, farm.count()[0].headers_missing) == ({("plot2", 28): 2}, 0)


def test_a_testing_plot_stays_apart_in_a_directory_that_did_not_change(farm, monkeypatch):
    monkeypatch.setattr(counting, "_LEFT_ALONE_SECONDS", 0.0)
    leave_alone(put(farm.places[0] / "plot-k32-a.plot"))
    leave_alone(put(farm.places[0] / "plot-k32-test.plot", bytes(100_000)))
    first = farm.count()[0]
    assert gone_through(farm, monkeypatch) == []
    again = farm.count()[0]
    assert plots_on(again) == plots_on(first)
    assert (again.plot_files, again.plot_bytes) == (1, len(V1))
    assert again.counts == {("v1", 32): 1, ("testing", 32): 1}


def test_a_plot_that_was_written_lately_is_looked_at_again(farm, monkeypatch):
    monkeypatch.setattr(counting, "_LEFT_ALONE_SECONDS", 0.0)
    growing = put(farm.places[0] / "plot-k32-a.plot")
    for _ in range(3):
        farm.count()
    growing.write_bytes(V1 + bytes(1000))
    assert farm.count()[0].plot_bytes == len(V1) + 1000
    leave_alone(growing)
    for _ in range(3):
        farm.count()
    growing.write_bytes(V1 + bytes(2000))
    assert farm.count()[0].plot_bytes == len(V1) + 1000, "its directory shows nothing of it"
    for jump in (86400, -86400):
        with monkeypatch.context() as patched:
            shifted = time.time() + jump
            patched.setattr("time.time", lambda shifted=shifted: shifted)
            assert farm.count()[0].plot_bytes == len(V1) + 2000, "looked at again in a day, or when the clock jumped"
        growing.write_bytes(V1 + bytes(2000))


def test_a_directory_is_not_believed_that_just_changed(farm, monkeypatch):
    leave_alone(put(farm.places[0] / "plot-k32-a.plot"))
    for _ in range(3):
        assert "drive0" in gone_through(farm, monkeypatch)


def test_progress_is_told_until_all_is_counted(farm, monkeypatch):
    monkeypatch.setattr(header_reader, "said_by", lambda name, at, read=said.said_by: time.sleep(0.3) or read(name, at))
    for number in range(4):
        put(farm.places[0] / f"plot-k32-{number}.plot")
    told = []
    database = Database(farm.base / "state")
    counting_all = Counting(Inventory(database), on_progress=told.append)
    first = probe(farm.drives, [], 1, farm.locks, counting_all)[0]
    database.close()
    assert (first.headers_missing, first.counts) == (0, {("v1", 32): 4}), "longer than any answer may take"
    assert told[-1].files == 4 and told[-1].headers >= 2 and told[-1].all_drives == 2
    assert [each.headers for each in told] == sorted(each.headers for each in told)


@pytest.mark.parametrize(
    ("marker", "disk"),
    [
        (b"", ""),
        (b"/dev/sdf\n", "/dev/sdf"),
        (b"  /dev/disk/by-id/wwn-0x5000  \r\nbay 3\n", "/dev/disk/by-id/wwn-0x5000"),
        (b"bay 3\n/dev/sdf\n", ""),
        (b"/dev/../etc/shadow", ""),
        (b"/etc/shadow", ""),
        (b"/dev/sd\x1b[31m", ""),
        (b"/dev/" + b"x" * 10**6, "/dev/" + "x" * 4091),
        (bytes(range(256)), ""),
    ],
)
def test_the_marker_may_name_the_disk(farm, marker, disk):
    (farm.places[0] / MARKER).write_bytes(marker)
    assert [reading.disk for reading in probe(farm.drives, [], 30, farm.locks)] == [disk, ""]


@pytest.mark.root
def test_other_file_systems_and_bind_mounts_below_a_drive_are_not_entered(farm):
    if reason := why_no_mounts():
        pytest.skip(reason)
    with private_mounts():
        drive, below, bound = farm.places[0], farm.places[0] / "below", farm.places[0] / "bound"
        mount_small(drive, 1 << 20)
        (drive / MARKER).touch()
        put(drive / "plot-k32-a.plot")
        put(drive / "plots/plot-k32-b.plot")
        below.mkdir()
        bound.mkdir()
        mount_small(below, 1 << 20)
        put(below / "plot-k32-c.plot")
        subprocess.run(["mount", "--bind", drive / "plots", bound], check=True)
        assert farm.count()[0].plot_files == 2
        for place in (below, bound, drive):
            subprocess.run(["umount", place], check=True)


@pytest.mark.root
def test_a_mount_that_was_made_after_the_table_was_read_is_not_entered(farm):
    if reason := why_no_mounts():
        pytest.skip(reason)
    with private_mounts():
        below = farm.places[0] / "below"
        put(farm.places[0] / "plot-k32-a.plot")
        below.mkdir()
        mount_small(below, 1 << 20)
        put(below / "plot-k32-b.plot")
        root = os.open(farm.places[0], os.O_RDONLY)
        assert first_count(root, farm.places[0]).counts == (("unknown", 32, 1),)
        os.close(root)
        subprocess.run(["umount", below], check=True)
