"""A transfer that was interrupted goes on behind what is equal at both ends, as read from the drive just now."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from testbed.fault_library import why_no_fault_library
from tests.faults.scene import unknown_plot
from tests.faults.wire import Fault, Harm
from tests.faults.wired_scene import LATE, MIB, SIZE, WiredScene, one_wired_plot

KEPT_BYTES = 4 * MIB  # what is on the drive for certain when the wire holds back what lies behind LATE
pytestmark = pytest.mark.skipif(why_no_fault_library() is not None, reason=str(why_no_fault_library()))


@pytest.fixture
def made(tmp_path: Path, pipe: str) -> Iterator[WiredScene]:
    """A farm with one plot of ten segments."""
    with one_wired_plot(tmp_path) as found:
        yield found


def interrupt(made: WiredScene, victim: str) -> Path:
    """Kill a process in mid-transfer, wait until all has ended, and return the part that is left."""
    made.wire.faults = [Fault(Harm.HOLD, LATE)]
    made.start_and_hold()
    made.wait_until_midway(KEPT_BYTES)  # what was sent may not be written yet
    made.victim(victim).kill()
    made.wire.release()
    made.status()
    made.rest()
    made.audit()
    (part,) = made.parts()
    return part


def assert_it_went_on(made: WiredScene, behind: int = KEPT_BYTES) -> None:
    """Fail if more was sent in the last run than what lies behind so many bytes."""
    assert made.wire.passed[-1] <= SIZE - behind + 100, made.logs()


@pytest.mark.parametrize("victim", ["receiver", "disk worker", "plot_manager", "stream", "ssh master", "sshd session"])
def test_it_goes_on_after_a_kill(made: WiredScene, victim: str) -> None:
    part = interrupt(made, victim)
    inode = part.stat().st_ino
    made.finish()
    assert_it_went_on(made)
    (plot,) = made.manifest
    assert (part.parent / plot).stat().st_ino == inode  # the same file, and not a new one
    assert len(made.transfers()[0].segments.split()) == SIZE // MIB + 1


@pytest.mark.pipe("direct")
@pytest.mark.parametrize("side", ["plotter", "nas"])
def test_it_goes_on_without_the_notes_of_a_side(made: WiredScene, side: str) -> None:
    interrupt(made, "plot_manager")
    shutil.rmtree(getattr(made.farm, side).state)
    made.finish()
    assert_it_went_on(made)


@pytest.mark.pipe("direct")
def test_another_plot_of_the_same_name_goes_on_behind_what_is_equal(made: WiredScene) -> None:
    interrupt(made, "receiver")
    (plot,) = made.farm.plots.iterdir()
    with open(plot, "r+b") as file:
        file.seek(2 * MIB + MIB // 2)
        file.write(b"replotted")
    made.manifest.clear()
    made.add(plot)
    made.finish()
    assert_it_went_on(made, 2 * MIB)


@pytest.mark.pipe("direct")
def test_a_plot_that_was_replaced_by_a_shorter_one_begins_anew(made: WiredScene) -> None:
    interrupt(made, "receiver")
    (plot,) = made.farm.plots.iterdir()
    os.truncate(plot, 9 * MIB + 5)
    made.manifest.clear()
    made.add(plot)
    made.finish()


@pytest.mark.pipe("direct")
def test_a_part_that_says_nothing_of_itself_is_not_gone_on_with(made: WiredScene) -> None:
    part = interrupt(made, "receiver")
    shutil.copyfile(part, part.with_suffix(".other"))  # without its extended attributes
    os.rename(part.with_suffix(".other"), part)
    assert made.run_again().returncode == 0, made.logs()
    made.rest()
    assert made.wire.passed[-1] >= SIZE
    made.remove_stale_parts()
    made.audit(finished=True)


@pytest.mark.pipe("direct")
def test_it_stays_while_others_arrive_and_goes_when_it_is_old(made: WiredScene) -> None:
    part = interrupt(made, "receiver")
    farm = made.farm
    (waiting,) = farm.plots.iterdir()
    aside = farm.root / waiting.name
    waiting.rename(aside)
    others = [unknown_plot(farm.plots, f"small {number}", MIB) for number in range(3)]
    farm.nas.change({"drives.directories": part.parent})
    assert made.run_again().returncode == 0, made.logs()
    assert made.parts() == [part]
    assert all((part.parent / other.name).exists() for other in others)
    farm.remember_small_plots()
    assert farm.drive_manager().returncode == 0, made.logs()
    assert made.parts() == [part]
    made.remove_stale_parts()
    assert made.parts() == []
    aside.rename(waiting)
    assert made.run_again().returncode == 0, made.logs()
    assert (part.parent / waiting.name).exists()


@pytest.mark.pipe("direct")
def test_a_part_on_which_both_agreed_goes_only_when_its_plot_is_stored(made: WiredScene) -> None:
    made.start_and_stop_at("nas", "after:CommitPart")
    made.kill_everything()
    (part,) = made.parts()
    made.remove_stale_parts()
    assert made.parts() == [part], "its source may be gone"
    made.farm.nas.change({"drives.directories": ", ".join(str(drive) for drive in made.drives if drive != part.parent)})
    assert made.run_again().returncode == 0, made.logs()
    made.farm.nas.change({"drives.directories": ", ".join(str(drive) for drive in made.drives)})
    assert made.parts() == [part]
    made.remove_stale_parts()
    made.rest()
    made.audit(finished=True)
