"""What a NAS grants to plotters: sessions, bytes a day, unfinished bytes, and one turn after the other."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence

from plotfarm.base.changes import Releases
from plotfarm.base.config.sections import Config
from plotfarm.base.locks import Lock
from plotfarm.base.state import State
from plotfarm.base.units import DAY_SECONDS, format_bytes
from plotfarm.drives.model import Arrival
from plotfarm.drives.reservations import Reservations
from plotfarm.drives.sessions import Sessions
from plotfarm.drives.turns import Ticket, next_turns
from plotfarm.transfer.protocol import Offer
from plotfarm.transfer.storage import Refused
from plotfarm.transfer.unfinished import Part


class ArrivalLimits:
    """The limits of one session with one plotter."""

    def __init__(self, config: Config, state: State, plotter: str) -> None:
        self._config, self._state, self._plotter = config, state, plotter
        self._sessions = Sessions(config.paths.locks)
        self._session: Lock | None = None
        self._waiting_since = 0.0  # Unix time; 0: it does not wait
        self._releases: Releases | None = None

    def welcome(self) -> Refused | None:
        """Begin the session, unless the plotter has too many."""
        most = self._config.receiving.sessions_per_plotter
        with Reservations(self._config.paths.locks).mutex():
            self._session = self._sessions.take(self._plotter, most)
        if self._session is None:
            why = f"{self._plotter} has {most} sessions here already ([receiving] sessions_per_plotter)"
            return Refused(why, busy=True)
        return None

    def over_quota(self, offer: Offer, arrivals: Sequence[Arrival], parts: Sequence[Part]) -> Refused | None:
        """Refuse what would take the plotter over a quota; what is still arriving from it counts too."""
        receiving, arriving = self._config.receiving, [each for each in arrivals if each.plotter == self._plotter]
        bytes_arriving = sum(arrival.bytes for arrival in arriving)
        if receiving.daily_quota_bytes:
            used = self._state.stored_bytes_since(self._plotter, time.time() - DAY_SECONDS) + bytes_arriving
            if used + offer.size > receiving.daily_quota_bytes:
                quota, came = format_bytes(receiving.daily_quota_bytes), format_bytes(used)
                return Refused(f"the quota of {quota} in 24 hours is used up ({came} came from {self._plotter})")
        if receiving.unfinished_quota_bytes:
            left = {part.plot: part.bytes for part in parts if part.plotter == self._plotter}
            left |= {arrival.plot: arrival.bytes for arrival in arriving}
            used = sum(size for plot, size in left.items() if plot != offer.name)
            if used + offer.size > receiving.unfinished_quota_bytes:
                quota, came = format_bytes(receiving.unfinished_quota_bytes), format_bytes(used)
                return Refused(f"the quota of {quota} unfinished is used up ({came} from {self._plotter})", busy=True)
        return None

    def free_arrivals(self, arrivals: Sequence[Arrival], free_drives: int) -> int:
        """Return how many more plots may arrive now."""
        most = self._config.receiving.arrivals
        return max(0, min(free_drives, most - len(arrivals)) if most else free_drives)

    def is_our_turn(self, arrivals: Sequence[Arrival], free: int) -> bool:
        """Tell whether this session's plot is among the next `free`. Call in Reservations.mutex."""
        own = self._session.path.name if self._session else ""
        tickets = [ticket for ticket in self._sessions.tickets() if ticket.key != own]
        tickets.append(Ticket(own, self._plotter, self._waiting_since or time.time()))
        return own in next_turns(free, Counter(arrival.plotter for arrival in arrivals), tickets)

    def settled(self, settled: bool) -> None:
        """Note that this session's plot waits for its turn, or no longer does."""
        if settled and not self._waiting_since:
            return
        now = time.time()
        self._waiting_since = 0.0 if settled else self._waiting_since or now
        if self._session is not None:
            self._session.update(waiting=self._waiting_since or None, seen=now)

    def changes(self) -> int:
        """Return a descriptor that is readable when an arrival may have ended since."""
        if self._releases is None:
            self._releases = Releases()
        return self._releases.of(self._config.paths.locks.glob("drive-*.lock"))
