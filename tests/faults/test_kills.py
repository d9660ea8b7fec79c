"""kill -9 of every process of a transfer, before and after every step of both ends.

Which steps there are comes from the code, and what a kind of journey does from a real one: see journeys.py.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from testbed.plots import PlotShop
from tests.faults.journeys import Side
from tests.faults.kills import everything, kill_each, kill_one, sample
from tests.faults.scene import one_plot


def _cases(*, is_sample: bool) -> list[object]:
    return [
        pytest.param(side, when, effect, id=f"{side} {when} {effect}")
        for side in (Side.PLOTTER, Side.NAS)
        for effect, when in (sample(side) if is_sample else everything(side))
    ]


@pytest.mark.pipe("netcat")
@pytest.mark.parametrize(("side", "when", "effect"), _cases(is_sample=True))
def test_kill(side: Side, when: str, effect: str, tmp_path: Path, shop: PlotShop) -> None:
    kill_one(side, effect, when, tmp_path, shop)


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(("side", "when", "effect"), _cases(is_sample=False))
def test_kill_of_everybody_in_turn(side: Side, when: str, effect: str, tmp_path: Path, shop: PlotShop) -> None:
    print(f"{kill_each(side, effect, when, tmp_path, shop)} kills, and every plot is stored once")


@pytest.mark.parametrize("state", ["before:Pour", "before:SyncPart"])
def test_a_disk_worker_dies_with_its_receiver(state: str, tmp_path: Path, shop: PlotShop) -> None:
    with one_plot(tmp_path, shop) as scene:
        scene.start_and_stop_at("nas", state)
        worker = scene.victim("disk worker")
        worker.suspend()
        scene.victim("receiver").kill()
        worker.wait(5)  # it is stopped, and nobody wakes it: the kernel ends it
        scene.rest_and_finish()
