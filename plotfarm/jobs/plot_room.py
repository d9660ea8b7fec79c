"""How much room a plotter's plot directories have, and for how long: plotting must not come to a stop unseen."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Sequence
from pathlib import Path

from plotfarm.base.condition import AlertKind, Condition, Look, Severity
from plotfarm.base.config.sections import Plotter
from plotfarm.base.state import Room, State
from plotfarm.base.units import format_bytes
from plotfarm.notify.checks import Check, check
from plotfarm.plots.filling import hours_until_full
from plotfarm.plots.plotfile import Candidate

_READINGS_SECONDS = 6 * 3600.0


def watch_room(
    directories: Sequence[Path], candidates: Sequence[Candidate], state: State, plotter: Plotter
) -> tuple[dict[Path, Room], list[str]]:
    """Read and remember the room in each directory; returns the readings and a warning for each that fills up."""
    now, host = time.time(), socket.gethostname()
    past = [room for room in state.rooms(since=now - _READINGS_SECONDS) if room.host == host]
    rooms: dict[Path, Room] = {}
    for directory in directories:
        try:
            status = os.statvfs(directory)
        except OSError:
            continue  # whoever lists the directory reports it
        free = status.f_bavail * status.f_frsize
        waiting = sum(each.size for each in candidates if each.directory == directory)
        earlier = [(room.time, room.free_bytes) for room in past if room.directory == str(directory)]
        hours = hours_until_full([*earlier, (now, free)])
        rooms[directory] = Room(host, str(directory), now, free, waiting, hours)
        state.record_room(rooms[directory])
    warnings = [
        f"The plot directory {room.directory} fills up faster than it is emptied: "
        f"{format_bytes(room.free_bytes)} free, full in {room.hours_left or 0:.1f} hours"
        for room in filling_up(list(rooms.values()), plotter.warn_hours_left)
    ]
    return rooms, warnings


def filling_up(rooms: Sequence[Room], warn_hours_left: float) -> list[Room]:
    """Return the newest (last) reading of each plot directory that is full in fewer than `warn_hours_left`."""
    newest = {(room.host, room.directory): room for room in rooms}
    return [room for room in newest.values() if room.hours_left is not None and room.hours_left < warn_hours_left]


def filling_check(rooms: Sequence[Room], warn_hours_left: float, *, is_all: bool = True) -> Check:
    """Look which plot directories fill up; `is_all`: these are the readings of all of them, not only of some."""
    found = [filling(room) for room in filling_up(rooms, warn_hours_left)]
    return check(Look.FILLING, found, about=None if is_all else [_name(room) for room in rooms])


def filling(room: Room) -> Condition:
    """Return the condition of a plot directory that fills up."""
    facts: dict[str, str | int | float | None] = {
        "host": room.host, "directory": room.directory, "free_bytes": room.free_bytes, "hours_left": room.hours_left,
    }  # fmt: skip
    return Condition(AlertKind.FILLING, _name(room), Severity.WARNING, facts)


def _name(room: Room) -> str:
    return f"{room.host}:{room.directory}"
