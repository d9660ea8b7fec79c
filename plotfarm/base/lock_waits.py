"""Waiting for a lock has an end, and what was waited for in vain is remembered for this run, and told.

The locks that are waited for are held for milliseconds. One that is held for longer is in the hands of a process that
stands still, or of one that is not of this suite.
"""

from __future__ import annotations

import fcntl
import os
import time
from dataclasses import dataclass
from pathlib import Path

from plotfarm.base.errors import PlotfarmError
from plotfarm.base.lock_files import user_name

_FIRST_PAUSE_SECONDS = 0.0005
_LONGEST_PAUSE_SECONDS = 0.02
_longest_wait_seconds = 20.0


@dataclass(frozen=True)
class Holder:
    """A process that holds a lock, as the kernel tells it; 0 and "" if it does not."""

    pid: int = 0
    command: str = ""
    user: str = ""


class LockTimeout(PlotfarmError):
    """Another process held a lock for all of the time that was waited for it."""

    def __init__(self, path: Path, seconds: float, holder: Holder) -> None:
        self.path = path
        self.seconds = seconds
        self.holder = holder
        who = f"process {holder.pid} ({holder.command}, of {holder.user})" if holder.pid else "a process"
        super().__init__(f"{who} has held the lock {path} for {seconds:g} seconds: end that process (fuser -v {path})")


_waited_in_vain: dict[Path, LockTimeout] = {}
_taken: set[Path] = set()
_is_busy = False


def limit_waits(seconds: float) -> None:
    """Set how long this process waits for a lock at most."""
    global _longest_wait_seconds
    _longest_wait_seconds = seconds


def wait_for(descriptor: int, path: Path, limit_seconds: float | None) -> None:
    """Take a lock that is held by another process now; LockTimeout if that is not possible within the limit.

    `limit_seconds` None: that of `limit_waits`. Asked again and again, for flock(2) itself waits without an end.
    """
    limit = _longest_wait_seconds if limit_seconds is None else limit_seconds
    deadline = time.monotonic() + limit
    pause = _FIRST_PAUSE_SECONDS
    while (left := deadline - time.monotonic()) > 0:
        time.sleep(min(pause, left))
        pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            continue
        return
    raise LockTimeout(path, limit, _holder_of(descriptor))


def note_taken(path: Path) -> None:
    """Remember that this process got a lock."""
    _taken.add(path)


def note_in_vain(timeout: LockTimeout) -> None:
    """Remember for the rest of this process that a lock was waited for in vain: it is told in the end."""
    _waited_in_vain.setdefault(timeout.path, timeout)


def waited_in_vain() -> list[LockTimeout]:
    """Return the locks that this process waited for in vain."""
    return list(_waited_in_vain.values())


def taken() -> set[Path]:
    """Return the locks that this process got."""
    return _taken - set(_waited_in_vain)


def note_busy() -> None:
    """Remember that another run of this script is at it."""
    global _is_busy
    _is_busy = True


def was_busy() -> bool:
    """Tell whether this run found another one at it."""
    return _is_busy


def forget() -> None:
    """Begin anew, as a new process does."""
    global _is_busy
    _is_busy = False
    _waited_in_vain.clear()
    _taken.clear()


def _holder_of(descriptor: int) -> Holder:
    """Return who holds the flock on a file, by /proc/locks: proc(5). Its device number is not that of every stat(2)."""
    inode = b":%d" % os.fstat(descriptor).st_ino
    try:
        lines = Path("/proc/locks").read_bytes().split(b"\n")
    except OSError:
        return Holder()
    for line in lines:
        fields = line.split()
        if len(fields) >= 6 and fields[1] == b"FLOCK" and fields[5].endswith(inode) and fields[4].isdigit():
            return _described(int(fields[4]))
    return Holder()


def _described(pid: int) -> Holder:
    try:
        command = os.fsdecode(Path(f"/proc/{pid}/comm").read_bytes().strip())
        owner = os.stat(f"/proc/{pid}").st_uid
    except OSError:
        return Holder()
    return Holder(pid, command, user_name(owner))
