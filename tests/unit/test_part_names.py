"""The names of parts: what is one of this suite's, and what is somebody else's file."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plotfarm.plots.names import LONGEST_NAME_BYTES, is_plot_name, refuse_name
from plotfarm.plots.parts import new_arrival_id, parse_part_name, part_name

ARRIVAL = "0123456789abcdef"


def test_a_name_comes_back() -> None:
    assert part_name("plot-k32-x.plot", ARRIVAL) == f"plot-k32-x.plot.{ARRIVAL}.part"
    assert parse_part_name(f"plot-k32-x.plot.{ARRIVAL}.part") == ("plot-k32-x.plot", ARRIVAL)


@pytest.mark.parametrize(
    "name",
    [
        "plot-k32-x.plot.part",  # somebody else's, for example a browser's
        "plot-k32-x.plot",
        f"plot-k32-x.plot.{ARRIVAL}",
        f"plot-k32-x.plot.{ARRIVAL}.part.bak",
        f"plot-k32-x.plot.{ARRIVAL.upper()}.part",
        f"plot-k32-x.plot.{ARRIVAL[:-1]}.part",
        f"plot-k32-x.plot.{ARRIVAL}0.part",
        f"plot-k32-x.plot.{ARRIVAL[:-1]}\n.part",
        f"notes.txt.{ARRIVAL}.part",
        f".hidden.plot.{ARRIVAL}.part",
        f"-rf.plot.{ARRIVAL}.part",
        f"a b.plot.{ARRIVAL}.part",
        f".{ARRIVAL}.part",
        f"{ARRIVAL}.part",
        ".part",
        "",
    ],
)
def test_what_is_no_part_of_this_suite(name: str) -> None:
    assert parse_part_name(name) is None


@given(st.text(max_size=80), st.text("0123456789abcdef", min_size=15, max_size=17))
def test_only_names_that_may_travel_have_parts(plot: str, arrival: str) -> None:
    parsed = parse_part_name(part_name(plot, arrival))
    may_be = refuse_name(plot) is None and len(arrival) == 16
    assert parsed == ((plot, arrival) if may_be else None)


def test_no_part_is_taken_for_a_plot_and_the_longest_fits_every_file_system() -> None:
    longest = "a" * (LONGEST_NAME_BYTES - len(".plot")) + ".plot"
    part = part_name(longest, ARRIVAL)
    assert refuse_name(longest) is None
    assert parse_part_name(part) == (longest, ARRIVAL)
    assert len(part.encode()) <= 255
    assert not is_plot_name(part)


def test_arrival_ids_are_new_each_time() -> None:
    ids = {new_arrival_id() for _ in range(1000)}
    assert len(ids) == 1000
    assert all(parse_part_name(part_name("a.plot", each)) == ("a.plot", each) for each in ids)
