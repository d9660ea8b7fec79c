"""Counting the plot files on a drive, by what their headers say.

A header is read once. From then on the file is known by a number, made of its path below the mountpoint, its
size and its time, and so is what its header said.

A directory is not gone through again while its inode, its times and the number of its entries are what they were:
whatever adds, removes or renames a file changes its ctime, which no user can set. That is believed only of a directory
that had been left alone for some seconds when it was gone through, since a clock has ticks, and in which no plot had
been written for some minutes. What it cannot show is a file that is written in its place: its size and header are
those of the last time, until the directory is gone through again, within a day. Nothing but the numbers in reports
depends on that: where a plot goes, and whether it is there, is asked of the drive each time.

Everything here touches the drive and may block for ever: it is called in the probe's helper.
"""

from __future__ import annotations

import os
import random
import time
import zlib
from collections import Counter, deque
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace

from plotfarm.drives.below import at, number_of, opened_below, regular
from plotfarm.drives.counted import Count, CountedDirectory, Headers, ReadThrough
from plotfarm.drives.effort import Effort
from plotfarm.drives.header_reader import HeaderReader
from plotfarm.drives.said import UNREADABLE, completed, k_of, kind_of, plot_bytes_of, plots_of
from plotfarm.plots.formats import PlotFormat
from plotfarm.plots.names import is_plot_name

DEEPEST = 4  # directories below the mountpoint
_SKIPPED = ("lost+found", "$RECYCLE.BIN")
_LEFT_ALONE_SECONDS = 5.0  # the times of a file system may be as coarse as 2 s
_WRITTEN_SECONDS = 600.0  # a plot that was written so lately may be written yet
_LONGEST_BELIEF_SECONDS = 86400.0


def count_plots(
    root: int, mountpoint: str, known: Mapping[str, CountedDirectory], elsewhere: Collection[str], effort: Effort
) -> Iterator[CountedDirectory | Count | ReadThrough]:
    """Yield each directory under an open one that was gone through, counts of all of them, and whether all was read.

    A later one replaces an earlier one of the same path, a later count the one before. Files are counted by their names
    at first, then the headers are read that are not `known` (by path below the mountpoint). `elsewhere`: paths of other
    mounts and drives, which are not entered. The last word is missing if the time ran out before it was known.
    OutOfTimeError when the effort has taken its time before all directories were listed, and PlaceError if one of them
    cannot be read.
    """
    found: dict[str, CountedDirectory] = {}
    todo = deque([""])
    while todo:
        path = todo.popleft()
        with at(path), opened_below(root, path) as directory:
            if directory is None:
                continue
            before = known.get(path)
            now = _look(directory, path, before, effort)
        found[path] = now
        if _is_news(now, before):
            yield now
        below = (os.path.join(path, name) for name in now.below)
        todo += [place for place in below if f"{mountpoint}/{place}" not in elsewhere]

    yield _count(found, known)
    reader = HeaderReader(root, effort)
    for read in (reader.read_new, reader.read_again):
        for path in random.sample(sorted(found), len(found)):
            for now in read(found[path]):
                found[path] = now
                yield now
                yield _count(found, known)
    if reader.error is not None or time.monotonic() < effort.until:
        yield ReadThrough(reader.error)


def _count(found: Mapping[str, CountedDirectory], known: Collection[str]) -> Count:
    counts: Counter[tuple[PlotFormat, int]] = Counter()
    plots = 0
    for directory in found.values():
        for said, files in directory.tally.items():
            counts[kind_of(said), k_of(said)] += files
            plots += files * plots_of(said)
    return Count(
        counts=tuple((kind, k, files) for (kind, k), files in sorted(counts.items()) if files),
        plots=plots,
        plot_bytes=sum(directory.plot_bytes for directory in found.values()),
        headers_missing=sum(directory.by_name for directory in found.values()),
        gone=tuple(path for path in known if path not in found),
    )


# ---- One directory ----------------------------------------------------------------------------------


def _look(directory: int, path: str, before: CountedDirectory | None, effort: Effort) -> CountedDirectory:
    """Return what is in a directory: what was known of it if nothing has changed, or else what is found there now."""
    now = time.time()
    status = os.fstat(directory)
    effort.step()
    entries = len(os.listdir(directory))
    signature = f"{status.st_ino}:{status.st_mtime_ns}:{status.st_ctime_ns}:{entries}"
    if before is not None and before.signature == signature and _is_fresh(before, now):
        effort.files += before.files
        return before

    found = _go_through(directory, path, Headers(before.headers if before is not None else b""), effort)
    changed = max(status.st_mtime_ns, status.st_ctime_ns) / 1e9
    is_believable = changed < now - _LEFT_ALONE_SECONDS and found.written < now - _WRITTEN_SECONDS
    return CountedDirectory(
        path=path,
        signature=signature if is_believable and entries == found.entries else "",
        gone_through=now,
        tally=dict(found.tally),
        plot_bytes=found.bytes,
        by_name=found.by_name,
        unread=found.unread,
        below=tuple(found.below),
        headers=found.headers.packed(),
    )


def _is_news(now: CountedDirectory, before: CountedDirectory | None) -> bool:
    """Tell whether there is anything to be remembered: that one which is not believed was gone through again is not."""
    if before is None or now.signature:
        return now is not before
    return now != replace(before, gone_through=now.gone_through)


def _is_fresh(before: CountedDirectory, now: float) -> bool:
    """Tell whether a directory was gone through so lately that it need not be again; not all on one day."""
    spread = zlib.crc32(os.fsencode(before.path) + str(before.gone_through).encode()) / 2**32
    return 0 <= now - before.gone_through < _LONGEST_BELIEF_SECONDS * (0.5 + spread / 2)


class _Found:
    """What is found when a directory is gone through."""

    def __init__(self) -> None:
        self.tally: Counter[int] = Counter()
        self.bytes = 0
        self.by_name = 0
        self.unread = 0
        self.entries = 0
        self.written = 0.0  # Unix time when the newest plot was written last
        self.below: list[str] = []
        self.headers = Headers()


def _go_through(directory: int, path: str, known: Headers, effort: Effort) -> _Found:
    found = _Found()
    there = []
    with os.scandir(directory) as entries:
        for entry in entries:
            effort.step()
            found.entries += 1
            if not is_plot_name(entry.name):
                if _may_enter(entry, path):
                    found.below.append(entry.name)
                continue
            status = regular(entry)
            if status is None:
                continue

            effort.files += 1
            number = number_of(path, entry.name, status)
            said = known.get(number)
            if said is None:
                found.unread += 1
            else:
                there.append(number)
            found.by_name += said is None or said == UNREADABLE
            counted_as = completed(said, entry.name)
            found.tally[counted_as] += 1
            found.bytes += plot_bytes_of(counted_as, status.st_size)
            found.written = max(found.written, status.st_mtime)
    found.headers = known if len(there) == len(known) else known.kept(there)
    return found


def _may_enter(entry: os.DirEntry[str], path: str) -> bool:
    depth = path.count("/") + 1 if path else 0
    if entry.name.startswith(".") or entry.name in _SKIPPED or depth >= DEEPEST:
        return False
    return entry.is_dir(follow_symlinks=False)
