"""Locks between real processes."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from plotfarm.base.errors import PlotfarmError
from plotfarm.base.locks import (
    Lock,
    LockBusy,
    LockUnusable,
    file_system_of,
    holder,
    is_alive,
    last_content,
    process_started,
    refuse_network_directory,
    sole_run,
)
from plotfarm.transfer.effects import Stopped
from plotfarm.transfer.outcomes import Failure
from plotfarm.transfer.ports import free_port
from testbed.mounts import mount_small, private_mounts, why_no_mounts
from testbed.plots import CHECKOUT

# Takes a lock, optionally starts a child in a given way, says so, and waits for the end of its input.
TAKER = """
import os, subprocess, sys
from pathlib import Path
from plotfarm.base.locks import Lock
lock = Lock(Path(sys.argv[1]))
lock.acquire(wait="wait" in sys.argv, plot="x.plot")
child = 0
if "exec" in sys.argv:
    child = subprocess.Popen(["sleep", "1000"], close_fds=False).pid
if "fork" in sys.argv:
    child = os.fork()
    if child == 0:
        sys.stdin.read()
        os._exit(0)
print(child, flush=True)
sys.stdin.read()
"""


def taker(path: Path, *how: str) -> tuple[subprocess.Popen[bytes], int]:
    process = subprocess.Popen(
        [sys.executable, "-c", TAKER, str(path), *how], cwd=CHECKOUT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    return process, int(process.stdout.readline())


def test_a_second_process_finds_it_busy_and_learns_by_whom(tmp_path: Path) -> None:
    path = tmp_path / "locks" / "a.lock"
    process, _ = taker(path)
    with pytest.raises(LockBusy, match=f"a.lock is held by process {process.pid}") as busy:
        Lock(path).acquire()
    assert busy.value.holder["plot"] == "x.plot"
    content = holder(path)
    assert content is not None
    assert is_alive(content)
    process.communicate()
    assert holder(path) is None
    assert last_content(path)["plot"] == "x.plot"
    assert not is_alive(last_content(path))
    with Lock(path) as lock:
        assert lock.previous["plot"] == "x.plot"


def test_kill_frees_it(tmp_path: Path) -> None:
    process, _ = taker(tmp_path / "a.lock")
    process.send_signal(signal.SIGKILL)
    process.communicate()
    lock = Lock(tmp_path / "a.lock")
    lock.acquire()
    lock.release()


def test_a_stopped_holder_keeps_it(tmp_path: Path) -> None:
    process, _ = taker(tmp_path / "a.lock")
    process.send_signal(signal.SIGSTOP)
    with pytest.raises(LockBusy):
        Lock(tmp_path / "a.lock").acquire()
    process.send_signal(signal.SIGCONT)
    process.communicate()


def test_a_program_that_is_started_meanwhile_does_not_inherit_it(tmp_path: Path) -> None:
    process, child = taker(tmp_path / "a.lock", "exec")
    try:
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert psutil.pid_exists(child)
        Lock(tmp_path / "a.lock").acquire()
    finally:
        psutil.Process(child).kill()
        process.communicate()


def test_a_forked_child_holds_it_too(tmp_path: Path) -> None:
    process, child = taker(tmp_path / "a.lock", "fork")
    process.send_signal(signal.SIGKILL)
    process.wait()
    with pytest.raises(LockBusy):
        Lock(tmp_path / "a.lock").acquire()
    forked = psutil.Process(child)
    forked.kill()
    psutil.wait_procs([forked], timeout=10)
    lock = Lock(tmp_path / "a.lock")
    lock.acquire(wait=True)
    lock.release()
    process.communicate()


def test_who_waits_gets_it(tmp_path: Path) -> None:
    lock = Lock(tmp_path / "a.lock")
    lock.acquire()
    waiting = subprocess.Popen(
        [sys.executable, "-c", TAKER, str(lock.path), "wait"],
        cwd=CHECKOUT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with pytest.raises(subprocess.TimeoutExpired):
        waiting.wait(0.3)
    lock.release()
    assert waiting.stdout is not None
    assert waiting.stdout.readline() == b"0\n"
    waiting.communicate()


def test_a_used_again_pid_is_not_taken_for_the_holder() -> None:
    """Init has run for longer than whoever wrote this."""
    started = process_started(1)
    assert started is not None
    assert is_alive({"pid": 1, "started": started})
    assert not is_alive({"pid": 1, "started": started + 1})
    assert not is_alive({})
    assert process_started(2**22 + 1) is None


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"\xff\xfe", b"null"])
def test_senseless_content_does_not_matter(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.lock"
    path.write_bytes(content)
    assert last_content(path) == {}
    with Lock(path) as lock:
        assert lock.previous == {}
        assert json.loads(path.read_text())["pid"]


def test_a_planted_link_is_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / "a.lock").symlink_to(victim)
    with pytest.raises(LockUnusable, match=r"symbolic links: let this user write there, .* or set \[paths\] locks"):
        Lock(tmp_path / "a.lock").acquire()
    assert victim.read_text() == "precious"


def test_a_shorter_content_leaves_nothing_of_the_longer(tmp_path: Path) -> None:
    with Lock(tmp_path / "a.lock") as lock:
        lock.update(plot="x" * 1000)
        lock.update(plot="y")
        assert json.loads((tmp_path / "a.lock").read_text())["plot"] == "y"


def test_a_local_directory_is_fine(tmp_path: Path) -> None:
    refuse_network_directory(tmp_path / "new")
    assert (tmp_path / "new").is_dir()
    assert issubclass(LockBusy, PlotfarmError)


@pytest.mark.root
def test_a_mount_whose_name_is_no_text_stops_nothing(tmp_path: Path) -> None:
    """A stick that is mounted under a Latin-1 name, or one with a form feed in it, is anybody's to plug in."""
    if missing := why_no_mounts():
        pytest.skip(missing)
    with private_mounts():
        for number, name in enumerate([b"m\xfcller", b"form\x0cfeed", b"next\xc2\x85line"]):
            place = os.fsencode(tmp_path) + b"/" + name
            os.mkdir(place)
            subprocess.run([b"mount", b"-t", b"tmpfs", f"source - {number}".encode(), place], check=True)
        kept = tmp_path / "kept"
        kept.mkdir()
        mount_small(kept, 1_000_000)
        refuse_network_directory(kept / "locks")
        assert file_system_of(kept / "locks") == "tmpfs"


def test_a_process_whose_name_is_no_text_is_looked_at_all_the_same(tmp_path: Path) -> None:
    program = os.fsencode(tmp_path) + b"/sl\xe9ep"
    shutil.copy(b"/bin/sleep", program)
    process = subprocess.Popen([program, "1000"])
    try:
        assert process_started(process.pid) is not None
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def full(tmp_path: Path) -> Iterator[Path]:
    """A directory on a file system without room, where one lock has been used before."""
    if missing := why_no_mounts():
        pytest.skip(missing)
    with private_mounts():
        place = tmp_path / "full"
        place.mkdir()
        mount_small(place, 2**20)
        with Lock(place / "used.lock") as lock:
            lock.update(plot="x.plot")
        with open(place / "filler", "wb", buffering=0) as filler, contextlib.suppress(OSError):
            while True:
                filler.write(bytes(4096))
        yield place


@pytest.mark.root
def test_a_lock_that_only_says_that_it_is_held_needs_no_room(full: Path) -> None:
    with Lock(full / "new.lock"):
        assert holder(full / "new.lock") == {}
    with free_port(range(4040, 4140), "127.0.0.1", full):
        pass


@pytest.mark.root
def test_without_room_for_what_others_go_by_there_is_no_lock(full: Path) -> None:
    lock = Lock(full / "drive.lock")
    with pytest.raises(LockUnusable, match=r"No space left on device: .*make room there"):
        lock.acquire(plot="x.plot")
    assert not lock.held
    assert holder(full / "drive.lock") is None


@pytest.mark.root
def test_a_plot_that_is_on_its_way_is_not_ended_by_a_full_disk(full: Path) -> None:
    lock = Lock(full / "used.lock")
    lock.acquire(plot="y.plot")
    lock.update(written_bytes=1, more="x" * 10_000)
    assert lock.held
    lock.release()


@pytest.mark.root
def test_a_directory_that_cannot_be_written_is_said_with_what_to_do(tmp_path: Path) -> None:
    if missing := why_no_mounts():
        pytest.skip(missing)
    with private_mounts():
        subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "none", str(tmp_path)], check=True)
        for path in (tmp_path, tmp_path / "locks"):
            with pytest.raises(PlotfarmError, match="Read-only file system: let this user write there"):
                sole_run(path / "script.lock")
        with (
            pytest.raises(Stopped, match="Read-only file system: let this user write there") as caught,
            free_port(range(4040, 4140), "127.0.0.1", tmp_path),
        ):
            pass
        assert caught.value.failure is Failure.NO_PORT


@pytest.mark.root
def test_a_lock_that_is_there_can_be_held_where_nothing_can_be_written(tmp_path: Path) -> None:
    """What waits to be told goes out under such a lock, so that this is told too."""
    if missing := why_no_mounts():
        pytest.skip(missing)
    with private_mounts():
        mount_small(tmp_path, 2**20)
        path = tmp_path / "outbox.lock"
        with Lock(path) as lock:
            lock.update(plot="x.plot")
        subprocess.run(["mount", "-o", "remount,ro", str(tmp_path)], check=True)
        with Lock(path) as lock:
            lock.update(plot="y.plot")
            with pytest.raises(LockBusy):
                Lock(path).acquire()
        with pytest.raises(LockUnusable, match="Read-only file system: let this user write there"):
            Lock(path).acquire(plot="y.plot")
        assert holder(path) is None
