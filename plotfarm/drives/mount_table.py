"""The kernel's own list of mounts, /proc/self/mountinfo: reading it never touches a drive.

Any user may have made a mount (fusermount), with any bytes in its name but NUL. The kernel escapes blank, tab, line
feed, backslash and #, and nothing else: so the table is divided as bytes, where no other character ends a line.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass

_LOG = logging.getLogger(__name__)

# What the options of a file system say when ext4 gave up on a failing drive (errors=remount-ro): from Linux 6.15 on
# the second, and then neither statvfs(3) nor access(2) tells.
_READ_ONLY = frozenset({"ro", "emergency_ro"})
_MOST_SHOWN = 200  # bytes of a line


@dataclass(frozen=True)
class Mount:
    """One line of mountinfo, described in proc(5)."""

    mount_id: int
    device_number: int  # os.makedev(major, minor)
    root: str  # which directory of the file system is mounted; "/" unless it is a bind mount or subvolume
    mountpoint: str
    read_only: bool
    file_system: str
    source: str
    is_shut_down: bool = False  # ext4 gave up on it: every call fails, but for what the kernel still remembers


def read_mount_table() -> list[Mount]:
    """Return every mount that this process sees, in the order in which they were made."""
    with open("/proc/self/mountinfo", "rb") as file:
        return parse_mount_table(file.read())


def parse_mount_table(content: bytes) -> list[Mount]:
    """Read the content of a mountinfo file; a line that makes no sense is skipped, and the log says which."""
    mounts = []
    for line in filter(None, content.split(b"\n")):
        try:
            mounts.append(_parse_line(line))
        except (ValueError, OverflowError):
            _LOG.warning("A line of the kernel's mount table cannot be read, and is skipped: %r", line[:_MOST_SHOWN])
    return mounts


def _parse_line(line: bytes) -> Mount:
    before, _, after = line.partition(b" - ")
    mount_id, _, number, *names = (os.fsdecode(field) for field in before.split(b" ")[:6])
    root, mountpoint, options = names
    file_system, source, super_options = (os.fsdecode(field) for field in after.split(b" ")[:3])
    major, minor = number.split(":")
    return Mount(
        mount_id=int(mount_id),
        device_number=os.makedev(int(major), int(minor)),
        root=decode(root),
        mountpoint=decode(mountpoint),
        read_only="ro" in options.split(",") or not _READ_ONLY.isdisjoint(super_options.split(",")),
        file_system=file_system,
        source=decode(source),
        is_shut_down="shutdown" in super_options.split(","),
    )


def decode(text: str) -> str:
    r"""Undo the octal escapes that mountinfo and fstab use: `a\040b` is `a b`."""
    if "\\" not in text:
        return text
    escaped = re.sub(rb"\\([0-3][0-7]{2})", lambda found: bytes([int(found[1], 8)]), os.fsencode(text))
    return os.fsdecode(escaped)


def topmost(table: Sequence[Mount]) -> dict[str, Mount]:
    """Return mountpoint -> the mount that is seen there: the last of those stacked on one another."""
    return {mount.mountpoint: mount for mount in table}


def covering(path: str, table: Sequence[Mount]) -> Mount | None:
    """Return the mount that an absolute path without symbolic links lies on."""
    seen = topmost(table)
    while path not in seen and path != "/":
        path = os.path.dirname(path)
    return seen.get(path)


def mount_of(descriptor: int, table: Sequence[Mount]) -> Mount | None:
    """Return the mount that an open file lies on; None if it is not in the table."""
    mount_id = mount_id_of(descriptor)
    return next((mount for mount in table if mount.mount_id == mount_id), None)


def mount_id_of(descriptor: int) -> int | None:
    """Return the id of the mount that an open file lies on: proc(5), /proc/self/fdinfo."""
    with open(f"/proc/self/fdinfo/{descriptor}") as file:
        for line in file:
            if line.startswith("mnt_id:"):
                return int(line.split()[1])
    return None
