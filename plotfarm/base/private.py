"""State, logs and locks are for the user of the scripts alone: 0700 and 0600, also where they were made otherwise.

Not by the umask of the process, which counts for plots as well: the harvester may run as another user.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
from collections.abc import Iterable
from pathlib import Path

from plotfarm.base.config.sections import Paths

_OF_OTHERS = 0o077
_DIRECTORY, _FILE = 0o700, 0o600
# What this suite keeps there. A directory with anything else in it may be one of the system, such as /var/log.
_OURS = re.compile(
    r".*\.log(\.\d+)?|.*\.lock|(plots-)?ssh-.*|\.?state\.sqlite.*|\.?offlined_drives.*|\.?last_good.*|coin_test|new_coins.*"
)


def make_private(path: Path) -> None:
    """Make an empty file that others cannot open, if it is not there. OSError if that fails.

    What root makes by hand belongs to the user of the directory, as whom the scripts run.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _FILE)
    except FileExistsError:
        return
    try:
        if os.geteuid() == 0:
            owner = os.stat(path.parent)
            os.fchown(descriptor, owner.st_uid, owner.st_gid)
    finally:
        os.close(descriptor)


def tighten(paths: Paths) -> list[str]:
    """Close the directories of the suite to other users, and the files in them; returns what was changed, in words.

    What belongs to another user, or cannot be changed, stays as it is. So does a directory that holds anything else,
    but not our files in it.
    """
    said = []
    for directory in dict.fromkeys((paths.logs, paths.state, paths.locks)):
        with contextlib.suppress(OSError):  # it is not there yet, or not ours: who needs it says so
            said += _tighten_one(directory)
    return said


def _tighten_one(directory: Path) -> list[str]:
    found = os.stat(directory)
    if found.st_uid != os.geteuid() or not found.st_mode & _OF_OTHERS:
        return []
    names = os.listdir(directory)
    said = []
    files = sum(_tighten_file(directory / name) for name in names if _OURS.fullmatch(name))
    if files:
        said.append(f"{files} files in {directory} could be read by other users: their mode is 0600 now")
    if _is_all_ours(names) and not found.st_mode & stat.S_ISVTX:
        os.chmod(directory, _DIRECTORY)
        said.append(f"{directory} could be read by other users: its mode is 0700 now")
    return said


def _is_all_ours(names: Iterable[str]) -> bool:
    return all(_OURS.fullmatch(name) for name in names)


def _tighten_file(path: Path) -> bool:
    """Close one file to others; tells whether it was open to them. Nothing that a planted link leads to is touched."""
    try:
        # O_PATH: closing any other descriptor would end the locks that this process has on the file, as SQLite does.
        descriptor = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        found = os.fstat(descriptor)
        is_loose = stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid() and bool(found.st_mode & _OF_OTHERS)
        if is_loose:
            os.chmod(f"/proc/self/fd/{descriptor}", _FILE)
        return is_loose
    except OSError:
        return False
    finally:
        os.close(descriptor)
