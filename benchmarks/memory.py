"""How much memory both ends of a transfer use, and how much of the plot they leave in the page cache.

What fills the page cache pushes out what a harvester reads all the time.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from benchmarks.contenders import Bench
from benchmarks.journeys import AS_SHIPPED, OURS
from benchmarks.loop_drives import file_system_of
from benchmarks.results import TITLES
from benchmarks.surroundings import cached_bytes, linked_by, missing, processor, workplace
from testbed.farm import Farm

_SAMPLE_SECONDS = 0.02
_IN_MEMORY = ("tmpfs", "ramfs")


@dataclass
class Peak:
    """The most that was seen of the processes of one name at one end."""

    pids: set[int] = field(default_factory=set)
    high_water: int = 0  # VmHWM of the largest: with the pages of the files of its programs, and mapped ones
    own: int = 0  # RssAnon + RssShmem of the largest: what it asked for itself


@dataclass
class Peaks:
    """The most that was seen at one end."""

    by_name: dict[str, Peak] = field(default_factory=lambda: defaultdict(Peak))
    together: int = 0  # RssAnon + RssShmem of all processes at one moment

    def sample(self, processes: Iterable[psutil.Process]) -> None:
        """Look at all processes of this end once."""
        together = 0
        for process in processes:
            with contextlib.suppress(OSError, KeyError, psutil.NoSuchProcess):
                status = _status(process.pid)  # a zombie has no such numbers: KeyError
                own = status["RssAnon"] + status["RssShmem"]
                peak = self.by_name[process.name()]
                peak.pids.add(process.pid)
                peak.high_water = max(peak.high_water, status["VmHWM"])
                peak.own = max(peak.own, own)
                together += own
        self.together = max(self.together, together)


def _status(pid: int) -> dict[str, int]:
    """Return the values of /proc/PID/status that have a size, in bytes."""
    sizes = {}
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        name, _, value = line.partition(":")
        if value.endswith(" kB"):
            sizes[name] = int(value.removesuffix(" kB")) * 1024
    return sizes


def measure_memory(directory: Path, size: int, keys: Sequence[str]) -> int:
    """Send one file in each of these ways and print what it took; the exit status."""
    if missing(["fincore"]):
        print("not installed: fincore (apt-get install util-linux-extra, or util-linux)", file=sys.stderr)
        return 1
    if file_system_of(directory) in _IN_MEMORY:
        print(f"{directory} is in memory itself: name a --directory on a disk", file=sys.stderr)
        return 1
    print(f"{processor()}; {size / 2**30:g} GiB in {directory}; MB are 10^6 bytes")
    with (
        workplace(directory) as root,
        linked_by("loopback") as link,
        Farm(root, 1, settings=AS_SHIPPED, plotter_settings={"plotter.keep_source": "True"}, restricted=False) as farm,
    ):
        bench = Bench(farm, link, size)
        for key in keys:
            bench.configure(OURS[key])
            print(_one_transfer(farm, bench, TITLES[key]), flush=True)
    return 0


def _one_transfer(farm: Farm, bench: Bench, title: str) -> str:
    """Run plot_manager.py once and watch all processes of both ends; returns what to print."""
    (source,) = bench.sources
    # As a plotter leaves it: a plot that has just been written is in memory.
    subprocess.run(["cat", source], check=True, stdout=subprocess.DEVNULL)
    before = cached_bytes(source)
    sender, receiver = Peaks(), Peaks()
    output = farm.root / "output"
    with open(output, "w") as file:
        plot_manager = farm.start_plot_manager(output=file)
    while plot_manager.poll() is None:
        with contextlib.suppress(psutil.NoSuchProcess):
            sending = psutil.Process(plot_manager.pid)
            sender.sample([sending, *sending.children(recursive=True)])
        receiver.sample(process for process in farm.sshd.sessions() if not _is_sshd(process))
        time.sleep(_SAMPLE_SECONDS)
    if plot_manager.returncode:
        raise SystemExit(f"plot_manager.py failed: {output.read_text()}\n{farm.nas.log_text()[-2000:]}")
    (target,) = bench.arrived()
    lines = [
        f"\n**{title}**\n",
        "| end | processes | VmHWM MB | RssAnon + RssShmem MB |",
        "|---|---|---|---|",
        *_rows("plotter", sender),
        *_rows("NAS", receiver),
        f"\nIn the page cache afterwards: {_mb(cached_bytes(source))} MB of the source ({_mb(before)} before), "
        f"{_mb(cached_bytes(target))} MB of the target",
    ]
    target.unlink()
    return "\n".join(lines)


def _is_sshd(process: psutil.Process) -> bool:
    try:
        return process.name().startswith("sshd")
    except psutil.NoSuchProcess:
        return True


def _rows(end: str, peaks: Peaks) -> list[str]:
    rows = [
        f"| {end} | {name} ({len(peak.pids)}) | {_mb(peak.high_water)} | {_mb(peak.own)} |"
        for name, peak in sorted(peaks.by_name.items())
    ]
    return [*rows, f"| {end} | all at one moment | | {_mb(peaks.together)} |"]


def _mb(count: int) -> str:
    return f"{count / 1e6:.1f}"
