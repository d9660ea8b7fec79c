"""Bringing a plot of this host to one of its drives, in a worker.

By a second link where both are one file system, by a digested copy otherwise. The source goes last, and only if it
is still the file that was looked at.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from collections.abc import Callable
from dataclasses import dataclass

from plotfarm.base.errors import TransferFailed
from plotfarm.plots.names import escaped
from plotfarm.plots.plotfile import PlotFile
from plotfarm.transfer.digest import Digest, digest_file, forget_read
from plotfarm.transfer.pace import Pace, rester
from plotfarm.transfer.part import create_part, remove_parts
from plotfarm.transfer.source import is_unchanged, open_source, remove_source
from plotfarm.transfer.worker import Endpoint
from plotfarm.transfer.writer import (
    Place,
    Recorded,
    Task,
    bring,
    digest_stored,
    reporter,
    store,
)

_CLONE = 0x40049409  # FICLONE, see ioctl_ficlonerange(2)
# What a file system says that knows no second links, or refuses them across mounts or to users who are not the owner.
_NO_LINK = {errno.EXDEV, errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EACCES}


@dataclass(frozen=True)
class FromFile:
    """A plot that lies on this host, open as `source`."""

    plot: PlotFile
    source: int
    bytes_per_second: float  # 0: as fast as it goes

    def begin(self, task: Task, directory: int, part: str) -> int:
        """Give the plot the second name NAME.part, which costs nothing; where that cannot be, make a file for it."""
        remove_parts(directory, [task.name])
        plots = os.open(self.plot.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.link(self.plot.name, part, src_dir_fd=plots, dst_dir_fd=directory, follow_symlinks=False)
        except OSError as error:
            if error.errno not in _NO_LINK:
                raise
            return create_part(task.size, task.place.file_system, directory, part)
        finally:
            os.close(plots)
        return os.open(part, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)

    def fill(self, task: Task, descriptor: int, endpoint: Endpoint) -> Digest:
        """Bring the bytes, unless they are there already: then nobody has to digest them, and the digest is empty."""
        endpoint.send("prepared")
        if _is_same_file(self.source, descriptor):
            digest = Digest("", ())
        elif _clone(self.source, descriptor):
            digest = digest_file(descriptor, task.size, reporter(endpoint))
        else:
            digest = bring(task, self.source, "the plot", descriptor, endpoint, self._each_piece())
        if not is_unchanged(self.plot, os.fstat(self.source)):
            raise TransferFailed(f"{escaped(str(self.plot.path))} changed while it was moved, so it stays")
        return digest

    def _each_piece(self) -> Callable[[int], None]:
        """Return what happens after each piece: a rest if it goes too fast, and what was read leaves the memory."""
        before, rest = 0, rester(Pace(self.bytes_per_second).rest)

        def after(done: int) -> None:
            nonlocal before
            forget_read(self.source, done, done - before, self.plot.size)
            before = done
            rest(done)

        return after


@dataclass(frozen=True)
class Load:
    """One plot to carry to a drive of this host."""

    plot: PlotFile
    place: Place
    readback: bool
    leftovers: tuple[str, ...]
    keep_source: bool
    bytes_per_second: float


def carry(load: Load, endpoint: Endpoint) -> None:
    """Store a plot (see writer.store), then take `remove`, remove the source and say `removed`."""
    source = open_source(load.plot)
    _refuse_own_place(load)
    cargo = FromFile(load.plot, source, load.bytes_per_second)
    store(Task(load.plot.name, load.plot.size, load.place, load.readback, load.leftovers, cargo), endpoint)
    os.close(source)
    _remove_when_told(load, endpoint)


def settle_present(load: Load, recorded: Recorded | None, endpoint: Endpoint) -> None:
    """Compare a plot with the one of its name on a drive: a run may have died before it removed the source.

    Says `read` with the digest of the source and `digested` with that of the other; both are empty if they are one
    file with two names. Takes `remove`, if they are equal, and says `removed`.
    """
    source = open_source(load.plot)
    _refuse_own_place(load)
    directory = load.place.open_directory()
    stored = os.open(load.plot.name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
    if _is_same_file(source, stored):
        os.fsync(stored)
        os.fsync(directory)
        status = os.fstat(stored)
        if status.st_nlink < 2:
            raise TransferFailed(f"{escaped(str(load.plot.path))} is the only name of the plot on the drive: it stays")
        endpoint.send("read", digest="")
        endpoint.send("digested", digest="", segments=(), inode=status.st_ino, mtime_ns=status.st_mtime_ns)
    else:
        endpoint.send("read", digest=digest_file(source, load.plot.size, reporter(endpoint)).plot)
        digest_stored(load.place, load.plot.name, load.plot.size, recorded, endpoint)
    _remove_when_told(load, endpoint)


def _refuse_own_place(load: Load) -> None:
    """Raise if the plot lies where it would go: removing the source would remove the plot."""
    directory = load.place.open_directory()
    try:
        plots, drive = os.stat(load.plot.directory), os.fstat(directory)
        if (plots.st_dev, plots.st_ino) == (drive.st_dev, drive.st_ino):
            raise TransferFailed(
                f"{escaped(str(load.plot.directory))} is a plot drive itself: take it out of plot_directories"
            )
    finally:
        os.close(directory)


def _remove_when_told(load: Load, endpoint: Endpoint) -> None:
    endpoint.receive()  # `remove`: it is on record that the plot is stored
    if not load.keep_source:
        remove_source(load.plot)
    endpoint.send("removed")


def _is_same_file(one: int, other: int) -> bool:
    first, second = os.fstat(one), os.fstat(other)
    return (first.st_dev, first.st_ino) == (second.st_dev, second.st_ino)


def _clone(source: int, descriptor: int) -> bool:
    """Let both files share their blocks, where one file system is mounted twice; tells whether it can."""
    with contextlib.suppress(OSError):
        fcntl.ioctl(descriptor, _CLONE, source)
        return True
    return False
