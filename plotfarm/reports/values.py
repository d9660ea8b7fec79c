"""The facts of the farm as reports and mails show them: text, why it is not known, and how well it is.

Whatever comes from outside (names of drives, serial numbers, reasons) is made fit for one line here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from plotfarm.base.condition import AlertKind, Look, Severity
from plotfarm.base.text import one_line
from plotfarm.base.units import DAY_SECONDS, format_bytes, format_duration
from plotfarm.drives.damage import damage_of
from plotfarm.drives.health import Assessment
from plotfarm.drives.reasons import Reason
from plotfarm.plots import formats
from plotfarm.plots.names import escaped
from plotfarm.reports import reasons
from plotfarm.reports.facts import DriveFacts, FarmFacts, Unknown
from plotfarm.reports.listing import in_a_row

UNKNOWN, NOT_THERE = "unknown", "n/a"
NOT_READ = "its SMART data has not been read yet"
_MOST_NAMES = 6
_MOODS = {Assessment.PASSED: "good", Assessment.FAILED: "critical", Assessment.NOT_SAID: "warning"}
# Kinds of conditions that are about a drive; the reason that it takes no plots says those of its presence already.
_NOTES = {
    AlertKind.HOT: "hot",
    AlertKind.FAILING: "failing",
    AlertKind.SECTORS: "bad sectors",
    **dict.fromkeys(Look.PRESENCE.kinds, ""),
}


@dataclass(frozen=True)
class Shown:
    """A value as it is shown."""

    text: str
    why: str = ""  # why it is not known, or not the whole truth
    mood: str = ""  # good, warning or critical; "": it has none

    def __str__(self) -> str:
        return self.text

    @property
    def is_known(self) -> bool:
        """Whether it stands for a value at all."""
        return self.text not in (UNKNOWN, NOT_THERE)


@dataclass(frozen=True)
class FarmValues:
    """The rows about the whole farm."""

    plots: Shown
    chia_plots: Shown
    chia_tib: Shown
    drives: Shown
    room: Shown
    maximum: Shown
    made: Shown
    per_hour: Shown
    tib_per_day: Shown
    days_to_fill: Shown


@dataclass(frozen=True)
class DriveValues:
    """What is said of one drive."""

    name: Shown
    mountpoint: Shown
    device: Shown
    size: Shown
    plots: Shown
    room: Shown
    serial: Shown
    model: Shown
    celsius: Shown
    highest: Shown
    assessment: Shown
    percent: int | None = None  # that is used
    note: str = ""  # what is special about it, in a few words
    mood: str = ""


def farm_values(facts: FarmFacts) -> FarmValues:
    """Return what the reports say of the farm."""
    nothing_known = bool(facts.drives) and all(drive.counts is None for drive in facts.drives)
    not_counted = [left_out([drive for drive in facts.drives if drive.counts is None]), testing(facts)]
    uncounted = "; ".join(each for each in not_counted if each)
    away = left_out([drive for drive in facts.drives if not drive.is_here])
    no_drives = "" if facts.drives else reasons.NO_DRIVES
    so_far = "; ".join(why for why in (uncounted, counted_before(facts.drives)) if why)
    plots = Shown(UNKNOWN, uncounted) if nothing_known else Shown(str(facts.plots), so_far or no_drives)
    maximum = plots if nothing_known else Shown(str(facts.plots + facts.room_plots), so_far)
    pace, bytes_pace = facts.plots_per_day, facts.bytes_per_day
    partly = _partly_recorded(facts)
    return FarmValues(
        plots=plots,
        chia_plots=_farmed(facts, facts.chia_plots, str),
        chia_tib=_farmed(facts, facts.chia_bytes, tib),
        drives=Shown(str(len(facts.mounted)), away or no_drives),
        room=Shown(str(facts.room_plots), "" if facts.room_plots else no_room(facts)),
        maximum=maximum,
        made=Shown(str(facts.made_plots), partly) if facts.made_since is not None else _known(pace, str, NOT_THERE),
        per_hour=_known(pace, lambda value: _small(value / 24, 1), NOT_THERE, partly),
        tib_per_day=_known(bytes_pace, tib, NOT_THERE, partly),
        days_to_fill=_days(facts),
    )


def _farmed(facts: FarmFacts, value: int | Unknown, form: Callable[[int], str]) -> Shown:
    """Return a number of Chia's with its time, or that it does not farm."""
    said = facts.chia_said
    if said is None or isinstance(value, Unknown):
        return _known(value, form)
    moment = datetime.fromtimestamp(said.time)
    if said.is_silent:
        why = f"Chia's harvester has been silent since then, and had {facts.chia_plots} plots (source: {said.source})"
        return Shown(f"not farming since {moment:%Y-%m-%d %H:%M}", why, "critical")
    return Shown(f"{form(value)} ({said.source}, {moment:%H:%M})")


def drive_values(facts: FarmFacts, drive: DriveFacts | None) -> DriveValues:
    """Return what is said of a drive; of None: that there is none."""
    if drive is None:
        none = Shown(NOT_THERE, no_current(facts))
        return DriveValues(none, none, none, none, none, none, none, none, none, none, none)
    verdict, health = drive.verdict, drive.health
    why = _reason(drive)
    note, mood = _note(facts, drive)
    room_why = "" if verdict.usable else one_line(reasons.why(verdict, facts.plot_bytes))
    return DriveValues(
        name=Shown(escaped(drive.drive.name)),
        mountpoint=Shown(escaped(drive.drive.mountpoint)),
        device=Shown(escaped(drive.drive.device)) if drive.drive.device else Shown(UNKNOWN, why),
        size=Shown(format_bytes(verdict.total_bytes)) if verdict.total_bytes else Shown(UNKNOWN, why),
        plots=Shown(str(drive.plots)) if drive.plots is not None else Shown(UNKNOWN, why),
        room=Shown(str(verdict.room_plots), room_why) if drive.is_here else Shown(UNKNOWN, why),
        serial=_said(drive, health.serial if health else ""),
        model=_said(drive, health.model if health else ""),
        celsius=celsius(drive, facts.now, _heat(facts, drive)),
        highest=degrees(health.highest_celsius if health else None, "no temperature was ever read"),
        assessment=assessment(drive),
        percent=drive.used_percent,
        note=note,
        mood=mood,
    )


def celsius(drive: DriveFacts, now: float, mood: str = "") -> Shown:
    """Return the temperature; of a drive that sleeps the last one that was read."""
    health = drive.health
    if health is None or health.celsius is None or not drive.is_mounted:
        return Shown(UNKNOWN, _no_health(drive) or "its SMART data says no temperature")
    if not health.asleep:
        return Shown(f"{health.celsius}°C", mood=mood)
    ago = f" {format_duration(now - health.last_read)} ago" if health.last_read is not None else ""
    return Shown(f"{health.celsius}°C", f"it is asleep; this is its last reading{ago}")


def assessment(drive: DriveFacts) -> Shown:
    """Return PASS or FAIL."""
    health = drive.health
    if health is None or not health.assessment:
        return Shown(UNKNOWN, _no_health(drive) or "its SMART data does not say whether it is well")
    return Shown(one_line(health.assessment), mood=_MOODS[health.assessment])


def degrees(value: int | None, why: str) -> Shown:
    """Return a temperature that may not be known."""
    return Shown(UNKNOWN, why) if value is None else Shown(f"{value}°C")


def tib(count: float) -> str:
    """Return bytes in TiB with three digits or so; little is never shown as nothing."""
    size = count / 2**40
    return f"{size:.0f}" if size >= 100 or not size else _small(size, 2)


def kinds(facts: FarmFacts) -> list[tuple[str, int]]:
    """Return what plots there are and how many files of each, most first: ("k32 .plot", 2900)."""
    labels: dict[str, int] = {}
    for (kind, k), count in facts.counts.items():
        form = formats.named(kind)
        if not form.entry.is_plot:
            continue
        separator = " " if form.entry.suffix else ", "
        label = (f"k{k}" if k else "k unknown") + separator + form.entry.label
        labels[label] = labels.get(label, 0) + count
    return sorted(labels.items(), key=lambda item: (-item[1], item[0]))


def left_out(drives: Sequence[DriveFacts]) -> str:
    """Return which drives are not counted and why: `not counted: drive20 (not mounted), drive3 (not answering)`."""
    by_reason: dict[str, list[str]] = {}
    for drive in drives:
        by_reason.setdefault(_reason(drive), []).append(escaped(drive.drive.name))
    reasons_with_names = [f"{in_a_row(who)} ({why})" for why, who in by_reason.items()]
    return f"not counted: {'; '.join(reasons_with_names)}" if by_reason else ""


def counted_before(drives: Sequence[DriveFacts]) -> str:
    """Return which drives were not asked, so that their plots are those of an earlier count: `drive3 as of ...`."""
    earlier = [
        f"{escaped(drive.drive.name)} as of {datetime.fromtimestamp(drive.counted):%Y-%m-%d %H:%M}"
        for drive in drives
        if drive.counts and drive.counted
    ]
    return f"offlined drives are not asked: plots of {names(earlier)}" if earlier else ""


def testing(facts: FarmFacts) -> str:
    """Return where testing plots lie: `not counted: 3 testing plots, which are zeros (on drive2, drive7)`; or ""."""
    if not facts.testing_plots:
        return ""
    where = names(escaped(drive.drive.name) for drive in facts.drives if drive.testing_plots)
    return f"not counted: {testing_plots(facts.testing_plots)}, which begin with zeros (on {where})"


def testing_plots(count: int) -> str:
    """Return how many they are, in words."""
    return f"{count} testing plot{'' if count == 1 else 's'}"


def unread(facts: FarmFacts) -> list[tuple[str, str]]:
    """Return why the temperature of some mounted drives is not known, and which drives these are."""
    by_reason: dict[str, list[str]] = {}
    for drive in facts.drives:
        shown = celsius(drive, facts.now)
        if drive.is_mounted and not shown.is_known:
            by_reason.setdefault(shown.why, []).append(escaped(drive.drive.name))
    return [(why, in_a_row(who)) for why, who in by_reason.items()]


def names(all_of_them: Iterable[str], most: int = _MOST_NAMES) -> str:
    """Return names in a row, at most some of them: `drive0, drive1 and 14 more`."""
    listed = list(all_of_them)
    if len(listed) <= most + 1:
        return ", ".join(listed)
    return f"{', '.join(listed[:most])} and {len(listed) - most} more"


def no_room(facts: FarmFacts) -> str:
    """Return why no drive can take a plot."""
    counted = reasons.counted(drive.verdict for drive in facts.drives)
    return f"no drive can take a plot: {counted}" if counted else reasons.NO_DRIVES


def no_current(facts: FarmFacts) -> str:
    """Return why there is no plot drive."""
    if not facts.room_plots:
        return no_room(facts)
    return "no plot drive is chosen yet: the next run of drive_manager.py does it"


def worst(moods: Iterable[str]) -> str:
    """Return the worst of some moods."""
    found = set(moods)
    return next((mood for mood in ("critical", "warning", "good") if mood in found), "")


def _known(value: float | Unknown, words: Callable[[Any], str], missing: str = UNKNOWN, why: str = "") -> Shown:
    return Shown(missing, one_line(value.why)) if isinstance(value, Unknown) else Shown(words(value), why)


def _days(facts: FarmFacts) -> Shown:
    days = facts.days_to_fill
    if not facts.room_plots:
        return Shown(NOT_THERE, no_room(facts))
    if isinstance(days, Unknown):
        return Shown(NOT_THERE, days.why)
    return Shown(f"{days:.0f}" if days >= 10 else _small(days, 1), _partly_recorded(facts))


def _partly_recorded(facts: FarmFacts) -> str:
    if facts.made_since is None or facts.recorded_seconds >= DAY_SECONDS:
        return ""
    return f"arrivals are recorded for {format_duration(facts.recorded_seconds)} only, not yet for 24 hours"


def _small(value: float, digits: int) -> str:
    smallest = 10.0**-digits
    return f"< {smallest:.{digits}f}" if 0 < value < smallest else f"{value:.{digits}f}"


def _reason(drive: DriveFacts) -> str:
    """Return in few words why nothing is known of a drive, or why it takes no plots."""
    if drive.is_here and drive.counts is None:
        return one_line(str(drive.uncounted)) if drive.uncounted else "its plots could not be counted"
    return drive.verdict.why.reason.label


def _no_health(drive: DriveFacts) -> str:
    """Return why there is nothing of what SMART says of a drive; "" if there is something."""
    if not drive.is_mounted:
        return one_line(str(drive.verdict.why))
    if drive.health is None:
        return NOT_READ
    return no_smart(drive.health.problem) if drive.health.problem else ""


def no_smart(problem: str) -> str:
    """Return why there is no SMART data, in a sentence that begins with just that."""
    return f"no SMART: {one_line(problem).removeprefix('no SMART: ')}"


def _said(drive: DriveFacts, text: str) -> Shown:
    return Shown(one_line(text)) if text else Shown(UNKNOWN, _no_health(drive) or "its SMART data does not say it")


def _heat(facts: FarmFacts, drive: DriveFacts) -> str:
    """Return how hot a drive is by the conditions that stand."""
    moods = [one.severity for one in facts.standing if one.kind is AlertKind.HOT and one.about == drive.drive.identity]
    return worst(mood.value for mood in moods)


def _note(facts: FarmFacts, drive: DriveFacts) -> tuple[str, str]:
    """Return what is special about a drive, and how bad that is."""
    here = [one for one in facts.standing if one.about == drive.drive.identity and one.kind in _NOTES]
    reason = _reason(drive) if drive.verdict.why.reason not in (Reason.HAS_ROOM, Reason.FULL) else ""
    said = [reason, *(_NOTES[one.kind] for one in here)]
    mood = worst(one.severity.value for one in here if one.severity is not Severity.INFO)
    if drive.health and drive.health.assessment == Assessment.FAILED:
        said.append("failing")
        mood = worst([mood, "critical"])
    if drive.health and (damage := damage_of(drive.health)):
        said.append(damage.word)
        mood = worst([mood, "warning"])
    if drive.health and drive.health.asleep and drive.is_mounted:
        said.append("asleep")
    if drive.testing_plots:
        said.append(testing_plots(drive.testing_plots))
    if facts.current is not None and drive.drive == facts.current.drive:
        said.insert(0, "the plot drive")
    if not drive.is_here:
        mood = worst([mood, "warning"])
    return ", ".join(dict.fromkeys(word for word in said if word)), mood
