"""When a harvester was seen to farm last: remembered, since a log rotates away and a harvester that ended is silent."""

from __future__ import annotations

from plotfarm.base.database import Database
from plotfarm.chia.farm_log import Farmed, Source


class FarmBook:
    """What was said last of the harvester of each log, by the log or by itself."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def newest(self, log: str, said: Farmed | None, now: float) -> Farmed | None:
        """Take in what is said now, if anything; return the newest of that and what was said before."""
        rows = self._database.rows("SELECT plots, bytes, said, source FROM farming WHERE log = ?", (log,))
        before = _farmed(*rows[0]) if rows else None
        is_older = before is not None and said is not None and said.said < before.said <= now
        if said is None or said == before or is_older:
            return before
        self._database.write(
            "INSERT OR REPLACE INTO farming (log, plots, bytes, said, source) VALUES (?, ?, ?, ?, ?)",
            (log, said.plots, said.bytes, said.said, said.source.value),
        )
        return said


def _farmed(plots: int, size: int | None, said: float, source: str) -> Farmed:
    return Farmed(plots, size, said, Source(source))
