"""The text of a mail, printed: what is wider than the terminal is folded."""

from __future__ import annotations

import re

from plotfarm.reports.terminal import Terminal, width_of

_LEAST_DOTS = 3


def folded(text: str, terminal: Terminal) -> str:
    """Return the text of a mail in lines that fit the terminal; those that fit stay as they are."""
    return "\n".join(line for whole in text.rstrip("\n").split("\n") for line in _folded(whole, terminal))


def _folded(line: str, terminal: Terminal) -> list[str]:
    shown = terminal.shown(line)
    if terminal.width is None or width_of(shown) <= terminal.width:
        return [shown]
    dotted = re.fullmatch(r"(.*?)\.{3,}(.*)", shown)
    if dotted is not None:
        return _dotted(dotted[1], dotted[2], terminal)
    return terminal.folded(shown)


def _dotted(label: str, value: str, terminal: Terminal) -> list[str]:
    """Return a row of a label and a value with fewer dots, or in two lines."""
    assert terminal.width is not None
    dots = terminal.width - width_of(label) - width_of(value)
    if dots >= _LEAST_DOTS:
        return [f"{label}{'.' * dots}{value}"]
    return [*terminal.lines(f"{label}..."), *("   " + part for part in terminal.lines(value, limit=terminal.width - 3))]
