"""How many plots Chia farms: read from the end of its log, whatever the log's size.

Formats of Chia 1.0 to 2.7. The lines are of level INFO; at WARNING, Chia's default, they do not exist.
"""

from __future__ import annotations

import gzip
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

_BLOCK_BYTES = 256 * 1024
_MOST_BYTES = 8 * 2**20  # of each log: a harvester writes a line with its total every few seconds
_MOST_LINE_BYTES = 64 * 1024  # longer lines are none of Chia's
_ROTATED = 7  # debug.log.1 is the newest of them
REMEDY = "chia configure --set-log-level INFO, then restart Chia"

_TOTAL = re.compile(rb"plots were eligible for farming .*Total (\d{1,12}) plots")
_REFRESHED = re.compile(rb"_plot_refresh_callback: event done.*total plots: (\d{1,12})")
_LOADED = re.compile(rb"Loaded a total of (\d{1,12}) plots of size (\d{1,9}(?:\.\d{1,20})?) TiB")
# Prefix: time, from 2.4.4 on the version, the service; then the logger, which may be padded, and the level.
_PREFIX = re.compile(
    rb"(?:(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)|\d\d:\d\d:\d\d)[.,]\d+\s+(?:\d+\.\d+\S*\s+)?\w+\s+\S+\s*:\s*(\w+)"
)


@dataclass(frozen=True)
class Farmed:
    """What Chia said last of the plots that it farms."""

    plots: int
    bytes: int | None  # their size; in no log line after version 1.2.3
    said: datetime | None  # local time; None: the log has no dates (before 1.1)


@dataclass(frozen=True)
class Unreadable:
    """Nothing can be said: why, and what to do about it."""

    why: str
    remedy: str


def farmed(log: Path) -> Farmed | Unreadable:
    """Return the newest total in a Chia log, or in those that were rotated away from it, newest first."""
    seen_levels: set[bytes] = set()
    problem: Unreadable | None = None
    size: int | None = None
    for number, path in enumerate([log, *rotated(log)]):
        try:
            for line in _lines_backwards(path):
                if found := _total(line):
                    size = size if size is not None else found.bytes
                    return Farmed(found.plots, size, found.said)
                if prefix := _PREFIX.match(line):
                    seen_levels.add(prefix[2])
        except (OSError, EOFError, ValueError) as error:
            problem = problem or (unreadable(path, error) if number == 0 else None)
    return problem or _nothing_found(log, seen_levels)


def _total(line: bytes) -> Farmed | None:
    match = _TOTAL.search(line) or _REFRESHED.search(line) or _LOADED.search(line)
    if match is None or not (prefix := _PREFIX.match(line)):
        return None
    size = int(float(match[2]) * 2**40) if match.re is _LOADED else None
    try:
        said = datetime.fromisoformat(prefix[1].decode()) if prefix[1] else None
    except ValueError:
        said = None
    return Farmed(int(match[1]), size, said)


def rotated(log: Path) -> Iterator[Path]:
    """Yield the files that were rotated away from a log, newest first."""
    for number in range(1, _ROTATED + 1):
        for name in (f"{log.name}.{number}", f"{log.name}.{number}.gz"):
            if (path := log.with_name(name)).exists():
                yield path


def _lines_backwards(path: Path) -> Iterator[bytes]:
    """Yield the lines in the last 8 MiB of a log, last line first; what follows the last newline is none yet."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a named pipe cannot hold us
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ValueError("it is not a regular file")
        if path.suffix == ".gz":
            yield from reversed(_end_of_gzip(path).split(b"\n")[1:-1])
            return
        position = end = file.seek(0, os.SEEK_END)
        rest: bytes | None = None  # the begin of the line that the blocks before end in; None: not whole yet
        while position > max(0, end - _MOST_BYTES):
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
