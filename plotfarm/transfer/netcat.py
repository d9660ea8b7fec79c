"""The two netcats that Debian has, and a listener that is known to listen before anybody is told of it."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import functools
import hmac
import os
import re
import select
import subprocess
import time
from pathlib import Path

from plotfarm.base.errors import CommandFailed, TransferFailed
from plotfarm.base.locks import is_alive, process_started
from plotfarm.base.processes import end, find_program, run, spawn, tail
from plotfarm.transfer.addresses import AllowedClients, checked_address, checked_port, numeric_address
from plotfarm.transfer.pipe import TOKEN_SECONDS, PipeLost, Wait

# Marks a listener as this suite's own, with the process that answers for it.
OWNER = "PLOT_MANAGER_LISTENER_OF"
# Anything else under that name was not written by this suite.
_OWNED = re.compile(OWNER.encode() + rb"=(?P<pid>[0-9]{1,10}):(?P<started>[0-9]{1,18})")
_START_SECONDS = 10.0
SEND_SCRIPT = Path(__file__).resolve().parents[2] / "send_plot.sh"
_SPLICE_F_NONBLOCK = 2  # splice(2); os has the function without the flags
_MOST_WORDS = 65536
# How the netcats report who has connected: openbsd of today, openbsd of before, traditional (who also names those
# that it turns away itself).
_PEERS = (
    re.compile(r"received on (\S+) [0-9]+"),
    re.compile(r"onnection from (\S+) [0-9]+ received"),
    re.compile(r"from \S+ \[([^]\s]+)\] [0-9]+"),
)
_PIPE_BYTES = 1024 * 1024  # the most that an unprivileged process may have: fcntl(2), F_SETPIPE_SZ


@functools.cache
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


class NetcatListener:
    """A netcat that listens for one connection; what arrives comes out of `pipe`, what it says itself of `words`."""

    def __init__(self, program: str, flavour: str, address: str, port: int, allowed: AllowedClients) -> None:
        owner = f"{os.getpid()}:{process_started(os.getpid())}"
        self._process = spawn(
            [program, "-l", "-n", "-v", *_where(flavour, checked_address(address), checked_port(port), allowed)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            environment={OWNER: owner},
        )
        assert self._process.stdout is not None and self._process.stderr is not None
        self.pipe = self._process.stdout.fileno()
        self.words = self._process.stderr.fileno()
        self._allowed = allowed
        self._said = b""
        self._is_accepted = False
        widen_pipe(self.pipe)
        os.set_blocking(self.words, False)

    def wait_until_listening(self) -> None:
        """Return when netcat says that it listens; TransferFailed with its words if it does not."""
        deadline = time.monotonic() + _START_SECONDS
        while b"istening on" not in self._said:
            if not select.select([self.words], [], [], max(0.0, deadline - time.monotonic()))[0]:
                raise TransferFailed(f"netcat did not listen within {_START_SECONDS:g} seconds")
            if not self._read_words():
                raise TransferFailed(f"netcat could not listen: {tail(self._said.decode(errors='replace'))}")

    def accept(self, token: bytes, wait: Wait, deadline: float) -> int | None:
        """Return the pipe with the token taken off; None if the one who connected has none, or nobody comes in time.

        Who it is counts first, and netcat says that before the first byte comes.
        """
        peer = self._peer()
        while peer is None:
            ready = wait([self.words], max(0.0, deadline - time.monotonic()))
            if ready and not self._read_words():
                return None  # traditional netcat itself has turned somebody away
            peer = self._peer()
            if peer is None and time.monotonic() >= deadline:
                return None
        if not self._allowed.allow(peer):
            return None

        deadline = min(deadline, time.monotonic() + TOKEN_SECONDS)
        received = b""
        while token.startswith(received) and received != token:
            ready = wait([self.pipe], max(0.0, deadline - time.monotonic()))
            data = os.read(self.pipe, len(token) - len(received)) if ready else b""
            received += data
            if not data and (ready or time.monotonic() >= deadline):
                return None
        self._is_accepted = hmac.compare_digest(received, token)
        return self.pipe if self._is_accepted else None

    def _read_words(self) -> bool:
        """Read what netcat says itself; False if it has ended, or says more than it has to say."""
        try:
            data = os.read(self.words, _MOST_WORDS)
        except BlockingIOError:
            return True
        self._said += data
        return bool(data) and len(self._said) <= _MOST_WORDS

    def _peer(self) -> str | None:
        """Return the address that connected, None if nobody did yet."""
        said = self._said.decode(errors="replace")
        found = next((match for pattern in _PEERS if (match := pattern.search(said))), None)
        return found.group(1) if found else None

    def turned_away(self) -> str:
        """Return the address that connected and was turned away, "" if nobody was."""
        return "" if self._is_accepted else self._peer() or ""

    def close(self) -> None:
        """End netcat and let go of its pipe."""
        self._process.kill()
        end(self._process)
        for pipe in (self._process.stdout, self._process.stderr):
            if pipe is not None:
                pipe.close()


def _where(flavour: str, address: str, port: int, allowed: AllowedClients) -> list[str]:
    if flavour == "openbsd":
        return ["--", address, str(port)]
    # This one turns others away itself, when it knows the only address that may come.
    client = ["--", allowed.only_one] if allowed.only_one else []
    return ["-s", address, "-p", str(port), *client]


class NetcatPipe:
    """send_plot.sh, the sending end of one netcat pipe, to an address that this host's configuration leads to."""

    first_pause_seconds = 0.0003  # longer, and netcat would run dry before a busy machine wakes this process

    def __init__(self, address: str, port: int, netcat: str) -> None:
        try:
            argv = [str(SEND_SCRIPT), numeric_address(address), str(checked_port(port)), netcat]
        except TransferFailed as error:
            raise PipeLost(str(error)) from None
        self._process = spawn(argv, stdin=subprocess.PIPE, stderr=subprocess.PIPE)
        assert self._process.stdin is not None
        self.descriptor = self._process.stdin.fileno()
        widen_pipe(self.descriptor)
        os.set_blocking(self.descriptor, False)

    def write(self, chunk: memoryview) -> int:
        """Write what the pipe takes now, perhaps nothing; PipeLost if netcat has ended."""
        try:
            return os.write(self.descriptor, chunk)
        except BlockingIOError:
            return 0
        except BrokenPipeError:
            raise PipeLost(f"the data connection ended: {self._last_words()}") from None

    def put(self, chunk: memoryview, source: int, offset: int) -> int:
        """Move what the pipe takes now of the chunk that lies at `offset` of the file `source`, perhaps nothing.

        The kernel hands over the file's pages without copying them. Should they have changed since they were hashed,
        the hashes differ in the end. PipeLost if netcat has ended.
        """
        try:
            return os.splice(source, self.descriptor, len(chunk), offset_src=offset, flags=_SPLICE_F_NONBLOCK)
        except BlockingIOError:
            return 0
        except BrokenPipeError:
            raise PipeLost(f"the data connection ended: {self._last_words()}") from None
        except OSError as error:
            if error.errno != errno.EINVAL:  # a file system that cannot splice
                raise
            return self.write(chunk)

    def close_input(self) -> None:
        """Tell netcat that this was all."""
        assert self._process.stdin is not None
        self._process.stdin.close()

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
        owners = [match for match in map(_OWNED.fullmatch, environment) if match]
        if owners and not any(_is_alive(owner) for owner in owners):
            found.append(int(entry.name))
    return found


def _is_alive(owner: re.Match[bytes]) -> bool:
    return is_alive({"pid": int(owner["pid"]), "started": int(owner["started"])})
