"""What drives answered last: who only asks how much would fit does not have to ask each drive again for that.

A remembered answer is never what a plot goes by: the drive that takes it is always asked afresh. Only what a drive in
order answered is remembered. That one does not answer is remembered by the kernel (drives.probe_turn).
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from plotfarm.base.boot import boot_id
from plotfarm.base.database import Database
from plotfarm.drives.asking import part_of
from plotfarm.drives.model import Drive, NoParts, Reading

if TYPE_CHECKING:
    from plotfarm.drives.inventory import LastCount

_KEPT = ("total_bytes", "free_bytes", "has_inodes", "mount", "disk")
_MOST_DRIVES = 2000
_UNKNOWN = ("unknown", 0)  # kind and k of plots that were counted when these were not remembered


@dataclass(frozen=True)
class Remembered:
    """What a drive answered, and how many seconds ago that was."""

    reading: Reading
    age_seconds: float


class LastReadings:
    """The last answers of this host's drives."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def remember(self, readings: Iterable[Reading], since_boot: float) -> None:
        """Take in what drives in order answered to a probe that was begun at `since_boot` (CLOCK_BOOTTIME)."""
        boot = boot_id()
        now = time.time()
        rows = [
            (
                os.fsencode(reading.drive.identity),
                os.fsencode(reading.drive.mountpoint),
                reading.drive.device_number,
                boot,
                since_boot,
                now,
                _facts(reading),
            )
            for reading in readings
            if reading.problem is None
        ]
        if not rows:
            return
        with self._database.transaction():
            self._database.write_many("INSERT OR REPLACE INTO drive_readings VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
            self._database.write(
                "DELETE FROM drive_readings WHERE identity IN "
                "(SELECT identity FROM drive_readings ORDER BY time DESC LIMIT -1 OFFSET ?)",
                (_MOST_DRIVES,),
            )

    def of(self, drives: Sequence[Drive]) -> dict[str, Remembered]:
        """Return by identity what these drives answered since the host was started, where they are mounted now."""
        boot = boot_id()
        now = time.clock_gettime(time.CLOCK_BOOTTIME)
        found = {}
        rows = self._database.rows(
            "SELECT identity, mountpoint, device_number, since_boot, facts FROM drive_readings WHERE boot = ?", (boot,)
        )
        known = {row[:3]: row[3:] for row in rows}
        for drive in drives:
            place = (os.fsencode(drive.identity), os.fsencode(drive.mountpoint), drive.device_number)
            if place not in known:
                continue
            since, text = known[place]
            reading = _reading(drive, text)
            if reading is not None:
                found[drive.identity] = Remembered(reading, now - since)
        return found

    def last_known(self, drives: Collection[Drive]) -> dict[str, Reading]:
        """Return by identity what these drives answered last, whenever and wherever that was."""
        texts = dict(self._database.rows("SELECT identity, facts FROM drive_readings"))
        readings = {drive.identity: _reading(drive, texts.get(os.fsencode(drive.identity), "")) for drive in drives}
        return {identity: reading for identity, reading in readings.items() if reading is not None}


def as_last_known(readings: Sequence[Reading], left_alone: Collection[Drive], database: Database) -> list[Reading]:
    """Return the readings, those of drives that were left alone with the room and the plots that they had last."""
    if not left_alone:
        return list(readings)
    from plotfarm.drives.inventory import Inventory  # a session has no use for it

    known = LastReadings(database).last_known(left_alone)
    counts = Inventory(database).last_counts()
    return [
        reading
        if reading.was_asked
        else _as_last_known(reading, known.get(reading.drive.identity), counts.get(reading.drive.identity))
        for reading in readings
    ]


def _as_last_known(reading: Reading, last: Reading | None, count: LastCount | None) -> Reading:
    if last is not None:
        reading = replace(reading, total_bytes=last.total_bytes, free_bytes=last.free_bytes, disk=last.disk)
    if count is None:
        return replace(reading, uncounted=reading.problem)
    counts = count.counts if count.counts is not None else {_UNKNOWN: count.plots}
    return replace(reading, counts=counts, plot_bytes=count.bytes, plots=count.plots, counted=count.time)


def _facts(reading: Reading) -> str:
    facts: dict[str, Any] = {name: getattr(reading, name) for name in _KEPT}
    facts["parts"] = [asdict(part) for part in reading.parts]
    facts["no_parts"] = asdict(reading.no_parts) if reading.no_parts else None
    return json.dumps(facts)


def _reading(drive: Drive, text: str) -> Reading | None:
    """Return what a drive answered; None if it makes no sense here, as what another version has remembered."""
    try:
        facts = json.loads(text)
        parts = tuple(part_of(carried) for carried in facts["parts"])
        no_parts = NoParts(**facts["no_parts"]) if facts["no_parts"] else None
        return Reading(drive, **{name: facts[name] for name in _KEPT}, parts=parts, no_parts=no_parts)
    except (ValueError, TypeError, KeyError):
        return None
