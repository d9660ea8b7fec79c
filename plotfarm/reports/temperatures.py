"""The temperature report, `drive_manager.py -ct`: what every plot drive says of its health."""

from __future__ import annotations

import json

from plotfarm.base.config.sections import Smart
from plotfarm.base.text import one_line
from plotfarm.base.units import format_duration, format_speed
from plotfarm.drives.conditions import heat
from plotfarm.drives.damage import damage_of
from plotfarm.plots.names import escaped
from plotfarm.reports import frame, last_runs, values
from plotfarm.reports.facts import DriveFacts, FarmFacts
from plotfarm.reports.frame import Cell
from plotfarm.reports.plot_report import iso
from plotfarm.reports.reasons import NO_DRIVES

_HEAD = ("Serial#", "Device", "Drive", "Temp", "Model", "Health", "Highest")
_MARKS = {"warning": "!", "critical": "!!"}
_NOT_KNOWN = "-"


def as_text(facts: FarmFacts, settings: Smart, colour: bool = False) -> str:
    """Return a row for every plot drive in a frame; below it what the marks in it mean, where there are any."""
    rows = [_row(facts, drive, settings) for drive in facts.drives]
    if not rows:
        rows = [[Cell(NO_DRIVES, span=len(_HEAD))]]
    lines = frame.table(f"{one_line(facts.server)} Temperature Report", _HEAD, rows, colour)
    below = _legend(facts, settings)
    width = frame.width_of(lines[-1])
    if below:
        lines += ["", *frame.remarks(below, width, colour)]
    if facts.last_runs:
        lines += ["", *frame.remarks(last_runs.remarks(facts.last_runs, facts.now), width, colour)]
    return "\n".join(lines)


def _row(facts: FarmFacts, drive: DriveFacts, settings: Smart) -> list[Cell]:
    health = drive.health
    start = [
        Cell(one_line(health.serial) if health and health.serial else _NOT_KNOWN),
        Cell(escaped(drive.drive.device) or _NOT_KNOWN),
        Cell(escaped(drive.drive.name)),
    ]
    rest = len(_HEAD) - len(start)
    if not drive.is_mounted:
        return [*start, Cell(one_line(str(drive.verdict.why)) + _last_known(facts, drive), "warning", rest)]
    if health is None:
        return [*start, Cell(values.no_smart(values.NOT_READ), "dim", rest)]
    assessed = values.assessment(drive)
    if health.problem:
        failing = f"{assessed}; " if assessed.is_known else ""
        said = f"{failing}{values.no_smart(health.problem)}{_last_known(facts, drive)}"
        return [*start, Cell(said, assessed.mood or "warning", rest)]
    mood = _heat(drive, settings)
    damage = damage_of(health)
    health_text = f"{assessed.text}, {damage.word}" if damage else assessed.text
    health_mood = values.worst([assessed.mood, "warning" if damage else ""])
    return [
        *start,
        Cell(_temperature(drive, mood), mood),
        Cell(one_line(health.model) or _NOT_KNOWN),
        Cell(health_text, health_mood if health_mood != "good" else ""),
        Cell(values.degrees(health.highest_celsius, "").text),
    ]


def _temperature(drive: DriveFacts, mood: str) -> str:
    health = drive.health
    shown = values.degrees(health.celsius if health else None, "").text
    if health and health.asleep:
        return f"asleep ({shown})" if health.celsius is not None else "asleep"
    return f"{shown} {_MARKS[mood]}" if mood in _MARKS else shown


def _heat(drive: DriveFacts, settings: Smart) -> str:
    """Return how hot a drive is now; one that sleeps is not."""
    if drive.health is None or drive.health.asleep or drive.health.problem:
        return ""
    severity = heat(drive.health.celsius, None, settings)
    if severity is None and drive.health.says_hot:
        return "warning"
    return severity.value if severity else ""


def _last_known(facts: FarmFacts, drive: DriveFacts) -> str:
    health = drive.health
    if health is None or health.highest_celsius is None or health.last_read is None:
        return ""
    return f" (last read {format_duration(facts.now - health.last_read)} ago, highest {health.highest_celsius}°C)"


def _legend(facts: FarmFacts, settings: Smart) -> list[tuple[str, str, str]]:
    here = [drive for drive in facts.drives if drive.is_mounted]
    moods = {_heat(drive, settings) for drive in here}
    lines = []
    if "warning" in moods:
        limit = f"{settings.warning_celsius}°C or more (warning_celsius)"
        by_itself = " or by its own word" if any(drive.health and drive.health.says_hot for drive in here) else ""
        lines.append(("!", "warning", f"hot: {limit}{by_itself}"))
    if "critical" in moods:
        lines.append(("!!", "critical", f"much too hot: {settings.critical_celsius}°C or more (critical_celsius)"))
    if any(drive.health and drive.health.asleep and not drive.health.problem for drive in here):
        lines.append(("asleep:", "dim", "left in standby; in brackets what its last reading said (wake_drives)"))
    for drive in here:
        if drive.health and not drive.health.problem and (damage := damage_of(drive.health)):
            lines.append((f"{damage.word}:", "warning", f"{escaped(drive.drive.name)}: {damage.details()}"))
    for drive in here:
        if drive.speed and drive.speed.is_slow:
            speed = format_speed(drive.speed.bytes_per_second)
            words = f"plots arrive on {escaped(drive.drive.name)} at {speed}, not half as fast as on the others"
            lines.append(("slow:", "warning", words))
    return lines


def as_json(facts: FarmFacts, settings: Smart) -> str:
    """Return the same facts as one JSON object; what is not known is null, and `why` says why."""
    return json.dumps(
        {
            "server": facts.server,
            "time": iso(facts.now),
            "warning_celsius": settings.warning_celsius,
            "critical_celsius": settings.critical_celsius,
            "drives": [_facts(drive, facts.now, settings) for drive in facts.drives],
            "last_runs": last_runs.as_json(facts.last_runs),
        },
        indent=2,
    )


def _facts(drive: DriveFacts, now: float, settings: Smart) -> dict[str, object]:
    health, here = drive.health, drive.is_mounted
    shown = values.celsius(drive, now)
    known = health if here else None
    return {
        "drive": drive.drive.name,
        "mountpoint": drive.drive.mountpoint,
        "device": drive.drive.device or None,
        "disk": (health.disk if health else "") or None,
        "serial": (health.serial if health else "") or None,
        "model": (health.model if health else "") or None,
        "mounted": here,
        "celsius": known.celsius if known else None,
        "why": shown.why or None,
        "heat": (_heat(drive, settings) if here else "") or None,
        "asleep": known.asleep if known else None,
        "highest_celsius": health.highest_celsius if health else None,
        "health": (known.assessment if known else "") or None,
        "reallocated": known.reallocated if known else None,
        "pending": known.pending if known else None,
        "uncorrectable": known.uncorrectable if known else None,
        "crc_errors": known.crc_errors if known else None,
        "reported_uncorrectable": known.reported_uncorrectable if known else None,
        "command_timeouts": known.command_timeouts if known else None,
        "damage": (damage_of(known).word if known else "") or None,
        "worn": (known.worn if known else "") or None,
        "says_hot": known.says_hot if known else None,
        "power_on_hours": known.power_on_hours if known else None,
        "start_stop_count": known.start_stop_count if known else None,
        "last_read": iso(health.last_read) if health else None,
        "arrival_bytes_per_second": round(drive.speed.bytes_per_second) if drive.speed else None,
        "arrivals_slow": drive.speed.is_slow if drive.speed else None,
    }
