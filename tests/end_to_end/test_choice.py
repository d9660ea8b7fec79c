"""Which NAS each plot of a run goes to, by the policy, and what happens where a NAS hangs or is at its limits."""

from __future__ import annotations

import contextlib
import random
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from farm_help import big_plot, logs, names_and_digests, wait_for

from plotfarm.base.state import State
from plotfarm.notify.alerts import AlertBook
from plotfarm.transfer.nas_rooms import NasRooms
from testbed.farm import Farm, Side
from testbed.fleet import Fleet
from testbed.plots import v1_name

MIB = 2**20


@pytest.fixture
def new_fleet(tmp_path: Path) -> Iterator[Callable[..., Fleet]]:
    with contextlib.ExitStack() as opened:

        def make(plotters: int, nas: int, drives: int = 2, **settings: object) -> Fleet:
            return opened.enter_context(Fleet(tmp_path / "fleet", plotters, nas, drives, settings))

        yield make


def put(directory: Path, seed: str, size: int = MIB) -> None:
    path = directory / v1_name(seed, k=32)
    path.write_bytes(b"\x07" + random.Random(seed).randbytes(size - 1))


def stored(fleet: Fleet) -> list[int]:
    """Return how many plots lie on each NAS."""
    return [len(farm.stored()) for farm in fleet.farms]


def standing(side: Side) -> set[tuple[str, str]]:
    """Return what is wrong by the book of a host, also what nobody was told of yet: kind and what it is about."""
    state = State(side.state)
    try:
        return set(AlertBook(state.database).standing())
    finally:
        state.close()


# ---- The policies ----


@pytest.mark.parametrize("policy", ["most_free", "in_order"])
def test_a_policy_holds_for_the_whole_run(new_fleet: Callable[..., Fleet], policy: str) -> None:
    """Each plot takes longer than an answer counts, and the NAS that is right answers last."""
    slow = {"nas.answer_seconds": 1, "transfer.max_mb_per_second": 4}
    fleet = new_fleet(1, 2, 2, **{"nas.policy": policy, "plotter.streams": 5, "nas.streams": 5, **slow})
    large, small = fleet.farms
    _add_drives(large, 400)
    small.nas.change({"drives.minimum_free": "8 GiB"})  # all drives share one disk, so room has to be taken away
    for number in range(20):
        put(fleet.plots[0], f"{policy} {number}", 8 * MIB)
    assert fleet.start(0).wait(100) == 0, fleet.logs()
    assert stored(fleet) == [20, 0]


def _add_drives(farm: Farm, count: int) -> None:
    """Let a NAS have so many drives."""
    for number in range(len(farm.drives) + 1, count + 1):
        drive = farm.root / "nas" / f"drive{number}"
        drive.mkdir()
        (drive / ".plot_drive").touch()
        farm.drives.append(drive)
    farm.nas.change({"drives.directories": ", ".join(str(drive) for drive in farm.drives)})


def test_a_round_goes_on_where_the_last_run_ended(new_fleet: Callable[..., Fleet]) -> None:
    fleet = new_fleet(1, 3, 1, **{"nas.policy": "round_robin"})
    for number in range(3):
        put(fleet.plots[0], f"plot {number}")
        assert fleet.start(0).wait(60) == 0, fleet.logs()
    assert stored(fleet) == [1, 1, 1]


def test_plotters_do_not_run_after_each_other(new_fleet: Callable[..., Fleet]) -> None:
    fleet = new_fleet(3, 8, 4, **{"transfer.max_mb_per_second": 3})
    for plotter in range(3):
        for number in range(4):
            put(fleet.plots[plotter], f"plot {plotter} {number}", 6 * MIB)
    runs = [fleet.start(plotter) for plotter in range(3)]
    assert [run.wait(100) for run in runs] == [0, 0, 0], fleet.logs()
    found = stored(fleet)
    assert sum(found) == 12
    # All drives share one disk, and what else is written there makes one NAS look better than another.
    assert sum(count > 0 for count in found) > 4, f"all of them took the same four: {found}"


def test_the_next_run_asks_only_those_that_may_get_the_plot(new_fleet: Callable[..., Fleet]) -> None:
    """Two, and one more for each that is slow to answer just then."""
    fleet = new_fleet(1, 8, 1)
    for number in range(5):
        put(fleet.plots[0], f"plot {number}")
        assert fleet.start(0).wait(60) == 0, fleet.logs()
        if _remembered(fleet.plotters[0]) == 8:
            break
    put(fleet.plots[0], "last")
    wait_for(lambda: min(_sessions(farm) for farm in fleet.farms) > 0, "the end of the sessions")
    before = [_sessions(farm) for farm in fleet.farms]
    assert fleet.start(0).wait(60) == 0, fleet.logs()
    wait_for(lambda: _more(fleet, before) > 0, "the end of a session")
    assert _more(fleet, before) <= 4


def _remembered(side: Side) -> int:
    """Return of how many NAS a plotter remembers what room they have."""
    state = State(side.state)
    try:
        return len(NasRooms(state.database).lately(3600.0))
    finally:
        state.close()


def _more(fleet: Fleet, before: list[int]) -> int:
    """Return how many NAS have held more sessions than before."""
    return sum(_sessions(farm) > count for farm, count in zip(fleet.farms, before, strict=True))


def _sessions(farm: Farm) -> int:
    """Return how many sessions a NAS has held, each of which has ended."""
    return farm.nas.log_text().count("The session is over")


# ---- A NAS that does not answer ----


def test_a_nas_that_hangs_is_told_of_after_a_short_run(new_fleet: Callable[..., Fleet]) -> None:
    fleet = new_fleet(1, 2, 1, **{"watch.trouble_minutes": 0, "notifications.alerting": True})
    hanging = fleet.farms[1].sshd
    hanging.stop()
    put(fleet.plots[0], "first")
    with socket.create_server((hanging.address, hanging.port)):  # takes connections, and says nothing
        assert fleet.start(0).wait(60) == 0, fleet.logs()
    assert stored(fleet) == [1, 0]
    assert ("nas_unavailable", "nas2") in standing(fleet.plotters[0]), fleet.logs()

    hanging.start()
    put(fleet.plots[0], "second")
    assert fleet.start(0).wait(60) == 0, fleet.logs()
    assert ("nas_unavailable", "nas2") not in standing(fleet.plotters[0]), "it answered, whoever got the plot"


# ---- A NAS that is at its limits ----


@pytest.mark.parametrize("pipe", ["netcat", "direct"])
def test_a_plot_waits_for_a_port_that_is_free(new_farm: Callable[..., Farm], pipe: str) -> None:
    farm = new_farm(drives=4, settings={"transfer.pipe": pipe, "transfer.max_mb_per_second": 8})
    farm.nas.change({"transfer.ports": f"{farm.ports.start}-{farm.ports.start}"})
    for number in range(4):
        big_plot(farm.plots, f"plot {number}", 4 * MIB)
    assert len(names_and_digests(farm)) == 4
    assert farm.plot_manager().returncode == 0, logs(farm)
    assert len(farm.stored()) == 4
