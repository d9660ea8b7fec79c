"""The temperature report, `drive_manager.py -ct`: what every plot drive says of its health."""

from __future__ import annotations

from collections.abc import Iterator

from plotfarm.base.config.sections import Smart
from plotfarm.base.text import one_line
from plotfarm.base.units import format_duration, format_speed
from plotfarm.drives.conditions import heat
from plotfarm.drives.damage import damage_of
from plotfarm.plots.names import escaped
from plotfarm.reports import frame, last_runs, tables, values
from plotfarm.reports.envelope import iso
from plotfarm.reports.facts import DriveFacts, FarmFacts
from plotfarm.reports.frame import Remark, Value
from plotfarm.reports.listing import in_a_row
from plotfarm.reports.reasons import NO_DRIVES
from plotfarm.reports.tables import Cell, Column, Drawn, TableStyle
from plotfarm.reports.terminal import PLAIN, Terminal, width_of

_COLUMNS = (
    Column("Serial#", rank=1, align="^"),
    Column("Device", rank=2, align="^"),
    Column("Drive", align="^"),
    Column("Temp", align="^"),
    Column("Model", rank=4, align="^"),
    Column("Health", align="^"),
    Column("Highest", rank=3, align="^"),
)
_NARROWEST = 80  # cells of what stands below the table, where there are as many
_HOUR_SECONDS = 3600
_NOT_READ = "not read yet"
_NO_SMART = "no SMART"
_MARKS = {"warning": "!", "critical": "!!"}
_NOT_KNOWN = "-"


def as_text(facts: FarmFacts, settings: Smart, terminal: Terminal = PLAIN) -> str:
    """Return a row for every plot drive in a frame; below it what stands behind the row where that is not all."""
    title = f"{one_line(facts.server)} Temperature Report"
    if not facts.drives:
        return "\n".join(frame.report(title, [(NO_DRIVES, Value(""))], terminal))
    rows = [_row(drive, settings) for drive in facts.drives]
    drawn = tables.table(_COLUMNS, rows, terminal, TableStyle.FRAMED, title)
    below = [*_legend(facts, settings), *_reasons(facts), *_cut(drawn, facts)]
    width = max(_NARROWEST, width_of(drawn.lines[0]))
    lines = drawn.lines
    for block in (below, last_runs.remarks(facts.last_runs, facts.now)):
        lines = [*lines, "", *frame.remarks(block, width, terminal)] if block else lines
    return "\n".join(lines)


def _row(drive: DriveFacts, settings: Smart) -> list[Cell]:
    health = drive.health
    is_read = drive.is_mounted and health is not None and not health.problem
    mood = _heat(drive, settings)
    return [
        Cell(one_line(health.serial) if health and health.serial else _NOT_KNOWN),
        Cell(escaped(drive.drive.device) or _NOT_KNOWN),
        Cell(escaped(drive.drive.name)),
        Cell(_temperature(drive, mood) if is_read else _NOT_KNOWN, mood),
        Cell(one_line(health.model) if health and health.model else _NOT_KNOWN),
        _health_cell(drive),
        Cell(values.degrees(health.highest_celsius if health else None, "").text),
    ]


def _health_cell(drive: DriveFacts) -> Cell:
    """Return what SMART says in a word or two, or in as many why it says nothing."""
    health = drive.health
    if not drive.is_mounted:
        return Cell(drive.verdict.why.reason.label, "warning")
    if health is None:
        return Cell(_NOT_READ, "dim")
    assessed = values.assessment(drive)
    if health.problem:
        failing = f"{assessed}, " if assessed.is_known else ""
        return Cell(f"{failing}{_NO_SMART}", assessed.mood or "warning")
    damage = damage_of(health)
    mood = values.worst([assessed.mood, "warning" if damage else ""])
    text = f"{assessed.text}, {damage.word}" if damage else assessed.text
    return Cell(text, mood if mood != "good" else "")


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


def _legend(facts: FarmFacts, settings: Smart) -> list[Remark]:
    """Return what the marks mean that stand in the table."""
    here = [drive for drive in facts.drives if drive.is_mounted]
    moods = {_heat(drive, settings) for drive in here}
    below = []
    if "warning" in moods:
        limit = f"{settings.warning_celsius}°C or more (warning_celsius)"
        by_itself = " or by its own word" if any(drive.health and drive.health.says_hot for drive in here) else ""
        below.append(Remark("!", f"hot: {limit}{by_itself}", "warning"))
    if "critical" in moods:
        limit = f"{settings.critical_celsius}°C or more (critical_celsius)"
        below.append(Remark("!!", f"much too hot: {limit}", "critical"))
    if any(drive.health and drive.health.asleep and not drive.health.problem for drive in here):
        below.append(Remark("asleep:", "left in standby; in brackets what its last reading said (wake_drives)"))
    return below


def _reasons(facts: FarmFacts) -> list[Remark]:
    """Return why drives say nothing, and what is wrong with others: each reason once, with the drives it is about."""
    about: dict[tuple[str, str, str], list[str]] = {}
    for drive in facts.drives:
        name = escaped(drive.drive.name)
        for remark in _of_drive(drive, facts.now):
            about.setdefault((remark.mark, remark.mood, remark.sentence), []).append(name)
    return [
        Remark(f"{mark}:", _about(in_a_row(names), sentence), mood) for (mark, mood, sentence), names in about.items()
    ]


def _about(names: str, sentence: str) -> str:
    separator = " " if sentence.startswith("(") else ": "
    return f"{names}{separator}{sentence}" if sentence else names


def _of_drive(drive: DriveFacts, now: float) -> Iterator[Remark]:
    """Return what is said of a drive, without its name, so that the same is said of many in one line."""
    health = drive.health
    if not drive.is_mounted:
        yield Remark(drive.verdict.why.reason.label, (_detail(drive) + _last_known(drive, now)).lstrip(), "warning")
        return
    if health is None:
        yield Remark(_NOT_READ, values.NOT_READ)
    elif health.problem:
        problem = one_line(health.problem).removeprefix(f"{_NO_SMART}: ")
        yield Remark(_NO_SMART, problem + _last_known(drive, now), "warning")
    elif damage := damage_of(health):
        yield Remark(damage.word, damage.details(), "warning")
    if drive.speed and drive.speed.is_slow:
        speed = format_speed(drive.speed.bytes_per_second)
        yield Remark("slow", f"plots arrive at {speed}, not half as fast as on the others", "warning")


def _detail(drive: DriveFacts) -> str:
    """Return why a drive is not there, if its label does not say it all."""
    why = drive.verdict.why
    return one_line(str(why)) if str(why) != why.reason.label else ""


def _last_known(drive: DriveFacts, now: float) -> str:
    """Return when a drive was read last; in whole hours, so that many that went together are said together."""
    health = drive.health
    if health is None or health.last_read is None:
        return ""
    hours = (now - health.last_read) // _HOUR_SECONDS
    ago = format_duration(hours * _HOUR_SECONDS) if hours >= 1 else "less than an hour"
    return f" (last read {ago} ago)"


def _cut(drawn: Drawn, facts: FarmFacts) -> list[Remark]:
    """Return what the table itself had no room for."""
    cut = [
        Remark(f"{escaped(facts.drives[one.row].drive.name)}:", f"{one.column}: {one.text}") for one in drawn.shortened
    ]
    return [*cut, *([Remark("-", drawn.remark)] if drawn.remark else [])]


def data(facts: FarmFacts, settings: Smart) -> dict[str, object]:
    """Return the same facts for a program; what is not known is null, and `celsius_why` says why."""
    return {
        "warning_celsius": settings.warning_celsius,
        "critical_celsius": settings.critical_celsius,
        "drives": [_facts(drive, facts.now, settings) for drive in facts.drives],
        "last_runs": last_runs.data(facts.last_runs),
    }


def _facts(drive: DriveFacts, now: float, settings: Smart) -> dict[str, object]:
    health, here = drive.health, drive.is_mounted
    shown = values.celsius(drive, now)
    known = health if here else None
    return {
        "name": drive.drive.name,
        "mountpoint": drive.drive.mountpoint,
        "device": drive.drive.device or None,
        "identity": drive.drive.identity,
        "disk": (health.disk if health else "") or None,
        "serial": (health.serial if health else "") or None,
        "model": (health.model if health else "") or None,
        "mounted": here,
        "celsius": known.celsius if known else None,
        "celsius_why": shown.why or None,
        "heat": (_heat(drive, settings) if here else "") or None,
        "asleep": known.asleep if known else None,
        "highest_celsius": health.highest_celsius if health else None,
        "assessment": (known.assessment if known else "") or None,
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
