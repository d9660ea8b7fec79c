"""A transfer that was interrupted goes on behind its last whole segment, which is 1 GiB long."""

from __future__ import annotations

import os
import random
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from plotfarm.base.locks import last_content
from plotfarm.base.state import State
from plotfarm.transfer.unfinished import UnfinishedArrivals
from testbed.farm import Farm
from testbed.plots import v1_name
from tests.faults.scene import LIMITS, Scene, scene

GIB = 2**30
SIZE = GIB + 2**27
MEMORY = Path("/dev/shm")


@pytest.fixture
def made(pipe: str) -> Iterator[Scene]:
    """A farm in memory with one plot, mostly a hole, of a segment and an eighth."""
    if not MEMORY.is_dir() or shutil.disk_usage(MEMORY).free < 2 * GIB:
        pytest.skip(f"this takes 2 GiB in {MEMORY}")
    limits = {**LIMITS, "transfer.silence_seconds": 4, "transfer.stall_seconds": 4}
    with (
        tempfile.TemporaryDirectory(prefix="resume-", dir=MEMORY, ignore_cleanup_errors=True) as root,
        Farm(Path(root) / "farm", drives=2, settings=limits) as farm,
        scene(farm) as found,
    ):
        found.add(large_plot(farm.plots, "large"))
        yield found


def large_plot(directory: Path, seed: str) -> Path:
    path = directory / v1_name(seed, k=32)
    with open(path, "wb") as file:
        file.write(b"\x07" + random.Random(seed).randbytes(2**20))
        file.seek(GIB - 100)  # something on both sides of the border, and at the very end
        file.write(random.Random(f"{seed} border").randbytes(200))
        file.truncate(SIZE)
        file.seek(SIZE - 7)
        file.write(b"the end")
    return path


def interrupt(made: Scene, victim: str) -> None:
    """Kill a process as soon as the first segment is known to be good, and wait until all has ended."""
    made.start_and_stop_at("nas", "segment:recorded")
    made.victim(victim).kill()
    made.rest()
    made.audit()


def unfinished(made: Scene) -> dict[str, int]:
    """Return the plots that the NAS could go on with, and how many of their segments it has."""
    state = State(made.farm.nas.state)
    try:
        return {plot: len(part.segments) for plot, part in UnfinishedArrivals(state.database).all().items()}
    finally:
        state.close()


@pytest.mark.parametrize(
    "victim",
    ["receiver", "plot_manager", *(pytest.param(each, marks=pytest.mark.long) for each in ("ssh master", "writer"))],
)
def test_it_goes_on_after_a_kill(made: Scene, victim: str) -> None:
    interrupt(made, victim)
    (plot,) = made.manifest
    assert unfinished(made) == {plot: 1}
    (part,) = made.farm.parts()
    inode = part.stat().st_ino
    made.finish()
    assert "Going on at 1.0 GiB of an interrupted arrival" in made.farm.nas.log_text(), made.logs()
    assert (part.parent / plot).stat().st_ino == inode  # the same file, and not a new one
    assert unfinished(made) == {}
    (transfer,) = State(made.farm.plotter.state).transfers(limit=1)
    assert transfer.result == "stored"
    assert len(transfer.segments.split()) == 2


@pytest.mark.pipe("direct")
def test_the_old_bytes_are_read_at_neither_end(made: Scene) -> None:
    """What the NAS has is spoilt behind its back: it is noticed by nobody but readback, since nobody reads it."""
    interrupt(made, "receiver")
    (part,) = made.farm.parts()
    with open(part, "r+b") as file:
        file.seek(GIB // 2)
        file.write(b"spoilt")
    assert made.run_again().returncode == 0, made.logs()
    assert [path.name for path in made.farm.stored()] == list(made.manifest)


@pytest.mark.pipe("direct")
def test_without_its_notes_the_plotter_reads_its_plot_and_goes_on(made: Scene) -> None:
    interrupt(made, "plot_manager")
    shutil.rmtree(made.farm.plotter.state)
    made.finish()
    assert "Going on at 1.0 GiB" in made.farm.nas.log_text()


@pytest.mark.pipe("direct")
def test_another_plot_of_the_same_name_begins_anew(made: Scene) -> None:
    interrupt(made, "receiver")
    (plot,) = made.farm.plots.iterdir()
    with open(plot, "r+b") as file:
        file.seek(GIB // 3)
        file.write(b"replotted")
    made.manifest.clear()
    made.add(plot)
    made.finish()
    assert "Beginning anew: the plot is not the one" in made.farm.nas.log_text(), made.logs()


@pytest.mark.pipe("direct")
def test_a_part_that_is_another_file_now_is_not_gone_on_with(made: Scene) -> None:
    interrupt(made, "receiver")
    (part,) = made.farm.parts()
    shutil.copy(part, part.with_suffix(".other"))
    os.rename(part.with_suffix(".other"), part)
    made.finish()
    assert "Going on at" not in made.farm.nas.log_text()


@pytest.mark.pipe("direct")
def test_it_stays_while_others_arrive_and_goes_when_it_is_old(made: Scene) -> None:
    farm = made.farm
    interrupt(made, "receiver")
    (part,) = farm.parts()
    (waiting,) = farm.plots.iterdir()
    aside = farm.root / waiting.name
    waiting.rename(aside)
    others = [farm.plots / v1_name(f"small {number}", k=32) for number in range(3)]
    for other in others:
        other.write_bytes(b"\x07" + random.Random(other.name).randbytes(2**20))
    farm.nas.change({"drives.directories": part.parent})
    assert farm.plot_manager().returncode == 0, made.logs()
    assert farm.parts() == [part]
    assert all((part.parent / other.name).exists() for other in others)
    farm.nas.change({"receiving.part_age_hours": 0})
    farm.remember_small_plots()
    assert farm.drive_manager().returncode == 0, made.logs()
    assert farm.parts() == []
    assert unfinished(made) == {}
    for lock in farm.nas.locks.glob("drive-*.lock"):
        assert last_content(lock).get("parts") == []
    aside.rename(waiting)
    os.utime(waiting, (time.time() - 60, time.time() - 60))
    assert farm.plot_manager().returncode == 0, made.logs()
    assert (part.parent / waiting.name).exists()
