"""What is on its way just now, what waits, and what came last: `--status`, for people and as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from plotfarm.base.state import Transfer
from plotfarm.base.text import one_line
from plotfarm.base.units import format_bytes, format_duration, format_speed
from plotfarm.drives.speed import Speed
from plotfarm.plots.formats import named
from plotfarm.plots.names import escaped
from plotfarm.reports import last_runs
from plotfarm.reports.last_runs import LastRun
from plotfarm.reports.plot_report import iso

_RED, _DIM, _END = "\033[31m", "\033[2m", "\033[0m"
_LONGEST_NAME = 48


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


def as_text(status: Status, colour: bool = False) -> str:
    """Return the status as lines for a person."""
    lines = [_headline(status)]
    lines += [_running_line(each, status, colour) for each in status.running]
    if status.waiting:
        plural = "s" if status.waiting > 1 else ""
        lines.append(f"{status.waiting} plot{plural} wait, {format_bytes(status.waiting_bytes)}")
    if status.speeds:
        lines += ["", "How fast plots arrive (median of the newest 20 of 1 GB and more):"]
        lines += [_speed_line(drive, speed, colour) for drive, speed in status.speeds.items()]
    if status.last:
        lines += ["", "The last ones:"]
        lines += [_past_line(transfer, status.now, colour) for transfer in status.last]
    if status.last_runs:
        lines += ["", *last_runs.lines(status.last_runs, status.now)]
    return "\n".join(lines)


def _headline(status: Status) -> str:
    count = len(status.running)
    if count:
        speed = sum(each.bytes_per_second or 0 for each in status.running if each.alive)
        total = f", {format_bytes(speed)}/s together" if speed else ""
        return f"{status.host}: {count} plot{'s' if count > 1 else ''} on the way{total}"
    if status.last:
        ago = format_duration(max(0.0, status.now - status.last[0].finished))
        return f"{status.host}: no plot is on its way; the last one ended {ago} ago"
    return f"{status.host}: no plot is on its way, and none ever was"


def _running_line(each: Running, status: Status, colour: bool) -> str:
    share = f"{100 * each.done / each.bytes:3.0f} %" if each.bytes else "  ? %"
    line = f"  {share}  {_short(each.plot)}  {each.source} -> {each.target or '?'}  {format_bytes(each.bytes)}"
    if not each.alive:
        return _ink(f"{line}  ended without a word", _RED, colour)
    still = status.now - each.progress
    if each.progress and still > status.stall_seconds:
        return _ink(f"{line}  stands still for {format_duration(still)}", _RED, colour)
    if each.bytes_per_second:
        left = each.seconds_left
        line += f"  {format_speed(each.bytes_per_second)}"
        line += f", {format_duration(left)} left" if left else ""
    if each.offset:
        line += f" (went on at {format_bytes(each.offset)})"
    return line


def _speed_line(drive: str, speed: Speed, colour: bool) -> str:
    line = f"  {escaped(drive)}  {format_speed(speed.bytes_per_second)} ({speed.arrivals})"
    return _ink(f"{line}  slow: not half as fast as the others", _RED, colour) if speed.is_slow else line


def _past_line(transfer: Transfer, now: float, colour: bool) -> str:
    ago = format_duration(max(0.0, now - transfer.finished))
    mark = "" if named(transfer.kind).entry.is_plot else " (testing plot)"
    start = f"  {ago:>9} ago  {_short(transfer.plot)}{mark}"
    if not transfer.target:
        return _ink(f"{start}  {one_line(escaped(transfer.ending))}", _RED, colour)
    rate = f", {format_speed(transfer.bytes, transfer.seconds)}" if transfer.seconds > 0 else ""
    digest = f", digest {transfer.digest[:16]}" if transfer.digest else ""
    took = f"{format_bytes(transfer.bytes)}, {format_duration(transfer.seconds)}{rate}{digest}"
    return f"{start}  {escaped(transfer.target)}  {took}, {one_line(escaped(transfer.ending))}"


def _short(name: str) -> str:
    shown = escaped(name)
    return shown if len(shown) <= _LONGEST_NAME else f"{shown[:30]}...{shown[-15:]}"


def _ink(line: str, ink: str, colour: bool) -> str:
    return f"{ink}{line}{_END}" if colour else line


def _past(transfer: Transfer) -> dict[str, Any]:
    """Return the facts of a transfer that ended; `result`: how, or why it failed."""
    facts = asdict(transfer)
    facts["finished"] = iso(transfer.finished)
    facts["segments"] = transfer.segments.split()
    facts["outcome"] = transfer.ending
    del facts["reason"]
    return {"result" if name == "outcome" else name: value for name, value in facts.items()}


def as_json(status: Status) -> str:
    """Return the same facts as one JSON object: sizes in bytes, times in ISO 8601, unknown values null."""
    return json.dumps(
        {
            "host": status.host,
            "time": iso(status.now),
            "running": [
                {**asdict(each), "since": iso(each.since or None), "progress": iso(each.progress or None),
                 "seconds_left": each.seconds_left}
                for each in status.running
            ],
            "waiting": status.waiting,
            "waiting_bytes": status.waiting_bytes if status.waiting is not None else None,
            "drives": status.speeds and {drive: asdict(status.speeds[drive]) for drive in status.speeds},
            "last": [
                _past(transfer) for transfer in status.last
            ],
            "last_runs": last_runs.as_json(status.last_runs),
        },
        indent=2,
    )  # fmt: skip
