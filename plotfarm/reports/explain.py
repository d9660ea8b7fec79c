"""Why each drive is chosen or skipped: `drive_manager.py --explain`, for people and as JSON."""

from __future__ import annotations

import os
from collections.abc import Sequence

from plotfarm.base.text import one_line
from plotfarm.base.units import format_bytes
from plotfarm.drives.candidates import MountedFileSystem
from plotfarm.drives.choose import Choice, room_in_all
from plotfarm.drives.model import Verdict
from plotfarm.drives.quarantine import Quarantined
from plotfarm.drives.reasons import Reason
from plotfarm.plots.names import escaped
from plotfarm.reports import candidates, frame, last_runs, reasons
from plotfarm.reports.envelope import iso
from plotfarm.reports.frame import Remark
from plotfarm.reports.last_runs import LastRun
from plotfarm.reports.listing import in_a_row
from plotfarm.reports.tables import Cell, Column, Drawn, table
from plotfarm.reports.terminal import PLAIN, Terminal

_MARK = "=> "
_COLUMNS = (
    Column("   DRIVE"),
    Column("MOUNTPOINT", rank=3),
    Column("FREE", rank=2, align=">"),
    Column("ROOM", rank=1, align=">"),
    Column("WHY"),
)
_WIDEST_SENTENCE = 120  # cells


def as_text(
    choice: Choice, terminal: Terminal = PLAIN, found: Sequence[MountedFileSystem] = (), config: str = ""
) -> str:
    """Return the table of all drives and what was decided.

    Without any drives: the file systems that were `found`, why none of them is one, by the configuration that was read.
    """
    if not choice.verdicts:
        return candidates.as_text(found, config, terminal)
    drawn = table(_COLUMNS, [_cells(verdict, choice) for verdict in choice.verdicts], terminal)
    lines = drawn.lines
    below = _below(drawn, choice)
    if below:
        lines = [*lines, "", *frame.remarks(below, _WIDEST_SENTENCE, terminal)]
    for sentence in _summary(choice):
        lines += ["", *terminal.lines(sentence)]
    return "\n".join(lines)


def with_last_runs(text: str, runs: Sequence[LastRun], now: float, terminal: Terminal) -> str:
    """Return a text with when each script ran last below it."""
    below = frame.remarks(last_runs.remarks(runs, now), _WIDEST_SENTENCE, terminal)
    return "\n".join([text, "", *below]) if below else text


def data(
    choice: Choice, found: Sequence[MountedFileSystem], runs: Sequence[LastRun] = (), too_low: Sequence[str] = ()
) -> dict[str, object]:
    """Return the same facts for a program, sizes in bytes; of the file systems also where there are drives.

    `too_low`: what is said of limits of this host that are.
    """
    return {
        "configured_mountpoint": choice.current or None,
        "chosen_mountpoint": choice.chosen.drive.mountpoint if choice.chosen else None,
        "policy": choice.policy,
        "arriving_plot_bytes": choice.plot_bytes,
        "arriving": choice.arriving,
        "drives": [_facts(verdict, choice) for verdict in choice.verdicts],
        "file_systems": [candidates.data(one) for one in found],
        "limits_too_low": list(too_low),
        "last_runs": last_runs.data(runs),
    }


def outcome(choice: Choice, is_new: bool, alerts: int) -> str:
    """Return what a run in normal mode has done, for a person who started it: a drive was chosen."""
    assert choice.chosen is not None
    chosen = escaped(choice.chosen.drive.mountpoint)
    stays = f"The plot drive is {chosen}, and it stays"
    new = f"The plot drive is {chosen} now (it was {escaped(choice.current) or 'none'})"
    room = f"{reasons.plots(choice.chosen.room_plots)} fit there, {room_in_all(choice.verdicts)} in all"
    drives = f"{len(choice.verdicts)} drive{'s' if len(choice.verdicts) != 1 else ''}"
    alerted = f"; active alerts: {alerts} (drive_manager.py -pr)" if alerts else ""
    return f"{new if is_new else stays}: {room}, on {drives}{alerted}."


def _facts(verdict: Verdict, choice: Choice) -> dict[str, object]:
    drive = verdict.drive
    answered = verdict.total_bytes > 0
    return {
        "name": drive.name,
        "mountpoint": drive.mountpoint,
        "device": drive.device or None,
        "identity": drive.identity,
        "file_system": drive.file_system or None,
        "total_bytes": verdict.total_bytes if answered else None,
        "free_bytes": verdict.free_bytes if answered else None,
        "room_bytes": verdict.room_bytes if answered else None,
        "room_plots": verdict.room_plots if answered else None,
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
        "since": iso(entry.since),
    }


def _is_chosen(verdict: Verdict, choice: Choice) -> bool:
    return choice.chosen is not None and verdict.drive == choice.chosen.drive


def _cells(verdict: Verdict, choice: Choice) -> list[Cell]:
    answered = verdict.total_bytes > 0
    is_chosen = _is_chosen(verdict, choice)
    mood = "chosen" if is_chosen else reasons.mood(verdict.why.reason)
    why = one_line(reasons.why_chosen_or_not(verdict, choice))
    return [
        Cell(f"{_MARK if is_chosen else '   '}{escaped(verdict.drive.name)}", mood),
        Cell(escaped(verdict.drive.mountpoint), mood),
        Cell(format_bytes(verdict.free_bytes) if answered else "-", mood),
        Cell(reasons.plots(verdict.room_plots) if answered else "-", mood),
        Cell(why, mood, brief="taken" if is_chosen else _briefly(verdict)),
    ]


def _briefly(verdict: Verdict) -> str:
    """Return a reason in a few words, for where all of it is too long for the table."""
    if verdict.why.reason is Reason.FULL and not verdict.quarantine:
        return f"full: {format_bytes(max(0, verdict.room_bytes))} left"
    label = verdict.why.reason.label
    is_said = verdict.why.reason is Reason.QUARANTINED
    return f"{label}, {Reason.QUARANTINED.label}" if verdict.quarantine and not is_said else label


def _below(drawn: Drawn, choice: Choice) -> list[Remark]:
    """Return what the table had no room for; that drives are full is said there, and below how large a plot is."""
    about: dict[str, list[str]] = {}
    for one in drawn.shortened:
        verdict = choice.verdicts[one.row]
        if one.column != _COLUMNS[-1].name or verdict.why.reason is not Reason.FULL or verdict.quarantine:
            about.setdefault(one.text, []).append(escaped(verdict.drive.name))
    cut = [Remark(f"{in_a_row(names)}:", text) for text, names in about.items()]
    return [*cut, *([Remark("-", drawn.remark)] if drawn.remark else [])]


def _summary(choice: Choice) -> list[str]:
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
