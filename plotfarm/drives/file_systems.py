"""Which file system was seen last at a place that has no UUID by udev: so that one which was replaced is told of.

On hosts with udev a drive is known by the UUID of its file system before anything is asked of it. Without udev it is
known by its place; its UUID is read when it answers, and remembered here.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping

from plotfarm.base.database import Database
from plotfarm.drives.model import Reading


class FileSystems:
    """What was read last at each mountpoint."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def at_places(self) -> dict[str, str]:
        """Return mountpoint -> UUID."""
        rows = self._database.rows("SELECT mountpoint, uuid FROM file_systems")
        return {os.fsdecode(mountpoint): uuid for mountpoint, uuid in rows}

    def learn(self, readings: Iterable[Reading], before: Mapping[str, str]) -> dict[str, str]:
        """Take in what was read now; returns mountpoint -> the UUID of the file system that was replaced there.

        `before`: what `at_places` told.
        """
        now = {reading.drive.mountpoint: reading.uuid for reading in readings if reading.uuid}
        changed = {place: uuid for place, uuid in now.items() if before.get(place) != uuid}
        if changed:
            self._database.write_many(
                "INSERT OR REPLACE INTO file_systems VALUES (?, ?)",
                [(os.fsencode(place), uuid) for place, uuid in changed.items()],
            )
        return {place: before[place] for place in changed if place in before}
