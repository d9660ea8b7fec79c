"""The ways to bring files from a plotter to a NAS that benchmarks/transfer.py sets against each other."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks.journeys import OURS, Ours, configure, journey
from benchmarks.results import REFERENCE, TITLES, Run
from benchmarks.surroundings import Link, cpu_of_children, machine_cpu, missing, start_listening, write_random
from plotfarm.base.processes import spawn
from testbed.farm import Farm
from testbed.sshd import free_port

_LONGEST_SECONDS = 3600.0
_TINY_BYTES = 2**20


@dataclass(frozen=True)
class Pair:
    """A receiver and a sender of one file, each a line for a shell."""

    receive: str
    send: str


PAIRS = {
    REFERENCE: Pair(
        "exec nc.openbsd -l -n {nas} {port} >{target}",
        "pv -q {source} | nc.openbsd -n -N {nas} {port}",
    ),
    "pv-traditional": Pair(
        "exec nc.traditional -l -n -s {nas} -p {port} >{target}",
        "pv -q {source} | nc.traditional -n -q 0 {nas} {port}",
    ),
    "socat": Pair(
        "exec socat -b 1048576 -u TCP-LISTEN:{port},bind={nas} CREATE:{target}",
        "exec socat -b 1048576 -u FILE:{source} TCP:{nas}:{port}",
    ),
    # Its own default is a buffer of 2% of the memory at each end, for each file.
    "mbuffer": Pair(
        "exec mbuffer -q -v 1 -s 1M -m 64M -I {plotter}:{port} -o {target}",
        "exec mbuffer -q -v 1 -s 1M -m 64M -i {source} -O {nas}:{port}",
    ),
}


ESSENTIAL = {"pv": "pv", "nc.openbsd": "netcat-openbsd"}
_PLOT_SINK = "no Debian package: see github.com/madMAx43v3r/chia-plot-sink"
# What else has to be installed, and by which package.
_NEEDS = {
    "pv-traditional": {"nc.traditional": "netcat-traditional"},
    "socat": {"socat": "socat"},
    "mbuffer": {"mbuffer": "mbuffer"},
    "rsync-daemon": {"rsync": "rsync"},
    "rsync-ssh": {"rsync": "rsync"},
    "scp": {"scp": "openssh-client"},
    "plot-sink": {"chia_plot_copy": "", "chia_plot_sink": ""},
    "netcat-traditional": {"nc.traditional": "netcat-traditional"},
}


def why_left_out(contender: str) -> str | None:
    """Say what is missing on this machine for a contender, and how to get it, or None."""
    needs = _NEEDS.get(contender, {})
    absent = missing(list(needs))
    if not absent:
        return None
    packages = " ".join(needs[program] for program in absent).strip()
    remedy = f"apt-get install {packages}" if packages else _PLOT_SINK
    return f"left out: {contender}: {' and '.join(absent)} not installed ({remedy})"


class Bench:
    """The files, the farm and the servers; each contender is a method that brings all files over at once.

    It returns the seconds of its journey.
    """

    def __init__(
        self, farm: Farm, link: Link, size: int, *, rsync_port: int | None = None, before: Farm | None = None
    ) -> None:
        """Make one file for each drive of the farm, `size` bytes in all; `before` is a farm of another checkout."""
        self._farm = farm
        self._before = before
        self._link = link
        self._rsync_port = rsync_port
        names = [f"plot-k32-2026-11-23-18-47-{number:064x}.plot" for number in range(1, len(farm.drives) + 1)]
        self.sources = [farm.plots / name for name in names]
        self.targets = [drive / name for drive, name in zip(farm.drives, names, strict=True)]
        for source in self.sources:
            write_random(source, size // len(names))

        # The same again with next to nothing in it: what a run costs however small the plots are.
        self._tiny = farm.root / "tiny"
        self._tiny.mkdir()
        for name in names:
            write_random(self._tiny / name, _TINY_BYTES)
        if before is not None:
            before.nas.change({"drives.directories": ", ".join(map(str, farm.drives))})

    def contenders(self) -> dict[str, Callable[[], float]]:
        """Return the method of each key in TITLES."""
        return {
            **{key: partial(self._pairs, pair) for key, pair in PAIRS.items()},
            "rsync-daemon": self._rsync_daemon,
            "rsync-ssh": self._rsync_over_ssh,
            "scp": self._scp,
            "plot-sink": self._plot_sink,
            **{key: partial(self.ours, ours) for key, ours in OURS.items()},
        }

    def measure(self, contender: Callable[[], float], leave_out: Sequence[int] = ()) -> Run:
        """Let one contender bring the files over, see that they arrived whole, and take them away again.

        The CPU time of the children in `leave_out` does not count.
        """
        return self._measured(contender, self.sources, leave_out)

    def fixed_cost(self, ours: Ours) -> Run:
        """Do the same in one of our ways with files of 1 MiB."""
        tiny = [self._tiny / source.name for source in self.sources]
        return self._measured(lambda: self._send(ours, self._tiny), tiny)

    def _measured(self, contender: Callable[[], float], sources: Sequence[Path], leave_out: Sequence[int] = ()) -> Run:
        cpu = cpu_of_children(leave_out)
        machine = machine_cpu()
        started = time.monotonic()
        seconds = contender()
        process = time.monotonic() - started
        cpu = cpu_of_children(leave_out) - cpu
        machine = machine_cpu() - machine
        for path in self._arrived(sources):
            path.unlink()
        return Run(seconds, process, cpu, machine)

    def arrived(self) -> list[Path]:
        """Return where each file is now; each contender but the bare pairs chooses the drive by itself."""
        return self._arrived(self.sources)

    def _arrived(self, sources: Sequence[Path]) -> list[Path]:
        found = []
        for source in sources:
            copies = [drive / source.name for drive in self._farm.drives if (drive / source.name).exists()]
            if [copy.stat().st_size for copy in copies] != [source.stat().st_size]:
                raise SystemExit(f"{source.name} did not arrive whole: this benchmark proves nothing")
            found += copies
        return found

    def _pairs(self, pair: Pair) -> float:
        receivers, senders = [], []
        with self._link.on_nas():
            for source, target in zip(self.sources, self.targets, strict=True):
                port = free_port(self._link.nas)
                words = {"source": shlex.quote(str(source)), "target": shlex.quote(str(target)), "port": port}
                words |= {"nas": self._link.nas, "plotter": self._link.plotter}
                receivers.append(start_listening(["sh", "-c", pair.receive.format(**words)], port))
                senders.append(["sh", "-c", pair.send.format(**words)])
        return _together(senders, receivers)

    def _rsync_daemon(self) -> float:
        url = f"rsync://{self._link.nas}:{self._rsync_port}"
        return _together([
            ["rsync", str(source), f"{url}/{target.parent.name}/"]
            for source, target in zip(self.sources, self.targets, strict=True)
        ])  # fmt: skip

    def _rsync_over_ssh(self) -> float:
        ssh = shlex.join(["ssh", *self._farm.sshd.client_options()])
        return _together([
            ["rsync", "-e", ssh, str(source), f"{self._link.nas}:{target.parent}/"]
            for source, target in zip(self.sources, self.targets, strict=True)
        ])  # fmt: skip

    def _scp(self) -> float:
        options = ["-P" if option == "-p" else option for option in self._farm.sshd.client_options()]
        return _together([
            ["scp", "-q", *options, str(source), f"{self._link.nas}:{target.parent}/"]
            for source, target in zip(self.sources, self.targets, strict=True)
        ])  # fmt: skip

    def _plot_sink(self) -> float:
        """Send with one process to one sink, each with a thread for each file, as they are meant to be used."""
        names = self._farm.root / "for_plot_copy"  # second names: it may remove what it has sent
        names.mkdir()
        for source in self.sources:
            os.link(source, names / source.name)
        with self._link.on_nas():
            port = free_port(self._link.nas)
            sink = start_listening(["chia_plot_sink", "-p", str(port), "--", *map(str, self._farm.drives)], port)
        files = [str(names / source.name) for source in self.sources]
        started = time.monotonic()
        _together([["chia_plot_copy", "-p", str(port), "-t", self._link.nas, "-r", str(len(files)), "--", *files]])
        sink.terminate()  # it finishes what it has begun, then ends
        sink.wait(_LONGEST_SECONDS)
        journey = time.monotonic() - started
        shutil.rmtree(names)
        return journey

    def ours(self, ours: Ours) -> float:
        """Bring all files over in one run of plot_manager.py; seconds from the first offer to the last `stored`."""
        return self._send(ours, self._farm.plots)

    def configure(self, ours: Ours) -> None:
        """Set both ends up for one of our ways, with nothing left of the run before."""
        configure(self._farm, ours, self._farm.plots, len(self.sources))

    def _send(self, ours: Ours, plots: Path) -> float:
        farm = self._before if ours.is_before else self._farm
        if farm is None:
            raise SystemExit("there is no version before to compare with")
        configure(farm, ours, plots, len(self.sources))
        return journey(farm, [source.name for source in self.sources])


def _together(senders: Sequence[Sequence[str]], receivers: Sequence[subprocess.Popen[bytes]] = ()) -> float:
    """Start all senders at once; returns the seconds until they and the receivers have ended."""
    started = time.monotonic()
    running = [spawn(argv) for argv in senders]
    for argv, process in zip(senders, running, strict=True):
        if process.wait(_LONGEST_SECONDS):
            raise SystemExit(f"status {process.returncode}: {shlex.join(argv)}")
    for receiver in receivers:
        receiver.wait(_LONGEST_SECONDS)  # what it says at the end is its own: the files show whether they are whole
    return time.monotonic() - started


def known() -> list[str]:
    """Return all contenders, the reference first."""
    return list(TITLES)
