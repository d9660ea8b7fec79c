"""Running a command as somebody does who sits at a terminal of a certain width."""

from __future__ import annotations

import os
import pty
import re
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


def run_in_terminal(
    command: Sequence[str | Path], environment: Mapping[str, str], width: int, directory: Path | None = None
) -> Shown:
    """Run a command whose input, output and errors are a terminal, and return what it has shown."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (_HEIGHT, width))
    process = subprocess.Popen(
        [str(part) for part in command],
        env={"TERM": "xterm", **environment},
        cwd=directory,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    deadline = time.monotonic() + _LIMIT_SECONDS
    shown = b""
    try:
        while time.monotonic() < deadline and (data := os.read(ours, 65536)):
            shown += data
    except OSError:  # how Linux says that nobody has the other end any more
        pass
    os.close(ours)
    return Shown(shown, process.wait(timeout=_LIMIT_SECONDS))
