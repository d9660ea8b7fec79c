"""Writing files so that a crash at any moment leaves either the old content or the new."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import time
from pathlib import Path

_BUSY_SECONDS = 10.0  # a file is written in far less
_PAUSE_SECONDS = 0.005
_LEFT_SECONDS = 60.0


def fsync_directory(directory: str | Path) -> None:
    """Make the names in `directory` survive a power cut; OSError if the drive refuses."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_atomically(path: str | Path, text: str) -> None:
    """Replace the content of `path` whole or not at all; owner and mode of an existing file stay.

    OSError if that fails, also if another process writes it for longer than anybody does.
    """
    target = Path(os.path.realpath(path))
    temporary = target.with_name(f".{target.name}.new")
    with os.fdopen(_open_alone(temporary), "w", encoding="utf-8", newline="") as file:
        try:
            with contextlib.suppress(FileNotFoundError):
                before = target.stat()
                os.fchmod(file.fileno(), before.st_mode & 0o7777)
                if (before.st_uid, before.st_gid) != (os.geteuid(), os.getegid()):
                    os.fchown(file.fileno(), before.st_uid, before.st_gid)
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
            os.rename(temporary, target)
        except BaseException:
            if _leads_to(temporary, file.fileno()):
                os.unlink(temporary)
            raise
    fsync_directory(target.parent)


def _open_alone(path: Path) -> int:
    """Return a descriptor of an empty file that no other process writes to, also one that a killed one has left.

    The name is always the same, so that nothing is left for ever. Who has it, has its lock; what is renamed meanwhile
    is somebody's finished file.
    """
    until = time.monotonic() + _BUSY_SECONDS
    while True:
        descriptor = _open(path)
        if descriptor is not None:
            try:
                if _is_ours_alone(descriptor, path):
                    os.fchmod(descriptor, 0o600)
                    os.ftruncate(descriptor, 0)
                    return descriptor
            except BaseException:
                os.close(descriptor)
                raise
            os.close(descriptor)
        if time.monotonic() >= until:
            raise OSError(errno.EBUSY, "another process writes it", str(path))
        time.sleep(_PAUSE_SECONDS)


def _open(path: Path) -> int | None:
    """Open the file, which is made if it is not there; None if what stands in the way is removed, or is in use."""
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
    except OSError as error:
        if error.errno not in (errno.ELOOP, errno.EACCES):
            raise
    try:
        # Another user's: he may be writing it, as root does by hand where the scripts run as somebody else.
        age = abs(time.time() - path.lstat().st_mtime)
    except FileNotFoundError:
        return None
    if age > _LEFT_SECONDS or path.is_symlink():
        os.unlink(path)
    return None


def _leads_to(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.lstat())
    except FileNotFoundError:
        return False


def _is_ours_alone(descriptor: int, path: Path) -> bool:
    """Tell whether a file was taken, and is still what its name leads to; a foreign one is removed."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    if not _leads_to(path, descriptor):
        return False
    status = os.fstat(descriptor)
    if stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid() and status.st_nlink == 1:
        return True
    os.unlink(path)
    return False
