"""What the owner should know of the drives, and which of them should get no plots: decisions on readings.

The facts of every condition are `drive` (its name), `mountpoint`, `device`, `serial` and `model`, fit to be shown;
"" is not known. Besides, by kind:

hot             celsius (None while nothing can be read), highest_celsius, warning_celsius, critical_celsius
failing         assessment (FAIL), reallocated, pending, uncorrectable, crc_errors
damaged         word (damaged or worn), details (the numbers, for people; "" while nothing can be read)
unsaid          last_read (Unix time)
taken_offline   since (Unix time: of the first reading that said FAILED)
sectors         for each counter that grew, such as `pending`: pending_from, pending_to
no_smart        why, last_read (Unix time)
slow            bytes_per_second, arrivals (how many plots that is the median of)
quarantined     reason (a value of QuarantineReason), call, error (the kernel's words), plot, since (Unix time)
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import pairwise

from plotfarm.base.condition import AlertKind, Condition, Severity
from plotfarm.base.config.sections import Smart
from plotfarm.drives.damage import damage_of
from plotfarm.drives.health import Assessment, Health
from plotfarm.drives.model import Drive
from plotfarm.drives.offlined import is_offlined
from plotfarm.drives.quarantine import Quarantined
from plotfarm.drives.reasons import Reason, Why
from plotfarm.drives.speed import Speed
from plotfarm.plots.names import escaped

GROWTH_SECONDS = 86400.0  # a counter that grew is told of for so long: the span of readings to hand over

_COUNTERS = ("reallocated", "pending", "uncorrectable", "crc_errors")
_SECOND_READING = 0.5  # of an interval: what is still so then was found by the next reading as well
_FORETELL = ("pending", "uncorrectable")  # counters that grow before a disk fails
_INTERVALS = 1.5  # so many intervals a disk may be without SMART data: one failed reading is nothing yet

Facts = dict[str, str | int | float | None]


def health_conditions(
    drives: Sequence[Drive],
    healths: Mapping[str, Health],
    dated: Mapping[str, Sequence[Health]],
    standing: Mapping[tuple[AlertKind, str], Severity],
    settings: Smart,
) -> list[Condition]:
    """Return what is wrong with the disks behind the mounted `drives`; each condition is about a drive's identity.

    By identity: `healths`, what is known now, and `dated`, the readings of the last GROWTH_SECONDS, oldest first,
    beginning with the one that held before. `standing`: (kind, about) -> severity of what has been told already.
    """
    found: list[Condition] = []
    for drive in drives:
        if health := healths.get(drive.identity):
            before = standing.get((AlertKind.HOT, drive.identity))
            found += _hot(drive, health, before, settings)
            found += _failing(drive, health)
            found += _damaged(drive, health, (AlertKind.DAMAGED, drive.identity) in standing)
            found += _sectors(drive, health, dated.get(drive.identity, ()))
            found += _unsaid(drive, health, (AlertKind.UNSAID, drive.identity) in standing, settings)
            found += _no_smart(drive, health, settings)
    return found


def is_surely_failing(health: Health | None, settings: Smart) -> bool:
    """Tell whether two readings, an interval apart or more, said FAILED, and none between them PASSED."""
    if health is None or health.failing_seconds is None:
        return False
    return health.failing_seconds >= settings.smart_interval_minutes * 60


def offline_conditions(
    drives: Sequence[Drive],
    healths: Mapping[str, Health],
    offlined: Collection[str],
    told: Collection[tuple[AlertKind, str]],
    settings: Smart,
) -> list[Condition]:
    """Return which failing drives are offline by [smart] offline_failing, for as long as they are.

    `offlined`: entries as drives.offlined reads them, after failing drives were taken offline; `told`: (kind, about)
    of what has been told already.
    """
    found = []
    for drive in drives:
        health = healths.get(drive.identity)
        is_meant = settings.offline_failing and is_surely_failing(health, settings)
        if is_offlined(drive, offlined) and (is_meant or (AlertKind.TAKEN_OFFLINE, drive.identity) in told):
            facts = {**drive_facts(drive, health), "since": health.failing_since if health else None}
            found.append(Condition(AlertKind.TAKEN_OFFLINE, drive.identity, Severity.WARNING, facts))
    return found


def speed_conditions(
    drives: Sequence[Drive], speeds: Mapping[str, Speed], healths: Mapping[str, Health]
) -> list[Condition]:
    """Return on which of the mounted `drives` plots arrive so slowly that it is sick, or shingled.

    `speeds`: by mountpoint; `healths`: by identity.
    """
    found = []
    for drive in drives:
        speed = speeds.get(drive.mountpoint)
        if speed is not None and speed.is_slow:
            facts = {**drive_facts(drive, healths.get(drive.identity))}
            facts |= {"bytes_per_second": speed.bytes_per_second, "arrivals": speed.arrivals}
            found.append(Condition(AlertKind.SLOW, drive.identity, Severity.WARNING, facts))
    return found


def quarantine_conditions(
    drives: Sequence[Drive], quarantined: Mapping[str, Quarantined], healths: Mapping[str, Health]
) -> list[Condition]:
    """Return which of the mounted `drives` lost data, whether they are offline or not.

    By identity: `quarantined`, as Quarantine.active tells, and `healths`.
    """
    found = []
    for drive in drives:
        entry = quarantined.get(drive.identity)
        if entry is not None:
            facts = {
                **drive_facts(drive, healths.get(drive.identity)),
                "reason": entry.reason.value,
                "call": entry.call,
                "error": os.strerror(entry.errno) if entry.errno else "",
                "plot": escaped(entry.plot),
                "since": entry.since,
            }
            found.append(Condition(AlertKind.QUARANTINED, entry.identity, Severity.CRITICAL, facts))
    return found


def unfit(healths: Mapping[str, Health], settings: Smart, too_hot: Collection[str] = ()) -> dict[str, Why]:
    """Return identity -> why a drive should get no plots.

    `too_hot`: identities of drives whose critical heat has been told of: they have to cool by the hysteresis first.
    """
    reasons: dict[str, Why] = {}
    for identity, health in healths.items():
        before = Severity.CRITICAL if identity in too_hot else None
        if health.assessment == Assessment.FAILED:
            reasons[identity] = Why(Reason.FAILING, "SMART says FAILED")
        elif _is_running(health) and heat(health.celsius, before, settings) is Severity.CRITICAL:
            limit = f"critical_celsius is {settings.critical_celsius}"
            reasons[identity] = Why(Reason.HOT, f"{health.celsius} C ({limit})")
    return reasons


def heat(celsius: int | None, before: Severity | None, settings: Smart) -> Severity | None:
    """Return how serious a temperature is; `before`: how serious it was, which lasts until it is well below."""
    if celsius is None:
        return None
    if celsius >= settings.critical_celsius - (settings.hysteresis_celsius if before is Severity.CRITICAL else 0):
        return Severity.CRITICAL
    if celsius >= settings.warning_celsius - (settings.hysteresis_celsius if before else 0):
        return Severity.WARNING
    return None


def growth(readings: Sequence[Health]) -> dict[str, tuple[int, int]]:
    """Return which counters grew between readings, oldest first: name -> from what, to what.

    Only those of the disk that is there now count, not those of one that was there before.
    """
    grown = {}
    for name in _COUNTERS:
        values = [getattr(reading, name) for reading in readings if reading.serial == readings[-1].serial]
        steps = [(a, b) for a, b in pairwise(value for value in values if value is not None) if b > a]
        if steps:
            grown[name] = (steps[0][0], steps[-1][1])
    return grown


def _hot(drive: Drive, health: Health, before: Severity | None, settings: Smart) -> Iterator[Condition]:
    # What cannot be read may be as hot as it was; what sleeps cools down.
    severity = before if health.problem else heat(health.celsius, before, settings) if _is_running(health) else None
    if severity is None and health.says_hot and _is_running(health):
        severity = Severity.WARNING
    if severity is not None:
        facts = {
            **drive_facts(drive, health),
            "celsius": health.celsius,
            "highest_celsius": health.highest_celsius,
            "warning_celsius": settings.warning_celsius,
            "critical_celsius": settings.critical_celsius,
        }
        yield Condition(AlertKind.HOT, drive.identity, severity, facts)


def _failing(drive: Drive, health: Health) -> Iterator[Condition]:
    if health.assessment == Assessment.FAILED:
        counters = {name: getattr(health, name) for name in _COUNTERS}
        facts = {**drive_facts(drive, health), "assessment": health.assessment, **counters}
        yield Condition(AlertKind.FAILING, drive.identity, Severity.CRITICAL, facts)


def _damaged(drive: Drive, health: Health, is_told: bool) -> Iterator[Condition]:
    """Look at one reading, which may be the first. What cannot be read any more has not healed."""
    damage = damage_of(health)
    if damage or (is_told and health.problem):
        facts = {**drive_facts(drive, health), "word": damage.word or "damaged", "details": damage.details()}
        yield Condition(AlertKind.DAMAGED, drive.identity, Severity.WARNING, facts)


def _unsaid(drive: Drive, health: Health, is_told: bool, settings: Smart) -> Iterator[Condition]:
    """Tell of a disk that gave no verdict twice in a row: neither good nor bad, and nobody would know."""
    if health.assessment == Assessment.NOT_SAID and health.last_read is not None and (is_told or _is_running(health)):
        facts = {**drive_facts(drive, health), "last_read": health.last_read}
        patience = settings.smart_interval_minutes * 60 * _SECOND_READING
        yield Condition(AlertKind.UNSAID, drive.identity, Severity.WARNING, facts, patience)


def _sectors(drive: Drive, health: Health, readings: Sequence[Health]) -> Iterator[Condition]:
    facts = drive_facts(drive, health)
    grown = growth(readings)
    for name, (start, end) in grown.items():
        facts |= {f"{name}_from": start, f"{name}_to": end}
    if grown:
        severity = Severity.CRITICAL if any(name in grown for name in _FORETELL) else Severity.WARNING
        yield Condition(AlertKind.SECTORS, drive.identity, severity, facts)


def _no_smart(drive: Drive, health: Health, settings: Smart) -> Iterator[Condition]:
    if health.problem and health.last_read is not None:
        facts = {**drive_facts(drive, health), "why": health.problem, "last_read": health.last_read}
        patience = settings.smart_interval_minutes * 60 * _INTERVALS
        yield Condition(AlertKind.NO_SMART, drive.identity, Severity.WARNING, facts, patience)


def _is_running(health: Health) -> bool:
    return not health.asleep and not health.problem


def drive_facts(drive: Drive, health: Health | None) -> Facts:
    """Return the facts that every condition about a drive has."""
    return {
        "drive": escaped(drive.name),
        "mountpoint": escaped(drive.mountpoint),
        "device": escaped(drive.device),
        "serial": health.serial if health else "",
        "model": health.model if health else "",
    }
