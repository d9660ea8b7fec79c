"""The record of the run that this process is, and its heartbeat, from its begin to its end."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator

from plotfarm.base.config.sections import Config
from plotfarm.base.database import Database
from plotfarm.base.runs import RunBook, RunOutcome
from plotfarm.jobs import run_records
from plotfarm.jobs.heartbeats import RunHeartbeat, heartbeat_of

_LOG = logging.getLogger(__name__)


class Recording:
    """The record of one run. Whatever becomes of it, the job goes on: no method raises."""

    def __init__(self, script: str, config: Config, *, unattended: bool) -> None:
        self.memory: Database | None = None  # the state database; None: not open yet
        self._config = config
        self._run = run_records.begin(script, unattended=unattended)
        self._heartbeat: RunHeartbeat | None = None
        if not unattended:  # somebody looks, and one write at its end will do
            return
        self._heartbeat = heartbeat_of(self._run, config)
        with self._carefully():
            self.memory = run_records.open_memory(config)
            RunBook(self.memory).begin(self._run)

    def end(self, outcome: RunOutcome, status: int) -> None:
        """Record how the run ended, and have its heartbeat tell it."""
        run = run_records.ended(self._run, outcome, status)
        holder = None
        with self._carefully():
            self.memory = self.memory or run_records.open_memory(self._config)
            book = RunBook(self.memory)
            book.end(run)
            holder = run_records.holder_of(book, run.script) if outcome is RunOutcome.BUSY else None
        if self._heartbeat is not None:
            self._heartbeat.end(run, holder)

    def close(self) -> None:
        """Close the state database."""
        if self.memory is not None:
            self.memory.close()

    @contextlib.contextmanager
    def _carefully(self) -> Iterator[None]:
        try:
            yield
        except Exception:  # the job counts
            _LOG.exception("This run could not be recorded")
