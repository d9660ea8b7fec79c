"""When each script of this host ran last, and what became of that: at the end of every report, and in its JSON."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from plotfarm.base.runs import Run, RunOutcome, ScriptHistory
from plotfarm.base.text import one_line
from plotfarm.base.units import format_ago
from plotfarm.reports.envelope import iso
from plotfarm.reports.frame import Remark


@dataclass(frozen=True)
class LastRun:
    """The newest run of one script in one mode."""

    run: Run
    is_alive: bool  # its process is still at it
    last_good: Run | None  # the newest one with status 0


def last_runs(histories: Iterable[ScriptHistory], boot: str) -> tuple[LastRun, ...]:
    """Return the newest run of each; `boot`: the present one."""
    return tuple(LastRun(one.last, one.last.is_alive(boot), one.last_good) for one in histories)


def lines(runs: Sequence[LastRun], now: float) -> list[str]:
    """Return a line for each script, of its runs in normal mode; `now`: Unix time."""
    return [_line(one, now) for one in runs if not one.run.mode]


def remarks(runs: Sequence[LastRun], now: float) -> list[Remark]:
    """Return the same as remarks below a frame."""
    return [Remark("-", line) for line in lines(runs, now)]


def _line(one: LastRun, now: float) -> str:
    run = one.run
    ago = format_ago(now - run.begun.time)
    what = _what(one)
    line = f"last run of {one_line(run.script)}.py: {ago}{f', {what}' if what else ''}"
    if one.last_good is None:
        return line if run.outcome is RunOutcome.UNENDED and one.is_alive else f"{line}; none went well yet"
    is_it = one.last_good.id == run.id
    return line if is_it else f"{line}; the last that went well: {format_ago(now - one.last_good.begun.time)}"


def _what(one: LastRun) -> str:
    run = one.run
    match run.outcome:
        case RunOutcome.UNENDED:
            return "still running" if one.is_alive else "ended without a word: killed, or this host went down"
        case RunOutcome.DONE:
            return "" if run.status == 0 else f"exit status {run.status}"
        case RunOutcome.FAILED:
            return f"failed with exit status {run.status}"
        case RunOutcome.BUSY:
            return "another run was at it"
        case RunOutcome.MISCONFIGURED:
            return "the configuration could not be used"
        case RunOutcome.NOT_INSTALLED:
            return "its Python packages could not be used"
        case RunOutcome.INTERRUPTED:
            return "interrupted"


def data(runs: Sequence[LastRun]) -> list[dict[str, object]]:
    """Return the newest run of each script and mode; times in ISO 8601, unknown values null."""
    return [
        {
            "script": f"{one.run.script}.py",
            "mode": one.run.mode or None,
            "run_id": one.run.id,
            "scheduled": one.run.scheduled,
            "version": one.run.version,
            "begun": iso(one.run.begun.time),
            "ended": iso(one.run.ended.time) if one.run.ended else None,
            "seconds": one.run.seconds,
            "running": one.is_alive,
            "outcome": one.run.outcome.value,
            "exit_status": one.run.status,
            "last_good": iso(one.last_good.begun.time) if one.last_good else None,
        }
        for one in runs
    ]
