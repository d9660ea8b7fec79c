"""The probe against real directories, a real other process that holds a drive, and a drive that hangs."""

from __future__ import annotations

import contextlib
import gc
import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from plotfarm.base.locks import Lock
from plotfarm.drives import asking
from plotfarm.drives.choose import judge
from plotfarm.drives.model import MARKER, NO_FILE, Drive, lock_name
from plotfarm.drives.opening import is_still_mounted, open_mounted
from plotfarm.drives.probe import probe
from plotfarm.drives.reasons import Reason, Why
from plotfarm.plots.parts import PartFacts, lock_part, part_name, write_facts
from testbed.mounts import private_mounts, why_no_mounts

# Holds a lock; with the word `until-wanted` only until somebody else opens it, and says what files that one has open.
HOLDER = """
import contextlib, fcntl, glob, os, sys, time
file = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
fcntl.flock(file, fcntl.LOCK_EX)
print("held", flush=True)
if sys.argv[2] == "for-ever":
    sys.stdin.read()
waiter = None
while waiter is None:
    time.sleep(0.005)
    for path in glob.glob("/proc/[0-9]*/fd/*"):
        with contextlib.suppress(OSError):
            owner = path.split("/")[2]
            if owner != str(os.getpid()) and os.readlink(path) == sys.argv[1]:
                waiter = owner
for number in sorted(os.listdir(f"/proc/{waiter}/fd"), key=int):
    print(number, os.readlink(f"/proc/{waiter}/fd/{number}"))
"""


@contextlib.contextmanager
def hold(path: Path, how: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, path, how], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout.readline() == "held\n"
            yield process
        finally:
            process.kill()


def make_drives(directory: Path, count: int) -> list[Drive]:
    drives = []
    for number in range(count):
        place = directory / f"drive{number}"
        place.mkdir()
        (place / MARKER).touch()
        drives.append(Drive(str(place), "", f"directory:{place}", 0, "", directory_mode=True))
    return drives


@pytest.fixture
def drives(tmp_path):
    return make_drives(tmp_path, 3)


def no_helper_left(besides: int | None = None) -> bool:
    helpers = [child for child in psutil.Process().children() if child.pid != besides]
    _, alive = psutil.wait_procs(helpers, timeout=20)
    return not alive


def test_room_and_names(drives, tmp_path):
    place = Path(drives[1].mountpoint)
    (place / "a.plot").write_bytes(b"x" * 5000)
    (place / "b.plot.part").write_bytes(b"foreign")
    (place / "c.plot").symlink_to("a.plot")
    (place / "d.plot").mkdir()
    readings = probe(drives, ["a.plot", "b.plot", "c.plot", "d.plot"], 20, tmp_path / "locks")
    room = os.statvfs(place)
    assert [reading.drive for reading in readings] == drives
    assert [reading.problem for reading in readings] == [None, None, None]
    assert readings[1].total_bytes == room.f_blocks * room.f_frsize
    assert abs(readings[1].free_bytes - room.f_bavail * room.f_frsize) < 10**9
    assert readings[1].found == {"a.plot": 5000, "c.plot": NO_FILE, "d.plot": NO_FILE}
    assert readings[0].found == {}
    assert [reading.parts for reading in readings] == [(), (), ()], "a foreign .part is none of this suite's"
    assert no_helper_left()


def test_parts_are_listed_with_what_they_say_of_themselves(drives, tmp_path):
    place, facts = Path(drives[1].mountpoint), PartFacts("rig1", 10**6, "ab" * 32)
    alive, dead = (place / part_name("a.plot", digit * 16) for digit in "ad")
    dead.touch()
    with alive.open("w+b") as file:
        keeps_facts = write_facts(file.fileno(), facts)
        os.posix_fallocate(file.fileno(), 0, 1 << 20)
        os.truncate(file.fileno(), 5000)
        assert lock_part(file.fileno())
        first, second, third = probe(drives, [], 20, tmp_path / "locks")
    assert first.parts == third.parts == ()
    parts = {part.name: part for part in second.parts}
    assert set(parts) == {alive.name, dead.name}
    found = parts[alive.name]
    assert (found.plot, found.arrival, found.size, found.is_alive) == ("a.plot", "a" * 16, 5000, True)
    assert found.facts == (facts if keeps_facts else None)
    assert found.allocated_bytes >= 5000
    assert (parts[dead.name].is_alive, parts[dead.name].facts, parts[dead.name].allocated_bytes) == (False, None, 0)


def test_a_drive_that_is_left_out_is_not_touched(drives, tmp_path):
    locks = tmp_path / "locks"
    left_out = [drives[0].identity, drives[2].identity]
    readings = probe(drives, ["a.plot"], 20, locks, leave_out=left_out)
    assert [reading.drive for reading in readings] == drives
    assert [(reading.problem, reading.total_bytes > 0) for reading in readings] == [
        (Why(Reason.NOT_ASKED), False), (None, True), (Why(Reason.NOT_ASKED), False),
    ]  # fmt: skip
    assert [reading.was_asked for reading in readings] == [False, True, False]
    assert [path.name for path in locks.iterdir()] == [lock_name("probe", drives[1].identity)]
    (reading,) = probe(drives[:1], [], 20, locks, leave_out=left_out)
    assert reading.problem == Why(Reason.NOT_ASKED)


def test_problems_are_answers(drives, tmp_path):
    (Path(drives[0].mountpoint) / MARKER).unlink()
    os.rename(drives[1].mountpoint, tmp_path / "moved")
    first, second, third = probe(drives, ["a.plot"], 20, tmp_path / "locks")
    assert first.problem == Why(Reason.NO_MARKER)
    assert second.problem == Why(Reason.NOT_MOUNTED)
    assert third.problem is None
    assert probe([], ["a.plot"], 20, tmp_path / "locks") == []


def test_a_symbolic_link_is_not_followed(drives, tmp_path):
    link = tmp_path / "link"
    link.symlink_to(drives[0].mountpoint)
    (reading,) = probe([Drive(str(link), "", "directory:link", 0, "", True)], [], 20, tmp_path / "locks")
    assert reading.problem is not None
    assert reading.problem.reason is Reason.NO_MARKER
    assert "symbolic link" in reading.problem.detail


@pytest.mark.root
def test_a_drive_without_inodes_is_full_whatever_is_free(drives, tmp_path):
    place = Path(drives[0].mountpoint)
    with private_mounts():
        subprocess.run(["mount", "-t", "tmpfs", "-o", "nr_inodes=2", "none", str(place)], check=True)
        (place / MARKER).touch()
        readings = probe(drives, [], 20, tmp_path / "locks")
    assert [reading.has_inodes for reading in readings] == [False, True, True]
    verdict, other, _ = judge(readings, [], [], 10_000, 0)
    assert (verdict.why.reason, verdict.room_plots, verdict.usable) == (Reason.FULL, 0, False)
    assert "no inodes" in verdict.why.detail
    assert other.usable


def test_a_drive_that_does_not_answer_costs_the_deadline_and_no_other_drive(drives, tmp_path):
    locks = tmp_path / "locks"
    locks.mkdir()
    with hold(locks / lock_name("probe", drives[1].identity), "for-ever") as holder:
        for _ in range(2):  # and nothing piles up behind it
            started = time.monotonic()
            readings = probe(drives, [], 0.5, locks)
            assert 0.5 <= time.monotonic() - started < 5
            assert [reading.problem for reading in readings] == [
                None, Why(Reason.PROBE_HANGS), None,
            ]  # fmt: skip
            assert no_helper_left(besides=holder.pid)
    assert [reading.problem for reading in probe(drives, [], 20, locks)] == [None, None, None]


def test_two_probes_at_the_same_moment_wait_for_each_other(drives, tmp_path):
    locks = tmp_path / "locks"
    ours = Lock(locks / "somebody.lock")
    ours.acquire()  # a lock of this process, which the helper must not inherit
    lock = locks / lock_name("probe", drives[2].identity)
    with hold(lock, "until-wanted") as holder:
        readings = probe(drives, [], 20, locks)
        opened = dict(line.split(" ", 1) for line in holder.stdout.read().splitlines())
    assert [reading.problem for reading in readings] == [None, None, None]
    assert [opened[number] for number in "012"] == [os.devnull] * 3
    assert opened["3"].startswith("pipe:")
    assert set(opened.values()) - {os.devnull, opened["3"]} == {str(lock)}
    ours.release()


def test_nobody_waits_for_a_probe_that_waits_for_a_silent_drive_itself(drives, tmp_path):
    locks = tmp_path / "locks"
    locks.mkdir()
    path = locks / lock_name("probe", drives[1].identity)
    path.write_text("1795000000.000\n")
    with hold(path, "for-ever") as holder:
        started = time.monotonic()
        readings = probe(drives, [], 60, locks)
        assert time.monotonic() - started < 30
        since = time.strftime("%Y-%m-%d %H:%M", time.localtime(1795000000))
        assert [reading.problem for reading in readings] == [None, Why(Reason.PROBE_HANGS, since), None]
        assert no_helper_left(besides=holder.pid)
    assert [reading.problem for reading in probe(drives, [], 20, locks)] == [None, None, None], "it is asked again"
    assert path.read_text() == "", "and has answered"


def test_only_the_names_are_looked_for_where_that_is_all(drives, tmp_path):
    place = Path(drives[1].mountpoint)
    (place / "a.plot").write_bytes(b"x" * 5000)
    (place / part_name("b.plot", "a" * 16)).touch()
    fully, only_names, _ = probe(drives, ["a.plot"], 20, tmp_path / "locks", only_names=[drives[1].identity])
    assert (fully.total_bytes > 0, fully.found) == (True, {})
    assert (only_names.problem, only_names.found) == (None, {"a.plot": 5000})
    assert (only_names.total_bytes, only_names.parts) == (0, ())
    Path(drives[1].mountpoint, MARKER).unlink()
    assert probe(drives, ["a.plot"], 20, tmp_path / "locks", only_names=[drives[1].identity])[1].problem == Why(
        Reason.NO_MARKER
    )


class Rubbish:
    """Holds a file, and itself: only the garbage collector ends it."""

    def __init__(self, path: Path) -> None:
        self.descriptor, self.itself = os.open(path, os.O_RDONLY), self

    def __del__(self) -> None:
        with contextlib.suppress(OSError):
            os.close(self.descriptor)


def test_rubbish_of_this_process_closes_no_file_of_the_helper(drives, tmp_path, monkeypatch):
    def ask_while_tidying(drive, *arguments):
        directories = [os.open(drive.mountpoint, os.O_RDONLY) for _ in range(60)]
        if gc.isenabled():
            gc.collect()  # as it comes by itself after some hundred new objects
        facts = asking.ask_drive(drive, *arguments)
        for directory in directories:
            os.close(directory)
        return facts

    monkeypatch.setattr("plotfarm.drives.probe_helper.ask_drive", ask_while_tidying)
    thresholds = gc.get_threshold()
    gc.set_threshold(10**6)
    try:
        for _ in range(20):
            Rubbish(tmp_path)
        readings = probe(drives, [], 20, tmp_path / "locks")
    finally:
        gc.set_threshold(*thresholds)
        gc.collect()
    assert [reading.problem for reading in readings] == [None, None, None]


def test_an_open_drive_is_noticed_when_its_place_or_marker_goes(drives, tmp_path):
    directory = open_mounted(drives[0])
    try:
        assert is_still_mounted(drives[0], directory)
        os.unlink(MARKER, dir_fd=directory)
        assert not is_still_mounted(drives[0], directory)
        Path(drives[0].mountpoint, MARKER).touch()
        assert is_still_mounted(drives[0], directory)
        os.rename(drives[0].mountpoint, tmp_path / "moved")
        assert not is_still_mounted(drives[0], directory)
        make_drives(tmp_path / "moved", 0)
        os.mkdir(drives[0].mountpoint)
        assert not is_still_mounted(drives[0], directory), "another directory at the same place"
    finally:
        os.close(directory)


# A FUSE file system whose server never answers: everything on it hangs, as on a dying disk.
HANGING = """
import ctypes, os, psutil, sys, time
from pathlib import Path
from plotfarm.drives.model import MARKER, Drive
from plotfarm.drives.probe import probe
from plotfarm.drives.reasons import Reason, Why

base = Path(sys.argv[1])
drives = []
for name in ("fine", "dead"):
    (base / name).mkdir()
    (base / name / MARKER).touch()
    drives.append(Drive(str(base / name), "", "directory:" + name, 0, "", True))
server = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
options = f"fd={server},rootmode=40000,user_id=0,group_id=0".encode()
libc = ctypes.CDLL(None, use_errno=True)
assert libc.mount(b"dead", os.fsencode(base / "dead"), b"fuse", 0, options) == 0, os.strerror(ctypes.get_errno())

def written(moment):
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(moment))

def ask_the_silent_drive(seconds):
    started = time.monotonic()
    problems = [reading.problem for reading in probe(drives, ["a.plot"], seconds, base / "locks")]
    assert time.monotonic() - started < seconds / 2
    return problems

begun = time.time()
started = time.monotonic()
problems = [reading.problem for reading in probe(drives, ["a.plot"], 0.5, base / "locks")]
assert time.monotonic() - started < 5
assert problems == [None, Why(Reason.NOT_ANSWERING, "0.5 s")], problems
(helper,) = psutil.Process().children()
for _ in range(2):
    problems = ask_the_silent_drive(30)
    assert [problem and problem.reason for problem in problems] == [None, Reason.PROBE_HANGS], problems
    assert problems[1].detail in (written(begun), written(begun + 60)), problems
others = [child for child in psutil.Process().children() if child != helper]
assert not psutil.wait_procs(others, timeout=20)[1], "only one helper stays with a hanging drive"
assert helper.is_running() and helper.status() != psutil.STATUS_ZOMBIE

helper.kill()  # nobody remembers but the mark that it left: the drive is asked again, and not waited for again
helper.wait(20)
problems = ask_the_silent_drive(30)
assert [problem and problem.reason for problem in problems] == [None, Reason.PROBE_HANGS], problems
assert problems[1].detail in (written(begun), written(begun + 60)), problems
(helper,) = psutil.Process().children()

os.close(server)  # the drive comes to life, with an error
helper.wait(20)
for _ in range(2):
    problems = ask_the_silent_drive(20)
    assert problems == [None, Why(Reason.IO_ERROR, "Transport endpoint is not connected")], problems
print("proved")
"""


@pytest.mark.root
def test_a_hanging_file_system(tmp_path):
    if os.geteuid() != 0 or not os.access("/dev/fuse", os.R_OK | os.W_OK):
        pytest.skip("needs root and /dev/fuse to mount a file system that never answers")
    if reason := why_no_mounts():
        pytest.skip(reason)
    done = subprocess.run(
        ["unshare", "--mount", "--propagation", "private", sys.executable, "-c", textwrap.dedent(HANGING), tmp_path],
        capture_output=True, text=True, timeout=100, cwd=Path(__file__).parents[2], check=False,
    )  # fmt: skip
    assert done.stdout == "proved\n", done.stderr
