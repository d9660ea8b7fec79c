#!/usr/bin/env python3
"""What one drive that never answers costs, among many that do. Needs root and FUSE."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from plotfarm.base.venv import hand_over

hand_over()

import argparse  # noqa: E402
import os  # noqa: E402
import statistics  # noqa: E402
import time  # noqa: E402
from collections.abc import Callable  # noqa: E402

from benchmarks.startup import command, milliseconds  # noqa: E402
from benchmarks.surroundings import processor, workplace  # noqa: E402
from plotfarm.base.config.loader import load  # noqa: E402
from plotfarm.base.state import State  # noqa: E402
from plotfarm.drives.sessions import Sessions  # noqa: E402
from plotfarm.jobs.drive_storage import DriveStorage  # noqa: E402
from plotfarm.transfer.messages import Offer  # noqa: E402
from testbed.farm import Farm  # noqa: E402
from testbed.mounts import private_mounts  # noqa: E402
from testbed.plots import v1_name  # noqa: E402
from testbed.silent_drive import silent, why_no_silent_drives  # noqa: E402

_ABOUT = """\
Times what a NAS does with many drives: with all of them in order, with one that never answers (the first time, when it
is waited for, and from then on), and with that one offlined.

  ask        how many plots fit, as a session is asked
  offer      where a plot goes, likewise
  normal     drive_manager.py as cron starts it
  -pr        the plot report
  --explain  why each drive is chosen or skipped

With --check the exit status is 1 if ask or offer takes 0.2 s, or normal mode 0.5 s, from the second time on."""

_SIZE = 5_000_000
_PLOTS = 50  # on each drive
_GOALS = {"ask": 200.0, "offer": 200.0, "normal": 500.0}  # ms


class Nas:
    """A NAS with so many drives, and a session with a plotter."""

    def __init__(self, root: Path, drives: int) -> None:
        settings = {"system_logging.log_level": "INFO", "watch.system_disk_free": "1 MiB", "drives.probe_seconds": ""}
        self.farm = Farm(root / "farm", drives=drives, settings=settings)
        self.farm.remember_small_plots()
        for number, drive in enumerate(self.farm.drives):
            for plot in range(_PLOTS):
                (drive / v1_name(f"{number} {plot}", k=32)).touch()
        self._config = load(self.farm.nas.config)
        self._state = State(self._config.paths.state)
        session = Sessions(self._config.paths.locks).begin("rig1", 1000)
        self._storage = DriveStorage(self._config, self._state, "rig1", session)
        self._offers = 0

    def close(self) -> None:
        """End the session."""
        self._state.close()

    def cases(self) -> dict[str, Callable[[], float]]:
        """Return what is timed, each as a function that returns milliseconds."""
        return {
            "ask": lambda: _timed(lambda: self._storage.capacity(_SIZE)),
            "offer": lambda: _timed(self._offer),
            "normal": lambda: self._script(),
            "-pr": lambda: self._script("-pr"),
            "--explain": lambda: self._script("--explain"),
        }

    def _offer(self) -> None:
        self._offers += 1
        offer = Offer(
            name=v1_name(f"offer {self._offers}"), size=_SIZE, format="v1", k=18, id="", is_dry_run=False,
            patience_seconds=0.0, streams=1, plot_directory="/plots", free_bytes=None, waiting_bytes=0, hours_left=None,
        )  # fmt: skip
        assignment = self._storage.place(offer, frozenset())
        if assignment.lock is None:
            raise SystemExit(f"no drive was reserved: {assignment.placement}")
        assignment.lock.release()

    def _script(self, *arguments: str) -> float:
        return milliseconds(self.farm, [*command("drive_manager", self.farm.nas), *arguments])

    def script(self, *arguments: str) -> None:
        """Run drive_manager.py."""
        self._script(*arguments)


def _timed(deed: Callable[[], object]) -> float:
    begun = time.perf_counter()
    deed()
    return (time.perf_counter() - begun) * 1000


def measure(nas: Nas, state: str, runs: int) -> list[str]:
    """Print a line for each case; returns what is not as it should be."""
    wrong = []
    for name, case in nas.cases().items():
        times = [case() for _ in range(runs)]
        median = statistics.median(times)
        print(f"| {state} | {name} | {median:.0f} | {min(times):.0f}-{max(times):.0f} |", flush=True)
        if median >= _GOALS.get(name, median + 1):
            wrong.append(f"{name}, {state}: {_GOALS[name]:g} ms or more")
    return wrong


def main() -> int:
    """Read the command line, measure, print."""
    parser = argparse.ArgumentParser(description=_ABOUT, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--drives", type=int, default=500, help="how many drives (500)")
    parser.add_argument("--runs", type=int, default=9, help="runs that count (9)")
    parser.add_argument("--check", action="store_true", help="fail if it is not as it should be")
    arguments = parser.parse_args()
    if reason := why_no_silent_drives():
        raise SystemExit(reason)
    print(f"{processor()}, load {os.getloadavg()[0]:.2f}, {arguments.drives} drives, {arguments.runs} runs\n")
    print("| drives | what | ms | min-max |\n|---|---|---|---|")
    with private_mounts(), workplace() as directory:
        nas = Nas(directory, arguments.drives)
        nas.script()
        wrong = measure(nas, "all answer", arguments.runs)
        last = nas.farm.drives[-1]
        with silent(last):
            print(f"| one is silent, first | normal | {nas.cases()['normal']():.0f} | |", flush=True)
            wrong += measure(nas, "one is silent", arguments.runs)
            nas.script("-off", last.name)
            wrong += measure(nas, "it is offlined", arguments.runs)
        nas.close()
    print("".join(f"\n{line}" for line in wrong))
    return 1 if arguments.check and wrong else 0


if __name__ == "__main__":
    sys.exit(main())
