"""kill -9 of a random process at a random moment, again and again, while several plots travel."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from testbed.farm import Farm
from testbed.plots import PlotShop, copy_as
from tests.faults.scene import LIMITS, Scene, scene, unknown_plot, wait_for

PLOTS = 3  # of 4 MB, and one that takes a while
LARGE_BYTES = 40 * 2**20
LATEST_SECONDS = 2.0  # after plot_manager.py has begun: by then a run is in the midst of its plots
SHORT_LIVED = ("disk worker", "sending nc", "listening nc")  # there for a moment only: waited for


@pytest.mark.parametrize(
    "kills", [6, pytest.param(240, marks=[pytest.mark.long, pytest.mark.timeout(3600)])], ids=["short", "long"]
)
def test_random_kills(kills: int, tmp_path: Path, shop: PlotShop) -> None:
    seed = random.SystemRandom().randrange(10**6)
    print(f"seed {seed}")
    chance = random.Random(seed)
    killed: Counter[str] = Counter()
    stored = 0
    with Farm(tmp_path / "farm", settings=LIMITS) as farm, scene(farm) as made:
        while killed.total() < kills:
            if not made.manifest or not any(farm.plots.iterdir()):
                stored += _start_afresh(made, shop, f"{seed} {killed.total()}")
            killed.update(_kill_one(made, chance))
            made.rest()
            made.audit()
        made.finish()
        stored += len(made.manifest)
    print(f"{killed.total()} kills, {stored} plots stored, none lost: {dict(sorted(killed.items()))}")


def _kill_one(made: Scene, chance: random.Random) -> list[str]:
    """Start a run and kill one of its processes at some moment; return what was killed, nothing if it ended before."""
    made.start()
    moment = time.monotonic() + chance.uniform(0, LATEST_SECONDS)
    _wait(made, lambda: time.monotonic() >= moment)
    wanted = chance.choice([*SHORT_LIVED, "anybody", "anybody", "anybody"])
    if wanted != "anybody":
        _wait(made, lambda: wanted in made.roles())
    roles = made.roles()
    role = wanted if wanted in roles else chance.choice(sorted(roles) or ["nobody"])
    if role not in roles:
        return []
    victim = chance.choice(roles[role])
    moment = time.monotonic() + chance.uniform(0, 0.03)
    _wait(made, lambda: time.monotonic() >= moment)
    try:
        victim.kill()
    except psutil.NoSuchProcess:
        return []
    return [role]


def _wait(made: Scene, over: Callable[[], bool]) -> None:
    """Wait until `over`, or until the run has ended."""
    run = made.run
    assert run is not None
    wait_for(lambda: over() or run.poll() is not None, "the run does not end", made)


def _start_afresh(made: Scene, shop: PlotShop, seed: str) -> int:
    """Take the stored plots away, once they are audited, and put new ones in; return how many were stored."""
    made.audit(finished=bool(made.manifest))
    stored = len(made.manifest)
    for drive in made.drives:
        for name in made.manifest:
            (drive / name).unlink(missing_ok=True)
    made.manifest.clear()
    whole = shop.v1(made.farm.root)
    made.add(*(copy_as(whole, made.farm.plots, f"{seed} {number}") for number in range(PLOTS)))
    made.add(unknown_plot(made.farm.plots, f"{seed} large", LARGE_BYTES))
    return stored
