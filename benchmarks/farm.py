#!/usr/bin/env python3
"""How many TiB a day go onto drives as slow as real ones, and how long a harvester waits for them meanwhile."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from plotfarm.base.venv import hand_over

hand_over()

import argparse  # noqa: E402
import contextlib  # noqa: E402
import json  # noqa: E402
import os  # noqa: E402
import shutil  # noqa: E402
import time  # noqa: E402
from collections.abc import Iterator  # noqa: E402
from dataclasses import asdict, replace  # noqa: E402

import psutil  # noqa: E402

from benchmarks.farm_cases import GROUPS, Case, many_drives, slower_drives  # noqa: E402
from benchmarks.farm_tables import Run, lookup_table, speed_table  # noqa: E402
from benchmarks.harvester import harvester  # noqa: E402
from benchmarks.journeys import AS_SHIPPED  # noqa: E402
from benchmarks.surroundings import cpu_of_children, processor, workplace, write_random  # noqa: E402
from plotfarm.drives.model import MARKER  # noqa: E402
from testbed.farm import Farm  # noqa: E402
from testbed.mounts import private_mounts  # noqa: E402
from testbed.plots import v1_name  # noqa: E402
from testbed.slow_disk import QUEUE_REQUESTS, SEEK_SECONDS  # noqa: E402
from testbed.slow_drives import (  # noqa: E402
    SlowDrive,
    slow_drives,
    why_no_slow_drives,
    why_no_throttled_drives,
    written_mb_per_second,
)

_ABOUT = """\
Lets plot_manager.py send plots of random bytes over loopback, from memory to plot drives, both ends on this machine,
in one run with as many streams as there are drives. Needs root, FUSE and loop devices; makes all of it by itself and
leaves nothing behind.

The drives are XFS on loop devices, and under each is a process that plays the disk: one queue of 32 requests for
reads and writes alike, first come first served, so many MB/s, and 8 ms more for a read from another place than where
the one before ended. Writes need no seek. They are calibrated at the start of each run, and the tables are worth
nothing if that fails. What the disks cost the processors is not counted as CPU, but it is taken from the same ones.

With --disks throttled the kernel lets the loop devices take so many MB/s and no more: without seeks, without a queue
of their own, and without a process for each, which with eight of them takes half of two processors.

Meanwhile a harvester looks up a plot on one of all drives every 0.2 s, also where none arrives: eight reads of
16 KiB, one after the other, past the page cache, in a file of 300 MB.

  MB/s       10^6 bytes a second of the whole command, start-up included, the median of all rounds and their range
  TiB a day  the same
  of drives  the share of what those drives could take
  net        without the fixed cost of a run, which is measured with plots of 1 MiB before each
  CPU        seconds for each GB, user and system time of all processes of both ends
  busy       how busy all processors of this machine were, with the disks and the kernel's own threads
  lookups    the median and the 99th percentile over the lookups of all rounds, in milliseconds"""

_EXAMPLES = """\
examples:
  benchmarks/farm.py                                   3 rounds, a plot of 4 GB for each of 8 drives: 37 GB in /tmp
  benchmarks/farm.py --mb 200 --rounds 1 --cases one   a quick look
  benchmarks/farm.py --directory /mnt/nvme --drives 16 --json run.json"""

_LOOKED_UP = "looked-up"  # not a plot's name: the product has nothing to do with it
_LOOKED_UP_BYTES = 300_000_000
_SPARE_BYTES = 250_000_000  # what XFS takes for itself, and what drive_manager.py wants to be left
_CALIBRATION_BYTES = 10**9
_TINY_BYTES = 2**20
_SLOWER = 4  # drives of half the speed
_TOLERANCE = 0.05
_LONGEST_SECONDS = 3600.0
_PIPES = ("netcat", "direct")


class Bench:
    """A farm whose NAS has slow drives, and the plots that are sent to it."""

    def __init__(self, farm: Farm, drives: list[SlowDrive], original: Path, plots: Path) -> None:
        self._farm = farm
        self._drives = drives
        self._original = original
        self._plots = plots
        self._tiny = original.with_name("tiny")
        write_random(self._tiny, _TINY_BYTES)
        for drive in drives:
            (drive.place / MARKER).touch()
            drive.write(_LOOKED_UP, _LOOKED_UP_BYTES)

    def calibrate(self) -> tuple[float, float]:
        """Return the MB/s of one drive alone, and of all of them at once."""
        written_mb_per_second(self._drives, _CALIBRATION_BYTES // 4)  # the first writes after mounting are no measure
        alone, together = self._drives[:1], self._drives
        return written_mb_per_second(alone, _CALIBRATION_BYTES), written_mb_per_second(together, _CALIBRATION_BYTES)

    def idle(self, seconds: float) -> list[float]:
        """Return how long lookups take while nothing else happens."""
        with harvester([drive.place / _LOOKED_UP for drive in self._drives]) as lookups:
            time.sleep(seconds)
        return lookups

    def run(self, case: Case, plots: int) -> Run:
        """Send so many plots for each drive, see that all are there, and take them away again."""
        fixed = self._send(case, self._tiny, 1).seconds
        return replace(self._send(case, self._original, plots), fixed_seconds=fixed)

    def _send(self, case: Case, original: Path, plots: int) -> Run:
        drives = self._drives[: case.streams]
        names = [v1_name(f"{number}", k=32) for number in range(plots * len(drives))]
        for name in names:
            os.link(original, self._plots / name)
        self._configure(case, drives)
        cpu = self._cpu()
        machine = psutil.cpu_times()
        started = time.monotonic()
        # On all drives, whatever arrives where: a drive gets as many lookups with one stream as with many.
        looked_up = [drive.place / _LOOKED_UP for drive in self._drives]
        with harvester(looked_up) if case.has_lookups else contextlib.nullcontext(list[float]()) as lookups:
            done = self._farm.plot_manager(timeout=_LONGEST_SECONDS)
            seconds = time.monotonic() - started
        busy = _busy(machine, psutil.cpu_times())
        cpu = self._cpu() - cpu
        size = original.stat().st_size
        self._take_away(drives, names, size)
        if done.returncode:
            raise SystemExit(f"plot_manager.py failed: {done.stderr}\n{self._farm.nas.log_text()[-2000:]}")
        return Run(len(names) * size, seconds, cpu, busy, lookups)

    def _configure(self, case: Case, drives: list[SlowDrive]) -> None:
        nas: dict[str, object] = {"drives.directories": ", ".join(str(drive.place) for drive in drives)}
        plotter: dict[str, object] = {"plotter.plot_directories": self._plots}
        nas |= {"transfer.pipe": case.pipe, **case.nas}
        plotter |= {"transfer.pipe": case.pipe, "plotter.streams": case.streams, "nas.streams": case.streams}
        for side, settings in ((self._farm.nas, nas), (self._farm.plotter, plotter)):
            shutil.rmtree(side.state, ignore_errors=True)  # or it would know that the plots were sent
            side.change({**dict.fromkeys(case.all_limits(), ""), **settings})
        self._farm.set_nas_environment(case.environment)

    def _cpu(self) -> float:
        return cpu_of_children() - sum(drive.cpu_seconds() for drive in self._drives)

    def _take_away(self, drives: list[SlowDrive], names: list[str], size: int) -> None:
        found = 0
        for drive in drives:
            for name in names:
                with contextlib.suppress(FileNotFoundError):
                    found += (drive.place / name).stat().st_size == size
                    (drive.place / name).unlink()
        for name in names:
            (self._plots / name).unlink()
        if found != len(names):
            raise SystemExit(
                f"{found} of {len(names)} plots arrived: this proves nothing\n{self._farm.nas.log_text()[-2000:]}"
            )


def _busy(before: tuple[float, ...], after: tuple[float, ...]) -> float:
    # user, nice, system, idle, iowait, irq, softirq, steal; guest time is in user time already
    spent = [later - earlier for earlier, later in zip(before[:8], after[:8], strict=True)]
    return 1 - (spent[3] + spent[4]) / (sum(spent) or 1.0)


def _drive_bytes(arguments: argparse.Namespace) -> int:
    plots: int = max(_CALIBRATION_BYTES, arguments.plots * arguments.mb * 10**6)
    return plots + plots // 50 + _LOOKED_UP_BYTES + _SPARE_BYTES


@contextlib.contextmanager
def bench(arguments: argparse.Namespace, drives: int, mb_per_second: float) -> Iterator[Bench]:
    """Have a farm with so many slow drives for a while."""
    with (
        private_mounts(),
        workplace(arguments.directory) as directory,
        workplace(arguments.source) as source,
    ):
        original, plots = source / "original", source / "plots"
        plots.mkdir()
        write_random(original, arguments.mb * 10**6)
        farm = Farm(
            directory / "farm",
            drives=drives,
            settings={**AS_SHIPPED, "drives.policy": "spread"},
            # The plots are one file with many names: what happens to a source that goes would happen to all.
            plotter_settings={"plotter.keep_source": "True"},
        )
        disks = slow_drives(
            directory / "disks",
            farm.drives,
            _drive_bytes(arguments),
            mb_per_second,
            throttled=arguments.disks == "throttled",
        )
        with disks as slow, farm:
            yield Bench(farm, slow, original, plots)


def measure(arguments: argparse.Namespace, cases: list[Case], drives: int) -> tuple[str, list[float], list[list[Run]]]:
    """Run all cases once a round; returns the calibration, the idle lookups, and the runs of each case."""
    speed, idle, runs = cases[0].mb_per_second, list[float](), [list[Run]() for _ in cases]
    with bench(arguments, drives, speed) as farm:
        calibration = _calibration(farm.calibrate(), drives, speed)
        print(calibration, file=sys.stderr)
        for number in range(arguments.rounds):
            idle += farm.idle(arguments.idle_seconds)
            for case, results in zip(cases, runs, strict=True):
                results.append(farm.run(case, arguments.plots))
                print(f"round {number + 1}: {case.pipe}: {case.title}: {results[-1]}", file=sys.stderr)
    return calibration, idle, runs


def _calibration(measured: tuple[float, float], drives: int, speed: float) -> str:
    alone, together = measured
    fits = abs(alone / speed - 1) <= _TOLERANCE
    return (
        f"Calibration, writing and fsync past the page cache: one drive of {speed:g} MB/s takes {alone:.0f} MB/s "
        f"({'within' if fits else 'NOT WITHIN'} 5 %), {drives} at once {together:.0f} MB/s "
        f"({together / drives / speed:.0%} of {drives * speed:g})."
    )


def main() -> int:
    """Read the command line, measure, print."""
    arguments = _arguments()
    needed = max(arguments.drives, arguments.slower) * _drive_bytes(arguments)
    problem = why_no_throttled_drives() if arguments.disks == "throttled" else why_no_slow_drives()
    if problem is None and shutil.disk_usage(arguments.directory).free < needed * 1.05:
        problem = f"{arguments.directory} has no room for {needed / 1e9:.0f} GB"
    if problem is not None:
        print(problem, file=sys.stderr)
        return 1
    load, parts, record = os.getloadavg()[0], [], []
    for cases, drives in ((many_drives(arguments), arguments.drives), (slower_drives(arguments), arguments.slower)):
        if not cases:
            continue
        calibration, idle, runs = measure(arguments, cases, drives)
        parts.append(f"{calibration}\n\n{speed_table(cases, runs)}\n\n{lookup_table(cases, runs, idle)}")
        each = [{**asdict(case), "runs": [asdict(run) for run in done]} for case, done in zip(cases, runs, strict=True)]
        record.append({"calibration": calibration, "idle": idle, "cases": each})
    head = (
        f"{processor()}, load {load:.2f} before and {os.getloadavg()[0]:.2f} after; {arguments.plots} plots of "
        f"{arguments.mb} MB for each drive, {arguments.rounds} rounds, {_disks(arguments)} in {arguments.directory}"
    )
    print(head, *parts, sep="\n\n")
    if arguments.json:
        arguments.json.write_text(json.dumps({"head": head, "parts": record}, indent=1) + "\n")
    return 0


def _disks(arguments: argparse.Namespace) -> str:
    if arguments.disks == "throttled":
        return "throttled disks"
    return f"disks of {QUEUE_REQUESTS} requests and {SEEK_SECONDS * 1000:g} ms a seek"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=_ABOUT, epilog=_EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    number = parser.add_argument
    number("--drives", type=int, default=8, help="drives and streams (8)")
    number("--disks", choices=("played", "throttled"), default="played", help="what makes them slow (played)")
    number("--mb-per-second", type=float, default=200.0, help="that each drive takes (200)")
    number("--plots", type=int, default=1, help="plots for each drive (1)")
    number("--mb", type=int, default=4000, help="size of each plot in MB, 10^6 bytes (4000)")
    number("--rounds", type=int, default=3, help="rounds (3)")
    number("--slower", type=int, default=_SLOWER, help=f"drives of half the speed ({_SLOWER})")
    names = ",".join(GROUPS)
    number("--cases", type=lambda text: text.split(","), default=list(GROUPS), help=f"some of {names} (all)")
    number("--chunks", type=_numbers, default=[1, 2, 4, 8], help="MiB written at once that are compared (1,2,4,8)")
    number("--limit", type=float, default=100.0, help="max_mb_per_second of the case that has it (100)")
    number("--lookup-milliseconds", type=float, default=50.0, help="of the case that has it (50)")
    number("--idle-seconds", type=float, default=20.0, help="of lookups alone in each round (20)")
    number("--directory", type=Path, default=Path("/tmp"), help="where the disks are: it must be faster (/tmp)")
    number("--source", type=Path, default=Path("/dev/shm"), help="where the plots are; they are all one (/dev/shm)")
    number("--pipes", type=lambda text: text.split(","), default=list(_PIPES), help=f"some of {','.join(_PIPES)}")
    number("--json", type=Path, metavar="FILE", help="also store every single run there")
    arguments = parser.parse_args()
    if not set(arguments.cases) <= set(GROUPS):
        parser.error(f"--cases are of {names}")
    if not set(arguments.pipes) <= set(_PIPES) or not arguments.pipes:
        parser.error(f"--pipes are of {', '.join(_PIPES)}")
    if min(arguments.drives, arguments.mb_per_second, arguments.plots, arguments.mb, arguments.rounds) <= 0:
        parser.error("--drives, --mb-per-second, --plots, --mb and --rounds must be above zero")
    return arguments


def _numbers(text: str) -> list[int]:
    return [int(number) for number in text.split(",")]


if __name__ == "__main__":
    sys.exit(main())
