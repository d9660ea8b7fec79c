"""When a harvester was seen to farm last: remembered, since a log rotates away and a harvester that ended is silent."""

from __future__ import annotations

from plotfarm.base.database import Database
from plotfarm.chia.farm_log import Farmed


class FarmBook:
    """What each log said last."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def newest(self, log: str, said: Farmed | None, now: float) -> Farmed | None:
        """Take in what a log says now, if it says anything; return the newest of that and what it said before."""
        rows = self._database.rows("SELECT plots, bytes, said FROM farming WHERE log = ?", (log,))
        before = Farmed(*rows[0]) if rows else None
        is_older = before is not None and said is not None and said.said < before.said <= now
        if said is None or said == before or is_older:
            return before
        self._database.write(
            "INSERT OR REPLACE INTO farming VALUES (?, ?, ?, ?)", (log, said.plots, said.bytes, said.said)
        )
        return said
