"""How many plots Chia farms, and when it said so: read from the end of its log, whatever the log's size.

Formats of Chia 1.0 to 2.7. The lines are of level INFO; at WARNING, Chia's default, they do not exist.
"""

from __future__ import annotations

import gzip
import os
import re
import stat
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from plotfarm.chia.log_lines import PREFIX, unix_time, whole_lines

_BLOCK_BYTES = 256 * 1024
_MOST_BYTES = 8 * 2**20  # of each log: a harvester writes a line with its total every few seconds
_MOST_LINE_BYTES = 64 * 1024  # longer lines are none of Chia's
_ROTATED = 7  # debug.log.1 is the newest of them
_DATED = 31  # debug.log-20261124 and such: what logrotate makes with `dateext`
_DATE = re.compile(r"-\d{8}(?:-?\d{1,10})?(?:\.gz)?")
REMEDY = "chia configure --set-log-level INFO, then restart Chia"

_ELIGIBLE = b" plots were eligible for farming"
_TOTAL = re.compile(rb"Total (\d{1,12}) plots")
_REFRESH = b"_plot_refresh_callback: event done"
_REFRESHED = re.compile(rb"total plots: (\d{1,12})")
_LOADED = re.compile(rb"Loaded a total of (\d{1,12}) plots of size (\d{1,9}(?:\.\d{1,20})?) TiB")


class Source(StrEnum):
    """Who says what Chia farms. The values are kept in the database, and shown."""

    LOG = "log"
    HARVESTER = "harvester RPC"


@dataclass(frozen=True)
class Farmed:
    """What Chia said of the plots that it farms, and when a harvester looked for proofs last."""

    plots: int
    bytes: int | None  # their size; in no log line after version 1.2.3
    said: float  # Unix time
    source: Source = Source.LOG


@dataclass(frozen=True)
class Unreadable:
    """Nothing can be said: why, and what to do about it."""

    why: str
    remedy: str


class _Search:
    """What the lines of a log say, newest first.

    A harvester that has lost its farmer still counts its plots: it farms while it looks for proofs. Where no line
    says that it did, the oldest count is the latest moment at which it may have.
    """

    def __init__(self, file_time: float) -> None:
        self.found: Farmed | None = None
        self.levels = set[bytes]()
        self._file_time = file_time

    def is_over_with(self, line: bytes) -> bool:
        """Take a line in; tells whether all is known."""
        said = _total(line, self._file_time)
        if said is None:
            if prefix := PREFIX.match(line):
                self.levels.add(prefix["level"])
            return False
        if self.found is None:
            self.found = said
        size = said.bytes if self.found.bytes is None else self.found.bytes
        self.found = Farmed(self.found.plots, size, said.said)
        return _ELIGIBLE in line


def farmed(log: Path, *, most_bytes: int = _MOST_BYTES, with_rotated: bool = True) -> Farmed | Unreadable:
    """Return the newest total in a Chia log, or in those that were rotated away from it, newest first.

    `most_bytes`: how far back each of them is read.
    """
    seen_levels: set[bytes] = set()
    problem: Unreadable | None = None
    for number, path in enumerate([log, *(rotated(log) if with_rotated else ())]):
        search = _Search(0.0)
        try:
            search = _Search(path.stat().st_mtime)
            for line in _lines_backwards(path, most_bytes):
                if any(search.is_over_with(part) for part in reversed(whole_lines(line))):
                    break
        except (OSError, EOFError, ValueError, zlib.error) as error:
            problem = problem or (unreadable(path, error) if number == 0 else None)
        if search.found is not None:
            return search.found
        seen_levels |= search.levels
    return problem or _nothing_found(log, seen_levels)


def farmed_in(line: bytes, file_time: float) -> Farmed | None:
    """Return what one line of a harvester says; `file_time`: when its file was changed last."""
    return _total(line, file_time)


def _total(line: bytes, file_time: float) -> Farmed | None:
    match = None
    if (at := line.find(_ELIGIBLE)) >= 0:
        match = _TOTAL.search(line, at)
    elif (at := line.find(_REFRESH)) >= 0:
        match = _REFRESHED.search(line, at)
    elif b"Loaded a total of " in line:
        match = _LOADED.search(line)
    if match is None or not (prefix := PREFIX.match(line)):
        return None
    said = unix_time(prefix, file_time)
    size = int(float(match[2]) * 2**40) if match.re is _LOADED else None
    return None if said is None else Farmed(int(match[1]), size, said)


def rotated(log: Path) -> Iterator[Path]:
    """Yield the files that were rotated away from a log, newest first: .1 to .7, and those named by a date."""
    for number in range(1, _ROTATED + 1):
        for name in (f"{log.name}.{number}", f"{log.name}.{number}.gz"):
            if (path := log.with_name(name)).exists():
                yield path
    try:
        beside = os.listdir(log.parent)
    except OSError:
        return
    dated = [name for name in beside if name.startswith(log.name) and _DATE.fullmatch(name[len(log.name) :])]
    for name in sorted(dated, reverse=True)[:_DATED]:
        yield log.with_name(name)


def _lines_backwards(path: Path, most_bytes: int) -> Iterator[bytes]:
    """Yield the lines in the last part of a log, last line first; what follows the last newline is none yet."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a named pipe cannot hold us
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ValueError("it is not a regular file")
        if path.suffix == ".gz":
            yield from reversed(_end_of_gzip(path).split(b"\n")[1:-1])
            return
        position = end = file.seek(0, os.SEEK_END)
        rest: bytes | None = None  # the begin of the line that the blocks before end in; None: not whole yet
        while position > max(0, end - most_bytes):
            begin = max(0, position - _BLOCK_BYTES)
            file.seek(begin)
            lines = (file.read(position - begin) + (rest or b"")).split(b"\n")
            whole = lines[1:] if rest is not None else lines[1:-1]
            yield from reversed(whole)
            if rest is not None or len(lines) > 1:
                rest = lines[0][-_MOST_LINE_BYTES:]
            position = begin
        if position == 0 and rest:
            yield rest


def _end_of_gzip(path: Path) -> bytes:
    """Return the last part of what a gzip file holds; it must be unpacked whole for that, in bounded memory."""
    end = b"\n"
    with gzip.open(path) as file:
        while block := file.read(_MOST_BYTES):
            end = (end + block)[-_MOST_BYTES:]
    return end if end.endswith(b"\n") else end + b"\n"


def unreadable(path: Path, error: Exception) -> Unreadable:
    """Return why a log cannot be read."""
    if isinstance(error, FileNotFoundError):
        return Unreadable(f"there is no Chia log {path}", "set [chia] home or log in plot_manager_config")
    if isinstance(error, PermissionError):
        return Unreadable(f"this user may not read {path}", "let this user read it, for example through Chia's group")
    reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
    return Unreadable(f"cannot read {path}: {reason}", "set [chia] log in plot_manager_config")


def _nothing_found(log: Path, levels: set[bytes]) -> Unreadable:
    if not levels:
        return Unreadable(f"{log} holds no line that this program knows", f"if Chia runs: {REMEDY}")
    if levels & {b"INFO", b"DEBUG"}:
        return Unreadable(f"{log} does not say how many plots are farmed", "does a harvester run on this host?")
    return Unreadable(f"{log} has only lines of level {'/'.join(sorted(x.decode() for x in levels))}", REMEDY)
