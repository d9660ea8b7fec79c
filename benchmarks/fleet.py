#!/usr/bin/env python3
"""What it costs to choose among many NAS with many drives, from one plotter or from many at once."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from plotfarm.base.venv import hand_over

hand_over()

import argparse  # noqa: E402
import contextlib  # noqa: E402
import itertools  # noqa: E402
import json  # noqa: E402
import os  # noqa: E402
import resource  # noqa: E402
import shutil  # noqa: E402
import socket  # noqa: E402
import subprocess  # noqa: E402
import time  # noqa: E402
from collections.abc import Iterator, Sequence  # noqa: E402
from dataclasses import asdict  # noqa: E402

import psutil  # noqa: E402

from benchmarks.fleet_tables import HEAD, Case, Found  # noqa: E402
from benchmarks.fleet_watch import DriveWatch, Moments, ProcessWatch  # noqa: E402
from benchmarks.surroundings import processor, workplace, write_random  # noqa: E402
from plotfarm.drives.model import MARKER  # noqa: E402
from testbed.farm import Farm  # noqa: E402
from testbed.fleet import Fleet  # noqa: E402
from testbed.plots import v1_name  # noqa: E402

_ABOUT = """\
Lets plotters send plots to NAS with many drives, all of them on this machine over loopback, through real ssh (sshd at
Debian's MaxStartups) and the scripts as cron starts them. The drives are marked directories, so the disk costs
nothing that grows with their number. Plots are small: what is measured is all but their bytes.

  first byte   seconds from the start of plot_manager.py to the first byte of its first plot on a drive, the slowest
  gap          the longest time between the first bytes of two plots of one plotter that could begin at once
  end          seconds from the last plot of a plotter having its name to the end of plot_manager.py, the slowest
  CPU          seconds for each plot, of all processes at the plotters, and at the NAS
  processes    the most at one moment, at each end; MB: their memory at one moment, what they share counted once
  fullest      how many plots the NAS got that got the most, and the mean over all that could be reached

`--refusing` NAS have no sshd, `--hanging` ones take the connection and say nothing. Each case runs twice: in the first
run the plotters have never heard of these NAS, in the next one they know what each has said, and who was silent."""

_EXAMPLES = """\
examples:
  benchmarks/fleet.py                                        all cases; an idle machine, an hour, 10 GB of memory
  benchmarks/fleet.py --nas 3 --drives 5 --plotters 1 2      a quick look
  benchmarks/fleet.py --nas 20 --plotters 1 --refusing 2 --hanging 1 --json run.json"""

_PORTS = "20000-20399"  # each NAS has an address of its own, so all have the same ones
_LONGEST_SECONDS = 900.0
_SETTINGS: dict[str, object] = {
    "system_logging.log_level": "INFO",
    "transfer.ports": _PORTS,
    "transfer.beat_seconds": 10,
    "transfer.silence_seconds": 45,
    "transfer.stall_seconds": 120,
    "drives.probe_seconds": 10,
}


class Bench:
    """A fleet that is there, and the plots that are sent to it."""

    def __init__(self, fleet: Fleet, case: Case, original: Path) -> None:
        self._fleet = fleet
        self._case = case
        self._original = original

    def run(self, number: int) -> Found:
        """Have every plotter send its plots once; returns what that took."""
        owners = self._put_plots(number)
        servers = self._servers()
        watch = DriveWatch(self._fleet.drives)
        before = (_ended_cpu(), _cpu_below(servers))
        started = time.monotonic()
        runs = [self._fleet.start(plotter) for plotter in range(self._case.plotters)]
        try:
            ends, processes = _follow(runs, servers)
        finally:
            watch.close()
        self._refuse_failures(runs)
        _let_sessions_end(servers)
        after = (_ended_cpu(), _cpu_below(servers))
        return Found(
            case=self._case,
            is_first=number == 0,
            first_byte_seconds=max(_first_bytes(watch.moments, owners, started)),
            gap_seconds=max(_gaps(watch.moments, owners), default=0.0),
            end_seconds=max(_last_bytes(watch.moments, owners, ends)),
            plotter_cpu_seconds=(after[0] - before[0]) / len(owners),
            nas_cpu_seconds=(after[1] - before[1]) / len(owners),
            plotters=processes.peaks["plotters"],
            nas=processes.peaks["nas"],
            by_nas=[_take_away(farm) for farm in self._fleet.farms],
        )

    def _put_plots(self, number: int) -> dict[str, int]:
        """Put the plots there; returns the name of each with the number of its plotter."""
        owners: dict[str, int] = {}
        for plotter, directory in enumerate(self._fleet.plots):
            for plot in range(self._case.plots):
                name = v1_name(f"{number} {plotter} {plot}", k=32)
                shutil.copyfile(self._original, directory / name)
                owners[name] = plotter
        return owners

    def _servers(self) -> list[int]:
        return [farm.sshd.daemon for farm in self._fleet.farms if farm.sshd.daemon is not None]

    def _refuse_failures(self, runs: Sequence[subprocess.Popen[str]]) -> None:
        if failed := [number for number, run in enumerate(runs) if run.returncode]:
            log = self._fleet.plotters[failed[0]].log_text()[-3000:]
            raise SystemExit(f"{len(failed)} of {len(runs)} plotters failed:\n{log}")


def _follow(runs: Sequence[subprocess.Popen[str]], servers: Sequence[int]) -> tuple[list[float], ProcessWatch]:
    """Wait until all have ended; returns when each did (time.monotonic), and what the processes took."""
    processes = ProcessWatch([run.pid for run in runs], servers)
    ends: dict[int, float] = {}
    deadline = time.monotonic() + _LONGEST_SECONDS
    while len(ends) < len(runs):
        if time.monotonic() > deadline:
            raise SystemExit(f"{len(runs) - len(ends)} plotters have not ended in {_LONGEST_SECONDS:g} seconds")
        for number, run in enumerate(runs):
            if number not in ends and run.poll() is not None:
                ends[number] = time.monotonic()
        processes.look_if_due()
        time.sleep(0.01)
    return [ends[number] for number in range(len(runs))], processes


def _first_bytes(moments: Moments, owners: dict[str, int], started: float) -> list[float]:
    """Return for each plotter how long it took until its first byte was on a drive."""
    return [min(begins) - started for begins in _begins(moments, owners)]


def _gaps(moments: Moments, owners: dict[str, int]) -> list[float]:
    """Return for each plotter the longest time from the first byte of one plot to that of the next one.

    No plotter has more plots than may be on their way at once.
    """
    gaps = []
    for begins in _begins(moments, owners):
        ordered = sorted(begins)
        gaps += [later - earlier for earlier, later in itertools.pairwise(ordered)]
    return gaps


def _begins(moments: Moments, owners: dict[str, int]) -> list[list[float]]:
    plotters = sorted(set(owners.values()))
    return [[moments.begun[name] for name, owner in owners.items() if owner == plotter] for plotter in plotters]


def _last_bytes(moments: Moments, owners: dict[str, int], ends: Sequence[float]) -> list[float]:
    """Return for each plotter how long it took from its last plot having its name to its end."""
    stored = dict.fromkeys(owners.values(), 0.0)
    for name, plotter in owners.items():
        stored[plotter] = max(stored[plotter], moments.stored[name])
    return [ends[plotter] - moment for plotter, moment in stored.items()]


def _ended_cpu() -> float:
    """Return the CPU seconds of all children that have ended, and of theirs."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return ended.ru_utime + ended.ru_stime


def _cpu_below(servers: Sequence[int]) -> float:
    return sum(sum(psutil.Process(server).cpu_times()[:4]) for server in servers)


def _let_sessions_end(servers: Sequence[int]) -> None:
    """Wait until every sshd has reaped its sessions: only then their time is counted."""
    deadline = time.monotonic() + 10
    while any(psutil.Process(server).children() for server in servers) and time.monotonic() < deadline:
        time.sleep(0.01)


def _take_away(farm: Farm) -> int:
    """Remove all that was stored on a NAS; returns how many plots that were."""
    found = 0
    for drive in farm.drives:
        for path in drive.iterdir():
            if path.name != MARKER:
                path.unlink()
                found += 1
    return found


@contextlib.contextmanager
def _silent(fleet: Fleet, case: Case) -> Iterator[None]:
    """Let the last NAS of a fleet refuse connections, and those before them take them and say nothing."""
    with contextlib.ExitStack() as opened:
        last = fleet.farms[len(fleet.farms) - case.refusing - case.hanging :]
        for number, farm in enumerate(last):
            farm.sshd.stop()
            if number < case.hanging:
                opened.enter_context(socket.create_server((farm.sshd.address, farm.sshd.port), backlog=100))
        yield


def measure(case: Case, root: Path, policy: str, size: int, options: Sequence[str]) -> list[Found]:
    """Make a fleet, and have its plotters send their plots twice."""
    settings = {**_SETTINGS, "nas.policy": policy, "plotter.streams": case.plots, "nas.streams": 4}
    original = root / "original"
    write_random(original, size)
    with Fleet(root / "fleet", case.plotters, case.nas, case.drives, settings) as fleet:
        for plotter in fleet.plotters if options else ():
            ssh = plotter.directory / "ssh_config"
            ssh.write_text("\n".join([*(option.replace("=", " ", 1) for option in options), ssh.read_text()]))
        with _silent(fleet, case):
            bench = Bench(fleet, case, original)
            return [bench.run(number) for number in range(2)]


def _cases(arguments: argparse.Namespace) -> Iterator[Case]:
    for nas in arguments.nas:
        for drives in arguments.drives:
            for plotters in arguments.plotters:
                yield Case(nas, drives, plotters, arguments.plots)
        silent = arguments.refusing + arguments.hanging
        if silent and silent < nas:
            few = (nas, min(arguments.drives), min(arguments.plotters), arguments.plots)
            yield Case(*few, refusing=arguments.refusing, hanging=arguments.hanging)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=_ABOUT, epilog=_EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--nas", type=int, nargs="+", default=[1, 5, 20])
    parser.add_argument("--drives", type=int, nargs="+", default=[50, 500], help="of each NAS")
    parser.add_argument("--plotters", type=int, nargs="+", default=[1, 10, 30])
    parser.add_argument("--plots", type=int, default=4, help="of each plotter, all of them at once")
    parser.add_argument("--mb", type=float, default=1.0, help="of each plot, in 10^6 bytes")
    parser.add_argument("--refusing", type=int, default=2, help="of the NAS, in a case of its own where there are more")
    parser.add_argument("--hanging", type=int, default=1, help="likewise")
    parser.add_argument("--policy", default="most_free", choices=("most_free", "in_order", "round_robin"))
    parser.add_argument("--ssh", action="append", default=[], metavar="OPTION", help="KexAlgorithms=curve25519-sha256")
    parser.add_argument("--directory", type=Path, help="where everything lies meanwhile")
    parser.add_argument("--json", type=Path, metavar="FILE", help="store what was found")
    return parser.parse_args()


def main() -> None:
    """Run all cases and print a row for each run."""
    arguments = _arguments()
    print(f"{processor()}; load {os.getloadavg()[0]:.1f}; {arguments.policy}; plots of {arguments.mb:g} MB\n\n{HEAD}")
    found: list[Found] = []
    for case in _cases(arguments):
        with workplace(arguments.directory) as root:
            for run in measure(case, root, arguments.policy, int(arguments.mb * 1e6), arguments.ssh):
                found.append(run)
                print(run.row(), flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(run) for run in found], indent=1) + "\n")


if __name__ == "__main__":
    main()
