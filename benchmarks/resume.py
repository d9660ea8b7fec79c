#!/usr/bin/env python3
"""What an interrupted transfer costs: how long the rest takes, and how much is read back before it goes on."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from plotfarm.base.venv import hand_over

hand_over()

import argparse  # noqa: E402
import os  # noqa: E402
import shutil  # noqa: E402
import signal  # noqa: E402
import statistics  # noqa: E402
import time  # noqa: E402
from dataclasses import dataclass  # noqa: E402

from benchmarks.journeys import AS_SHIPPED, OURS, configure, journey  # noqa: E402
from benchmarks.loop_drives import KINDS, file_system_of, loop_drives, why_no_loop_drives  # noqa: E402
from benchmarks.surroundings import cpu_of_children, processor, workplace  # noqa: E402
from plotfarm.drives.model import MARKER  # noqa: E402
from testbed.farm import Farm  # noqa: E402
from testbed.mounts import private_mounts  # noqa: E402
from testbed.plots import v1_name  # noqa: E402

_ABOUT = """\
Sends one plot (a file in memory, without blocks but for its beginning) to a drive on a loop device, and kills
plot_manager.py at half of it; then runs it again. For comparison the same plot is sent without an interruption. Needs
root.

  seconds    of the journey: from the offer to `stored`, as the NAS records it
  kept       what lay on the drive when it was killed; only whole segments of 1 GiB count
  read back  what the drive was asked for meanwhile, by the kernel's count
  CPU        seconds, user and system time of all processes of both ends"""

_EXAMPLES = """\
examples:
  benchmarks/resume.py                          8 GiB, an ext4 of which the image is in /tmp
  benchmarks/resume.py --drives xfs --gib 6"""

_NAME = v1_name("resumed", k=32)
_LONGEST_SECONDS = 600.0
_SECTOR_BYTES = 512
_BEGINNING_BYTES = 4096


@dataclass(frozen=True)
class Run:
    """One journey: seconds, CPU seconds, bytes that the drive read and wrote, and bytes that were there before."""

    seconds: float
    cpu: float
    read: int
    written: int
    kept: int


class Bench:
    """A farm with one drive, and the plot."""

    def __init__(self, farm: Farm, pipe: str, size: int) -> None:
        self._farm = farm
        self._ours = OURS[pipe]
        self._size = size
        self._drive = farm.drives[0]
        (self._drive / MARKER).touch()
        with open(farm.plots / _NAME, "wb") as file:
            file.write(os.urandom(_BEGINNING_BYTES))  # a plot that begins with zeros is not sent
            file.truncate(size)

    def whole(self) -> Run:
        """Send it without an interruption."""
        configure(self._farm, self._ours, self._farm.plots, 1)
        return self._send(0)

    def resumed(self) -> Run:
        """Kill the run at half of it, and send the rest."""
        configure(self._farm, self._ours, self._farm.plots, 1)
        return self._send(self._interrupt())

    def _interrupt(self) -> int:
        """Run plot_manager.py until half of the plot is there; returns how much is left on the drive."""
        process = self._farm.start_plot_manager()
        deadline = time.monotonic() + _LONGEST_SECONDS
        while self._there() * 2 < self._size:
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"it did not come to half of the plot: {self._farm.nas.log_text()[-2000:]}")
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        while self._farm.sshd.sessions():  # the NAS notices by itself, and gives the rest of the room back
            if time.monotonic() > deadline:
                raise SystemExit("the session at the NAS does not end")
            time.sleep(0.05)
        return self._there()

    def _there(self) -> int:
        sizes = [path.stat().st_size for path in self._farm.parts()]
        return max(sizes, default=0)

    def _send(self, kept: int) -> Run:
        read, written = self._sectors()
        cpu = cpu_of_children()
        seconds = journey(self._farm, [_NAME])
        cpu = cpu_of_children() - cpu
        read_after, written_after = self._sectors()
        stored = self._drive / _NAME
        if stored.stat().st_size != self._size or self._farm.parts():
            raise SystemExit("the plot is not whole, or its part is still there: this proves nothing")
        stored.unlink()
        return Run(seconds, cpu, (read_after - read) * _SECTOR_BYTES, (written_after - written) * _SECTOR_BYTES, kept)

    def _sectors(self) -> tuple[int, int]:
        """Return how many sectors the drive has read and written: Documentation/block/stat.rst."""
        device = self._drive.stat().st_dev
        fields = Path(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}/stat").read_text().split()
        return int(fields[2]), int(fields[6])


def table(runs: dict[str, list[Run]], size: int) -> str:
    """Return the results as a Markdown table."""
    lines = [
        "| | seconds | min-max | kept GiB | read back GiB | written GiB | CPU s |",
        "|---|---|---|---|---|---|---|",
    ]
    for title, done in runs.items():
        seconds = [run.seconds for run in done]
        lines.append(
            f"| {title} | {statistics.median(seconds):.1f} | {min(seconds):.1f}-{max(seconds):.1f} "
            f"| {statistics.median(run.kept for run in done) / 2**30:.2f} "
            f"| {statistics.median(run.read for run in done) / 2**30:.2f} "
            f"| {statistics.median(run.written for run in done) / 2**30:.2f} "
            f"| {statistics.median(run.cpu for run in done):.1f} |"
        )
    ratio = statistics.median(cut.seconds / whole.seconds for whole, cut in zip(*list(runs.values()), strict=True))
    return "\n".join(
        [*lines, f"\nThe rest takes {ratio:.0%} of the time of {size / 2**30:g} GiB without interruption."]
    )


def main() -> int:
    """Read the command line, measure, print."""
    arguments = _arguments()
    size = round(arguments.gib * 2**30)
    if reason := why_no_loop_drives(arguments.drives):
        print(reason, file=sys.stderr)
        return 1
    if shutil.disk_usage(arguments.images).free < size * 1.1:
        print(f"{arguments.images} has no room for {size * 1.1 / 1e9:.0f} GB", file=sys.stderr)
        return 1
    load = os.getloadavg()[0]
    runs: dict[str, list[Run]] = {"without interruption": [], "the rest, after an interruption at half of it": []}
    with private_mounts(), workplace(arguments.directory) as directory, workplace(arguments.images) as images:
        farm = Farm(
            directory / "farm",
            1,
            settings=AS_SHIPPED,
            plotter_settings={"plotter.keep_source": "True"},
            restricted=False,
        )
        with loop_drives(arguments.drives, images, farm.drives, size), farm:
            bench = Bench(farm, arguments.pipe, size)
            for number in range(arguments.rounds):
                for title, run in zip(runs, (bench.whole, bench.resumed), strict=True):
                    runs[title].append(run())
                    print(f"round {number + 1}: {title}: {runs[title][-1]}", file=sys.stderr)
    print(
        f"{processor()}, load {load:.2f} before and {os.getloadavg()[0]:.2f} after; {arguments.gib:g} GiB, "
        f"{arguments.rounds} rounds, {arguments.pipe}, {arguments.drives} on a loop device with direct I/O over "
        f"{file_system_of(arguments.images)} in {arguments.images}\n\n{table(runs, size)}"
    )
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=_ABOUT, epilog=_EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--gib", type=float, default=8.0, help="size of the plot in GiB (8)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds (3)")
    parser.add_argument("--drives", choices=KINDS, default="ext4", help="the drive's file system (ext4)")
    parser.add_argument("--pipe", choices=["netcat", "direct"], default="direct", help="(direct)")
    parser.add_argument("--images", type=Path, default=Path("/tmp"), help="where the drive's image is (/tmp)")
    parser.add_argument("--directory", type=Path, default=Path("/dev/shm"), help="where all else is (/dev/shm)")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
