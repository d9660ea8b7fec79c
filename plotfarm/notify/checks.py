"""Checks: what was looked at in a run, and what was found. What is raised, reminded of and resolved follows from that.

A condition reaches the book of alerts only inside a check that covers it. So whatever is raised is looked at again by
the same check, and is resolved when that finds it no more.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from plotfarm.base.condition import AlertKind, Condition, Look
from plotfarm.notify.alerts import Key


class NotCoveredError(ValueError):
    """A check found something that it does not look for: nobody would ever resolve it."""


@dataclass(frozen=True)
class Check:
    """One thing that was looked at, completely."""

    kinds: frozenset[AlertKind]  # that it may find: those of one look
    found: tuple[Condition, ...]  # all that is so now
    about: frozenset[str] | None = None  # it looked at these only; None: at everything that there is of its kinds
    well: frozenset[str] | None = None  # what is said to be over if it was raised; None: all that was not found

    def __post_init__(self) -> None:
        for condition in self.found:
            if not self.covers((condition.kind, condition.about)):
                raise NotCoveredError(f"{condition.kind} about {condition.about}: {sorted(self.kinds)}")

    def covers(self, key: Key) -> bool:
        """Tell whether this check looks at a condition."""
        kind, about = key
        return kind in self.kinds and (self.about is None or about in self.about)

    def is_over_silently(self, key: Key) -> bool:
        """Tell whether nobody hears that a condition is over which is not found any more: it is not known to be well.

        It may be of another kind now, or nobody looks after it any more.
        """
        return self.well is not None and self.covers(key) and key[1] not in self.well


def check(
    look: Look,
    found: Iterable[Condition],
    *,
    kinds: Iterable[AlertKind] | None = None,
    about: Iterable[str] | None = None,
    well: Iterable[str] | None = None,
) -> Check:
    """Make a check; NotCoveredError if it found what it does not look for.

    `kinds`: those of this look that could be told in this run; None: all of them.
    """
    return Check(
        look.kinds if kinds is None else look.kinds & frozenset(kinds),
        tuple(found),
        None if about is None else frozenset(about),
        None if well is None else frozenset(well),
    )


def looked_at(checks: Collection[Check], standing: Iterable[Key]) -> set[Key]:
    """Return which of the standing conditions some check has looked at."""
    return {key for key in standing if any(one.covers(key) for one in checks)}


def over_silently(checks: Collection[Check], standing: Iterable[Key]) -> set[Key]:
    """Return which of the standing conditions nobody hears of if they are over."""
    return {key for key in standing if any(one.is_over_silently(key) for one in checks)}
