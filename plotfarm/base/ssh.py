"""ssh to another host: one handshake a run, sessions on it, nothing that can wait for ever."""

from __future__ import annotations

import contextlib
import os
import select
import shlex
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from plotfarm.base.errors import NasUnavailable
from plotfarm.base.processes import end, spawn, tail

# sun_path holds 108 bytes, and ssh adds 17 of its own while it makes the socket.
_LONGEST_SOCKET_PATH = 88
_LAST_WORDS_SECONDS = 1.0
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

    def __init__(self, process: subprocess.Popen[bytes], errors: Path) -> None:
        assert process.stdin is not None and process.stdout is not None
        self.process = process
        self.stdin = process.stdin.fileno()
        self.stdout = process.stdout.fileno()
        self._errors = errors

    def last_words(self) -> str:
        """Return the last lines that ssh or the remote command wrote to stderr, on one line."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(_LAST_WORDS_SECONDS)  # they may still be on their way when stdout has ended
        return tail(self._errors.read_text(errors="replace"))

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
        self._directory = Path(tempfile.mkdtemp(prefix="ssh-", dir=_short(runtime)))
        self._limit = connect_timeout_seconds
        self._errors = self._directory / "errors"
        self._socket = self._directory / "s"
        self._base = [
            "ssh", *options, "-T", "-o", "BatchMode=yes", "-o", f"ConnectTimeout={int(connect_timeout_seconds)}",
            "-o", "ServerAliveInterval=10", "-o", "ServerAliveCountMax=3", "-o", "ClearAllForwardings=yes",
            "-o", f"ControlPath={self._socket}",
        ]  # fmt: skip
        self._master: subprocess.Popen[bytes] | None = None
        self.deadline = 0.0  # of the handshake, time.monotonic()

    def begin(self) -> None:
        """Begin the handshake; `went_up` tells how it goes, when `fileno` is readable or the limit has passed."""
        with open(self._errors, "ab") as errors:
            # The local command runs when the connection is up and its control socket listens: the signal to go on.
            self._master = spawn(
                [*self._base, "-o", "ControlMaster=yes", "-o", "PermitLocalCommand=yes",
                 "-o", "LocalCommand=echo up", "-N", "--", self.host],
                stdout=subprocess.PIPE, stderr=errors,
            )  # fmt: skip
        self.deadline = time.monotonic() + self._limit + 5

    def fileno(self) -> int:
        """Return the descriptor that is readable when the handshake has ended, one way or the other."""
        assert self._master is not None and self._master.stdout is not None
        return self._master.stdout.fileno()

    def went_up(self) -> bool:
        """Tell whether the handshake is done, False while it goes on; NasUnavailable with a remedy if it failed."""
        assert self._master is not None and self._master.stdout is not None
        ready, _, _ = select.select([self], [], [], 0)
        if not ready and time.monotonic() < self.deadline:
            return False
        if not ready or self._master.stdout.readline().strip() != b"up":
            end(self._master)
            raise NasUnavailable(f"cannot reach {self.host} by ssh: {self._explanation()}")
        return True

    def open(self) -> None:
        """Do the handshake; NasUnavailable with what ssh said and a remedy if it fails."""
        self.begin()
        while not self.went_up():
            select.select([self], [], [], max(0.0, self.deadline - time.monotonic()))

    def _explanation(self) -> str:
        words = tail(self._errors.read_text(errors="replace")) or "no answer"
        remedies = [remedy for sign, remedy in _REMEDIES.items() if sign in words]
        return f"{words} ({remedies[0]})" if remedies else words

    def session(self, argv: Sequence[str]) -> Session:
        """Start a command on the other host."""
        errors = self._directory / f"session-{time.monotonic_ns()}"
        with open(errors, "wb") as file:
            process = spawn(
                [*self._base, "-o", "ControlMaster=no", "--", self.host, quote(argv)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=file,
            )  # fmt: skip
        return Session(process, errors)

    def run(self, argv: Sequence[str], timeout_seconds: float) -> str:
        """Run a short command on the other host and return what it printed; NasUnavailable if it fails."""
        session = self.session(argv)
        try:
            output, _ = session.process.communicate(timeout=timeout_seconds)
        except subprocess.TimeoutExpired:
            raise NasUnavailable(f"{self.host} did not answer within {timeout_seconds:g} seconds") from None
        finally:
            session.close(0)
        if session.process.returncode:
            raise NasUnavailable(f"{self.host} refused: {session.last_words() or self._explanation()}")
        return output.decode(errors="replace")

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


def _short(runtime: Path) -> Path:
    """Return a directory of this user's whose path leaves room for a socket's name."""
    longest = _LONGEST_SOCKET_PATH - len("/ssh-12345678/s")
    for candidate in (runtime, Path(f"/run/user/{os.geteuid()}")):
        if len(os.fsencode(candidate)) <= longest and os.access(candidate, os.W_OK):
            return candidate
    return Path(tempfile.gettempdir())


def remove_leftovers(runtime: Path) -> None:
    """Remove the socket directories of earlier runs that were killed; call it while holding the run's lock."""
    for directory in runtime.glob("ssh-*") if _short(runtime) == runtime else ():
        with contextlib.suppress(OSError):
            for left in directory.iterdir():
                left.unlink()
            directory.rmdir()
