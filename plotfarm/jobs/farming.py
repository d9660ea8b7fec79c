"""Whether this host's harvester farms: what was said of it last, when and by whom, and the alert if all are silent."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass

from plotfarm.base.condition import AlertKind, Condition, Look, Severity
from plotfarm.base.config.sections import Chia
from plotfarm.base.database import Database
from plotfarm.chia.farm_book import FarmBook
from plotfarm.chia.farm_log import Farmed, Unreadable, farmed
from plotfarm.chia.settings import authority_of, certificate_and_key, log_path
from plotfarm.jobs.telling import Teller

_MOST_BYTES = 2 * 2**20  # a harvester writes every few seconds; further back, what is remembered is newer
_TIMEOUT_SECONDS = 5.0


@dataclass(frozen=True)
class Heard:
    """What is known of what Chia farms on this host."""

    now: Farmed | Unreadable | None  # what its log or its harvester says in this run; None: nothing new
    newest: Farmed | None  # of that, and of all that was said before; None: never a word


def is_silent(said: Farmed, settings: Chia, now: float) -> bool:
    """Tell whether a harvester said nothing for so long that it does not farm."""
    return 0 < settings.silent_minutes * 60 < now - said.said


def end_of_log(settings: Chia) -> Farmed | Unreadable:
    """Return what the end of the log says."""
    return farmed(log_path(settings), most_bytes=_MOST_BYTES, with_rotated=False)


def hear(settings: Chia, database: Database, in_log: Farmed | Unreadable | None) -> Heard:
    """Take in what the log says; where it cannot be read, or is silent for too long, ask the harvester itself.

    `in_log` None: nothing new, which is no reason to ask as long as what was said before is not too old.
    """
    now = time.time()
    book, log = FarmBook(database), str(log_path(settings))
    newest = book.newest(log, in_log if isinstance(in_log, Farmed) else None, now)
    if not isinstance(in_log, Unreadable) and newest is not None and not is_silent(newest, settings, now):
        return Heard(in_log, newest)

    asked = ask_harvester(settings)
    if isinstance(asked, Farmed):
        return Heard(asked, book.newest(log, asked, now))
    if isinstance(asked, Unreadable) and isinstance(in_log, Unreadable):
        in_log = Unreadable(f"{in_log.why}; its harvester: {asked.why}", f"{in_log.remedy}; or: {asked.remedy}")
    return Heard(in_log, newest)


def ask_harvester(settings: Chia) -> Farmed | Unreadable | None:
    """Return what the harvester says; None if it is not to be asked, or this user cannot."""
    certificate, key = certificate_and_key(settings, "harvester")
    if settings.harvester == "never" or not all(os.access(file, os.R_OK) for file in (certificate, key)):
        return None
    from plotfarm.chia.harvester import read_harvester  # slow to import, and seldom needed
    from plotfarm.chia.rpc import ServiceAddress

    address = ServiceAddress(
        "localhost",
        settings.harvester_port,
        certificate,
        key,
        authority=authority_of(certificate),
        timeout_seconds=_TIMEOUT_SECONDS,
    )
    return read_harvester(address)


def watch_farming(settings: Chia, teller: Teller, heard: Heard) -> None:
    """Tell if the harvester of this host does not farm, and when it farms again.

    Of a host on which no harvester ever said a word there is nothing to tell.
    """
    newest = heard.newest
    if newest is None:
        return
    conditions = []
    if is_silent(newest, settings, time.time()):
        facts: dict[str, str | int | float | None] = {
            "path": str(log_path(settings)),
            "source": newest.source.value,
            "plots": newest.plots,
            "since": newest.said,
        }
        conditions.append(Condition(AlertKind.NOT_FARMING, "harvester", Severity.CRITICAL, facts))
    teller.see(conditions, Look.FARMING)
