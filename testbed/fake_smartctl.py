"""An executable that stands for smartctl, since the disks of a test have no SMART data of their own.

It is a short script for sh, which starts in a millisecond: benchmarks run it for hundreds of disks. What it answers
for which disk is a table of files, and each call is noted.
"""

from __future__ import annotations

import shlex
from pathlib import Path

from testbed import smart_samples as samples

# $disk is the last argument; what lies under its path below `answers` is a piece of this script.
_SCRIPT = """#!/bin/sh
here={here}
for disk; do :; done
printf 'begin %s\\n' "$*" >> "$here/calls"
status=0
if [ -f "$here/answers$disk" ]
then . "$here/answers$disk"
else . "$here/other"
fi
printf 'end %s\\n' "$*" >> "$here/calls"
exit $status
"""
_HANG_SECONDS = 300  # longer than any test


class FakeSmartctl:
    """The executable `smartctl` in a directory of its own; `program` is its path.

    It says that a disk is not there unless the disk was given an answer, or all others were with `otherwise`.
    """

    def __init__(self, directory: Path, delay_seconds: float = 0.0) -> None:
        self.directory, self.delay_seconds = directory, delay_seconds
        self.program = directory / "smartctl"
        directory.mkdir(parents=True, exist_ok=True)
        self._calls = directory / "calls"
        self._calls.touch()
        self.program.write_text(_SCRIPT.format(here=shlex.quote(str(directory))))
        self.program.chmod(0o755)
        not_there = samples.not_opened("%s", "No such device").replace("'", "'\\''")
        names = ' "$disk"' * not_there.count("%s")
        self._write(directory / "other", f"printf '{not_there}'{names}\nstatus=2\n".encode())

    def says(self, disk: str, text: str | bytes, status: int = 0) -> None:
        """Answer for a disk with a text and an exit status."""
        self._write(self._path(disk), self._said(text, status))

    def otherwise(self, text: str | bytes, status: int = 0) -> None:
        """Answer so for all disks that have no answer of their own."""
        self._write(self.directory / "other", self._said(text, status))

    def runs(self, disk: str, commands: str) -> None:
        """Carry out commands for sh when it is asked about a disk."""
        self._write(self._path(disk), commands.encode())

    def sleeps(self, disk: str, awake: str) -> None:
        """Let a disk be in standby: only a call without `-n standby` gets the text `awake`."""
        self._choose(disk, "-n standby", self._said(samples.asleep(), 2), self._said(awake, 0))

    def needs_type(self, disk: str, kind: str, text: str) -> None:
        """Let a disk be behind a USB bridge that smartctl does not know: `-d kind` gets the text."""
        self._choose(disk, f"-d {kind}", self._said(text, 0), self._said(samples.unknown_bridge(disk), 1))

    def refuses(self, disk: str) -> None:
        """Let smartctl have no permission to open a disk."""
        self.says(disk, samples.not_opened(disk, "Permission denied"), 2)

    def is_virtual(self, disk: str) -> None:
        """Let a disk be one that smartctl can tell nothing about."""
        self.says(disk, samples.unknown_type(disk), 1)

    def hangs(self, disk: str, stubbornly: bool = False) -> None:
        """Never answer for a disk; stubbornly, SIGTERM does not end it either."""
        self.runs(disk, ("trap '' TERM\n" if stubbornly else "") + f"exec sleep {_HANG_SECONDS}\n")

    def talks_for_ever(self, disk: str) -> None:
        """Never end what is said about a disk."""
        self.runs(disk, "exec yes 'Temperature: 30 C'\n")

    def calls(self) -> list[str]:
        """Return the arguments of every call so far, in the order in which they began."""
        return [line.removeprefix("begin ") for line in self._log() if line.startswith("begin ")]

    def most_at_once(self) -> int:
        """Return how many calls were under way at the same time."""
        under_way = most = 0
        for line in self._log():
            under_way += 1 if line.startswith("begin ") else -1
            most = max(most, under_way)
        return most

    def _log(self) -> list[str]:
        return self._calls.read_text(errors="replace").splitlines()

    def _path(self, disk: str) -> Path:
        path = self.directory / "answers" / disk.removeprefix("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def _said(self, text: str | bytes, status: int) -> bytes:
        """Return the commands that say a text; `printf` is built into sh, where NUL bytes cannot be written."""
        data = text if isinstance(text, bytes) else text.encode("utf-8", "surrogateescape")
        delay = f"sleep {self.delay_seconds:g}\n".encode() if self.delay_seconds else b""
        quoted = data.replace(b"\0", b"").replace(b"'", b"'\\''")
        return delay + b"printf %s '" + quoted + b"'\n" + f"status={status}\n".encode()

    def _choose(self, disk: str, words: str, commands: bytes, otherwise: bytes) -> None:
        """Carry out `commands` if the arguments hold `words`."""
        case = f'case " $* " in\n*" {words} "*)\n'.encode()
        self._write(self._path(disk), case + commands + b";;\n*)\n" + otherwise + b";;\nesac\n")

    def _write(self, path: Path, commands: bytes) -> None:
        path.write_bytes(commands)
