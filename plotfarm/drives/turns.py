"""Whose turn it is when more plots want to arrive than drives are free: a decision on values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Ticket:
    """A plot that waits for its turn."""

    key: str  # tells the tickets apart
    plotter: str
    since: float  # Unix time


def next_turns(free: int, arriving: Mapping[str, int], tickets: Sequence[Ticket]) -> set[str]:
    """Return the keys of the tickets that `free` more arrivals go to.

    First comes the plotter with the fewest plots `arriving` (plotter -> plots), then who has waited longest: so one
    that sends many cannot keep out one that sends few.
    """
    counts, left, chosen = dict(arriving), sorted(tickets, key=lambda ticket: (ticket.since, ticket.key)), set[str]()
    while left and len(chosen) < free:
        ticket = min(left, key=lambda each: counts.get(each.plotter, 0))  # of equals the first: who waited longest
        left.remove(ticket)
        chosen.add(ticket.key)
        counts[ticket.plotter] = counts.get(ticket.plotter, 0) + 1
    return chosen
