import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plotfarm.plots.formats import SUFFIXES
from plotfarm.plots.names import LONGEST_NAME_BYTES, escaped, is_plot_name, refuse_name

HEXADECIMAL = "0123456789abcdef" * 4


@pytest.mark.parametrize(
    "name",
    [
        f"plot-k32-2026-11-23-18-47-{HEXADECIMAL}.plot",
        f"plot-k32-c07-2026-11-23-18-47-{HEXADECIMAL}.plot",
        f"plot-mmx-k32-{HEXADECIMAL}.plot",
        f"portable.plot-k32-{HEXADECIMAL}.plot",
        f"plot-k28-{HEXADECIMAL}.plot2",
        "group_7.gplot",
    ],
)
def test_the_names_of_all_plotters_are_plots_and_may_travel(name: str) -> None:
    assert is_plot_name(name)
    assert refuse_name(name) is None


@pytest.mark.parametrize(
    "name",
    ["a.plot.tmp", "a.plot.2.tmp", "a.plot.part", "a.plot2.part", "a.gplot.partial", "a.gplot.partial.Xy12Zz",
     "a.plot.p1.table1.tmp", "._a.plot", "a.PLOT", "plot", ""],
)  # fmt: skip
def test_unfinished_and_foreign_names_are_no_plots(name: str) -> None:
    assert not is_plot_name(name)
    assert refuse_name(name) is not None


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("", "empty"),
        ("a plot.plot", "a space"),
        ("a'b.plot", "contains '"),
        ('a"b.plot', 'contains "'),
        ("$(touch owned).plot", "a space"),
        ("$(reboot).plot", "contains $"),
        ("`reboot`.plot", "contains `"),
        ("a;b.plot", "contains ;"),
        ("a\nb.plot", "a line break"),
        ("a.plot\n", "a line break"),
        ("a\rb.plot", "contains \\r"),
        ("a\x1b[31mb.plot", "contains \\x1b"),
        ("a\0.plot", "a NUL byte"),
        ("-rf.plot", "begins with '-'"),
        ("--rsh.plot", "begins with '-'"),
        ("../../etc/x.plot", "a '/'"),
        ("/etc/x.plot", "a '/'"),
        ("..plot", "begins with '.'"),
        (".plot", "begins with '.'"),
        (".hidden.plot", "begins with '.'"),
        (os.fsdecode(b"a\xff\xfe.plot"), "not valid UTF-8"),
        ("plöt.plot", "contains ö"),
        ("a\u202eb.plot", "contains \\u202e"),
        ("\u0661.plot", "contains \u0661"),
        ("a" * 196 + ".plot", "201 bytes, at most 200"),
        ("a" * 250 + ".plot", "255 bytes"),
        ("passwd", "does not end with .plot, .plot2 or .gplot"),
    ],
)
def test_each_bad_name_has_its_reason(name: str, reason: str) -> None:
    refused = refuse_name(name)
    assert refused is not None
    assert reason in refused
    assert refused.isprintable()


@given(st.text(alphabet=st.characters(exclude_categories=()), max_size=300))
def test_what_passes_is_a_plain_file_name_and_everything_is_shown_on_one_line(name: str) -> None:
    if refuse_name(name) is None:
        assert name.isascii()
        assert not set(name) & set("/\0\n \"'$`\\;&|<>*?")
        assert name[0] not in "-."
        assert len(name) <= LONGEST_NAME_BYTES == 200
        assert name.endswith(SUFFIXES)
    shown = escaped(name)
    assert shown.isprintable()
    shown.encode("utf-8")
    assert len(shown) <= 1000


@given(st.binary(max_size=255))
def test_different_bytes_are_shown_differently_from_plain_text(raw: bytes) -> None:
    shown = escaped(os.fsdecode(raw))
    assert shown.isprintable()
    assert (shown == os.fsdecode(raw)) == (os.fsdecode(raw).isprintable() and b"\\" not in raw)


def test_escapes_are_readable_and_long_names_are_cut() -> None:
    assert escaped(os.fsdecode(b"a\xff\n\t\\b c.plot")) == "a\\xff\\n\\t\\\\b c.plot"
    assert escaped("x" * 100_000).endswith("...")
