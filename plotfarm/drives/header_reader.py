"""Reading the headers of the plots on a drive that were counted by their names so far.

It touches the drive and may block for ever: it is called in the probe's helper.
"""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from plotfarm.drives.below import at, number_of, opened_below, regular
from plotfarm.drives.counted import CountedDirectory, Headers
from plotfarm.drives.effort import Effort
from plotfarm.drives.reasons import Reason, Why
from plotfarm.drives.said import UNREADABLE, by_name, completed, plot_bytes_of, said_by
from plotfarm.plots.names import escaped, is_plot_name

_REPORT_SECONDS = 5.0  # so much work at most is lost if the drive falls silent while headers are read


@dataclass(frozen=True)
class _Header:
    """What was read of one file."""

    name: str
    number: int
    bytes: int
    said: int


class HeaderReader:
    """Reads the headers of a drive. `error`: which one could not be read; None: all could."""

    def __init__(self, root: int, effort: Effort) -> None:
        self._root = root
        self._effort = effort
        self.error: Why | None = None

    def read_new(self, found: CountedDirectory) -> Iterator[CountedDirectory]:
        """Yield a directory with more and more of its headers, those that were never read, now and then and in the end.

        They are read from another file on each time: where the drive hangs at one, the others are read at the next run.
        Of their names none is kept: they may be many.
        """
        if found.unread:
            yield from _with(found, self._headers(found, None, found.unread))

    def read_again(self, found: CountedDirectory) -> Iterator[CountedDirectory]:
        """Yield a directory likewise with headers that could not be read before.

        It ends with the first error of the drive: each of them may take a failing one seconds.
        """
        if found.unreadable and self.error is None:
            yield from _with(found, self._headers(found, UNREADABLE, found.unreadable))

    def _headers(self, found: CountedDirectory, known_as: int | None, about: int) -> Iterator[_Header]:
        """Yield what the headers of one directory say, of those that are `known_as` this: about so many."""
        for header in _read_headers(self._root, found, known_as, about, self._effort):
            if header.said == UNREADABLE:
                place = os.path.join(found.path, header.name)
                self.error = Why(Reason.IO_ERROR, f"the header of {escaped(place)} cannot be read")
                if known_as == UNREADABLE:
                    return
            yield header


def _with(found: CountedDirectory, headers: Iterator[_Header]) -> Iterator[CountedDirectory]:
    """Yield a directory with more and more of its headers."""
    learnt: list[_Header] = []
    last = time.monotonic()
    for header in headers:
        learnt.append(header)
        if time.monotonic() >= last + _REPORT_SECONDS:
            found = _told(found, learnt)
            learnt.clear()
            yield found
            last = time.monotonic()
    if learnt:
        yield _told(found, learnt)


def _told(found: CountedDirectory, learnt: Sequence[_Header]) -> CountedDirectory:
    """Return a directory with headers that were read, whose files were counted by their names."""
    known = Headers(found.headers)
    tally = Counter(found.tally)
    size = found.plot_bytes
    for header in learnt:
        before, now = by_name(header.name), completed(header.said, header.name)
        tally[before] -= 1
        tally[now] += 1
        size += plot_bytes_of(now, header.bytes) - plot_bytes_of(before, header.bytes)
    return replace(
        found,
        tally={said: files for said, files in tally.items() if files > 0},
        plot_bytes=max(0, size),
        by_name=max(0, found.by_name - sum(header.said != UNREADABLE for header in learnt)),
        unread=max(0, found.unread - sum(known.get(header.number) is None for header in learnt)),
        headers=known.with_more((header.number, header.said) for header in learnt).packed(),
    )


def _read_headers(
    root: int, found: CountedDirectory, known_as: int | None, about: int, effort: Effort
) -> Iterator[_Header]:
    known = Headers(found.headers)
    start = random.randrange(max(1, about))  # noqa: S311 (no secret)
    for is_before_start in (False, True):
        place = 0
        with at(found.path), opened_below(root, found.path) as directory:
            for entry, status in _plots_in(directory, effort):
                if time.monotonic() >= effort.until:
                    return
                number = number_of(found.path, entry.name, status)
                if known.get(number) != known_as:
                    continue
                place += 1
                if (place <= start) is not is_before_start:
                    continue
                said = said_by(entry.name, directory)
                if said is not None:
                    effort.headers += 1
                    yield _Header(entry.name, number, status.st_size, said)


def _plots_in(directory: int | None, effort: Effort) -> Iterator[tuple[os.DirEntry[str], os.stat_result]]:
    """Yield the plot files in an open directory."""
    if directory is None:
        return
    with os.scandir(directory) as entries:
        for entry in entries:
            effort.moved = time.monotonic()
            if is_plot_name(entry.name) and (status := regular(entry)) is not None:
                yield entry, status
