"""Lets chosen system calls of the scripts fail: environments that preload fault_library.c. Needs gcc, not root."""

from __future__ import annotations

import errno
import mmap
import shutil
import struct
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

_SOURCE = Path(__file__).with_suffix(".c")
_MOST_RULES = 16
_NUMBERS = struct.Struct("3Q")

# Every call that says whether what was written has reached the drive.
SYNCS = ("fsync", "fdatasync", "sync_file_range")
READS = ("read", "pread")
WRITES = ("write", "pwrite")


class Action(StrEnum):
    """What becomes of a call."""

    FAIL = "fail"
    LOSE = "lose"  # it fails, and all that was written to the file is gone
    STOP = "stop"  # the process stops itself, and goes on with the call
    COUNT = "count"  # the bytes that come back are counted
    WATCH = "watch"  # the calls that fail are counted


@dataclass(frozen=True)
class Rule:
    """The calls that are meant: by name, on files whose whole path matches `pattern`, the `first` and so many more."""

    calls: Sequence[str]
    pattern: str
    action: Action = Action.FAIL
    error: int = errno.EIO
    first: int = 1
    count: int = 1  # 0: all from the first on
    beyond: int = 0  # of reads and writes only those that reach beyond this offset of the file

    def encode(self) -> str:
        """Return the line that the library reads."""
        fields = (",".join(self.calls), self.pattern, self.first, self.count, self.action, self.error, self.beyond)
        return "\t".join(str(field) for field in fields)


def why_no_fault_library() -> str | None:
    """Say why no library can be preloaded here, or None."""
    return None if shutil.which("gcc") else "a library that lets system calls fail is built with gcc, which is missing"


class FaultLibrary:
    """The built library, and what it has seen: all processes that are started with `environment` share its numbers."""

    def __init__(self, directory: Path, *rules: Rule, redirect: tuple[range, int] | None = None) -> None:
        """Build it below `directory`; `redirect`: connections to these ports go to the other one (see wire.py)."""
        directory.mkdir(parents=True, exist_ok=True)
        self._library = directory / "fault_library.so"
        self._state = directory / "fault_state"
        self._state.write_bytes(bytes(_MOST_RULES * _NUMBERS.size))
        self.rules = rules
        self._redirect = redirect
        command = ["gcc", "-shared", "-fPIC", "-O2", "-o", str(self._library), str(_SOURCE), "-ldl"]
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL)

    @property
    def environment(self) -> dict[str, str]:
        """What a script needs in its environment for the faults to happen."""
        found = {"LD_PRELOAD": str(self._library), "FAULT_STATE": str(self._state)}
        found["FAULT_RULES"] = "\n".join(rule.encode() for rule in self.rules)
        if self._redirect is not None:
            ports, port = self._redirect
            found["FAULT_REDIRECT"] = f"{ports.start} {ports.stop - 1} {port}"
        return found

    def environment_later(self, hours: float) -> dict[str, str]:
        """Return the environment in which it is so many hours later, by the wall clock and since the host started."""
        return {**self.environment, "FAULT_CLOCK": str(int(hours * 3600))}

    def _numbers(self, rule: Rule) -> tuple[int, int, int]:
        with open(self._state, "rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as memory:
            seen, meant, count = _NUMBERS.unpack_from(memory, self.rules.index(rule) * _NUMBERS.size)
        return seen, meant, count

    def happened(self, rule: Rule) -> int:
        """Return how many calls this rule was applied to."""
        return self._numbers(rule)[1]

    def counted(self, rule: Rule) -> int:
        """Return how many bytes the calls of a rule gave back (COUNT), or how many failed (WATCH)."""
        return self._numbers(rule)[2]
