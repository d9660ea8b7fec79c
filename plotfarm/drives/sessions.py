"""The sessions with plotters that are under way on this NAS, and which of them wait for their turn.

Each holds one of a number of lock files, so that it is gone the moment its process is.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from plotfarm.base.lock_waits import LockTimeout, note_in_vain
from plotfarm.base.locks import Lock, LockBusy, holder

if TYPE_CHECKING:  # a session is counted before anything that takes long to load
    from plotfarm.drives.turns import Ticket

_GRANTED = "session"
_TURNED_AWAY = "refused"
_MOST_GRANTED = 1000  # on this host
_MOST_TURNED_AWAY = 100
_TURNED_AWAY_PER_PLOTTER = 4  # who hear in so many words that they have too many; others are not even heard
_LOOK_SECONDS = 2.0  # somebody who looks at a lock holds it for microseconds; everybody else waits meanwhile
_STALE_SECONDS = 60.0  # a waiting process looks again far more often; one that does not is stopped


@dataclass(frozen=True)
class Session:
    """One session: the lock that stands for it, and whether it may ask for anything."""

    lock: Lock
    is_granted: bool


class Sessions:
    """The sessions in one lock directory. Call everything in Reservations.mutex."""

    def __init__(self, lock_directory: Path) -> None:
        self._directory = lock_directory

    def begin(self, plotter: str, most: int) -> Session | None:
        """Begin a session of a plotter, as the first thing that its process does.

        It is not granted if the plotter has `most` already. None: so many are being turned away that this one is to
        end at once.
        """
        granted = self._take(_GRANTED, plotter, most, _MOST_GRANTED)
        if granted is not None:
            return Session(granted, is_granted=True)
        refused = self._take(_TURNED_AWAY, plotter, _TURNED_AWAY_PER_PLOTTER, _MOST_TURNED_AWAY)
        return Session(refused, is_granted=False) if refused is not None else None

    def _take(self, purpose: str, plotter: str, most: int, most_here: int) -> Lock | None:
        """Take a free lock of this purpose; None if the plotter holds `most` of them, or all plotters `most_here`."""
        paths = self._paths(purpose)
        free = None
        count = 0
        for path in paths:
            content = holder(path)
            if content is None:
                free = free or path
            else:
                count += content.get("plotter") == plotter
        if count >= most or (free is None and len(paths) >= most_here):
            return None

        lock = Lock(free or self._directory / f"{purpose}-{len(paths):03}.lock")
        try:
            lock.acquire(plotter=plotter)
        except LockBusy:  # somebody outside the mutex looks at it just now
            _wait_for(lock, plotter)
        return lock

    def tickets(self) -> list[Ticket]:
        """Return the sessions that wait for their turn."""
        from plotfarm.drives.turns import Ticket

        now = time.time()
        found = []
        for path in self._paths(_GRANTED):
            content = holder(path) or {}
            since, seen = content.get("waiting"), content.get("seen", 0)
            if isinstance(since, float) and isinstance(seen, float) and abs(now - seen) < _STALE_SECONDS:
                found.append(Ticket(path.name, str(content.get("plotter", "")), since))
        return found

    def _paths(self, purpose: str) -> list[Path]:
        return sorted(self._directory.glob(f"{purpose}-*.lock"))


def _wait_for(lock: Lock, plotter: str) -> None:
    try:
        lock.acquire(wait=True, limit_seconds=_LOOK_SECONDS, plotter=plotter)
    except LockTimeout as timeout:
        note_in_vain(timeout)
        raise
