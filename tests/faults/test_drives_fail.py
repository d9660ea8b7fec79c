"""Drives that fill up, vanish, hang or lie while a plot arrives."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from plotfarm.drives.model import MARKER
from plotfarm.transfer.outcomes import Failure
from testbed.farm import Farm
from testbed.mounts import LoopDrive, mount_small, private_mounts, why_no_mounts
from testbed.plots import PlotShop
from tests.faults.scene import LIMITS, Scene, one_plot, resume, scene, wait_for

DRIVE_BYTES = 32 * 2**20
NO_MOUNTS = why_no_mounts()


@pytest.fixture
def mounting() -> Iterator[None]:
    """A mount namespace of one's own."""
    if NO_MOUNTS:
        pytest.skip(NO_MOUNTS)
    with private_mounts():
        yield


@contextlib.contextmanager
def mounted_farm(root: Path, shop: PlotShop, **more: object) -> Iterator[tuple[Scene, list[LoopDrive]]]:
    """Make a farm with one plot and two ext4 drives, found as real ones are."""
    places = [root / "enclosure0" / "front" / f"drive{number}" for number in (1, 2)]
    drives = [LoopDrive(root / f"image{number}", place, DRIVE_BYTES) for number, place in enumerate(places)]
    found = {"drives.devices": "/dev/loop*", "drives.mounts": root / "enclosure*/**/drive*"}
    settings = {**LIMITS, **{name.replace("__", "."): value for name, value in more.items()}}
    with Farm(root / "farm", drives=0, settings=settings, nas_settings=found) as farm, scene(farm, places) as made:
        made.add(shop.v1(farm.plots))
        try:
            yield made, drives
        finally:
            for drive in drives:
                drive.thaw()


def names(place: Path) -> list[str]:
    return sorted(path.name for path in place.iterdir() if path.name not in (MARKER, "lost+found"))


# ---- Full ----


@pytest.mark.root
def test_drive_is_full_in_mid_transfer(tmp_path: Path, shop: PlotShop, mounting: None) -> None:
    with one_plot(tmp_path, shop) as made:
        drive = made.drives[0]
        mount_small(drive, 12 * 2**20)
        (drive / MARKER).touch()
        receiver = made.start_and_stop_at("nas", "before:Pour")
        filler = drive / "plot-of-somebody-else"
        with contextlib.suppress(OSError):
            filler.write_bytes(bytes(12 * 2**20))
        resume(receiver)
        assert made.status() == 1
        assert made.result() == Failure.DRIVE_FULL, made.logs()
        made.rest()
        assert names(drive) == [filler.name]
        filler.unlink()
        made.audit()
        made.finish()


@pytest.mark.root
def test_room_is_reserved_before_the_first_byte(tmp_path: Path, shop: PlotShop, mounting: None) -> None:
    with mounted_farm(tmp_path, shop) as (made, drives):
        receiver = made.start_and_stop_at("nas", "after:AllocatePart")
        filler = drives[0].place / "filler"
        with contextlib.suppress(OSError):
            filler.write_bytes(bytes(DRIVE_BYTES))
        resume(receiver)
        assert made.status() == 0, made.logs()
        filler.unlink()
        made.rest()
        made.audit(finished=True)


def test_write_error_in_mid_transfer(tmp_path: Path, shop: PlotShop) -> None:
    # ulimit -f makes the kernel refuse what lies beyond 2 MB; tmpfs, where no room can be reserved before.
    if not Path("/dev/shm").is_dir():
        pytest.skip("there is no /dev/shm here, and other file systems reserve the room before the first byte")
    with tempfile.TemporaryDirectory(dir="/dev/shm") as memory, one_plot(tmp_path, shop) as made:
        drive = Path(memory)
        (drive / MARKER).touch()
        made.drives = [drive]
        made.farm.nas.change({"drives.directories": drive})
        receive = made.farm.root / "receive_plot.sh"
        unlimited = receive.read_text()
        receive.write_text(unlimited.replace("exec ", "ulimit -f 4096\nexec "))
        assert made.run_again().returncode == 1
        assert made.result() == Failure.DRIVE_FULL, made.logs()
        made.rest()
        assert names(drive) == []
        made.audit()
        receive.write_text(unlimited)
        made.finish()


# ---- Not there ----


@pytest.mark.root
def test_drive_is_not_mounted(tmp_path: Path, shop: PlotShop, mounting: None) -> None:
    with mounted_farm(tmp_path, shop) as (made, drives):
        for drive in drives:
            drive.unmount()
        assert made.run_again().returncode == 1
        made.rest()
        assert [list(drive.place.iterdir()) for drive in drives] == [[], []]
        made.audit()
        for drive in drives:
            drive.mount()
        made.finish()


@pytest.mark.root
@pytest.mark.parametrize("state", ["after:CreatePart", "before:Pour", "after:SyncPart"])
def test_drive_is_unmounted_during_the_transfer(state: str, tmp_path: Path, shop: PlotShop, mounting: None) -> None:
    with mounted_farm(tmp_path, shop) as (made, drives):
        receiver = made.start_and_stop_at("nas", state)
        drives[0].unmount(lazily=True)
        resume(receiver)
        assert made.status() == 1
        assert made.result() == Failure.UNMOUNTED, made.logs()
        made.rest()
        assert list(drives[0].place.iterdir()) == []  # nothing under the mountpoint
        made.audit()
        made.finish()  # to the other drive
        drives[0].mount()
        made.remove_stale_parts()
        made.audit(finished=True)


def test_marker_is_missing(tmp_path: Path, shop: PlotShop) -> None:
    with one_plot(tmp_path, shop) as made:
        for drive in made.drives:
            (drive / MARKER).unlink()
        assert made.run_again().returncode == 1
        made.rest()
        assert [list(drive.iterdir()) for drive in made.drives] == [[], [], []]
        assert "CreatePart" not in made.farm.nas.log_text()  # not even for a while
        made.audit()
        for drive in made.drives:
            (drive / MARKER).touch()
        made.finish()


def test_marker_is_removed_during_the_transfer(tmp_path: Path, shop: PlotShop) -> None:
    with one_plot(tmp_path, shop) as made:
        receiver = made.start_and_stop_at("nas", "after:SyncPart")
        (made.drives[0] / MARKER).unlink()
        resume(receiver)
        assert made.status() == 1
        assert made.result() == Failure.UNMOUNTED, made.logs()
        made.rest()
        made.audit()
        assert made.run_again().returncode == 0, made.logs()  # to another drive
        (made.drives[0] / MARKER).touch()
        made.remove_stale_parts()
        made.audit(finished=True)


# ---- Hangs ----


# While the receiver tries to end a disk worker that hangs, which takes up to 4 seconds, it sends no heartbeat.
PATIENT = {"transfer__silence_seconds": 8}


def freeze_at(state: str, made: Scene, drive: LoopDrive, failure: Failure) -> None:
    """Let the drive hang at `state`, and see the run fail and go on without it; only the disk worker is stuck."""
    receiver = made.start_and_stop_at("nas", state)
    worker = made.victim("disk worker")
    drive.freeze()
    resume(receiver)
    assert made.status() == 1
    assert made.result() == failure, made.logs()
    wait_for(lambda: [process.pid for process in made.processes()] == [worker.pid], "others are stuck too", made)
    made.audit()


@pytest.mark.root
@pytest.mark.pipe("direct")
def test_a_drive_that_hangs_while_bytes_come_is_named_and_not_the_nas(
    tmp_path: Path, shop: PlotShop, mounting: None
) -> None:
    """Its process has to be waited for, for longer than an end may be silent."""
    limits = {"transfer__silence_seconds": 5, "transfer__stall_seconds": 6, "transfer__max_mb_per_second": 1}
    with mounted_farm(tmp_path, shop, **limits) as (made, drives):
        made.start()
        made.wait_until_midway(2**20)
        drives[0].freeze()
        assert made.status() == 1
        assert made.result() == Failure.HANGS, made.logs()


@pytest.mark.root
def test_drive_hangs(tmp_path: Path, shop: PlotShop, mounting: None) -> None:
    with mounted_farm(tmp_path, shop, **PATIENT) as (made, drives):
        (plot,) = made.manifest
        freeze_at("before:TrimPart", made, drives[0], Failure.HANGS)
        done = made.run_again()
        assert done.returncode == 0, made.logs()
        assert names(drives[1].place) == [plot]  # the drive that hangs is passed over
        drives[0].thaw()
        made.rest()
        (part,) = names(drives[0].place)
        assert part.endswith(".part")  # its disk worker never ran another line
        made.audit()
        made.remove_stale_parts()
        drives[1].unmount()
        made.drives = [drives[0].place]
        made.manifest.clear()
        made.add(shop.gplot(made.farm.plots))
        made.finish()  # the drive is used again, and is clean


@pytest.mark.root
@pytest.mark.parametrize("state", ["before:LinkPart", "before:UnlinkPart"])
def test_drive_hangs_while_it_publishes(state: str, tmp_path: Path, shop: PlotShop, mounting: None) -> None:
    # A link that has begun cannot be called back: the plot must not go to another drive as well.
    with mounted_farm(tmp_path, shop, **PATIENT) as (made, drives):
        (plot,) = made.manifest
        freeze_at(state, made, drives[0], Failure.OUTCOME_UNKNOWN)
        assert made.run_again().returncode == 1
        assert names(drives[1].place) == []
        drives[0].thaw()
        wait_for(lambda: not made.busy(), "the disk worker does not end", made)
        assert plot in names(drives[0].place)  # whole, and on the drive before it was linked
        made.audit()
        made.finish()


# ---- Lies ----


@pytest.mark.root
def test_drive_gives_back_other_bytes(tmp_path: Path, shop: PlotShop, mounting: None) -> None:
    with mounted_farm(tmp_path, shop, transfer__verify="readback") as (made, drives):
        content = next(made.farm.plots.iterdir()).read_bytes()
        receiver = made.start_and_stop_at("nas", "after:SyncPart")
        drives[0].flip(content[2 * 2**20 : 2 * 2**20 + 1024])
        resume(receiver)
        assert made.status() == 1
        assert made.result() == Failure.SAMPLE_DIFFERED, made.logs()
        made.rest_and_finish()
