"""Frames of # around reports. They stay aligned whatever the values are: text is measured in cells of a terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

_INKS = {"good": "\033[32m", "warning": "\033[33m", "critical": "\033[1;31m", "title": "\033[1;36m", "dim": "\033[2m"}
_END = "\033[0m"
_EDGE = "#"


@dataclass(frozen=True)
class Cell:
    """A piece of a row. `mood`: good, warning, critical, title, dim or "", which is its colour on a terminal."""

    text: str
    mood: str = ""
    span: int = 1  # columns of a table that it covers


def width_of(text: str) -> int:
    """Return how many cells of a terminal a text takes: a Chinese character takes two."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len  # takes 9 ms, and most texts are plain

    return cell_len(text)


def ink(text: str, mood: str, colour: bool) -> str:
    """Return a text in the colour of its mood, if there are colours."""
    return f"{_INKS[mood]}{text}{_END}" if colour and mood in _INKS else text


def padded(text: str, width: int, align: str = "<") -> str:
    """Return a text filled up to a width in cells: `<` left, `>` right, `^` in the middle."""
    space = max(0, width - width_of(text))
    before = {"<": 0, ">": space, "^": space // 2}[align]
    return " " * before + text + " " * (space - before)


def heading(title: str, width: int, colour: bool) -> list[str]:
    """Return a title between two lines of #."""
    line = _EDGE * width
    space = width - width_of(title) - 2
    left, right = _EDGE * (space // 2), _EDGE * (space - space // 2)
    return [line, f"{left} {ink(title, 'title', colour)} {right}", line]


def report(title: str, rows: Sequence[tuple[str, Cell]], colour: bool) -> list[str]:
    """Return rows of a label and a value, the values flush right, below a title."""
    widest = max((width_of(label) + width_of(value.text) for label, value in rows), default=0)
    width = max(widest + 2, width_of(title) + 10, 60)
    lines = heading(title, width, colour)
    for label, value in rows:
        gap = " " * (width - width_of(label) - width_of(value.text))
        lines.append(f"{label}{gap}{ink(value.text, value.mood, colour)}")
    return [*lines, _EDGE * width]


def table(title: str, head: Sequence[str], rows: Sequence[Sequence[Cell]], colour: bool, wanted: int = 80) -> list[str]:
    """Return a table between # on all sides, below a title; airy if it is not wider than `wanted` cells then.

    The cells of each row span as many columns together as `head` has. One that spans several is wrapped into what
    these are wide; the others are never wrapped or cut.
    """
    widths = [width_of(text) for text in head]
    for row in rows:
        column = 0
        for cell in row:
            if cell.span == 1:
                widths[column] = max(widths[column], width_of(cell.text))
            column += cell.span
    bare = sum(widths) + len(widths) + 1
    padding = next((space for space in (3, 2) if bare + 2 * space * len(widths) <= wanted), 1)
    padding = max(padding, -(-(width_of(title) + 10 - bare) // (2 * len(widths))))
    width = bare + 2 * padding * len(widths)
    lines = [*heading(title, width, colour), *_row([Cell(text) for text in head], widths, padding, colour)]
    lines.append(_EDGE * width)
    for row in rows:
        lines += _row(row, widths, padding, colour)
    return [*lines, _EDGE * width]


def _row(row: Sequence[Cell], widths: Sequence[int], padding: int, colour: bool) -> list[str]:
    """Return the line of a row, or the lines if a cell is wrapped."""
    pieces: list[tuple[Cell, int, list[str]]] = []
    column = 0
    for cell in row:
        room = sum(widths[column : column + cell.span]) + (cell.span - 1) * (2 * padding + 1)
        pieces.append((cell, room, wrapped(cell.text, room) if cell.span > 1 else [cell.text]))
        column += cell.span
    space = " " * padding
    lines = []
    for number in range(max(len(parts) for _, _, parts in pieces)):
        line = _EDGE
        for cell, room, parts in pieces:
            text = parts[number] if number < len(parts) else ""
            shown = padded(text, room, "<" if cell.span > 1 else "^")
            line += f"{space}{ink(shown, cell.mood, colour)}{space}{_EDGE}"
        lines.append(line)
    return lines


def wrapped(text: str, width: int) -> list[str]:
    """Return a text in lines of at most `width` cells."""
    lines = textwrap.wrap(text, width, break_on_hyphens=False) or [""]
    if all(width_of(line) <= width for line in lines):
        return lines
    from rich.cells import chop_cells

    return [part for line in lines for part in chop_cells(line, width)]


def remarks(sentences: Iterable[tuple[str, str, str]], width: int, colour: bool) -> list[str]:
    """Return sentences below a frame: a mark such as `[1]`, its mood, and the sentence, wrapped beside the mark."""
    lines = []
    for mark, mood, sentence in sentences:
        first, *others = wrapped(sentence, max(20, width - width_of(mark) - 1))
        lines.append(f"{ink(mark, mood, colour)} {first}")
        lines += [" " * (width_of(mark) + 1) + line for line in others]
    return lines
