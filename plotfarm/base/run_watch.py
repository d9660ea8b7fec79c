"""Which scripts have been silent for too long: a decision on what is recorded of their runs.

Any script that runs looks at all of them, so one that cron starts no more is missed as long as any other runs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from plotfarm.base.runs import Moment, Run, ScriptHistory

INTERVALS = 3  # a script is missed after so many of its intervals
_FEWEST_GAPS = 3
_SHORTEST_SECONDS = 60.0  # of what is learnt: cron knows no shorter interval
# These go on for as long as there are plots: while such a run lives, nothing is wrong.
_MAY_RUN_LONG = ("plot_manager", "move_local_plots")


@dataclass(frozen=True)
class MissedScript:
    """A script that has not ended a run for longer than it should."""

    script: str
    interval_seconds: float
    last: Run  # the newest run, whatever became of it
    last_good: Run | None


def interval_of(starts: Sequence[Moment]) -> float | None:
    """Return how many seconds apart the runs of a script begin: the middle one of the newest; None: not known yet.

    `starts`: of scheduled runs, newest first. What lies between two boots says nothing.
    """
    gaps = [later.clock - earlier.clock for later, earlier in pairwise(starts) if later.boot == earlier.boot]
    if len(gaps) < _FEWEST_GAPS:
        return None
    return max(_SHORTEST_SECONDS, sorted(gaps)[len(gaps) // 2])


def intervals(histories: Iterable[ScriptHistory], configured: Mapping[str, float]) -> dict[str, float]:
    """Return script -> interval in seconds, of those that are watched: that ever ran by cron on this host.

    `configured`: script -> seconds, which counts instead of what was learnt; 0: it is not watched.
    """
    found = {}
    for history in histories:
        if not history.starts:
            continue
        interval = configured.get(history.script, interval_of(history.starts))
        if interval:
            found[history.script] = interval
    return found


def silent(histories: Iterable[ScriptHistory], watched: Mapping[str, float], now: Moment) -> list[MissedScript]:
    """Return the scripts whose last run ended more than INTERVALS - 1 intervals ago.

    Whoever tells of them waits for one more: after a boot, or a time in which nothing could start, each has its turn.
    """
    found = []
    for history in histories:
        interval = watched.get(history.script)
        if interval is None or _is_at_it(history, now):
            continue
        if _silent_seconds(history, now) > (INTERVALS - 1) * interval:
            found.append(MissedScript(history.script, interval, history.last, history.last_good))
    return found


def _is_at_it(history: ScriptHistory, now: Moment) -> bool:
    return history.script in _MAY_RUN_LONG and any(run.is_alive(now.boot) for run in history.unended)


def _silent_seconds(history: ScriptHistory, now: Moment) -> float:
    """Return for how long no run has ended, as far as this host has been up since."""
    last = history.last_ended.ended if history.last_ended else None
    if last is None:
        last = min((run.begun for run in (*history.unended, history.last)), key=lambda moment: moment.time)
    return now.clock - last.clock if last.boot == now.boot else now.clock
