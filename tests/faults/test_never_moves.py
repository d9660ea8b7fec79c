"""What must not stop a plot for ever: others that cannot be read, a source that stays, a part without its rest."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from testbed.broken_drives import ImageDrive, Kind, attribute, bind, why_no_broken_drives
from testbed.farm import Farm
from testbed.fault_library import READS, Action, FaultLibrary, Rule, why_no_fault_library
from testbed.fleet import Fleet
from testbed.mounts import mount_small, private_mounts
from testbed.plots import CHECKOUT
from tests.faults import auditor
from tests.faults.local_scene import LocalScene
from tests.faults.scene import LIMITS, REST_SECONDS, Scene, unknown_plot
from tests.faults.wire import Fault, Harm
from tests.faults.wired_scene import LATE, MIB, SIZE, WiredScene, one_wired_plot, preloaded_local_scene, wired

MARKER = ".plot_drive"  # makes a directory a drive
# What a script may read of a plot that it does not send: its header.
HEADER_BYTES = 2 * MIB
RUNS = 4
pytestmark = [
    pytest.mark.skipif(why_no_fault_library() is not None, reason=str(why_no_fault_library())),
    pytest.mark.pipe("direct"),
]


@pytest.fixture
def mounting() -> Iterator[None]:
    """A mount namespace of one's own."""
    if why := why_no_broken_drives("chattr"):
        pytest.skip(why)
    with private_mounts():
        yield


# ---- Plots that cannot be read ----


def put_unreadable_head(directory: Path) -> tuple[list[Path], Path, list[Rule]]:
    """Put three plots and a younger one there; returns them, and the rules by which the three cannot be read."""
    bad = [unknown_plot(directory, f"unreadable {number}", 3 * MIB) for number in range(3)]
    good = unknown_plot(directory, "readable", 3 * MIB)
    for number, plot in enumerate([*bad, good]):
        when = time.time() - 3600 * (10 - number)
        os.utime(plot, (when, when))
    rules = [Rule(READS, f"*{plot.name}", count=0, beyond=HEADER_BYTES) for plot in bad]
    return bad, good, rules


def is_stored(made: Scene, plot: Path) -> bool:
    return any((drive / plot.name).exists() for drive in made.drives)


def test_three_unreadable_plots_at_the_head_stop_no_younger_one(tmp_path: Path) -> None:
    names = tmp_path / "names"
    names.mkdir()
    _, _, rules = put_unreadable_head(names)
    with wired(tmp_path, rules=rules, plotter__streams=1) as made:
        bad, good, _ = put_unreadable_head(made.farm.plots)
        made.add(*bad, good)
        for _ in range(RUNS):
            made.run_to_failure()
        assert is_stored(made, good), made.logs()
        assert not good.exists()
        assert all(plot.exists() for plot in bad)
        made.environment = {name: value for name, value in made.environment.items() if name != "FAULT_RULES"}
        made.finish(tries=2)


def test_three_unreadable_plots_at_the_head_stop_no_younger_one_in_local_moves(tmp_path: Path) -> None:
    with preloaded_local_scene(tmp_path) as made:
        made.farm.nas.change({"local_plots.moves": 1})
        bad, good, rules = put_unreadable_head(made.far)
        made.add(*bad, good)
        made.preload(*rules)
        for _ in range(RUNS):
            assert made.run_again().returncode == 1, made.logs()
            made.rest()
            made.audit()
        assert is_stored(made, good), made.logs()
        assert all(plot.exists() for plot in bad)
        made.environment = {}
        made.finish(tries=2)


# ---- Sources that cannot be removed ----


def an_immutable_plot(directory: Path) -> AbstractContextManager[None]:
    (plot,) = directory.glob("*.plot")
    return attribute("i", plot)


def an_append_only_directory(directory: Path) -> AbstractContextManager[None]:
    return attribute("a", directory)


@contextlib.contextmanager
def a_read_only_mount(directory: Path) -> Iterator[None]:
    bind(directory, directory, read_only=True)
    try:
        yield
    finally:
        subprocess.run(["umount", str(directory)], check=True)


Obstacle = Callable[[Path], AbstractContextManager[None]]
obstacles = pytest.mark.parametrize("obstacle", [an_immutable_plot, an_append_only_directory, a_read_only_mount])


@pytest.mark.root
@obstacles
def test_a_source_that_cannot_be_removed_is_not_read_in_every_run(
    obstacle: Obstacle, tmp_path: Path, mounting: None
) -> None:
    count = Rule(READS, "*.plot", Action.COUNT, count=0)
    with wired(tmp_path, rules=[count]) as made:
        ImageDrive(Kind.EXT4, tmp_path / "image", made.farm.plots)
        plot = unknown_plot(made.farm.plots, "stays", SIZE)
        made.add(plot)
        with obstacle(made.farm.plots):
            read = _read_in_the_last_run(made, lambda: made.library.counted(count))
            assert read < HEADER_BYTES, made.logs()
            assert plot.exists()
        made.finish(tries=2)


@pytest.mark.root
@obstacles
def test_a_source_that_cannot_be_removed_is_not_read_in_every_local_run(
    obstacle: Obstacle, tmp_path: Path, mounting: None
) -> None:
    count = Rule(READS, "*.plot", Action.COUNT, count=0)
    with preloaded_local_scene(tmp_path) as made:
        ImageDrive(Kind.EXT4, tmp_path / "image", made.near)
        plot = unknown_plot(made.near, "stays", SIZE)
        made.add(plot)
        library = made.preload(count)
        with obstacle(made.near):
            read = _read_in_the_last_run(made, lambda: library.counted(count))
            assert read < HEADER_BYTES, made.logs()
            assert plot.exists()
        made.finish(tries=2)


def _read_in_the_last_run(made: Scene | LocalScene, read: Callable[[], int]) -> int:
    """Run three times, and return how many bytes of plots were read in the last run."""
    for _ in range(3):
        before = read()
        made.run_again()
        made.rest()
        made.audit()
    return read() - before


# ---- Parts without their rest ----


@contextlib.contextmanager
def part_whose_rest_does_not_fit(root: Path) -> Iterator[tuple[WiredScene, Path]]:
    """Give a farm whose first drive has a part, and no room for its rest until the file that comes with it is gone."""
    with one_wired_plot(root) as made:
        first = made.drives[0]
        mount_small(first, 16 * MIB)
        (first / MARKER).touch()
        made.wire.faults = [Fault(Harm.CUT, LATE)]
        made.run_to_failure()
        (part,) = made.parts()
        assert part.parent == first, "the first drive is filled first"
        filler = first / "filler"
        with open(filler, "wb", buffering=0) as file:
            while os.statvfs(first).f_bavail * os.statvfs(first).f_frsize > 2 * MIB:
                file.write(bytes(64 * 1024))
        yield made, filler


@pytest.mark.root
def test_a_part_whose_rest_does_not_fit_does_not_keep_its_plot_from_another_drive(
    tmp_path: Path, mounting: None
) -> None:
    with part_whose_rest_does_not_fit(tmp_path) as (made, filler):
        assert made.run_again().returncode == 0, made.logs()
        made.rest()
        filler.unlink()
        made.audit()
        made.farm.nas.change({"receiving.part_age_hours": 0})
        made.farm.remember_small_plots()
        for _ in range(2):
            made.farm.drive_manager()
        made.audit(finished=True)


@pytest.mark.root
def test_a_part_whose_rest_did_not_fit_is_finished_when_there_is_room_again(tmp_path: Path, mounting: None) -> None:
    with part_whose_rest_does_not_fit(tmp_path) as (made, filler):
        made.farm.nas.change({"drives.directories": filler.parent})
        assert made.run_again().returncode == 1, made.logs()
        made.rest()
        filler.unlink()
        made.audit()
        made.finish(tries=2)


# ---- A NAS that stays dead ----

DEAD_FOR_HOURS = (1, 25, 73)


def test_a_plot_that_was_on_its_way_to_a_nas_that_stays_dead_can_be_let_go_to_another_one(tmp_path: Path) -> None:
    settings = {**LIMITS, "transfer.max_mb_per_second": 5}  # so that it can die in mid-transfer
    with Fleet(tmp_path, plotters=1, nas=2, drives=1, settings=settings) as fleet:
        # The ssh comes from the address that the bytes come from, too.
        ssh = fleet.plotters[0].directory / "ssh_config"
        ssh.write_text(re.sub(r"BindAddress .*", "BindAddress 127.0.0.1", ssh.read_text()))
        plot = unknown_plot(fleet.plots[0], "pinned", SIZE)
        manifest = auditor.manifest([plot])
        library = FaultLibrary(tmp_path / "library")
        run = fleet.start(0)
        try:
            dead = _nas_with_a_part(fleet)
            _die(dead)
            assert run.wait(REST_SECONDS) == 1, fleet.logs()
        finally:
            run.kill()
            run.wait()
        living = [farm for farm in fleet.farms if farm is not dead]
        scope = auditor.Scope(fleet.plots, fleet.drives)
        for hours in DEAD_FOR_HOURS:
            _run_later(fleet, library.environment_later(hours))
            assert auditor.audit(manifest, scope) == [], fleet.logs()
            assert not any(farm.stored() for farm in living), "it may be on the one that is dead"
        _run_later(fleet, library.environment, "--let-go", f"nas{fleet.farms.index(dead) + 1}")
        _run_later(fleet, library.environment)
        assert auditor.audit(manifest, scope) == [], fleet.logs()
        assert [path.name for farm in living for path in farm.stored()] == [plot.name], fleet.logs()


def _nas_with_a_part(fleet: Fleet) -> Farm:
    deadline = time.monotonic() + REST_SECONDS
    while time.monotonic() < deadline:
        for farm in fleet.farms:
            if any(list(drive.glob("*.part")) for drive in farm.drives):
                return farm
        time.sleep(0.02)
    raise AssertionError(f"nothing begins to arrive\n{fleet.logs()}")


def _die(farm: Farm) -> None:
    """Kill every process of a NAS."""
    daemon = farm.sshd.daemon
    assert daemon is not None
    victims = auditor.processes(auditor.Scope([], [], spared=[daemon]))
    farm.sshd.stop()
    for pid in victims:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _run_later(fleet: Fleet, environment: dict[str, str], *arguments: str) -> None:
    command = [str(CHECKOUT / "plot_manager.py"), "--config", str(fleet.plotters[0].config), *arguments]
    environment = fleet.farms[0].cron_environment(environment)
    subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=False)
