"""The plots on the drives, as far as they are remembered: what lay where, and the last count of each drive."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from plotfarm.base.database import Database
from plotfarm.base.text import as_stored, from_stored
from plotfarm.drives.counted import Count, CountedDirectory
from plotfarm.drives.reasons import Reason, Why

_MOST_DRIVES = 1000  # drives that were counted longest ago are forgotten first
_MOST_HEADER_BYTES = 12_000_000  # of one directory, a million plots; one with more is gone through each time


@dataclass(frozen=True)
class LastCount:
    """What lay on a drive when it was last counted."""

    plots: int  # plot files, without testing plots
    bytes: int
    time: float  # Unix time
    counts: Mapping[tuple[str, int], int] | None = None  # (kind, k) -> files, testing plots too; None: not known


class Inventory:
    """What the host remembers of the plots on its drives. Hand it to drives.probe to have them counted."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def directories(self, identities: Iterable[str]) -> dict[str, dict[str, CountedDirectory]]:
        """Return what is known of directories: identity of the drive -> path below its mountpoint -> what lay there."""
        numbers = self._numbers()
        return {
            identity: {directory.path: directory for directory in self._directories_of(number)}
            for identity in identities
            if (number := numbers.get(identity)) is not None
        }

    def _directories_of(self, number: int) -> list[CountedDirectory]:
        rows = self._database.rows(
            "SELECT path, signature, gone_through, facts, headers FROM counted_directories WHERE drive = ?", (number,)
        )
        found = [_directory(row) for row in rows]
        return [directory for directory in found if directory is not None]

    def remember_directories(self, found: Sequence[tuple[str, CountedDirectory]]) -> None:
        """Take in directories that were gone through, each with the identity of its drive."""
        if not found:
            return
        database = self._database
        with database.transaction():
            self._number({identity for identity, _ in found})
            numbers = self._numbers()
            database.write_many(
                "INSERT OR REPLACE INTO counted_directories (drive, path, signature, gone_through, facts, headers) "
                "VALUES (?, ?, ?, ?, ?, ?)",
                [
                    (numbers[identity], *_row(directory))
                    for identity, directory in found
                    if identity in numbers and len(directory.headers) <= _MOST_HEADER_BYTES
                ],
            )

    def _number(self, identities: Collection[str]) -> None:
        """Have drives that were never counted before numbered; when they were counted is not known yet."""
        self._database.write_many(
            "INSERT OR IGNORE INTO counted_drives (identity, plots, bytes, time) VALUES (?, 0, 0, 0)",
            [(as_stored(identity),) for identity in identities],
        )

    def remember_counts(self, counts: Mapping[str, Count], now: float) -> None:
        """Take in what drives were counted at `now` (Unix time), by their identities."""
        if not counts:
            return
        database = self._database
        with database.transaction():
            database.write_many(
                "INSERT INTO counted_drives (identity, plots, bytes, time, counts) VALUES (?, ?, ?, ?, ?) "
                "ON CONFLICT (identity) DO UPDATE "
                "SET plots = excluded.plots, bytes = excluded.bytes, time = excluded.time, counts = excluded.counts",
                [
                    (as_stored(identity), count.plot_files, count.plot_bytes, now, json.dumps(count.counts))
                    for identity, count in counts.items()
                ],
            )
            numbers = self._numbers()
            gone = [
                (numbers[identity], os.fsencode(path))
                for identity, count in counts.items()
                for path in count.gone
                if identity in numbers
            ]
            if gone:
                database.write_many("DELETE FROM counted_directories WHERE drive = ? AND path = ?", gone)
            if len(numbers) > _MOST_DRIVES:
                self._forget_oldest()

    def read_errors(self) -> dict[str, Why]:
        """Return what could not be read below the root of a drive when it was last counted, by identity."""
        rows = self._database.rows("SELECT identity, why FROM read_errors")
        return {os.fsdecode(identity): Why(Reason.IO_ERROR, why) for identity, why in rows}

    def remember_read_errors(self, met: Mapping[str, Why | None], now: float) -> None:
        """Take in, by identity, why something on a drive could not be read, None if all could, at `now` (Unix time).

        Anything but an error of the drive is no news of it.
        """
        known = self.read_errors()
        over = [identity for identity, why in met.items() if why is None and identity in known]
        if over:
            self._database.write_many(
                "DELETE FROM read_errors WHERE identity = ?", [(os.fsencode(identity),) for identity in over]
            )
        errors = {identity: why for identity, why in met.items() if why is not None and why.reason is Reason.IO_ERROR}
        if errors:
            self._database.write_many(
                "INSERT INTO read_errors VALUES (?, ?, ?) ON CONFLICT (identity) DO UPDATE SET why = excluded.why",
                [(os.fsencode(identity), why.detail, now) for identity, why in errors.items()],
            )

    def last_counts(self) -> dict[str, LastCount]:
        """Return the last count of every drive that was ever counted here, by identity."""
        rows = self._database.rows("SELECT identity, plots, bytes, time, counts FROM counted_drives WHERE time > 0")
        return {
            from_stored(identity): LastCount(plots, size, time, _counts(text))
            for identity, plots, size, time, text in rows
        }

    def _numbers(self) -> dict[str, int]:
        rows = self._database.rows("SELECT identity, drive FROM counted_drives")
        return {from_stored(identity): drive for identity, drive in rows}

    def _forget_oldest(self) -> None:
        stale = "SELECT drive FROM counted_drives ORDER BY time DESC LIMIT -1 OFFSET ?"
        for table in ("counted_directories", "counted_drives"):
            self._database.write(f"DELETE FROM {table} WHERE drive IN ({stale})", (_MOST_DRIVES,))  # noqa: S608


def _row(directory: CountedDirectory) -> tuple[object, ...]:
    facts = {
        "tally": sorted(directory.tally.items()),
        "plot_bytes": directory.plot_bytes,
        "by_name": directory.by_name,
        "unread": directory.unread,
        "below": directory.below,
    }
    path = os.fsencode(directory.path)
    return path, directory.signature, directory.gone_through, json.dumps(facts), directory.headers


def _directory(row: Sequence[Any]) -> CountedDirectory | None:
    """Return what lay in a directory; None if it makes no sense here: it is gone through again then."""
    path, signature, gone_through, text, headers = row
    try:
        facts = json.loads(text)
        return CountedDirectory(
            path=os.fsdecode(path),
            signature=signature,
            gone_through=gone_through,
            tally=dict(facts["tally"]),
            plot_bytes=facts["plot_bytes"],
            by_name=facts["by_name"],
            unread=facts["unread"],
            below=tuple(facts["below"]),
            headers=headers,
        )
    except (ValueError, TypeError, KeyError):
        return None


def _counts(text: str) -> dict[tuple[str, int], int] | None:
    try:
        return {(kind, k): files for kind, k, files in json.loads(text)} if text else None
    except (ValueError, TypeError):  # it makes no sense here: the numbers beside it hold
        return None
