"""What is remembered of the SMART data of each drive, by the drive's identity."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypedDict

from plotfarm.base.database import Database
from plotfarm.base.text import as_stored, from_stored
from plotfarm.base.units import DAY_SECONDS
from plotfarm.drives.health import Assessment, Health

_KEEP_SECONDS = 90 * 86400.0

_COLUMNS = (
    "disk", "time", "problem", "asleep", "last_read", "serial", "model", "assessment", "celsius", "highest_celsius",
    "reallocated", "pending", "uncorrectable", "crc_errors",
)  # fmt: skip
_DETAILS = (
    "says_hot", "reported_uncorrectable", "command_timeouts", "worn", "power_on_hours", "start_stop_count",
    "failing_since", "last_failed",
)  # fmt: skip
_DATED = ("time", "serial", "assessment", "celsius", "reallocated", "pending", "uncorrectable", "crc_errors")
_CHANGES = ("serial", "assessment", "reallocated", "pending", "uncorrectable", "crc_errors")


def merged(before: Health | None, now: Health) -> Health:
    """Return what is to be remembered: the new reading, with the older values of a disk that said nothing now.

    A disk that said FAILED stays failing until it says PASSED: an answer without a verdict takes nothing back.
    """
    if before is None or (now.serial and before.serial and now.serial != before.serial):
        return replace(now, **_failing(None, now))
    highest = max((celsius for celsius in (before.highest_celsius, now.celsius) if celsius is not None), default=None)
    if not now.problem and not now.asleep:
        return replace(now, highest_celsius=highest, **_failing(before, now))
    return replace(
        before, disk=now.disk or before.disk, time=now.time, problem=now.problem, asleep=now.asleep,
        serial=now.serial or before.serial, model=now.model or before.model,
    )  # fmt: skip


class _Failing(TypedDict):
    """What of a Health is about failing."""

    assessment: Assessment
    failing_since: float | None
    last_failed: float | None


def _failing(before: Health | None, now: Health) -> _Failing:
    """Return the verdict that holds after a reading, and since when it does."""
    since = before.failing_since if before else None
    if now.assessment == Assessment.FAILED:
        first = now.time if since is None else min(since, now.time)  # the clock may have been set back
        return _Failing(assessment=Assessment.FAILED, failing_since=first, last_failed=now.time)
    if before and before.last_failed is not None and now.assessment == Assessment.NOT_SAID:
        return _Failing(assessment=Assessment.FAILED, failing_since=since, last_failed=before.last_failed)
    return _Failing(assessment=now.assessment, failing_since=None, last_failed=None)


def as_known(remembered: Health) -> Health:
    """Return what may be said of a disk now: nothing that it does not say any more, except that it is failing.

    While it is asleep, the values of its last reading still hold.
    """
    if not remembered.problem:
        return remembered
    is_failing = remembered.assessment == Assessment.FAILED
    return replace(
        remembered, assessment=Assessment.FAILED if is_failing else Assessment.NOT_SAID, celsius=None, says_hot=False,
        reallocated=None, pending=None, uncorrectable=None, crc_errors=None, reported_uncorrectable=None,
        command_timeouts=None, worn="", power_on_hours=None, start_stop_count=None,
    )  # fmt: skip


def is_due(last: float | None, now: float, interval_seconds: float) -> bool:
    """Tell whether it is time for a reading; also if the last one lies ahead, because the clock was set back."""
    return last is None or not last <= now < last + interval_seconds


class HealthRecords:
    """The dated SMART readings of this host's drives."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def record(self, healths: Mapping[str, Health], complete: bool = True) -> None:
        """Remember readings by drive identity; `complete`: of all drives, so the next are due an interval later.

        What was remembered with a later time, before the clock was set back, gets the time of these readings.
        """
        if not healths:
            return
        now = max(health.time for health in healths.values())
        database = self._database
        with database.transaction():
            for table in ("health", "health_readings"):
                database.write(f"UPDATE {table} SET time = ? WHERE time > ?", (now, now))  # noqa: S608
            before, dated = dict(self._remembered()), self._last_dated()
            for identity, health in healths.items():
                self._remember(identity, merged(before.get(identity), health))
                if health.last_read is not None and _is_news(health, dated.get(identity)):
                    self._add(identity, health)
            if complete:
                database.write("INSERT OR REPLACE INTO health_round VALUES (1, ?)", (now,))
            self._forget(now - _KEEP_SECONDS)

    def latest(self) -> dict[str, Health]:
        """Return what is known of every drive that was ever looked at, by identity; `time`: when it was last."""
        return {identity: as_known(health) for identity, health in self._remembered()}

    def serials(self) -> dict[str, str]:
        """Return the serial number of the disk behind each drive, where it is known, by identity."""
        return {identity: health.serial for identity, health in self._remembered() if health.serial}

    def last_time(self) -> float | None:
        """Return when all drives were last looked at, as Unix time, or None."""
        rows = self._database.rows("SELECT time FROM health_round")
        return float(rows[0][0]) if rows else None

    def is_due(self, now: float, interval_seconds: float) -> bool:
        """Tell whether it is time to look at all drives."""
        return is_due(self.last_time(), now, interval_seconds)

    def since(self, time: float) -> dict[str, list[Health]]:
        """Return the dated readings by identity, oldest first: the one that held at a Unix time, and all later ones."""
        rows = self._database.rows(
            f"SELECT identity, {', '.join(_DATED)} FROM health_readings AS reading WHERE id >= coalesce("  # noqa: S608
            "(SELECT max(id) FROM health_readings WHERE identity = reading.identity AND time <= ?), 0) ORDER BY id",
            (time,),
        )
        found: dict[str, list[Health]] = {}
        for key, *values in rows:
            reading = _dated(values)
            found.setdefault(from_stored(key), []).append(replace(reading, last_read=reading.time))
        return found

    def _remembered(self) -> Iterator[tuple[str, Health]]:
        details = {
            key: dict(zip(_DETAILS, values, strict=True))
            for key, *values in self._database.rows(f"SELECT identity, {', '.join(_DETAILS)} FROM health_details")  # noqa: S608
        }
        for key, *values in self._database.rows(f"SELECT identity, {', '.join(_COLUMNS)} FROM health"):  # noqa: S608
            fields = dict(zip(_COLUMNS, values, strict=True)) | details.get(key, {})
            fields["assessment"] = Assessment.of_stored(fields["assessment"])
            for name in ("asleep", "says_hot"):
                fields[name] = bool(fields.get(name))
            yield from_stored(key), Health(**fields)

    def _last_dated(self) -> dict[str, Health]:
        rows = self._database.rows(
            f"SELECT identity, {', '.join(_DATED)} FROM health_readings "  # noqa: S608
            "WHERE id IN (SELECT max(id) FROM health_readings GROUP BY identity)"
        )
        return {from_stored(key): _dated(values) for key, *values in rows}

    def _remember(self, identity: str, health: Health) -> None:
        self._database.write(
            f"INSERT OR REPLACE INTO health VALUES ({', '.join('?' * (1 + len(_COLUMNS)))})",  # noqa: S608
            (as_stored(identity), *(getattr(health, column) for column in _COLUMNS)),
        )
        self._database.write(
            f"INSERT OR REPLACE INTO health_details VALUES ({', '.join('?' * (1 + len(_DETAILS)))})",  # noqa: S608
            (as_stored(identity), *(getattr(health, column) for column in _DETAILS)),
        )

    def _add(self, identity: str, health: Health) -> None:
        self._database.write(
            f"INSERT INTO health_readings (identity, {', '.join(_DATED)}) "  # noqa: S608
            f"VALUES ({', '.join('?' * (1 + len(_DATED)))})",
            (as_stored(identity), *(getattr(health, column) for column in _DATED)),
        )

    def _forget(self, before: float) -> None:
        self._database.write(
            "DELETE FROM health_readings WHERE time < ? "
            "AND id NOT IN (SELECT max(id) FROM health_readings GROUP BY identity)",
            (before,),
        )


def _dated(values: Sequence[Any]) -> Health:
    fields = dict(zip(_DATED, values, strict=True))
    return Health(disk="", **{**fields, "assessment": Assessment.of_stored(fields["assessment"])})


def _is_news(health: Health, before: Health | None) -> bool:
    changed = before is None or any(getattr(health, name) != getattr(before, name) for name in _CHANGES)
    return changed or (before is not None and not before.time <= health.time < before.time + DAY_SECONDS)
