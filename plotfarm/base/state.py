"""What a host remembers of transfers, plot directories and drives."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from plotfarm.base.boot import boot_id
from plotfarm.base.database import Database
from plotfarm.base.text import as_stored, from_stored

_KEEP_READINGS_SECONDS = 14 * 86400
_KEEP_LONG_SECONDS = 366 * 86400
_HOUR_SECONDS = 3600.0
_KEEP_FAILED = 2000  # transfers of each plotter
_TRY_AGAIN_SECONDS = 86400.0  # what a user has to put right may be right by then
_MOST_DIRECTORIES = 8  # of one host, whose room is remembered


class TransferOutcome(StrEnum):
    """How a transfer ended. The values are kept in the database."""

    STORED = "stored"  # it arrived
    HAVE = "have"  # it was there already
    FAILED = "failed"


@dataclass(frozen=True)
class Transfer:
    """One transfer that ended."""

    finished: float  # Unix time
    plot: str  # file name
    kind: str
    source: str  # path on the sending host
    target: str  # path on the receiving host; "" if it never had one
    plotter: str  # who sent it, as the receiving host knows it
    bytes: int
    seconds: float
    digest: str  # hex; "" if it was not reached
    segments: str  # space-separated hex digests of the 1 GiB segments
    outcome: TransferOutcome
    reason: str = ""  # why it failed: a value of transfer.outcomes.Failure
    k: int = 0  # 0: not known
    detail: str = ""  # what went wrong, for people

    @property
    def ending(self) -> str:
        """Why it failed, or how it ended otherwise: one value for both."""
        return self.reason or self.outcome.value


@dataclass(frozen=True)
class Room:
    """One reading of the room in a plot directory."""

    host: str
    directory: str
    time: float  # Unix time
    free_bytes: int
    waiting_bytes: int
    hours_left: float | None  # until full at the present pace; None: not filling up


@dataclass(frozen=True)
class Daily:
    """One reading of the daily numbers."""

    time: float  # Unix time
    plots: int  # on the drives then
    made: int  # plots that had arrived since the reading before


class State:
    """The remembered facts of this host. Every method works also when the disk does not."""

    def __init__(self, directory: Path | None) -> None:
        self.database = Database(directory)

    def close(self) -> None:
        """Close the database."""
        self.database.close()

    def record_transfer(self, transfer: Transfer, keep: int = 50_000) -> None:
        """Remember a transfer; of each plotter about `keep` stay, fewer that failed, so that none evicts another's."""
        fields = transfer.__dict__
        self.database.write(
            f"INSERT INTO transfers ({', '.join(fields)}) VALUES ({', '.join('?' * len(fields))})",  # noqa: S608
            tuple(fields.values()),
        )
        self.database.write(
            "DELETE FROM transfers WHERE plotter = ?1 AND id <= "
            "(SELECT id FROM transfers WHERE plotter = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2)",
            (transfer.plotter, keep),
        )
        self.database.write(
            "DELETE FROM transfers WHERE plotter = ?1 AND outcome = ?3 AND id <= (SELECT id FROM transfers "
            "WHERE plotter = ?1 AND outcome = ?3 ORDER BY id DESC LIMIT 1 OFFSET ?2)",
            (transfer.plotter, _KEEP_FAILED, TransferOutcome.FAILED),
        )

    def transfers(self, *, since: float = 0.0, plot: str | None = None, limit: int = 1000) -> list[Transfer]:
        """Return the newest transfers first, since a Unix time, of one plot name or of all."""
        columns = ", ".join(_COLUMNS)
        where = "finished >= ?" + (" AND plot = ?" if plot is not None else "")
        values: list[float | str] = [since, plot] if plot is not None else [since]
        rows = self.database.rows(
            f"SELECT {columns} FROM transfers WHERE {where} ORDER BY id DESC LIMIT {int(limit)}",  # noqa: S608
            values,
        )
        return [_transfer(row) for row in rows]

    def count_received(self, plotter: str, size: int) -> None:
        """Count the bytes of a plot that one plotter has had stored here; nothing else ever takes them off."""
        hour = int(time.time() // _HOUR_SECONDS)
        with self.database.durably():
            self.database.write(
                "INSERT INTO received VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET bytes = bytes + excluded.bytes",
                (plotter, hour, size),
            )
        # By the distance and not by the order: the clock may have been set back.
        self.database.write("DELETE FROM received WHERE abs(hour - ?) > 48", (hour,))

    def received_bytes(self, plotter: str) -> int:
        """Return how many bytes one plotter has had stored here in the last 24 hours, counted by whole hours."""
        hour = int(time.time() // _HOUR_SECONDS)
        rows = self.database.rows(
            "SELECT coalesce(sum(bytes), 0) FROM received WHERE plotter = ? AND abs(hour - ?) <= 24", (plotter, hour)
        )
        return int(rows[0][0]) if rows else 0

    def note_publishing(self, plot: str, identity: str) -> None:
        """Note, durably, that a plot is about to get its name on a drive: from now on it may be stored there."""
        now = time.time()
        with self.database.durably():
            self.database.write(
                "INSERT OR REPLACE INTO publishing VALUES (?, ?, ?)", (plot, os.fsencode(identity), now)
            )
        self.database.write("DELETE FROM publishing WHERE abs(since - ?) > ?", (now, _KEEP_LONG_SECONDS))

    def forget_publishing(self, plot: str, identity: str) -> None:
        """Forget that: how it ended is known."""
        self.database.write("DELETE FROM publishing WHERE plot = ? AND identity = ?", (plot, os.fsencode(identity)))

    def publishing(self, plot: str) -> set[str]:
        """Return the identities of the drives that a plot may be stored on without anybody having said so."""
        rows = self.database.rows("SELECT identity FROM publishing WHERE plot = ?", (plot,))
        return {os.fsdecode(identity) for (identity,) in rows}

    def stored_since(self, since: float, without: Sequence[str] = ()) -> tuple[int, int]:
        """Return how many plots, and how many bytes of them, were stored here since a Unix time.

        `without`: kinds that are no plots, here and below.
        """
        rows = self.database.rows(
            f"SELECT count(*), coalesce(sum(bytes), 0) FROM transfers WHERE finished >= ? AND {_STORED_PLOT}",  # noqa: S608
            (since, *_stored_plot(without)),
        )
        return (int(rows[0][0]), int(rows[0][1])) if rows else (0, 0)

    def newest_stored(self, limit: int, without: Sequence[str] = ()) -> list[Transfer]:
        """Return the plots that were stored here last, newest first."""
        rows = self.database.rows(
            f"SELECT {', '.join(_COLUMNS)} FROM transfers WHERE {_STORED_PLOT} ORDER BY id DESC LIMIT ?",  # noqa: S608
            (*_stored_plot(without), limit),
        )
        return [_transfer(row) for row in rows]

    def first_stored(self, without: Sequence[str] = ()) -> float | None:
        """Return when the first plot that is remembered was stored, as Unix time, or None."""
        rows = self.database.rows(
            f"SELECT min(finished) FROM transfers WHERE {_STORED_PLOT}",  # noqa: S608
            _stored_plot(without),
        )
        return float(rows[0][0]) if rows and rows[0][0] is not None else None

    def newly_stored(self) -> list[Transfer]:
        """Return the plots that were stored here since the last call that ended well, oldest first.

        The first call begins to count: it returns none. Inside a transaction the call counts only with the rest.
        """
        newest = self.database.rows("SELECT coalesce(max(id), 0) FROM transfers")
        before = self.database.rows("SELECT up_to FROM told WHERE what = 'transfers'")
        if not newest or newest == before:
            return []
        self.database.write("INSERT OR REPLACE INTO told VALUES ('transfers', ?)", newest[0])
        if not before:
            return []
        columns = ", ".join(_COLUMNS)
        rows = self.database.rows(
            f"SELECT {columns} FROM transfers WHERE id > ? AND id <= ? AND outcome = ? ORDER BY id",  # noqa: S608
            (before[0][0], newest[0][0], TransferOutcome.STORED),
        )
        return [_transfer(row) for row in rows]

    def is_said_first(self, what: str) -> bool:
        """Tell whether something is said for the first time on this host; from now on it is not."""
        self.database.write("INSERT OR IGNORE INTO told VALUES (?, 1)", (f"said: {what}",))
        return self.database.rows("SELECT changes()") == [(1,)]

    def record_daily(self, daily: Daily) -> None:
        """Remember a reading of the daily numbers, for a year."""
        self.database.write("DELETE FROM daily WHERE time < ?", (daily.time - _KEEP_LONG_SECONDS,))
        self.database.write("INSERT OR REPLACE INTO daily VALUES (?, ?, ?)", (daily.time, daily.plots, daily.made))

    def last_daily(self) -> Daily | None:
        """Return the newest reading of the daily numbers, or None."""
        rows = self.database.rows("SELECT time, plots, made FROM daily ORDER BY time DESC LIMIT 1")
        return Daily(*rows[0]) if rows else None

    def journal_nas(self, source: str) -> tuple[str, float] | None:
        """Return the NAS that a plot was last offered to without a known end, and since when (Unix time), or None."""
        rows = self.database.rows("SELECT nas, since FROM journal WHERE source = ?", (source,))
        return (str(rows[0][0]), float(rows[0][1])) if rows else None

    def journal_write(self, source: str, nas: str) -> None:
        """Note, durably and before the first byte, that a plot is on its way to a NAS.

        For the same NAS the time of the first note stays.
        """
        with self.database.durably():
            self.database.write(
                "INSERT INTO journal VALUES (?1, ?2, ?3) ON CONFLICT DO UPDATE "
                "SET since = iif(nas = ?2, since, ?3), nas = ?2",
                (source, nas, time.time()),
            )

    def journal_remove(self, source: str) -> None:
        """Forget the note: the plot's fate is known."""
        self.database.write("DELETE FROM journal WHERE source = ?", (source,))

    def remember_time(self, path: str, old: int, new: int) -> None:
        """Remember, durably, that the modification time of a source goes from `old` to `new` for a moment (ns)."""
        with self.database.durably():
            self.database.write("INSERT OR REPLACE INTO changed_times VALUES (?, ?, ?)", (path, old, new))

    def forget_time(self, path: str) -> None:
        """Forget that: it has its own time again, or is gone."""
        self.database.write("DELETE FROM changed_times WHERE path = ?", (path,))

    def changed_times(self) -> list[tuple[str, int, int]]:
        """Return path, old and new time (ns) of the sources that a run left with another time, because it died."""
        rows = self.database.rows("SELECT path, old, new FROM changed_times")
        return [(str(path), int(old), int(new)) for path, old, new in rows]

    def count_failure(self, path: str, facts: tuple[int, ...]) -> None:
        """Count that a plot could not be moved; another file at that path begins anew."""
        now = time.time()
        self.database.write("DELETE FROM failures WHERE abs(time - ?) > ?", (now, _KEEP_READINGS_SECONDS))
        count = self.failures(path, facts) + 1
        self.database.write("INSERT OR REPLACE INTO failures VALUES (?, ?, ?, ?)", (path, repr(facts), count, now))

    def forget_failures(self, path: str) -> None:
        """Forget them: the plot was moved."""
        self.database.write("DELETE FROM failures WHERE path = ?", (path,))

    def failures(self, path: str, facts: tuple[int, ...]) -> int:
        """Return how often a plot could not be moved, since it was last moved or changed."""
        rows = self.database.rows("SELECT count FROM failures WHERE path = ? AND facts = ?", (path, repr(facts)))
        return int(rows[0][0]) if rows else 0

    def journal_release(self, nas: str) -> int:
        """Forget every note about a NAS; returns how many there were."""
        count = self.database.rows("SELECT count(*) FROM journal WHERE nas = ?", (nas,))
        self.database.write("DELETE FROM journal WHERE nas = ?", (nas,))
        return int(count[0][0]) if count else 0

    def note_kept(self, path: str, facts: tuple[int, ...]) -> None:
        """Remember that the plot at `path`, by its facts, is stored elsewhere and stays; for a year."""
        now = time.time()
        self.database.write("DELETE FROM kept WHERE time < ?", (now - _KEEP_LONG_SECONDS,))
        self.database.write("INSERT OR REPLACE INTO kept VALUES (?, ?, ?)", (path, repr(facts), now))

    def is_kept(self, path: str, facts: tuple[int, ...]) -> bool:
        """Tell whether the plot at `path` is stored elsewhere, and still the one that was stored."""
        return bool(self.database.rows("SELECT 1 FROM kept WHERE path = ? AND facts = ?", (path, repr(facts))))

    def note_unremovable(self, path: str, facts: tuple[int, ...], why: str) -> None:
        """Remember for a day that the plot at `path` is stored elsewhere and cannot be removed here."""
        self.database.write(
            "INSERT OR REPLACE INTO unremovable VALUES (?, ?, ?, ?)", (path, repr(facts), why, time.time())
        )

    def why_unremovable(self, path: str, facts: tuple[int, ...]) -> str:
        """Return why the stored plot at `path` could not be removed; "" if nothing is known."""
        now = time.time()
        self.database.write("DELETE FROM unremovable WHERE abs(time - ?) > ?", (now, _TRY_AGAIN_SECONDS))
        rows = self.database.rows("SELECT why FROM unremovable WHERE path = ? AND facts = ?", (path, repr(facts)))
        return str(rows[0][0]) if rows else ""

    def unchanged_seconds(self, path: str, facts: tuple[int, ...]) -> float:
        """Return for how long a file has been seen with the same facts since the boot, 0 the first time.

        Counted on CLOCK_BOOTTIME, which never jumps; the wall clock and file times do.
        """
        boot = boot_id()
        if not boot:  # nothing tells this start of the host from another one
            return 0.0
        now = time.clock_gettime(time.CLOCK_BOOTTIME)
        text = repr(facts)
        rows = self.database.rows(
            "SELECT since FROM observations WHERE path = ? AND facts = ? AND boot = ?", (path, text, boot)
        )
        if rows:
            return now - float(rows[0][0])
        self.database.write("INSERT OR REPLACE INTO observations VALUES (?, ?, ?, ?)", (path, text, boot, now))
        return 0.0

    def record_room(self, room: Room) -> None:
        """Remember a reading of the room in a plot directory, for 14 days; of a few directories of each host."""
        self.database.write("DELETE FROM rooms WHERE time < ?", (room.time - _KEEP_READINGS_SECONDS,))
        self.database.write("INSERT INTO rooms VALUES (?, ?, ?, ?, ?, ?)", tuple(room.__dict__.values()))
        self.database.write(
            "DELETE FROM rooms WHERE host = ?1 AND directory NOT IN "
            "(SELECT directory FROM rooms WHERE host = ?1 GROUP BY directory ORDER BY max(time) DESC LIMIT ?2)",
            (room.host, _MOST_DIRECTORIES),
        )

    def rooms(self, *, since: float) -> list[Room]:
        """Return the readings since a Unix time, oldest first."""
        rows = self.database.rows(
            "SELECT host, directory, time, free_bytes, waiting_bytes, hours_left FROM rooms "
            "WHERE time >= ? ORDER BY time",
            (since,),
        )
        return [Room(*row) for row in rows]

    def know_drives(self, drives: dict[str, tuple[str, str]]) -> None:
        """Remember the plot drives that are here now: identity -> (mountpoint, device)."""
        now = time.time()
        self.database.write_many(
            "INSERT OR REPLACE INTO known_drives VALUES (?, ?, ?, ?)",
            [(*map(as_stored, (identity, *where)), now) for identity, where in drives.items()],
        )

    def known_drives(self) -> dict[str, tuple[str, str]]:
        """Return every plot drive that was ever seen here: identity -> (mountpoint, device)."""
        rows = self.database.rows("SELECT identity, mountpoint, device FROM known_drives")
        names = (map(from_stored, row) for row in rows)
        return {identity: (mountpoint, device) for identity, mountpoint, device in names}


_COLUMNS = tuple(Transfer.__dataclass_fields__)
_OUTCOME = _COLUMNS.index("outcome")
_STORED_PLOT = "outcome = ? AND kind NOT IN (SELECT value FROM json_each(?))"


def _stored_plot(without: Sequence[str]) -> tuple[str, str]:
    """Return the values for _STORED_PLOT."""
    return TransferOutcome.STORED.value, json.dumps(list(without))


def _transfer(row: Sequence[Any]) -> Transfer:
    """Return the transfer in a row with all columns."""
    fields = list(row)
    fields[_OUTCOME] = TransferOutcome(fields[_OUTCOME])
    return Transfer(*fields)
