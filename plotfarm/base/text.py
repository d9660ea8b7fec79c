"""Text from outside, made fit to be shown."""

from __future__ import annotations

import os


def one_line(text: str) -> str:
    """Return `text` with every character that could end the line or steer a terminal written as an escape."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def as_stored(name: str) -> str | bytes:
    """Return a name as SQLite can hold it: as bytes if it is no text, as names of files and mountpoints may be."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return os.fsencode(name)
    return name


def from_stored(value: str | bytes) -> str:
    """Return a name that `as_stored` made fit."""
    return value if isinstance(value, str) else os.fsdecode(value)
