"""The plot report, `drive_manager.py -pr`: how many plots there are, and how many more fit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from plotfarm.base.condition import Condition
from plotfarm.base.text import one_line
from plotfarm.reports import frame, last_runs, reasons, values
from plotfarm.reports.envelope import iso
from plotfarm.reports.facts import DriveFacts, FarmFacts, Unknown
from plotfarm.reports.frame import Remark, Value
from plotfarm.reports.listing import grouped
from plotfarm.reports.terminal import PLAIN, Terminal, width_of
from plotfarm.reports.values import Shown

_NARROWEST = 80  # what stands below the frame is wrapped no narrower, where the terminal has as much
_MARKS = {"info": "-", "warning": "!", "critical": "!!"}


def as_text(facts: FarmFacts, terminal: Terminal = PLAIN) -> str:
    """Return the report in its frame, and below it why some values are not known, and what the owner should know."""
    notes: list[str] = []
    rows = [(f"{label}:", _value(shown, notes)) for label, shown in _rows(facts)]
    lines = frame.report(f"{one_line(facts.server)} Plot Report", rows, terminal)
    width = max(_NARROWEST, width_of(lines[-1]))
    kinds = values.kinds(facts)
    below = [
        [Remark(f"[{number}]", note) for number, note in enumerate(notes, 1)],
        [Remark("Plots:", ", ".join(f"{count} {label}" for label, count in kinds))] if len(kinds) > 1 else [],
        _warnings(facts.standing),
        last_runs.remarks(facts.last_runs, facts.now),
    ]
    for block in below:
        lines += ["", *frame.remarks(block, width, terminal)] if block else []
    return "\n".join(lines)


def _rows(facts: FarmFacts) -> list[tuple[str, Shown]]:
    farm = values.farm_values(facts)
    current = values.drive_values(facts, facts.current)
    server, label = one_line(facts.server), one_line(facts.plot_label)
    storage = Shown(f"{current.device} ({current.name})", current.room.why) if facts.current else current.name
    return [
        (f"Total Number of Plots on {server}", farm.plots),
        ("Total Number of Plots Chia is Farming", farm.chia_plots),
        ("Total Amount of Drive Space (TiB) Chia is Farming", farm.chia_tib),
        ("Total Number of Systemwide Plots Drives", farm.drives),
        (f"Total Number of {label} Plots until full", farm.room),
        ("Maximum # of plots when full", farm.maximum),
        ("Plots completed in the last 24 Hours", farm.made),
        ("Average Plots per Hours", farm.per_hour),
        ("Average Plotting Speed Last 24 Hours (TiB/Day)", farm.tib_per_day),
        ("Appx Number of Days to fill all current plot drives", farm.days_to_fill),
        ("Current Plot Storage Drive", storage),
        ("Temperature of Current Plot Drive", current.celsius),
        ("Latest Smart Drive Assessment of Plot Drive", current.assessment),
    ]


def _value(shown: Shown, notes: list[str]) -> Value:
    """Return a value for the frame; why it is as it is goes into the notes below, each of them once."""
    if not shown.why:
        return Value(shown.text, shown.mood)
    if shown.why not in notes:
        notes.append(shown.why)
    return Value(f"{shown.text} [{notes.index(shown.why) + 1}]", shown.mood)


def _warnings(alerts: Iterable[Condition]) -> list[Remark]:
    return [Remark(_MARKS[one.severity], one.sentence, one.severity.value) for one in grouped(alerts)]


def _sentence(condition: Condition) -> str:
    from plotfarm.reports.words import of_condition  # the templates are slow to import, and most days nothing stands

    return of_condition(condition).sentence


def data(facts: FarmFacts) -> dict[str, object]:
    """Return the same facts for a program: sizes in bytes, times as ISO 8601 in UTC.

    What is not known is null. What may be so has a neighbour `..._why`, null as long as there is nothing to say.
    """
    return {**_farm(facts), **_lists(facts)}


def _farm(facts: FarmFacts) -> dict[str, object]:
    farm = values.farm_values(facts)
    pace, bytes_pace = _number(facts.plots_per_day), _number(facts.bytes_per_day)
    plots = facts.plots if farm.plots.is_known else None
    recorded = facts.made_since is not None
    silent = facts.chia_said is not None and facts.chia_said.is_silent
    return {
        **_pair("plots", plots, farm.plots),
        "testing_plots": facts.testing_plots,
        **_pair("chia_plots", None if silent else _number(facts.chia_plots), farm.chia_plots),
        **_pair("chia_bytes", None if silent else _number(facts.chia_bytes), farm.chia_tib),
        "chia_said": iso(facts.chia_said.time) if facts.chia_said else None,
        "chia_source": facts.chia_said.source if facts.chia_said else None,
        **_pair("drives_present", len(facts.mounted), farm.drives),
        **_pair("room_plots", facts.room_plots, farm.room),
        **_pair("maximum_plots", None if plots is None else plots + facts.room_plots, farm.maximum),
        **_pair("plots_last_24_hours", facts.made_plots if recorded else None, farm.made),
        **_pair("bytes_last_24_hours", facts.made_bytes if recorded else None, farm.made),
        **_pair("plots_per_hour", None if pace is None else pace / 24, farm.per_hour),
        **_pair("bytes_per_day", None if bytes_pace is None else round(bytes_pace), farm.tib_per_day),
        **_pair("days_to_fill", _number(facts.days_to_fill) if facts.room_plots else None, farm.days_to_fill),
        "recorded_since": iso(facts.made_since),
        "arriving_plot_bytes": facts.plot_bytes,
        "arriving_plot_label": facts.plot_label,
    }


def _lists(facts: FarmFacts) -> dict[str, object]:
    current = facts.current
    return {
        "current_drive": _drive(facts, current) if current else None,
        "current_drive_why": None if current else values.no_current(facts),
        "plots_by_kind": _by_kind(facts.counts),
        "drives": [_drive(facts, drive) for drive in facts.drives],
        "alerts": [
            {"kind": one.kind, "about": one.about, "severity": one.severity.value, "text": _sentence(one)}
            for one in facts.standing
        ],
        "last_runs": last_runs.data(facts.last_runs),
    }


def _drive(facts: FarmFacts, drive: DriveFacts) -> dict[str, object]:
    verdict, health, shown = drive.verdict, drive.health, values.drive_values(facts, drive)
    here = drive.is_here
    return {
        "name": drive.drive.name,
        "mountpoint": drive.drive.mountpoint,
        "device": drive.drive.device or None,
        "identity": drive.drive.identity,
        "serial": (health.serial if health else "") or None,
        "usable": verdict.usable,
        "reason": verdict.why.reason.value,
        "why": reasons.why(verdict, facts.plot_bytes),
        "total_bytes": verdict.total_bytes if here else None,
        "free_bytes": verdict.free_bytes if here else None,
        "room_plots": verdict.room_plots if here else None,
        **_pair("plots", drive.plots, shown.plots),
        "testing_plots": drive.testing_plots if drive.counts is not None else None,
        "plots_by_kind": _by_kind(drive.counts or {}),
        "stored_bytes": drive.plot_bytes if drive.counts is not None else None,
        **_pair("celsius", health.celsius if health and shown.celsius.is_known else None, shown.celsius),
        **_pair("assessment", health.assessment if health and shown.assessment.is_known else None, shown.assessment),
    }


def _by_kind(counts: Mapping[tuple[str, int], int]) -> list[dict[str, object]]:
    return [{"kind": kind, "k": k or None, "plots": count} for (kind, k), count in sorted(counts.items())]


def _pair(name: str, value: float | str | None, shown: Shown) -> dict[str, object]:
    return {name: value, f"{name}_why": shown.why or None}


def _number(value: float | Unknown) -> float | None:
    return None if isinstance(value, Unknown) else value
