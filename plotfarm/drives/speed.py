"""How fast plots arrive on each drive, so that a sick or shingled one stands out: a decision on values."""

from __future__ import annotations

import os
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from plotfarm.base.state import Transfer, TransferOutcome
from plotfarm.plots.formats import NO_PLOTS

_SMALLEST_BYTES = 10**9  # of a smaller plot most is the conversation
_NEWEST = 20
JUDGED_ARRIVALS = 5000  # the newest of all drives, to hand over
_ENOUGH = 3  # arrivals on a drive, before it is compared with others


@dataclass(frozen=True)
class Speed:
    """How fast the newest plots arrived on a drive."""

    bytes_per_second: float  # the median
    arrivals: int  # that it is the median of, 20 at most
    is_slow: bool = False  # less than half as fast as the drives of this host usually are


def speeds(transfers: Sequence[Transfer]) -> dict[str, Speed]:
    """Return mountpoint -> speed from the arrivals of this host, newest first; a drive without any is missing."""
    found: dict[str, list[float]] = {}
    for transfer in transfers:
        is_whole = transfer.outcome is TransferOutcome.STORED and transfer.digest and transfer.seconds > 0
        if is_whole and transfer.bytes >= _SMALLEST_BYTES and transfer.kind not in NO_PLOTS:
            found.setdefault(os.path.dirname(transfer.target), []).append(transfer.bytes / transfer.seconds)
    medians = {drive: statistics.median(each[:_NEWEST]) for drive, each in found.items()}
    compared = [medians[drive] for drive, each in found.items() if len(each) >= _ENOUGH]
    usual = statistics.median(compared) if len(compared) > 1 else 0.0
    return {
        drive: Speed(medians[drive], min(len(each), _NEWEST), len(each) >= _ENOUGH and medians[drive] * 2 < usual)
        for drive, each in found.items()
    }
