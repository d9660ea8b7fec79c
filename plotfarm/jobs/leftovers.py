"""Removing what killed arrivals left: a NAME.part whose receiver is gone.

Nothing is searched for: a drive's lock names, also after its holder was killed, the plots whose NAME.part may
lie there. So this costs nothing where nothing was left.
"""

from __future__ import annotations

import functools
import logging
import os
import select
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from plotfarm.base.config.sections import Config
from plotfarm.base.locks import Lock, LockBusy
from plotfarm.base.state import State
from plotfarm.drives.model import Drive
from plotfarm.drives.mounts import find_drives
from plotfarm.drives.opening import open_mounted
from plotfarm.drives.reservations import Reservations, leftover_plots
from plotfarm.transfer.unfinished import Part, UnfinishedArrivals

if TYPE_CHECKING:
    from plotfarm.transfer.worker import Endpoint

_LOG = logging.getLogger(__name__)


def remove_leftovers(config: Config, state: State, *, plot: str | None = None, but_on: str = "") -> None:
    """Remove the leftovers of `plot`, which is about to arrive anew, or all that are older than part_age_hours.

    What lies on the drive with the identity `but_on` stays: the arrival is to go on there.
    """
    reservations = Reservations(config.paths.locks)
    with reservations.mutex():
        abandoned = reservations.abandoned()
    if not abandoned:
        return
    unfinished = UnfinishedArrivals(state.database)
    parts, oldest = unfinished.all(), time.time() - config.receiving.part_age_hours * 3600
    due = {
        identity: [
            name for name in plots
            if (name == plot if plot is not None else _age(name, identity, since, parts) <= oldest)
        ]
        for identity, (since, plots) in abandoned.items() if identity != but_on
    }  # fmt: skip
    for drive in find_drives(config.drives) if any(due.values()) else ():
        if due.get(drive.identity):
            for name in _clean(reservations, drive, due[drive.identity], config.drives.probe_seconds):
                if name in parts and parts[name].identity == drive.identity:
                    unfinished.forget(name)


def _age(plot: str, identity: str, since: float, parts: Mapping[str, Part]) -> float:
    """Return when a NAME.part on a drive was last written to: the drive's lock may have served others since."""
    part = parts.get(plot)
    return part.time if part is not None and part.identity == identity else since


def _clean(reservations: Reservations, drive: Drive, due: Sequence[str], limit_seconds: float) -> Sequence[str]:
    """Remove the NAME.part of the plots that are due; returns which are gone."""
    from plotfarm.transfer.worker import Worker  # cron's start-up does without it where nothing was left

    lock = Lock(reservations.path_for(drive))
    with reservations.mutex():
        try:
            lock.acquire(identity=drive.identity)
        except LockBusy:
            return ()  # an arrival has begun there meanwhile, and cleans up itself
        left = leftover_plots(lock.previous)
        lock.update(parts=left)
        if "progress" in lock.previous:
            lock.update(progress=lock.previous["progress"])  # those that stay do not become younger
    worker = Worker(functools.partial(_remove, drive, tuple(due)), keep=[lock.fileno()])
    try:
        if select.select([worker.endpoint.fileno()], [], [], limit_seconds)[0] and worker.hear()["type"] == "removed":
            lock.update(parts=[name for name in left if name not in due])
            _LOG.info("Removed what a killed arrival left on %s: %s", drive.mountpoint, ", ".join(due))
            return due
        _LOG.warning("%s does not answer: %s stay there for now", drive.mountpoint, ", ".join(due))
        return ()
    finally:
        worker.end()
        lock.release()


def _remove(drive: Drive, plots: tuple[str, ...], endpoint: Endpoint) -> None:
    from plotfarm.transfer.part import remove_parts

    directory = open_mounted(drive)
    remove_parts(directory, plots)
    os.fsync(directory)
    endpoint.send("removed")
