"""kill -9 of every process of a move on one host, before and after every step: see journeys.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from testbed.plots import PlotShop
from tests.faults.journeys import Side
from tests.faults.kills import everything, kill_each, kill_one, sample


@pytest.mark.parametrize(("effect", "when"), sample(Side.MOVER))
def test_kill(effect: str, when: str, tmp_path: Path, shop: PlotShop) -> None:
    kill_one(Side.MOVER, effect, when, tmp_path, shop)


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(("effect", "when"), everything(Side.MOVER))
def test_kill_of_everybody_in_turn(effect: str, when: str, tmp_path: Path, shop: PlotShop) -> None:
    print(f"{kill_each(Side.MOVER, effect, when, tmp_path, shop)} kills, and every plot is stored once")
