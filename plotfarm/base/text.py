"""Text from outside, made fit to be shown."""

from __future__ import annotations


def one_line(text: str) -> str:
    """Return `text` with every character that could end the line or steer a terminal written as an escape."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
