"""ssh to another host: one handshake a run, sessions on it, nothing that can wait for ever.

What the other host says is read as it comes and bounded, and becomes one printable line before anybody sees it.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import shlex
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from plotfarm.base.errors import NasUnavailable
from plotfarm.base.last_output import LastOutput
from plotfarm.base.locks import is_alive, process_started
from plotfarm.base.processes import end, spawn
from plotfarm.base.ssh_options import FLAGS, effective_options, held_options, resolved_host
from plotfarm.base.text import one_line

MOST_OUTPUT_BYTES = 65536  # of a short command on the other host

# sun_path holds 108 bytes, and ssh adds 17 of its own while it makes the socket.
_LONGEST_SOCKET_PATH = 88
# A directory for a socket is called after the process that it belongs to. Agents keep theirs in /tmp/ssh-*.
_PREFIX = "plots-ssh-"
_LONGEST_NAME = len(_PREFIX + "4194304-123456789012-12345678/s")
_NAME = re.compile(re.escape(_PREFIX) + r"(\d+)-(\d+)-\w+")
_LAST_WORDS_SECONDS = 1.0
# What ssh says when sshd closes a connection before it has greeted: it has too many that are not logged in yet
# (MaxStartups), and lets others in a moment later.
_DROPPED = ("kex_exchange_identification", "ssh_exchange_identification", "Exceeded MaxStartups")
_PAUSE_SECONDS = (0.1, 0.6)  # at least, at most
SSH_FAILED = 255  # the exit status of ssh where it is not that of the remote command: ssh(1)
_REMEDIES = {
    "Host key verification failed": "log in once by hand to accept the host's key",
    "Permission denied": "the key is not accepted there: see the authorized_keys line in the README",
    "Could not resolve hostname": "check the name in [nas] hosts",
    "Connection refused": "is sshd running there?",
    "timed out": "is the host up, and the network between?",
}


def quote(argv: Sequence[str]) -> str:
    """Make the one string that ssh hands to the remote shell; the only place where that is done."""
    return shlex.join(argv)


class Session:
    """A command that runs on the other host: a process with pipes to its stdin and from its stdout."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdin is not None and process.stdout is not None and process.stderr is not None
        self.process = process
        self.stdin = process.stdin.fileno()
        self.stdout = process.stdout.fileno()
        self._errors = LastOutput(process.stderr)

    def last_words(self) -> str:
        """Return the last lines that ssh or the remote command wrote to stderr, as one printable line."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(_LAST_WORDS_SECONDS)  # they may still be on their way when stdout has ended
            self._errors.wait_for_end(_LAST_WORDS_SECONDS)
        return self._errors.lines()

    def close(self, grace_seconds: float = 5.0) -> None:
        """End the session: the remote side sees the end of its input; ssh is killed if it lingers."""
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(grace_seconds)
        end(self.process)


class Connection:
    """One ssh connection (a ControlMaster that dies with this process) and sessions on it."""

    def __init__(self, host: str, options: Sequence[str], connect_timeout_seconds: float, runtime: Path) -> None:
        self.host = host
        self.begun = 0.0  # the handshake, time.monotonic()
        self.deadline = 0.0  # of the handshake, likewise
        self._options = tuple(options)
        self._limit = connect_timeout_seconds
        owner = f"{os.getpid()}-{process_started(os.getpid())}"
        self._directory = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{owner}-", dir=_short(runtime)))
        self._socket = self._directory / "s"
        self._master: subprocess.Popen[bytes] | None = None
        self._errors: LastOutput | None = None
        self._again_at: float | None = None  # time.monotonic; None: no pause

    def _command(self, flags: Sequence[str], *more: str) -> list[str]:
        """Return an ssh to the host, up to its name: `flags`, then the options `more` and those that always hold."""
        set_here = [*flags, "-o", f"ControlPath={self._socket}"]
        for option in more:
            set_here += ["-o", option]
        by_default = [
            *("-o", f"ConnectTimeout={int(self._limit)}"),
            *("-o", "ServerAliveInterval=10"),
            *("-o", "ServerAliveCountMax=3"),
        ]
        return ["ssh", *set_here, *held_options(self.host, self._options), *self._options, *by_default, *FLAGS]

    def begin(self) -> None:
        """Begin the handshake; `went_up` tells how it goes, when `fileno` is readable or `wake_at` has come.

        NasUnavailable if ssh does not accept its options.
        """
        self.begun = time.monotonic()
        self.deadline = self.begun + self._limit + 5
        self._start_master()

    def _start_master(self) -> None:
        # The local command runs when the connection is up and its control socket listens: the signal to go on.
        command = self._command(["-N"], "ControlMaster=yes", "PermitLocalCommand=yes", "LocalCommand=echo up")
        self._master = spawn(
            [*command, "--", self.host],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert self._master.stderr is not None
        self._errors = LastOutput(self._master.stderr)
        self._again_at = None

    @property
    def seconds(self) -> float:
        """How long ago the handshake was begun."""
        return time.monotonic() - self.begun

    @property
    def is_pausing(self) -> bool:
        """Whether sshd has dropped the handshake, and another one has yet to begin: nothing is readable meanwhile."""
        return self._again_at is not None

    @property
    def wake_at(self) -> float:
        """When `went_up` has something to do although nothing is readable (time.monotonic)."""
        return self.deadline if self._again_at is None else self._again_at

    def fileno(self) -> int:
        """Return the descriptor that is readable when the handshake has ended, one way or the other."""
        assert self._master is not None and self._master.stdout is not None
        return self._master.stdout.fileno()

    def went_up(self) -> bool:
        """Tell whether the handshake is done, False while it goes on; NasUnavailable with a remedy if it failed.

        One that sshd has dropped is begun again after a pause, within the limit for connecting.
        """
        if self._again_at is not None:
            if time.monotonic() >= self._again_at:
                self._start_master()
            return False
        assert self._master is not None
        ready, _, _ = select.select([self], [], [], 0)
        if not ready and time.monotonic() < self.deadline:
            return False
        if ready and os.read(self.fileno(), 64).strip() == b"up":
            return True

        end(self._master)
        why = self._explanation()
        again_at = time.monotonic() + _random_pause_seconds()
        if any(sign in why for sign in _DROPPED) and again_at < self.begun + self._limit:
            self._again_at = again_at
            return False
        raise NasUnavailable(f"cannot reach {self.host} by ssh: {why}")

    def open(self) -> None:
        """Do the handshake; NasUnavailable with what ssh said and a remedy if it fails."""
        self.begin()
        while not self.went_up():
            watched = [] if self.is_pausing else [self]
            select.select(watched, [], [], max(0.0, self.wake_at - time.monotonic()))

    def _explanation(self) -> str:
        words = ""
        if self._errors is not None:
            if self._master is not None and self._master.poll() is not None:
                self._errors.wait_for_end(_LAST_WORDS_SECONDS)
            words = self._errors.lines()
        words = words or "no answer"
        remedies = [remedy for sign, remedy in _REMEDIES.items() if sign in words]
        return f"{words} ({remedies[0]})" if remedies else words

    def address(self) -> str:
        """Return where this connection leads to: the address at its other end, while it is up.

        Where ssh goes through a proxy or another host, that is none of the NAS's: then it is what `resolved_host`
        says, which may be a name. NasUnavailable as there.
        """
        effective = effective_options(self.host, self._options)
        is_direct = all(effective.get(each, "none") == "none" for each in ("proxycommand", "proxyjump"))
        if is_direct and self._master is not None:
            import psutil  # takes a while, and is wanted once a connection

            with contextlib.suppress(psutil.Error):
                for each in psutil.Process(self._master.pid).net_connections("tcp"):
                    # A link-local address is none without its interface, which the configuration has.
                    is_usable = each.raddr and not each.raddr.ip.startswith("fe80:")
                    if each.status == psutil.CONN_ESTABLISHED and is_usable:
                        return str(each.raddr.ip).removeprefix("::ffff:")
        return resolved_host(self.host, self._options)

    def session(self, argv: Sequence[str]) -> Session:
        """Start a command on the other host."""
        command = self._command([], "ControlMaster=no", "PermitLocalCommand=no")
        process = spawn(
            [*command, "--", self.host, quote(argv)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        return Session(process)

    def run(self, argv: Sequence[str], timeout_seconds: float) -> str:
        """Run a short command on the other host and return what it printed, each line printable.

        NasUnavailable if it fails, takes too long, or prints more than 64 KiB.
        """
        session = self.session(argv)
        try:
            output = self._read_all(session, timeout_seconds)
        finally:
            session.close(0)
        if session.process.returncode:
            raise NasUnavailable(f"{self.host} refused: {session.last_words() or self._explanation()}")
        lines = output.decode(errors="backslashreplace").splitlines()
        return "\n".join(one_line(line) for line in lines)

    def _read_all(self, session: Session, timeout_seconds: float) -> bytes:
        """Return what a command printed when it has ended."""
        assert session.process.stdin is not None
        session.process.stdin.close()
        deadline = time.monotonic() + timeout_seconds
        output = b""
        while select.select([session.stdout], [], [], max(0.0, deadline - time.monotonic()))[0]:
            data = os.read(session.stdout, MOST_OUTPUT_BYTES)
            output += data
            if len(output) > MOST_OUTPUT_BYTES:
                raise NasUnavailable(f"{self.host} said more than {MOST_OUTPUT_BYTES} bytes")
            if not data:
                break
        try:
            session.process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            raise NasUnavailable(f"{self.host} did not answer within {timeout_seconds:g} seconds") from None
        return output

    def let_go(self) -> None:
        """Have the connection end by itself; `close` waits until it has."""
        if self._master is not None and self._master.poll() is None:
            self._master.terminate()

    def close(self) -> None:
        """End the connection and remove its socket."""
        if self._master is not None:
            end(self._master)
        with contextlib.suppress(OSError):
            for left in self._directory.iterdir():
                left.unlink()
            self._directory.rmdir()

    def __enter__(self) -> Connection:
        try:
            self.open()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _random_pause_seconds() -> float:
    """Return how long to wait before another handshake: not so long as all others that were dropped."""
    import random  # takes a moment, and is seldom needed

    return random.uniform(*_PAUSE_SECONDS)  # noqa: S311 - nobody gains by guessing it


def _short(runtime: Path) -> Path:
    """Return a directory of this user's whose path leaves room for a socket's name."""
    longest = _LONGEST_SOCKET_PATH - len("/") - _LONGEST_NAME
    for candidate in _places(runtime)[:-1]:
        if len(os.fsencode(candidate)) <= longest and os.access(candidate, os.W_OK):
            return candidate
    return _places(runtime)[-1]


def _places(runtime: Path) -> tuple[Path, ...]:
    """Return where directories for sockets may be, the best first."""
    return runtime, Path(f"/run/user/{os.geteuid()}"), Path(tempfile.gettempdir())


def remove_leftovers(runtime: Path) -> None:
    """Remove the socket directories of runs that were killed, wherever those put them."""
    for directory in (each for place in _places(runtime) for each in place.glob(f"{_PREFIX}*")):
        owner = _NAME.fullmatch(directory.name)
        if owner is None or is_alive({"pid": int(owner[1]), "started": int(owner[2])}):
            continue
        with contextlib.suppress(OSError):
            for left in directory.iterdir():
                left.unlink()
            directory.rmdir()
