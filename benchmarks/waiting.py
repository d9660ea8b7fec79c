#!/usr/bin/env python3
"""What a plot costs a NAS when many plotters wait for few drives."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from plotfarm.base.venv import hand_over

hand_over()

import argparse  # noqa: E402
import os  # noqa: E402
import re  # noqa: E402
import time  # noqa: E402
from collections.abc import Sequence  # noqa: E402
from dataclasses import dataclass  # noqa: E402

import psutil  # noqa: E402

from benchmarks.surroundings import processor, workplace  # noqa: E402
from testbed.fleet import Fleet  # noqa: E402
from testbed.plots import copy_as, make_v1  # noqa: E402

_ABOUT = """\
Sends small plots from 1, 10 and 30 plotters at once to one NAS with few drives, over real ssh on loopback, and tells
how much of the processors the NAS took for each plot: all that its sshd started, sessions and their helpers. How many
plots each plotter sends is the same, so that what a session costs to begin is shared by as many.

With --check the exit status is 1 if a plot from the most plotters costs more than twice that of one plotter."""

_GOAL = 2.0
_END_SECONDS = 10.0


@dataclass(frozen=True)
class Cost:
    """What one case took."""

    plots: int
    seconds: float
    nas_cpu_seconds: float
    looks: int  # of sessions at the drives, by their log

    @property
    def milliseconds_a_plot(self) -> float:
        """Of the NAS's processors."""
        return self.nas_cpu_seconds * 1000 / self.plots


def measure(root: Path, plotters: int, plots: int, drives: int) -> Cost:
    """Send `plots` from each of so many plotters; SystemExit if one does not arrive."""
    settings = {"drives.minimum_free": "1 MiB", "plotter.streams": 2, "plotter.settle_seconds": 0,
                "transfer.silence_seconds": 60, "transfer.stall_seconds": 60, "drives.probe_seconds": 30,
                "receiving.sessions_per_plotter": 100}  # fmt: skip
    whole = make_v1(root / "whole.plot")
    with Fleet(root / "fleet", plotters=plotters, nas=1, drives=drives, settings=settings) as fleet:
        for number, directory in enumerate(fleet.plots):
            for plot in range(plots):
                copy_as(whole, directory, f"{number} {plot}")
        begun = time.monotonic()
        runs = [fleet.start(number) for number in range(plotters)]
        for run in runs:
            run.wait()
        seconds = time.monotonic() - begun
        left = [path.name for directory in fleet.plots for path in directory.iterdir()]
        if left:
            raise SystemExit(f"{len(left)} plots did not arrive: {fleet.logs()[-3000:]}")
        used = _cpu_of_sessions()
        looks = len(re.findall(r"Asked \d+ of", fleet.farms[0].nas.log_text()))
    return Cost(plotters * plots, seconds, used, looks)


def _cpu_of_sessions() -> float:
    """Return what all that the private sshd started has used: it is reaped by its parents, up to sshd."""
    (server,) = [child for child in psutil.Process().children() if child.name() == "sshd"]
    deadline = time.monotonic() + _END_SECONDS
    while server.children() and time.monotonic() < deadline:
        time.sleep(0.05)
    times = server.cpu_times()
    return float(times.children_user + times.children_system)


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the command line, measure, print."""
    parser = argparse.ArgumentParser(description=_ABOUT, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--plotters", default="1,10,30", metavar="LIST", help="how many plotters (1,10,30)")
    parser.add_argument("--plots", type=int, default=10, help="plots of each (10)")
    parser.add_argument("--drives", type=int, default=4, help="drives of the NAS (4)")
    parser.add_argument("--check", action="store_true", help="fail if it is not as it should be")
    options = parser.parse_args(arguments)
    print(f"{processor()}, load {os.getloadavg()[0]:.2f}, {options.drives} drives, {options.plots} plots each\n")
    print("| plotters | s | CPU of the NAS, ms a plot | looks at drives, a plot |\n|---|---|---|---|")
    costs = []
    for plotters in map(int, options.plotters.split(",")):
        with workplace() as directory:
            costs.append(measure(directory, plotters, options.plots, options.drives))
        cost = costs[-1]
        print(f"| {plotters} | {cost.seconds:.1f} | {cost.milliseconds_a_plot:.0f} | {cost.looks / cost.plots:.1f} |",
              flush=True)  # fmt: skip
    return int(options.check and costs[-1].milliseconds_a_plot > _GOAL * costs[0].milliseconds_a_plot)


if __name__ == "__main__":
    sys.exit(main())
