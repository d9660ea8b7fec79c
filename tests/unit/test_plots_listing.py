import os
import time
from pathlib import Path

import pytest
from plots_samples import real

from plotfarm.plots.identity import FileIdentity
from plotfarm.plots.plotfile import Candidate, PlotFileError, find_plots, look


def test_candidates_are_oldest_first_then_by_name(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    for path, changed in ((first / "z.plot", 50), (first / "b.plot2", 100), (second / "a.gplot", 100)):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"12345")
        os.utime(path, (changed, changed))
    for name in ("c.plot.tmp", "d.plot.2.tmp", "e.plot.part", "._f.plot", "notes.txt"):
        (first / name).write_bytes(b"")
    listing = find_plots([second, first, first, tmp_path / "second" / ".." / "first"])
    assert [candidate.name for candidate in listing.candidates] == ["z.plot", "a.gplot", "b.plot2"]
    status = (first / "z.plot").stat()
    assert listing.candidates[0] == Candidate(first, "z.plot", FileIdentity.of(status))
    assert (listing.candidates[0].size, listing.candidates[0].mtime_ns) == (5, 50 * 10**9)
    assert listing.candidates[0].path.read_bytes() == b"12345"
    assert listing.passed_over == []
    assert listing.problems == []


def test_of_a_file_with_several_names_one_is_a_candidate(tmp_path: Path) -> None:
    """As a bind mount of a plot directory shows it, or a hard link."""
    first, second = tmp_path / "first", tmp_path / "second"
    for directory in (first, second):
        directory.mkdir()
    (first / "a.plot").write_bytes(b"12345")
    (first / "c.plot").write_bytes(b"12345")
    os.link(first / "a.plot", first / "b.plot")
    os.link(first / "a.plot", second / "a.plot")
    listing = find_plots([first, second])
    assert sorted(candidate.path for candidate in listing.candidates) == [first / "a.plot", first / "c.plot"]
    why = f"it is the same file as {first / 'a.plot'}"
    assert listing.passed_over == [(str(first / "b.plot"), why), (str(second / "a.plot"), why)]


def test_what_looks_like_a_plot_and_is_none_is_passed_over_with_its_reason(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_bytes(b"secret")
    plots = tmp_path / "plots"
    plots.mkdir()
    (plots / "link.plot").symlink_to(outside)
    (plots / "dangling.plot").symlink_to("nowhere")
    (plots / "directory.plot").mkdir()
    os.mkfifo(plots / "pipe.plot")
    hostile = [
        "a b.plot",
        "$(touch owned).plot",
        "line\nbreak.plot",
        "-rf.plot",
        '"quoted".plot',
        ".hidden.plot",
    ]
    for name in [*hostile, "n" * 246 + ".plot", "n" * 250 + ".plot"]:
        (plots / name).write_bytes(b"x")
    (plots / os.fsdecode(b"bytes\xff\xfe.plot")).write_bytes(b"x")
    listing = find_plots([plots])
    assert listing.candidates == []
    reasons = dict(listing.passed_over)
    assert len(reasons) == 4 + len(hostile) + 3
    assert "symlink" in reasons["link.plot"]
    assert "symlink" in reasons["dangling.plot"]
    assert reasons["directory.plot"] == "it is a directory"
    assert reasons["pipe.plot"] == "it is not a regular file"
    assert "line break" in reasons["line\\nbreak.plot"]
    assert "not valid UTF-8" in reasons["bytes\\xff\\xfe.plot"]
    assert all(shown.isprintable() and reason.isprintable() for shown, reason in listing.passed_over)
    assert sorted(os.listdir(tmp_path)) == ["outside", "plots"]
    assert len(listing.misnamed) == len(hostile) + 2  # what is hidden is somebody's who works on it
    assert {candidate.size for candidate in listing.misnamed} == {1}


def test_a_missing_directory_hides_no_other(tmp_path: Path) -> None:
    (tmp_path / "a.plot").write_bytes(b"x")
    not_a_directory = tmp_path / "a.plot"
    listing = find_plots([tmp_path / "gone\n", not_a_directory, tmp_path])
    assert [candidate.name for candidate in listing.candidates] == ["a.plot"]
    assert len(listing.problems) == 2
    assert "gone\\n cannot be read: No such file or directory" in listing.problems[0]
    assert "Not a directory" in listing.problems[1]


def test_an_unreadable_directory_is_a_problem(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may read every directory")
    closed = tmp_path / "closed"
    closed.mkdir(mode=0)
    assert "Permission denied" in find_plots([closed]).problems[0]


def test_look_reads_the_header_and_touches_nothing_that_is_no_plot(tmp_path: Path) -> None:
    (tmp_path / "a.plot").write_bytes(real("v1"))
    plot = look(tmp_path, "a.plot")
    assert (plot.header.kind, plot.header.k, plot.size) == ("v1", 18, len(real("v1")))
    (tmp_path / "link.plot").symlink_to("a.plot")
    os.mkfifo(tmp_path / "pipe.plot")
    (tmp_path / "directory.plot").mkdir()
    for name, reason in (
        ("link.plot", "it is a symlink"),
        ("pipe.plot", "not a regular file"),
        ("directory.plot", "it is a directory"),
        ("gone.plot", "No such file"),
        ("../a.plot", "contains a '/'"),
        ("a\nb.plot", "line break"),
    ):
        with pytest.raises(PlotFileError, match=reason) as refused:
            look(tmp_path, name)
        assert str(refused.value).isprintable()


def test_a_thousand_plots_are_listed_quickly_and_unopened(tmp_path: Path) -> None:
    for number in range(1000):
        (tmp_path / f"plot-{number:04}.plot").write_bytes(b"x")
        os.utime(tmp_path / f"plot-{number:04}.plot", (100, 1000 - number))
    began = time.process_time()
    listing = find_plots([tmp_path])
    assert time.process_time() - began < 0.5
    assert [candidate.name for candidate in listing.candidates[:2]] == ["plot-0999.plot", "plot-0998.plot"]
    assert all((tmp_path / candidate.name).stat().st_atime == 100 for candidate in listing.candidates)
