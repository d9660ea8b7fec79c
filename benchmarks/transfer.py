#!/usr/bin/env python3
"""How fast a plot's whole journey is, and what it costs, against the bare netcat pipe, rsync and scp.

Everything runs on this machine over loopback: the same file, the same run, one contender after the other in
every round, so that whatever else disturbs the machine disturbs them all.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from plotfarm.base.venv import hand_over

hand_over()

import argparse  # noqa: E402
import contextlib  # noqa: E402
import json  # noqa: E402
import os  # noqa: E402
import resource  # noqa: E402
import shlex  # noqa: E402
import shutil  # noqa: E402
import socket  # noqa: E402
import statistics  # noqa: E402
import subprocess  # noqa: E402
import tempfile  # noqa: E402
import time  # noqa: E402
from collections.abc import Callable, Iterator  # noqa: E402
from dataclasses import asdict, dataclass  # noqa: E402

import psutil  # noqa: E402

from plotfarm.base.processes import end, find_program, spawn  # noqa: E402
from plotfarm.base.state import State  # noqa: E402
from testbed.farm import Farm  # noqa: E402
from testbed.sshd import free_port  # noqa: E402

_ABOUT = """\
Sends one file of random bytes, named like a k32 plot, over loopback again and again, and prints a table:

  GB/s      10^9 bytes a second, the median of all rounds and their range. For Chia Plot Manager from the
            offer to `stored` as the NAS records it: digested at both ends, fsynced, published. For the others
            from the start of the sending command until both ends have ended.
  ratio     the median against the first row, `pv | nc` with the OpenBSD netcat: a pipe that verifies nothing
  process   GB/s of the whole command, start-up and ssh handshake included: they count less the larger the file
  CPU       seconds for each GB, user and system time of all processes of both ends: what was spent in the
            children of this benchmark and in its sshd and rsync daemon, so other work on the machine does not count

The directories are in memory by default, so that no drive hides what the software costs."""

_EXAMPLES = """\
examples:
  benchmarks/transfer.py                               5 rounds of 2 GiB in /dev/shm (needs 4.1 GiB there)
  benchmarks/transfer.py --gib 8 --rounds 9 --json run.json
  benchmarks/transfer.py --only pv-openbsd,netcat      the two that matter most
  benchmarks/transfer.py --directory /mnt/drive7       on a drive"""

_REFERENCE = "pv-openbsd"
_TITLES = {
    _REFERENCE: "`pv` into `nc` (OpenBSD)",
    "pv-traditional": "`pv` into `nc` (traditional)",
    "netcat": "Chia Plot Manager, `nc` (OpenBSD)",
    "readback": "the same, read back from the drive",
    "netcat-traditional": "Chia Plot Manager, `nc` (traditional)",
    "rsync-daemon": "`rsync` to a daemon",
    "rsync-ssh": "`rsync` over ssh",
    "scp": "`scp`",
}
_ADDRESS = "127.0.0.1"
_NAME = "plot-k32-2026-11-23-18-47-" + "5a" * 32 + ".plot"
_CHUNK_BYTES = 16 * 2**20
_READY_SECONDS = 10.0
_LONGEST_SECONDS = 3600.0
# As a farm is configured by default; the testbed has settings of its own for quick tests.
_AS_SHIPPED: dict[str, object] = {
    "system_logging.log_level": "INFO",
    "transfer.beat_seconds": "",
    "transfer.silence_seconds": "",
    "transfer.stall_seconds": "",
    "drives.probe_seconds": "",
}


@dataclass(frozen=True)
class Run:
    """One transfer: seconds from offer to stored, of the whole command, and of CPU at both ends."""

    journey: float
    process: float
    cpu: float


class Bench:
    """The file, the farm and the servers; each contender is a method that moves the file once.

    It returns the seconds of its journey, or None if that is the whole command.
    """

    def __init__(self, farm: Farm, rsync_port: int) -> None:
        self._farm, self._rsync_port = farm, rsync_port
        self.source = farm.plots / _NAME
        self.target = farm.drives[0] / _NAME

    def contenders(self) -> dict[str, Callable[[], float | None]]:
        """Return the method of each key in _TITLES."""
        return {
            _REFERENCE: lambda: self._bare("nc.openbsd"),
            "pv-traditional": lambda: self._bare("nc.traditional"),
            "netcat": lambda: self._ours("nc.openbsd", "wire"),
            "readback": lambda: self._ours("nc.openbsd", "readback"),
            "netcat-traditional": lambda: self._ours("nc.traditional", "wire"),
            "rsync-daemon": self._rsync_daemon,
            "rsync-ssh": self._rsync_over_ssh,
            "scp": self._scp,
        }

    def measure(self, contender: Callable[[], float | None]) -> Run:
        """Let one contender move the file, see that it arrived whole, and take it away again."""
        cpu, started = cpu_of_children(), time.monotonic()
        journey = contender()
        process = time.monotonic() - started
        cpu = cpu_of_children() - cpu
        if self.target.stat().st_size != self.source.stat().st_size:
            raise SystemExit(f"{self.target} is not whole: this benchmark proves nothing")
        self.target.unlink()
        return Run(journey or process, process, cpu)

    def _ours(self, netcat: str, verify: str) -> float:
        shutil.rmtree(self._farm.plotter.state, ignore_errors=True)  # or it would know that the plot was sent
        self._farm.plotter.change({"transfer.netcat": netcat})
        self._farm.nas.change({"transfer.netcat": netcat, "transfer.verify": verify})
        done = self._farm.plot_manager(timeout=_LONGEST_SECONDS)
        if done.returncode:
            raise SystemExit(f"plot_manager.py failed: {done.stderr}\n{self._farm.nas.log_text()[-2000:]}")
        state = State(self._farm.nas.state)
        try:
            return state.transfers(plot=_NAME, limit=1)[0].seconds
        finally:
            state.close()

    def _bare(self, netcat: str) -> None:
        port = str(free_port(_ADDRESS))
        openbsd = netcat == "nc.openbsd"
        listen = ["-l", "-n", "-v", _ADDRESS, port] if openbsd else ["-l", "-n", "-v", "-s", _ADDRESS, "-p", port]
        with open(self.target, "wb") as target:
            listener = spawn([netcat, *listen], stdout=target, stderr=subprocess.PIPE)
        assert listener.stderr is not None
        listener.stderr.readline()  # it listens
        at_end = "-N" if openbsd else "-q 0"
        sender = f"pv -q {shlex.quote(str(self.source))} | {netcat} -n {at_end} {_ADDRESS} {port}"
        subprocess.run(["sh", "-c", sender], check=True, stdin=subprocess.DEVNULL)
        listener.communicate()

    def _rsync_daemon(self) -> None:
        _command(["rsync", str(self.source), f"rsync://{_ADDRESS}:{self._rsync_port}/drive/"])

    def _rsync_over_ssh(self) -> None:
        ssh = shlex.join(["ssh", *self._farm.sshd.client_options()])
        _command(["rsync", "-e", ssh, str(self.source), f"{_ADDRESS}:{self.target.parent}/"])

    def _scp(self) -> None:
        options = ["-P" if option == "-p" else option for option in self._farm.sshd.client_options()]
        _command(["scp", "-q", *options, str(self.source), f"{_ADDRESS}:{self.target.parent}/"])


def _command(argv: list[str]) -> None:
    subprocess.run(argv, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)


def cpu_of_children() -> float:
    """Return the CPU seconds of all processes that this one has started, whether they have ended or still run.

    Waits until its servers have no sessions left: what those used counts once they have been reaped.
    """
    deadline = time.monotonic() + _READY_SECONDS
    servers = psutil.Process().children()
    while any(server.children() for server in servers) and time.monotonic() < deadline:
        time.sleep(0.01)
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return ended.ru_utime + ended.ru_stime + sum(sum(server.cpu_times()[:4]) for server in servers)


@contextlib.contextmanager
def rsync_daemon(directory: Path, target: Path) -> Iterator[int]:
    """Run an rsync daemon that takes files into `target`; gives its port."""
    port = free_port(_ADDRESS)
    config = directory / "rsyncd.conf"
    account = ["uid = root", "gid = root"] if os.geteuid() == 0 else []
    module = ["[drive]", f"path = {target}", "read only = no", "use chroot = no", *account]
    config.write_text("\n".join([f"address = {_ADDRESS}", f"port = {port}", *module]) + "\n")
    daemon = spawn(["rsync", "--daemon", "--no-detach", f"--config={config}"])
    try:
        deadline = time.monotonic() + _READY_SECONDS
        while time.monotonic() < deadline:
            with contextlib.suppress(ConnectionRefusedError), socket.create_connection((_ADDRESS, port)):
                break
            time.sleep(0.01)
        yield port
    finally:
        end(daemon)


def write_random(path: Path, size: int) -> None:
    """Write a file that no compression makes smaller."""
    with open(path, "wb") as file:
        for done in range(0, size, _CHUNK_BYTES):
            file.write(os.urandom(min(_CHUNK_BYTES, size - done)))


def table(runs: dict[str, list[Run]], size: int) -> str:
    """Return the results as a Markdown table; ratios are against the reference, if it ran."""
    gigabytes = size / 1e9
    reference = statistics.median(run.journey for run in runs[_REFERENCE]) if _REFERENCE in runs else None
    lines = [
        "| | GB/s | min-max | ratio | process GB/s | CPU s/GB |",
        "|---|---|---|---|---|---|",
    ]
    for key, results in runs.items():
        journeys = [run.journey for run in results]
        median = statistics.median(journeys)
        process = statistics.median(run.process for run in results)
        cpu = statistics.median(run.cpu for run in results)
        ratio = f"{reference / median:.2f}" if reference else "-"
        spread = f"{gigabytes / max(journeys):.2f}-{gigabytes / min(journeys):.2f}"
        lines.append(
            f"| {_TITLES[key]} | {gigabytes / median:.2f} | {spread} | {ratio} "
            f"| {gigabytes / process:.2f} | {cpu / gigabytes:.2f} |"
        )
    return "\n".join(lines)


def processor() -> str:
    """Return the CPU's model and how many of them there are."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return f"{os.cpu_count()} x {line.partition(':')[2].strip()}"
    return f"{os.cpu_count()} x unknown"


def run_rounds(bench: Bench, keys: list[str], rounds: int) -> dict[str, list[Run]]:
    """Run every contender once a round; a first round that does not count warms all of them up."""
    contenders = bench.contenders()
    runs: dict[str, list[Run]] = {key: [] for key in keys}
    for number in range(rounds + 1):
        for key in keys:
            run = bench.measure(contenders[key])
            if number:
                runs[key].append(run)
            print(f"round {number or 'warm-up'}: {key}: {run.journey:.2f} s", file=sys.stderr)
    return runs


def main() -> int:
    """Read the command line, measure, print."""
    arguments = _arguments(list(_TITLES))
    size = round(arguments.gib * 2**30)
    wanted = [key for key in _TITLES if key in arguments.only]
    missing = [name for name in ("pv", "nc.openbsd", "nc.traditional", "rsync", "scp") if not find_program(name)]
    if missing:
        print(
            f"not installed: {', '.join(missing)} (apt-get install pv netcat-openbsd netcat-traditional rsync)",
            file=sys.stderr,
        )
        return 1
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="benchmark-", dir=arguments.directory) as directory:
        root = Path(directory)
        farm = Farm(
            root, drives=1, settings=_AS_SHIPPED, plotter_settings={"plotter.keep_source": "True"}, restricted=False
        )
        with farm, rsync_daemon(root, farm.drives[0]) as port:
            bench = Bench(farm, port)
            write_random(bench.source, size)
            runs = run_rounds(bench, wanted, arguments.rounds)
    head = (
        f"{processor()}, load {load:.2f} before and {os.getloadavg()[0]:.2f} after; "
        f"{arguments.gib:g} GiB, {arguments.rounds} rounds, in {arguments.directory}"
    )
    print(f"{head}\n\n{table(runs, size)}")
    if arguments.json:
        record = {
            "head": head,
            "bytes": size,
            "runs": {key: [asdict(run) for run in each] for key, each in runs.items()},
        }
        arguments.json.write_text(json.dumps(record, indent=1) + "\n")
    return 0


def _arguments(keys: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=_ABOUT, epilog=_EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--gib", type=float, default=2.0, help="size of the file in GiB (2)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds that count (5); one before them does not")
    parser.add_argument("--directory", type=Path, default=Path("/dev/shm"), help="where it all happens (/dev/shm)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also store every single run there")
    parser.add_argument(
        "--only", type=lambda text: text.split(","), default=keys, metavar="LIST",
        help=f"some of: {', '.join(keys)}",
    )  # fmt: skip
    arguments = parser.parse_args()
    unknown = [key for key in arguments.only if key not in keys]
    if unknown or arguments.gib <= 0 or arguments.rounds < 1:
        parser.error(f"unknown: {', '.join(unknown)}" if unknown else "--gib and --rounds must be above zero")
    return arguments


if __name__ == "__main__":
    sys.exit(main())
