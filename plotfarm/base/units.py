"""Sizes and durations: read from what people write, and written so that people can read them."""

from __future__ import annotations

import re

DAY_SECONDS = 86400.0
_AHEAD_SECONDS = 60.0  # clocks of hosts differ by less, and are set by less

_FACTORS = {
    "": 1, "b": 1,
    "k": 10**3, "kb": 10**3, "kib": 2**10,
    "m": 10**6, "mb": 10**6, "mib": 2**20,
    "g": 10**9, "gb": 10**9, "gib": 2**30,
    "t": 10**12, "tb": 10**12, "tib": 2**40,
    "p": 10**15, "pb": 10**15, "pib": 2**50,
}  # fmt: skip


def parse_bytes(text: str) -> int:
    """Read a size such as `108995911228`, `1.5 GiB` or `200MB`; ValueError if it is none or negative."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*", text, re.ASCII)
    if match is None or match.group(2).lower() not in _FACTORS:
        raise ValueError(f"not a size: {text!r}")
    number, unit = match.groups()
    factor = _FACTORS[unit.lower()]
    return int(number) * factor if "." not in number else int(float(number) * factor)


def format_bytes(count: int | float) -> str:
    """Write a number of bytes with a binary unit and four digits at most: `101.4 GiB`."""
    size = float(count)
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if abs(size) < 1024:
            return f"{int(size)} B" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} PiB"


def format_speed(count: int | float, seconds: float = 1.0) -> str:
    """Write how fast so many bytes went in so many seconds: `181.2 MiB/s`."""
    return f"{format_bytes(count / max(seconds, 1e-6))}/s"


def format_duration(seconds: float) -> str:
    """Write a duration in its two largest units: `3 h 20 min`, `45 s`."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{whole} s"
    parts = [(whole // 86400, "d"), (whole // 3600 % 24, "h"), (whole // 60 % 60, "min"), (whole % 60, "s")]
    first = next(index for index, (count, _) in enumerate(parts) if count)
    return " ".join(f"{count} {unit}" for count, unit in parts[first : first + 2] if count)


def format_ago(seconds: float) -> str:
    """Write how long ago something was: `3 h 20 min ago`. What lies ahead was noted before the clock was set back."""
    if seconds < -_AHEAD_SECONDS:
        return f"{format_duration(-seconds)} ahead of this clock"
    return f"{format_duration(max(0.0, seconds))} ago"
