"""What is on its way just now, what waits, and what came last: `--status`, for people and as JSON."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from plotfarm.base.state import Transfer, TransferOutcome
from plotfarm.base.text import one_line
from plotfarm.base.units import format_ago, format_bytes, format_duration, format_speed
from plotfarm.drives.speed import Speed
from plotfarm.plots.formats import named
from plotfarm.plots.names import escaped
from plotfarm.reports import frame, last_runs
from plotfarm.reports.envelope import iso
from plotfarm.reports.last_runs import LastRun
from plotfarm.reports.terminal import PLAIN, Terminal, shortened, width_of

_LONGEST_NAME = 48  # cells
_BAR = 20  # cells between its brackets
_INDENT = "    "
_WIDEST_REMARK = 120  # cells
_SLOW = "(slow: not half as fast as the others)"


@dataclass(frozen=True)
class Running:
    """A plot on its way."""

    plot: str
    source: str  # who sends it
    target: str  # where it goes, as far as that is known
    bytes: int
    done: int
    offset: int = 0  # bytes that were there from an interrupted try
    since: float = 0.0  # Unix time
    progress: float = 0.0  # Unix time when a byte moved last
    alive: bool = True  # whether the process that carries it is there
    bytes_per_second: float | None = None  # None: not known yet

    @property
    def seconds_left(self) -> float | None:
        """For how long it will be on its way at this speed; None: not known."""
        return (self.bytes - self.done) / self.bytes_per_second if self.bytes_per_second else None


@dataclass(frozen=True)
class Status:
    """Everything at one moment."""

    host: str
    now: float  # Unix time
    stall_seconds: float
    running: Sequence[Running]
    last: Sequence[Transfer]  # newest first
    waiting: int | None = None  # plots; None: nobody counts them here
    waiting_bytes: int = 0
    speeds: Mapping[str, Speed] | None = None  # mountpoint -> speed; None: this host has no drives
    last_runs: Sequence[LastRun] = ()  # of each script


def read_stream(content: Mapping[str, Any], host: str, alive: bool, now: float) -> Running:
    """Read one of the `streams` in the lock of plot_manager.py; what makes no sense counts as not there."""
    done, offset, since = _number(content, "done"), _number(content, "offset"), _number(content, "since")
    progress = _number(content, "progress") or since
    target = ":".join(part for name in ("nas", "drive") if (part := _text(content, name)))
    address = _text(content, "address")
    if address and address != _text(content, "nas"):
        target += f" by {address}"
    speed = (done - offset) / (progress - since) if 0 < since < progress <= now + 60 and done > offset else None
    return Running(
        _text(content, "plot"), host, target, int(_number(content, "bytes")), int(done), int(offset), since, progress,
        alive, speed,
    )  # fmt: skip


def _number(content: Mapping[str, Any], name: str) -> float:
    value = content.get(name)
    usable = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 2**63
    return float(value) if usable else 0.0  # type: ignore[arg-type]


def _text(content: Mapping[str, Any], name: str) -> str:
    return escaped(str(content.get(name) or ""))[:300]


def with_speeds_since(before: Status, after: Status) -> Status:
    """Return the later status with each speed taken from the two, as --watch shows it."""
    from dataclasses import replace

    earlier = {each.plot: each for each in before.running}
    running = []
    for each in after.running:
        was = earlier.get(each.plot)
        moved = was and each.done >= was.done and each.progress > was.progress
        speed = (each.done - was.done) / (each.progress - was.progress) if was and moved else each.bytes_per_second
        running.append(replace(each, bytes_per_second=speed))
    return replace(after, running=running)


def as_text(status: Status, terminal: Terminal = PLAIN) -> str:
    """Return the status for a person: a line or two for each plot."""
    lines = terminal.lines(_headline(status))
    for each in status.running:
        lines += _running(each, status, terminal)
    if status.waiting:
        plural = "s" if status.waiting > 1 else ""
        lines += terminal.lines(f"{status.waiting} plot{plural} wait, {format_bytes(status.waiting_bytes)}")
    if status.speeds:
        lines += ["", *terminal.lines("How fast plots arrive (median of the newest 20 of 1 GB and more):", "  ")]
        for drive, speed in status.speeds.items():
            lines += _speed(drive, speed, terminal)
        if any(speed.is_slow for speed in status.speeds.values()):
            lines += ["  " + part for part in terminal.lines(_SLOW, limit=_less(terminal, 2))]
    if status.last:
        lines += ["", "The last ones:"]
        for transfer in status.last:
            lines += _past(transfer, status.now, terminal)
    if status.last_runs:
        lines += ["", *frame.remarks(last_runs.remarks(status.last_runs, status.now), _WIDEST_REMARK, terminal)]
    return "\n".join(lines)


def _headline(status: Status) -> str:
    count = len(status.running)
    if count:
        speed = sum(each.bytes_per_second or 0 for each in status.running if each.alive)
        total = f", {format_bytes(speed)}/s together" if speed else ""
        return f"{status.host}: {count} plot{'s' if count > 1 else ''} on the way{total}"
    if status.last:
        ago = format_ago(status.now - status.last[0].finished)
        return f"{status.host}: no plot is on its way; the last one ended {ago}"
    return f"{status.host}: no plot is on its way, and none ever was"


def _running(each: Running, status: Status, terminal: Terminal) -> list[str]:
    share = f"{100 * each.done / each.bytes:3.0f} %" if each.bytes else "  ? %"
    target = f"-> {each.target or '?'}"
    place = target if each.source == status.host else f"{each.source} {target}"
    mood = ""
    said = ""
    more = [f", {format_bytes(each.bytes)}"]
    still = status.now - each.progress
    if not each.alive:
        mood = "critical"
        said = "ended without a word"
    elif each.progress and still > status.stall_seconds:
        mood = "critical"
        said = f"stands still for {format_duration(still)}"
    elif each.bytes_per_second:
        said = f"{format_duration(each.seconds_left)} left" if each.seconds_left else "all is sent"
        more.append(f", {format_speed(each.bytes_per_second)}")
    more += [f" (went on at {format_bytes(each.offset)})"] if each.offset else []
    facts = f"{place}  {said or 'speed not known yet'}"
    return _entry(f"  {share} {_bar(each)}  ", each.plot, facts, more, mood, terminal)


def _bar(each: Running) -> str:
    share = min(1.0, each.done / each.bytes) if each.bytes else 0.0
    return f"[{'#' * round(share * _BAR):-<{_BAR}}]"


def _entry(start: str, plot: str, facts: str, more: Sequence[str], mood: str, terminal: Terminal) -> list[str]:
    """Return a plot in one line where that is wide enough, in two otherwise; only a long reason or path takes more.

    `more` is left to --wide and --json as far as it does not fit.
    """
    name = shortened(terminal.shown(escaped(plot)), _LONGEST_NAME)
    line = terminal.shown(f"{facts}{''.join(more)}")
    if terminal.width is None or width_of(f"{start}{name}  {line}") <= terminal.width:
        return [terminal.ink(f"{start}{name}  {line}", mood)]
    room = terminal.width - len(_INDENT)
    second = terminal.shown(facts)
    for piece in map(terminal.shown, more):
        second = f"{second}{piece}" if width_of(f"{second}{piece}") <= room else second
    first = f"{start}{shortened(name, max(terminal.width - width_of(start), 1))}"
    return [terminal.ink(first, mood), *(_INDENT + part for part in terminal.lines(second, mood=mood, limit=room))]


def _speed(drive: str, speed: Speed, terminal: Terminal) -> list[str]:
    slow = "  slow" if speed.is_slow else ""
    line = f"{escaped(drive)}  {format_speed(speed.bytes_per_second)} ({speed.arrivals}){slow}"
    mood = "warning" if speed.is_slow else ""
    return ["  " + part for part in terminal.lines(line, mood=mood, limit=_less(terminal, 2))]


def _less(terminal: Terminal, cells: int) -> int | None:
    return None if terminal.width is None else terminal.width - cells


def _past(transfer: Transfer, now: float, terminal: Terminal) -> list[str]:
    """Return a transfer that ended: the directory it went to, since its name is the plot's, and how it ended."""
    start = f"  {format_ago(now - transfer.finished):>13}  "
    mood = "critical" if transfer.outcome is TransferOutcome.FAILED else ""
    if not transfer.target:
        return _entry(start, transfer.plot, one_line(escaped(_ending(transfer))), [], mood, terminal)
    took = f"{format_bytes(transfer.bytes)}, {format_duration(transfer.seconds)}"
    mark = "" if named(transfer.kind).entry.is_plot else "(testing plot)  "
    facts = f"{mark}{escaped(_place(transfer))}  {took}, {one_line(escaped(_ending(transfer)))}"
    more = [f", {format_speed(transfer.bytes, transfer.seconds)}"] if transfer.seconds > 0 else []
    more += [f", hash {transfer.digest[:16]}"] if transfer.digest else []
    return _entry(start, transfer.plot, facts, more, mood, terminal)


def _place(transfer: Transfer) -> str:
    """Return where a plot went, without its name where that is still the plot's own."""
    directory, name = os.path.split(transfer.target)
    return directory if name == transfer.plot and directory else transfer.target


def _ending(transfer: Transfer) -> str:
    """Return why a transfer failed, with what is known of it, or how it ended."""
    return f"{transfer.ending}: {transfer.detail}" if transfer.detail else transfer.ending


def data(status: Status) -> dict[str, object]:
    """Return the same facts for a program: sizes in bytes, times in ISO 8601, unknown values null."""
    return {
        "running": [_running_data(each) for each in status.running],
        "waiting_plots": status.waiting,
        "waiting_bytes": status.waiting_bytes if status.waiting is not None else None,
        "drives": [_speed_data(place, speed) for place, speed in (status.speeds or {}).items()],
        "last": [_past_data(transfer) for transfer in status.last],
        "last_runs": last_runs.data(status.last_runs),
    }


def _running_data(each: Running) -> dict[str, object]:
    return {
        "plot": each.plot,
        "source": each.source,
        "target": each.target,
        "bytes": each.bytes,
        "done_bytes": each.done,
        "resumed_bytes": each.offset,
        "since": iso(each.since or None),
        "last_progress": iso(each.progress or None),
        "alive": each.alive,
        "bytes_per_second": each.bytes_per_second,
        "seconds_left": each.seconds_left,
    }


def _speed_data(mountpoint: str, speed: Speed) -> dict[str, object]:
    return {
        "name": os.path.basename(mountpoint),
        "mountpoint": mountpoint,
        "arrival_bytes_per_second": round(speed.bytes_per_second),
        "arrivals": speed.arrivals,
        "arrivals_slow": speed.is_slow,
    }


def _past_data(transfer: Transfer) -> dict[str, object]:
    return {
        "plot": transfer.plot,
        "kind": transfer.kind,
        "k": transfer.k or None,
        "source": transfer.source,
        "target": transfer.target or None,
        "plotter": transfer.plotter or None,
        "bytes": transfer.bytes,
        "seconds": transfer.seconds,
        "finished": iso(transfer.finished),
        "hash": transfer.digest or None,
        "segment_hashes": transfer.segments.split(),
        "outcome": transfer.outcome.value,
        "reason": transfer.reason or None,
        "detail": transfer.detail or None,
    }
