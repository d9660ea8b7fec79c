"""Keeping a transfer below a speed, and out of the way of a harvester that waits for the same drive."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

_LONGEST_CREDIT_SECONDS = 1.0  # what a transfer was slower before it may catch up, but not more
_LOOK_SECONDS = 0.25
_STEP_BYTES = 16 * 1024 * 1024  # written between two rests while lookups are slow: never a stall
_REST_SECONDS = 1.0


class Pace:
    """A limit of so many bytes a second; 0: none."""

    def __init__(self, bytes_per_second: float) -> None:
        self._bytes_per_second = bytes_per_second
        self._due = time.monotonic()

    def rest(self, count: int) -> float:
        """Return for how many seconds to rest after another `count` bytes."""
        if not self._bytes_per_second:
            return 0.0
        now = time.monotonic()
        self._due = max(self._due, now - _LONGEST_CREDIT_SECONDS) + count / self._bytes_per_second
        return max(0.0, self._due - now)


class Lookups:
    """How long reads of a drive take, by the kernel's own count: while a plot arrives those are the harvester's.

    Source: Documentation/block/stat.rst, reads (1st field) and the milliseconds that they took (4th).
    """

    def __init__(self, device_number: int, limit_milliseconds: float, stat: Path | None = None) -> None:
        device = f"{os.major(device_number)}:{os.minor(device_number)}"
        self._stat = stat or Path("/sys/dev/block", device, "stat")
        self._limit = limit_milliseconds
        self._looked, self._since_rest = time.monotonic(), 0
        self._before = self._read() if limit_milliseconds else None
        self.is_slow = False

    def _read(self) -> tuple[int, int] | None:
        try:
            fields = self._stat.read_text().split()
            return int(fields[0]), int(fields[3])
        except (OSError, ValueError, IndexError):  # no block device: nothing can be known, nothing is slowed
            return None

    def rest(self, count: int) -> float:
        """Return for how many seconds to let the drive alone after another `count` bytes were written to it."""
        if self._before is None:
            return 0.0
        now = time.monotonic()
        if now - self._looked > _LOOK_SECONDS:
            self._looked = now
            self._look()
        self._since_rest += count
        if not self.is_slow or self._since_rest < _STEP_BYTES:
            return 0.0
        self._since_rest = 0
        return _REST_SECONDS

    def _look(self) -> None:
        after = self._read()
        if after is None or self._before is None:
            self._before = None
            return
        reads, milliseconds = after[0] - self._before[0], after[1] - self._before[1]
        self._before = after
        # Without a read nothing new is known: a drive that keeps one waiting is still slow.
        if reads > 0:
            self.is_slow = milliseconds / reads > self._limit


def rester(*rests: Callable[[int], float]) -> Callable[[int], None]:
    """Return a function that sleeps as long as the most demanding of `rests` asks for; for a process of its own."""
    before = 0

    def after(done: int) -> None:
        nonlocal before
        seconds = max(rest(done - before) for rest in rests)
        before = done
        if seconds:
            time.sleep(seconds)

    return after
