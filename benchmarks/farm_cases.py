"""The cases of benchmarks/farm.py: so many streams to so many drives, with these settings."""

from __future__ import annotations

import argparse
from dataclasses import dataclass, field

GROUPS = ("alone", "many", "one", "chunks", "limits", "slower")
_LIMITS = ("transfer.max_mb_per_second", "receiving.lookup_milliseconds")


@dataclass(frozen=True)
class Case:
    """So many streams to as many drives, through one pipe, with more settings and environment on the NAS."""

    title: str
    pipe: str
    streams: int
    mb_per_second: float  # of each drive
    nas: dict[str, object] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    has_lookups: bool = True  # a harvester reads meanwhile, which takes its share of the drives

    def all_limits(self) -> tuple[str, ...]:
        """Return the settings that any case may have: the others have to take them back."""
        return _LIMITS


def many_drives(arguments: argparse.Namespace) -> list[Case]:
    """Return the cases of the figure that counts, and of what plots do to a harvester."""
    many = arguments.drives
    speed = arguments.mb_per_second
    last = arguments.pipes[-1]
    cases = []
    if "alone" in arguments.cases:
        cases += [
            Case(f"{_streams(streams)} of {speed:g} MB/s, no lookups", pipe, streams, speed, has_lookups=False)
            for streams in (1, many)
            for pipe in arguments.pipes
        ]
    if "many" in arguments.cases:
        cases += [Case(f"{_streams(many)} of {speed:g} MB/s", pipe, many, speed) for pipe in arguments.pipes]
    if "one" in arguments.cases:
        cases += [Case(f"{_streams(1)} of {speed:g} MB/s", pipe, 1, speed) for pipe in arguments.pipes]
    if "chunks" in arguments.cases:
        cases += [_chunks(f"1 stream, {size} MiB at once", last, 1, speed, size) for size in arguments.chunks]
    if "limits" in arguments.cases:
        for key, value in (
            ("transfer.max_mb_per_second", arguments.limit),
            ("receiving.lookup_milliseconds", arguments.lookup_milliseconds),
        ):
            title = f"{many} streams to {many} drives, `{key.partition('.')[2]} = {value:g}`"
            cases.append(Case(title, last, many, speed, {key: value}))
    return cases


def _streams(streams: int) -> str:
    return "1 stream to 1 drive" if streams == 1 else f"{streams} streams to {streams} drives"


def _chunks(title: str, pipe: str, streams: int, speed: float, mib: int) -> Case:
    return Case(title, pipe, streams, speed, environment={"PLOT_MANAGER_CHUNK_BYTES": str(mib * 2**20)})


def slower_drives(arguments: argparse.Namespace) -> list[Case]:
    """Return the cases that show whether streams add up: drives so slow that the processors do not count."""
    if "slower" not in arguments.cases:
        return []
    speed = arguments.mb_per_second / 2
    return [
        Case(f"{_streams(streams)} of {speed:g} MB/s", pipe, streams, speed)
        for pipe in arguments.pipes
        for streams in (1, arguments.slower)
    ]
