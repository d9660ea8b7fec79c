"""Whose turn it is to ask a drive: one lock for each drive and purpose, and since when the drive does not answer.

The kernel remembers a drive that hangs: the thread that hangs in it holds the lock until the drive answers, or until
its process could be ended. The mark in the lock's file only says since when, and how long a wait still makes sense: no
drive is called silent by a mark alone that nobody stands behind.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from pathlib import Path
from types import TracebackType

from plotfarm.base.lock_files import open_lock_file
from plotfarm.drives.model import lock_name

_LONGEST_MARK = 64
_SHORTEST_PAUSE_SECONDS = 0.001  # a drive that is in order is asked in less
_LONGEST_PAUSE_SECONDS = 0.02


class Turn:
    """The lock of one drive for one purpose, as a context manager: not held at first.

    OSError or LockRefused if it cannot be opened. Only one thread works with it, but for `mark`.
    """

    def __init__(self, directory: Path, purpose: str, identity: str) -> None:
        self._file = open_lock_file(directory / lock_name(purpose, identity))

    def __enter__(self) -> Turn:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._file)

    def take(self, until: float) -> bool:
        """Take the turn; False if whoever has it waits for a silent drive, or `until` (time.monotonic) has come."""
        pause = _SHORTEST_PAUSE_SECONDS
        while not self.is_taken():
            if self.silent_since() is not None or time.monotonic() >= until:
                return False
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
        return True

    def is_taken(self) -> bool:
        """Take the turn if nobody has it just now."""
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def silent_since(self) -> float | None:
        """Return since when (Unix time) whoever had the turn last has waited for the drive; None: it answered."""
        try:
            return float(os.pread(self._file, _LONGEST_MARK, 0))
        except ValueError:
            return None

    def mark(self, since: float) -> None:
        """Write down that the drive has not answered since a Unix time; where that cannot be written, others wait."""
        with contextlib.suppress(OSError):
            os.pwrite(self._file, f"{since:.3f}\n".encode(), 0)

    def clear(self) -> None:
        """Write down that it has answered."""
        with contextlib.suppress(OSError):
            os.ftruncate(self._file, 0)
