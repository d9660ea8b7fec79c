"""Whether an open directory lies on the file system with a certain UUID: device numbers are used again at once."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import struct
from dataclasses import dataclass

from plotfarm.drives.model import Drive, has_uuid
from plotfarm.drives.mount_table import Mount

_BY_UUID = "/dev/disk/by-uuid"
_UUID_IDENTITY = "uuid:"
_FULL_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_UUID_BYTES = 16

# FS_IOC_GETFSUUID, from Linux 6.9 on: one byte that says how long it is, and the UUID.
_GET_UUID = 2 << 30 | (1 + _UUID_BYTES) << 16 | 0x15 << 8
# BTRFS_IOC_FS_INFO: the UUID stands behind two numbers of 64 bits.
_BTRFS_INFO_BYTES = 1024
_BTRFS_INFO = 2 << 30 | _BTRFS_INFO_BYTES << 16 | 0x94 << 8 | 31
_BTRFS_UUID_OFFSET = 16


@dataclass(frozen=True)
class _Superblock:
    """Where a file system keeps its UUID on the device, in bytes from its begin."""

    magic_at: int
    magic: bytes
    uuid_at: int


_EXT = _Superblock(0x438, b"\x53\xef", 0x468)  # struct ext4_super_block, at 1024
_SUPERBLOCKS = {
    "ext2": _EXT,
    "ext3": _EXT,
    "ext4": _EXT,
    "xfs": _Superblock(0, b"XFSB", 0x20),
    "btrfs": _Superblock(0x10040, b"_BHRfS_M", 0x10020),
}


def is_another_file_system(drive: Drive, directory: int, mount: Mount) -> bool:
    """Tell whether the open directory, which lies on `mount`, is on a file system with another UUID than the drive's.

    False where that cannot be told: the drive is known by something else, or the UUID cannot be read.
    """
    if not has_uuid(drive.identity):
        return False
    expected = drive.identity.removeprefix(_UUID_IDENTITY)
    if _FULL_UUID.fullmatch(expected):  # FAT, NTFS and others have shorter ones, which udev writes in its own ways
        found = read_uuid(directory, mount.file_system)
        if found:
            return found != expected
    return _leads_elsewhere(expected, mount)


def read_uuid(directory: int, file_system: str) -> str:
    """Ask the kernel for the UUID of the file system that an open directory lies on; "" if it does not say."""
    try:
        if file_system == "btrfs":
            answer = fcntl.ioctl(directory, _BTRFS_INFO, bytes(_BTRFS_INFO_BYTES))
            found = answer[_BTRFS_UUID_OFFSET : _BTRFS_UUID_OFFSET + _UUID_BYTES]
        else:
            length, found = struct.unpack("B16s", fcntl.ioctl(directory, _GET_UUID, bytes(1 + _UUID_BYTES)))
            if length != _UUID_BYTES:
                return ""
    except OSError:
        return ""
    return _as_text(found)


def uuid_on(directory: int, mount: Mount) -> str:
    """Return the UUID of the file system that an open directory lies on, from the kernel or the drive; "" if unknown.

    Kernels before 6.9 do not say it, and then the device is read, which only root may.
    """
    return read_uuid(directory, mount.file_system) or _superblock_uuid(mount.source, mount.file_system)


def _superblock_uuid(device: str, file_system: str) -> str:
    layout = _SUPERBLOCKS.get(file_system)
    if layout is None or not device.startswith("/dev/"):
        return ""
    try:
        descriptor = os.open(device, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            magic = os.pread(descriptor, len(layout.magic), layout.magic_at)
            found = os.pread(descriptor, _UUID_BYTES, layout.uuid_at)
        finally:
            os.close(descriptor)
    except OSError:
        return ""
    return _as_text(found) if magic == layout.magic and len(found) == _UUID_BYTES else ""


def _as_text(uuid: bytes) -> str:
    digits = uuid.hex()
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def _leads_elsewhere(expected: str, mount: Mount) -> bool:
    """Tell whether udev's link for a UUID leads to another device than the mounted one."""
    try:
        linked = os.stat(f"{_BY_UUID}/{expected}").st_rdev
    except OSError:
        return False  # containers have no udev
    mounted = {mount.device_number}
    with contextlib.suppress(OSError):
        mounted.add(os.stat(mount.source).st_rdev)  # on btrfs the mount has a number of its own
    return linked not in mounted
