"""Frames of # around reports. They stay aligned whatever the values are: text is measured in cells of a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from plotfarm.reports.terminal import Terminal, width_of, wrapped

EDGE = "#"
_NARROWEST = 60  # cells of a report, where there are as many
_AROUND_TITLE = 10  # cells
_LONGEST_MARK = 16  # cells: beside a longer one there is no room for a sentence


@dataclass(frozen=True)
class Value:
    """What stands behind a label. `mood`: see Terminal.ink."""

    text: str
    mood: str = ""


@dataclass(frozen=True)
class Remark:
    """A sentence below a frame, behind a mark such as `[1]` or `!` that has a mood."""

    mark: str
    sentence: str
    mood: str = "dim"


def heading(title: str, width: int, terminal: Terminal) -> list[str]:
    """Return a title between two lines of #."""
    lines = [EDGE * width]
    for part in wrapped(terminal.shown(title), width - 4):
        space = width - width_of(part) - 2
        left = EDGE * (space // 2)
        right = EDGE * (space - space // 2)
        lines.append(f"{left} {terminal.ink(part, 'title')} {right}")
    return [*lines, EDGE * width]


def report(title: str, rows: Sequence[tuple[str, Value]], terminal: Terminal) -> list[str]:
    """Return rows of a label and a value, the values flush right, below a title.

    Where both do not fit into one line, the value stands below its label.
    """
    shown = [(terminal.shown(label), terminal.shown(value.text), value.mood) for label, value in rows]
    widest = max((width_of(label) + width_of(value) for label, value, _ in shown), default=0)
    width = max(widest + 2, width_of(terminal.shown(title)) + _AROUND_TITLE, _NARROWEST)
    if terminal.width is not None:
        width = min(width, terminal.width)
    lines = heading(title, width, terminal)
    for label, value, mood in shown:
        lines += _row(label, value, mood, width, terminal)
    return [*lines, EDGE * width]


def _row(label: str, value: str, mood: str, width: int, terminal: Terminal) -> list[str]:
    space = width - width_of(label) - width_of(value)
    if space >= 1:
        return [f"{label}{' ' * space}{terminal.ink(value, mood)}"]
    values = wrapped(value, width)
    flush_right = [f"{' ' * (width - width_of(line))}{terminal.ink(line, mood)}" for line in values]
    return [*wrapped(label, width), *flush_right]


def remarks(below: Iterable[Remark], width: int, terminal: Terminal) -> list[str]:
    """Return sentences below a frame, each beside its mark, in lines of at most `width` cells."""
    lines = []
    for remark in below:
        mark = terminal.shown(remark.mark)
        if width_of(mark) > _LONGEST_MARK:
            lines += terminal.lines(f"{remark.mark} {remark.sentence}", "  ", limit=width)
            continue
        indent = " " * (width_of(mark) + 1)
        first, *others = terminal.lines(remark.sentence, indent, limit=width)
        lines += [f"{terminal.ink(mark, remark.mood)} {first}", *others]
    return lines
