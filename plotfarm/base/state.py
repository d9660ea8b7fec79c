"""What a host remembers of transfers, plot directories and drives."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from plotfarm.base.database import Database

_KEEP_READINGS_SECONDS = 14 * 86400
_KEEP_LONG_SECONDS = 366 * 86400

_TABLES = """
CREATE TABLE IF NOT EXISTS transfers (
    id INTEGER PRIMARY KEY, finished REAL NOT NULL, plot TEXT NOT NULL, kind TEXT NOT NULL,
    source TEXT NOT NULL, target TEXT NOT NULL, plotter TEXT NOT NULL, bytes INTEGER NOT NULL,
    seconds REAL NOT NULL, digest TEXT NOT NULL, segments TEXT NOT NULL, result TEXT NOT NULL,
    inode INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, k INTEGER NOT NULL
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
CREATE TABLE IF NOT EXISTS kept (path TEXT PRIMARY KEY, facts TEXT NOT NULL, time REAL NOT NULL);
CREATE TABLE IF NOT EXISTS known_drives (
    identity TEXT PRIMARY KEY, mountpoint TEXT NOT NULL, device TEXT NOT NULL, seen REAL NOT NULL
);
CREATE TABLE IF NOT EXISTS told (what TEXT PRIMARY KEY, up_to INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS daily (time REAL PRIMARY KEY, plots INTEGER NOT NULL, made INTEGER NOT NULL);
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
    k: int = 0  # 0: not known


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

    def __init__(self, directory: Path) -> None:
        self.database = Database(directory)
        self.database.prepare(_TABLES)

    def close(self) -> None:
        """Close the database."""
        self.database.close()

    def record_transfer(self, transfer: Transfer, keep: int = 100_000) -> None:
        """Remember a transfer; at most about `keep` rows stay, the oldest go first."""
        fields = transfer.__dict__
        self.database.write(
            f"INSERT INTO transfers ({', '.join(fields)}) VALUES ({', '.join('?' * len(fields))})",  # noqa: S608
            tuple(fields.values()),
        )
        self.database.write("DELETE FROM transfers WHERE id <= (SELECT max(id) FROM transfers) - ?", (keep,))

    def transfers(self, *, since: float = 0.0, plot: str | None = None, limit: int = 1000) -> list[Transfer]:
        """Return the newest transfers first, since a Unix time, of one plot name or of all."""
        columns = ", ".join(Transfer.__dataclass_fields__)
        where = "finished >= ?" + (" AND plot = ?" if plot is not None else "")
        values: list[float | str] = [since, plot] if plot is not None else [since]
        rows = self.database.rows(
            f"SELECT {columns} FROM transfers WHERE {where} ORDER BY id DESC LIMIT {int(limit)}",  # noqa: S608
            values,
        )
        return [Transfer(*row) for row in rows]

    def stored_bytes_since(self, plotter: str, since: float) -> int:
        """Return how many bytes one plotter has had stored here since a Unix time."""
        rows = self.database.rows(
            "SELECT coalesce(sum(bytes), 0) FROM transfers WHERE plotter = ? AND finished >= ? AND result = 'stored'",
            (plotter, since),
        )
        return int(rows[0][0]) if rows else 0

    def stored_since(self, since: float) -> tuple[int, int]:
        """Return how many plots, and how many bytes of them, were stored here since a Unix time."""
        rows = self.database.rows(
            "SELECT count(*), coalesce(sum(bytes), 0) FROM transfers WHERE finished >= ? AND result = 'stored'",
            (since,),
        )
        return (int(rows[0][0]), int(rows[0][1])) if rows else (0, 0)

    def first_stored(self) -> float | None:
        """Return when the first plot that is remembered was stored, as Unix time, or None."""
        rows = self.database.rows("SELECT min(finished) FROM transfers WHERE result = 'stored'")
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
        columns = ", ".join(Transfer.__dataclass_fields__)
        rows = self.database.rows(
            f"SELECT {columns} FROM transfers WHERE id > ? AND id <= ? AND result = 'stored' ORDER BY id",  # noqa: S608
            (before[0][0], newest[0][0]),
        )
        return [Transfer(*row) for row in rows]

    def record_daily(self, daily: Daily) -> None:
        """Remember a reading of the daily numbers, for a year."""
        self.database.write("DELETE FROM daily WHERE time < ?", (daily.time - _KEEP_LONG_SECONDS,))
        self.database.write("INSERT OR REPLACE INTO daily VALUES (?, ?, ?)", (daily.time, daily.plots, daily.made))

    def last_daily(self) -> Daily | None:
        """Return the newest reading of the daily numbers, or None."""
        rows = self.database.rows("SELECT time, plots, made FROM daily ORDER BY time DESC LIMIT 1")
        return Daily(*rows[0]) if rows else None

    def journal_nas(self, source: str) -> str | None:
        """Return the NAS that a plot was last offered to without a known end, or None."""
        rows = self.database.rows("SELECT nas FROM journal WHERE source = ?", (source,))
        return str(rows[0][0]) if rows else None

    def journal_write(self, source: str, nas: str) -> None:
        """Note, durably and before the first byte, that a plot is on its way to a NAS."""
        with self.database.durably():
            self.database.write("INSERT OR REPLACE INTO journal VALUES (?, ?, ?)", (source, nas, time.time()))

    def journal_remove(self, source: str) -> None:
        """Forget the note: the plot's fate is known."""
        self.database.write("DELETE FROM journal WHERE source = ?", (source,))

    def note_kept(self, path: str, facts: tuple[int, ...]) -> None:
        """Remember that the plot at `path`, by its facts, is stored elsewhere and stays; for a year."""
        now = time.time()
        self.database.write("DELETE FROM kept WHERE time < ?", (now - _KEEP_LONG_SECONDS,))
        self.database.write("INSERT OR REPLACE INTO kept VALUES (?, ?, ?)", (path, repr(facts), now))

    def is_kept(self, path: str, facts: tuple[int, ...]) -> bool:
        """Tell whether the plot at `path` is stored elsewhere, and still the one that was stored."""
        return bool(self.database.rows("SELECT 1 FROM kept WHERE path = ? AND facts = ?", (path, repr(facts))))

    def unchanged_seconds(self, path: str, facts: tuple[int, ...]) -> float:
        """Return for how long a file has been seen with the same facts since the boot, 0 the first time.

        Counted on CLOCK_BOOTTIME, which never jumps; the wall clock and file times do.
        """
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        now, text = time.clock_gettime(time.CLOCK_BOOTTIME), repr(facts)
        rows = self.database.rows(
            "SELECT since FROM observations WHERE path = ? AND facts = ? AND boot = ?", (path, text, boot)
        )
        if rows:
            return now - float(rows[0][0])
        self.database.write("INSERT OR REPLACE INTO observations VALUES (?, ?, ?, ?)", (path, text, boot, now))
        return 0.0

    def record_room(self, room: Room) -> None:
        """Remember a reading of the room in a plot directory, for 14 days."""
        self.database.write("DELETE FROM rooms WHERE time < ?", (room.time - _KEEP_READINGS_SECONDS,))
        self.database.write("INSERT INTO rooms VALUES (?, ?, ?, ?, ?, ?)", tuple(room.__dict__.values()))

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
            [(identity, *where, now) for identity, where in drives.items()],
        )

    def known_drives(self) -> dict[str, tuple[str, str]]:
        """Return every plot drive that was ever seen here: identity -> (mountpoint, device)."""
        rows = self.database.rows("SELECT identity, mountpoint, device FROM known_drives")
        return {identity: (mountpoint, device) for identity, mountpoint, device in rows}
