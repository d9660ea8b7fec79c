"""What users do to files while a plot travels: rm, mv, truncate, dd and cp, through the page cache, and no sync."""

from __future__ import annotations

from tests.simulation.filesystem import Drive


def rm(drive: Drive, name: str) -> None:
    """Remove a file."""
    drive.unlink(name)


def mv(drive: Drive, old: str, new: str) -> None:
    """Rename a file, over one that has the name."""
    drive.rename(old, new)


def truncate(drive: Drive, name: str, size: int) -> None:
    """Set the size of a file in blocks."""
    handle = drive.open(name, is_writable=True)
    drive.truncate(handle, size)
    drive.close(handle)


def dd(drive: Drive, name: str, index: int, token: int) -> None:
    """Overwrite one block, `dd conv=notrunc`."""
    handle = drive.open(name, is_writable=True)
    drive.write(handle, index, token)
    drive.close(handle)


def cp(drive: Drive, old: str, new: str) -> None:
    """Copy a file: into the file that has the name, if there is one."""
    source = drive.open(old, nofollow=False)
    target = drive.create(new, exclusive=False)
    drive.truncate(target, 0)
    for index in range(source.inode.size):
        drive.write(target, index, drive.read(source, index) or -1)
    drive.close(source)
    drive.close(target)
