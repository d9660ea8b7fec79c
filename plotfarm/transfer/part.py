"""NAME.part, the file that a plot arrives in: made, kept after an interruption, gone on with, removed."""

from __future__ import annotations

import contextlib
import os
import stat
import threading
from collections.abc import Iterable

from plotfarm.base.errors import TransferFailed
from plotfarm.plots.names import PART_SUFFIX
from plotfarm.transfer.worker import Endpoint, Untidy

# os.posix_fallocate writes zeros where the file system cannot reserve; there it is left out.
_RESERVING_FILE_SYSTEMS = {"ext4", "xfs", "btrfs"}


class Interrupted(TransferFailed):
    """The bytes stopped coming; those that came are as good as they were."""


def create_part(size: int, file_system: str, directory: int, part: str) -> int:
    """Create NAME.part anew, never through a link, with its room reserved where the file system can do that."""
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(part, flags, 0o644, dir_fd=directory)
    try:
        if file_system in _RESERVING_FILE_SYSTEMS:
            os.posix_fallocate(descriptor, 0, size)
    except BaseException:
        remove_own(part, directory)
        raise
    return descriptor


def open_kept(directory: int, part: str, inode: int, sizes: range) -> int | None:
    """Open the NAME.part of an interrupted arrival, if it is still that file and its size is one of `sizes`."""
    try:
        descriptor = os.open(part, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, dir_fd=directory)
    except OSError:
        return None
    status = os.fstat(descriptor)
    if stat.S_ISREG(status.st_mode) and (status.st_ino, status.st_nlink) == (inode, 1) and status.st_size in sizes:
        return descriptor
    os.close(descriptor)
    return None


def remove_own(part: str, directory: int) -> None:
    """Remove a NAME.part of this process; Untidy if it cannot be."""
    try:
        os.unlink(part, dir_fd=directory)
    except FileNotFoundError:
        pass  # it has its own name by now
    except OSError as error:
        raise Untidy(f"{part} cannot be removed: {error.strerror}") from None


def remove_parts(directory: int, names: Iterable[str]) -> None:
    """Remove what ended arrivals left of these plots; only to be called while holding the drive's lock."""
    for name in names:
        with contextlib.suppress(FileNotFoundError):
            if stat.S_ISREG(os.stat(name + PART_SUFFIX, dir_fd=directory, follow_symlinks=False).st_mode):
                os.unlink(name + PART_SUFFIX, dir_fd=directory)


class Kept:
    """The complete segments of a NAME.part, each reported as `segments` once it would survive a power cut.

    Bringing a segment to the drive takes a while, so a thread does it: meanwhile more bytes come.
    """

    def __init__(self, descriptor: int, segments: tuple[str, ...], endpoint: Endpoint) -> None:
        self.segments = segments
        self._descriptor, self._endpoint = descriptor, endpoint
        self._syncing: threading.Thread | None = None

    def complete(self, segments: tuple[str, ...]) -> None:
        """Note that these segments are complete."""
        self.segments = segments
        if self._syncing is None or not self._syncing.is_alive():
            self._syncing = threading.Thread(target=self._sync, args=(segments,), daemon=True)
            self._syncing.start()

    def finish(self) -> None:
        """Bring all complete segments to the drive now."""
        if self._syncing is not None:
            self._syncing.join()
        self._sync(self.segments)

    def _sync(self, segments: tuple[str, ...]) -> None:
        with contextlib.suppress(OSError):  # then they do not count as kept; what writes next meets the error itself
            os.fdatasync(self._descriptor)
            self._endpoint.send("segments", segments=segments)
