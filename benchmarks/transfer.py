#!/usr/bin/env python3
"""How fast a plot's whole journey is, and what it costs, against the bare netcat pipe and other ways to send files.

Everything runs on this machine: the same files, the same run, one contender after the other in every round, so that
whatever else disturbs the machine disturbs them all.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from plotfarm.base.venv import hand_over

hand_over()

import argparse  # noqa: E402
import contextlib  # noqa: E402
import os  # noqa: E402
import random  # noqa: E402
from collections.abc import Iterator, Sequence  # noqa: E402

from benchmarks.compare import broken_against_before, broken_promises, compare  # noqa: E402
from benchmarks.contenders import Bench, known, why_left_out  # noqa: E402
from benchmarks.journeys import AS_SHIPPED, OURS  # noqa: E402
from benchmarks.loop_drives import file_system_of, loop_drives  # noqa: E402
from benchmarks.memory import measure_memory  # noqa: E402
from benchmarks.results import (  # noqa: E402
    AGAINST_BEFORE,
    REFERENCE,
    VERIFYING,
    Measured,
    Record,
    Run,
    Setting,
    UnreadableRecord,
    pairs_table,
    table,
)
from benchmarks.surroundings import (  # noqa: E402
    Link,
    all_cores_busy,
    linked_by,
    processor,
    rsync_daemon,
    workplace,
)
from benchmarks.transfer_options import parse_arguments, why_impossible  # noqa: E402
from plotfarm.drives.model import MARKER  # noqa: E402
from testbed.farm import Farm  # noqa: E402
from testbed.mounts import private_mounts  # noqa: E402
from testbed.plots import CHECKOUT  # noqa: E402


def run_rounds(
    bench: Bench, keys: Sequence[str], rounds: int, order: random.Random, burners: Sequence[int]
) -> tuple[dict[str, list[Run]], dict[str, list[Run]]]:
    """Run every contender once a round, in random order; a first round that does not count warms all of them up.

    Returns the runs of each contender, and those of its fixed cost.
    """
    contenders = bench.contenders()
    runs: dict[str, list[Run]] = {key: [] for key in keys}
    fixed: dict[str, list[Run]] = {key: [] for key in keys}
    for number in range(rounds + 1):
        for key in order.sample(keys, len(keys)):
            run = bench.measure(contenders[key], burners)
            if number:
                runs[key].append(run)
                if key in OURS:
                    fixed[key].append(bench.fixed_cost(OURS[key]))
            print(f"round {number or 'warm-up'}: {key}: {run.journey:.2f} s, {run.cpu:.2f} s of CPU", file=sys.stderr)
    return runs, fixed


def main() -> int:
    """Read the command line, measure, print."""
    arguments = parse_arguments()
    try:
        then = Record.from_json(arguments.compare.read_text()) if arguments.compare else None
    except (OSError, UnreadableRecord) as error:
        print(f"{arguments.compare}: {error}", file=sys.stderr)
        return 1
    if reason := why_impossible(arguments):
        print(reason, file=sys.stderr)
        return 1
    if arguments.memory:
        return measure_memory(arguments.directory, arguments.size, [key for key in OURS if key in arguments.only])
    record = _measure_all(arguments)
    if arguments.json:
        arguments.json.write_text(record.to_json())
    return _judge(record, then, arguments)


def _measure_all(arguments: argparse.Namespace) -> Record:
    """Measure and print one setting after the other."""
    keys = [REFERENCE]
    for key in known()[1:]:
        if key in arguments.only:
            reason = why_left_out(key)
            if reason:
                print(reason)
            else:
                keys.append(key)
    order = random.Random(arguments.seed)
    head = _head(arguments)
    print(head)
    measured: list[Measured] = []
    for streams in arguments.streams:
        with _bench(arguments, streams, keys) as bench:
            for busy in (False, True) if arguments.busy else (False,):
                setting = Setting(streams, arguments.network, busy)
                with contextlib.ExitStack() as opened:
                    burners = opened.enter_context(all_cores_busy()) if busy else []
                    load = os.getloadavg()[0]
                    runs, fixed = run_rounds(bench, keys, arguments.rounds, order, burners)
                here = [Measured(key, setting, tuple(runs[key]), tuple(fixed[key])) for key in keys]
                measured += here
                print(f"\n**{setting}** (load {load:.2f} before, {os.getloadavg()[0]:.2f} after)\n")
                print(table(here, arguments.size), flush=True)
                for pairs in (AGAINST_BEFORE, VERIFYING):
                    if text := pairs_table(here, pairs, arguments.size):
                        print(f"\n{text}", flush=True)
    return Record(head, arguments.size, tuple(measured))


def _head(arguments: argparse.Namespace) -> str:
    where = f"in {arguments.directory}"
    if arguments.drives:
        below = f"{file_system_of(arguments.images)} in {arguments.images}"
        where = f"from {arguments.directory} to {arguments.drives} on loop devices with direct I/O over {below}"
    return f"{processor()}; {arguments.gib:g} GiB in all, {arguments.rounds} rounds, {where}, seed {arguments.seed}"


@contextlib.contextmanager
def _bench(arguments: argparse.Namespace, streams: int, keys: Sequence[str]) -> Iterator[Bench]:
    """Make a farm with a drive for each stream, its sshd and its rsync daemon, and one of the other checkout."""
    with contextlib.ExitStack() as opened:
        if arguments.drives:
            opened.enter_context(private_mounts())
        directory = opened.enter_context(workplace(arguments.directory))
        link = opened.enter_context(linked_by(arguments.network))
        with link.on_nas():
            farm = _farm(directory / "farm", streams, link, CHECKOUT)
            before = None
            if arguments.against:
                before = _farm(directory / "before", streams, link, arguments.against.resolve())
            if arguments.drives:
                images = opened.enter_context(workplace(arguments.images))
                opened.enter_context(loop_drives(arguments.drives, images, farm.drives, arguments.size // streams))
                for drive in farm.drives:
                    (drive / MARKER).touch()
            opened.enter_context(farm)
            if before is not None:
                opened.enter_context(before)
        port = None
        if "rsync-daemon" in keys:
            port = opened.enter_context(rsync_daemon(directory, farm.drives, link))
        yield Bench(farm, link, arguments.size, rsync_port=port, before=before)


def _farm(root: Path, drives: int, link: Link, checkout: Path) -> Farm:
    return Farm(
        root,
        drives,
        settings=AS_SHIPPED,
        plotter_settings={"plotter.keep_source": "True"},
        restricted=False,
        address=link.nas,
        checkout=checkout,
    )


def _judge(record: Record, then: Record | None, arguments: argparse.Namespace) -> int:
    status = 0
    if then is not None:
        comparison = compare(then, record)
        print(f"\nCompared with: {then.head}\n{comparison}")
        status = 1 if comparison.those("worse") else 0
    if arguments.check:
        broken = broken_against_before(record, on_drives=bool(arguments.drives))
        if not arguments.drives:
            broken += broken_promises(record)
        print("\n" + ("\n".join(["Not as promised:", *(f"  {line}" for line in broken)]) if broken else "As promised."))
        status = 1 if broken else status
    return status


if __name__ == "__main__":
    sys.exit(main())
