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
from typing import TYPE_CHECKING

from plotfarm.base.config.sections import Config
from plotfarm.base.locks import Lock, LockBusy
from plotfarm.drives.model import Drive
from plotfarm.drives.mounts import find_drives
from plotfarm.drives.opening import open_mounted
from plotfarm.drives.reservations import Reservations, leftover_plots

if TYPE_CHECKING:
    from plotfarm.transfer.worker import Endpoint

_LOG = logging.getLogger(__name__)


def remove_leftovers(config: Config, *, plot: str | None = None) -> None:
    """Remove the leftovers of `plot`, which is about to arrive anew, or all that are older than part_age_hours."""
    reservations = Reservations(config.paths.locks)
    oldest = time.time() - config.receiving.part_age_hours * 3600
    with reservations.mutex():
        abandoned = reservations.abandoned()
    due = {
        identity for identity, (since, plots) in abandoned.items()
        if (plot in plots if plot is not None else since <= oldest)
    }  # fmt: skip
    for drive in find_drives(config.drives) if due else ():
        if drive.identity in due:
            _clean(reservations, drive, config.drives.probe_seconds)


def _clean(reservations: Reservations, drive: Drive, limit_seconds: float) -> None:
    from plotfarm.transfer.worker import Worker  # cron's start-up does without it where nothing was left

    lock = Lock(reservations.path_for(drive))
    with reservations.mutex():
        try:
            lock.acquire(identity=drive.identity)
        except LockBusy:
            return  # an arrival has begun there meanwhile, and cleans up itself
        plots = leftover_plots(lock.previous)
        lock.update(parts=plots)
    worker = Worker(functools.partial(_remove, drive, plots), keep=[lock.fileno()])
    try:
        if select.select([worker.endpoint.fileno()], [], [], limit_seconds)[0] and worker.hear()["type"] == "removed":
            lock.update(parts=[])
            _LOG.info("Removed what a killed arrival left on %s: %s", drive.mountpoint, ", ".join(plots))
        else:
            _LOG.warning("%s does not answer: %s stay there for now", drive.mountpoint, ", ".join(plots))
    finally:
        worker.end()
        lock.release()


def _remove(drive: Drive, plots: tuple[str, ...], endpoint: Endpoint) -> None:
    from plotfarm.transfer.writer import remove_parts

    directory = open_mounted(drive)
    remove_parts(directory, plots)
    os.fsync(directory)
    endpoint.send("removed")
