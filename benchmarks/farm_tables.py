"""The cases of benchmarks/farm.py, what a run of one gives, and the tables of them."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable
from dataclasses import dataclass, field

_DAY_SECONDS = 86400
_LIMITS = ("transfer.max_mb_per_second", "receiving.lookup_milliseconds")


@dataclass(frozen=True)
class Case:
    """So many streams to as many drives, through one pipe, with more settings on the NAS."""

    title: str
    pipe: str
    streams: int
    mb_per_second: float  # of each drive
    nas: dict[str, object] = field(default_factory=dict)

    def all_limits(self) -> tuple[str, ...]:
        """Return the settings that any case may have: the others have to take them back."""
        return _LIMITS


@dataclass(frozen=True)
class Run:
    """One run of plot_manager.py: bytes, seconds, CPU seconds, how busy the machine was, seconds of each lookup."""

    size: int
    seconds: float
    cpu: float
    busy: float
    lookups: list[float]

    @property
    def mb_per_second(self) -> float:
        """The speed of the whole command, in 10^6 bytes a second."""
        return self.size / 1e6 / self.seconds

    def __str__(self) -> str:
        return f"{self.mb_per_second:.0f} MB/s, {len(self.lookups)} lookups"


def speed_table(cases: list[Case], runs: list[list[Run]]) -> str:
    """Return how fast each case was, as a Markdown table."""
    lines = [
        "| | pipe | MB/s | min-max | TiB a day | of drives | one stream x | CPU s/GB | busy |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    single = {case.pipe: _speed(done) for case, done in zip(cases, runs, strict=True) if case.streams == 1}
    for case, done in zip(cases, runs, strict=True):
        speeds, speed = [run.mb_per_second for run in done], _speed(done)
        cpu = statistics.median(run.cpu / run.size * 1e9 for run in done)
        busy = statistics.median(run.busy for run in done)
        lines.append(
            f"| {case.title} | {case.pipe} | {speed:.0f} "
            f"| {min(speeds):.0f}-{max(speeds):.0f} | {speed * 1e6 * _DAY_SECONDS / 2**40:.1f} "
            f"| {speed / case.streams / case.mb_per_second:.0%} | {speed / single[case.pipe]:.2f} "
            f"| {cpu:.2f} | {busy:.0%} |"
        )
    return "\n".join(lines)


def lookup_table(cases: list[Case], runs: list[list[Run]], idle: list[float]) -> str:
    """Return how long lookups took in each case, as a Markdown table."""
    lines = ["| lookups | pipe | number | median ms | 99 % ms | MB/s meanwhile |", "|---|---|---|---|---|---|"]
    lines.append(f"| nothing arrives | | {_times(idle)} | 0 |")
    for case, done in zip(cases, runs, strict=True):
        lookups = [seconds for run in done for seconds in run.lookups]
        lines.append(f"| {case.title} | {case.pipe} | {_times(lookups)} | {_speed(done):.0f} |")
    return "\n".join(lines)


def _speed(runs: list[Run]) -> float:
    return statistics.median(run.mb_per_second for run in runs)


def _times(seconds: Iterable[float]) -> str:
    ordered = sorted(seconds)
    if not ordered:
        return "0 | - | -"
    last = ordered[max(0, math.ceil(len(ordered) * 0.99) - 1)]
    return f"{len(ordered)} | {statistics.median(ordered) * 1000:.0f} | {last * 1000:.0f}"
