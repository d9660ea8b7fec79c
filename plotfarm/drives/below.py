"""Directories and files below the root of a drive: opened without ever leaving its mount, and told apart."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from hashlib import blake2b

from plotfarm.drives.mount_table import mount_id_of


class PlaceError(OSError):
    """A directory below the mountpoint cannot be read: `place` is its path there, "" for the drive itself."""

    def __init__(self, error: OSError, place: str) -> None:
        super().__init__(error.errno, error.strerror)
        self.place = place


@contextlib.contextmanager
def at(path: str) -> Iterator[None]:
    """Have an error say where it was met."""
    try:
        yield
    except OSError as error:
        raise PlaceError(error, path) from error


@contextlib.contextmanager
def opened_below(root: int, path: str) -> Iterator[int | None]:
    """Open a directory step by step, never leaving the mount; None if it went meanwhile or is not ours to read."""
    # Opened afresh: through an open directory btrfs shows at first what was there when it was opened.
    steps = [os.open(".", os.O_RDONLY | os.O_DIRECTORY, dir_fd=root)]
    try:
        try:
            for part in path.split("/") if path else ():
                steps.append(os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=steps[-1]))
            on_drive = len(steps) == 1 or mount_id_of(steps[-1]) == mount_id_of(root)
        except (FileNotFoundError, NotADirectoryError, PermissionError):
            on_drive = False
        yield steps[-1] if on_drive else None
    finally:
        for step in steps:
            os.close(step)


def regular(entry: os.DirEntry[str]) -> os.stat_result | None:
    """Return what a file looks like; None if it is no regular one, or gone."""
    try:
        status = entry.stat(follow_symlinks=False)
    except FileNotFoundError:
        return None
    return status if stat.S_ISREG(status.st_mode) else None


def number_of(path: str, name: str, status: os.stat_result) -> int:
    """Return the number that a file is known by: 64 bits, so a million plots hardly ever share one."""
    whole = f"{path}/{name}" if path else name
    digest = blake2b(os.fsencode(f"{whole}\0{status.st_size}\0{status.st_mtime_ns}"), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)
