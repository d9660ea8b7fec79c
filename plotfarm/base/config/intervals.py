"""`[watch] intervals`: how long it is between two runs of a script."""

from __future__ import annotations

import re
from collections.abc import Sequence

_ITEM = re.compile(r"([a-z_]+)(?:\.py)?\s*:\s*([0-9]{1,6}(?:\.[0-9]{1,6})?)")
SCRIPTS = ("drive_manager", "plot_manager", "move_local_plots", "coin_monitor")


def parse_intervals(items: Sequence[str]) -> dict[str, float]:
    """Return script -> seconds, from items `plot_manager: 5` in minutes; ValueError with the item that is none."""
    seconds = {}
    for item in items:
        match = _ITEM.fullmatch(item)
        if match is None or match[1] not in SCRIPTS:
            raise ValueError(item)
        seconds[match[1]] = float(match[2]) * 60
    return seconds
