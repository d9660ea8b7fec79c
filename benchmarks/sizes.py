#!/usr/bin/env python3
"""What each plot costs beside its bytes: many small ones, and a few of 1 GB against a single large one."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from plotfarm.base.venv import hand_over

hand_over()

import argparse  # noqa: E402
import os  # noqa: E402
import random  # noqa: E402
import shutil  # noqa: E402
from collections.abc import Iterator  # noqa: E402
from contextlib import contextmanager  # noqa: E402
from dataclasses import dataclass  # noqa: E402
from statistics import median  # noqa: E402

from benchmarks.journeys import AS_SHIPPED, OURS, journey  # noqa: E402
from benchmarks.surroundings import cpu_of_children, processor, workplace, write_random  # noqa: E402
from testbed.farm import Farm  # noqa: E402
from testbed.plots import v1_name  # noqa: E402

_ABOUT = """\
Sends plots of random bytes of several sizes over loopback, each case in one run of plot_manager.py to one NAS, and
prints a table:

  seconds   from the first offer to the last `stored` as the NAS records it, the median of all rounds and their range
  plots/s   and GB/s (10^9 bytes) in that time
  CPU       seconds for each plot, user and system time of all processes of both ends, start-up included

Below it, how fast plots of 1 GB are against a single one of as many bytes, in the same round, one stream each.
Both ends are in memory by default."""

_EXAMPLES = """\
examples:
  benchmarks/sizes.py                              3 rounds; needs 15 GB in /dev/shm
  benchmarks/sizes.py --gb 20 --directory /tmp     1,000 plots of 1 MB and 20 of 1 GB in one run, on a disk"""

_MB, _GB = 10**6, 10**9
_ONE_STREAM, _MANY_STREAMS = 1, 4


@dataclass(frozen=True)
class Case:
    """So many small plots, and large ones: how many of how many bytes."""

    title: str
    streams: int
    small: int
    large: int
    large_bytes: int = _GB

    @property
    def plots(self) -> int:
        """How many plots there are in all."""
        return self.small + self.large

    @property
    def size(self) -> int:
        """How many bytes they have together."""
        return self.small * _MB + self.large * self.large_bytes


@dataclass(frozen=True)
class Run:
    """Seconds from the first offer to the last `stored`, and CPU seconds of it all."""

    seconds: float
    cpu: float


def cases(small: int, gb: int) -> list[Case]:
    """Return what is measured; the last two are compared with each other."""
    return [
        *(Case(f"{small} of 1 MB", streams, small, 0) for streams in (_ONE_STREAM, _MANY_STREAMS)),
        Case(f"{small} of 1 MB and {gb} of 1 GB", _MANY_STREAMS, small, gb),
        Case(f"{gb} of 1 GB", _ONE_STREAM, 0, gb),
        Case(f"1 of {gb} GB", _ONE_STREAM, 0, 1, gb * _GB),
    ]


@contextmanager
def farm_in(directory: Path) -> Iterator[Farm]:
    """Have a farm for a while whose drives are directories."""
    with (
        workplace(directory) as root,
        Farm(root, drives=_MANY_STREAMS, settings=AS_SHIPPED) as farm,
    ):
        yield farm


def run(farm: Farm, case: Case, pipe: str) -> Run:
    """Send the plots of a case, see that all are there, and take them away again."""
    names = [v1_name(f"{number}", k=32) for number in range(case.plots)]
    for length, some in ((_MB, names[: case.small]), (case.large_bytes, names[case.small :])):
        for name in some:
            write_random(farm.plots / name, length)
    shutil.rmtree(farm.plotter.state, ignore_errors=True)  # or it would know that the plots were sent
    farm.plotter.change({"transfer.pipe": pipe, "plotter.streams": case.streams, "nas.streams": case.streams})
    farm.nas.change({"transfer.pipe": pipe})
    cpu = cpu_of_children()
    seconds = journey(farm, names)
    cpu = cpu_of_children() - cpu
    arrived = [path for drive in farm.drives for path in drive.glob("*.plot")]
    if len(arrived) != case.plots or sum(path.stat().st_size for path in arrived) != case.size:
        raise SystemExit(f"{len(arrived)} of {case.plots} plots arrived: this proves nothing")
    for path in arrived:
        path.unlink()
    return Run(seconds, cpu)


def table(runs: dict[tuple[str, Case], list[Run]]) -> str:
    """Return the table of all cases, and what the size of plots changes."""
    lines = ["| | pipe | streams | seconds | plots/s | GB/s | CPU |", "|---|---|---|---|---|---|---|"]
    for (pipe, case), done in runs.items():
        seconds = sorted(each.seconds for each in done)
        middle, cpu = median(seconds), median(each.cpu for each in done)
        lines.append(
            f"| {case.title} | {pipe} | {case.streams} | {middle:.1f} ({seconds[0]:.1f}-{seconds[-1]:.1f}) | "
            f"{case.plots / middle:.1f} | {case.size / _GB / middle:.2f} | {cpu / case.plots:.3f} |"
        )
    for pipe in dict.fromkeys(pipe for pipe, _ in runs):
        of_one_gb, single = [done for (other, _), done in runs.items() if other == pipe][-2:]
        shares = sorted(whole.seconds / parts.seconds for parts, whole in zip(of_one_gb, single, strict=True))
        lines.append(
            f"\n{pipe}: plots of 1 GB at {median(shares):.0%} of the speed of a single large one "
            f"({shares[0]:.0%}-{shares[-1]:.0%})"
        )
    return "\n".join(lines)


def main() -> int:
    """Read the command line, measure, print."""
    parser = argparse.ArgumentParser(
        description=_ABOUT, epilog=_EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--small", type=int, default=1000, help="plots of 1 MB (1000)")
    parser.add_argument("--gb", type=int, default=6, help="plots of 1 GB, and the size of the single one (6)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds (3)")
    parser.add_argument("--pipes", type=lambda text: text.split(","), default=["netcat", "direct"], help="(both)")
    parser.add_argument("--directory", type=Path, default=Path("/dev/shm"), help="where both ends are (/dev/shm)")
    arguments = parser.parse_args()
    if not set(arguments.pipes) <= OURS.keys() or min(arguments.small, arguments.gb - 1, arguments.rounds) < 1:
        parser.error("--pipes are of netcat,direct; --small and --rounds above zero, --gb above one")
    needed = 2.05 * arguments.gb * _GB + arguments.small * _MB
    if shutil.disk_usage(arguments.directory).free < needed:
        print(f"{arguments.directory} has no room for {needed / _GB:.0f} GB", file=sys.stderr)
        return 1
    every = [(pipe, case) for case in cases(arguments.small, arguments.gb) for pipe in arguments.pipes]
    runs: dict[tuple[str, Case], list[Run]] = {each: [] for each in every}
    load = os.getloadavg()[0]
    with farm_in(arguments.directory) as farm:
        for number in range(arguments.rounds):
            for pipe, case in random.sample(every, len(every)):
                runs[pipe, case].append(run(farm, case, pipe))
                print(f"round {number + 1}: {pipe}: {case.title}: {runs[pipe, case][-1]}", file=sys.stderr)
    print(
        f"{processor()}, load {load:.2f} before and {os.getloadavg()[0]:.2f} after; {arguments.rounds} rounds in "
        f"{arguments.directory}\n\n{table(runs)}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
