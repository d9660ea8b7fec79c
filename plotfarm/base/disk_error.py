"""A system call on a file that failed: which call it was says more than its error number.

ENOSPC of a write means that a drive is full; ENOSPC of fsync means that bytes which were taken are lost.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from enum import StrEnum


class Call(StrEnum):
    """What was asked of the file system when it failed."""

    OPEN = "open"
    CREATE = "create"
    LOCK = "lock"
    XATTR = "xattr"
    ALLOCATE = "allocate"
    WRITE = "write"
    WRITE_BACK = "write back"
    TRUNCATE = "truncate"
    FSYNC = "fsync"
    READ = "read"
    SEEK = "seek"
    STAT = "stat"
    LIST = "list"
    SET_TIME = "set time"
    LINK = "link"
    RENAME = "rename"
    UNLINK = "unlink"
    SYNC_DIRECTORY = "fsync of the directory"
    CLOSE = "close"


class DiskError(Exception):
    """`call` failed with the error number `number` (errno)."""

    def __init__(self, call: Call, number: int) -> None:
        self.call = call
        self.number = number
        super().__init__(f"{call.value}: {os.strerror(number)}")

    def __reduce__(self) -> tuple[type[DiskError], tuple[Call, int]]:
        """Let it travel between processes."""
        return DiskError, (self.call, self.number)


@contextlib.contextmanager
def calling(call: Call) -> Iterator[None]:
    """Turn an OSError of the block into the DiskError of this call."""
    try:
        yield
    except OSError as error:
        raise DiskError(call, error.errno or 0) from error
