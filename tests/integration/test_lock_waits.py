"""Waits for locks have an end, and a lock that another user could hold is none."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from plotfarm.base import lock_waits
from plotfarm.base.lock_files import LockRefused, open_lock_file
from plotfarm.base.lock_waits import LockTimeout, limit_waits, waited_in_vain
from plotfarm.base.locks import Lock
from plotfarm.drives.model import Drive
from plotfarm.drives.reservations import Reservations
from plotfarm.drives.sessions import Sessions
from plotfarm.drives.smart.calls import NoAnswer, call
from testbed.plots import CHECKOUT

NOBODY = 65534
SHORT_SECONDS = 0.3
# Takes a shared lock on a file that it can only read, says so, and waits for the end of its input.
STRANGER = """
import fcntl, os, sys
os.chdir(os.path.dirname(sys.argv[1]))
if os.geteuid() == 0:
    os.setgid(65534); os.setuid(65534)
file = os.open(os.path.basename(sys.argv[1]), os.O_RDONLY)
fcntl.flock(file, fcntl.LOCK_SH)
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def _short_waits() -> Iterator[None]:
    lock_waits.forget()
    limit_waits(SHORT_SECONDS)
    yield
    limit_waits(20.0)
    lock_waits.forget()


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A lock directory as it was made before: any user can read it and what is in it."""
    locks = tmp_path / "locks"
    locks.mkdir(mode=0o755)
    return locks


def stranger(path: Path) -> subprocess.Popen[str]:
    """A process that holds a lock of which it may only read the file."""
    path.touch()
    path.chmod(0o644)
    process = subprocess.Popen(
        [sys.executable, "-S", "-c", STRANGER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_lock_that_a_reader_holds_ends_the_wait_and_names_who_holds_it(directory: Path) -> None:
    process = stranger(directory / "arrivals.lock")
    begun = time.monotonic()
    with pytest.raises(LockTimeout) as timeout, Reservations(directory).mutex():
        raise AssertionError("the mutex was not ours")
    assert time.monotonic() - begun >= SHORT_SECONDS
    holder = timeout.value.holder
    assert holder.pid == process.pid
    assert holder.command.startswith("python")
    assert str(directory / "arrivals.lock") in str(timeout.value)
    assert [one.path.name for one in waited_in_vain()] == ["arrivals.lock"]
    process.communicate()
    with Reservations(directory).mutex():
        pass


@pytest.mark.root
def test_the_owner_of_the_process_is_named(directory: Path) -> None:
    process = stranger(directory / "a.lock")
    with pytest.raises(LockTimeout, match="of nobody") as timeout:
        Lock(directory / "a.lock").acquire(wait=True)
    assert timeout.value.holder.user == "nobody"
    process.communicate()


def test_a_held_session_lock_turns_one_session_away_and_keeps_nobody_waiting_for_ever(directory: Path) -> None:
    process = stranger(directory / "session-000.lock")
    sessions = Sessions(directory)
    with pytest.raises(LockTimeout):
        sessions.begin("plotter", 4)
    assert [one.path.name for one in waited_in_vain()] == ["session-000.lock"]
    process.communicate()
    session = sessions.begin("plotter", 4)
    assert session is not None and session.is_granted


def test_smartctl_is_not_waited_for_longer_than_its_time(directory: Path) -> None:
    from plotfarm.drives.model import lock_name

    process = stranger(directory / lock_name("smart", "/dev/sdz"))
    with pytest.raises(NoAnswer, match="another process has been asking it"):
        call(["true"], "/dev/sdz", SHORT_SECONDS, directory)
    assert waited_in_vain() == [], "a disk that is asked for long is told of as such"
    process.communicate()


def test_a_short_look_does_not_count_as_waiting_in_vain(directory: Path) -> None:
    process = stranger(directory / "arrivals.lock")
    with pytest.raises(LockTimeout), Reservations(directory).mutex(0.05):
        raise AssertionError("the mutex was not ours")
    assert waited_in_vain() == []
    process.communicate()


def test_a_new_lock_is_its_users_alone(tmp_path: Path) -> None:
    with Lock(tmp_path / "locks" / "a.lock") as lock:
        assert lock.path.stat().st_mode & 0o777 == 0o600
        assert lock.path.parent.stat().st_mode & 0o777 == 0o700


def test_one_that_others_can_open_is_closed_to_them(directory: Path, caplog: pytest.LogCaptureFixture) -> None:
    (directory / "a.lock").touch(mode=0o644)
    for _ in range(2):
        with Lock(directory / "a.lock"):
            pass
    assert (directory / "a.lock").stat().st_mode & 0o777 == 0o600
    assert caplog.text.count("could be opened by other users") == 1


@pytest.mark.root
def test_one_that_belongs_to_somebody_else_is_refused_with_the_remedy(directory: Path) -> None:
    path = directory / "a.lock"
    path.touch(mode=0o600)
    os.chown(path, NOBODY, -1)
    with pytest.raises(LockRefused, match=f"belongs to nobody.*rm {path}"):
        Lock(path).acquire()
    drive = Drive("/mnt/drive1", "", "uuid:1", 1, "ext4")
    reserved = Reservations(directory).path_for(drive)
    reserved.touch()
    os.chown(reserved, NOBODY, -1)
    with pytest.raises(LockRefused):
        Reservations(directory).take(drive)


def said_to_nobody(directory: Path, statement: str) -> str:
    """Return the error of a statement about Lock, holder and Path, as another user with this working directory."""
    words = (
        "import os, sys\nfrom pathlib import Path\nfrom plotfarm.base.locks import Lock, holder\n"
        f"os.chdir(sys.argv[1])\nos.setuid({NOBODY})\n"
        f"try:\n    {statement}\nexcept Exception as error:\n    print(type(error).__name__, error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", words, str(directory)], cwd=CHECKOUT, capture_output=True, text=True, check=False
    )
    assert done.stdout, done.stderr
    return done.stdout


@pytest.mark.root
def test_a_user_who_may_not_even_look_at_a_lock_is_told_so(directory: Path) -> None:
    (directory / "a.lock").touch(mode=0o600)
    said = said_to_nobody(directory, "holder(Path('a.lock'))")
    assert said.startswith("LockRefused the lock a.lock belongs to root")


@pytest.mark.root
def test_what_root_makes_by_hand_belongs_to_the_user_of_the_scripts(directory: Path) -> None:
    os.chown(directory, NOBODY, -1)
    os.close(open_lock_file(directory / "a.lock"))
    assert (directory / "a.lock").stat().st_uid == NOBODY
    os.close(open_lock_file(directory / "a.lock"))


@pytest.mark.root
def test_a_user_who_cannot_open_a_lock_of_another_is_told_so(directory: Path) -> None:
    (directory / "a.lock").touch(mode=0o600)
    said = said_to_nobody(directory, "Lock(Path('a.lock')).acquire()")
    assert said.startswith("LockRefused the lock ")
    assert "belongs to root" in said


def test_what_is_no_file_is_refused(directory: Path) -> None:
    os.mkfifo(directory / "a.lock", 0o600)
    with pytest.raises(LockRefused, match="is no file"):
        Lock(directory / "a.lock").acquire()
