"""What pySMART reads in the lines that smartctl prints for people, where its JSON has nothing.

Up to 7.2 smartctl does not put all that a SAS disk counts into its JSON. Only such gaps are filled: what the JSON
says stays, and so does the verdict, which pySMART never has a say in.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from plotfarm.drives.health import Health
from plotfarm.drives.smart.said import MOST

if TYPE_CHECKING:
    from pySMART import Device  # type: ignore[import-untyped]

_LONGEST_LINE, _MOST_LINES = 200, 1000  # smartctl prints a hundred lines, each as wide as a screen
_IMPORTING = threading.Lock()  # disks are read in threads, and the first one imports it


class _Counters(NamedTuple):
    """What a SAS disk counts, as in Health."""

    reallocated: int | None
    uncorrectable: int | None
    power_on_hours: int | None
    start_stop_count: int | None


def with_gaps_filled(health: Health, output: Sequence[str]) -> Health:
    """Return the same health with the counters of a SAS disk that it lacks, as far as they stand in `output`."""
    known = _Counters(health.reallocated, health.uncorrectable, health.power_on_hours, health.start_stop_count)
    if None not in known or not output:
        return health
    try:
        read = _counters(_device(health.disk, output))
    except Exception:  # pySMART indexes and converts what it finds in the text, whatever that is
        return health
    filled = _Counters(*(ours if ours is not None else theirs for ours, theirs in zip(known, read, strict=True)))
    return replace(
        health,
        reallocated=filled.reallocated,
        uncorrectable=filled.uncorrectable,
        power_on_hours=filled.power_on_hours,
        start_stop_count=filled.start_stop_count,
    )


def _counters(device: Device) -> _Counters:
    said = device.diagnostics
    lost = (said.Uncorrected_Reads, said.Uncorrected_Writes, said.Uncorrected_Verifies)
    return _Counters(
        reallocated=_count([said.Reallocated_Sector_Ct]),
        uncorrectable=_count(lost),
        power_on_hours=_count([said.Power_On_Hours]),
        start_stop_count=_count([said.Start_Stop_Cycles]),
    )


def _count(numbers: Iterable[object]) -> int | None:
    """Return the sum of what is known; None if nothing is, or if it cannot be true."""
    known = [number for number in numbers if isinstance(number, int)]
    return sum(known) if known and 0 <= sum(known) < MOST else None


class _OneAnswer:
    """Stands for smartctl before pySMART: gives what was said once, and nothing to the questions it asks besides.

    Those find out what is known here already, or how long the disk has been running. The logs of self-tests are left
    out: what pySMART searches them with takes for ever with a line that is made for it.
    """

    def __init__(self, output: Sequence[str]) -> None:
        readable = [line for line in output if len(line) <= _LONGEST_LINE and "elf-test" not in line]
        self._output = readable[:_MOST_LINES]

    def all(self, disk: str, interface: str | None = None) -> list[str]:
        return self._output

    def generic_call(self, parameters: list[str], pass_options: bool = False) -> tuple[list[str], int]:
        return [], 1

    try_generic_call = generic_call


def _device(disk: str, output: Sequence[str]) -> Device:
    with _IMPORTING:
        from pySMART import Device  # takes 50 ms: only where a gap is to be filled

    # To pySMART "sat" is the one that needs no further questions; it reads SAS drives by it too.
    return Device(disk, interface="sat", smartctl=_OneAnswer(output))
