"""Whether a plot could be removed, found out on real files before it is sent anywhere."""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from plotfarm.base.processes import find_program
from plotfarm.plots.removable import why_not_removable
from testbed.mounts import private_mounts, why_no_mounts

NOBODY = 65534


@pytest.fixture
def plot() -> Iterator[Path]:
    """A plot in a directory that every user may enter."""
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o755)
        path = Path(directory) / "plots" / "plot-k32-x.plot"
        path.parent.mkdir(mode=0o777)
        path.write_bytes(b"plot")
        yield path


@contextlib.contextmanager
def as_ordinary_user() -> Iterator[None]:
    """Be a user whom permissions bind: root is not."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def test_an_ordinary_plot_can_be_removed_and_is_still_there(plot: Path) -> None:
    plot.chmod(0o444)  # which does not matter
    before = sorted(plot.parent.iterdir()), plot.stat()
    assert why_not_removable(plot) == ""
    assert (sorted(plot.parent.iterdir()), plot.stat()) == before


@pytest.mark.parametrize("mode", [0o555, 0o444])
def test_a_directory_that_this_user_may_not_write_to(plot: Path, mode: int) -> None:
    plot.parent.chmod(mode)
    try:
        with as_ordinary_user():
            why = why_not_removable(plot)
    finally:
        plot.parent.chmod(0o755)
    assert why.startswith("it cannot be removed: ")
    assert str(plot.parent) in why or "Permission denied" in why


def test_a_plot_that_is_gone(plot: Path) -> None:
    plot.unlink()
    assert why_not_removable(plot) == "it cannot be removed: No such file or directory"


def test_a_link_is_looked_at_itself(plot: Path) -> None:
    link = plot.with_name("plot-k32-link.plot")
    link.symlink_to("/etc/hostname")
    assert why_not_removable(link) == ""


@pytest.mark.root
def test_the_sticky_bit_keeps_the_plots_of_others(plot: Path) -> None:
    plot.parent.chmod(0o1777)
    assert why_not_removable(plot) == "", "root may"
    with as_ordinary_user():
        assert "sticky bit" in why_not_removable(plot)
    os.chown(plot, NOBODY, NOBODY)
    with as_ordinary_user():
        assert why_not_removable(plot) == "", "its owner may"
    os.chown(plot, 0, 0)
    os.chown(plot.parent, NOBODY, NOBODY)
    with as_ordinary_user():
        assert why_not_removable(plot) == "", "the owner of the directory may"


@pytest.mark.root
@pytest.mark.parametrize("flag", ["i", "a"])
@pytest.mark.parametrize("which", ["the plot", "its directory"])
def test_attributes_that_not_even_root_can_pass(plot: Path, which: str, flag: str) -> None:
    if find_program("chattr") is None:
        pytest.skip("chattr is not installed")
    place = plot if which == "the plot" else plot.parent
    if subprocess.run(["chattr", f"+{flag}", place], capture_output=True, check=False).returncode:
        pytest.skip("this file system, or this user, cannot set attributes")
    try:
        assert why_not_removable(plot) == f"it cannot be removed: {which} has the attribute i or a (see chattr)"
        with pytest.raises(PermissionError):
            plot.unlink()
    finally:
        subprocess.run(["chattr", f"-{flag}", place], check=True)
    assert why_not_removable(plot) == ""


@pytest.mark.root
def test_a_read_only_file_system(tmp_path: Path) -> None:
    if reason := why_no_mounts():
        pytest.skip(reason)
    place = tmp_path / "plots"
    place.mkdir()
    (place / "x.plot").write_bytes(b"plot")
    with private_mounts():
        subprocess.run(["mount", "--bind", place, place], check=True)
        subprocess.run(["mount", "-o", "remount,bind,ro", place], check=True)
        assert why_not_removable(place / "x.plot") == "it cannot be removed: its file system is read-only"
    assert why_not_removable(place / "x.plot") == ""
