"""Where a modelled drive is seen: mount points, which change under their paths, and second views of one drive."""

from __future__ import annotations

import errno
import os
from enum import StrEnum
from typing import Any

from tests.simulation.filesystem import Drive, Handle, Status


class Alias(StrEnum):
    """How a second path leads to the same files."""

    BIND = "bind"  # the same device and inode numbers
    POOL = "pool"  # mergerfs: numbers of its own, link counts as they were, no RENAME_NOREPLACE
    NFS = "nfs"  # a device of its own, the server's inode numbers, errors that only close tells


class View:
    """A drive through an alias: what differs is here, all else is asked of the drive. Times set through it are its."""

    __slots__ = ("_links", "alias", "device", "drive")

    def __init__(self, drive: Drive, alias: Alias, device: int = 900) -> None:
        self.drive = drive
        self.alias = alias
        self.device = drive.device if alias is Alias.BIND else device
        self._links: dict[int, int] = {}  # by generation: as first seen

    def __getattr__(self, name: str) -> Any:
        return getattr(self.drive, name)

    def stat(self, name: str) -> Status:
        """Return what stat tells through this path."""
        status = self.drive.stat(name)
        return self._shown(status, self.drive.names[name].generation)

    def fstat(self, handle: Handle) -> Status:
        """Return what stat tells of a file that was opened through this path."""
        return self._shown(self.drive.fstat(handle), handle.inode.generation)

    def _shown(self, status: Status, generation: int) -> Status:
        if self.alias is Alias.BIND:
            return status
        links = self._links.setdefault(generation, status.links)
        number = status.inode
        if self.alias is Alias.POOL:
            number = (self.drive.device << 32) + generation
        return status._replace(device=self.device, inode=number, links=links)

    def rename_noreplace(self, old: str, new: str) -> None:
        """Rename; EINVAL on mergerfs, which has no such call."""
        if self.alias is Alias.POOL:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        self.drive.rename_noreplace(old, new)

    def close(self, handle: Handle) -> None:
        """Close; over NFS this writes back, and tells an error that no other call told."""
        failure: OSError | None = None
        if self.alias is Alias.NFS and handle.is_writable:
            try:
                self.drive.write_back(handle)
            except OSError as error:
                failure = error
        self.drive.close(handle)
        if failure is not None:
            raise failure


class MountPoint:
    """A path on which drives are mounted: who opens it gets the drive of this moment and keeps it.

    `below` is the directory under the mount point, on the system disk: it appears when nothing is mounted.
    """

    __slots__ = ("below", "drive", "mount_id")

    def __init__(self, drive: Drive, below: Drive | None = None) -> None:
        self.below = below or Drive(device=0, uuid="system")
        self.drive = drive
        self.mount_id = 1

    def unmount(self) -> Drive:
        """Take the drive off the path, as `umount -l`: what is open goes on, onto the drive that is returned."""
        gone = self.drive
        self.mount(self.below)
        return gone

    def mount(self, drive: Drive) -> None:
        """Let another drive appear at the path; it may have the same device and inode numbers."""
        self.drive = drive
        self.mount_id += 1

    @property
    def is_mounted(self) -> bool:
        """Tell whether a drive is mounted here."""
        return self.drive is not self.below
