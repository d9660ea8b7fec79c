"""Counting the plot files on a drive, by what their headers say.

A header is read once. From then on the file is known by a number, made of its path below the mountpoint, its
size and its time, and so is what its header said. Everything here touches the drive and may block for ever: it
is called in the probe's helper.
"""

from __future__ import annotations

import contextlib
import errno
import os
import random
import re
import stat
import time
from collections import Counter, deque
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from hashlib import blake2b
from typing import Any

from plotfarm.drives.mount_table import mount_id_of
from plotfarm.drives.reasons import Reason, Why
from plotfarm.plots.formats import PlotFormat, of_code, of_suffix, plots_in, read_header
from plotfarm.plots.names import escaped, is_plot_name

DEEPEST = 4  # directories below the mountpoint
_START_BYTES = 4096  # kind, k and group size stand in the first 60; reading more would push plots out of memory
_REPORT_SECONDS = 1.0  # so much work at most is lost if the drive falls silent while headers are read
_SKIPPED = ("lost+found", "$RECYCLE.BIN")

# What a header said is one number, code of the format | k << 4 | group size << 12. It is kept in the database: this
# never changes.
_UNREADABLE = 15  # in place of the code: the drive has an error there
_DISK_ERRORS = (errno.EIO, errno.EUCLEAN, errno.EBADMSG)  # the latter two: what the drive gave back makes no sense
_K_IN_NAME = re.compile(r"(?:^|[-.])k(1[89]|[234]\d|50)(?=[-.])")


class OutOfTimeError(Exception):
    """The deadline came before all directories were listed."""


class PlaceError(OSError):
    """A directory or a file below the mountpoint cannot be read: `place` is its path there, "" for the drive itself."""

    def __init__(self, error: OSError, place: str) -> None:
        super().__init__(error.errno, error.strerror)
        self.place = place


@dataclass(frozen=True)
class _Unread:
    """A file whose header is not known yet."""

    name: str
    number: int
    bytes: int  # as it was counted


@dataclass
class _Listing:
    """What lies on a drive, as far as its directories and the known headers tell."""

    tally: Counter[int] = field(default_factory=Counter)  # what a header said, or a name -> files
    bytes: Counter[int] = field(default_factory=Counter)  # by the same, of these files
    by_name: int = 0  # files whose header is not known
    known: set[int] = field(default_factory=set)  # numbers of files that are still there
    unread: dict[str, list[_Unread]] = field(default_factory=dict)  # by directory
    broken: dict[str, list[_Unread]] = field(default_factory=dict)  # likewise; their headers could not be read before

    def learn(self, file: _Unread, said: int) -> None:
        """Count a file by its header that was counted by its name."""
        self.add(_by_name(file.name), -1, -file.bytes)
        self.add(_completed(said, file.name), 1, file.bytes)
        self.by_name -= said != _UNREADABLE

    def add(self, said: int, files: int, size: int) -> None:
        """Count files, or take them off, and their bytes."""
        self.tally[said] += files
        self.bytes[said] += size


def count_plots(
    root: int, mountpoint: str, known: Mapping[int, int], elsewhere: Collection[str], until: float
) -> Iterator[dict[str, Any]]:
    """Yield the count of the plot files under an open directory, as JSON can carry it; a later one replaces it.

    `known`: the number of a file -> what its header said; other files are counted by their names at first, then
    their headers are read. `learnt` and `gone` say what is new since the count before: headers that were read,
    and known files that are no longer there. `elsewhere`: paths of other mounts and drives, which are not
    entered. `until` is a moment of time.monotonic(). `error`, in the last one: why something below could not be read,
    None if all could; it is missing if the time ran out before that was known. Raises OutOfTimeError, and PlaceError
    if a directory cannot be listed.
    """
    found = _list(root, mountpoint, known, elsewhere, until)
    yield {**_count(found), "learnt": [], "gone": [number for number in known if number not in found.known]}
    learnt: list[tuple[int, int]] = []
    last = time.monotonic()
    error: Why | None = None
    for place, file, said in _read_headers(root, found.unread, until):
        learnt.append((file.number, said))
        found.learn(file, said)
        if said == _UNREADABLE:
            error = _no_header(place, file)
        if time.monotonic() >= last + _REPORT_SECONDS:
            yield {**_count(found), "learnt": learnt, "gone": []}
            learnt, last = [], time.monotonic()
    # What could not be read before is tried again, until one fails: each may take a failing drive seconds.
    for place, file, said in _read_headers(root, found.broken, until) if error is None else ():
        if said == _UNREADABLE:
            error = _no_header(place, file)
            break
        learnt.append((file.number, said))
        found.learn(file, said)
    is_known = error is not None or time.monotonic() < until
    known_error = {"error": asdict(error) if error else None} if is_known else {}
    yield {**_count(found), "learnt": learnt, "gone": [], **known_error}


def _no_header(place: str, file: _Unread) -> Why:
    return Why(Reason.IO_ERROR, f"the header of {escaped(f'{place}/{file.name}'.lstrip('/'))} cannot be read")


def _count(found: _Listing) -> dict[str, Any]:
    counts: Counter[tuple[str, int]] = Counter()
    plots = plot_bytes = 0
    for said, files in found.tally.items():
        kind = of_code(said & 15)
        counts[kind, said >> 4 & 255] += files
        if kind.entry.is_plot:
            plots += files * max(1, said >> 12)
            plot_bytes += found.bytes[said]
    return {
        "counts": [[kind, k, files] for (kind, k), files in sorted(counts.items()) if files],
        "plots": plots,
        "plot_files": plots_in(counts),
        "plot_bytes": plot_bytes,
        "headers_missing": found.by_name,
    }


def _list(root: int, mountpoint: str, known: Mapping[int, int], elsewhere: Collection[str], until: float) -> _Listing:
    found = _Listing()
    todo = deque([""])
    while todo:
        below = todo.popleft()
        prefix = f"{below}/" if below else ""
        try:
            with _opened_below(root, below) as directory:
                for entry in _entries(directory, until):
                    path = prefix + entry.name
                    if is_plot_name(entry.name):
                        _note(found, below, path, entry, known)
                    elif _may_enter(entry, path) and f"{mountpoint}/{path}" not in elsewhere:
                        todo.append(path)
        except OSError as error:
            raise PlaceError(error, below) from error
    return found


def _entries(directory: int | None, until: float) -> Iterator[os.DirEntry[str]]:
    if directory is None:
        return
    with os.scandir(directory) as entries:
        for entry in entries:
            if time.monotonic() >= until:
                raise OutOfTimeError
            yield entry


def _may_enter(entry: os.DirEntry[str], path: str) -> bool:
    if entry.name.startswith(".") or entry.name in _SKIPPED or path.count("/") >= DEEPEST:
        return False
    return entry.is_dir(follow_symlinks=False)


def _note(found: _Listing, below: str, path: str, entry: os.DirEntry[str], known: Mapping[int, int]) -> None:
    try:
        facts = entry.stat(follow_symlinks=False)
    except FileNotFoundError:
        return
    if not stat.S_ISREG(facts.st_mode):
        return
    number = _number(path, facts.st_size, facts.st_mtime_ns)
    said = known.get(number)
    file = _Unread(entry.name, number, facts.st_size)
    if said is None:
        found.unread.setdefault(below, []).append(file)
    else:
        found.known.add(number)
        if said == _UNREADABLE:
            found.broken.setdefault(below, []).append(file)
    found.by_name += said is None or said == _UNREADABLE
    found.add(_by_name(entry.name) if said is None else _completed(said, entry.name), 1, facts.st_size)


def _number(path: str, size: int, mtime_ns: int) -> int:
    """Return the number that a file is known by: 64 bits, so a million plots hardly ever share one."""
    digest = blake2b(os.fsencode(f"{path}\0{size}\0{mtime_ns}"), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)


@contextlib.contextmanager
def _opened_below(root: int, below: str) -> Iterator[int | None]:
    """Open a directory step by step, never leaving the mount; None if it went meanwhile or is not ours to read."""
    steps = [os.dup(root)]
    try:
        try:
            for part in below.split("/") if below else ():
                steps.append(os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=steps[-1]))
            on_drive = len(steps) == 1 or mount_id_of(steps[-1]) == mount_id_of(root)
        except (FileNotFoundError, NotADirectoryError, PermissionError):
            on_drive = False
        yield steps[-1] if on_drive else None
    finally:
        for step in steps:
            os.close(step)


def _read_headers(root: int, unread: Mapping[str, list[_Unread]], until: float) -> Iterator[tuple[str, _Unread, int]]:
    """Yield the directory of each file, the file, and what its header said, until the time runs out.

    In another order each time: where the drive hangs at one file, the others are read at the next run.
    """
    for below in random.sample(list(unread), len(unread)):
        files = unread[below]
        with _opened_below(root, below) as directory:
            for file in random.sample(files, len(files)) if directory is not None else ():
                if time.monotonic() >= until:
                    return
                said = _said_by(file.name, directory)
                if said is not None:
                    yield below, file, said


def _said_by(name: str, directory: int | None) -> int | None:
    """Read the header of one file; None if that is to be tried again."""
    try:
        file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=directory)
    except OSError as error:
        return _UNREADABLE if error.errno in _DISK_ERRORS else None
    try:
        facts = os.fstat(file)
        if not stat.S_ISREG(facts.st_mode):
            return None
        header = read_header(os.pread(file, _START_BYTES, 0), facts.st_size)
        k = 0 if header.problem or header.k is None else header.k
        return _as_number(header.kind, k, header.group_size or 0)
    except OSError:
        return _UNREADABLE
    finally:
        os.close(file)


def _as_number(kind: PlotFormat, k: int, group_size: int = 0) -> int:
    return kind.entry.code | k << 4 | group_size << 12


def _by_name(name: str) -> int:
    return _as_number(of_suffix(os.path.splitext(name)[1]), _k_of(name))


def _completed(said: int, name: str) -> int:
    """Add what the header did not say."""
    if said == _UNREADABLE:
        return _by_name(name)
    return said if said >> 4 & 255 else said | _k_of(name) << 4


def _k_of(name: str) -> int:
    found = _K_IN_NAME.search(name)
    return int(found[1]) if found else 0
