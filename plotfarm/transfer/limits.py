"""How long each step of a journey may take, although heartbeats come: a NAS that beats for ever is left.

The end that works on a drive or a file sees for itself when nothing moves; what stands here ends a session with
somebody who only pretends.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from plotfarm.transfer.outcomes import Phase

# Slower than this no drive is read that is worth having.
_LOWEST_READ_BYTES_PER_SECOND = 5_000_000
# Slower than this nobody takes a plot that means to have it, and nobody waits for it: a plot would take a fortnight.
LOWEST_TAKEN_BYTES_PER_SECOND = 100_000
_STALLS_A_WINDOW = 10  # the speed is that of so many stalls, so that a drive may hang for a moment
_READING = (
    Phase.PLACING,  # the NAS may read its part, or the plot that it has, before it answers
    Phase.READING_PART,
    Phase.READING_SOURCE,
    Phase.READING_STORED,
    Phase.CONNECTING,  # likewise, on another drive
    Phase.COMPARING,
    Phase.PUBLISHING,
    Phase.RECHECKING,  # the plotter may hash its source once more
)


@dataclass(frozen=True)
class Limits:
    """The limits of one session: seconds without any sign of life, and without progress."""

    silence_seconds: float
    stall_seconds: float

    def seconds(self, phase: Phase, size: int, patience_seconds: float = 0.0) -> float:
        """Return how long the other end may take for a step in this phase with a plot of `size` bytes."""
        limit = self.silence_seconds + 2 * self.stall_seconds
        if phase is Phase.PLACING:
            limit += patience_seconds
        if phase in _READING:
            limit += size / _LOWEST_READ_BYTES_PER_SECOND
        return limit


class Taking:
    """Watches the one who takes a plot's bytes: only the time counts that is spent waiting for it."""

    def __init__(self, stall_seconds: float) -> None:
        self._stall_seconds = stall_seconds
        self._last = self._moved = time.monotonic()
        self._seconds = 0.0  # of waiting, in this window
        self._bytes = 0

    def begin(self) -> None:
        """Begin to wait."""
        self._last = self._moved = time.monotonic()

    def took(self, count: int) -> None:
        """Note that it has taken so many bytes, perhaps none."""
        now = time.monotonic()
        self._seconds += now - self._last
        self._bytes += count
        self._last = now
        if count:
            self._moved = now

    def complaint(self) -> str:
        """Return why nobody should wait any longer, "" if there is no reason."""
        if self._last - self._moved > self._stall_seconds:
            return f"no byte was taken for {self._stall_seconds:g} seconds"
        window = _STALLS_A_WINDOW * self._stall_seconds
        if self._seconds < window:
            return ""
        speed = self._bytes / self._seconds
        self._seconds = 0.0
        self._bytes = 0
        return f"only {speed:.0f} bytes a second were taken" if speed < LOWEST_TAKEN_BYTES_PER_SECOND else ""
