"""Why drives get plots or none, in words: the same in every report, mail, alert and log."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterable

from plotfarm.base.condition import Severity
from plotfarm.base.units import format_bytes
from plotfarm.drives.choose import Choice, Selected, Taken
from plotfarm.drives.model import Verdict
from plotfarm.drives.presence import Alert, Silence, response
from plotfarm.drives.quarantine import Quarantined, QuarantineReason
from plotfarm.drives.reasons import Reason
from plotfarm.plots.names import escaped

NO_DRIVES = (
    "No plot drives found: no mounted disk fits [drives] devices and mounts, and no directories are declared "
    "there. See plot_manager_config."
)


def why(verdict: Verdict, plot_bytes: int) -> str:
    """Return why a drive gets plots of `plot_bytes` or gets none, with all that is known."""
    said = briefly(verdict, plot_bytes)
    if verdict.quarantine is not None:
        quarantine = quarantine_in_words(verdict.quarantine, verdict.drive.name)
        return quarantine if verdict.why.reason is Reason.QUARANTINED else f"{said}; {quarantine}"
    depends_on_room = verdict.why.reason in (Reason.HAS_ROOM, Reason.FULL)
    return f"{said}; a plot is arriving there now" if verdict.busy and depends_on_room else said


def briefly(verdict: Verdict, plot_bytes: int) -> str:
    """Return the reason alone, without what is known of a quarantine and of arrivals."""
    match verdict.why.reason:
        case Reason.HAS_ROOM:
            return f"room for {plots(verdict.room_plots)}"
        case Reason.FULL if not verdict.why.detail:
            left = format_bytes(max(0, verdict.room_bytes))
            return f"full: {left} are left for plots, and one takes {format_bytes(plot_bytes)}"
        case Reason.TOO_SMALL:
            size = format_bytes(verdict.total_bytes)
            return f"too small: it has {size}, and a plot takes {format_bytes(plot_bytes)}"
        case _:
            return str(verdict.why)


def why_selected(selected: Selected) -> str:
    """Return what made a drive the plot drive."""
    room = plots(selected.verdict.room_plots)
    match selected.taken:
        case Taken.ARRIVING:
            return f"taken: a plot is arriving there now ({room})"
        case Taken.MOST_ROOM:
            return f"taken: the most room ({room})"
        case Taken.LOWEST:
            return f"taken: the lowest drive with room ({room})"


def why_chosen_or_not(verdict: Verdict, choice: Choice) -> str:
    """Return why a drive is the plot drive, or could be, or cannot."""
    if choice.selected is not None and verdict.drive == choice.selected.verdict.drive:
        return why_selected(choice.selected)
    return why(verdict, choice.plot_bytes)


def plots(count: int) -> str:
    """Return a number of plots."""
    return f"{count} plot{'s' if count != 1 else ''}"


def counted(verdicts: Iterable[Verdict]) -> str:
    """Return why drives get plots or none, counted: `40 full, 2 offlined, 1 not mounted`."""
    labels = Counter(verdict.why.reason.label for verdict in verdicts)
    return ", ".join(f"{count} {label}" for label, count in labels.most_common())


def mood(reason: Reason) -> str:
    """Return how bad a reason is for the drive: warning, critical, "dim" for what is so on purpose, "" for in order."""
    raised = response(reason)
    if isinstance(raised, Alert):
        return "critical" if raised.severity is Severity.CRITICAL else "warning"
    match raised:
        case Silence.IN_ORDER:
            return ""
        case Silence.ANOTHER_CHECK:
            return "warning"
        case Silence.TOGETHER | Silence.WANTED | Silence.NOT_DRIVES:
            return "dim"


def quarantine_in_words(entry: Quarantined, drive: str, now: float | None = None) -> str:
    """Return since when and why a drive is in quarantine, and what ends that; `drive`: what people call it now."""
    when = _moment(entry.since, time.time() if now is None else now)
    ends = f"it ends when the drive is mounted anew, this host restarts, or: drive_manager.py -on {escaped(drive)}"
    return f"in quarantine since {when}: {_what_was_lost(entry)}; {ends}"


def _what_was_lost(entry: Quarantined) -> str:
    plot = escaped(entry.plot) or "a plot"
    match entry.reason:
        case QuarantineReason.IO_ERROR:
            error = os.strerror(entry.errno) if entry.errno else "I/O error"
            return f"{error} on {entry.call or 'a call'} while {plot} was written"
        case QuarantineReason.SAMPLE_DIFFERED:
            return f"what was read back of {plot} was not what had been written"
        case QuarantineReason.HOLES:
            return f"{plot} had holes although all of it had been written"


def _moment(when: float, now: float) -> str:
    """Return the time of the day, with the day if that was another one: local time."""
    then = time.localtime(when)
    is_today = then[:3] == time.localtime(now)[:3]
    return time.strftime("%H:%M" if is_today else "%Y-%m-%d %H:%M", then)
