"""What a disk, or another process, may do to the state database: tolerated, remembered for this run, and told."""

from __future__ import annotations

import errno
import sqlite3
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from plotfarm.base.errors import PlotfarmError


class Trouble(StrEnum):
    """Why the state database cannot be used. Anything else that SQLite complains of is a mistake in the program."""

    IO_ERROR = "io_error"
    FULL = "full"
    READ_ONLY = "read_only"
    CANNOT_OPEN = "cannot_open"  # not permitted, or its directory cannot be made
    LOCKED = "locked"  # another process has it for too long
    CORRUPT = "corrupt"  # or no database at all
    UNSTORABLE = "unstorable"  # a value that SQLite cannot hold: a name that is no text
    NEWER = "newer"  # made by a later version of the suite: not tolerated, see NewerMemoryError


@dataclass(frozen=True)
class MemoryTrouble:
    """What this run met, the first time."""

    path: Path  # of the database
    trouble: Trouble
    detail: str  # in the words of SQLite or of the kernel


class NewerMemoryError(PlotfarmError):
    """The database was made by a later version of the suite: it is not touched, and this one ends."""


_BY_CODE = {
    sqlite3.SQLITE_IOERR: Trouble.IO_ERROR,
    sqlite3.SQLITE_FULL: Trouble.FULL,
    sqlite3.SQLITE_READONLY: Trouble.READ_ONLY,
    sqlite3.SQLITE_CANTOPEN: Trouble.CANNOT_OPEN,
    sqlite3.SQLITE_PERM: Trouble.CANNOT_OPEN,
    sqlite3.SQLITE_BUSY: Trouble.LOCKED,
    sqlite3.SQLITE_LOCKED: Trouble.LOCKED,
    sqlite3.SQLITE_PROTOCOL: Trouble.LOCKED,
    sqlite3.SQLITE_CORRUPT: Trouble.CORRUPT,
    sqlite3.SQLITE_NOTADB: Trouble.CORRUPT,
}
_BY_ERRNO = {
    errno.EIO: Trouble.IO_ERROR,
    errno.ENOSPC: Trouble.FULL,
    errno.EDQUOT: Trouble.FULL,
    errno.EROFS: Trouble.READ_ONLY,
}
_PRIMARY = 0xFF  # of an extended result code of SQLite
_met: dict[Path, MemoryTrouble] = {}


def trouble_of(error: Exception) -> Trouble | None:
    """Return what an error of SQLite or of a file system means for the memory; None: it is a bug."""
    if isinstance(error, sqlite3.Error):
        code = getattr(error, "sqlite_errorcode", None)  # none: Python itself refused the call
        return None if code is None else _BY_CODE.get(code & _PRIMARY)
    if isinstance(error, OSError):
        return _BY_ERRNO.get(error.errno or 0, Trouble.CANNOT_OPEN)
    if isinstance(error, UnicodeError | OverflowError):
        return Trouble.UNSTORABLE
    return None


def note(path: Path, trouble: Trouble, detail: str) -> None:
    """Remember for the rest of this process that a database could not be used; the first reason stays."""
    _met.setdefault(path, MemoryTrouble(path, trouble, detail))


def met() -> list[MemoryTrouble]:
    """Return which databases could not be used in this process, and why."""
    return list(_met.values())


def forget() -> None:
    """Begin anew, as a new process does."""
    _met.clear()
