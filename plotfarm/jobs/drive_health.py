"""Reading the health of the drives that are mounted, and remembering it."""

from __future__ import annotations

import time
from collections.abc import Collection

from plotfarm.base.config.sections import Config
from plotfarm.base.state import State
from plotfarm.drives.health import Health
from plotfarm.drives.smart.disks import disk_of
from plotfarm.drives.smart.read import read_health
from plotfarm.drives.smart.records import HealthRecords
from plotfarm.jobs.stock import Stock


def read_drives(config: Config, state: State, stock: Stock, only: Collection[str] | None = None) -> dict[str, Health]:
    """Read the SMART data behind each mounted drive, or of the identities in `only`, and remember it.

    Returns identity -> what is now known, also of drives that were read before: the values of a drive that sleeps
    are those of its last reading. Each disk is read once, however many drives lie on it.
    """
    now = time.time()
    disks = {
        identity: disk_of(reading.drive, reading.disk)
        for identity, reading in stock.readings.items()
        if only is None or identity in only
    }
    by_disk = read_health({disk for disk in disks.values() if disk}, config.smart, now, config.paths.locks)
    no_disk = "no SMART: no single disk stands behind it; the marker file of a declared directory may name one"
    records = HealthRecords(state.database)
    read = {identity: by_disk.get(disk) or Health("", now, no_disk) for identity, disk in disks.items()}
    records.record(read, complete=only is None)
    return records.latest()
