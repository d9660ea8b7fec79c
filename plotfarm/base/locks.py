"""Locks between processes: the kernel says whether one is held, its file's content only by whom.

A lock is `flock` on a file that is never deleted, so it is free the moment its process ends, however it ends.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import socket
import stat
import time
from pathlib import Path
from types import TracebackType
from typing import Any

from plotfarm.base.errors import PlotfarmError
from plotfarm.base.lock_files import open_lock_file, open_to_look
from plotfarm.base.lock_waits import LockTimeout, note_busy, note_in_vain, note_taken, wait_for
from plotfarm.base.text import one_line

_LOG = logging.getLogger(__name__)

# File systems that live on another host: flock there is a promise that not every server keeps.
_NETWORK_FILE_SYSTEMS = {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "fuse.sshfs", "afs", "ceph", "glusterfs"}

_MOST_BYTES = 65536  # of the content of a lock
_MOST_SHOWN = 100  # characters of a value in it


class LockBusy(PlotfarmError):
    """Another process holds the lock; `holder` is what it wrote into it (informing only)."""

    def __init__(self, path: Path, holder: dict[str, Any]) -> None:
        self.holder = holder
        # Whoever can write to the lock may have written anything.
        pid, host = (one_line(str(holder.get(key, "")))[:_MOST_SHOWN] for key in ("pid", "host"))
        who = f"process {pid} on {host or 'this host'}" if pid else "a process"
        super().__init__(f"{path.name} is held by {who}")


class LockUnusable(PlotfarmError, OSError):
    """The file of a lock cannot be opened or written: not permitted, read-only, or no room."""

    def __init__(self, path: Path, error: OSError) -> None:
        OSError.__init__(self, error.errno, error.strerror, str(path))

    def __str__(self) -> str:
        """Say what to do about it."""
        remedy = "let this user write there, make room there, or set [paths] locks"
        return f"the lock {self.filename} cannot be used: {self.strerror}: {remedy}"


class Lock:
    """One lock file. Use as a context manager, or `acquire` and `release`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.previous: dict[str, Any] = {}  # what the holder before wrote last, once acquired
        self._descriptor: int | None = None
        self._why_unwritable: OSError | None = None

    def acquire(self, wait: bool = False, limit_seconds: float | None = None, **content: Any) -> None:
        """Take the lock and write who holds it; LockBusy if it is held and `wait` is false; LockUnusable.

        `content` is what others go by, such as the plot that comes: without room for that there is no lock. One that
        only says that it is held does without, as on a system disk that is full or read-only.

        With `wait` LockTimeout if it is held for longer than `limit_seconds`; None: longer than any process may hold a
        lock that is waited for, which is told at the end of the run. LockRefused if other users could hold it. The
        descriptor is close-on-exec: a command started later does not keep the lock, a forked child that keeps the
        descriptor open does.
        """
        descriptor = self._open()
        try:
            self._take(descriptor, wait, limit_seconds)
        except BaseException:
            os.close(descriptor)
            raise
        note_taken(self.path)
        self._descriptor = descriptor
        self.previous = _read(descriptor)
        self._content: dict[str, Any] = {
            "pid": os.getpid(),
            "started": process_started(os.getpid()),
            "host": socket.gethostname(),
            "since": time.time(),
        }
        self._content |= content
        try:
            self._write()
        except OSError as error:
            if content:
                self.release()
                raise LockUnusable(self.path, self._why_unwritable or error) from None

    def _open(self) -> int:
        self._why_unwritable = None
        try:
            return open_lock_file(self.path)
        except OSError as error:
            self._why_unwritable = error
        # What lies on a disk that became read-only can be held all the same.
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError:
            raise LockUnusable(self.path, self._why_unwritable) from None
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise LockUnusable(self.path, self._why_unwritable)
        return descriptor

    def _take(self, descriptor: int, wait: bool, limit_seconds: float | None) -> None:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if not wait:
                raise LockBusy(self.path, _read(descriptor)) from None
        else:
            return
        try:
            wait_for(descriptor, self.path, limit_seconds)
        except LockTimeout as timeout:
            if limit_seconds is None:
                note_in_vain(timeout)
            raise

    def update(self, **content: Any) -> None:
        """Write more about the holder and its progress; readers may see it half written and shrug.

        Where there is no room, what was written before stays: a plot that is on its way is not ended for that.
        """
        assert self._descriptor is not None, "update() of a lock that is not held"
        self._content |= content
        try:
            self._write()
        except OSError as error:
            _LOG.debug("%s cannot be written: %s", self.path, error.strerror)

    def _write(self) -> None:
        assert self._descriptor is not None
        data = json.dumps(self._content).encode()
        left = data
        while left:
            left = left[os.pwrite(self._descriptor, left, len(data) - len(left)) :]
        os.ftruncate(self._descriptor, len(data))

    def release(self) -> None:
        """Give the lock back; nothing happens if it is not held."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def fileno(self) -> int:
        """Return the descriptor that holds the lock, for a forked child that shall hold it too."""
        assert self._descriptor is not None, "fileno() of a lock that is not held"
        return self._descriptor

    @property
    def held(self) -> bool:
        """Whether this object holds the lock."""
        return self._descriptor is not None

    def __enter__(self) -> Lock:
        if not self.held:
            self.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def sole_run(path: Path) -> Lock | None:
    """Take the lock that only one run of a script has at a time; None if another run has it.

    PlotfarmError if it would lie on another host.
    """
    refuse_network_directory(path.parent)
    lock = Lock(path)
    try:
        lock.acquire()
    except LockBusy as busy:
        _LOG.debug("%s: %s", busy, busy.holder)
        note_busy()
        return None
    return lock


def holder(path: Path) -> dict[str, Any] | None:
    """Return what the holder of a lock wrote, or None if nobody holds it.

    Looking takes the lock for a moment: where takers do not wait, look and take under one common lock.
    """
    try:
        descriptor = open_to_look(path)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _read(descriptor)
    finally:
        os.close(descriptor)
    return None


def last_content(path: Path) -> dict[str, Any]:
    """Return what was last written into a lock, held or not; empty if there is nothing that makes sense."""
    try:
        descriptor = open_to_look(path)
    except FileNotFoundError:
        return {}
    try:
        return _read(descriptor)
    finally:
        os.close(descriptor)


def _read(descriptor: int) -> dict[str, Any]:
    try:
        content = json.loads(os.pread(descriptor, _MOST_BYTES, 0))
    except (ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def process_started(pid: int) -> int | None:
    """Return when a process started (clock ticks since boot), or None if there is none.

    With the pid it names a process for ever, since pids are used again. Source: proc(5), field 22 of stat.
    """
    try:
        told = Path(f"/proc/{pid}/stat").read_bytes()  # a program's name may be no text
    except OSError:
        return None
    fields = told.rpartition(b")")[2].split()
    return None if fields[0] in (b"Z", b"X") else int(fields[19])


def is_alive(content: dict[str, Any]) -> bool:
    """Tell whether the process that wrote this lock content still runs on this host; False if it makes no sense."""
    pid, started = content.get("pid"), content.get("started")
    if type(pid) is not int or type(started) is not int:
        return False
    return process_started(pid) == started


def file_system_of(path: Path) -> str:
    """Return the file system type under `path`, or an empty string if /proc/self/mountinfo does not say."""
    number = os.stat(path).st_dev
    wanted = f"{os.major(number)}:{os.minor(number)}".encode()
    # Bytes, and nothing but the kernel's own separators: anybody may mount at a name that is no text.
    for line in Path("/proc/self/mountinfo").read_bytes().split(b"\n"):
        before, _, after = line.partition(b" - ")
        if wanted in before.split(b" ")[2:3]:
            return os.fsdecode(after.split(b" ")[0])
    return ""


def refuse_network_directory(directory: Path) -> None:
    """Raise PlotfarmError if locks in `directory` would lie on another host."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise LockUnusable(directory, error) from None
    kind = file_system_of(directory)
    if kind in _NETWORK_FILE_SYSTEMS:
        raise PlotfarmError(
            f"the lock directory {directory} is on a network file system ({kind}), where locks cannot be trusted: "
            "set [paths] locks to a directory on a local disk"
        )
