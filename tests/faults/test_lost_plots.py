"""Ways in which plots were lost while everything said that they were well: each is tried on real file systems.

Each test ends with the auditor's judgement: every plot is whole at its source or stored, and nothing under a final
name is anything but a plot that was sent, whole and equal.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from testbed.broken_drives import (
    FailingDrive,
    Kind,
    unmount,
    why_no_broken_drives,
)
from testbed.fault_library import SYNCS, WRITES, Action, Rule, why_no_fault_library
from testbed.mounts import private_mounts
from tests.faults import auditor
from tests.faults.scene import resume, unknown_plot, wait_for
from tests.faults.wire import Fault, Harm
from tests.faults.wired_scene import (
    LATE,
    MIB,
    SIZE,
    mounted_wired_plot,
    one_wired_plot,
    place,
    preloaded_local_scene,
)

PART = "*.part"
EVERY_KIND = [Kind.EXT4, Kind.XFS]  # those that give the number of a removed inode to the next file
pytestmark = pytest.mark.skipif(why_no_fault_library() is not None, reason=str(why_no_fault_library()))


@pytest.fixture
def mounting() -> Iterator[None]:
    """A mount namespace of one's own."""
    if why := why_no_broken_drives():
        pytest.skip(why)
    with private_mounts():
        yield


# ---- An interrupted arrival goes on, and what was there is no longer there ----


@pytest.mark.root
@pytest.mark.parametrize("kind", EVERY_KIND)
def test_a_flipped_bit_behind_the_first_segment_never_publishes_zeros(
    kind: Kind, tmp_path: Path, mounting: None
) -> None:
    with mounted_wired_plot(tmp_path, kind) as (made, _):
        made.wire.faults = [Fault(Harm.FLIP, LATE)]
        made.run_to_failure()
        made.finish()


def test_a_flipped_bit_costs_a_segment_and_not_a_plot(tmp_path: Path) -> None:
    with one_wired_plot(tmp_path) as made:
        made.wire.faults = [Fault(Harm.FLIP, LATE)]
        made.run_to_failure()
        assert len(made.parts()) == 1, made.logs()
        made.finish()
        assert made.wire.passed[-1] < SIZE - LATE + 2 * MIB, "only what lies behind the flipped bit's segment is sent"


def gone(part: Path) -> None:
    part.unlink()


def emptied(part: Path) -> None:
    os.truncate(part, 0)


def emptied_and_as_long_as_before(part: Path) -> None:
    size = part.stat().st_size
    os.truncate(part, 0)
    os.truncate(part, size)


def overwritten(part: Path) -> None:
    with open(part, "r+b") as file:
        file.seek(2 * MIB)
        file.write(b"of somebody else")


@pytest.mark.root
@pytest.mark.pipe("direct")
@pytest.mark.parametrize("kind", EVERY_KIND)
@pytest.mark.parametrize("accident", [gone, emptied, emptied_and_as_long_as_before, overwritten])
def test_what_a_person_does_to_a_kept_part_is_never_published(
    accident: Callable[[Path], None], kind: Kind, tmp_path: Path, mounting: None
) -> None:
    with mounted_wired_plot(tmp_path, kind) as (made, _):
        made.wire.faults = [Fault(Harm.CUT, LATE)]
        made.run_to_failure()
        (part,) = made.parts()
        accident(part)
        made.finish()


@pytest.mark.root
@pytest.mark.pipe("direct")
@pytest.mark.parametrize("kind", EVERY_KIND)
@pytest.mark.parametrize(
    "rule",
    [
        pytest.param(Rule(["fsync"], PART), id="fsync-EIO"),
        pytest.param(Rule(["fsync"], PART, error=errno.ENOSPC), id="fsync-ENOSPC"),
        pytest.param(Rule(WRITES, PART, error=errno.ENOSPC, beyond=9 * MIB), id="write-ENOSPC"),
        pytest.param(Rule(WRITES, PART, beyond=9 * MIB), id="write-EIO"),
    ],
)
def test_a_part_that_failed_late_is_not_believed_in_the_next_run(
    rule: Rule, kind: Kind, tmp_path: Path, mounting: None
) -> None:
    with mounted_wired_plot(tmp_path, kind, nas_rules=[rule]) as (made, _):
        made.run_to_failure()
        assert made.nas_library is not None
        assert made.nas_library.happened(rule) == 1
        made.finish(tries=2)


@pytest.mark.root
@pytest.mark.pipe("direct")
@pytest.mark.parametrize("kind", EVERY_KIND)
def test_a_drive_that_was_unmounted_late_is_not_believed_in_the_next_run(
    kind: Kind, tmp_path: Path, mounting: None
) -> None:
    with mounted_wired_plot(tmp_path, kind) as (made, drives):
        made.wire.faults = [Fault(Harm.HOLD, LATE)]
        made.start_and_hold()
        (part,) = made.parts()
        (drive,) = [each for each in drives if each.place == part.parent]
        drive.unmount(lazily=True)
        assert made.go_on() == 1
        assert list(drive.place.iterdir()) == []  # nothing under the mountpoint
        drive.mount()
        made.audit()
        made.finish(tries=2)


# ---- What the drive says is heard ----


@pytest.mark.parametrize("action", [Action.LOSE, Action.FAIL])
def test_the_first_sync_that_fails_is_never_forgotten(action: Action, tmp_path: Path) -> None:
    rule = Rule(SYNCS, PART, action)
    with one_wired_plot(tmp_path, nas_rules=[rule]) as made:
        made.run_to_failure()
        assert made.nas_library is not None
        assert made.nas_library.happened(rule) == 1
        made.finish(tries=2)


@pytest.mark.root
@pytest.mark.parametrize("kind", EVERY_KIND)
def test_bytes_that_never_reach_the_drive_in_mid_transfer_are_never_published(
    kind: Kind, tmp_path: Path, mounting: None
) -> None:
    watched = Rule([*SYNCS, *WRITES], PART, Action.WATCH, count=0)
    first = FailingDrive(kind, tmp_path / "memory", place(tmp_path, 1))
    with mounted_wired_plot(tmp_path, kind, first, nas_rules=[watched]) as (made, _):
        library = made.nas_library
        assert library is not None
        made.wire.faults = [Fault(Harm.HOLD, LATE)]
        first.begin_to_fail()
        made.start()
        wait_for(lambda: library.counted(watched) > 0, "the drive did not fail", made)
        first.end_failing()
        status = made.go_on()
        first.forget_cache()
        made.audit()
        assert status == 1
        made.finish(tries=2)


@pytest.mark.pipe("direct")
def test_the_first_sync_of_a_local_move_that_fails_is_never_forgotten(tmp_path: Path) -> None:
    rule = Rule(SYNCS, PART, Action.LOSE)
    with preloaded_local_scene(tmp_path) as made:
        made.add(unknown_plot(made.far, "plot", 68 * MIB))  # so long that it is written back on the way
        library = made.preload(rule)
        made.run_again()  # the plot may go to another drive at once, or in the next run
        assert library.happened(rule) == 1
        made.rest()
        made.audit()
        made.finish(tries=2)


# ---- The power is cut ----


@pytest.mark.root
@pytest.mark.pipe("direct")
@pytest.mark.parametrize("kind", [*EVERY_KIND, Kind.BTRFS])
def test_a_power_cut_when_the_source_is_about_to_go_never_costs_the_plot(
    kind: Kind, tmp_path: Path, mounting: None
) -> None:
    about_to_go = Rule(["unlink"], "*/plots/*.plot", Action.STOP)
    # The session has to outlast the copies that are made while one of its ends stands still.
    patient = {"transfer__silence_seconds": 60, "transfer__stall_seconds": 60}
    with mounted_wired_plot(tmp_path, kind, rules=[about_to_go], **patient) as (made, drives):
        made.start()
        (stopped, *_) = wait_for(made.stopped, "nobody removes the source", made)
        copies = [tmp_path / "after" / drive.place.name for drive in drives]
        for drive, copy in zip(drives, copies, strict=True):
            drive.copy_as_after_a_power_cut(drive.image.with_suffix(".copy"), copy)
        violations = auditor.audit(made.manifest, replace(made.scope, sources=[], drives=copies), finished=True)
        for copy in copies:
            unmount(copy)
        assert violations == [], made.logs()
        resume(stopped)
        assert made.status() == 0, made.logs()
        made.rest()
        made.audit(finished=True)


@pytest.mark.root
@pytest.mark.pipe("direct")
@pytest.mark.parametrize("kind", EVERY_KIND)
def test_a_power_cut_after_the_source_went_never_costs_the_plot(kind: Kind, tmp_path: Path, mounting: None) -> None:
    with mounted_wired_plot(tmp_path, kind) as (made, drives):
        made.finish()
        for drive in drives:
            drive.cut_power()
        made.audit(finished=True)
