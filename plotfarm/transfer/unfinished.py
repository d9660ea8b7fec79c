"""What is known of plots whose journey was interrupted, at either end: so that it goes on where it stopped."""

from __future__ import annotations

import time
from dataclasses import dataclass

from plotfarm.base.database import Database

_KEEP_SECONDS = 30 * 86400

_TABLES = """
CREATE TABLE IF NOT EXISTS unfinished (
    plot TEXT PRIMARY KEY, identity TEXT NOT NULL, plotter TEXT NOT NULL, bytes INTEGER NOT NULL,
    plot_id TEXT NOT NULL, inode INTEGER NOT NULL, segments TEXT NOT NULL, time REAL NOT NULL
);
CREATE TABLE IF NOT EXISTS sent_segments (
    source TEXT PRIMARY KEY, facts TEXT NOT NULL, segments TEXT NOT NULL, time REAL NOT NULL
);
"""


@dataclass(frozen=True)
class Part:
    """A NAME.part on a drive whose first segments are whole, digested, and would survive a power cut."""

    plot: str  # file name, without .part
    identity: str  # of the drive
    plotter: str
    bytes: int  # of the whole plot: so much room is reserved for it
    plot_id: str  # "" if the header does not tell
    inode: int
    segments: tuple[str, ...]  # hex digests
    time: float = 0.0  # Unix time of the newest segment


class UnfinishedArrivals:
    """The NAS's memory of what was interrupted."""

    def __init__(self, database: Database) -> None:
        self._database = database
        database.prepare(_TABLES)

    def note(self, part: Part) -> None:
        """Remember, durably, how far an arrival has come."""
        values = (part.plot, part.identity, part.plotter, part.bytes, part.plot_id, part.inode)
        with self._database.durably():
            self._database.write(
                "INSERT OR REPLACE INTO unfinished VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (*values, " ".join(part.segments), time.time()),
            )

    def forget(self, plot: str) -> None:
        """Forget a plot: it is stored, or its NAME.part is gone."""
        self._database.write("DELETE FROM unfinished WHERE plot = ?", (plot,))

    def all(self) -> dict[str, Part]:
        """Return what is remembered, by plot."""
        rows = self._database.rows(
            "SELECT plot, identity, plotter, bytes, plot_id, inode, segments, time FROM unfinished"
        )
        parts = [
            Part(plot, identity, plotter, size, plot_id, inode, tuple(segments.split()), when)
            for plot, identity, plotter, size, plot_id, inode, segments, when in rows
        ]
        return {part.plot: part for part in parts}


class SentSegments:
    """The plotter's memory of the segments that it has digested, so that it need not read them again."""

    def __init__(self, database: Database) -> None:
        self._database = database
        database.prepare(_TABLES)

    def note(self, source: str, facts: tuple[int, ...], segments: tuple[str, ...]) -> None:
        """Remember the digests of the first segments of the plot at `source`, which has these facts now."""
        now = time.time()
        self._database.write("DELETE FROM sent_segments WHERE time < ?", (now - _KEEP_SECONDS,))
        self._database.write(
            "INSERT OR REPLACE INTO sent_segments VALUES (?, ?, ?, ?)", (source, repr(facts), " ".join(segments), now)
        )

    def forget(self, source: str) -> None:
        """Forget a plot: it is stored."""
        self._database.write("DELETE FROM sent_segments WHERE source = ?", (source,))

    def known(self, source: str, facts: tuple[int, ...]) -> tuple[str, ...]:
        """Return the digests of the first segments of a plot that still has the same facts."""
        rows = self._database.rows(
            "SELECT segments FROM sent_segments WHERE source = ? AND facts = ?", (source, repr(facts))
        )
        return tuple(rows[0][0].split()) if rows else ()
