"""Every mounted file system, and which condition of a plot drive it does not meet: for when no drive is found."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from plotfarm.base.config.sections import Drives
from plotfarm.drives.mount_table import Mount, read_mount_table, topmost
from plotfarm.drives.mounts import device_names, partitions, real_device, system_disks
from plotfarm.drives.patterns import matches_any
from plotfarm.drives.reasons import Reason


class Unmet(StrEnum):
    """Which condition a file system does not meet: the first of those that are asked in this order."""

    NO_DISK = "no_disk"  # proc, tmpfs, network file systems: nothing that the kernel keeps on a disk
    MOUNTS = "mounts"  # its mountpoint fits none of [drives] mounts
    DEVICES = "devices"  # its device fits none of [drives] devices
    SYSTEM_DISK = "system_disk"  # it holds /
    PROGRAM_DISK = "program_disk"  # it holds this checkout


@dataclass(frozen=True)
class MountedFileSystem:
    """A mounted file system. `unmet` None: it is a plot drive, or another mount of one."""

    mountpoint: str
    device: str
    file_system: str
    unmet: Unmet | None
    patterns: tuple[str, ...] = ()  # those that it does not fit


def candidates(settings: Drives) -> list[MountedFileSystem]:
    """Return what is mounted on this host, in the order of the mount table; none of it is touched."""
    table = read_mount_table()
    host = _Host({mount.mount_id for mount in partitions(table)}, system_disks(table), device_names())
    found = []
    for mount in topmost(table).values():
        unmet, patterns = _unmet(mount, settings, host)
        found.append(MountedFileSystem(mount.mountpoint, mount.source, mount.file_system, unmet, tuple(patterns)))
    return found


@dataclass(frozen=True)
class _Host:
    """What has to be known of a host to judge its mounts, as drives.mounts reads it."""

    disks: Collection[int]  # ids of the mounts that are on a disk
    system_disks: Mapping[int, Reason]  # device number -> reason
    names: Mapping[str, Sequence[str]]  # device -> its names under /dev/disk


def _unmet(mount: Mount, settings: Drives, host: _Host) -> tuple[Unmet | None, Sequence[str]]:
    """Return the first condition that is not met, and the patterns that say it."""
    if mount.mount_id not in host.disks:
        return Unmet.NO_DISK, ()
    if not matches_any(settings.mounts, [mount.mountpoint]):
        return Unmet.MOUNTS, settings.mounts
    device = real_device(mount.source)
    if not matches_any(settings.devices, [mount.source, device, *host.names.get(device, ())]):
        return Unmet.DEVICES, settings.devices
    match host.system_disks.get(mount.device_number):
        case Reason.SYSTEM_DISK:
            return Unmet.SYSTEM_DISK, ()
        case Reason.PROGRAM_DISK:
            return Unmet.PROGRAM_DISK, ()
        case _:
            return None, ()
