"""Which file it is: the one type by which a source is recognised, wherever it was looked at."""

from __future__ import annotations

import os
from dataclasses import dataclass
from enum import Enum


class Change(Enum):
    """How two looks at a file differ."""

    NONE = "none"
    ONLY_CTIME = "only ctime"  # renamed, linked, or its owner or mode changed; perhaps written with the time set back
    CONTENT = "content"  # written, cut, or another file


@dataclass(frozen=True)
class FileIdentity:
    """A file as fstat(2) shows it: the numbers of its file system and inode, bytes, and times in ns of Unix time."""

    device: int
    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int

    @classmethod
    def of(cls, status: os.stat_result) -> FileIdentity:
        """Return the identity in what a stat call returned."""
        return cls(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)

    def change_to(self, other: FileIdentity) -> Change:
        """Tell what has changed when the same path, or open file, shows `other` now."""
        if self == other:
            return Change.NONE
        mine = (self.device, self.inode, self.size, self.mtime_ns)
        theirs = (other.device, other.inode, other.size, other.mtime_ns)
        return Change.ONLY_CTIME if mine == theirs else Change.CONTENT
