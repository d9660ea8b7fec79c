"""Running a command as somebody does who sits at a terminal of a certain width."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import subprocess
import termios
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_HEIGHT = 50
_LIMIT_SECONDS = 60.0
_COLOURS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@dataclass(frozen=True)
class Shown:
    """What a command has shown, and how it ended."""

    raw: bytes
    returncode: int

    @property
    def text(self) -> str:
        """What is to be read, as a terminal of today understands it."""
        return self.decoded("utf-8")

    def decoded(self, encoding: str) -> str:
        """Return what is to be read in another encoding; UnicodeDecodeError if it is not in that."""
        return _COLOURS.sub("", self.raw.decode(encoding)).replace("\r\n", "\n")


class Watched:
    """A command at a terminal, with somebody who looks and types; as a context manager."""

    def __init__(
        self, command: Sequence[str | Path], environment: Mapping[str, str], width: int, directory: Path | None = None
    ) -> None:
        self._ours, theirs = pty.openpty()
        termios.tcsetwinsize(theirs, (_HEIGHT, width))
        self._process = subprocess.Popen(
            [str(part) for part in command],
            env={"TERM": "xterm", **environment},
            cwd=directory,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
            preexec_fn=_take_terminal,
        )
        os.close(theirs)
        self._deadline = time.monotonic() + _LIMIT_SECONDS
        self.shown = b""

    def __enter__(self) -> Watched:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._ours)

    def wait_for(self, what: bytes) -> None:
        """Return when it has shown something; AssertionError if it ends, or takes too long."""
        while what not in self.shown:
            assert self._read(), f"it never showed {what!r}, but: {self.shown!r}"

    def press(self, keys: bytes) -> None:
        """Type something; Ctrl-C is 0x03."""
        os.write(self._ours, keys)

    def returncode(self) -> int:
        """Return how it ended, once it has."""
        while self._read():
            pass
        return self._process.wait(timeout=_LIMIT_SECONDS)

    def _read(self) -> bool:
        """Take what it shows next; False if it has ended."""
        left = self._deadline - time.monotonic()
        assert left > 0, f"it took too long, and has shown: {self.shown!r}"
        if not select.select([self._ours], [], [], left)[0]:
            return True
        try:
            data = os.read(self._ours, 65536)
        except OSError:  # how Linux says that nobody has the other end any more
            return False
        self.shown += data
        return bool(data)


def _take_terminal() -> None:
    """Make standard input the controlling terminal, so that Ctrl-C is a signal."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # tests that run in the background ignore Ctrl-C


def run_in_terminal(
    command: Sequence[str | Path], environment: Mapping[str, str], width: int, directory: Path | None = None
) -> Shown:
    """Run a command whose input, output and errors are a terminal, and return what it has shown."""
    with Watched(command, environment, width, directory) as watched:
        status = watched.returncode()
    return Shown(watched.shown, status)
