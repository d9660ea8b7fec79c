"""The record of every run of a script on this host: when it began and ended, and how."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from plotfarm.base.boot import boot_id
from plotfarm.base.database import Database
from plotfarm.base.locks import process_started

_KEEP_ENDED = 100  # of each script and mode
_KEEP_OPEN = 20  # that never ended, likewise
_JUDGED_STARTS = 9
_COLUMNS = (
    "id, script, mode, scheduled, version, pid, process_started, boot, begun, begun_clock, ended, ended_clock, "
    "outcome, status"
)


class RunOutcome(StrEnum):
    """How a run ended. The values are kept in the database."""

    UNENDED = "unended"  # it has not, or nobody could say so any more
    DONE = "done"  # the job came to its end; its exit status says whether all was well
    FAILED = "failed"  # an error ended it
    BUSY = "busy"  # another run was at it already
    MISCONFIGURED = "misconfigured"  # the configuration could not be used
    NOT_INSTALLED = "not_installed"  # its Python packages could not be used
    INTERRUPTED = "interrupted"  # by Ctrl-C


@dataclass(frozen=True)
class Moment:
    """A moment on this host."""

    time: float  # Unix time
    clock: float  # CLOCK_MONOTONIC, seconds: it stands still while the host sleeps, and is never set
    boot: str  # which boot that clock counts from


@dataclass(frozen=True)
class Run:
    """One run of a script."""

    id: str  # a UUID
    script: str  # its name without .py
    mode: str  # "" in normal mode, or the options that ask for something else: -dr
    scheduled: bool  # started without a terminal, as cron does
    version: str  # of the suite
    pid: int
    process_started: int  # clock ticks since boot: with the pid it names a process for ever
    begun: Moment
    ended: Moment | None = None
    outcome: RunOutcome = RunOutcome.UNENDED
    status: int | None = None  # exit status

    @property
    def seconds(self) -> float | None:
        """How long it took; None if it has not ended."""
        return None if self.ended is None else max(0.0, self.ended.clock - self.begun.clock)

    def is_alive(self, boot: str) -> bool:
        """Tell whether its process is still at it; `boot`: the present one."""
        is_open = self.outcome is RunOutcome.UNENDED and self.begun.boot == boot
        return is_open and process_started(self.pid) == self.process_started


@dataclass(frozen=True)
class ScriptHistory:
    """What is known of the runs of one script in one mode; each newest first."""

    script: str
    mode: str
    last: Run  # whatever became of it
    last_ended: Run | None  # that did what it is for, or said why not: all but those that found another at it
    last_good: Run | None  # with status 0
    unended: tuple[Run, ...]  # that run, or were killed
    starts: tuple[Moment, ...]  # of the newest scheduled ones


def moment() -> Moment:
    """Return the present moment."""
    return Moment(time.time(), time.clock_gettime(time.CLOCK_MONOTONIC), boot_id())


def has_terminal() -> bool:
    """Tell whether somebody may look on: whether this process has a controlling terminal. Source: proc(5), tty_nr."""
    try:
        fields = Path("/proc/self/stat").read_bytes().rpartition(b")")[2].split()
        return int(fields[4]) != 0
    except (OSError, ValueError, IndexError):
        return os.isatty(0)


def new_run(script: str, mode: str, version: str) -> Run:
    """Return the run that begins with this process."""
    started = process_started(os.getpid()) or 0
    return Run(_new_id(), script, mode, not has_terminal(), version, os.getpid(), started, moment())


def _new_id() -> str:
    """Return a random UUID, version 4 of RFC 9562; the module `uuid` takes long to import."""
    number = int.from_bytes(os.urandom(16), "big")
    number = number & ~(0xF000 << 64) | 0x4000 << 64
    number = number & ~(0xC000 << 48) | 0x8000 << 48
    text = f"{number:032x}"
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))


class RunBook:
    """The runs in the state database. No method raises for what a disk may do."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def begin(self, run: Run) -> None:
        """Record a run that begins, and forget old ones of the same script and mode."""
        with self._database.transaction():
            self._insert(run)
            for is_open, keep in (("NOT NULL", _KEEP_ENDED), ("NULL", _KEEP_OPEN)):
                self._database.write(
                    f"DELETE FROM runs WHERE script = ?1 AND mode = ?2 AND ended IS {is_open} AND seq <= "  # noqa: S608
                    f"(SELECT seq FROM runs WHERE script = ?1 AND mode = ?2 AND ended IS {is_open} "
                    "ORDER BY seq DESC LIMIT 1 OFFSET ?3)",
                    (run.script, run.mode, keep),
                )

    def end(self, run: Run) -> None:
        """Record how a run ended: its `ended`, `outcome` and `status`. One whose begin is not recorded is added."""
        if run.ended is None:
            return
        known = self._database.rows("SELECT 1 FROM runs WHERE id = ?", (run.id,))
        if not known:
            self.begin(run)
            return
        self._database.write(
            "UPDATE runs SET ended = ?, ended_clock = ?, outcome = ?, status = ? WHERE id = ?",
            (run.ended.time, run.ended.clock, run.outcome.value, run.status, run.id),
        )

    def _insert(self, run: Run) -> None:
        ended = run.ended
        values = (
            run.id, run.script, run.mode, int(run.scheduled), run.version, run.pid, run.process_started,
            run.begun.boot, run.begun.time, run.begun.clock, ended and ended.time, ended and ended.clock,
            run.outcome.value, run.status,
        )  # fmt: skip
        marks = ", ".join("?" * len(values))
        self._database.write(f"INSERT OR IGNORE INTO runs ({_COLUMNS}) VALUES ({marks})", values)  # noqa: S608

    def histories(self, mode: str | None = None) -> list[ScriptHistory]:
        """Return what is known of each script and mode, or only of this `mode`, in the order of their names."""
        pairs = self._database.rows("SELECT DISTINCT script, mode FROM runs ORDER BY script, mode")
        found = [self._history(script, each) for script, each in pairs if mode is None or each == mode]
        return [history for history in found if history is not None]

    def _history(self, script: str, mode: str) -> ScriptHistory | None:
        def find(where: str, most: int = 1) -> list[Run]:
            return self._runs(f"script = ? AND mode = ? {where}", (script, mode), most)

        last = find("")
        if not last:  # the disk, meanwhile
            return None
        ended = find(f"AND ended IS NOT NULL AND outcome != '{RunOutcome.BUSY}'")
        good = find(f"AND status = 0 AND outcome = '{RunOutcome.DONE}'")
        starts = find("AND scheduled", _JUDGED_STARTS)
        return ScriptHistory(
            script,
            mode,
            last[0],
            ended[0] if ended else None,
            good[0] if good else None,
            tuple(find("AND ended IS NULL", _KEEP_OPEN)),
            tuple(run.begun for run in starts),
        )

    def _runs(self, where: str, values: Sequence[object], most: int) -> list[Run]:
        rows = self._database.rows(
            f"SELECT {_COLUMNS} FROM runs WHERE {where} ORDER BY seq DESC LIMIT {most}",  # noqa: S608
            values,
        )
        return [_run(*row) for row in rows]


def _run(
    run_id: str, script: str, mode: str, scheduled: int, version: str, pid: int, started: int, boot: str,
    begun: float, begun_clock: float, ended: float | None, ended_clock: float | None, outcome: str,
    status: int | None,
) -> Run:  # fmt: skip
    end = None if ended is None or ended_clock is None else Moment(ended, ended_clock, boot)
    start = Moment(begun, begun_clock, boot)
    return Run(
        run_id, script, mode, bool(scheduled), version, pid, started, start, end, RunOutcome(outcome), status
    )  # fmt: skip
