"""Ways in which plots were lost through names: two of one file, one of two files, and one of a file that rotted.

Each test ends with the auditor's judgement, as those of test_lost_plots.py do.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from testbed.broken_drives import (
    bind,
    bind_by_fuse,
    pool,
    unmount,
    why_no_fuse,
)
from testbed.fault_library import why_no_fault_library
from testbed.mounts import private_mounts
from testbed.plots import PlotShop
from tests.faults import auditor
from tests.faults.local_scene import LocalScene
from tests.faults.scene import unknown_plot, wait_for
from tests.faults.wire import Fault, Harm
from tests.faults.wired_scene import (
    LATE,
    MIB,
    SIZE,
    WiredScene,
    one_wired_plot,
    preloaded_local_scene,
)

pytestmark = pytest.mark.skipif(why_no_fault_library() is not None, reason=str(why_no_fault_library()))


@pytest.fixture
def mounting() -> Iterator[None]:
    """A mount namespace of one's own."""
    if why := why_no_fuse("bindfs", "mergerfs"):
        pytest.skip(why)
    with private_mounts():
        yield


# ---- Two names of one file ----


def the_same_path(made: WiredScene) -> Path:
    return made.drives[0]


def a_symlink(made: WiredScene) -> Path:
    link = made.farm.root / "plots-by-symlink"
    link.symlink_to(made.drives[0])
    return link


def hard_links(made: WiredScene) -> Path:
    directory = made.farm.root / "plots-by-hard-links"
    directory.mkdir()
    for plot in made.drives[0].glob("*.plot"):
        os.link(plot, directory / plot.name)
    return directory


def a_bind_mount(made: WiredScene) -> Path:
    bind(made.drives[0], made.farm.root / "plots-by-bind-mount")
    return made.farm.root / "plots-by-bind-mount"


def bindfs(made: WiredScene) -> Path:
    bind_by_fuse(made.drives[0], made.farm.root / "plots-by-bindfs")
    return made.farm.root / "plots-by-bindfs"


def a_mergerfs_pool(made: WiredScene) -> Path:
    pool(made.drives, made.farm.root / "plots-by-mergerfs")
    return made.farm.root / "plots-by-mergerfs"


@pytest.mark.pipe("direct")
@pytest.mark.parametrize("alias", [the_same_path, a_symlink])
def test_a_plot_directory_that_is_a_drive_of_the_nas_keeps_its_only_copies(
    alias: Callable[[WiredScene], Path], tmp_path: Path, shop: PlotShop
) -> None:
    _send_from_a_drive(alias, tmp_path, shop)


@pytest.mark.root
@pytest.mark.pipe("direct")
@pytest.mark.parametrize("alias", [a_bind_mount, bindfs, a_mergerfs_pool])
def test_a_plot_directory_that_leads_to_a_drive_of_the_nas_keeps_its_only_copies(
    alias: Callable[[WiredScene], Path], tmp_path: Path, shop: PlotShop, mounting: None
) -> None:
    _send_from_a_drive(alias, tmp_path, shop)


def _send_from_a_drive(alias: Callable[[WiredScene], Path], root: Path, shop: PlotShop) -> None:
    with one_wired_plot(root) as made:
        for waiting in made.farm.plots.iterdir():
            waiting.unlink()
        made.manifest.clear()
        plot = shop.v1(made.drives[0])
        made.add(plot)
        times = plot.stat().st_mtime_ns
        directory = alias(made)
        try:
            made.farm.plotter.change({"plotter.plot_directories": directory})
            for number in range(2):
                done = made.run_again()
                assert plot.exists(), f"the only copy is gone\n{made.logs()}"
                assert number or done.returncode != 0, done.stdout  # it is said once
                made.rest()
                made.audit()
                assert plot.stat().st_mtime_ns == times
        finally:
            unmount(directory)


@pytest.mark.root
@pytest.mark.pipe("direct")
@pytest.mark.parametrize("alias", [a_mergerfs_pool, bindfs])
def test_a_pool_over_the_drives_as_local_plot_directory_keeps_every_plot(
    alias: Callable[[LocalScene], Path], tmp_path: Path, shop: PlotShop, mounting: None
) -> None:
    with preloaded_local_scene(tmp_path) as made:
        plots = [shop.v1(made.drives[0], seed="one"), shop.v1(made.drives[0], seed="two")]
        made.add(*plots)
        directory = alias(made)
        try:
            made.farm.nas.change({"local_plots.plot_directories": directory})
            for number in range(2):
                done = made.run_again()
                assert all(plot.exists() for plot in plots), f"the only copies are gone\n{made.logs()}"
                assert number or done.returncode != 0, done.stdout
                made.rest()
                made.audit()
        finally:
            unmount(directory)


# ---- The name stays, and what it stands for does not ----


@pytest.mark.pipe("direct")
def test_two_plots_of_one_name_never_become_a_chimera(tmp_path: Path) -> None:
    with one_wired_plot(tmp_path) as made:
        made.set_segments(8 * MIB)
        for waiting in made.farm.plots.iterdir():
            waiting.unlink()
        size = 44 * MIB
        first = unknown_plot(made.farm.plots, "chimera", size)
        aside = made.farm.root / first.name
        other_bytes = random.Random("another plot").randbytes(size)
        made.manifest.clear()
        made.add(first)

        # The first one comes as far as its fourth segment,
        made.wire.faults = [Fault(Harm.CUT, 35 * MIB), Fault(Harm.HOLD, 6 * MIB)]
        made.run_to_failure()
        first.rename(aside)

        # the other one, under its name, not even through its first one,
        first.write_bytes(other_bytes)
        made.start_and_hold()
        made.part_with(other_bytes[: 2 * MIB])
        made.kill_everything()
        made.wire.release()

        # and the first one again.
        first.unlink()
        aside.rename(first)
        made.finish(tries=2)


def another_file(part: Path) -> None:
    other = part.parent / "other"
    other.write_bytes(random.Random("another file").randbytes(SIZE))
    other.rename(part)


def a_link_to_a_secret(part: Path) -> None:
    secret = part.parents[2] / "secret"
    secret.write_text("root:x:0:0\n")
    part.unlink()
    part.symlink_to(secret)


@pytest.mark.parametrize("put", [another_file, a_link_to_a_secret])
def test_what_has_the_name_of_a_part_by_then_is_never_published(put: Callable[[Path], None], tmp_path: Path) -> None:
    with one_wired_plot(tmp_path) as made:
        made.wire.faults = [Fault(Harm.HOLD, LATE)]
        made.start_and_hold()
        (part,) = made.parts()
        put(part)
        made.go_on()
        made.audit()
        part.unlink(missing_ok=True)  # whose it was knows who put it there
        made.finish(tries=2)


def test_a_part_that_is_emptied_while_bytes_arrive_never_becomes_half_a_plot(tmp_path: Path) -> None:
    with one_wired_plot(tmp_path) as made:
        (plot,) = made.farm.plots.iterdir()
        made.wire.faults = [Fault(Harm.HOLD, LATE)]
        made.start_and_hold()
        part = made.part_with(plot.read_bytes()[: 3 * MIB])
        os.truncate(part, 0)
        made.go_on()
        made.audit()
        made.finish(tries=2)


# ---- What was whole once ----


@pytest.mark.pipe("direct")
def test_a_stored_plot_that_rotted_never_costs_its_good_source(tmp_path: Path) -> None:
    with one_wired_plot(tmp_path) as made:
        (plot,) = made.farm.plots.iterdir()
        content = plot.read_bytes()
        assert made.run_again().returncode == 0, made.logs()
        stored = made.stored_plot(plot.name)
        rot(stored)
        plot.write_bytes(content)  # as if `stored` had never reached the plotter
        done = made.run_again()
        made.rest()
        assert plot.exists(), f"the good source is gone\n{made.logs()}"
        _audit_but(made, stored)
        assert done.returncode == 1


@pytest.mark.pipe("direct")
def test_a_stored_plot_that_rotted_never_costs_its_good_source_in_a_local_move(tmp_path: Path) -> None:
    with preloaded_local_scene(tmp_path) as made:
        plot = unknown_plot(made.far, "plot", SIZE)
        content = plot.read_bytes()
        made.add(plot)
        assert made.run_again().returncode == 0, made.logs()
        (stored,) = made.farm.stored()
        rot(stored)
        plot.write_bytes(content)
        done = made.run_again()
        made.rest()
        assert plot.exists(), f"the good source is gone\n{made.logs()}"
        _audit_but(made, stored)
        assert done.returncode == 1


def rot(stored: Path) -> None:
    """Change a byte as a disk does: nothing but the byte is different then."""
    status = stored.stat()
    with open(stored, "r+b") as file:
        file.seek(5 * MIB)
        byte = file.read(1)[0]
        file.seek(5 * MIB)
        file.write(bytes([byte ^ 1]))
    os.utime(stored, ns=(status.st_atime_ns, status.st_mtime_ns))


def _audit_but(made: WiredScene | LocalScene, spoilt: Path) -> None:
    violations = auditor.audit(made.manifest, replace(made.scope, spoilt=[spoilt]))
    assert violations == [], "\n".join([*violations, made.logs()])


@pytest.mark.pipe("direct")
@pytest.mark.parametrize("content", [b"", b'{"identity": "dr'], ids=["empty", "torn"])
def test_a_part_whose_lock_file_is_empty_or_torn_does_not_keep_its_room_for_ever(
    content: bytes, tmp_path: Path
) -> None:
    with one_wired_plot(tmp_path, receiving__part_age_hours=0) as made:
        made.wire.faults = [Fault(Harm.HOLD, MIB // 2)]
        made.start_and_hold()
        (part,) = wait_for(made.parts, "there is no part", made)
        made.kill_everything()
        made.wire.release()
        assert part.exists()
        for lock in made.farm.nas.locks.iterdir():
            lock.write_bytes(content)
        for plot in made.farm.plots.iterdir():
            plot.rename(made.farm.root / plot.name)  # somebody else takes it elsewhere
        made.manifest.clear()
        other = unknown_plot(made.farm.plots, "other", SIZE)
        made.add(other)
        made.farm.remember_small_plots()
        for _ in range(2):
            assert made.farm.drive_manager().returncode == 0, made.logs()
        made.finish(tries=2)
