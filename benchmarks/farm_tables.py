"""What a run of a case of benchmarks/farm.py gives, and the tables of them."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable
from dataclasses import dataclass

from benchmarks.farm_cases import Case

_DAY_SECONDS = 86400
_LEAST_SECONDS = 1e-3


@dataclass(frozen=True)
class Run:
    """One run of plot_manager.py: bytes, seconds, CPU seconds, how busy the machine was, seconds of each lookup.

    `fixed_seconds`: of a run with as many streams and next to no bytes.
    """

    size: int
    seconds: float
    cpu: float
    busy: float
    lookups: list[float]
    fixed_seconds: float = 0.0

    @property
    def mb_per_second(self) -> float:
        """The speed of the whole command, in 10^6 bytes a second."""
        return self.size / 1e6 / self.seconds

    def __str__(self) -> str:
        return f"{self.mb_per_second:.0f} MB/s, {len(self.lookups)} lookups"


def speed_table(cases: list[Case], runs: list[list[Run]]) -> str:
    """Return how fast each case was, as a Markdown table."""
    lines = [
        "| | pipe | MB/s | min-max | TiB a day | of drives | fixed s | net MB/s | net of drives | CPU s/GB | busy |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for case, done in zip(cases, runs, strict=True):
        speeds = [run.mb_per_second for run in done]
        speed = _speed(done)
        fixed = statistics.median(run.fixed_seconds for run in done)
        net = statistics.median(run.size / 1e6 / max(run.seconds - fixed, _LEAST_SECONDS) for run in done)
        drives = case.streams * case.mb_per_second
        cpu = statistics.median(run.cpu / run.size * 1e9 for run in done)
        busy = statistics.median(run.busy for run in done)
        lines.append(
            f"| {case.title} | {case.pipe} | {speed:.0f} "
            f"| {min(speeds):.0f}-{max(speeds):.0f} | {speed * 1e6 * _DAY_SECONDS / 2**40:.1f} "
            f"| {speed / drives:.1%} | {fixed:.2f} "
            f"| {net:.0f} | {net / drives:.1%} | {cpu:.2f} | {busy:.0%} |"
        )
    return "\n".join(lines)


def lookup_table(cases: list[Case], runs: list[list[Run]], idle: list[float]) -> str:
    """Return how long lookups took in each case, as a Markdown table."""
    lines = ["| lookups | pipe | number | median ms | 99 % ms | MB/s meanwhile |", "|---|---|---|---|---|---|"]
    lines.append(f"| nothing arrives | | {_times(idle)} | 0 |")
    for case, done in zip(cases, runs, strict=True):
        if not case.has_lookups:
            continue
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
