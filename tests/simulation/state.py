"""What a modelled drive knows: its kind, files, names and injected faults.

Begin with `filesystem.py`. The attributes that make one kind of file system differ from another were learned by
running the same operations on real ones.
"""

from __future__ import annotations

import errno
import os
from typing import NamedTuple

from plotfarm.base.disk_error import Call
from tests.simulation.inodes import Inode

Change = tuple[tuple[str, Inode | None], ...]  # what one call did to names, which stands or falls together


class Status(NamedTuple):
    """What stat tells of a file."""

    device: int
    inode: int
    size: int
    mtime: int
    ctime: int
    links: int


class Handle:
    """An open file description; `copies` counts the descriptors of it, in all processes."""

    __slots__ = ("copies", "inode", "is_writable", "seen_errors")

    def __init__(self, inode: Inode, is_writable: bool) -> None:
        self.inode = inode
        self.is_writable = is_writable
        self.copies = 1
        # An error that nobody was told of yet is told to who opens the file afterwards.
        self.seen_errors = inode.errors if inode.error_seen or not inode.errors else inode.errors - 1
        inode.holders += 1


class State:
    """What a drive knows, and what all its operations share."""

    __slots__ = (
        "buffers_direct",
        "capacity",
        "clock",
        "copies_on_write",
        "device",
        "durable_names",
        "faults",
        "free",
        "generation",
        "has_attributes",
        "has_direct",
        "inodes",
        "is_read_only",
        "is_tmpfs",
        "names",
        "pending",
        "sees_cached_holes",
        "tick",
        "uuid",
    )

    def __init__(self, device: int = 1, capacity: int = 64, uuid: str = "") -> None:
        self.device = device
        self.uuid = uuid or f"uuid-{device}"
        self.capacity = capacity
        self.free = capacity
        self.clock = 1  # of timestamps; each change moves it by `tick`, which may be 0: a coarse clock
        self.tick = 1
        self.generation = 0

        self.is_read_only = False
        self.has_attributes = True
        self.has_direct = True
        self.sees_cached_holes = True  # ext4 and XFS: see Inode.first_hole
        self.is_tmpfs = False
        # Learned: btrfs carries out O_DIRECT writes of files with checksums through the page cache and waits for them.
        # One that fails leaves its page, clean and read as good, and its error is told again by the next fsync of
        # every open file.
        self.buffers_direct = False
        self.copies_on_write = False  # btrfs: a block that was written needs room to be written again

        self.inodes: dict[int, Inode] = {}
        self.names: dict[str, Inode] = {}
        self.durable_names: dict[str, Inode] = {}
        self.pending: list[Change] = []
        self.faults: dict[Call, tuple[int, bool]] = {}

    def _take_fault(self, call: Call) -> int:
        if self.faults and call in self.faults:
            return self.faults.pop(call)[0]
        return 0

    def _may_fail(self, call: Call) -> None:
        if self.faults and call in self.faults:
            raise error(self.faults.pop(call)[0])

    def _change(self, call: Call) -> int:
        """Return the errno to raise when the change is made, 0 for none; raise it now if nothing is to be done."""
        if self.is_read_only:
            raise error(errno.EROFS)
        if not self.faults or call not in self.faults:
            return 0
        number, is_done = self.faults.pop(call)
        if not is_done:
            raise error(number)
        return number

    def _now(self) -> int:
        self.clock += self.tick
        return self.clock

    def _status(self, inode: Inode) -> Status:
        return Status(self.device, inode.number, inode.size, inode.mtime, inode.ctime, inode.links)

    def _forget_if_unused(self, inode: Inode) -> None:
        if inode.links == 0 and inode.holders == 0 and self.inodes.get(inode.number) is inode:
            del self.inodes[inode.number]
            self.free += inode.allocated.bit_count()

    def _commit(self, inode: Inode | None) -> None:
        """Make names durable: of the changes that gave this file a name, or all. What they overtook is settled."""
        left: list[Change] = []
        settled: set[str] = set()
        for change in reversed(self.pending):
            current = tuple([item for item in change if item[0] not in settled])
            if inode is None or any(target is inode for _, target in change):
                apply(self.durable_names, current)
                settled.update([name for name, _ in change])
            elif current:
                left.append(current)
        left.reverse()
        self.pending = left


def error(number: int) -> OSError:
    return OSError(number, os.strerror(number))


def apply(names: dict[str, Inode], change: Change) -> None:
    for name, inode in change:
        if inode is None:
            names.pop(name, None)
        else:
            names[name] = inode
