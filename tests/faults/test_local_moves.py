"""What may happen while plots move from one disk of a NAS to another: nothing is lost, and the next run finishes."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from plotfarm.base.config.loader import load
from plotfarm.base.locks import Lock
from plotfarm.base.state import State
from plotfarm.drives.model import MARKER
from plotfarm.drives.reservations import Reservations
from plotfarm.jobs import move_plots
from plotfarm.jobs.drive_storage import DriveStorage
from plotfarm.transfer.outcomes import Failure, How
from testbed.mounts import LoopDrive, mount_small, private_mounts, why_no_mounts
from testbed.plots import PlotShop
from tests.faults import auditor
from tests.faults.local_scene import local_scene
from tests.faults.scene import resume, unknown_plot, wait_for

NO_MOUNTS = why_no_mounts()


def test_a_second_name_moves_no_bytes(tmp_path: Path, shop: PlotShop) -> None:
    with local_scene(tmp_path) as scene:
        plot = shop.v1(scene.near)
        scene.add(plot)
        inode = plot.stat().st_ino
        scene.finish()
        assert [path.stat().st_ino for path in scene.farm.stored()] == [inode]


def test_several_plots_move_at_once_each_to_a_drive_of_its_own(tmp_path: Path, shop: PlotShop) -> None:
    with local_scene(tmp_path, drives=3) as scene:
        scene.add(*(shop.v1(scene.far, seed=f"plot {number}") for number in range(5)))
        first = scene.stop_at("before:Copy")
        wait_for(lambda: len(scene.stopped()) == 3, "three were to be on their way", scene)
        arrivals = Reservations(scene.farm.nas.locks).arrivals()
        assert len({arrival.identity for arrival in arrivals}) == len({arrival.plot for arrival in arrivals}) == 3
        assert first.pid in {process.pid for process in scene.stopped()}
        scene.rest()  # the others wait until a drive is free
        assert scene.status() == 0
        scene.audit(finished=True)


def test_what_waits_for_a_drive_does_not_ask_all_drives_at_every_word(tmp_path: Path, monkeypatch) -> None:
    with local_scene(tmp_path, drives=2, local_plots__max_mb_per_second=2) as scene:
        scene.add(*(unknown_plot(scene.far, f"slow {number}", 3_000_000) for number in range(3)))
        asked = []
        place = DriveStorage.place

        def counted(storage: DriveStorage, *arguments: object) -> object:
            asked.append(arguments)
            return place(storage, *arguments)

        monkeypatch.setattr(DriveStorage, "place", counted)
        config = load(scene.farm.nas.config)
        state = State(config.paths.state)
        with Lock(config.paths.locks / "move_local_plots.lock") as lock:
            assert move_plots._move(config, lock, state) == 0
        state.close()
        assert len(asked) <= 5  # one for each plot, and for the one that waits when a drive becomes free
        scene.audit(finished=True)


def test_two_runs_at_once_are_one(tmp_path: Path, shop: PlotShop) -> None:
    with local_scene(tmp_path) as scene:
        scene.add(shop.v1(scene.far))
        stopped = scene.stop_at("before:Copy")
        second = scene.run_again()
        assert second.returncode == 0
        assert len(scene.roles()["mover"]) == 1
        resume(stopped)
        assert scene.status() == 0
        scene.rest()
        scene.audit(finished=True)


def test_a_copy_that_stands_still_is_ended_and_tried_again(tmp_path: Path, shop: PlotShop) -> None:
    with local_scene(tmp_path) as scene:
        scene.add(shop.v1(scene.far))
        scene.stop_at("before:Copy")  # and nobody lets it go on
        assert scene.status() == 1
        assert scene.result() == Failure.HANGS, scene.logs()
        scene.rest_and_finish()


def test_the_others_move_on_while_one_stands_still(tmp_path: Path, shop: PlotShop) -> None:
    with local_scene(tmp_path) as scene:
        scene.add(*(shop.v1(scene.far, seed=f"plot {number}") for number in range(3)))
        scene.stop_at("before:Copy")
        slow, *others = wait_for(lambda: len(scene.stopped()) == 3 and scene.stopped(), "three were to begin", scene)
        for process in others:
            resume(process)
        wait_for(lambda: len(scene.farm.stored()) == 2, "the others were to arrive", scene)
        assert slow.is_running()
        scene.rest_and_finish()


@pytest.mark.parametrize(
    "state", ["before:CreatePart", "before:Copy", "after:Copy", "before:LinkPart", "after:SyncDirectory"]
)
def test_a_source_that_changes_meanwhile_stays(state: str, tmp_path: Path, shop: PlotShop) -> None:
    with local_scene(tmp_path) as scene:
        plot = shop.v1(scene.far)
        stopped = scene.stop_at(state)
        with open(plot, "r+b") as file:
            file.seek(100_000)
            file.write(b"changed")
        scene.add(plot)
        resume(stopped)
        assert scene.status() == 1
        scene.rest()
        # It may be stored as it was before or after, and goes only if what is stored is what it was when it went.
        copies = [path for path in (plot, *scene.farm.stored()) if path.exists()]
        assert scene.manifest.items() <= {**auditor.manifest(copies[:1])}.items(), scene.logs()


def test_a_source_that_vanishes_meanwhile_is_stored_all_the_same(tmp_path: Path, shop: PlotShop) -> None:
    with local_scene(tmp_path) as scene:
        plot = shop.v1(scene.far)
        scene.add(plot)
        stopped = scene.stop_at("after:SyncDirectory")
        plot.unlink()
        resume(stopped)
        scene.status()
        scene.rest()
        scene.audit(finished=True)
        assert scene.result() == How.STORED


def test_a_plot_that_a_drive_holds_already_is_compared_before_its_source_goes(tmp_path: Path, shop: PlotShop) -> None:
    with local_scene(tmp_path) as scene:
        plot = shop.v1(scene.far)
        scene.add(plot)
        (scene.drives[1] / plot.name).write_bytes(plot.read_bytes())
        os.utime(scene.drives[1] / plot.name, (1e9, 1e9))
        scene.finish()
        assert scene.result() == How.HAVE


def test_another_plot_of_the_same_name_and_size_is_never_replaced_nor_its_source_removed(
    tmp_path: Path, shop: PlotShop
) -> None:
    with local_scene(tmp_path) as scene:
        plot = shop.v1(scene.far)
        other = bytearray(plot.read_bytes())
        other[-1000] ^= 1
        (scene.drives[1] / plot.name).write_bytes(other)
        assert scene.run_again().returncode == 1
        assert scene.result() == Failure.NAME_TAKEN, scene.logs()
        assert plot.exists()
        assert (scene.drives[1] / plot.name).read_bytes() == other


def test_plots_on_a_plot_drive_itself_are_never_touched(tmp_path: Path, shop: PlotShop) -> None:
    with local_scene(tmp_path) as scene:
        plot = shop.v1(scene.drives[0])
        scene.farm.nas.change({"local_plots.plot_directories": scene.drives[0]})
        done = scene.run_again()
        assert done.returncode == 2
        assert plot.exists()


def test_a_drive_that_is_the_plot_directory_by_another_path_keeps_its_plots(tmp_path: Path, shop: PlotShop) -> None:
    with local_scene(tmp_path) as scene:
        plot = shop.v1(scene.drives[0])
        by_another_path = scene.drives[0].parent / "link"
        by_another_path.symlink_to(scene.drives[0])
        scene.farm.nas.change({"local_plots.plot_directories": by_another_path})
        assert scene.run_again().returncode == 2
        assert plot.exists()


def test_a_directory_on_a_drive_that_gets_plots_is_pointed_out(tmp_path: Path, shop: PlotShop) -> None:
    with local_scene(tmp_path) as scene:
        inside = scene.drives[0] / "tmp"
        inside.mkdir()
        scene.add(shop.v1(inside))
        scene.farm.nas.change({"local_plots.plot_directories": inside})
        assert "drive_manager.py -off drive1" in scene.run_again().stderr
        scene.farm.drive_manager("-off", "drive1")
        scene.add(shop.v1(inside, seed="second"))
        done = scene.run_again()
        assert (done.returncode, done.stderr) == (0, "")
        assert [path.parent for path in scene.farm.stored() if path.parent != inside] == scene.drives[:2]


@pytest.mark.parametrize("near", [True, False])
def test_keep_source_leaves_the_plot_and_moves_it_once(near: bool, tmp_path: Path, shop: PlotShop) -> None:
    with local_scene(tmp_path, plotter__keep_source=True) as scene:
        plot = shop.v1(scene.near if near else scene.far)
        for _ in range(2):
            assert scene.run_again().returncode == 0
        assert plot.exists()
        assert [path.name for path in scene.farm.stored()] == [plot.name]
        assert len(scene.transfers()) == 1


def test_the_limit_of_speed_is_kept(tmp_path: Path) -> None:
    with local_scene(tmp_path, local_plots__max_mb_per_second=10) as scene:
        scene.add(unknown_plot(scene.far, "slow", 15_000_000))
        scene.start()
        assert scene.status() == 0
        (transfer,) = scene.transfers()
        assert 1.3 <= transfer.seconds <= 4
        scene.rest()
        scene.audit(finished=True)


def test_sigint_leaves_nothing_behind(tmp_path: Path, shop: PlotShop) -> None:
    with local_scene(tmp_path, local_plots__max_mb_per_second=1) as scene:
        scene.add(shop.v1(scene.far))
        scene.start()
        wait_for(scene.farm.parts, "nothing began", scene)
        assert scene.run is not None
        os.kill(scene.run.pid, signal.SIGINT)
        assert scene.status() == 130
        scene.rest()
        scene.farm.nas.change({"local_plots.max_mb_per_second": 0})
        scene.finish()


# ---- Drives that fill up, vanish or lie ----


@pytest.fixture
def mounting():
    """A mount namespace of one's own."""
    if NO_MOUNTS:
        pytest.skip(NO_MOUNTS)
    with private_mounts():
        yield


@pytest.mark.root
def test_a_drive_that_is_full_in_mid_copy(tmp_path: Path, shop: PlotShop, mounting: None) -> None:
    with local_scene(tmp_path, drives=2) as scene:
        scene.add(shop.v1(scene.far))
        drive = scene.drives[0]
        mount_small(drive, 12 * 2**20)
        (drive / MARKER).touch()
        mover = scene.stop_at("before:Copy")
        filler = drive / "filler"
        with open(filler, "wb") as file:
            while True:
                try:
                    file.write(bytes(2**16))
                    file.flush()
                except OSError:
                    break
        resume(mover)
        scene.rest()
        assert scene.status() == 0, "another drive takes it at once"
        assert [transfer.ending for transfer in scene.transfers()] == [How.STORED, Failure.DRIVE_FULL]
        scene.rest()
        filler.unlink()
        scene.audit()
        scene.finish()


@pytest.mark.root
def test_a_drive_that_is_unmounted_in_mid_copy(tmp_path: Path, shop: PlotShop, mounting: None) -> None:
    place = tmp_path / "enclosure0" / "front" / "drive1"
    drive = LoopDrive(tmp_path / "image", place, 32 * 2**20)
    found = {"drives__devices": "/dev/loop*", "drives__mounts": tmp_path / "enclosure*/**/drive*"}
    with local_scene(tmp_path, drives=0, **found) as scene:
        scene.drives = [place]
        scene.add(shop.v1(scene.far))
        mover = scene.stop_at("before:Copy")
        drive.unmount(lazily=True)
        resume(mover)
        assert scene.status() == 1
        assert scene.result() == Failure.UNMOUNTED, scene.logs()
        scene.rest()
        assert list(place.iterdir()) == []
        scene.audit()
        drive.mount()
        scene.finish()


@pytest.mark.root
def test_a_byte_that_the_drive_flips_is_found_by_reading_back(tmp_path: Path, shop: PlotShop, mounting: None) -> None:
    place = tmp_path / "enclosure0" / "front" / "drive1"
    drive = LoopDrive(tmp_path / "image", place, 32 * 2**20)
    found = {"drives__devices": "/dev/loop*", "drives__mounts": tmp_path / "enclosure*/**/drive*"}
    with local_scene(tmp_path, drives=0, transfer__verify="readback", **found) as scene:
        scene.drives = [place]
        plot = shop.v1(scene.far)
        scene.add(plot)
        content = plot.read_bytes()
        mover = scene.stop_at("after:SyncPart")
        drive.flip(content[2**20 : 2**20 + 4096])
        resume(mover)
        assert scene.status() == 1
        assert scene.result() == Failure.SAMPLE_DIFFERED, scene.logs()
        scene.rest()
        scene.audit()
        assert plot.exists()
        assert scene.run_again().returncode == 1, "the only drive is in quarantine"
        scene.farm.drive_manager("-on", "drive1")
        scene.finish()


@pytest.mark.root
def test_a_drive_that_is_mounted_twice_keeps_its_plots(tmp_path: Path, shop: PlotShop, mounting: None) -> None:
    with local_scene(tmp_path) as scene:
        plot = shop.v1(scene.drives[0])
        again = tmp_path / "again"
        again.mkdir()
        subprocess.run(["mount", "--bind", scene.drives[0], again], check=True)
        scene.farm.nas.change({"local_plots.plot_directories": again})
        done = scene.run_again()
        assert done.returncode == 1
        assert scene.result() == Failure.SAME_PLACE
        assert plot.exists()


@pytest.mark.root
def test_one_file_system_that_is_mounted_twice_shares_the_blocks_or_copies(
    tmp_path: Path, shop: PlotShop, mounting: None
) -> None:
    place = tmp_path / "enclosure0" / "front" / "drive1"
    LoopDrive(tmp_path / "image", place, 32 * 2**20)
    (place / "made").mkdir()
    again = tmp_path / "bound"
    again.mkdir()
    subprocess.run(["mount", "--bind", place / "made", again], check=True)
    found = {"drives__devices": "/dev/loop*", "drives__mounts": tmp_path / "enclosure*/**/drive*"}
    with local_scene(tmp_path, drives=0, **found) as scene:
        scene.drives = [place]
        plot = shop.v1(again)
        content = plot.read_bytes()
        scene.farm.nas.change({"local_plots.plot_directories": again})
        assert scene.run_again().returncode == 0
        assert not plot.exists()
        assert (place / plot.name).read_bytes() == content
