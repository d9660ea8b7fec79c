"""The one place that decides how text reaches whoever reads it: colours, width, encoding, and what a closed pipe means.

Every report is laid out for a `Terminal`: a value, so that layout stays a function on values. tables.py and frame.py
lay out; what they are given is escaped here where the encoding has no letters for it, so that widths are true.
"""

from __future__ import annotations

import atexit
import io
import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TextIO

from plotfarm.base.errors import PlotfarmError

_INKS = {
    "good": "\033[32m",
    "chosen": "\033[1;32m",
    "warning": "\033[33m",
    "critical": "\033[1;31m",
    "title": "\033[1;36m",
    "dim": "\033[2m",
}
_END = "\033[0m"
_USUAL_WIDTH = 80  # of a terminal that does not know its own
_NARROWEST = 20  # cells: in less than that nothing can be read
_GAP = "..."
_BEFORE_UNIT = r"(?<=\d) (?=(?:[KMGTP]i)?B\b|(?:s|min|h|d|plots?|XCH)\b)"  # "3 min" stays in one line
_EMPTY_LINE = "\r\033[K"
_GLUE = "\x1f"  # for textwrap no space


@dataclass(frozen=True)
class Terminal:
    """Where a report goes. As it is made here: text for a file or a mail."""

    colour: bool = False
    width: int | None = None  # cells in a line; None: as many as it takes
    encoding: str = "utf-8"
    is_watched: bool = False  # whether it is a terminal, so that somebody looks

    def ink(self, text: str, mood: str) -> str:
        """Return a text in the colour of its mood, if there are colours. "" and unknown moods have none."""
        return f"{_INKS[mood]}{text}{_END}" if self.colour and mood in _INKS else text

    def shown(self, text: str) -> str:
        r"""Return a text with what the encoding cannot show as escapes: 31°C is 31\xb0C in ASCII."""
        if text.isascii():
            return text
        return text.encode(self.encoding, "backslashreplace").decode(self.encoding)

    def lines(self, text: str, indent: str = "", mood: str = "", limit: int | None = None) -> list[str]:
        """Return a sentence in as many lines as it takes, those after the first behind `indent`.

        `limit`: cells in a line, if that shall be less than the terminal has.
        """
        widths = [width for width in (self.width, limit) if width is not None]
        shown = self.shown(text)
        if not widths:
            return [self.ink(shown, mood)]
        room = max(_NARROWEST, min(widths) - len(indent))
        first, *others = wrapped(shown, room)
        return [self.ink(first, mood), *(indent + self.ink(line, mood) for line in others)]

    def folded(self, text: str) -> list[str]:
        """Return a text of several lines; those that are too long go on below, as far to the right as they begin."""
        lines = []
        for line in text.split("\n"):
            if self.width is None or width_of(self.shown(line)) <= self.width:
                lines.append(self.shown(line))
                continue
            start = line.lstrip()
            indent = line[: len(line) - len(start)][: self.width // 2]
            lines += [indent + part for part in self.lines(start, limit=self.width - len(indent))]
        return lines

    def wide(self) -> Terminal:
        """Return the same without an end to its lines."""
        return replace(self, width=None)


PLAIN = Terminal()


def standard_output(*, wide: bool = False) -> Terminal:
    """Return the terminal that standard output is; `wide`: whatever its width, everything is shown."""
    terminal = terminal_of(sys.stdout, os.environ)
    return terminal.wide() if wide else terminal


def terminal_of(stream: TextIO | None, environment: Mapping[str, str]) -> Terminal:
    """Return what a stream can show. None: it was closed before the script began, and shows nothing."""
    if stream is None:
        return PLAIN
    is_terminal = stream.isatty()
    return Terminal(
        colour=_wants_colour(environment, is_terminal=is_terminal),
        width=_width(stream, environment, is_terminal=is_terminal),
        encoding=stream.encoding or "utf-8",
        is_watched=is_terminal,
    )


def _wants_colour(environment: Mapping[str, str], *, is_terminal: bool) -> bool:
    """Tell whether there shall be colours: https://no-color.org, https://force-color.org."""
    if environment.get("NO_COLOR"):
        return False
    if environment.get("FORCE_COLOR"):
        return True
    return is_terminal and environment.get("TERM") != "dumb"


def _width(stream: TextIO, environment: Mapping[str, str], *, is_terminal: bool) -> int | None:
    """Return how many cells a line has; what goes to a file or a program always has all columns."""
    if not is_terminal:
        return None
    columns = environment.get("COLUMNS", "")
    if columns.isascii() and columns.isdecimal() and int(columns) > 0:
        return max(_NARROWEST, int(columns))
    try:
        width = os.get_terminal_size(stream.fileno()).columns
    except (OSError, ValueError):
        width = 0
    return max(_NARROWEST, width) if width > 0 else _USUAL_WIDTH


# ---- Writing ----

_is_watched = True  # whoever started this script waits for what it prints


def prepare(*, is_watched: bool = True) -> None:
    """Let nothing that a script prints end it: letters that the encoding lacks, or a reader that has gone.

    At the end of the process what is still in a buffer is written in the same way. Where nobody watches, as under cron,
    a full disk behind its output costs words only: the plots that are on their way are worth more.
    """
    global _is_watched
    _is_watched = is_watched
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    atexit.unregister(_finish)
    atexit.register(_finish)


def say(text: str, stream: TextIO | None = None) -> None:
    """Print a text to standard output, or to another stream.

    A reader that wants no more (`| head -1`, `| less` and q) is no fault: the job goes on to its end, and its exit
    status is what it is anyway. PlotfarmError if the text cannot be written for another reason, a full disk, and
    somebody waits for it.
    """
    stream = sys.stdout if stream is None else stream
    if stream is None:  # it was closed before the script began
        return
    try:
        stream.write(f"{text}\n")
        stream.flush()
    except BrokenPipeError:
        _discard(stream)
    except OSError as error:
        _discard(stream)
        if not _is_watched:
            return
        raise PlotfarmError(f"what was to be printed cannot be written: {error.strerror}") from None


def say_if_watched(text: str) -> None:
    """Print to a person who looks what was done; to nobody else, since cron would mail it each minute."""
    terminal = standard_output()
    if terminal.is_watched:
        say("\n".join(terminal.folded(text)))


def complain(text: str) -> None:
    """Print a text to standard error; where that cannot be written there is nobody to be told."""
    try:
        say("\n".join(terminal_of(sys.stderr, os.environ).folded(text)), sys.stderr)
    except PlotfarmError:
        return


def redraw(text: str) -> None:
    """Write a text in place of the last line of standard error, as much of it as fits; "" empties that line."""
    if sys.stderr is None:
        return
    terminal = terminal_of(sys.stderr, os.environ)
    shown = terminal.shown(text)
    if terminal.width is not None:  # one cell less: some terminals go on to the next line in the last one
        shown = shortened(shown, terminal.width - 1)
    try:
        sys.stderr.write(f"{_EMPTY_LINE}{shown}")
        sys.stderr.flush()
    except OSError:
        _discard(sys.stderr)


def _finish() -> None:
    for stream in (sys.stdout, sys.stderr):
        if stream is None or stream.closed:
            continue
        try:
            stream.flush()
        except OSError:
            _discard(stream)


def _discard(stream: TextIO) -> None:
    """Let what is in the buffer, and all that follows, go nowhere: Python would complain of it at its end."""
    try:
        descriptor = stream.fileno()
    except (OSError, ValueError):
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, descriptor)
    os.close(nowhere)


# ---- Measuring ----


def width_of(text: str) -> int:
    """Return how many cells of a terminal a text takes: a Chinese character takes two."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len  # takes 9 ms, and most texts are plain

    return cell_len(text)


def padded(text: str, width: int, align: str = "<") -> str:
    """Return a text filled up to a width in cells: `<` left, `>` right, `^` in the middle."""
    space = max(0, width - width_of(text))
    before = {"<": 0, ">": space, "^": space // 2}[align]
    return " " * before + text + " " * (space - before)


def wrapped(text: str, width: int) -> list[str]:
    """Return a text in lines of at most `width` cells; a word is broken only where it is longer than a line."""
    import textwrap  # not needed where a script only says what it was asked for

    whole = re.sub(_BEFORE_UNIT, _GLUE, text)
    lines = [line.replace(_GLUE, " ") for line in textwrap.wrap(whole, width, break_on_hyphens=False)] or [""]
    if all(width_of(line) <= width for line in lines):
        return lines
    from rich.cells import chop_cells

    return [part for line in lines for part in chop_cells(line, width)]


def shortened(text: str, width: int) -> str:
    """Return a text that takes no more than `width` cells, what is too much taken out of its middle."""
    if width_of(text) <= width:
        return text
    if width <= len(_GAP):
        return _GAP[:width]
    room = width - len(_GAP)
    tail = _beginning(text[::-1], room // 3)[::-1]
    head = _beginning(text, room - width_of(tail))
    return f"{head}{_GAP}{tail}"


def _beginning(text: str, width: int) -> str:
    """Return as much of the beginning of a text as fits into `width` cells."""
    taken = 0
    for index, character in enumerate(text):
        taken += width_of(character)
        if taken > width:
            return text[:index]
    return text
