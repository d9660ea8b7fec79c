#!/usr/bin/env python3
"""What coin_monitor.py costs: its first run on a large log, and the runs after that, which read what is new."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from plotfarm.base.venv import hand_over

hand_over()

import argparse  # noqa: E402
import os  # noqa: E402
import statistics  # noqa: E402
import subprocess  # noqa: E402
import time  # noqa: E402

from benchmarks.surroundings import processor, workplace  # noqa: E402
from testbed import chia_logs  # noqa: E402

_ABOUT = """\
Writes a log as Chia 2.7 does, with a coin in every thousandth line, and times coin_monitor.py as cron starts it, the
hand-over to .venv included: the first run, and then runs for each of which ten lines were added; then runs for which
one of the ten is a coin, which is noted and told. The same with a log of a tenth of the size, since a run must not
depend on it. With --check the exit status is 1 if a run with ten lines takes more than 150 ms in the median."""

_EXAMPLES = """\
examples:
  benchmarks/coins.py
  benchmarks/coins.py --mb 500 --runs 50"""

_PYTHON = "/usr/bin/python3"  # what cron's PATH finds
_CHECKOUT = Path(__file__).resolve().parent.parent
_GOAL_MILLISECONDS = 150.0
_TIME = "2026-11-24T03:00:00.123"


class Farmer:
    """A farmer's host with a log of about `size` bytes."""

    def __init__(self, root: Path, size: int) -> None:
        self._root, self._coins = root, 0
        self._log = root / "log" / "debug.log"
        self._log.parent.mkdir(parents=True)
        (root / "config").write_text(
            f"[paths]\nlogs = {root}/logs\nstate = {root}/state\nlocks = {root}/locks\n[chia]\nhome = {root}\n"
            "[notifications]\nalerting = True\n"
        )
        line = chia_logs.noise(_TIME)
        thousand = line * 999
        while self._log.stat().st_size < size if self._log.exists() else True:
            self._write(thousand + self._coin())

    def _coin(self) -> str:
        self._coins += 1
        return chia_logs.state(_TIME, chia_logs.parent_of(chia_logs.STRANGER, self._coins), 10**12)

    def _write(self, text: str) -> None:
        with open(self._log, "a") as file:
            file.write(text)

    def ten_lines(self, with_coin: bool) -> None:
        """Let the log grow by ten lines."""
        self._write(chia_logs.noise(_TIME) * 9 + (self._coin() if with_coin else chia_logs.noise(_TIME)))

    def run(self) -> float:
        """Run coin_monitor.py; returns the milliseconds."""
        begun = time.perf_counter()
        argv = [_PYTHON, str(_CHECKOUT / "coin_monitor.py"), "--config", str(self._root / "config")]
        environment = {"PATH": "/usr/bin:/bin", "HOME": str(self._root)}
        subprocess.run(argv, env=environment, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        return (time.perf_counter() - begun) * 1000


def main() -> int:
    """Read the command line, measure, print."""
    parser = argparse.ArgumentParser(
        description=_ABOUT, epilog=_EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--mb", type=float, default=50, help="size of the log in MB (50)")
    parser.add_argument("--runs", type=int, default=20, help="runs that count (20)")
    parser.add_argument("--check", action="store_true", help=f"fail above {_GOAL_MILLISECONDS:g} ms")
    arguments = parser.parse_args()
    print(f"{processor()}, load {os.getloadavg()[0]:.2f}, {arguments.runs} runs\n")
    print("| log | first run | ten new lines | min-max | one of them a coin |\n|---|---|---|---|---|")
    worst = 0.0
    for megabytes in (arguments.mb / 10, arguments.mb):
        with workplace() as directory:
            farmer = Farmer(directory, round(megabytes * 1e6))
            first = farmer.run()
            new, with_coin = [], []
            for _ in range(arguments.runs):
                farmer.ten_lines(with_coin=False)
                new.append(farmer.run())
                farmer.ten_lines(with_coin=True)
                with_coin.append(farmer.run())
        median = statistics.median(new)
        worst = max(worst, median)
        print(f"| {megabytes:g} MB | {first:.0f} ms | **{median:.0f} ms** | {min(new):.0f}-{max(new):.0f} "
              f"| {statistics.median(with_coin):.0f} ms |")  # fmt: skip
    return 1 if arguments.check and worst > _GOAL_MILLISECONDS else 0


if __name__ == "__main__":
    sys.exit(main())
