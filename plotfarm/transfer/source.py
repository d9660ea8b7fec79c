"""The plot on the plotter: opened once, and removed only if it is still the file that was sent."""

from __future__ import annotations

import os

from plotfarm.base.checkpoints import reached
from plotfarm.base.errors import TransferFailed
from plotfarm.plots.names import escaped
from plotfarm.plots.plotfile import PlotFile


def open_source(plot: PlotFile) -> int:
    """Open a plot for reading; TransferFailed if it is not the file that was looked at."""
    try:
        descriptor = os.open(plot.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        raise TransferFailed(f"{escaped(str(plot.path))} cannot be opened: {error.strerror}") from None
    if not is_unchanged(plot, os.fstat(descriptor)):
        os.close(descriptor)
        raise TransferFailed(f"{escaped(str(plot.path))} changed before it was sent")
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_SEQUENTIAL)
    return descriptor


def remove_source(plot: PlotFile) -> None:
    """Remove a plot that is stored elsewhere, durably; TransferFailed if it changed since it was offered."""
    directory = os.open(plot.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if not is_unchanged(plot, os.stat(plot.name, dir_fd=directory, follow_symlinks=False)):
            raise TransferFailed(f"{escaped(str(plot.path))} changed while it was sent, so it stays")
        os.unlink(plot.name, dir_fd=directory)
        reached("source:removed")
        os.fsync(directory)
    except FileNotFoundError:
        raise TransferFailed(f"{escaped(str(plot.path))} is gone: somebody else removed it") from None
    except OSError as error:
        raise TransferFailed(f"{escaped(str(plot.path))} cannot be removed: {error.strerror}") from None
    finally:
        os.close(directory)


def is_unchanged(plot: PlotFile, status: os.stat_result) -> bool:
    """Tell whether a file is still the one that was looked at."""
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns) == (
        plot.device, plot.inode, plot.size, plot.mtime_ns,
    )  # fmt: skip
