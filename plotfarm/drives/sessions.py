"""The conversations with plotters that are under way on this NAS, and which of them wait for their turn.

Each holds one of a number of lock files, so that it is gone the moment its process is.
"""

from __future__ import annotations

import time
from pathlib import Path

from plotfarm.base.locks import Lock, LockBusy, holder
from plotfarm.drives.turns import Ticket

_MOST = 1000
_STALE_SECONDS = 60.0  # a waiting process looks again far more often; one that does not is stopped


class Sessions:
    """The sessions in one lock directory. Call everything in Reservations.mutex."""

    def __init__(self, lock_directory: Path) -> None:
        self._directory = lock_directory

    def take(self, plotter: str, most: int) -> Lock | None:
        """Begin a session of a plotter, None if it has `most` already (or this host a thousand)."""
        count, free = 0, None
        for path in self._paths():
            content = holder(path)
            if content is None:
                free = free or path
            else:
                count += content.get("plotter") == plotter
        path = free or self._directory / f"session-{len(self._paths()):03}.lock"
        if count >= most or (len(self._paths()) >= _MOST and free is None):
            return None
        lock = Lock(path)
        try:
            lock.acquire(plotter=plotter)
        except LockBusy:  # somebody outside the mutex looks at it just now
            lock.acquire(wait=True, plotter=plotter)
        return lock

    def tickets(self) -> list[Ticket]:
        """Return the sessions that wait for their turn."""
        found, now = [], time.time()
        for path in self._paths():
            content = holder(path) or {}
            since, seen = content.get("waiting"), content.get("seen", 0)
            if isinstance(since, float) and isinstance(seen, float) and abs(now - seen) < _STALE_SECONDS:
                found.append(Ticket(path.name, str(content.get("plotter", "")), since))
        return found

    def _paths(self) -> list[Path]:
        return sorted(self._directory.glob("session-*.lock"))
