"""A plot directory as a plotter sees it: its own drive, or an alias of the NAS's."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable

from tests.simulation.filesystem import Drive, Handle, Status
from tests.simulation.inodes import Inode


class SourceDirectory:
    """A directory that shows `prefix` of one or more drives; the first that has a name wins, changes reach all.

    `device`: the number it shows instead of the drive's own, as FUSE and NFS do; None: the drive's.
    """

    def __init__(self, branches: list[tuple[Drive, str]], device: int | None = None) -> None:
        self.branches = branches
        self.device = device
        self.is_sticky = False  # names cannot be removed
        self.is_there: Callable[[Drive], bool] = lambda drive: True  # whether a branch is mounted

    @property
    def has_leases(self) -> bool:
        return self.device is None

    def names(self) -> list[str]:
        """Return the names of all plots that are seen here."""
        found = set()
        for drive, prefix in self.branches:
            for name in drive.names if self.is_there(drive) else ():
                base = name[len(prefix) :]
                if name.startswith(prefix) and "/" not in base and base.endswith(".plot"):
                    found.add(base)
        return sorted(found)

    def holders(self, name: str) -> list[tuple[Drive, str]]:
        """Return the drives, and the name there, where changes by path take effect."""
        return [
            (drive, prefix + name)
            for drive, prefix in self.branches
            if prefix + name in drive.names and self.is_there(drive)
        ]

    def first(self, name: str) -> tuple[Drive, str]:
        """Return the drive that a path leads to. ENOENT."""
        found = self.holders(name)
        if not found:
            raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))
        return found[0]

    def open(self, name: str, is_writable: bool = False) -> tuple[Drive, Handle]:
        """Open a plot."""
        drive, full = self.first(name)
        return drive, drive.open(full, is_writable=is_writable)

    def inode(self, name: str) -> Inode | None:
        """Return what a path leads to; asks no drive."""
        found = self.holders(name)
        return found[0][0].names[found[0][1]] if found else None

    def shown(self, drive: Drive, status: Status) -> Status:
        """Return a file's status as it looks through this directory."""
        if self.device is None:
            return status
        return status._replace(device=self.device, inode=status.inode * 8 + drive.device)

    def set_time(self, name: str, value: int) -> None:
        """Set the time of a plot, by its path."""
        self.first(name)
        for drive, full in self.holders(name):
            handle = drive.open(full)
            drive.set_mtime(handle, value)
            drive.close(handle)
            if self.device is None:
                return

    def unlink(self, name: str) -> None:
        """Remove a plot, by its path."""
        self.first(name)
        if self.is_sticky:
            raise OSError(errno.EPERM, os.strerror(errno.EPERM))
        for drive, full in self.holders(name):
            drive.unlink(full)

    def sync(self) -> None:
        """Make the names durable."""
        for drive, _ in self.branches:
            drive.fsync_directory()
