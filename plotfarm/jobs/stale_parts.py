"""Removing the parts that interrupted arrivals have left, once nobody will go on with them.

They are found by listing the drives, and known by what they carry themselves. How old one is counts by the time that
this host has been running and seen it unchanged: the wall clock jumps.
"""

from __future__ import annotations

import functools
import logging
import os
import time
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from plotfarm.base.config.sections import Config
from plotfarm.base.meanwhile import Meanwhile, wait_readable
from plotfarm.base.state import State
from plotfarm.drives.model import Drive, Reading
from plotfarm.drives.opening import open_mounted
from plotfarm.drives.probe import probe
from plotfarm.plots.parts import FoundPart, remove_dead_part

if TYPE_CHECKING:
    from plotfarm.transfer.worker import Endpoint

_LOG = logging.getLogger(__name__)


def remove_stale_parts(readings: Sequence[Reading], config: Config, state: State) -> list[tuple[Drive, FoundPart]]:
    """Remove the parts that nobody has gone on with for `part_age_hours`; returns the complete ones that are left.

    A complete one, on which both ends agreed, may be the only copy of its plot: it never goes by its age alone, but
    only if the plot is stored as well.
    """
    stale, left = _sort_out(readings, config, state)
    for drive in dict.fromkeys(drive for drive, _ in stale):
        names = [part.name for place, part in stale if place == drive]
        remove_parts(drive, names, config.drives.probe_seconds)
    return left


def complete_parts_left(readings: Sequence[Reading], config: Config, state: State) -> list[tuple[Drive, FoundPart]]:
    """Return the old complete parts whose plots are not stored here: a person has to say what becomes of them.

    Their plots may have gone to another NAS, when this one could not publish them.
    """
    _, left = _sort_out(readings, config, state)
    return left


def _sort_out(
    readings: Sequence[Reading], config: Config, state: State
) -> tuple[list[tuple[Drive, FoundPart]], list[tuple[Drive, FoundPart]]]:
    """Divide the old parts into those to be removed, and the complete ones whose plots are not stored here."""
    old = _old_parts(readings, config, state)
    stored = _find_stored({part.plot for _, part in old if part.is_committed}, readings, config)
    left = [(drive, part) for drive, part in old if part.is_committed and not _is_in(part, stored)]
    return [entry for entry in old if entry not in left], left


def _old_parts(readings: Sequence[Reading], config: Config, state: State) -> list[tuple[Drive, FoundPart]]:
    """Return the parts that nobody has gone on with for `part_age_hours`."""
    limit = config.receiving.part_age_hours * 3600
    return [
        (reading.drive, part)
        for reading in readings
        for part in reading.parts
        if not part.is_alive and _unchanged_seconds(part, reading.drive, state) >= limit
    ]


def _unchanged_seconds(part: FoundPart, drive: Drive, state: State) -> float:
    return state.unchanged_seconds(f"{drive.identity}/{part.name}", (part.size, part.inode))


def _find_stored(plots: Collection[str], readings: Sequence[Reading], config: Config) -> set[tuple[str, int]]:
    """Return which of these plots the drives hold under their own names, with their sizes in bytes."""
    if not plots:
        return set()
    drives = [reading.drive for reading in readings if not reading.problem]
    answers = probe(drives, plots, config.drives.probe_seconds, config.paths.locks)
    return {(name, size) for answer in answers for name, size in answer.found.items()}


def _is_in(part: FoundPart, stored: Collection[tuple[str, int]]) -> bool:
    return part.facts is not None and (part.plot, part.facts.size) in stored


def remove_parts(drive: Drive, names: Sequence[str], limit_seconds: float, meanwhile: Meanwhile | None = None) -> None:
    """Remove dead parts from a drive, in a process that may hang with it.

    `meanwhile`: what is done while that process is waited for.
    """
    from plotfarm.transfer.worker import Worker, WorkerGone  # cron's start-up does without it where nothing was left

    worker = Worker(functools.partial(_remove, drive, tuple(names)))
    try:
        if not wait_readable(worker.endpoint.fileno(), time.monotonic() + limit_seconds, meanwhile):
            _LOG.warning("%s does not answer: %s stay there for now", drive.mountpoint, ", ".join(names))
            return
        removed, _ = worker.endpoint.receive()
        if removed:
            _LOG.info("Removed what interrupted arrivals left on %s: %s", drive.mountpoint, ", ".join(removed))
    except WorkerGone:
        _LOG.warning("%s: %s could not be removed", drive.mountpoint, ", ".join(names))
    finally:
        worker.end()


def _remove(drive: Drive, names: tuple[str, ...], endpoint: Endpoint) -> None:
    directory = open_mounted(drive)
    removed = [name for name in names if remove_dead_part(directory, name)]
    os.fsync(directory)
    endpoint.send(removed)
