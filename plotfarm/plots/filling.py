"""How long a directory still has room, from what was free in the last hours."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from itertools import combinations

_WINDOW_SECONDS = 6 * 3600.0
_LONGEST_GAP_SECONDS = 3600.0
_FEWEST_READINGS = 3
_SHORTEST_SECONDS = 600.0
_MOST_READINGS = 120  # the work grows with the square


def hours_until_full(readings: Sequence[tuple[float, int]]) -> float | None:
    """Return in how many hours nothing is free, or None if the room is not shrinking or too little is known.

    `readings` are (Unix time, free bytes), in the order in which they were taken. Those of the last six
    hours count: at least 3, over at least 10 minutes.

    The trend is the median of the slopes between all pairs of readings (Theil and Sen). Plots that are
    written shrink the room steadily and plots that leave free it in steps; over all pairs the two weigh
    against each other, and a single odd reading does not count. Readings before a jump of the clock (time
    that runs backwards, or a gap of more than an hour) are left out.
    """
    recent = _since_last_jump(readings)
    if len(recent) < _FEWEST_READINGS or recent[-1][0] - recent[0][0] < _SHORTEST_SECONDS:
        return None
    free = recent[-1][1]
    if free <= 0:
        return 0.0
    slope = statistics.median((last[1] - first[1]) / (last[0] - first[0]) for first, last in combinations(recent, 2))
    return None if slope >= 0 else free / -slope / 3600


def _since_last_jump(readings: Sequence[tuple[float, int]]) -> list[tuple[float, int]]:
    """Return the readings of the window in order, thinned out, each later than the one before."""
    recent: list[tuple[float, int]] = []
    for reading in reversed(readings):
        if recent and not 0 < recent[-1][0] - reading[0] <= _LONGEST_GAP_SECONDS:
            break
        if recent and recent[0][0] - reading[0] > _WINDOW_SECONDS:
            break
        recent.append(reading)
    step = -(-len(recent) // _MOST_READINGS) or 1
    return recent[::step][::-1]
