"""What a terminal is taken for, the one table maker, and that nothing is wider than it is allowed to be."""

from __future__ import annotations

import io
import os
import pty

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from plotfarm.reports.tables import Cell, Column, TableStyle, table
from plotfarm.reports.terminal import Terminal, shortened, terminal_of, wrapped


class Screen(io.StringIO):
    """A stream that says that it is a terminal, and does not know how wide it is."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("is_terminal", "environment", "colour"),
    [
        (True, {"TERM": "xterm"}, True),
        (True, {"TERM": "dumb"}, False),
        (True, {"TERM": "xterm", "NO_COLOR": "1"}, False),
        (True, {"TERM": "xterm", "NO_COLOR": ""}, True),
        (False, {"TERM": "xterm"}, False),
        (False, {"FORCE_COLOR": "1"}, True),
        (False, {"FORCE_COLOR": ""}, False),
        (True, {"FORCE_COLOR": "1", "TERM": "dumb"}, True),
        (False, {"FORCE_COLOR": "1", "NO_COLOR": "1"}, False),
    ],
)
def test_colours_are_for_terminals_unless_somebody_says_otherwise(is_terminal, environment, colour):
    assert terminal_of(Screen() if is_terminal else io.StringIO(), environment).colour is colour


@pytest.mark.parametrize(
    ("columns", "width"), [("130", 130), ("", 80), ("no", 80), ("0", 80), ("-5", 80), ("5", 20), ("²", 80)]
)
def test_columns_says_how_wide_a_terminal_is(columns, width):
    assert terminal_of(Screen(), {"COLUMNS": columns}).width == width


def test_what_goes_to_a_file_has_no_width():
    assert terminal_of(io.StringIO(), {"COLUMNS": "60"}).width is None
    assert terminal_of(None, {}) == Terminal()


def test_the_width_of_a_real_terminal():
    controller, end = pty.openpty()
    with os.fdopen(controller, "rb"), os.fdopen(end, "w") as stream:
        assert terminal_of(stream, {}).width == 80, "it does not know its own"
        import termios

        termios.tcsetwinsize(end, (24, 97))
        assert terminal_of(stream, {}).width == 97


@pytest.mark.parametrize(
    ("encoding", "shown"),
    [("ascii", r"31\xb0C \u78c1 \u20ac"), ("iso-8859-1", "31°C \\u78c1 \\u20ac"), ("utf-8", "31°C 磁 €")],
)
def test_what_an_encoding_cannot_show_is_escaped(encoding, shown):
    assert Terminal(encoding=encoding).shown("31°C 磁 €") == shown


def test_a_number_and_its_unit_stay_together():
    for width in range(20, 60):
        lines = wrapped("it takes 101.4 GiB in 9 min 20 s for 3 plots, and 2.5 XCH for 4 d", width)
        assert not any(line.endswith(tuple("0123456789")) for line in lines)


@given(st.text(max_size=80), st.integers(0, 90))
def test_what_is_shortened_fits_and_keeps_both_ends(text, width):
    cut = shortened(text, width)
    assert cell_len(cut) <= max(width, 0)
    assert cut == text or cell_len(text) > width


COLUMNS = (Column("DRIVE"), Column("PLACE", rank=3), Column("FREE", rank=2, align=">"), Column("WHY"))
TEXTS = st.text(st.characters(blacklist_categories=("C", "Z")), max_size=60)


@given(
    rows=st.lists(st.tuples(TEXTS, TEXTS, TEXTS, TEXTS, TEXTS), max_size=6),
    width=st.integers(20, 240),
    look=st.sampled_from(TableStyle),
    encoding=st.sampled_from(["ascii", "iso-8859-1", "utf-8"]),
    title=TEXTS,
)
def test_a_table_is_never_wider_than_its_terminal_and_loses_nothing(rows, width, look, encoding, title):
    terminal = Terminal(width=width, encoding=encoding)
    cells = [[Cell(a), Cell(b), Cell(c), Cell(d, brief=e)] for a, b, c, d, e in rows]
    drawn = table(COLUMNS, cells, terminal, look, title)
    text = "\n".join(drawn.lines)
    assert all(cell_len(line) <= width for line in drawn.lines)
    text.encode(encoding)
    whole = {(one.row, one.column): one.text for one in drawn.shortened}
    for number, row in enumerate(rows):
        for column, value in zip(COLUMNS, row, strict=False):
            shown = terminal.shown(value)
            assert shown in text or column.name in drawn.left_out or whole[number, column.name] == shown


def test_without_a_width_all_columns_are_shown_as_a_whole():
    drawn = table(COLUMNS, [[Cell("d" * 90), Cell("p" * 90), Cell("1"), Cell("w" * 90, brief="w")]], Terminal())
    assert (drawn.left_out, drawn.shortened) == ((), ())
    assert "w" * 90 in drawn.lines[1]
