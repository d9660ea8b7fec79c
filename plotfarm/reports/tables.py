"""The one table maker: a table fits its terminal, because the least important columns are left out of it.

Rows are never wrapped. What stands in a column that was left out, and the whole of what was shortened, is returned, so
that the report can say it below the table.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto

from plotfarm.reports.frame import EDGE, heading
from plotfarm.reports.terminal import Terminal, padded, shortened, width_of

_AIRY_WIDTH = 80  # a framed table has more space around its cells as long as it is not wider than this
_SHORTEST_REASON = 44  # cells of the last column, if it can be brief: for these other columns are left out
_LEAST = 4  # cells that a column keeps, whatever happens


class TableStyle(Enum):
    """What a table looks like."""

    FRAMED = auto()  # between # on all sides, below a title
    PLAIN = auto()  # columns, and a line with their names in capitals


@dataclass(frozen=True)
class Column:
    """A column: its name, and what becomes of it where the terminal is narrow."""

    name: str
    rank: int = 0  # the highest is left out first; 0 never
    align: str = "<"


@dataclass(frozen=True)
class Cell:
    """A piece of a row. `mood`: see Terminal.ink."""

    text: str
    mood: str = ""
    brief: str = ""  # what stands for it where it is too long; only in the last column


@dataclass(frozen=True)
class Shortened:
    """A cell that is not shown as a whole."""

    row: int
    column: str
    text: str


@dataclass(frozen=True)
class Drawn:
    """A table as lines, and what is not in them."""

    lines: list[str]
    left_out: tuple[str, ...]  # names of columns
    shortened: tuple[Shortened, ...]

    @property
    def remark(self) -> str:
        """What to say below of columns that were left out; "" if none was."""
        return f"not shown: {', '.join(self.left_out)} (--wide shows all)" if self.left_out else ""


@dataclass(frozen=True)
class _Frame:
    """The space around cells."""

    look: TableStyle
    padding: int = 1

    def width(self, columns: int) -> int:
        """Return how many cells all columns together take beside their texts."""
        if self.look is TableStyle.PLAIN:
            return 2 * (columns - 1)
        return columns + 1 + 2 * self.padding * columns

    def line(self, cells: Sequence[str]) -> str:
        if self.look is TableStyle.PLAIN:
            return "  ".join(cells).rstrip()
        space = " " * self.padding
        return EDGE + EDGE.join(f"{space}{cell}{space}" for cell in cells) + EDGE


def table(
    columns: Sequence[Column],
    rows: Sequence[Sequence[Cell]],
    terminal: Terminal,
    look: TableStyle = TableStyle.PLAIN,
    title: str = "",
) -> Drawn:
    """Return a table that is no wider than the terminal; each row has a cell for each column.

    `title` is for a framed table. A plain one has no lines at all if there are no rows.
    """
    texts = [[terminal.shown(cell.text) for cell in row] for row in rows]
    briefs = [terminal.shown(row[-1].brief) if row else "" for row in rows]
    natural = [
        max([width_of(column.name), *(width_of(row[index]) for row in texts)]) for index, column in enumerate(columns)
    ]
    frame = _Frame(look)
    enough = _enough_of_the_last(natural[-1], briefs)
    kept = _kept(columns, [*natural[:-1], enough], terminal.width, frame)
    widths = _widths(kept, natural, len(columns) - 1, terminal.width, frame)
    frame = _aired(frame, title, widths, terminal.width)

    shown, cut = _cut(columns, kept, widths, texts, briefs)
    head = [padded(columns[index].name, width, columns[index].align) for index, width in widths.items()]
    body = [_line(row, cells, columns, widths, frame, terminal) for row, cells in zip(rows, shown, strict=True)]
    left_out = tuple(column.name for index, column in enumerate(columns) if index not in kept)
    if look is TableStyle.PLAIN:
        lines = [frame.line(head), *body] if rows else []
        return Drawn(lines, left_out if rows else (), cut)
    width = sum(widths.values()) + frame.width(len(widths))
    edge = EDGE * width
    return Drawn([*heading(title, width, terminal), frame.line(head), edge, *body, edge], left_out, cut)


def _enough_of_the_last(natural: int, briefs: Sequence[str]) -> int:
    """Return how many cells the last column needs; one that has brief texts as well can do with less."""
    widest = max(map(width_of, briefs), default=0)
    return min(natural, max(widest, _SHORTEST_REASON)) if widest else natural


def _kept(columns: Sequence[Column], needed: Sequence[int], limit: int | None, frame: _Frame) -> list[int]:
    """Return the columns that fit, by their numbers: the highest rank goes first."""
    kept = list(range(len(columns)))
    while limit is not None and sum(needed[index] for index in kept) + frame.width(len(kept)) > limit:
        rank, index = max((columns[index].rank, index) for index in kept)
        if not rank:
            break
        kept.remove(index)
    return kept


def _widths(kept: Sequence[int], natural: Sequence[int], last: int, limit: int | None, frame: _Frame) -> dict[int, int]:
    """Return the width of each column that is kept: what it takes, or less where that is more than there is."""
    widths = {index: natural[index] for index in kept}
    if limit is None:
        return widths
    room = limit - frame.width(len(kept))
    if last in widths:
        others = sum(width for index, width in widths.items() if index != last)
        widths[last] = min(widths[last], max(_SHORTEST_REASON, room - others))
    while sum(widths.values()) > room and max(widths.values()) > _LEAST:
        widest = max(widths, key=lambda index: widths[index])
        widths[widest] -= 1
    return widths


def _aired(frame: _Frame, title: str, widths: dict[int, int], limit: int | None) -> _Frame:
    """Return the frame with as much space around its cells as there is, and as a long title takes."""
    if frame.look is TableStyle.PLAIN:
        return frame
    texts = sum(widths.values())
    wanted = min(_AIRY_WIDTH, _AIRY_WIDTH if limit is None else limit)
    fitting = [padding for padding in (3, 2) if texts + _Frame(frame.look, padding).width(len(widths)) <= wanted]
    padding = fitting[0] if fitting else 1
    while texts + _Frame(frame.look, padding).width(len(widths)) < width_of(title) + 10:
        wider = _Frame(frame.look, padding + 1).width(len(widths))
        if limit is not None and texts + wider > limit:
            break
        padding += 1
    return _Frame(frame.look, padding)


def _cut(
    columns: Sequence[Column],
    kept: Sequence[int],
    widths: dict[int, int],
    texts: Sequence[Sequence[str]],
    briefs: Sequence[str],
) -> tuple[list[list[str]], tuple[Shortened, ...]]:
    """Return the texts of the columns that are kept, and those of them that are too long, as a whole."""
    shown = []
    cut = []
    for number, row in enumerate(texts):
        cells = []
        for index in kept:
            text = row[index]
            if width_of(text) > widths[index]:
                cut.append(Shortened(number, columns[index].name, text))
                is_last = index == len(columns) - 1
                text = shortened(briefs[number] if is_last and briefs[number] else text, widths[index])
            cells.append(text)
        shown.append(cells)
    return shown, tuple(cut)


def _line(
    row: Sequence[Cell],
    texts: Sequence[str],
    columns: Sequence[Column],
    widths: dict[int, int],
    frame: _Frame,
    terminal: Terminal,
) -> str:
    cells = []
    for text, (index, width) in zip(texts, widths.items(), strict=True):
        is_open = frame.look is TableStyle.PLAIN and index == len(columns) - 1
        filled = text if is_open else padded(text, width, columns[index].align)
        cells.append(terminal.ink(filled, row[index].mood))
    return frame.line(cells)
