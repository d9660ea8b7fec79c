"""Which NAS the next plot goes to: a decision on values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class NasView:
    """A NAS as a plotter sees it before it sends another plot."""

    host: str
    plots: int  # of this size that it can take, by its last answer less what was sent since
    streams: int  # how many more may begin there now, likewise
    active: int  # streams of this plotter that are under way to it
    limit: int  # the most of them
    last_used: float  # time.monotonic of the last plot that was sent there; 0: none yet


def next_nas(views: Sequence[NasView], policy: str) -> str | None:
    """Return the host for the next plot, None if it has to wait.

    `views` come in the order of the configuration. One stream may always wait for its turn at a NAS whose drives
    are all busy with other plotters: there it keeps its place.
    """
    able = [view for view in views if view.plots > 0 and view.active < view.limit]
    free = [view for view in able if view.streams > 0] or [view for view in able if view.active == 0]
    if not free:
        return None
    if policy == "most_free":
        return max(free, key=lambda view: view.plots).host  # of equals the first
    if policy == "round_robin":
        return min(free, key=lambda view: view.last_used).host
    return free[0].host
