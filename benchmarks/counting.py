#!/usr/bin/env python3
"""What it costs to count a million plots: the first time, and when little has changed."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from plotfarm.base.venv import hand_over

hand_over()

import argparse  # noqa: E402
import json  # noqa: E402
import os  # noqa: E402
import subprocess  # noqa: E402
import time  # noqa: E402
from dataclasses import dataclass  # noqa: E402

from benchmarks.startup import command  # noqa: E402
from benchmarks.surroundings import processor, workplace  # noqa: E402
from plotfarm.base.database import Database  # noqa: E402
from testbed.farm import Farm  # noqa: E402
from testbed.plots import v1_name  # noqa: E402

_ABOUT = """\
Times drive_manager.py as a whole process with a million plots on 500 drives and on 17, and takes the memory of its
largest process. The drives are directories that are declared to be drives; the plots on one of them are names of one
file, whose header is read for each.

  -pr, first    nothing is known of any plot
  -pr           nothing has changed
  -pr, changed  a plot came to one drive in fifty
  normal, due   normal mode, when health and plots are looked at
  normal        normal mode

With --check the exit status is 1 if -pr takes 2 s or 100 MiB or more when little changed, or a count is wrong."""

_GOAL_SECONDS = 2.0
_GOAL_MIB = 100.0
_SETTLE_SECONDS = 6.0  # a directory that changed later is gone through again
_LONG_AGO_SECONDS = 30 * 86400
_HEADER = b"Proof of Space Plot" + bytes(32) + b"\x20\0\x04v1.0" + (112).to_bytes(2, "big") + bytes(112 + 80)


@dataclass(frozen=True)
class Run:
    """One run: how long it took, how much memory its largest process had, and how many plots it counted."""

    seconds: float
    cpu_seconds: float
    mib: float
    plots: int | None


class Nas:
    """A NAS with so many plots on so many drives."""

    def __init__(self, root: Path, drives: int, plots: int) -> None:
        settings = {"system_logging.log_level": "INFO", "watch.system_disk_free": "1 MiB", "drives.probe_seconds": ""}
        self.farm = Farm(root / "farm", drives=drives, settings=settings)
        self.farm.remember_small_plots()
        self._plots = 0
        for number in range(plots):
            self.add(number % drives)

    def add(self, drive: int) -> None:
        """Put one more plot on a drive."""
        place = self.farm.drives[drive]
        content = place / "content"
        if not content.exists():
            content.write_bytes(_HEADER)
            long_ago = time.time() - _LONG_AGO_SECONDS
            os.utime(content, (long_ago, long_ago))
        os.link(content, place / v1_name(str(self._plots), k=32))
        self._plots += 1

    def run(self, *arguments: str) -> Run:
        """Run drive_manager.py once."""
        process = subprocess.Popen(
            [*command("drive_manager", self.farm.nas), *arguments],
            env=self.farm.cron_environment(), cwd=self.farm.home, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        begun = time.perf_counter()
        assert process.stdout is not None
        said = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.perf_counter() - begun
        plots = json.loads(said)["data"]["plots"] if "--json" in arguments else None
        return Run(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, plots)

    def change(self) -> None:
        """Let a plot come to one drive in fifty."""
        for drive in range(0, len(self.farm.drives), 50):
            self.add(drive)
        time.sleep(_SETTLE_SECONDS)

    def let_health_be_due(self) -> None:
        """Let the last look at health and plots be long ago."""
        database = Database(self.farm.nas.state)
        database.write("UPDATE health_round SET time = time - 36000")
        database.close()

    @property
    def plots(self) -> int:
        """How many there are."""
        return self._plots


def measure(nas: Nas) -> dict[str, tuple[Run, int]]:
    """Return each kind of run with how many plots there were then."""
    found = {}
    time.sleep(_SETTLE_SECONDS)
    found["-pr, first"] = nas.run("-pr", "--json"), nas.plots
    found["-pr"] = nas.run("-pr", "--json"), nas.plots
    nas.change()
    found["-pr, changed"] = nas.run("-pr", "--json"), nas.plots
    nas.let_health_be_due()
    found["normal, due"] = nas.run(), nas.plots
    found["normal"] = nas.run(), nas.plots
    return found


def objections(name: str, run: Run, plots: int) -> list[str]:
    """Say what is not as it should be."""
    found = []
    if run.plots not in (None, plots):
        found.append(f"{name} counted {run.plots} plots, and there are {plots}")
    if name in ("-pr", "-pr, changed"):
        if run.seconds >= _GOAL_SECONDS:
            found.append(f"{name} takes {_GOAL_SECONDS:g} s or more")
        if run.mib >= _GOAL_MIB:
            found.append(f"{name} takes {_GOAL_MIB:g} MiB or more")
    return found


def main() -> int:
    """Read the command line, measure, print."""
    parser = argparse.ArgumentParser(description=_ABOUT, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--drives", default="500,17", metavar="LIST", help="how many drives (500,17)")
    parser.add_argument("--plots", type=int, default=1_000_000, help="plots on them in all (1000000)")
    parser.add_argument("--directory", type=Path, help="where the farm is made")
    parser.add_argument("--check", action="store_true", help="fail if it is not as it should be")
    arguments = parser.parse_args()
    print(f"{processor()}, load {os.getloadavg()[0]:.2f}\n")
    print("| plots | drives | run | s | CPU s | MiB | counted |\n|---|---|---|---|---|---|---|")
    wrong: list[str] = []
    for drives in map(int, arguments.drives.split(",")):
        with workplace(arguments.directory) as directory:
            found = measure(Nas(directory, drives, arguments.plots))
        for name, (run, plots) in found.items():
            print(f"| {plots} | {drives} | {name} | {run.seconds:.2f} | {run.cpu_seconds:.2f} | {run.mib:.0f} "
                  f"| {'' if run.plots is None else run.plots} |", flush=True)  # fmt: skip
            wrong += [f"{drives} drives: {each}" for each in objections(name, run, plots)]
    print("".join(f"\n{line}" for line in wrong))
    return 1 if arguments.check and wrong else 0


if __name__ == "__main__":
    sys.exit(main())
