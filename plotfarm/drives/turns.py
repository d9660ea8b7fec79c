"""Whose turn it is when more plots want to arrive than drives are free: a decision on values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from plotfarm.drives.model import Arrival


@dataclass(frozen=True)
class Ticket:
    """A plot that waits for its turn."""

    key: str  # tells the tickets apart
    plotter: str
    since: float  # Unix time


def next_turns(
    free: int,
    arriving: Mapping[str, int],
    tickets: Sequence[Ticket],
    served: Mapping[str, float] = MappingProxyType({}),
) -> set[str]:
    """Return the keys of the tickets that `free` more arrivals go to.

    First comes the plotter with the fewest plots `arriving` (plotter -> plots), then the one whose last arrival began
    longest ago (`served`: plotter -> Unix time), then who has waited longest: so one that sends many, or asks with many
    tickets, cannot keep out one that sends few.
    """
    counts = dict(arriving)
    left = sorted(tickets, key=lambda ticket: (served.get(ticket.plotter, 0.0), ticket.since, ticket.key))
    chosen: set[str] = set()
    while left and len(chosen) < free:
        ticket = min(left, key=lambda each: counts.get(each.plotter, 0))  # of equals the first
        left.remove(ticket)
        chosen.add(ticket.key)
        counts[ticket.plotter] = counts.get(ticket.plotter, 0) + 1
    return chosen


def yields(
    identity: str, arrivals: Sequence[Arrival], tickets: Sequence[Ticket], since: float, long_since: float = 0.0
) -> bool:
    """Tell whether the arrival on the drive `identity` makes room for a plotter that gets nothing.

    That is so when a plotter without any arrival has waited since before `since` (Unix time), and this arrival, of all
    of the plotter with the most, began last: it has the least to lose, and goes on later. The only one of its plotter
    makes room when it began before `long_since`: otherwise a plot that comes slowly enough would hold a drive for ever.
    """
    counts = Counter(arrival.plotter for arrival in arrivals)
    if not any(ticket.since <= since and not counts[ticket.plotter] for ticket in tickets):
        return False
    most = max(counts.values(), default=0)
    if most == 0:
        return False
    if most == 1:
        oldest = min(arrivals, key=lambda arrival: (arrival.since, arrival.identity))
        return oldest.identity == identity and oldest.since <= long_since
    plotter = max(name for name, count in counts.items() if count == most)
    own = [arrival for arrival in arrivals if arrival.plotter == plotter]
    return max(own, key=lambda arrival: (arrival.since, arrival.identity)).identity == identity
