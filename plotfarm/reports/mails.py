"""The messages that are sent: which values and conditions go into which template.

A message is always made, also where its template is broken (compose.py).
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

from plotfarm.base.condition import Condition, Severity
from plotfarm.base.text import one_line
from plotfarm.base.units import format_bytes
from plotfarm.notify.message import Message
from plotfarm.plots.names import escaped
from plotfarm.reports import last_runs, plot_report, values, words
from plotfarm.reports.compose import compose
from plotfarm.reports.facts import DriveFacts, FarmFacts, ReceivedPlot
from plotfarm.reports.listing import Said, grouped

_MOST_DRIVES = 100  # in a mail: Gmail hides what comes after 102 kB of HTML
_MOST_ITEMS = 40
_MOST_NAMES = 16  # in a short text
TESTING_MARK = " (a testing plot: not counted)"


def plot_drive_changed(facts: FarmFacts, previous: DriveFacts | None, previous_mountpoint: str) -> Message:
    """Return the message that another drive is filled from now on.

    `previous`: the drive before, as far as it is known; `previous_mountpoint`: "" if there was none.
    """
    was, new = escaped(previous_mountpoint), values.drive_values(facts, facts.current)
    not_known = values.Shown(values.UNKNOWN, "it is not there any more") if was else values.Shown(values.NOT_THERE)
    context = {
        **_farm(facts),
        "previous_mountpoint": was,
        "previous_plots": values.drive_values(facts, previous).plots if previous else not_known,
        "new": new,
    }
    short = f"Plot Drive Updated: Was: {was or 'none'},  Now: {new.mountpoint}"
    return compose("new_plot_drive", Severity.INFO, context, lambda: (short, _plain_report(facts)))


def daily_update(facts: FarmFacts) -> Message:
    """Return the daily mail."""
    drives, others = _drives_to_list(facts)
    used, total = _used_bytes(facts)
    kinds = values.kinds(facts)
    standing = [_as_item(said) for said in grouped(facts.standing)]
    context = {
        **_farm(facts),
        "mood": values.worst([Severity.INFO, *(one.severity for one in facts.standing)]),
        "standing": standing[:_MOST_ITEMS],
        "more_standing": max(0, len(standing) - _MOST_ITEMS),
        "current": values.drive_values(facts, facts.current),
        "kinds": kinds if len(kinds) > 1 else [],
        "used_percent": used * 100 // total if total else None,
        "used_bytes": used,
        "total_bytes": total,
        "drives": drives,
        "more_drives": others,
        "unread": values.unread(facts),
        "last_runs": last_runs.lines(facts.last_runs, facts.now),
    }
    short = f"{one_line(facts.server)}: daily update"
    return compose("daily_update", Severity.INFO, context, lambda: (short, _plain_report(facts)))


def plots_received(server: str, marks: Sequence[ReceivedPlot]) -> Message:
    """Return the message that plots have arrived: one at least, oldest first; testing plots are not counted."""
    plots = [
        {
            "plot": f"{escaped(mark.plot)}{TESTING_MARK if mark.is_testing else ''}",
            "directory": escaped(os.path.dirname(mark.path)),
            "bytes": mark.bytes,
            "plotter": one_line(mark.plotter),
            "time": mark.time,
        }
        for mark in marks
    ]
    counted = [mark for mark in marks if not mark.is_testing]
    total = sum(mark.bytes for mark in counted)
    context = {
        "server": one_line(server),
        "plots": plots[:_MOST_ITEMS],
        "count": len(counted),
        "testing": len(marks) - len(counted),
        "all_bytes": total,
    }
    short = f"{one_line(server)}: {len(counted)} plots received, {format_bytes(total)}"
    paths = "\n".join(escaped(mark.path) for mark in marks[:_MOST_ITEMS])
    return compose("per_plot", Severity.INFO, context, lambda: (short, paths))


def alert(server: str, raised: Sequence[Condition], cleared: Sequence[Condition], now: float | None = None) -> Message:
    """Return the message about conditions that begin and that are over: one for all, however many.

    `now`: Unix time; None is the present.
    """
    severity = max((one.severity for one in raised), key=lambda severity: severity.rank, default=Severity.INFO)
    groups = [*_by_kind(raised, over=False), *_by_kind(cleared, over=True)]
    headline = "; ".join(group.headline for group in groups)
    advice = [group.advice for group in groups if group.advice]
    context = {
        "server": one_line(server),
        "now": time.time() if now is None else now,
        "mood": severity.value if raised else "good",
        "headline": headline,
        "short_headline": "; ".join(_with_names(group) for group in groups),
        "advice": advice,
        "raised": [_said(one) for one in raised[:_MOST_ITEMS]],
        "more_raised": max(0, len(raised) - _MOST_ITEMS),
        "cleared": [_said(one, over=True) for one in cleared[:_MOST_ITEMS]],
        "more_cleared": max(0, len(cleared) - _MOST_ITEMS),
    }
    sentences = [sentence(one) for one in raised] + [sentence(one, over=True) for one in cleared]
    return compose(
        "alert", severity, context, lambda: (f"{one_line(server)}: {headline}", "\n".join([*sentences, *advice]))
    )


def test(server: str) -> Message:
    """Return the message that is sent to try whether messages arrive."""
    context = {"server": one_line(server), "now": time.time()}
    plain = f"{one_line(server)}: this is a test of the notifications"
    return compose("test", Severity.INFO, context, lambda: (plain, plain))


def sentence(condition: Condition, over: bool = False) -> str:
    """Return one line about a condition that begins or stands, or is `over`, for reports and logs."""
    return words.of_condition(condition, over).sentence


def _farm(facts: FarmFacts) -> dict[str, Any]:
    return {
        "server": one_line(facts.server),
        "now": facts.now,
        "plot_label": one_line(facts.plot_label),
        "farm": values.farm_values(facts),
    }


def _said(condition: Condition, over: bool = False) -> dict[str, str]:
    said = words.of_condition(condition, over)
    return {
        "mood": "good" if over else condition.severity.value,
        "headline": said.headline,
        "sentence": said.sentence,
        "place": said.place,
    }


def _as_item(said: Said) -> dict[str, str]:
    return {
        "mood": said.severity.value,
        "headline": said.headline,
        "sentence": said.sentence,
        "place": said.place,
    }


def _by_kind(conditions: Sequence[Condition], over: bool) -> list[words.KindWords]:
    kinds = dict.fromkeys(one.kind for one in conditions)
    return [words.of_kind([one for one in conditions if one.kind == kind], over) for kind in kinds]


def _with_names(group: words.KindWords) -> str:
    return f"{group.headline}: {values.names(group.names, _MOST_NAMES)}" if len(group.names) > 1 else group.headline


def _drives_to_list(facts: FarmFacts) -> tuple[list[values.DriveValues], list[tuple[str, int]]]:
    """Return the drives that the mail lists, and of the others how many have the same note, most first.

    Of very many drives, those are left out first that nothing is special about.
    """
    shown = [values.drive_values(facts, drive) for drive in facts.drives]
    by_weight = sorted(range(len(shown)), key=lambda number: not shown[number].note)
    listed = sorted(by_weight[:_MOST_DRIVES])
    others = Counter(shown[number].note for number in by_weight[_MOST_DRIVES:])
    return [shown[number] for number in listed], others.most_common()


def _used_bytes(facts: FarmFacts) -> tuple[int, int]:
    """Return how much is used of how much; declared directories may share a file system, which counts once."""
    file_systems = {
        drive.drive.device_number or drive.drive.identity: (drive.used_bytes, drive.verdict.total_bytes)
        for drive in facts.mounted
    }
    return sum(used for used, _ in file_systems.values()), sum(total for _, total in file_systems.values())


def _plain_report(facts: FarmFacts) -> str:
    return plot_report.as_text(facts)
