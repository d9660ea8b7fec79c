"""What tells one mounting of a drive from the next: mount ids and device numbers are used again at once.

Nothing here touches the drive.
"""

from __future__ import annotations

import ctypes
import glob
import os
import struct
from enum import StrEnum

from plotfarm.drives.model import Drive
from plotfarm.drives.mount_table import read_mount_table, topmost

_FILE_SYSTEMS = "/sys/fs"
_BLOCK_DEVICES = "/sys/dev/block"
_SYSFS_NAMES = {"ext2": "ext4", "ext3": "ext4"}  # which driver mounts them

# statx(2); the offsets are those of struct statx.
_AT_FDCWD = -100
_AT_FLAGS = 0x100 | 0x800 | 0x4000  # SYMLINK_NOFOLLOW, NO_AUTOMOUNT, STATX_DONT_SYNC: asks no drive for anything
_STATX_MNT_ID_UNIQUE = 0x4000
_STATX_BYTES = 256
_MNT_ID_OFFSET = 0x90

_libc = ctypes.CDLL(None, use_errno=True)


class MountKind(StrEnum):
    """What a mount identity is made of: the best that this kernel knows of this file system."""

    FILE_SYSTEM = "sysfs"  # the inode number of its directory in /sys/fs
    UNIQUE = "unique"  # the unique id of the mount, from Linux 6.8 on
    ID = "id"  # the id of the mount, which may be used again


def mount_identity(drive: Drive) -> str:
    """Return a string that is another one each time that the drive is mounted anew, such as `sysfs:18596`.

    "" for a declared directory and for what is not mounted, and if it cannot be told.
    """
    if drive.directory_mode or not drive.device_number:
        return ""

    # First that of the file system itself: unlike a mount, it is the same in each mount namespace, so a process of
    # cron and one of sshd agree on it; and after `umount -l` it stays as long as the kernel's cache of the drive does.
    if (inode := _sysfs_inode(drive)) is not None:
        return f"{MountKind.FILE_SYSTEM}:{inode}"
    if (number := _unique_mount_id(drive.mountpoint)) is not None:
        return f"{MountKind.UNIQUE}:{number}"
    mount = topmost(read_mount_table()).get(drive.mountpoint)
    return f"{MountKind.ID}:{mount.mount_id}" if mount is not None else ""


def is_mounted_anew(before: str, now: str) -> bool:
    """Tell whether two identities are those of different mountings; False if that is not known."""
    kind_before, _, value_before = before.partition(":")
    kind_now, _, value_now = now.partition(":")
    return bool(value_before and value_now) and kind_before == kind_now and value_before != value_now


def _sysfs_inode(drive: Drive) -> int | None:
    """Return the inode number of the drive's directory in /sys/fs: 64 bits, which the kernel never uses again."""
    try:
        directory = _btrfs_directory(drive) if drive.file_system == "btrfs" else _directory_of_device(drive)
        return os.stat(directory).st_ino if directory else None
    except OSError:
        return None


def _directory_of_device(drive: Drive) -> str:
    major, minor = os.major(drive.device_number), os.minor(drive.device_number)
    device = os.path.basename(os.readlink(f"{_BLOCK_DEVICES}/{major}:{minor}"))
    kind = _SYSFS_NAMES.get(drive.file_system, drive.file_system)
    return f"{_FILE_SYSTEMS}/{kind}/{device}"


def _btrfs_directory(drive: Drive) -> str:
    """Return the directory of the btrfs that has the drive's device; its device number is no block device's."""
    device = glob.escape(os.path.basename(os.path.realpath(drive.device)))
    found = glob.glob(f"{_FILE_SYSTEMS}/btrfs/*/devices/{device}")
    return os.path.dirname(os.path.dirname(found[0])) if found else ""


def _unique_mount_id(path: str) -> int | None:
    buffer = ctypes.create_string_buffer(_STATX_BYTES)
    try:
        failed = _libc.statx(_AT_FDCWD, os.fsencode(path), _AT_FLAGS, _STATX_MNT_ID_UNIQUE, buffer)
    except AttributeError:  # a C library from before 2018
        return None
    mask: int = struct.unpack_from("I", buffer, 0)[0]
    if failed or not mask & _STATX_MNT_ID_UNIQUE:
        return None
    number: int = struct.unpack_from("Q", buffer, _MNT_ID_OFFSET)[0]
    return number
