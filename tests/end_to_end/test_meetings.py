"""Plots that meet themselves or each other: `have`, changed sources, two plotters at once."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from farm_help import (
    ON_THE_WAY,
    POURING,
    STORED,
    audit,
    big_plot,
    held_at,
    held_locks,
    logs,
    names_and_digests,
    results,
    times_reached,
)

from plotfarm.reports.transfer_words import removal_text
from plotfarm.transfer.outcomes import Removal
from testbed.farm import Farm, Side, sha256
from testbed.plots import CHECKOUT

NewFarm = Callable[..., Farm]
PutV1 = Callable[[Path, str], Path]


def second_plotter(farm: Farm) -> tuple[Side, Path]:
    """Return another plotter with a configuration, state and locks of its own, and its plot directory."""
    plots = farm.root / "plotter2" / "plots"
    side = Side(farm.root / "plotter2", {**farm.plotter._settings, "plotter.plot_directories": plots})
    side.change({f"paths.{name}": side.directory / name for name in ("logs", "state", "locks")})
    plots.mkdir()
    return side, plots


def run(farm: Farm, side: Side) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [CHECKOUT / "plot_manager.py", "--config", side.config],
        env=farm.cron_environment(), cwd=farm.home, stdin=subprocess.DEVNULL, capture_output=True, text=True,
        timeout=60, check=False,
    )  # fmt: skip


def kill_all(*processes: psutil.Process | int) -> None:
    for process in processes:
        found = process if isinstance(process, psutil.Process) else psutil.Process(process)
        found.kill()
        psutil.wait_procs([found], timeout=5)


def test_have_after_a_lost_stored(farm: Farm, put_v1: PutV1) -> None:
    """The NAS stored the plot and died before it could say so: the next run asks, compares and removes."""
    plot = put_v1(farm.plots, "lost answer")
    manifest = names_and_digests(farm)
    with held_at(farm, "after:RecordStored", where="nas") as held:
        kill_all(held.process)
    assert held.manager.returncode == 1
    stored = farm.drives[0] / plot.name
    before = stored.stat()
    audit(farm, manifest)
    assert plot.exists()

    again = farm.plot_manager()

    assert again.returncode == 0, logs(farm)
    assert not plot.exists()
    assert (stored.stat().st_ino, stored.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert times_reached(farm.nas, "before:CreatePart") == 1, "a byte was sent a second time"
    assert results(farm.nas) == ["stored", "have"]
    assert results(farm.plotter)[-1] == "have"
    audit(farm, manifest)


@pytest.mark.parametrize("difference", ["other bytes", "longer", "shorter"])
def test_have_with_another_file_of_that_name(farm: Farm, put_v1: PutV1, difference: str) -> None:
    plot = put_v1(farm.plots, "name taken")
    content = bytearray(plot.read_bytes())
    if difference == "other bytes":
        content[2_000_000] ^= 1
    content = content + b"\0" if difference == "longer" else content[:-1] if difference == "shorter" else content
    theirs = farm.drives[2] / plot.name
    theirs.write_bytes(content)
    before = sha256(theirs), sha256(plot)
    for _ in range(2):
        done = farm.plot_manager()
        assert done.returncode == 1
        assert str(theirs) in done.stderr
        assert (sha256(theirs), sha256(plot)) == before
        assert list(farm.stored()) == [theirs]
        assert held_locks(farm) == []


def test_a_plot_that_another_drive_has(farm: Farm, put_v1: PutV1) -> None:
    plot = put_v1(farm.plots, "moved by hand")
    manifest = names_and_digests(farm)
    shutil.copyfile(plot, farm.drives[2] / plot.name)
    done = farm.plot_manager()
    assert done.returncode == 0
    assert results(farm.plotter) == results(farm.nas) == ["have"]
    assert list(farm.stored()) == [farm.drives[2] / plot.name]
    assert not plot.exists()
    audit(farm, manifest)


def _append(plot: Path) -> None:
    with open(plot, "ab") as file:
        file.write(b"more")


def _replace(plot: Path) -> None:
    other = plot.with_suffix(".other")
    other.write_bytes(plot.read_bytes()[::-1])
    other.rename(plot)


def _overwrite(plot: Path) -> None:
    with open(plot, "r+b") as file:
        file.seek(-10, os.SEEK_END)
        file.write(b"otherbytes")


@pytest.mark.parametrize("state", [ON_THE_WAY, STORED])
@pytest.mark.parametrize("change", [_append, _replace, _overwrite, os.utime])
def test_a_source_that_changes_on_the_way_stays(
    farm: Farm, put_v1: PutV1, state: str, change: Callable[[Path], None]
) -> None:
    plot = put_v1(farm.plots, "changing")
    with held_at(farm, state) as held:
        change(plot)
        changed = sha256(plot)
    assert held.manager.returncode == 1
    said = Removal.GONE if change is _replace else Removal.CHANGED
    assert removal_text(said) in held.output
    # It is offered again: either it is what was stored, or it stays.
    again = farm.plot_manager()
    assert changed in [*farm.stored().values(), *farm.waiting().values()]
    assert plot.exists() == (changed not in farm.stored().values()), again.stderr + logs(farm)
    assert held_locks(farm) == []


def test_a_source_that_shrinks_on_the_way_is_not_taken_for_sent(farm: Farm) -> None:
    plot = big_plot(farm.plots, "shrinking", 8 * 2**20)
    with held_at(farm, ON_THE_WAY) as held:
        os.truncate(plot, 5 * 2**20)
    assert held.manager.returncode == 1
    assert results(farm.plotter) == ["source"]
    assert farm.stored() == {}
    # Nothing in an unknown header says how long it should be: the next run sends what it is now.
    manifest = names_and_digests(farm)
    assert farm.plot_manager().returncode == 0, logs(farm)
    assert [path.stat().st_size for path in farm.stored()] == [5 * 2**20]
    audit(farm, manifest)


def test_a_source_that_somebody_else_removed(farm: Farm, put_v1: PutV1) -> None:
    plot = put_v1(farm.plots, "vanishing")
    manifest = names_and_digests(farm)
    with held_at(farm, ON_THE_WAY) as held:
        plot.unlink()
    assert held.manager.returncode == 1
    assert removal_text(Removal.GONE) in held.output
    audit(farm, manifest)
    assert farm.plot_manager().returncode == 0


def test_the_same_plot_offered_twice_at_once(farm: Farm, put_v1: PutV1) -> None:
    side, plots = second_plotter(farm)
    plot = put_v1(farm.plots, "twin")
    twin = put_v1(plots, "twin")
    manifest = names_and_digests(farm)
    with held_at(farm, ON_THE_WAY):
        meanwhile = run(farm, side)
        assert meanwhile.returncode == 1
        assert twin.exists()
    assert not plot.exists()
    later = run(farm, side)
    assert (later.returncode, later.stderr) == (0, "")
    assert results(side) == ["have"]
    assert not twin.exists()
    audit(farm, manifest)


def test_two_plotters_at_once_use_two_drives(farm: Farm, put_v1: PutV1) -> None:
    side, plots = second_plotter(farm)
    first, second = put_v1(farm.plots, "one"), put_v1(plots, "two")
    manifest = names_and_digests(farm) | {second.name: sha256(second)}
    with held_at(farm, ON_THE_WAY):
        meanwhile = run(farm, side)
        assert (meanwhile.returncode, meanwhile.stderr) == (0, ""), logs(farm)
    assert set(farm.stored()) == {farm.drives[0] / first.name, farm.drives[1] / second.name}
    audit(farm, manifest)


def test_many_plotters_race(farm: Farm, put_v1: PutV1) -> None:
    """Three plotters start at one moment, with plots of their own and one that all of them have."""
    sides = []
    manifest: dict[str, str] = {}
    for number in range(3):
        plots = farm.root / f"racer{number}" / "plots"
        side = Side(plots.parent, {**farm.plotter._settings, "plotter.plot_directories": plots})
        side.change({f"paths.{name}": side.directory / name for name in ("logs", "state", "locks")})
        plots.mkdir()
        for seed in ("shared", f"own {number}"):
            plot = put_v1(plots, seed)
            manifest[plot.name] = sha256(plot)
        sides.append((side, plots))
    racing = [
        subprocess.Popen(
            [CHECKOUT / "plot_manager.py", "--config", side.config], env=farm.cron_environment(), cwd=farm.home,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )
        for side, _ in sides
    ]  # fmt: skip
    said = [racer.communicate(timeout=60)[0] for racer in racing]
    assert {racer.returncode for racer in racing} <= {0, 1}, (said, logs(farm))  # 1: it is arriving from another
    for side, plots in sides:
        assert run(farm, side).returncode == 0, logs(farm)
        assert list(plots.iterdir()) == []
    audit(farm, manifest)
    assert len(farm.stored()) == 4


def test_a_move_on_the_nas_keeps_away_from_the_drive_of_an_arrival(farm: Farm, put_v1: PutV1) -> None:
    arriving, made = put_v1(farm.plots, "arriving"), farm.nas.directory / "made"
    made.mkdir()
    local, same = put_v1(made, "local"), put_v1(made, "arriving")
    farm.nas.change({"local_plots.plot_directories": made})
    manifest = {**names_and_digests(farm), local.name: sha256(local)}
    with held_at(farm, POURING, where="nas") as held:
        moved = farm.move_local_plots()
        assert moved.returncode == 1, "the plot that is arriving cannot move too"
        assert {path.name: path.parent for path in farm.stored()} == {local.name: farm.drives[1]}
        held.go_on()
        held.finish()
    assert (farm.drives[0] / arriving.name).exists()
    assert farm.move_local_plots().returncode == 0
    assert not same.exists()
    audit(farm, manifest)
