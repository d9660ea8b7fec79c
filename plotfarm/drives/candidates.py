"""Every mounted file system, and which condition of a plot drive it does not meet: for when no drive is found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import psutil

from plotfarm.base.config.sections import Drives
from plotfarm.drives.mount_table import Mount, covering, read_mount_table, topmost
from plotfarm.drives.mounts import CHECKOUT, device_names, real_device
from plotfarm.drives.patterns import matches_any


class Unmet(StrEnum):
    """Which condition a file system does not meet: the first of those that are asked in this order."""

    NO_DISK = "no_disk"  # proc, tmpfs, network file systems: nothing that the kernel keeps on a disk
    MOUNTS = "mounts"  # its mountpoint fits none of [drives] mounts
    DEVICES = "devices"  # its device fits none of [drives] devices
    SYSTEM_DISK = "system_disk"  # it holds /
    PROGRAM_DISK = "program_disk"  # it holds this checkout


@dataclass(frozen=True)
class Candidate:
    """A mounted file system. `unmet` None: it is a plot drive, or another mount of one."""

    mountpoint: str
    device: str
    file_system: str
    unmet: Unmet | None
    patterns: tuple[str, ...] = ()  # those that it does not fit


def candidates(settings: Drives) -> list[Candidate]:
    """Return what is mounted on this host, in the order of the mount table; none of it is touched."""
    table = read_mount_table()
    disks = {(disk.mountpoint, disk.fstype) for disk in psutil.disk_partitions(all=False)}
    names = device_names()
    systems = {}
    for path, unmet in ((str(CHECKOUT), Unmet.PROGRAM_DISK), ("/", Unmet.SYSTEM_DISK)):
        mount = covering(path, table)
        if mount is not None:
            systems[mount.device_number] = unmet
    return [_judged(mount, settings, disks, systems, names) for mount in topmost(table).values()]


def _judged(
    mount: Mount,
    settings: Drives,
    disks: set[tuple[str, str]],
    systems: Mapping[int, Unmet],
    names: Mapping[str, Sequence[str]],
) -> Candidate:
    unmet, patterns = _unmet(mount, settings, disks, systems, names)
    return Candidate(mount.mountpoint, mount.source, mount.file_system, unmet, tuple(patterns))


def _unmet(
    mount: Mount,
    settings: Drives,
    disks: set[tuple[str, str]],
    systems: Mapping[int, Unmet],
    names: Mapping[str, Sequence[str]],
) -> tuple[Unmet | None, Sequence[str]]:
    """Return the first condition that is not met, and the patterns that say it."""
    if (mount.mountpoint, mount.file_system) not in disks:
        return Unmet.NO_DISK, ()
    if not matches_any(settings.mounts, [mount.mountpoint]):
        return Unmet.MOUNTS, settings.mounts
    device = real_device(mount.source)
    if not matches_any(settings.devices, [mount.source, device, *names.get(device, ())]):
        return Unmet.DEVICES, settings.devices
    return systems.get(mount.device_number), ()
