"""A picture (SVG) of what a terminal shows: text with escape codes for colours, each letter in its cell."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator

from plotfarm.reports.terminal import width_of

_CELL, _LINE = 8.4, 18.0  # pixels
_MARGIN, _BAR = 12.0, 30.0
_COLOURS = {"2": "#8a8f98", "31": "#f06a6a", "32": "#5fbf6a", "33": "#dcae3f", "36": "#56b3c2"}
_INK, _PAPER = "#d7dae0", "#22262e"
_STYLE = "font-family:Menlo,Consolas,'DejaVu Sans Mono',monospace;font-size:14px"


def picture(screen: str, columns: int, title: str) -> str:
    """Return the SVG of a terminal that is so many columns wide and as high as its text."""
    lines = screen.split("\n")
    width = 2 * _MARGIN + columns * _CELL
    height = _BAR + len(lines) * _LINE + _MARGIN
    texts = [text for number, line in enumerate(lines) for text in _texts(line, _BAR + (number + 0.8) * _LINE)]
    size = f'width="{width:.0f}" height="{height:.0f}"'
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" {size} viewBox="0 0 {width:.0f} {height:.0f}">',
            f'<rect {size} rx="8" fill="{_PAPER}"/>',
            f'<text x="{width / 2:.0f}" y="20" text-anchor="middle" fill="{_COLOURS["2"]}" style="{_STYLE}">'
            f"{html.escape(title)}</text>",
            *texts,
            "</svg>\n",
        ]
    )


def _texts(line: str, y: float) -> Iterator[str]:
    """Return the words of a line, each where its cell begins."""
    column = 0
    codes = ""
    for part in re.split(r"(\x1b\[[\d;]*m)", line):
        if part.startswith("\x1b["):
            codes = part[2:-1]
            continue
        for word in re.finditer(r"\S+(?: \S+)*", part):
            x = _MARGIN + (column + width_of(part[: word.start()])) * _CELL
            length = width_of(word[0]) * _CELL
            yield (
                f'<text x="{x:.1f}" y="{y:.1f}" textLength="{length:.1f}" {_ink(codes)}>{html.escape(word[0])}</text>'
            )
        column += width_of(part)


def _ink(codes: str) -> str:
    colour = next((_COLOURS[code] for code in codes.split(";") if code in _COLOURS), _INK)
    weight = ";font-weight:bold" if "1" in codes.split(";") else ""
    return f'fill="{colour}" style="{_STYLE}{weight}"'
