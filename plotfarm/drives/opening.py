"""Opening a drive's directory so that nothing can ever be written under an empty mountpoint.

Everything here touches the drive and may block for as long as a dying disk pleases: call it in the
process that writes to the drive, or in the probe's helper.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence

from plotfarm.drives.file_system_uuid import is_another_file_system
from plotfarm.drives.model import MARKER, Drive, DriveUnusable
from plotfarm.drives.mount_table import Mount, mount_id_of, read_mount_table
from plotfarm.drives.reasons import Reason, Why, why_of_error


def open_mounted(drive: Drive, table: Sequence[Mount] | None = None) -> int:
    """Open the drive's directory and return the descriptor; every file is then reached from it.

    DriveUnusable if that directory is not, now, on the file system that the drive is, also by its UUID where the
    drive is known by that (or, in directory mode, if it has no marker file). `table`: the mounts, if they have just
    been read.
    """
    try:
        directory = os.open(drive.mountpoint, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        why = _why_link(drive) or why_of_error(error)
        raise DriveUnusable(drive.mountpoint, why) from None
    try:
        # Read after the open: the mount behind the descriptor must still be in the table then.
        problem = _wrong_place(drive, directory, table)
        if problem is not None:
            raise DriveUnusable(drive.mountpoint, problem)
    except OSError as error:
        os.close(directory)
        raise DriveUnusable(drive.mountpoint, why_of_error(error)) from None
    except BaseException:
        os.close(directory)
        raise
    return directory


def _why_link(drive: Drive) -> Why | None:
    """Return that a declared directory is none, but a link: where that leads may change from one look to the next."""
    if not drive.directory_mode or not os.path.islink(drive.mountpoint):
        return None
    return Why(Reason.NO_MARKER, "it is a symbolic link: declare the directory that it leads to")


def is_still_mounted(drive: Drive, directory: int) -> bool:
    """Tell whether the drive's path still leads to the open directory (and the marker is there).

    After `umount -l` an open directory goes on working, but nobody else finds what is written there.
    """
    try:
        path = os.open(drive.mountpoint, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return _is_same_directory(path, directory) and (not drive.directory_mode or _has_marker(directory))
    except OSError:
        return False
    finally:
        os.close(path)


def _is_same_directory(one: int, other: int) -> bool:
    """Tell whether two open directories are one, on one mount.

    The root directories of two file systems can have the same numbers: on ext4 that of the inode is always 2, and
    device numbers are used again. The id of a mount is not used again while somebody holds a file there open.
    """
    first, second = os.fstat(one), os.fstat(other)
    if (first.st_dev, first.st_ino) != (second.st_dev, second.st_ino):
        return False
    return mount_id_of(one) == mount_id_of(other)


def _wrong_place(drive: Drive, directory: int, table: Sequence[Mount] | None) -> Why | None:
    if drive.directory_mode:
        return None if _has_marker(directory) else Why(Reason.NO_MARKER)
    # By the mount's id and not by st_dev: on btrfs that differs from the number in the mount table.
    mount_id = mount_id_of(directory)
    for mount in table if table is not None else read_mount_table():
        if mount.mount_id == mount_id:
            if mount.mountpoint != drive.mountpoint:
                return Why(Reason.NOT_MOUNTED)
            is_other = mount.device_number != drive.device_number or is_another_file_system(drive, directory, mount)
            return Why(Reason.WRONG_DRIVE) if is_other else None
    return Why(Reason.NOT_MOUNTED)


def _has_marker(directory: int) -> bool:
    try:
        return stat.S_ISREG(os.stat(MARKER, dir_fd=directory, follow_symlinks=False).st_mode)
    except FileNotFoundError:
        return False


def named_disk(directory: int) -> str:
    """Return the device that the first line of the marker file names, for SMART; "" if it names none."""
    try:
        marker = os.open(MARKER, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory)
    except OSError:
        return ""  # it may be there for its owner only: that is enough to be a marker
    try:
        first = os.fsdecode(os.read(marker, 4096)).partition("\n")[0].strip()
    finally:
        os.close(marker)
    path = os.path.normpath(first)
    return path if path.startswith("/dev/") and path.isprintable() else ""
