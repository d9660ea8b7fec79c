"""Reading Chia's log on from where the last run stopped, through rotation, compression and truncation.

All files are opened before any is read, and the set is looked at again then: a rotation meanwhile cannot hide one.
If the place of the last run is not found any more, everything that is there is read again: who takes the events in
knows each of them by itself.
"""

from __future__ import annotations

import gzip
import os
import stat
import zlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import BinaryIO

from plotfarm.base.text import one_line
from plotfarm.chia.coins import Event, Reader
from plotfarm.chia.farm_log import Farmed, Unreadable, farmed_in, rotated, unreadable

_BLOCK_BYTES = 1024 * 1024
_TAIL_BYTES = 4096  # so much before the place tells whether it is still the same log
_MOST_LINE_BYTES = 1024 * 1024  # longer lines are none of Chia's
_TRIES = 5
_UNREADABLE = (OSError, EOFError, ValueError, zlib.error)


@dataclass(frozen=True)
class Place:
    """Where reading stopped: bytes from the begin of a file (unpacked), and a digest of what stands before."""

    inode: int
    offset: int
    tail: str


@dataclass(frozen=True)
class Broken:
    """A rotated file of which a part could not be read."""

    path: Path
    inode: int
    why: str


@dataclass(frozen=True)
class Read:
    """What a run read: the place to go on from, and what the new lines were like."""

    place: Place
    was_found: bool  # the place that was asked for; False: everything was read
    lines: int
    levels: frozenset[str]
    broken: tuple[Broken, ...] = ()
    farming: Farmed | None = None  # what a harvester said last, if it did


@dataclass
class _File:
    """One file of the log, open; `packed` ones are read through gzip."""

    path: Path
    file: BinaryIO
    inode: int
    size: int
    changed: float  # Unix time


class LogReader:
    """One reading of a log: iterate over `events`, then take `result`."""

    def __init__(self, log: Path, last: Place | None) -> None:
        self._log, self._last = log, last
        self.result: Read | None = None

    def events(self) -> Iterator[Event]:
        """Yield what is new, oldest first; OSError, EOFError or ValueError if the log cannot be read."""
        with ExitStack() as stack:
            files = _open_all(self._log, stack)
            start, was_found = _find(files, self._last)
            offset = self._last.offset if was_found and self._last else 0
            lines, levels, broken = 0, set[str](), list[Broken]()
            place = self._last or Place(0, 0, "")
            farming: Farmed | None = None
            for one in files[start:]:
                is_last = one is files[-1]
                reader, reached = Reader(), [offset]
                try:
                    yield from reader.read(_lines(one.file, offset, reached, keep_rest=is_last))
                except _UNREADABLE as error:
                    if is_last:
                        raise
                    # The newer ones can be read all the same.
                    broken.append(Broken(one.path, one.inode, one_line(str(error))))
                lines += reader.lines
                levels |= reader.levels
                farming = farmed_in(reader.farming, one.changed) or farming
                if is_last:
                    stop = reached[0] - reader.open_bytes
                    place = Place(one.inode, stop, _tail(one.file, stop))
                offset = 0
            self.result = Read(place, was_found or self._last is None, lines, frozenset(levels), tuple(broken), farming)


def read_new(log: Path, last: Place | None) -> tuple[list[Event], Read] | Unreadable:
    """Return what is new in a log since `last` (None: everything), and where to go on the next time."""
    reader = LogReader(log, last)
    try:
        events = list(reader.events())
    except _UNREADABLE as error:
        return unreadable(log, error)
    assert reader.result is not None
    return events, reader.result


def _open_all(log: Path, stack: ExitStack) -> list[_File]:
    """Open all files of a log, oldest first; FileNotFoundError if there is none."""
    for _ in range(_TRIES):
        files = [one for path in (*reversed(list(rotated(log))), log) if (one := _open(path, stack))]
        again = [_inode(path) for path in (*reversed(list(rotated(log))), log) if path.exists()]
        if [one.inode for one in files] == again:
            break
    if not files:
        raise FileNotFoundError
    return files


def _open(path: Path, stack: ExitStack) -> _File | None:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a named pipe cannot hold us
    except FileNotFoundError:
        return None  # rotated away this moment
    plain = stack.enter_context(os.fdopen(descriptor, "rb", buffering=0))
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        raise ValueError("it is not a regular file")
    file: BinaryIO = stack.enter_context(gzip.GzipFile(fileobj=plain)) if path.suffix == ".gz" else plain  # type: ignore[assignment]
    return _File(path, file, status.st_ino, status.st_size, status.st_mtime)


def _inode(path: Path) -> int:
    try:
        return path.stat().st_ino
    except FileNotFoundError:
        return 0


def _find(files: Sequence[_File], last: Place | None) -> tuple[int, bool]:
    """Return the number of the file in which the last place is, newest first; 0 and False if it is in none."""
    if last is None:
        return 0, False
    by_likelihood = sorted(range(len(files)), key=lambda number: (files[number].inode != last.inode, -number))
    for number in by_likelihood:
        one = files[number]
        is_packed = one.path.suffix == ".gz"
        try:
            is_here = (
                bool(last.offset)
                and (is_packed or one.size >= last.offset)
                and (_tail(one.file, last.offset) == last.tail)
            )
        except _UNREADABLE:
            continue  # a broken one is told of if it has to be read
        if is_here or (not last.offset and one.inode == last.inode):
            return number, True
    return 0, False


def _tail(file: BinaryIO, offset: int) -> str:
    """Return a digest of what stands before a place; "" if the file is shorter."""
    begin = max(0, offset - _TAIL_BYTES)
    file.seek(begin)
    data = b""
    while len(data) < offset - begin and (piece := file.read(offset - begin - len(data))):
        data += piece
    return blake2b(data, digest_size=16).hexdigest() if len(data) == offset - begin else ""


def _lines(file: BinaryIO, offset: int, reached: list[int], keep_rest: bool) -> Iterator[bytes]:
    """Yield whole lines from a place on; `reached[0]` is where the last of them ended.

    What follows the last line feed is a line too, unless `keep_rest`: in the newest file it may still grow.
    """
    file.seek(offset)
    rest = b""
    while block := file.read(_BLOCK_BYTES):
        lines = (rest + block).split(b"\n")
        rest = lines.pop()
        for line in lines:
            reached[0] += len(line) + 1
            yield line + b"\n"
        if len(rest) > _MOST_LINE_BYTES:
            kept = rest[rest.rfind(b"\0") + 1 :] if b"\0" in rest else b""  # zeros of a power cut, then a line
            kept = kept if len(kept) <= _MOST_LINE_BYTES else b""
            reached[0] += len(rest) - len(kept)
            rest = kept
    if rest and not keep_rest:
        reached[0] += len(rest)
        yield rest
