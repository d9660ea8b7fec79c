"""How a line of Chia's log begins, from version 1.0 to 2.7: its time, its version, its service and its level.

Each pattern here has bounds, so that no line, however it was made, takes longer than its length.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime, timedelta

PREFIX = re.compile(
    rb"(?P<time>(?:\d{4}-\d\d-\d\dT)?\d\d:\d\d:\d\d[.,]\d{1,9})(?P<zone>Z|[+-]\d\d:?\d\d)?\s{1,8}"
    rb"(?:(?P<version>\d{1,4}\.\d{1,4}\S{0,40})\s{1,8})?"
    rb"(?P<service>\w{1,64})\s{1,8}[^\s:]{1,128}\s{0,64}:\s{0,8}(?P<level>[A-Z]{1,10})\s"
)
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_VERSION = re.compile(rb"(\d{1,4})\.(\d{1,4})(?:\.(\d{1,4}))?")
_CLOCKS_DIFFER = timedelta(minutes=1)  # so much later than its file's own time may a line without a date be


def whole_lines(line: bytes) -> Sequence[bytes]:
    """Return the lines in what ends with one line feed: a power cut leaves zeros before, after or between them."""
    if b"\0" in line:
        return [part for part in re.split(rb"\0+", line) if part.strip()]
    return (line.removeprefix(_BYTE_ORDER_MARK),)


def version_of(prefix: re.Match[bytes]) -> tuple[int, int, int] | None:
    """Return the version of Chia that wrote a line, which stands there from 2.4.4 on; None: it does not."""
    found = _VERSION.match(prefix["version"] or b"")
    return (int(found[1]), int(found[2]), int(found[3] or 0)) if found else None


def unix_time(prefix: re.Match[bytes], file_time: float) -> float | None:
    """Return when a line was written, as Unix time; None: what stands there is no time.

    `file_time`: when its file was changed last. Up to 1.0.5 a line has no date, and gets the last one that fits.
    """
    text = (prefix["time"] + (prefix["zone"] or b"")).decode()
    try:
        if "T" in text:
            return datetime.fromisoformat(text).timestamp()
        changed = datetime.fromtimestamp(file_time)
        moment = datetime.fromisoformat(f"{changed.date()}T{text}")
        if moment.tzinfo is None and moment > changed + _CLOCKS_DIFFER:
            moment -= timedelta(days=1)
        return moment.timestamp()
    except (ValueError, OverflowError, OSError):
        return None
