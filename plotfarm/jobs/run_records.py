"""The record that the common entry of all scripts keeps of a run, and what is to be told of the runs of this host."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence

from plotfarm import __version__
from plotfarm.base.condition import AlertKind, Condition, Look, Severity
from plotfarm.base.config.intervals import parse_intervals
from plotfarm.base.config.sections import Config, Watch
from plotfarm.base.database import Database
from plotfarm.base.lock_waits import LockTimeout
from plotfarm.base.memory_trouble import NewerMemoryError
from plotfarm.base.run_watch import INTERVALS, MissedScript, intervals, silent
from plotfarm.base.runs import Run, RunBook, RunOutcome, ScriptHistory, moment, new_run
from plotfarm.notify.checks import Check, check
from plotfarm.reports.last_runs import LastRun, last_runs

_LONGEST_MODE = 40
_SAYS_HOW = ("--config", "--json", "--html", "--watch", "--wide")  # options that ask for nothing else


def open_memory(config: Config) -> Database:
    """Return the state database; if a later version of the suite made it, one in RAM, from which alerts go at once."""
    try:
        return Database(config.paths.state)
    except NewerMemoryError:
        return Database(None)


def begin(script: str, *, unattended: bool) -> Run:
    """Return the run of a script that this process is."""
    return new_run(script, "" if unattended else mode_of(sys.argv[1:]), __version__)


def mode_of(arguments: Sequence[str]) -> str:
    """Return which options ask for something else than normal mode: their names, without what follows them."""
    names = [one.partition("=")[0] for one in arguments if one.startswith("-")]
    return " ".join(one for one in names if one not in _SAYS_HOW)[:_LONGEST_MODE] or "by hand"


def ended(run: Run, outcome: RunOutcome, status: int) -> Run:
    """Return a run as it ended just now."""
    return dataclasses.replace(run, ended=moment(), outcome=outcome, status=status)


def holder_of(book: RunBook, script: str) -> Run | None:
    """Return the run of a script in normal mode that is at it; None if none is."""
    boot = moment().boot
    for history in book.histories(""):
        if history.script == script:
            return next((run for run in history.unended if run.is_alive(boot)), None)
    return None


def grace_seconds(book: RunBook, script: str, watch: Watch) -> float:
    """Return for how long a script may fail before that is told: `trouble_minutes`, or its three intervals."""
    interval = _watched(book.histories(""), watch).get(script)
    patience = watch.trouble_minutes * 60
    return min(patience, INTERVALS * interval) if interval else patience


def newest_runs(database: Database) -> tuple[LastRun, ...]:
    """Return the newest run of each script and mode, for reports."""
    return last_runs(RunBook(database).histories(), moment().boot)


def check_runs(book: RunBook, watch: Watch) -> Check:
    """Look at when each script of this host came to its end last."""
    histories = book.histories("")
    watched = _watched(histories, watch)
    missed = silent(histories, watched, moment())
    well = set(watched) - {one.script for one in missed}
    return check(Look.RUNS, [silence_condition(one) for one in missed], well=well)


def _watched(histories: Sequence[ScriptHistory], watch: Watch) -> dict[str, float]:
    return intervals(histories, parse_intervals(watch.intervals))


def silence_condition(missed: MissedScript) -> Condition:
    """Return the alert that a script has stopped."""
    last = missed.last
    facts: dict[str, str | int | float | None] = {
        "script": f"{missed.script}.py",
        "minutes": round(missed.interval_seconds / 60, 1),
        "good": missed.last_good.begun.time if missed.last_good else None,
        "begun": last.begun.time,
        "outcome": last.outcome.value,
        "alive": int(last.is_alive(moment().boot)),
    }
    # Silent for two intervals, and told after one more: not before it had its turn after a boot.
    return Condition(AlertKind.SCRIPT_SILENT, missed.script, Severity.CRITICAL, facts, missed.interval_seconds)


def lock_conditions(timeouts: Sequence[LockTimeout]) -> list[Condition]:
    """Return an alert for each lock that this process waited for in vain."""
    return [
        Condition(
            AlertKind.LOCK_HELD,
            str(one.path),
            Severity.CRITICAL,
            {
                "lock": one.path.name,
                "path": str(one.path),
                "seconds": one.seconds,
                "pid": one.holder.pid or None,
                "command": one.holder.command,
                "user": one.holder.user,
            },
        )
        for one in timeouts
    ]
