#!/usr/bin/env python3
"""What the reports and the normal mode of drive_manager.py cost with many drives, and whom they ask."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from plotfarm.base.venv import hand_over

hand_over()

import argparse  # noqa: E402
import os  # noqa: E402
import statistics  # noqa: E402
from collections.abc import Callable  # noqa: E402
from dataclasses import dataclass  # noqa: E402

from benchmarks.startup import command, milliseconds  # noqa: E402
from benchmarks.surroundings import processor, workplace  # noqa: E402
from plotfarm.base.database import Database  # noqa: E402
from plotfarm.drives.model import MARKER  # noqa: E402
from testbed.fake_smartctl import FakeSmartctl  # noqa: E402
from testbed.farm import Farm  # noqa: E402
from testbed.plots import v1_name  # noqa: E402
from testbed.smart_samples import sata  # noqa: E402

_ABOUT = """\
Times drive_manager.py as a whole process, the hand-over to .venv included, with 10, 100 and 500 drives, and counts how
often smartctl is called for how many disks. The drives are directories that are declared to be drives, with 100 plots
on each; smartctl is a script that takes 0.3 seconds for each call, as a real one may.

  -pr          the plot report: reads the health of the current plot drive only
  -ct          temperature and health of all drives
  normal       normal mode: nothing changes, and no reading is due
  reading due  normal mode once in half an hour
  other drive  normal mode when the plot drive changes, and a mail about it is made

With --check the exit status is 1 if a disk is asked twice in one run, a run asks whom it need not, or -ct of 100
drives takes 4 seconds."""

_EXAMPLES = """\
examples:
  benchmarks/reports.py
  benchmarks/reports.py --drives 44 --runs 9 --delay 1"""

_PLOTS = 100
_GOAL_MILLISECONDS = 4000.0  # of -ct with 100 drives


@dataclass(frozen=True)
class Run:
    """One run: milliseconds, calls of smartctl, and how many disks they were about."""

    milliseconds: float
    calls: int
    disks: int


class Nas:
    """A NAS with so many drives, each with a disk of its own."""

    def __init__(self, root: Path, drives: int, delay_seconds: float) -> None:
        told = {"notifications.alerting": True, "notifications.email": True, "notifications.new_plot_drive": True,
                "email.host": "127.0.0.1", "email.port": 1, "email.recipients": "farmer@example.org"}  # fmt: skip
        settings = {"system_logging.log_level": "INFO", "watch.system_disk_free": "1 MiB", "drives.probe_seconds": "",
                    **told}  # fmt: skip
        self.farm = Farm(root / "farm", drives=drives, settings=settings)
        self.smartctl = FakeSmartctl(root / "smart", delay_seconds)
        self.smartctl.otherwise(sata())
        for number, drive in enumerate(self.farm.drives):
            (drive / MARKER).write_text(f"/dev/fake{number}\n")
            for plot in range(_PLOTS):
                (drive / v1_name(f"{number} {plot}", k=32)).touch()
        self.farm.remember_small_plots()
        self.farm.nas.change({"smart.smartctl": self.smartctl.program})

    def run(self, *arguments: str) -> Run:
        """Run drive_manager.py once."""
        before = len(self.smartctl.calls())
        took = milliseconds(self.farm, [*command("drive_manager", self.farm.nas), *arguments])
        calls = self.smartctl.calls()[before:]
        return Run(took, len(calls), len({call.split()[-1] for call in calls}))

    def normal(self) -> Run:
        """Run normal mode when nothing changes."""
        return self.run()

    def reading_due(self) -> Run:
        """Run normal mode half an hour after the last reading."""
        database = Database(self.farm.nas.state)
        database.write("UPDATE health_round SET time = time - 3600")
        database.close()
        return self.run()

    def other_drive(self) -> Run:
        """Run normal mode after another drive was configured than the one that it chooses."""
        text = self.farm.nas.config.read_text()
        lines = [line for line in text.splitlines() if not line.startswith("current_plotting_drive")]
        self.farm.nas.config.write_text("\n".join(lines) + "\n")
        return self.run()


def measure(nas: Nas, runs: int) -> dict[str, list[Run]]:
    """Return the runs of each mode, after one of each that does not count."""
    modes: dict[str, Callable[[], Run]] = {
        "-pr": lambda: nas.run("-pr"), "-ct": lambda: nas.run("-ct"), "normal": nas.normal,
        "reading due": nas.reading_due, "other drive": nas.other_drive,
    }  # fmt: skip
    nas.run()
    found: dict[str, list[Run]] = {name: [] for name in modes}
    for number in range(runs + 1):
        for name, mode in modes.items():
            run = mode()
            if number:
                found[name].append(run)
    return found


def objections(name: str, runs: list[Run], drives: int) -> list[str]:
    """Say what is not as it should be."""
    expected = {"-pr": 1, "-ct": drives, "normal": 0, "reading due": drives, "other drive": 1}[name]
    found = []
    if any(run.calls > run.disks for run in runs):
        found.append(f"{name} with {drives} drives asks a disk twice in one run")
    if any(run.disks != expected for run in runs):
        found.append(f"{name} with {drives} drives asks {runs[0].disks} disks, not {expected}")
    if name == "-ct" and drives == 100 and statistics.median(run.milliseconds for run in runs) >= _GOAL_MILLISECONDS:
        found.append(f"-ct with 100 drives takes {_GOAL_MILLISECONDS:g} ms or more")
    return found


def main() -> int:
    """Read the command line, measure, print."""
    parser = argparse.ArgumentParser(
        description=_ABOUT, epilog=_EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--drives", default="10,100,500", metavar="LIST", help="how many drives (10,100,500)")
    parser.add_argument("--runs", type=int, default=3, help="runs that count (3)")
    parser.add_argument("--delay", type=float, default=0.3, help="seconds that each call of smartctl takes (0.3)")
    parser.add_argument("--check", action="store_true", help="fail if it is not as it should be")
    arguments = parser.parse_args()
    print(
        f"{processor()}, load {os.getloadavg()[0]:.2f}, {arguments.runs} runs, smartctl takes {arguments.delay:g} s\n"
    )
    print("| drives | mode | ms | min-max | calls of smartctl | disks |\n|---|---|---|---|---|---|")
    wrong: list[str] = []
    for drives in map(int, arguments.drives.split(",")):
        with workplace() as directory:
            found = measure(Nas(directory, drives, arguments.delay), arguments.runs)
        for name, runs in found.items():
            times = [run.milliseconds for run in runs]
            print(f"| {drives} | {name} | {statistics.median(times):.0f} | {min(times):.0f}-{max(times):.0f} "
                  f"| {runs[0].calls} | {runs[0].disks} |", flush=True)  # fmt: skip
            wrong += objections(name, runs, drives)
    print("".join(f"\n{line}" for line in wrong))
    return 1 if arguments.check and wrong else 0


if __name__ == "__main__":
    sys.exit(main())
