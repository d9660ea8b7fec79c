"""The formats: each recognised by a sample, measured, kept under a code of its own; and the names of other plots."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from plots_samples import bladebit_header, plot2, real

from plotfarm.plots import formats
from plotfarm.plots.formats import PlotFormat, named, of_code, of_suffix, plots_in, read_header
from plotfarm.plots.names import allow_suffixes, is_plot_name, refuse_name
from plotfarm.plots.plotfile import find_plots, judge_whole, look

# One sound file of each format, real where a plotter is at hand.
SAMPLES: dict[PlotFormat, Callable[[], bytes]] = {
    PlotFormat.UNKNOWN: lambda: b"something new" * 1000,
    PlotFormat.V1: lambda: real("v1"),
    PlotFormat.BLADEBIT: lambda: bladebit_header(7, [(4096, 4000)] * 10).ljust(8096, b"\1"),
    PlotFormat.PLOT2: lambda: plot2([b"x" * 3000, b"y" * 2000]),
    PlotFormat.GPLOT: lambda: real("gplot"),
    PlotFormat.TESTING: lambda: bytes(10_000),
}
TRAVELS = [form for form in PlotFormat if form.entry.is_plot]


@pytest.fixture
def others() -> Iterator[None]:
    """Plots with the suffixes that are configured if nothing is said, and one more."""
    allow_suffixes((".drplot", ".newplot"))
    yield
    allow_suffixes(())


@pytest.mark.parametrize("each", TRAVELS)
def test_a_sample_of_each_format_is_recognised_and_whole(each: PlotFormat, tmp_path: Path) -> None:
    content = SAMPLES[each]()
    assert read_header(content, len(content)).kind is each
    path = tmp_path / f"a{each.entry.suffix or '.plot'}"
    path.write_bytes(content)
    an_hour_ago = time.time() - 3600
    os.utime(path, (an_hour_ago, an_hour_ago))
    assert judge_whole(look(tmp_path, path.name), 60, time.time()).is_whole
    assert each.entry.label


@pytest.mark.parametrize("each", [form for form in TRAVELS if form is not PlotFormat.UNKNOWN])
def test_half_a_sample_is_never_whole(each: PlotFormat, tmp_path: Path) -> None:
    content = SAMPLES[each]()
    path = tmp_path / f"a{each.entry.suffix}"
    path.write_bytes(content[: len(content) // 2])
    assert not judge_whole(look(tmp_path, path.name), 0, time.time() + 3600).is_whole


def test_zeros_are_a_testing_plot_and_whole_only_in_the_testing_mode(tmp_path: Path) -> None:
    content = SAMPLES[PlotFormat.TESTING]()
    assert read_header(content, len(content)).kind is PlotFormat.TESTING
    path = tmp_path / "plot-test.plot"
    path.write_bytes(content)
    plot = look(tmp_path, path.name)
    in_an_hour = time.time() + 3600
    assert not judge_whole(plot, 60, in_an_hour).is_whole
    assert judge_whole(plot, 60, in_an_hour, minimum_bytes=5000).is_whole


def test_what_a_real_plot_is_does_not_depend_on_how_much_of_it_was_read() -> None:
    content = bytes(4096) + b"x" * 2**21
    kinds = {read_header(content[:read], len(content)).kind for read in (4096, 5000, 2**20)}
    assert kinds == {PlotFormat.TESTING}


def test_plots_and_testing_plots_are_counted_apart() -> None:
    counts = {("v1", 32): 3, ("unknown", 0): 2, ("testing", 32): 5, ("testing", 0): 1}
    assert (plots_in(counts), formats.testing_in(counts)) == (5, 6)
    assert formats.NO_PLOTS == ("testing",)


def test_the_codes_in_the_databases_of_farmers_stay() -> None:
    kept = {0: "unknown", 1: "v1", 2: "bladebit", 3: "plot2", 4: "gplot", 5: "testing"}
    assert {code: of_code(code).value for code in kept} == kept
    codes = [each.entry.code for each in PlotFormat]
    assert len(set(codes)) == len(codes)
    assert set(codes) <= set(range(15)), "15 stands for a header that cannot be read"


def test_no_magic_is_the_beginning_of_another() -> None:
    magics = [each.entry.magic for each in PlotFormat if each.entry.magic]
    assert all(one is two or not one.startswith(two) for one in magics for two in magics)


def test_what_a_later_version_has_recorded_is_unknown() -> None:
    assert named("plot3") is of_code(9) is PlotFormat.UNKNOWN
    assert named("v1") is PlotFormat.V1
    assert formats.is_known("gplot") and not formats.is_known("plot3")


def test_a_suffix_of_several_formats_tells_none() -> None:
    assert of_suffix(".plot") is of_suffix(".nothing") is of_suffix("") is PlotFormat.UNKNOWN
    assert of_suffix(".plot2") is PlotFormat.PLOT2


@pytest.mark.usefixtures("others")
def test_other_suffixes_are_plots_of_an_unknown_format(tmp_path: Path) -> None:
    for name in ("a.drplot", "b.newplot", "c.plot"):
        assert is_plot_name(name)
        assert refuse_name(name) is None
        (tmp_path / name).write_bytes(b"x" * 5000)
    (tmp_path / "d.drplot.tmp").touch()
    assert sorted(each.name for each in find_plots([tmp_path]).candidates) == ["a.drplot", "b.newplot", "c.plot"]
    assert look(tmp_path, "a.drplot").header.kind is PlotFormat.UNKNOWN


def test_without_them_they_are_not() -> None:
    assert not is_plot_name("a.drplot")
    assert refuse_name("a.drplot") == "the name does not end with .plot, .plot2 or .gplot"
