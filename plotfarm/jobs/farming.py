"""Whether this host's harvester farms: what it said last, when, and the alert once it is silent for too long."""

from __future__ import annotations

import time

from plotfarm.base.condition import Condition, Severity
from plotfarm.base.config.sections import Chia
from plotfarm.base.database import Database
from plotfarm.chia.farm_book import FarmBook
from plotfarm.chia.farm_log import Farmed, Unreadable, farmed
from plotfarm.chia.settings import log_path
from plotfarm.jobs.telling import Teller

KIND = "not_farming"
_MOST_BYTES = 2 * 2**20  # a harvester writes every few seconds; further back, what is remembered is newer


def is_silent(said: Farmed, settings: Chia, now: float) -> bool:
    """Tell whether a harvester said nothing for so long that it does not farm."""
    return 0 < settings.silent_minutes * 60 < now - said.said


def last_said(settings: Chia) -> Farmed | None:
    """Return what the end of the log says."""
    found = farmed(log_path(settings), most_bytes=_MOST_BYTES, with_rotated=False)
    return None if isinstance(found, Unreadable) else found


def watch_farming(settings: Chia, database: Database, teller: Teller, said: Farmed | None) -> None:
    """Tell if the harvester of this host does not farm, and when it farms again.

    `said`: what it says in the log now, if anything. A host on which no harvester ever said a word has none.
    """
    log = str(log_path(settings))
    now = time.time()
    newest = FarmBook(database).newest(log, said, now)
    if newest is None:
        return
    conditions = []
    if is_silent(newest, settings, now):
        facts: dict[str, str | int | float | None] = {"path": log, "plots": newest.plots, "since": newest.said}
        conditions.append(Condition("not_farming", "harvester", Severity.CRITICAL, facts))
    teller.see(conditions, [KIND])
