"""Whether coins can be seen in Chia's log at all: that depends on its version and on its level."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from plotfarm.chia.log_lines import PREFIX, version_of, whole_lines

_END_BYTES = 256 * 1024
_LAST_TO_NAME_COINS_AT_INFO = (2, 7, 3)
_ANNOUNCED = (b"new coin state received (", b"Received coin state update from ")
_NAMED = (b"request coin: ", b"Add coin state: ", b"Adding coin: ", b"Adding record to state manager coin: ")


@dataclass(frozen=True)
class LogForm:
    """What the end of a log is like."""

    levels: frozenset[str] = frozenset()
    version: tuple[int, int, int] | None = None  # of its newest line; None: lines say no version (before 2.4.4)
    is_announced: bool = False  # a wallet says that something came, as every version does at INFO
    is_named: bool = False  # a coin is named

    @property
    def names_coins(self) -> bool | None:
        """Whether a coin that is received will show in it; None: that shows only when the next one comes.

        So it is with lines without a version, as Chia before 2.4.4 writes them, and later ones with log_backcompat.
        """
        if self.is_named or "DEBUG" in self.levels:
            return True
        if self.is_announced:
            return False
        return None if self.version is None else self.version <= _LAST_TO_NAME_COINS_AT_INFO


def form_of(log: Path) -> LogForm:
    """Return what the end of a log is like; OSError if it cannot be read."""
    descriptor = os.open(log, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a named pipe cannot hold us
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            return LogForm()
        file.seek(max(0, status.st_size - _END_BYTES))
        end = file.read(_END_BYTES)
    levels: set[str] = set()
    version: tuple[int, int, int] | None = None
    for line in end.split(b"\n"):
        for part in whole_lines(line):
            if prefix := PREFIX.match(part):
                levels.add(prefix["level"].decode())
                version = version_of(prefix) or version
    return LogForm(
        frozenset(levels), version, any(word in end for word in _ANNOUNCED), any(word in end for word in _NAMED)
    )
