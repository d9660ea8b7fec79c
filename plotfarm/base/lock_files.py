"""Opening the file of a lock: only one that no other user can open, for whoever can open it can hold it for ever.

flock(2) asks for nothing but an open file, and the right to read is enough to open one.
"""

from __future__ import annotations

import logging
import os
import stat
from pathlib import Path

from plotfarm.base.errors import PlotfarmError

_LOG = logging.getLogger(__name__)
_ROOT = 0
_OF_OTHERS = 0o077


class LockRefused(PlotfarmError):
    """The file of a lock cannot be trusted: it belongs to somebody else, or is no file at all."""


def open_lock_file(path: Path) -> int:
    """Return a descriptor of a lock file that only its own user can open; it is made if it is not there.

    One of this user that others can open is closed to them. LockRefused if it belongs to another user, or is no file;
    OSError if it cannot be opened.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        descriptor = os.open(path, flags, 0o600)
    except PermissionError:
        _refuse_foreign(path)
        raise
    try:
        _close_to_others(descriptor, path)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def open_to_look(path: Path) -> int:
    """Return a descriptor of a lock file that is there, to look at it only.

    FileNotFoundError if it is not; LockRefused if it belongs to another user, who lets nobody look.
    """
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except PermissionError:
        _refuse_foreign(path)
        raise


def _refuse_foreign(path: Path) -> None:
    """Raise LockRefused if a file that cannot be opened belongs to another user; nothing if there is none."""
    try:
        owner = os.lstat(path).st_uid
    except OSError:
        return
    if owner != os.geteuid():
        raise LockRefused(_belongs_to(owner, path))


def _close_to_others(descriptor: int, path: Path) -> None:
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode):
        raise LockRefused(f"the lock {path} is no file: remove it")

    user = os.geteuid()
    directory_owner = os.stat(path.parent).st_uid
    if user == _ROOT and found.st_uid == _ROOT != directory_owner:
        # Root, by hand, where the scripts run as another user, who could not open this file otherwise.
        os.fchown(descriptor, directory_owner, -1)
    elif found.st_uid != user and not (user == _ROOT and found.st_uid == directory_owner):
        raise LockRefused(_belongs_to(found.st_uid, path))

    if found.st_mode & _OF_OTHERS:
        os.fchmod(descriptor, 0o600)
        _LOG.warning("%s could be opened by other users, who could hold it: its mode is 0600 now", path)


def _belongs_to(owner: int, path: Path) -> str:
    remedy = f"when no script is running, remove it (rm {path}), and run the scripts as one user"
    return f"the lock {path} belongs to {user_name(owner)}, who could hold it for ever: {remedy}"


def user_name(number: int) -> str:
    """Return what a user is called, or `user 1234` for one without a name."""
    import pwd

    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"user {number}"
