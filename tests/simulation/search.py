"""Finds faults' effects: enumerates the faults of a run, runs it again with each of them, and says what broke."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.simulation.actor import Actor
from tests.simulation.faults import Fault, all_faults
from tests.simulation.invariants import check_end
from tests.simulation.killing import Apply
from tests.simulation.owner import check_told, fingerprint, help_out, is_settled, is_waiting
from tests.simulation.patching import watched
from tests.simulation.runner import Simulation
from tests.simulation.setup import SETUPS, Setup
from tests.simulation.world import Violation

FAULTS: list[Fault] = all_faults()
QUIET_RUNS = 6  # after the last fault, until all has to be settled or somebody told
MOST_RUNS = 60
MOST_HELPS = 3

Point = tuple[int, int]  # before which step, which fault
Points = tuple[Point, ...]


@dataclass
class Found:
    """What a simulated run showed."""

    points: list[Point] = field(default_factory=list)  # where which further fault could come
    pairs: list[tuple[str, int]] = field(default_factory=list)  # (effect, fault) of each point
    violation: Violation | None = None
    steps: int = 0
    trace: list[tuple[int, str, str]] = field(default_factory=list)
    is_known: bool = False  # it came to a state that is known to end well


class Recorder:
    """Notes which faults could come before each step of the first runs."""

    def __init__(self, found: Found, after: int, last_run: int) -> None:
        self.found = found
        self.after = after
        self.last_run = last_run

    def __call__(self, sim: Simulation, actor: Actor) -> None:
        step = sim.world.step
        if step <= self.after or sim.world.run > self.last_run:
            return
        kind = type(actor.effect)
        name = kind.__name__
        for number, fault in enumerate(FAULTS):
            if fault.applies(sim, actor, kind):
                self.found.points.append((step, number))
                self.found.pairs.append((name, number))


def simulate(
    setup: Setup,
    points: Points = (),
    *,
    records: bool = False,
    traces: bool = False,
    known: set[Any] | None = None,
    schedule: random.Random | None = None,
    checked_steps: int = 0,
) -> Found:
    """Run a farm with these faults until all is settled, and look at what is left.

    `checked_steps`: so many steps another run has had in common with this one, and was looked at after each.
    """
    found = Found()
    plan: dict[int, list[Any]] = {}
    for step, number in points:
        plan.setdefault(step, []).append(_where_it_applies(FAULTS[number]) if schedule else FAULTS[number].apply)
    sim = Simulation(setup, plan, schedule)
    sim.checked_steps = checked_steps
    last = max(plan, default=-1)
    if records:
        sim.watch = Recorder(found, last, 1 if not points else 2)
    if traces:
        sim.trace = found.trace
    try:
        found.is_known = _settle(sim, last, known)
        if not found.is_known:
            check_end(sim.world)
    except Violation as violation:
        found.violation = violation
    found.steps = sim.world.step
    return found


def _where_it_applies(fault: Fault) -> Apply:
    """Return a fault that does nothing where it does not apply: in another order of steps another effect may come."""

    def apply(sim: Simulation, actor: Actor) -> Exception | None:
        return fault.apply(sim, actor) if fault.applies(sim, actor, type(actor.effect)) else None

    return apply


def _settle(sim: Simulation, last: int, known: set[Any] | None) -> bool:
    """Run until nothing is left to do, with the owner's help if somebody was told; True if the end is known."""
    world = sim.world
    states = []
    for helps in range(MOST_HELPS + 1):
        quiet = 0
        while quiet < QUIET_RUNS:
            sim.run()
            if world.run > MOST_RUNS:
                raise Violation(3, "it does not come to an end")
            is_over = (world.step > last or not sim.worked) and not world.events
            if not is_over:
                continue
            quiet += 1
            if known is not None and not helps:
                state = fingerprint(sim)
                if state in known:
                    known.update(states)
                    return True
                states.append(state)
            if is_settled(sim):
                break
        check_told(sim)
        if helps == MOST_HELPS or (is_settled(sim) and not is_waiting(sim)):
            break
        help_out(sim)
    if known is not None:
        known.update(states)
    return False


# ---- Searching ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Failure:
    """What broke, and the coordinates that show it again."""

    place: int  # of the farm in SETUPS
    points: Points
    detail: str
    steps: int
    order: int | None = None  # the seed of the order of steps, if it was not the usual one


@dataclass
class Tally:
    """What a search has seen."""

    runs: int = 0
    pairs: set[tuple[str, int]] = field(default_factory=set)  # (effect, fault) that was tried
    possible: set[tuple[str, int]] = field(default_factory=set)
    entered: set[tuple[str, int]] = field(default_factory=set)  # handlers of exceptions in the journeys
    failures: list[Failure] = field(default_factory=list)

    def add(self, other: Tally) -> None:
        """Add what another search has seen."""
        self.runs += other.runs
        self.pairs |= other.pairs
        self.possible |= other.possible
        self.entered |= other.entered
        self.failures += other.failures

    def run(self, place: int, points: Points, known: set[Any] | None = None) -> None:
        """Run one farm with these faults; what happens before the last of them was seen in another run."""
        self.runs += 1
        found = simulate(SETUPS[place], points, known=known, checked_steps=points[-1][0])
        self.judge(place, points, found)

    def judge(self, place: int, points: Points, found: Found) -> Found:
        """Note what such a run broke."""
        if found.violation is not None:
            self.failures.append(Failure(place, points, str(found.violation), found.steps))
        return found


def search_singles(place: int) -> Tally:
    """Try every single fault of a farm."""
    tally = Tally()
    known: set[Any] = set()
    with watched(tally.entered):
        base = tally.judge(place, (), simulate(SETUPS[place], records=True))
        tally.possible.update(base.pairs)
        tally.pairs.update(base.pairs)
        for point in base.points:
            tally.run(place, (point,), known)
    return tally


def search_after_a_fault(place: int) -> Tally:
    """Try each fault at each kind of effect that only follows upon another fault."""
    tally = Tally()
    known: set[Any] = set()
    with watched(tally.entered):
        base = simulate(SETUPS[place], records=True)
        seen = set(base.pairs)
        first: dict[tuple[str, int], Point] = {}
        for point, pair in zip(base.points, base.pairs, strict=True):
            first.setdefault(pair, point)
        for point in first.values():
            found = tally.judge(place, (point,), simulate(SETUPS[place], (point,), records=True))
            tally.possible.update(found.pairs)
            for second, pair in zip(found.points, found.pairs, strict=True):
                if pair not in seen:
                    seen.add(pair)
                    tally.pairs.add(pair)
                    tally.run(place, (point, second), known)
    return tally


def search_at_random(seed: int, seconds: float, faults: int = 2, places: Sequence[int] = ()) -> Tally:
    """Try random sets of so many faults for so long; the same seed tries the same, as far as the time allows."""
    chooser = random.Random(seed)
    tally = Tally()
    known: dict[int, set[Any]] = {}
    bases: dict[int, list[Point]] = {}
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        place = chooser.choice(places or range(len(SETUPS)))
        if place not in bases:
            bases[place] = simulate(SETUPS[place], records=True).points
        points: Points = (chooser.choice(bases[place]),)
        while len(points) < faults - 1:
            further = tally.judge(place, points, simulate(SETUPS[place], points, records=True)).points
            if not further:
                break
            points = (*points, chooser.choice(further))
        last = tally.judge(place, points, simulate(SETUPS[place], points, records=True)).points
        for point in chooser.sample(last, min(40, len(last))):
            tally.run(place, (*points, point), known.setdefault(place, set()))
    return tally


def search_schedules(seed: int, count: int, places: Sequence[int]) -> Tally:
    """Run farms in random orders of their processes' steps, every second time with one fault."""
    chooser = random.Random(seed)
    tally = Tally()
    bases = {place: simulate(SETUPS[place], records=True).points for place in places}
    for number in range(count):
        place = chooser.choice(places)
        points: Points = (chooser.choice(bases[place]),) if number % 2 else ()
        order = chooser.getrandbits(32)
        found = simulate(SETUPS[place], points, schedule=random.Random(order))
        tally.runs += 1
        if found.violation is not None:
            tally.failures.append(Failure(place, points, str(found.violation), found.steps, order))
    return tally


def search_pairs(place: int, part: int, parts: int, is_plain: Callable[[Fault], bool]) -> Tally:
    """Try all pairs of plain faults of a farm; of the first faults, each `parts`-th from `part` on."""
    tally = Tally()
    known: set[Any] = set()
    base = simulate(SETUPS[place], records=True).points
    plain = [point for point in base if is_plain(FAULTS[point[1]])]
    for point in plain[part::parts]:
        found = tally.judge(place, (point,), simulate(SETUPS[place], (point,), records=True))
        for second in found.points:
            if is_plain(FAULTS[second[1]]):
                tally.run(place, (point, second), known)
    return tally


# ---- Showing --------------------------------------------------------------------------------------------------


def coordinates(failure: Failure) -> str:
    """Return what PLOT_SIMULATION_REPLAY takes: the farm, before which step which fault comes, the order of steps."""
    order = "" if failure.order is None else f"@{failure.order}"
    return f"{failure.place}:" + "+".join([f"{step}.{number}" for step, number in failure.points]) + order


def show(text: str) -> str:
    """Return the trace of a run with the faults of these coordinates."""
    text, _, order = text.partition("@")
    place, _, rest = text.partition(":")
    points = tuple([(int(step), int(number)) for step, number in (each.split(".") for each in rest.split("+") if each)])
    schedule = random.Random(int(order)) if order else None
    found = simulate(SETUPS[int(place)], points, traces=True, schedule=schedule)
    lines = [str(SETUPS[int(place)])]
    for step, name, effect in found.trace:
        lines += [f"      !!  {FAULTS[number].name}" for at, number in points if at == step]
        lines.append(f"{step:4}  {name:10} {effect[:150]}")
    lines.append(str(found.violation or "nothing is violated"))
    return "\n".join(lines)


def shortest(failures: list[Failure]) -> str:
    """Return the trace of the failure that is told with the fewest steps, and how to see it again."""
    worst = min(failures, key=lambda failure: (len(failure.points), failure.steps))
    kinds = sorted({failure.detail[:70] for failure in failures})
    head = f"{len(failures)} runs broke something: {kinds[:5]}"
    return f"{head}\nPLOT_SIMULATION_REPLAY='{coordinates(worst)}'\n{show(coordinates(worst))}"
