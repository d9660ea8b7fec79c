"""What a benchmark happens in: the network, the load, the servers, and how much CPU time was spent in all of it."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import psutil

from plotfarm.base.processes import end, find_program, spawn
from testbed.network import SeparateHost
from testbed.sshd import free_port

NETWORKS = ("loopback", "veth")
_LOOPBACK = "127.0.0.1"
_CHUNK_BYTES = 16 * 2**20
_READY_SECONDS = 10.0
_LISTENS = "0A"  # the state of a listening socket in /proc/PID/net/tcp
_FINISH_SECONDS = 60.0  # for what outlives the commands: the delivery of mails
_END_SECONDS = 5.0


@dataclass(frozen=True)
class Link:
    """Plotter and NAS on this machine: their addresses, and how to be on the NAS for a while."""

    plotter: str
    nas: str
    on_nas: Callable[[], AbstractContextManager[None]]


@contextlib.contextmanager
def linked_by(network: str) -> Iterator[Link]:
    """Connect both ends by loopback, or by a cable between two network namespaces (`veth`, needs root)."""
    if network == "loopback":
        yield Link(_LOOPBACK, _LOOPBACK, contextlib.nullcontext)
        return
    with SeparateHost() as host:
        yield Link(host.here, host.address, host.inside)


@contextlib.contextmanager
def all_cores_busy() -> Iterator[list[int]]:
    """Keep one process on each core busy, as a plotter or a farmer would; gives their pids."""
    burners = [spawn([sys.executable, "-c", "while True: pass"]) for _ in os.sched_getaffinity(0)]
    try:
        for core, burner in zip(sorted(os.sched_getaffinity(0)), burners, strict=True):
            os.sched_setaffinity(burner.pid, {core})
        yield [burner.pid for burner in burners]
    finally:
        for burner in burners:
            end(burner)


@contextlib.contextmanager
def workplace(parent: Path | None = None) -> Iterator[Path]:
    """Have a temporary directory for a while; it is removed when nobody works in it any more.

    Some processes outlive the command that started them (the delivery of mails does), and still write their logs and
    their database: what they make while the directory is emptied would be in the way.
    """
    directory = Path(tempfile.mkdtemp(prefix="benchmark-", dir=parent))
    try:
        yield directory
    finally:
        _let_finish(directory)
        shutil.rmtree(directory)


def _let_finish(directory: Path) -> None:
    """Wait until no process names the directory; who takes too long is killed."""
    deadline = time.monotonic() + _FINISH_SECONDS
    is_killed = False
    while at_work := _at_work_in(directory):
        if time.monotonic() > deadline:
            if is_killed:
                raise SystemExit(f"processes cannot be ended: {at_work}")
            is_killed = True
            deadline = time.monotonic() + _END_SECONDS
            for pid in at_work:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)


def _at_work_in(directory: Path) -> list[int]:
    """Return the pids of all processes but this one and its ancestors that were started with the directory's name."""
    own = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            words = [*process.cmdline(), *process.environ().values()]
            is_named = any(str(directory) in word for word in words)
            if is_named and process.pid not in own and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process.pid)
    return found


def machine_cpu() -> float:
    """Return the CPU seconds of the whole machine, the kernel's own threads included."""
    times = psutil.cpu_times()
    return float(times.user + times.nice + times.system + times.irq + times.softirq)


def cpu_of_children(leave_out: Collection[int] = ()) -> float:
    """Return the CPU seconds of all processes that this one has started, whether they have ended or still run.

    Waits until its servers have no sessions left: what those used counts once they have been reaped. The children in
    `leave_out` do not count as long as they run.
    """
    deadline = time.monotonic() + _READY_SECONDS
    servers = [child for child in psutil.Process().children() if child.pid not in leave_out]
    while any(server.children() for server in servers) and time.monotonic() < deadline:
        time.sleep(0.01)
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return ended.ru_utime + ended.ru_stime + sum(sum(server.cpu_times()[:4]) for server in servers)


def start_listening(argv: Sequence[str], port: int) -> subprocess.Popen[bytes]:
    """Start a program in the network namespace of now; returns when it listens on the port."""
    process = spawn(argv)
    deadline = time.monotonic() + _READY_SECONDS
    while not _listens(process.pid, port):
        if process.poll() is not None or time.monotonic() > deadline:
            raise SystemExit(f"it does not listen: {' '.join(argv)}")
        time.sleep(0.002)
    return process


def _listens(pid: int, port: int) -> bool:
    # Asked of the kernel and not by connecting: a listener for one connection would take that for the transfer.
    for table in ("tcp", "tcp6"):
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
                _, local, _, state, *_ = line.split()
                if state == _LISTENS and local.endswith(f":{port:04X}"):
                    return True
    return False


@contextlib.contextmanager
def rsync_daemon(directory: Path, drives: Sequence[Path], link: Link) -> Iterator[int]:
    """Run an rsync daemon on the NAS that takes files into the drives, each a module by its name; gives its port."""
    config = directory / "rsyncd.conf"
    account = ["uid = root", "gid = root"] if os.geteuid() == 0 else []
    options = ["read only = no", "use chroot = no", *account]
    with link.on_nas():
        port = free_port(link.nas)
        lines = [f"address = {link.nas}", f"port = {port}", f"lock file = {directory / 'rsyncd.lock'}"]
        for drive in drives:
            lines += [f"[{drive.name}]", f"path = {drive}", *options]
        config.write_text("\n".join(lines) + "\n")
        daemon = start_listening(["rsync", "--daemon", "--no-detach", f"--config={config}"], port)
    try:
        yield port
    finally:
        end(daemon)


def write_random(path: Path, size: int) -> None:
    """Write a file that no compression makes smaller, and have it on the disk, where nothing is left to be written."""
    with open(path, "wb") as file:
        for done in range(0, size, _CHUNK_BYTES):
            file.write(os.urandom(min(_CHUNK_BYTES, size - done)))
        file.flush()
        os.fsync(file.fileno())


def cached_bytes(path: Path) -> int:
    """Return how much of a file is in memory, where it pushes out what a harvester reads."""
    return int(subprocess.check_output(["fincore", "--bytes", "--noheadings", "--output", "RES", path]))


def processor() -> str:
    """Return the CPU's model and how many of them there are."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return f"{os.cpu_count()} x {line.partition(':')[2].strip()}"
    return f"{os.cpu_count()} x unknown"


def missing(programs: Sequence[str]) -> list[str]:
    """Return which of the programs are not installed."""
    return [program for program in programs if find_program(program) is None]
