"""Patterns for device names and mountpoints: compared as text, so no drive is ever touched."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase


def matches(pattern: str, path: str) -> bool:
    """Tell whether a path fits: `*`, `?` and `[...]` within one part of it, `**` for any number of parts."""
    return _parts_match(pattern.rstrip("/").split("/"), path.rstrip("/").split("/"))


def matches_any(patterns: Iterable[str], paths: Sequence[str]) -> bool:
    """Tell whether one of the paths fits one of the patterns."""
    return any(matches(pattern, path) for pattern in patterns for path in paths)


def _parts_match(pattern: list[str], path: list[str]) -> bool:
    if not pattern:
        return not path
    if pattern[0] == "**":
        return any(_parts_match(pattern[1:], path[skipped:]) for skipped in range(len(path) + 1))
    return bool(path) and fnmatchcase(path[0], pattern[0]) and _parts_match(pattern[1:], path[1:])
