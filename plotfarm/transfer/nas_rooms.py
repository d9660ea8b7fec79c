"""How much room each NAS had when it said so last: what a plotter expects of those that it does not ask again."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass

from plotfarm.base.database import Database

_MOST_BYTES = 2**62  # what the database holds; a NAS may say what it likes


@dataclass(frozen=True)
class RoomSaid:
    """What a NAS said that it can take, less what was sent since."""

    nas: str
    bytes: int
    heard: float  # Unix time


class NasRooms:
    """The table of what the NAS of a plotter have said."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def remember(self, rooms: Iterable[RoomSaid]) -> None:
        """Remember what NAS have said, instead of what they said before."""
        self._database.write_many(
            "INSERT OR REPLACE INTO nas_rooms (nas, bytes, heard) VALUES (?, ?, ?)",
            [(room.nas, min(room.bytes, _MOST_BYTES), room.heard) for room in rooms],
        )

    def lately(self, seconds: float) -> list[RoomSaid]:
        """Return what was said in the last `seconds`; nothing from the future, as after a clock was set back."""
        now = time.time()
        rows = self._database.rows(
            "SELECT nas, bytes, heard FROM nas_rooms WHERE heard BETWEEN ? AND ?", (now - seconds, now)
        )
        return [RoomSaid(*row) for row in rows]
