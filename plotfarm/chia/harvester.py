"""What the harvester of this host says of itself, as its RPC tells it: asked where its log says nothing.

That it answers does not mean that it farms: it looks for proofs when its farmer sends it something to look for. So what
counts is when its farmer sent it a message last; that comes every few seconds where all is well.
"""

from __future__ import annotations

import time
from typing import Any

from plotfarm.chia.farm_log import Farmed, Source, Unreadable
from plotfarm.chia.rpc import Connection, Refused, Remedies, ServiceAddress, answered

_FARMER = 3  # how Chia numbers the kinds of its services
_MOST_BYTES = 128 * 2**20  # each plot takes about 500 of them
_LARGEST_PLOT = 2**50
_LATEST_TIME = 2**37  # Unix time; beyond that it is none
_REMEDIES = Remedies(
    refused="does it run, and is it Chia's harvester? See harvester_port in [chia]",
    silent="is the harvester running? See harvester_port in [chia]",
    certificate="let this user read the harvester's certificate and key in [chia] home, or set harvester = never",
)


def read_harvester(address: ServiceAddress) -> Farmed | Unreadable:
    """Return what plots it has loaded, and when its farmer was heard last; Unreadable if it cannot be asked."""
    return answered(address, _read, _REMEDIES)


def _read(harvester: Connection) -> Farmed:
    heard = _heard(harvester.ask("get_connections", {"node_type": _FARMER}).get("connections"))
    if heard is None:
        raise Refused("it is connected to no farmer, so it does not farm")
    plots = harvester.ask("get_plots", {}, _MOST_BYTES).get("plots")
    if not isinstance(plots, list):
        raise Refused("its answer holds no plots")
    total = sum(_size(plot) for plot in plots)
    return Farmed(len(plots), total, min(heard, time.time()), Source.HARVESTER)


def _heard(connections: object) -> float | None:
    """Return when its farmer, or the one of several that spoke last, sent a message; None if it has none."""
    if not isinstance(connections, list):
        raise Refused("its answer holds no connections")
    times: list[Any] = [
        each.get("last_message_time") for each in connections if isinstance(each, dict) and each.get("type") == _FARMER
    ]
    return max((float(when) for when in times if _is_number(when) and 0 < when < _LATEST_TIME), default=None)


def _size(plot: object) -> int:
    """Return the bytes of a plot; 0 if they are not told."""
    size: Any = plot.get("file_size") if isinstance(plot, dict) else None
    return int(size) if _is_number(size) and 0 <= size < _LARGEST_PLOT else 0


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
