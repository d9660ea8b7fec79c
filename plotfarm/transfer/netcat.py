"""The two netcats that Debian has, and a listener that is known to listen before anybody is told of it."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import random
import re
import select
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from plotfarm.base.errors import CommandFailed, TransferFailed
from plotfarm.base.locks import Lock, LockBusy, is_alive, process_started
from plotfarm.base.processes import end, find_program, run, spawn, tail
from plotfarm.transfer.pipe import PipeLost, Wait

# Marks a listener as this suite's own, with the process that answers for it.
OWNER = "PLOT_MANAGER_LISTENER_OF"
_START_SECONDS = 10.0
SEND_SCRIPT = Path(__file__).resolve().parents[2] / "send_plot.sh"
_SPLICE_F_NONBLOCK = 2  # splice(2); os has the function without the flags
_TOKEN_SECONDS = 5.0  # the plotter sends it at once
_PIPE_BYTES = 1024 * 1024  # the most that an unprivileged process may have: fcntl(2), F_SETPIPE_SZ


def find_netcat(setting: str) -> tuple[str, str]:
    """Return the program and its flavour (`openbsd` or `traditional`) for the configured `netcat`.

    `auto` prefers the OpenBSD netcat, which is the faster. CommandFailed if there is none, or an unknown one.
    """
    names = ("nc.openbsd", "nc", "nc.traditional") if setting == "auto" else (setting,)
    for name in names:
        program = find_program(name)
        if program is not None:
            flavour = _flavour(program)
            if flavour is not None:
                return program, flavour
    raise CommandFailed(
        f"no usable netcat ([transfer] netcat = {setting}): install netcat-openbsd or netcat-traditional "
        "(ncat and busybox nc are not supported)"
    )


def _flavour(program: str) -> str | None:
    said = run([program, "-h"], timeout_seconds=10)
    first = (said.output + said.errors).lstrip()[:200]
    if "OpenBSD" in first:
        return "openbsd"
    return "traditional" if first.startswith("[v1.1") else None


def widen_pipe(descriptor: int) -> None:
    """Give a pipe the largest buffer an unprivileged process may have; fewer switches between its two ends."""
    with contextlib.suppress(OSError):
        fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)


@contextlib.contextmanager
def free_port(ports: range, address: str, lock_directory: Path) -> Iterator[tuple[int, Lock]]:
    """Hold one port of the range that no other arrival holds and nobody listens on.

    Both netcats set address reuse: a second listener on a port would start, and connections cross. So a
    port is taken by its lock file *and* seen free. TransferFailed if none is left.
    """
    for port in random.sample(ports, len(ports)):  # a stranger cannot know where to wait
        lock = Lock(lock_directory / f"port-{port}.lock")
        try:
            lock.acquire()
        except LockBusy:
            continue
        try:
            if _is_free(port, address):
                yield port, lock
                return
        finally:
            lock.release()
    raise TransferFailed(f"no port of {ports.start}-{ports.stop - 1} is free on {address}")


def _is_free(port: int, address: str) -> bool:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        # Reuse only lets this succeed beside connections that are closing; a listener still refuses it.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
            probe.listen(1)
        except OSError:
            return False
    return True


class NetcatListener:
    """A netcat that listens for one connection; what arrives comes out of `pipe`, what it says itself of `words`."""

    def __init__(self, program: str, flavour: str, address: str, port: int) -> None:
        where = [address, str(port)] if flavour == "openbsd" else ["-s", address, "-p", str(port)]
        owner = f"{os.getpid()}:{process_started(os.getpid())}"
        self._process = spawn(
            [program, "-l", "-n", "-v", *where], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            environment={OWNER: owner},
        )  # fmt: skip
        assert self._process.stdout is not None and self._process.stderr is not None
        self.pipe = self._process.stdout.fileno()
        self.words = self._process.stderr.fileno()
        self._said = b""
        widen_pipe(self.pipe)
        os.set_blocking(self.words, False)

    def wait_until_listening(self) -> None:
        """Return when netcat says that it listens; TransferFailed with its words if it does not."""
        deadline = time.monotonic() + _START_SECONDS
        while b"istening on" not in self._said:
            if not select.select([self.words], [], [], max(0.0, deadline - time.monotonic()))[0]:
                raise TransferFailed(f"netcat did not listen within {_START_SECONDS:g} seconds")
            if not self._hear():
                raise TransferFailed(f"netcat could not listen: {tail(self._said.decode(errors='replace'))}")

    def admit(self, token: bytes, wait: Wait, deadline: float) -> int | None:
        """Return the pipe with the token taken off; None if the one who connected has none, or nobody comes in time."""
        received, connected = b"", False
        while token.startswith(received):
            # netcat speaks once more, when somebody has connected: who says nothing then is a stranger.
            watched = [self.pipe] if connected else [self.pipe, self.words]
            ready = wait(watched, max(0.0, deadline - time.monotonic()))
            if self.words in ready:
                connected = True
                deadline = min(deadline, time.monotonic() + _TOKEN_SECONDS)
            if self.pipe in ready:
                data = os.read(self.pipe, len(token) - len(received))
                received += data
                if received == token or not data:
                    break
            if time.monotonic() >= deadline:
                break
        return self.pipe if received == token else None

    def _hear(self) -> bool:
        try:
            data = os.read(self.words, 65536)
        except BlockingIOError:
            return True
        self._said += data
        return bool(data)

    def peer(self) -> str:
        """Return the address that connected, as netcat reports it, or `somebody`."""
        self._hear()
        text = self._said.decode(errors="replace")
        found = re.search(r"received on (\S+)", text) or re.search(r"from \S+ \[([^]]+)\]", text)
        return found.group(1) if found else "somebody"

    def close(self) -> None:
        """End netcat and let go of its pipe."""
        self._process.kill()
        end(self._process)
        for pipe in (self._process.stdout, self._process.stderr):
            if pipe is not None:
                pipe.close()


class NetcatPipe:
    """send_plot.sh, the sending end of one netcat pipe."""

    first_pause_seconds = 0.0003  # longer, and netcat would run dry before a busy machine wakes this process

    def __init__(self, address: str, port: int, netcat: str) -> None:
        argv = [str(SEND_SCRIPT), address, str(port), netcat]
        self._process = spawn(argv, stdin=subprocess.PIPE, stderr=subprocess.PIPE)
        assert self._process.stdin is not None
        self.descriptor = self._process.stdin.fileno()
        self.exited = os.pidfd_open(self._process.pid)  # readable when the process has ended
        widen_pipe(self.descriptor)
        os.set_blocking(self.descriptor, False)

    def write(self, piece: memoryview) -> int:
        """Write what the pipe takes now, perhaps nothing; PipeLost if netcat has ended."""
        try:
            return os.write(self.descriptor, piece)
        except BlockingIOError:
            return 0
        except BrokenPipeError:
            raise PipeLost(f"the data connection ended: {self._last_words()}") from None

    def put(self, piece: memoryview, source: int, offset: int) -> int:
        """Move what the pipe takes now of the piece that lies at `offset` of the file `source`, perhaps nothing.

        The kernel hands over the file's pages without copying them. Should they have changed since they were digested,
        the digests differ in the end. PipeLost if netcat has ended.
        """
        try:
            return os.splice(source, self.descriptor, len(piece), offset_src=offset, flags=_SPLICE_F_NONBLOCK)
        except BlockingIOError:
            return 0
        except BrokenPipeError:
            raise PipeLost(f"the data connection ended: {self._last_words()}") from None
        except OSError as error:
            if error.errno != errno.EINVAL:  # a file system that cannot splice
                raise
            return self.write(piece)

    def close_input(self) -> None:
        """Tell netcat that this was all."""
        assert self._process.stdin is not None
        self._process.stdin.close()

    def check(self) -> None:
        """Raise PipeLost if netcat has ended badly."""
        if self._process.wait() != 0:
            raise PipeLost(f"the data connection failed: {self._last_words()}")

    def _last_words(self) -> str:
        assert self._process.stderr is not None
        status = end(self._process)
        said = tail(self._process.stderr.read().decode(errors="replace"))
        return said or f"netcat ended with status {status}"

    def close(self) -> None:
        """End netcat, whatever it is doing."""
        for pipe in (self._process.stdin, self._process.stderr):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        self._process.kill()
        self._process.wait()
        os.close(self.exited)


def stale_listeners() -> list[int]:
    """Return the pids of listeners that this suite started and whose owner is dead; never anybody else's."""
    found = []
    for entry in os.scandir("/proc"):
        if not entry.name.isdigit():
            continue
        try:
            environment = Path(entry.path, "environ").read_bytes().split(b"\0")
        except OSError:  # another user's, or gone meanwhile
            continue
        for variable in environment:
            name, _, value = variable.decode(errors="replace").partition("=")
            if name == OWNER and not _owner_lives(value):
                found.append(int(entry.name))
    return found


def _owner_lives(value: str) -> bool:
    pid, _, started = value.partition(":")
    if not (pid.isdigit() and started.isdigit()):
        return False
    return is_alive({"pid": int(pid), "started": int(started)})
