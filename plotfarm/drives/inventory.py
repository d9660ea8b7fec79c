"""The plots on the drives, as far as they are remembered: headers that were read, and the last count of each drive."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from plotfarm.base.database import Database
from plotfarm.base.text import as_stored, from_stored
from plotfarm.drives.reasons import Reason, Why

_MOST_DRIVES = 1000  # drives that were counted longest ago are forgotten first
_MOST_HEADERS = 200_000  # of one drive; files beyond that are read again each time


@dataclass(frozen=True)
class LastCount:
    """What lay on a drive when it was last counted."""

    plots: int  # plot files
    bytes: int
    time: float  # Unix time


@dataclass(frozen=True)
class HeaderNews:
    """What one count of a drive changes in what is remembered of it."""

    plots: int  # plot files
    bytes: int
    learnt: Collection[tuple[int, int]]  # the number of a file, what its header said
    gone: Collection[int]  # the numbers of files that are no longer there


class Inventory:
    """What the host remembers of the plots on its drives. Hand it to drives.probe to have them counted."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def headers(self, identities: Iterable[str]) -> dict[str, Mapping[int, int]]:
        """Return the headers that were read before: drive identity -> number of a file -> what its header said."""
        numbers = self._numbers()
        return {
            identity: dict(self._database.rows("SELECT file, said FROM plot_headers WHERE drive = ?", (number,)))
            for identity in identities
            if (number := numbers.get(identity)) is not None
        }

    def remember(self, news: Mapping[str, HeaderNews], now: float) -> None:
        """Take in what drives were counted at `now` (Unix time), by their identities."""
        if not news:
            return
        database = self._database
        with database.transaction():
            database.write_many(
                "INSERT INTO counted_drives (identity, plots, bytes, time) VALUES (?, ?, ?, ?) ON CONFLICT (identity) "
                "DO UPDATE SET plots = excluded.plots, bytes = excluded.bytes, time = excluded.time",
                [(as_stored(identity), one.plots, one.bytes, now) for identity, one in news.items()],
            )
            numbers = self._numbers()
            for identity, one in news.items():
                if (number := numbers.get(identity)) is not None:
                    self._take_in(number, one)
            if len(numbers) > _MOST_DRIVES:
                self._forget_oldest()

    def remember_counts(self, counts: Mapping[str, Mapping[str, Any]], now: float) -> None:
        """Take in what drives.counting counted at `now`, by identities; what was not counted changes nothing."""
        news = {
            identity: HeaderNews(count["plot_files"], count["plot_bytes"], count["learnt"], count["gone"])
            for identity, count in counts.items()
            if "counts" in count
        }
        self.remember(news, now)
        self._remember_errors(counts, now)

    def read_errors(self) -> dict[str, Why]:
        """Return what could not be read below the root of a drive when it was last counted, by identity."""
        rows = self._database.rows("SELECT identity, why FROM read_errors")
        return {os.fsdecode(identity): Why(Reason.IO_ERROR, why) for identity, why in rows}

    def _remember_errors(self, counts: Mapping[str, Mapping[str, Any]], now: float) -> None:
        """Take in of each drive whether all of it could be read, as far as that is known."""
        met: dict[str, str] = {}
        well: list[str] = []
        for identity, count in counts.items():
            said = count.get("uncounted") or count.get("error")
            if said is not None and said["reason"] == Reason.IO_ERROR:
                met[identity] = said["detail"]
            elif "error" in count:
                well.append(identity)

        known = self.read_errors()
        over = [identity for identity in well if identity in known]
        if over:
            self._database.write_many(
                "DELETE FROM read_errors WHERE identity = ?", [(os.fsencode(identity),) for identity in over]
            )
        if met:
            self._database.write_many(
                "INSERT INTO read_errors VALUES (?, ?, ?) ON CONFLICT (identity) DO UPDATE SET why = excluded.why",
                [(os.fsencode(identity), why, now) for identity, why in met.items()],
            )

    def last_counts(self) -> dict[str, LastCount]:
        """Return the last count of every drive that was ever counted here, by identity."""
        rows = self._database.rows("SELECT identity, plots, bytes, time FROM counted_drives")
        return {from_stored(identity): LastCount(plots, size, time) for identity, plots, size, time in rows}

    def _numbers(self) -> dict[str, int]:
        rows = self._database.rows("SELECT identity, drive FROM counted_drives")
        return {from_stored(identity): drive for identity, drive in rows}

    def _take_in(self, drive: int, news: HeaderNews) -> None:
        database = self._database
        if news.gone:
            database.write_many(
                "DELETE FROM plot_headers WHERE drive = ? AND file = ?", [(drive, file) for file in news.gone]
            )
        if not news.learnt:
            return
        kept = database.rows("SELECT count(*) FROM plot_headers WHERE drive = ?", (drive,))
        room = max(0, _MOST_HEADERS - (kept[0][0] if kept else 0))
        database.write_many(
            "INSERT OR REPLACE INTO plot_headers VALUES (?, ?, ?)",
            [(drive, file, said) for file, said in list(news.learnt)[:room]],
        )

    def _forget_oldest(self) -> None:
        stale = "SELECT drive FROM counted_drives ORDER BY time DESC LIMIT -1 OFFSET ?"
        self._database.write(f"DELETE FROM plot_headers WHERE drive IN ({stale})", (_MOST_DRIVES,))  # noqa: S608
        self._database.write(f"DELETE FROM counted_drives WHERE drive IN ({stale})", (_MOST_DRIVES,))  # noqa: S608
