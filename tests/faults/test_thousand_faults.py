"""A thousand faults over both pipes, in moves on one host and with power cuts: no plot is lost, and nothing is left.

Each prints its seed and what happened; `THOUSAND_FAULTS_SEED` in the environment repeats one, as far as the machine
lets it.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from testbed.broken_drives import Kind, unmount, why_no_broken_drives
from testbed.fault_library import why_no_fault_library
from testbed.mounts import private_mounts
from testbed.plots import PlotShop, copy_as
from tests.faults import auditor
from tests.faults.chaos import Chaos
from tests.faults.journeys import SEGMENT_BYTES, Side, effects, points
from tests.faults.local_scene import local_scene
from tests.faults.scene import Scene, unknown_plot
from tests.faults.wired_scene import SIZE, mounted_wired_plot, wired

FAULTS_OVER_A_PIPE = 370
FAULTS_ON_ONE_HOST = 260
POWER_CUTS = {Kind.EXT4: 40, Kind.XFS: 15, Kind.BTRFS: 15}
LARGE_BYTES = 12 * 2**20
RUNS_IN_A_ROUND = (4, 6)
PLOTS_IN_A_ROUND = 6  # and a large one
MOST_RUNS_TO_FINISH = 6
# What a person overwrites in a part while it is at rest is found by reading; what arrives is read back as well.
SETTINGS = {"transfer__verify": "readback", "plotter__streams": 3, "drives__probe_seconds": 20}

pytestmark = [
    pytest.mark.long,
    pytest.mark.timeout(3600),
    pytest.mark.skipif(why_no_fault_library() is not None, reason=str(why_no_fault_library())),
]


@pytest.fixture
def chance() -> random.Random:
    """Chance, with a seed that is printed."""
    seed = os.environ.get("THOUSAND_FAULTS_SEED") or str(random.SystemRandom().randrange(10**6))
    print(f"seed {seed}")
    return random.Random(seed)


def test_over_a_pipe(tmp_path: Path, shop: PlotShop, pipe: str, chance: random.Random) -> None:
    with wired(tmp_path, **SETTINGS) as made:  # type: ignore[arg-type]
        made.set_segments(SEGMENT_BYTES)
        _go_wrong(made, [made.farm.plots], FAULTS_OVER_A_PIPE, shop, chance)


@pytest.mark.pipe("direct")  # there is none
def test_on_one_host(tmp_path: Path, shop: PlotShop, chance: random.Random) -> None:
    with local_scene(tmp_path, local_plots__moves=3, **SETTINGS) as made:
        _go_wrong(made, [made.near, made.far], FAULTS_ON_ONE_HOST, shop, chance)


def _go_wrong(made: Scene, directories: list[Path], faults: int, shop: PlotShop, chance: random.Random) -> None:
    """Let so many faults happen, in rounds that end with everything stored once and nothing left."""
    chaos = Chaos(made, chance)
    rounds = stored = 0
    while chaos.tally.total() < faults:
        chaos.history.clear()
        made.add(*_put_plots(directories, f"{rounds}", shop, chance))
        try:
            for _ in range(chance.choice(RUNS_IN_A_ROUND)):
                chaos.run()
                made.audit()
                chaos.history.append("|")
            _settle(made)
        except BaseException:
            print(f"round {rounds}: {', '.join(chaos.history)}")
            raise
        rounds += 1
        stored += len(made.manifest)
        _take_away(made)
    print(f"{chaos.tally.total()} faults in {rounds} rounds, {stored} plots stored once: 0 lost, 0 unequal, 0 left")
    for name, count in sorted(chaos.tally.items()):
        print(f"  {count:4}  {name}")


def _put_plots(directories: list[Path], seed: str, shop: PlotShop, chance: random.Random) -> Iterator[Path]:
    whole = shop.v1(directories[0].parent)
    for number in range(PLOTS_IN_A_ROUND):
        yield copy_as(whole, chance.choice(directories), f"{seed} {number}")
    whole.unlink()
    yield unknown_plot(chance.choice(directories), f"{seed} large", LARGE_BYTES)


def _settle(made: Scene) -> None:
    """Without another fault, within a few runs, everything is stored once and nothing is left."""
    made.lift_quarantine()
    for _ in range(MOST_RUNS_TO_FINISH):
        if made.run_again().returncode == 0:
            break
    made.rest()
    made.remove_stale_parts()
    made.farm.nas.change({"receiving.part_age_hours": 24})
    made.audit(finished=True)


def _take_away(made: Scene) -> None:
    """Take what is stored away, also from what a power cut would leave."""
    for drive in made.drives:
        for name in made.manifest:
            (drive / name).unlink(missing_ok=True)
        directory = os.open(drive, os.O_RDONLY)
        os.fsync(directory)
        os.close(directory)
    made.manifest.clear()


# ---- The power is cut ----


@pytest.fixture
def mounting() -> Iterator[None]:
    """A mount namespace of one's own."""
    if why := why_no_broken_drives():
        pytest.skip(why)
    with private_mounts():
        yield


@pytest.mark.root
@pytest.mark.pipe("direct")
@pytest.mark.parametrize("kind", list(Kind))
def test_power_cuts(kind: Kind, tmp_path: Path, shop: PlotShop, mounting: None, chance: random.Random) -> None:
    cuts = [
        point
        for side in (Side.PLOTTER, Side.NAS)
        for effect in effects(side)
        for when in ("before", "after")
        for point in points(side, effect, when, shop, only_first=True)
        if point.journey == "stores"
    ]
    chosen = chance.sample(cuts, min(POWER_CUTS[kind], len(cuts)))
    with mounted_wired_plot(tmp_path, kind, transfer__verify="sample") as (made, drives):
        for number, point in enumerate(chosen):
            if number:
                _take_away(made)
                made.add(unknown_plot(made.farm.plots, f"plot {number}", SIZE))
            made.start_and_stop_at(point.side.value, point.state)
            copies = [tmp_path / "after" / drive.place.name for drive in drives]
            for drive, copy in zip(drives, copies, strict=True):
                drive.copy_as_after_a_power_cut(drive.image.with_suffix(".copy"), copy)
            violations = auditor.audit(made.manifest, replace(made.scope, drives=copies))
            for copy in copies:
                unmount(copy)
            assert violations == [], f"{point}\n{made.logs()}"
            made.rest()
            made.finish(tries=2)
    print(f"{len(chosen)} power cuts on {kind}: 0 lost, 0 unequal")
