"""What a NAS grants to plotters: sessions, bytes a day, unfinished bytes, and one turn after the other."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence

from plotfarm.base.changes import Releases
from plotfarm.base.config.sections import Config
from plotfarm.base.state import State
from plotfarm.base.units import format_bytes
from plotfarm.drives.model import Arrival, Reading
from plotfarm.drives.reservations import Reservations
from plotfarm.drives.sessions import Session, Sessions
from plotfarm.drives.turns import Ticket, next_turns, yields
from plotfarm.plots.parts import PartFacts
from plotfarm.transfer.effects import RefusedPlacement
from plotfarm.transfer.messages import Offer
from plotfarm.transfer.outcomes import Refusal

_LONGEST_SHARE = 10  # times yield_seconds: so long the only plot of a plotter holds a drive that another one waits for
# A plotter asks and offers once for each plot. More than a few that lead to nothing are worth no haste: each costs a
# look at every drive, and lines in the log.
_WISHES_AT_ONCE = 50
_WISHES_PER_SECOND = 1.0
_LONGEST_PAUSE_SECONDS = 2.0  # shorter than any limit on silence that makes sense


class Allowance:
    """So many things may be done at once, and then so many a second."""

    def __init__(self, at_once: int, per_second: float) -> None:
        self._most = float(at_once)
        self._per_second = per_second
        self._left = self._most
        self._counted = 0.0  # time.monotonic

    def take(self, now: float) -> float:
        """Do one more at `now` (time.monotonic); returns for how many seconds to wait before that."""
        if self._counted:
            self._left = min(self._most, self._left + (now - self._counted) * self._per_second)
        self._counted = now
        self._left = max(self._left - 1, -_LONGEST_PAUSE_SECONDS * self._per_second)
        return max(0.0, -self._left / self._per_second)

    def give_back(self) -> None:
        """Have one of them not count."""
        self._left = min(self._most, self._left + 1)


class ArrivalLimits:
    """The limits of one session with one plotter."""

    def __init__(self, config: Config, state: State, plotter: str, session: Session | None = None) -> None:
        """Keep to the limits; `session` None: this host itself moves plots, and needs no leave."""
        self._config = config
        self._state = state
        self._plotter = plotter
        self._reservations = Reservations(config.paths.locks)
        self._sessions = Sessions(config.paths.locks)
        self._session = session
        self._allowance = Allowance(_WISHES_AT_ONCE, _WISHES_PER_SECOND)
        self._waiting_since = 0.0  # Unix time; 0: it does not wait
        self._releases: Releases | None = None

    def welcome(self) -> RefusedPlacement | None:
        """Let the plotter in, unless it has too many sessions."""
        if self._session is None or self._session.is_granted:
            return None
        most = self._config.receiving.sessions_per_plotter
        detail = f"{self._plotter} has {most} sessions here already ([receiving] sessions_per_plotter)"
        return RefusedPlacement(Refusal.SESSIONS, detail)

    def wish(self) -> None:
        """Take the time that one more question or offer costs, if there were many that led to nothing."""
        if self._session is not None:
            time.sleep(self._allowance.take(time.monotonic()))

    def is_granted(self) -> None:
        """Note that a wish has led to a plot: such wishes are not counted."""
        self._allowance.give_back()

    def over_quota(
        self, offer: Offer, arrivals: Sequence[Arrival], readings: Sequence[Reading]
    ) -> RefusedPlacement | None:
        """Refuse what would take the plotter over a quota: all that lies on the drives for it counts.

        A plot whose part has its room already is never refused: it takes no more, and its part goes with it.
        """
        receiving = self._config.receiving
        arriving = sum(arrival.bytes for arrival in arrivals if arrival.plotter == self._plotter)
        kept, resumable = self._kept_bytes(offer, arrivals, readings)
        unfinished = arriving + kept
        if resumable >= offer.size:
            return None

        if receiving.daily_quota_bytes:
            used = self._state.received_bytes(self._plotter) + unfinished
            if not self._state.database.is_lasting:
                return RefusedPlacement(Refusal.DAILY_QUOTA, "the state database cannot be used, so nobody can count")
            if used + offer.size > receiving.daily_quota_bytes:
                quota, came = format_bytes(receiving.daily_quota_bytes), format_bytes(used)
                detail = f"the quota of {quota} in 24 hours is used up ({came} came from {self._plotter})"
                return RefusedPlacement(Refusal.DAILY_QUOTA, detail)
        if receiving.unfinished_quota_bytes and unfinished + offer.size > receiving.unfinished_quota_bytes:
            quota, came = format_bytes(receiving.unfinished_quota_bytes), format_bytes(unfinished)
            detail = f"the quota of {quota} unfinished is used up ({came} from {self._plotter})"
            return RefusedPlacement(Refusal.UNFINISHED_QUOTA, detail)
        return None

    def _kept_bytes(self, offer: Offer, arrivals: Sequence[Arrival], readings: Sequence[Reading]) -> tuple[int, int]:
        """Return what the parts of the plotter take, but for those that count as arrivals, and what this offer's takes.

        The part that this very offer would go on with is left out of the first: its bytes are among those offered.
        """
        counted = {arrival.arrival_id for arrival in arrivals if arrival.plotter == self._plotter}
        facts = PartFacts(self._plotter, offer.size, offer.id)
        own = [
            part
            for reading in readings
            for part in reading.parts
            # One that was alive when the drive was asked may be that of an arrival that has ended since.
            if part.facts is not None and part.facts.plotter == self._plotter and part.arrival not in counted
        ]
        resumable = [part.allocated_bytes for part in own if part.plot == offer.name and part.facts == facts]
        resumed = min(max(resumable, default=0), offer.size)
        return sum(part.allocated_bytes for part in own) - resumed, resumed

    def free_arrivals(self, arrivals: Sequence[Arrival], free_drives: int) -> int:
        """Return how many more plots may arrive now."""
        most = self._config.receiving.arrivals
        return max(0, min(free_drives, most - len(arrivals)) if most else free_drives)

    def is_our_turn(self, arrivals: Sequence[Arrival], free: int) -> bool:
        """Tell whether this session's plot is among the next `free`. Call in Reservations.mutex."""
        own = self._own_key()
        tickets = [*self._others(), Ticket(own, self._plotter, self._waiting_since or time.time())]
        counts = Counter(arrival.plotter for arrival in arrivals)
        return own in next_turns(free, counts, tickets, self._reservations.last_served())

    def is_wanted_by_others(self) -> bool:
        """Tell whether another plot waits for a drive. Call in Reservations.mutex."""
        return bool(self._others())

    def must_yield(self, identity: str, arrivals: Sequence[Arrival]) -> bool:
        """Tell whether the arrival on a drive makes room for another plotter. Call in Reservations.mutex."""
        now = time.time()
        patience = self._config.receiving.yield_seconds
        return yields(identity, arrivals, self._others(), now - patience, now - _LONGEST_SHARE * patience)

    def _others(self) -> list[Ticket]:
        return [ticket for ticket in self._sessions.tickets() if ticket.key != self._own_key()]

    def _own_key(self) -> str:
        return self._session.lock.path.name if self._session else ""

    def is_waiting(self, waits: bool) -> None:
        """Note that this session's plot waits for its turn, or no longer does."""
        if not waits and not self._waiting_since:
            return
        now = time.time()
        self._waiting_since = (self._waiting_since or now) if waits else 0.0
        if self._session is not None:
            self._session.lock.update(waiting=self._waiting_since or None, seen=now)

    def changes(self) -> int:
        """Return a descriptor that is readable when an arrival may have ended since."""
        if self._releases is None:
            self._releases = Releases()
        return self._releases.of(self._reservations.paths())
