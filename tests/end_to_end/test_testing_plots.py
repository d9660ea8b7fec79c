"""Plots of the testing mode: they travel and are stored as plots are, and are never counted as such."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from plotfarm.base.state import State
from plotfarm.drives.model import Drive
from plotfarm.drives.reservations import Reservations
from testbed.farm import Farm

PutV1 = Callable[[Path, str], Path]
SIZE = 3 * 2**20


@pytest.fixture
def tried(new_farm: Callable[..., Farm]) -> Farm:
    """A farm that was tried with the testing mode, as the manual says: dd made the plot, and it was sent."""
    farm = new_farm(nas_settings={"system_settings.server_name": "nas01"})
    trial = farm.root / "trial"
    trial.mkdir()
    farm.plotter.change({"testing.testing": True, "testing.plot_directory": trial, "testing.minimum_size": "1 MiB"})
    (trial / "plot-k32-test.plot").write_bytes(bytes(SIZE))
    run = farm.plot_manager()
    assert (run.returncode, run.stderr) == (0, ""), farm.plotter.log_text()
    assert list(trial.iterdir()) == []
    assert len(farm.stored()) == 1
    return farm


def report(farm: Farm, *arguments: str) -> str:
    done = farm.drive_manager(*arguments)
    assert (done.returncode, done.stderr) == (0, ""), done
    return done.stdout


def facts_of(farm: Farm, option: str) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads(report(farm, option, "--json"))["data"]
    return facts


def test_a_testing_plot_is_marked_and_in_no_number(tried: Farm) -> None:
    facts = facts_of(tried, "-pr")
    assert (facts["plots"], facts["testing_plots"]) == (0, 1)
    assert facts["plots_by_kind"] == [{"kind": "testing", "k": 32, "plots": 1}]
    assert (facts["plots_last_24_hours"], facts["bytes_last_24_hours"], facts["recorded_since"]) == (None, None, None)
    assert facts["maximum_plots"] == facts["room_plots"]
    assert facts["arriving_plot_bytes"] > 100 * SIZE, "the size to plan with is that of a plot"
    drive = facts["drives"][0]
    assert (drive["plots"], drive["testing_plots"], drive["stored_bytes"]) == (0, 1, 0)
    assert "1 testing plot" in report(tried, "-pr")
    daily = facts_of(tried, "-ud")
    assert (daily["plots"], daily["plots_last_24_hours"], daily["plots_since_last_reading"]) == (0, 0, 0)


@pytest.mark.parametrize(("kind", "sets_it"), [("testing", False), ("v1", True)])
def test_while_it_arrives_it_does_not_set_the_size_to_plan_with(tried: Farm, kind: str, sets_it: bool) -> None:
    place = str(tried.drives[1])
    drive = Drive(place, "", f"directory:{place}", 0, "", directory_mode=True)
    lock = Reservations(tried.nas.locks).take(
        drive, plot="another.plot", bytes=SIZE, format=kind, plotter="rig", written_bytes=0, since=time.time()
    )
    try:
        facts = facts_of(tried, "-pr")
        (running,) = facts_of(tried, "--status")["running"]
    finally:
        lock.release()
    assert running["plot"] == "another.plot"
    assert (facts["arriving_plot_bytes"] == SIZE) is sets_it


def test_the_status_marks_it(tried: Farm) -> None:
    (last,) = facts_of(tried, "--status")["last"]
    assert (last["kind"], last["outcome"]) == ("testing", "stored")
    assert re.search(r"plot-k32-test\.plot +\(testing plot\)", report(tried, "--status"))


def test_a_real_plot_is_one_by_whatever_mode_it_comes(tried: Farm, put_v1: PutV1) -> None:
    put_v1(tried.root / "trial", "real")
    assert tried.plot_manager().returncode == 0
    facts = facts_of(tried, "-pr")
    assert (facts["plots"], facts["testing_plots"], facts["plots_last_24_hours"]) == (1, 1, 1)
    kinds = {one.kind for one in State(tried.nas.state).transfers()}
    assert kinds == {"v1", "testing"}
