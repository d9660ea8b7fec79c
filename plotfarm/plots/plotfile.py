"""Finding plot files, looking at one, and asking whether it is whole."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from plotfarm.base.errors import PlotfarmError
from plotfarm.plots.formats import measure, read_header
from plotfarm.plots.header import HEADER_BYTES, Header
from plotfarm.plots.identity import Change, FileIdentity
from plotfarm.plots.measuring import read_at
from plotfarm.plots.names import escaped, is_plot_name, refuse_name
from plotfarm.plots.wholeness import Activity, Wholeness, held_back, judge
from plotfarm.plots.writers import is_open_for_writing

__all__ = [
    "Candidate",
    "Listing",
    "PlotFile",
    "PlotFileError",
    "Wholeness",
    "find_plots",
    "judge_whole",
    "look",
]


class PlotFileError(PlotfarmError):
    """A file that is no plot to be touched: a symlink, not a regular file, a bad name, or gone."""


@dataclass(frozen=True)
class Candidate:
    """A file with a plot's name, as its directory shows it; size in bytes, nothing of it was read."""

    directory: Path
    name: str
    identity: FileIdentity

    @property
    def path(self) -> Path:
        """Where it lies."""
        return self.directory / self.name

    @property
    def size(self) -> int:
        """Its bytes."""
        return self.identity.size

    @property
    def mtime_ns(self) -> int:
        """When it was written last, in ns of Unix time."""
        return self.identity.mtime_ns

    @property
    def facts(self) -> tuple[int, int, int]:
        """What is remembered of it: the same now, and it is still that file, as far as that can be remembered."""
        return self.identity.size, self.identity.inode, self.identity.mtime_ns


@dataclass(frozen=True)
class PlotFile(Candidate):
    """A plot file that was opened and whose header was read."""

    header: Header


@dataclass(frozen=True)
class Listing:
    """What lies in the plot directories.

    `candidates` are oldest first; `passed_over` holds (name fit to be shown, reason) of what looks like a
    plot and will not be touched; `misnamed` are those of them that stay for their names alone; `problems` holds one
    line for each directory that could not be read.
    """

    candidates: list[Candidate] = field(default_factory=list)
    passed_over: list[tuple[str, str]] = field(default_factory=list)
    misnamed: list[Candidate] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def find_plots(directories: Iterable[Path]) -> Listing:
    """List the plots in these directories (not below them) without opening any of them.

    A directory that is missing or cannot be read becomes a line in `problems` and hides no other. Of one file with
    several names, such as hard links or a bind mount show, one is a candidate.
    """
    listing = Listing()
    by_real_path: dict[str, Path] = {}
    for directory in directories:
        by_real_path.setdefault(os.path.realpath(directory), directory)
    for directory in by_real_path.values():
        try:
            with os.scandir(directory) as entries:
                for entry in entries:
                    if is_plot_name(entry.name):
                        _sort_in(listing, directory, entry)
        except OSError as error:
            listing.problems.append(f"the plot directory {escaped(str(directory))} cannot be read: {error.strerror}")
    listing.candidates.sort(key=lambda candidate: (candidate.mtime_ns, candidate.name))
    _pass_over_second_names(listing)
    listing.passed_over.sort()
    return listing


def _pass_over_second_names(listing: Listing) -> None:
    """Take out what is another candidate by another name: it would change, or go, while that one travels."""
    first: dict[FileIdentity, Candidate] = {}
    for candidate in listing.candidates:
        same = first.setdefault(candidate.identity, candidate)
        if same is not candidate:
            why = f"it is the same file as {escaped(str(same.path))}"
            listing.passed_over.append((escaped(str(candidate.path)), why))
    listing.candidates[:] = first.values()


def _sort_in(listing: Listing, directory: Path, entry: os.DirEntry[str]) -> None:
    try:
        status = entry.stat(follow_symlinks=False)
    except FileNotFoundError:  # it left between the listing and the look
        return
    if kind := _not_regular(status):
        listing.passed_over.append((escaped(entry.name), kind))
        return
    candidate = Candidate(directory, entry.name, FileIdentity.of(status))
    if reason := refuse_name(entry.name):
        listing.passed_over.append((escaped(entry.name), reason))
        if not entry.name.startswith("."):  # what is hidden is somebody's who works on it
            listing.misnamed.append(candidate)
    else:
        listing.candidates.append(candidate)


def _not_regular(status: os.stat_result) -> str:
    if stat.S_ISREG(status.st_mode):
        return ""
    if stat.S_ISLNK(status.st_mode):
        return "it is a symlink; plots are moved from where they really lie"
    return "it is a directory" if stat.S_ISDIR(status.st_mode) else "it is not a regular file"


def look(directory: Path, name: str) -> PlotFile:
    """Open a plot file for a moment and read its header; PlotFileError if it is none or cannot be read."""
    if reason := refuse_name(name):
        raise PlotFileError(f"{escaped(name)} is not touched: {reason}")
    with _opened(directory / name) as (descriptor, status):
        data = read_at(descriptor, 0, HEADER_BYTES)
        return PlotFile(directory, name, FileIdentity.of(status), header=read_header(data, status.st_size))


@contextmanager
def _opened(path: Path) -> Iterator[tuple[int, os.stat_result]]:
    """Open a regular file for reading; O_NONBLOCK so that a named pipe cannot hold us."""
    shown = escaped(str(path))
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        reason = "it is a symlink" if error.errno == errno.ELOOP else (error.strerror or str(error))
        raise PlotFileError(f"{shown} is not touched: {reason}") from None
    try:
        status = os.fstat(descriptor)
        if reason := _not_regular(status):
            raise PlotFileError(f"{shown} is not touched: {reason}")
        yield descriptor, status
    except OSError as error:
        raise PlotFileError(f"{shown} cannot be read: {error.strerror}") from None
    finally:
        os.close(descriptor)


def judge_whole(
    plot: PlotFile,
    settle_seconds: float,
    now: float,
    *,
    observed_seconds: float | None = None,
    minimum_bytes: int = 0,
) -> Wholeness:
    """Return whether a plot is whole; reads what is needed for that, for a `.gplot` its whole index.

    `now` is the Unix time. `observed_seconds` says for how long the caller has seen the file with the same
    size and time, on a clock that never jumps (CLOCK_BOOTTIME); it is used if the file's time lies in the
    future. Smaller plots than `minimum_bytes` stay where they are. PlotFileError if the file cannot be read.
    """
    with _opened(plot.path) as (descriptor, status):
        if plot.identity.change_to(FileIdentity.of(status)) is Change.CONTENT:
            return Wholeness("unfinished", "it changed while it was looked at")
        activity = Activity(
            open_for_writing=is_open_for_writing(descriptor, plot.path),
            unchanged_seconds=now - plot.mtime_ns / 1e9,
            settle_seconds=settle_seconds,
            observed_seconds=observed_seconds,
        )
        if held := held_back(plot.header, plot.size, activity, minimum_bytes):
            return held
        extent = measure(descriptor, plot.header, plot.size)
        if plot.identity.change_to(FileIdentity.of(os.fstat(descriptor))) is Change.CONTENT:
            return Wholeness("unfinished", "it changed while it was looked at")
        return judge(plot.header, plot.size, extent, activity, minimum_bytes)
