"""Takes one rule after the other out of the journeys, and shows that the simulation is not blind to it.

    .venv/bin/python -m tests.mutations [--list] [NAME ...]

Each mutation is a textual replacement in a module that is loaded, undone afterwards; then the simulation runs without
faults, with the single faults that are named, and with pairs of them, and has to find a violation. Some rules are kept
by what carries effects out: these are taken out of the model's own (tests/simulation/disk.py and host.py), which shows
that the simulation would see a real driver without them.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from tests.simulation.carrier_rules import CARRIER_RULES
from tests.simulation.patching import patched
from tests.simulation.rules import RULES, Mutation
from tests.simulation.search import FAULTS, Failure, Point, coordinates, simulate
from tests.simulation.setup import SETUPS, Setup

MUTATIONS = RULES + CARRIER_RULES


def drop(drive: object, part: object) -> None:
    """Write back and look at no result: for a mutation."""
    with contextlib.suppress(OSError):
        drive.write_back(part)  # type: ignore[attr-defined]


def link_name(drive: object, part: object, effect: object) -> None:
    """Link what has the part's name: for a mutation."""
    names = [name for name in drive.names if name.endswith(".part") and name.count(".") > 2]  # type: ignore[attr-defined]
    drive.link(names[-1], effect.plot)  # type: ignore[attr-defined]


def unlock(worker: object) -> None:
    """Let the lock and the reservation go with the session: for a mutation."""
    if worker.part is not None:  # type: ignore[attr-defined]
        worker.part.inode.locked_by = None  # type: ignore[attr-defined]
    worker.is_writer = False  # type: ignore[attr-defined]
    worker.plot = ""  # type: ignore[attr-defined]


@contextlib.contextmanager
def without(mutation: Mutation) -> Iterator[None]:
    """Let the rule be gone for a while. ValueError if its text is not there, once."""
    sources: dict[str, str] = {}
    for change in mutation.changes:
        module = importlib.import_module(change.module)
        source = sources.get(change.module) or Path(str(module.__file__)).read_text()
        if source.count(change.old) != 1:
            raise ValueError(
                f"{mutation.name}: {change.module} has it {source.count(change.old)} times: {change.old!r}"
            )
        sources[change.module] = source.replace(change.old, change.new)
    with contextlib.ExitStack() as stack:
        for name, source in sources.items():
            module = importlib.import_module(name)
            module.__dict__.update({"_drop": drop, "_link_name": link_name, "_unlock": unlock})
            stack.enter_context(patched(module, source))
        yield


def catch(mutation: Mutation) -> Failure | None:
    """Return the shortest run that shows that the rule is gone; None if nothing shows it."""
    place = _place(mutation.setup)
    with without(mutation):
        failures = _tried(place, [()])
        if not failures and mutation.faults:
            points = _points(mutation, ())
            failures = _tried(place, [(point,) for point in points])
            if not failures:
                failures = _pairs(mutation, place, points)
    return min(failures, key=lambda failure: (len(failure.points), failure.steps), default=None)


def _place(setup: Setup) -> int:
    if setup not in SETUPS:
        SETUPS.append(setup)
    return SETUPS.index(setup)


def _points(mutation: Mutation, before: tuple[Point, ...]) -> list[Point]:
    found = simulate(mutation.setup, before, records=True)
    return [point for point in found.points if FAULTS[point[1]].name in mutation.faults]


def _pairs(mutation: Mutation, place: int, points: list[Point]) -> list[Failure]:
    for point in points:
        failures = _tried(place, [(point, second) for second in _points(mutation, (point,))])
        if failures:
            return failures
    return []


def _tried(place: int, runs: list[tuple[Point, ...]]) -> list[Failure]:
    failures = []
    for points in runs:
        found = simulate(SETUPS[place], points)
        if found.violation is not None:
            failures.append(Failure(place, points, str(found.violation), found.steps))
    return failures


def row(mutation: Mutation, failure: Failure | None) -> str:
    """Return one row of the table: the rule, what caught its absence, with which faults, in how many steps."""
    if failure is None:
        return f"{mutation.name:52} NOT CAUGHT"
    faults = " + ".join([f"{FAULTS[number].name} @{step}" for step, number in failure.points]) or "no fault"
    return f"{mutation.name:52} {failure.detail[:78]:78} {failure.steps:4} steps  {faults}  ({coordinates(failure)})"


def main(arguments: list[str]) -> int:
    """Print the table; exit status 1 if a mutation is not caught."""
    parser = argparse.ArgumentParser(description="Take rules out of the journeys, one by one, and see who notices.")
    parser.add_argument("--list", action="store_true", help="only show the rules' names")
    parser.add_argument("names", nargs="*", metavar="NAME", help="only these")
    chosen = parser.parse_args(arguments)
    mutations = [each for each in MUTATIONS if not chosen.names or each.name in chosen.names]
    missed = 0
    for mutation in mutations:
        if chosen.list:
            print(mutation.name)
            continue
        started = time.monotonic()
        failure = catch(mutation)
        missed += failure is None
        print(f"{row(mutation, failure)}  {time.monotonic() - started:.1f} s", flush=True)
    print(f"{len(mutations)} rules, {missed} of them not caught" if not chosen.list else "", end="\n")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
