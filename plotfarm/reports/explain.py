"""Why each drive was taken or passed over: `drive_manager.py --explain`, for people and as JSON."""

from __future__ import annotations

import json
import os
import textwrap
from collections.abc import Sequence
from typing import TextIO

from plotfarm.base.units import format_bytes
from plotfarm.drives.choose import Choice, room_in_all
from plotfarm.drives.model import Verdict
from plotfarm.drives.quarantine import Quarantined
from plotfarm.plots.names import escaped
from plotfarm.reports import last_runs, reasons
from plotfarm.reports.last_runs import LastRun

_GREEN, _END = "\033[1;32m", "\033[0m"
_INKS = {"": "", "dim": "\033[2m", "warning": "\033[33m", "critical": "\033[31m"}
_NARROWEST_REASON = 24  # with less room than this the reason goes on a line of its own
_MARK = "=> "


def wants_colour(stream: TextIO) -> bool:
    """Tell whether a stream is a terminal whose user did not ask for plain text (https://no-color.org)."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def as_text(choice: Choice, width: int | None = None, colour: bool = False) -> str:
    """Return the table of all drives and what was decided; `width` None does not wrap anything."""
    rows = [_cells(verdict, choice) for verdict in choice.verdicts]
    head = ("", "DRIVE", "MOUNTPOINT", "FREE", "ROOM", "WHY")
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head) - 1)]
    lines = [*_row(head, widths, width)]
    for row, verdict in zip(rows, choice.verdicts, strict=True):
        ink = _ink(verdict, choice) if colour else ""
        lines += [f"{ink}{line}{_END}" if ink else line for line in _row(row, widths, width)]
    for sentence in _summary(choice):
        lines += ["", *(textwrap.wrap(sentence, width, break_long_words=False) if width else [sentence])]
    return "\n".join(lines if rows else lines[len(_row(head, widths, width)) + 1 :])


def as_json(choice: Choice, runs: Sequence[LastRun] = ()) -> str:
    """Return the same facts as one JSON object, sizes in bytes."""
    return json.dumps(
        {
            "configured": choice.current or None,
            "chosen": choice.chosen.drive.mountpoint if choice.chosen else None,
            "policy": choice.policy,
            "plot_bytes": choice.plot_bytes,
            "arriving": choice.arriving,
            "drives": [_facts(verdict, choice) for verdict in choice.verdicts],
            "last_runs": last_runs.as_json(runs),
        },
        indent=2,
    )


def _facts(verdict: Verdict, choice: Choice) -> dict[str, object]:
    drive = verdict.drive
    return {
        "drive": drive.name,
        "mountpoint": drive.mountpoint,
        "device": drive.device,
        "identity": drive.identity,
        "file_system": drive.file_system,
        "total_bytes": verdict.total_bytes,
        "free_bytes": verdict.free_bytes,
        "room_bytes": verdict.room_bytes,
        "room_plots": verdict.room_plots,
        "usable": verdict.usable,
        "busy": verdict.busy,
        "chosen": _is_chosen(verdict, choice),
        "reason": verdict.why.reason.value,
        "why": reasons.why_chosen_or_not(verdict, choice),
        "quarantine": _quarantine_facts(verdict.quarantine) if verdict.quarantine else None,
    }


def _quarantine_facts(entry: Quarantined) -> dict[str, object]:
    return {
        "reason": entry.reason.value,
        "call": entry.call or None,
        "error": os.strerror(entry.errno) if entry.errno else None,
        "plot": entry.plot or None,
        "since": entry.since,
    }


def _is_chosen(verdict: Verdict, choice: Choice) -> bool:
    return choice.chosen is not None and verdict.drive == choice.chosen.drive


def _cells(verdict: Verdict, choice: Choice) -> tuple[str, ...]:
    answered = verdict.total_bytes > 0
    return (
        _MARK if _is_chosen(verdict, choice) else "",
        escaped(verdict.drive.name),
        escaped(verdict.drive.mountpoint),
        format_bytes(verdict.free_bytes) if answered else "-",
        reasons.plots(verdict.room_plots) if answered else "-",
        reasons.why_chosen_or_not(verdict, choice),
    )


def _row(cells: Sequence[str], widths: Sequence[int], width: int | None) -> list[str]:
    mark, name, place, free, plots, why = cells
    mark_width, name_width, place_width, free_width, plots_width = widths
    left = f"{mark:{mark_width}}{name:{name_width}}  {place:{place_width}}"
    left += f"  {free:>{free_width}}  {plots:>{plots_width}}"
    if width is None:
        return [f"{left}  {why}"]
    beside = width - len(left) - 2
    if beside >= _NARROWEST_REASON:
        wrapped = textwrap.wrap(why, beside) or [""]
        return [f"{left}  {wrapped[0]}", *(" " * (len(left) + 2) + line for line in wrapped[1:])]
    indent = " " * (mark_width + 2)
    return [
        left,
        *textwrap.wrap(why, max(width, 2 * _NARROWEST_REASON), initial_indent=indent, subsequent_indent=indent),
    ]


def _ink(verdict: Verdict, choice: Choice) -> str:
    return _GREEN if _is_chosen(verdict, choice) else _INKS[reasons.mood(verdict.why.reason)]


def _summary(choice: Choice) -> list[str]:
    if not choice.verdicts:
        return [reasons.NO_DRIVES]
    current = escaped(choice.current) or "(none)"
    room = room_in_all(choice.verdicts)
    sizes = f"Room for {reasons.plots(room)} of {format_bytes(choice.plot_bytes)} in all, policy {choice.policy}."
    if choice.chosen is None:
        return [f"No drive can take a plot. The configured plot drive is {current}.", sizes]
    if choice.chosen.drive.mountpoint == choice.current:
        return [f"The plot drive is {current}, and it stays.", sizes]
    chosen = escaped(choice.chosen.drive.mountpoint)
    return [
        f"The configured plot drive is {current}; the next run of drive_manager.py makes it {chosen}.",
        sizes,
    ]
