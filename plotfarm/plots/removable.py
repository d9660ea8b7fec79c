"""Whether a file could be removed: found out before it is sent anywhere, without removing anything."""

from __future__ import annotations

import fcntl
import os
import stat
import struct
from pathlib import Path

_GET_FLAGS = 0x80086601  # FS_IOC_GETFLAGS, ioctl_iflags(2)
_IMMUTABLE, _APPEND_ONLY = 0x10, 0x20


def why_not_removable(path: Path) -> str:
    """Return why this process cannot remove the file at `path`, with the remedy; "" if nothing speaks against it."""
    try:
        directory = os.stat(path.parent)
        file = os.stat(path, follow_symlinks=False)
        if os.statvfs(path.parent).f_flag & os.ST_RDONLY:
            return "it cannot be removed: its file system is read-only"
    except OSError as error:
        return f"it cannot be removed: {error.strerror}"
    for place, what in ((path, "the plot"), (path.parent, "its directory")):
        if _flags(place) & (_IMMUTABLE | _APPEND_ONLY):
            return f"it cannot be removed: {what} has the attribute i or a (see chattr)"
    # access(2) asks the server too, where the directory is on NFS.
    if not os.access(path.parent, os.W_OK | os.X_OK, effective_ids=True):
        return f"it cannot be removed: this user may not write to {path.parent}"
    is_sticky = bool(directory.st_mode & stat.S_ISVTX)
    if is_sticky and os.geteuid() not in (0, directory.st_uid, file.st_uid):
        return f"it cannot be removed: {path.parent} has the sticky bit, and the plot belongs to another user"
    return ""


def _flags(path: Path) -> int:
    """Return the attribute flags of a file; 0 where its file system has none."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return 0
    try:
        return int(struct.unpack("l", fcntl.ioctl(descriptor, _GET_FLAGS, struct.pack("l", 0)))[0])
    except OSError:
        return 0
    finally:
        os.close(descriptor)
