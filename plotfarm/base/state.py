"""What a host remembers: one SQLite file (WAL) in the state directory.

The farm never depends on it. If it cannot be opened or written, that is logged once and the memory of
this run lives in RAM: plots still move.
"""

from __future__ import annotations

import contextlib
import logging
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_LOG = logging.getLogger(__name__)
_BUSY_SECONDS = 5.0
_KEEP_READINGS_SECONDS = 14 * 86400

_TABLES = """
CREATE TABLE IF NOT EXISTS transfers (
    id INTEGER PRIMARY KEY, finished REAL NOT NULL, plot TEXT NOT NULL, kind TEXT NOT NULL,
    source TEXT NOT NULL, target TEXT NOT NULL, plotter TEXT NOT NULL, bytes INTEGER NOT NULL,
    seconds REAL NOT NULL, digest TEXT NOT NULL, segments TEXT NOT NULL, result TEXT NOT NULL,
    inode INTEGER NOT NULL, mtime_ns INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS transfers_by_plot ON transfers (plot, finished);
CREATE INDEX IF NOT EXISTS transfers_by_time ON transfers (finished);
CREATE TABLE IF NOT EXISTS journal (source TEXT PRIMARY KEY, nas TEXT NOT NULL, since REAL NOT NULL);
CREATE TABLE IF NOT EXISTS rooms (
    host TEXT NOT NULL, directory TEXT NOT NULL, time REAL NOT NULL, free_bytes INTEGER NOT NULL,
    waiting_bytes INTEGER NOT NULL, hours_left REAL
);
CREATE INDEX IF NOT EXISTS rooms_by_directory ON rooms (host, directory, time);
CREATE TABLE IF NOT EXISTS observations (
    path TEXT PRIMARY KEY, facts TEXT NOT NULL, boot TEXT NOT NULL, since REAL NOT NULL
);
CREATE TABLE IF NOT EXISTS known_drives (
    identity TEXT PRIMARY KEY, mountpoint TEXT NOT NULL, device TEXT NOT NULL, seen REAL NOT NULL
);
PRAGMA user_version = 1;
"""


@dataclass(frozen=True)
class Transfer:
    """One transfer that ended, well (`result` = `stored` or `have`) or not (the reason)."""

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
    result: str
    inode: int = 0  # of the stored file, with mtime_ns: proof that it is still the file that was digested
    mtime_ns: int = 0


@dataclass(frozen=True)
class Room:
    """One reading of the room in a plot directory."""

    host: str
    directory: str
    time: float  # Unix time
    free_bytes: int
    waiting_bytes: int
    hours_left: float | None  # until full at the present pace; None: not filling up


class State:
    """The remembered facts of this host. Every method works also when the disk does not."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "state.sqlite"
        try:
            directory.mkdir(parents=True, exist_ok=True)
            self._database = self._open(str(self.path))
        except (OSError, sqlite3.Error) as error:
            _LOG.error("Cannot use the state database %s (%s): this run remembers nothing", self.path, error)
            self._database = self._open(":memory:")

    @staticmethod
    def _open(path: str) -> sqlite3.Connection:
        database = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None)
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = NORMAL")
        if database.execute("PRAGMA user_version").fetchone()[0] < 1:
            database.executescript(_TABLES)
        return database

    @contextlib.contextmanager
    def _tolerant(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, UnicodeError, OverflowError) as error:  # the latter two: what SQLite cannot hold
            _LOG.error("The state database %s cannot be used: %s", self.path, error)

    def close(self) -> None:
        """Close the database."""
        with self._tolerant():
            self._database.close()

    def record_transfer(self, transfer: Transfer, keep: int = 100_000) -> None:
        """Remember a transfer; at most about `keep` rows stay, the oldest go first."""
        fields = transfer.__dict__
        with self._tolerant():
            self._database.execute(
                f"INSERT INTO transfers ({', '.join(fields)}) VALUES ({', '.join('?' * len(fields))})",  # noqa: S608
                tuple(fields.values()),
            )
            self._database.execute("DELETE FROM transfers WHERE id <= (SELECT max(id) FROM transfers) - ?", (keep,))

    def transfers(self, *, since: float = 0.0, plot: str | None = None, limit: int = 1000) -> list[Transfer]:
        """Return the newest transfers first, since a Unix time, of one plot name or of all."""
        columns = ", ".join(Transfer.__dataclass_fields__)
        where = "finished >= ?" + (" AND plot = ?" if plot is not None else "")
        values: list[float | str] = [since, plot] if plot is not None else [since]
        rows: list[tuple[object, ...]] = []
        with self._tolerant():
            rows = self._database.execute(
                f"SELECT {columns} FROM transfers WHERE {where} ORDER BY id DESC LIMIT {int(limit)}",  # noqa: S608
                values,
            ).fetchall()
        return [Transfer(*row) for row in rows]  # type: ignore[arg-type]

    def stored_bytes_since(self, plotter: str, since: float) -> int:
        """Return how many bytes one plotter has had stored here since a Unix time."""
        with self._tolerant():
            row = self._database.execute(
                "SELECT coalesce(sum(bytes), 0) FROM transfers "
                "WHERE plotter = ? AND finished >= ? AND result = 'stored'",
                (plotter, since),
            ).fetchone()
            return int(row[0])
        return 0

    def journal_nas(self, source: str) -> str | None:
        """Return the NAS that a plot was last offered to without a known end, or None."""
        with self._tolerant():
            row = self._database.execute("SELECT nas FROM journal WHERE source = ?", (source,)).fetchone()
            return str(row[0]) if row else None
        return None

    def journal_write(self, source: str, nas: str) -> None:
        """Note, durably and before the first byte, that a plot is on its way to a NAS."""
        with self._tolerant():
            self._database.execute("PRAGMA synchronous = FULL")
            self._database.execute("INSERT OR REPLACE INTO journal VALUES (?, ?, ?)", (source, nas, time.time()))
            self._database.execute("PRAGMA synchronous = NORMAL")

    def journal_remove(self, source: str) -> None:
        """Forget the note: the plot's fate is known."""
        with self._tolerant():
            self._database.execute("DELETE FROM journal WHERE source = ?", (source,))

    def unchanged_seconds(self, path: str, facts: tuple[int, ...]) -> float:
        """Return for how long a file has been seen with the same facts since the boot, 0 the first time.

        Counted on CLOCK_BOOTTIME, which never jumps; the wall clock and file times do.
        """
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        now, text = time.clock_gettime(time.CLOCK_BOOTTIME), repr(facts)
        with self._tolerant():
            row = self._database.execute(
                "SELECT since FROM observations WHERE path = ? AND facts = ? AND boot = ?", (path, text, boot)
            ).fetchone()
            if row:
                return now - float(row[0])
            self._database.execute("INSERT OR REPLACE INTO observations VALUES (?, ?, ?, ?)", (path, text, boot, now))
        return 0.0

    def record_room(self, room: Room) -> None:
        """Remember a reading of the room in a plot directory, for 14 days."""
        with self._tolerant():
            self._database.execute("DELETE FROM rooms WHERE time < ?", (room.time - _KEEP_READINGS_SECONDS,))
            self._database.execute("INSERT INTO rooms VALUES (?, ?, ?, ?, ?, ?)", tuple(room.__dict__.values()))

    def rooms(self, *, since: float) -> list[Room]:
        """Return the readings since a Unix time, oldest first."""
        rows: list[tuple[object, ...]] = []
        with self._tolerant():
            rows = self._database.execute(
                "SELECT host, directory, time, free_bytes, waiting_bytes, hours_left FROM rooms "
                "WHERE time >= ? ORDER BY time",
                (since,),
            ).fetchall()
        return [Room(*row) for row in rows]  # type: ignore[arg-type]

    def know_drives(self, drives: dict[str, tuple[str, str]]) -> None:
        """Remember the plot drives that are here now: identity -> (mountpoint, device)."""
        with self._tolerant():
            self._database.executemany(
                "INSERT OR REPLACE INTO known_drives VALUES (?, ?, ?, ?)",
                [(identity, *where, time.time()) for identity, where in drives.items()],
            )

    def known_drives(self) -> dict[str, tuple[str, str]]:
        """Return every plot drive that was ever seen here: identity -> (mountpoint, device)."""
        rows: list[tuple[str, str, str]] = []
        with self._tolerant():
            rows = self._database.execute("SELECT identity, mountpoint, device FROM known_drives").fetchall()
        return {identity: (mountpoint, device) for identity, mountpoint, device in rows}
