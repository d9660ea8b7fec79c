"""What `--dry-run` says: which plots would go where, which would stay and why, and what the NAS answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from plotfarm.base.units import format_bytes
from plotfarm.plots.names import escaped


@dataclass(frozen=True)
class StayingPlot:
    """A plot, or something that is none, that does not travel now."""

    plot: str
    why: str


@dataclass(frozen=True)
class Planned:
    """A plot that would travel."""

    plot: str
    bytes: int
    host: str  # of the NAS; "": this one
    path: str  # where it would lie, or lies already
    is_stored: bool


@dataclass(frozen=True)
class NasAnswer:
    """What a NAS says when it is asked what it can take. `problem`: why it cannot be asked; "": it has answered."""

    host: str
    plots: int = 0
    bytes_each: int = 0  # the size that it was asked for
    detail: str = ""  # why it can take none, in its words
    problem: str = ""


def planned(plot: Planned) -> str:
    """Return the line of a plot that would travel."""
    verb = "is already at" if plot.is_stored else "would go to"
    place = f"{plot.host}:{plot.path}" if plot.host else plot.path
    return f"{plot.plot} ({format_bytes(plot.bytes)}) {verb} {place}"


def nothing(verb: str, waiting: int) -> str:
    """Return what to say where there is nothing to be done. `verb`: sent, moved."""
    others = f"; {_plots(waiting)} {'waits' if waiting == 1 else 'wait'}, see above" if waiting else ""
    return f"No finished plot: nothing would be {verb}{others}."


def _plots(count: int) -> str:
    return f"{count} plot{'s' if count != 1 else ''}"


def answered(answer: NasAnswer) -> str:
    """Return the line of a NAS that was asked."""
    host = escaped(answer.host)
    if answer.problem:
        return f"{host} cannot be reached: {escaped(answer.problem)}"
    if not answer.plots:
        return f"{host} answers, and can take no plot now: {escaped(answer.detail) or 'it has no room'}"
    return f"{host} answers, and can take {_plots(answer.plots)} of {format_bytes(answer.bytes_each)}"


def data(
    plots: Sequence[Planned],
    not_taken: Sequence[StayingPlot],
    failures: Sequence[str],
    answers: Sequence[NasAnswer] = (),
    is_busy: bool = False,
) -> dict[str, object]:
    """Return the same facts for a program. `is_busy`: another run is at it, so nothing was tried."""
    return {
        "busy": is_busy,
        "plots": [
            {
                "plot": one.plot,
                "bytes": one.bytes,
                "nas": one.host or None,
                "target": one.path,
                "already_there": one.is_stored,
            }
            for one in plots
        ],
        "not_taken": [{"plot": one.plot, "why": one.why} for one in not_taken],
        "failures": list(failures),
        "nas": [
            {
                "nas": one.host,
                "reachable": not one.problem,
                "room_plots": None if one.problem else one.plots,
                "arriving_plot_bytes": one.bytes_each or None,
                "why": one.problem or one.detail or None,
            }
            for one in answers
        ],
    }
