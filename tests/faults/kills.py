"""kill -9 of one process at one point of a journey, and what must hold then."""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import Sequence
from pathlib import Path

import psutil

from testbed.plots import PlotShop
from tests.faults.journeys import LOCAL, NETWORK, QUARANTINING, Point, Side, effects, points
from tests.faults.local_scene import LocalScene
from tests.faults.scene import Scene

EVERYBODY = "everybody"  # every process of the farm at both ends, as a power cut would; its sshd stays
_TRIES = 2  # runs by which everything must be well: a drive may be in quarantine, or a session not ended yet


def sample(side: Side) -> list[tuple[str, str]]:
    """Return every effect of a side once, before or after it."""
    return [(effect, ("before", "after")[_number(side, effect) % 2]) for effect in effects(side)]


def everything(side: Side) -> list[tuple[str, str]]:
    """Return every effect of a side, before and after it."""
    return [(effect, when) for effect in effects(side) for when in ("before", "after")]


def kill_one(side: Side, effect: str, when: str, root: Path, shop: PlotShop) -> None:
    """Kill one of those who are there at one of the points; which of them depends on the effect."""
    found = points(side, effect, when, shop, only_first=True)
    assert found, f"no journey reaches {effect}: tests/faults/journeys.py lacks one that does"
    number = _number(side, effect) // 2
    _kill_at(found[number % len(found)], number, root, shop)


def kill_each(side: Side, effect: str, when: str, root: Path, shop: PlotShop) -> int:
    """Kill each of those who are there, at each of the points; returns how many kills that were."""
    found = points(side, effect, when, shop, only_first=False)
    assert found, f"no journey reaches {effect}: tests/faults/journeys.py lacks one that does"
    kills = 0
    for number, point in enumerate(found):
        victim, victims = 0, 1
        while victim < victims:
            victims = _kill_at(point, victim, root / f"{number}-{victim}", shop)
            victim += 1
            kills += 1
    return kills


def _kill_at(point: Point, victim: int, root: Path, shop: PlotShop) -> int:
    """Kill the process of this number, and see that all is well by the next run; returns how many there were."""
    root.mkdir(exist_ok=True)
    opener = (LOCAL if point.side is Side.MOVER else NETWORK)[point.journey]
    with opener(root, shop) as made:
        if isinstance(made, LocalScene):
            made.stop_at(point.state)
        else:
            made.start_and_stop_at(point.side.value, point.state)
        roles = made.roles()
        victims = [EVERYBODY, *sorted(roles)]
        role = victims[victim % len(victims)]
        print(f"{point.journey}, {point.side} {point.state}: {role}")
        _kill(made.processes() if role == EVERYBODY else roles[role][:1])
        _see_that_all_is_well(made, has_quarantine=point.journey in QUARANTINING)
    return len(victims)


def _kill(victims: Sequence[psutil.Process]) -> None:
    for process in victims:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.suspend()
    for process in victims:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()


def _see_that_all_is_well(made: Scene, *, has_quarantine: bool) -> None:
    made.rest()
    made.audit()
    if not has_quarantine:
        made.finish(_TRIES)
        return
    statuses = [made.run_again().returncode for _ in range(_TRIES)]
    assert statuses[-1] == 0, made.logs()
    made.rest()
    made.lift_quarantine()
    made.remove_stale_parts()
    made.audit(finished=True)


def _number(side: Side, effect: str) -> int:
    """Return a number that is always the same for an effect: what is sampled must not change from run to run."""
    return zlib.crc32(f"{side} {effect}".encode())
