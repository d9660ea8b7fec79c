#!/usr/bin/env python3
"""How fast a plot moves from one disk of a NAS to another, and what it costs, against cp, mv and rsync."""

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
import statistics  # noqa: E402
import subprocess  # noqa: E402
import time  # noqa: E402
from collections.abc import Callable  # noqa: E402
from dataclasses import dataclass  # noqa: E402

from benchmarks.surroundings import cached_bytes, cpu_of_children, processor, workplace, write_random  # noqa: E402
from testbed.farm import Farm  # noqa: E402

_ABOUT = """\
Moves one file of random bytes, named like a k32 plot, from one file system to another again and again, and prints a
table. In each round all contenders move it, in random order; each ends when the file is safe on the drive
(`sync FILE` for those that do not see to that) and the source is gone.

  GB/s      10^9 bytes a second of the whole command, the median of all rounds and their range
  ratio     the median against the first row
  CPU       seconds for each GB, user and system time of all processes
  cache     MB (10^6 bytes) of the plot that are left in memory, where they push out what the harvester reads"""

_EXAMPLES = """\
examples:
  benchmarks/local.py                                        5 rounds of 2 GiB from /dev/shm to /tmp
  benchmarks/local.py --source /mnt/ssd0 --directory /mnt/drive7 --gib 20"""

_NAME = "plot-k32-2026-11-23-18-47-" + "5a" * 32 + ".plot"
_TITLES = {
    "cp": "`cp`, `sync`, `rm`",
    "mv": "`mv`, `sync`",
    "rsync": "`rsync --remove-source-files`, `sync`",
    "ours": "**move_local_plots.py** (digested)",
    "readback": "the same, read back from the drive",
}


@dataclass(frozen=True)
class Run:
    """One move: seconds, CPU seconds, and bytes left in the page cache."""

    seconds: float
    cpu: float
    cached: int


class Bench:
    """The file and the NAS; each contender is a method that moves the file once."""

    def __init__(self, farm: Farm, original: Path, source: Path) -> None:
        self._farm, self._original, self._source = farm, original, source
        self._target = farm.drives[0] / _NAME

    def contenders(self) -> dict[str, Callable[[], None]]:
        """Return the method of each key in _TITLES."""
        source, target = self._source, self._target
        return {
            "cp": lambda: _shell("cp {0} {1} && sync {1} && rm {0}", source, target),
            "mv": lambda: _shell("mv {0} {1} && sync {1}", source, target),
            "rsync": lambda: _shell("rsync --remove-source-files {0} {1} && sync {1}", source, target),
            "ours": lambda: self._ours("wire"),
            "readback": lambda: self._ours("readback"),
        }

    def measure(self, contender: Callable[[], None]) -> Run:
        """Let one contender move the file, see that it arrived whole, and take it away again."""
        os.link(self._original, self._source)
        size = self._original.stat().st_size
        cpu, started = cpu_of_children(), time.monotonic()
        contender()
        seconds, cpu = time.monotonic() - started, cpu_of_children() - cpu
        if self._target.stat().st_size != size or self._source.exists():
            raise SystemExit(f"{self._target} is not whole, or its source is still there: this proves nothing")
        cached = cached_bytes(self._target)
        self._target.unlink()
        return Run(seconds, cpu, cached)

    def _ours(self, verify: str) -> None:
        self._farm.nas.change({"transfer.verify": verify})
        done = self._farm.move_local_plots(timeout=3600)
        if done.returncode:
            raise SystemExit(f"move_local_plots.py failed: {done.stderr}")


def _shell(script: str, *paths: Path) -> None:
    subprocess.run(["sh", "-c", script.format(*(f"'{path}'" for path in paths))], check=True, stdin=subprocess.DEVNULL)


def table(runs: dict[str, list[Run]], size: int) -> str:
    """Return the results as a Markdown table."""
    gigabytes = size / 1e9
    reference = statistics.median(run.seconds for run in runs["cp"])
    lines = ["| | GB/s | min-max | ratio | CPU s/GB | cache MB |", "|---|---|---|---|---|---|"]
    for key, results in runs.items():
        seconds = [run.seconds for run in results]
        median = statistics.median(seconds)
        cpu = statistics.median(run.cpu for run in results) / gigabytes
        cached = statistics.median(run.cached for run in results) / 1e6
        spread = f"{gigabytes / max(seconds):.2f}-{gigabytes / min(seconds):.2f}"
        lines.append(
            f"| {_TITLES[key]} | {gigabytes / median:.2f} | {spread} "
            f"| {reference / median:.2f} | {cpu:.2f} | {cached:.0f} |"
        )
    return "\n".join(lines)


def main() -> int:
    """Read the command line, measure, print."""
    arguments = _arguments()
    if arguments.source.stat().st_dev == arguments.directory.stat().st_dev:
        print("--source and --directory are one file system: nothing would be copied there", file=sys.stderr)
        return 1
    if not shutil.which("rsync"):
        print("not installed: rsync (apt-get install rsync)", file=sys.stderr)
        return 1
    size, load = round(arguments.gib * 2**30), os.getloadavg()[0]
    with (
        workplace(arguments.source) as source,
        workplace(arguments.directory) as directory,
    ):
        original, plots = source / "original", source / "plots"
        plots.mkdir()
        write_random(original, size)
        # Shipped values: the testbed's own are for quick tests.
        shipped = {"system_logging.log_level": "INFO", "transfer.stall_seconds": "", "drives.probe_seconds": ""}
        farm = Farm(
            directory / "farm", drives=1, settings=shipped, nas_settings={"local_plots.plot_directories": plots}
        )
        bench = Bench(farm, original, plots / _NAME)
        contenders = bench.contenders()
        runs: dict[str, list[Run]] = {key: [] for key in _TITLES}
        for number in range(arguments.rounds + 1):
            for key in random.sample(list(contenders), len(contenders)):  # nobody always comes after the same one
                run = bench.measure(contenders[key])
                if number:  # the first round only warms up
                    runs[key].append(run)
                print(f"round {number or 'warm-up'}: {key}: {run.seconds:.2f} s", file=sys.stderr)
    print(f"{processor()}, load {load:.2f} before and {os.getloadavg()[0]:.2f} after; {arguments.gib:g} GiB, "
          f"{arguments.rounds} rounds, {arguments.source} to {arguments.directory}\n\n{table(runs, size)}")  # fmt: skip
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=_ABOUT, epilog=_EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--gib", type=float, default=2.0, help="size of the file in GiB (2)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds that count (5); one before them does not")
    parser.add_argument("--source", type=Path, default=Path("/dev/shm"), help="where the plot is made (/dev/shm)")
    parser.add_argument("--directory", type=Path, default=Path("/tmp"), help="where the plot drive is (/tmp)")
    arguments = parser.parse_args()
    if arguments.gib <= 0 or arguments.rounds < 1:
        parser.error("--gib and --rounds must be above zero")
    return arguments


if __name__ == "__main__":
    sys.exit(main())
