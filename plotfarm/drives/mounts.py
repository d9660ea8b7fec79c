"""Which drives there are: found anew at every run, without touching one of them."""

from __future__ import annotations

import contextlib
import logging
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psutil

from plotfarm.base.config.sections import Drives
from plotfarm.drives.model import Drive, Verdict, has_uuid
from plotfarm.drives.mount_table import Mount, covering, decode, read_mount_table, topmost
from plotfarm.drives.patterns import matches_any
from plotfarm.drives.reasons import Reason, Why

_LOG = logging.getLogger(__name__)
_FSTAB = Path("/etc/fstab")
CHECKOUT = Path(__file__).resolve().parents[2]
_DEVICE_NAMES = Path("/dev/disk")


@dataclass(frozen=True)
class Survey:
    """The plot drives of this host, and what was passed over before anything was asked of it."""

    drives: tuple[Drive, ...]  # lowest drive first
    passed_over: tuple[Verdict, ...]


def as_mountpoint(configured: str) -> str:
    """Return the path of the configured plot drive as the mount table writes it; "" if none is configured."""
    return os.path.normpath(configured).rstrip("/") if configured else ""


def find_drives(settings: Drives) -> list[Drive]:
    """Return the mounted plot drives and declared directories, lowest drive first."""
    return list(survey(settings).drives)


def survey(
    settings: Drives,
    current: str = "",
    known: Mapping[str, tuple[str, str]] | None = None,
    read: Mapping[str, str] | None = None,
) -> Survey:
    """Find the plot drives, and those that should be here and are not.

    `current` is the mountpoint of the configured plot drive; `known` holds the drives that were ever seen
    here: identity -> (mountpoint, device). Both, and /etc/fstab, only add drives that are not mounted or replaced.
    `read`: mountpoint -> the UUID that was read there, where udev tells none.
    """
    table = read_mount_table()
    names = device_names()
    mounts = [mount for mount in partitions(table) if _is_wanted(mount, settings, names)]
    drives, passed_over = sort_out(mounts, system_disks(table), names)
    drives += [_directory(path, table) for path in settings.directories]
    listed = _listed_in_fstab()
    read_only = {drive.mountpoint for drive in listed if drive.is_meant_read_only}
    drives = [replace(each, is_meant_read_only=True) if each.mountpoint in read_only else each for each in drives]
    missing = not_mounted(
        [_by_uuid(drive, read or {}) for drive in [*drives, *(verdict.drive for verdict in passed_over)]],
        expected=[*_expected(settings, known or {}, listed), *([Drive(current, "", "", 0, "")] if current else [])],
    )
    order = natural_order()
    return Survey(
        tuple(sorted(drives, key=order)),
        tuple(sorted(passed_over + missing, key=lambda verdict: order(verdict.drive))),
    )


def _by_uuid(drive: Drive, read: Mapping[str, str]) -> Drive:
    """Return a drive that is known by its place as one that is known by the UUID that was read there."""
    if has_uuid(drive.identity) or drive.directory_mode or drive.mountpoint not in read:
        return drive
    return replace(drive, identity=f"uuid:{read[drive.mountpoint]}")


def natural_order() -> Callable[[Drive], Any]:
    """Return the sorting key of drives: drive2 before drive10, wherever they are mounted."""
    from natsort import natsort_keygen  # takes a moment: only where drives are sorted

    key = natsort_keygen()
    return lambda drive: key((drive.name, drive.mountpoint))


def sort_out(
    mounts: Sequence[Mount], system_disks: Mapping[int, Reason], names: Mapping[str, Sequence[str]]
) -> tuple[list[Drive], list[Verdict]]:
    """Divide mounts that fit the patterns into drives and those to leave alone, with the reason.

    `system_disks`: device number -> reason; `names`: device -> its names under /dev/disk.
    """
    drives: list[Drive] = []
    passed_over: list[Verdict] = []
    seen: dict[int, str] = {}
    order = natural_order()
    # A bind mount of part of a drive gives way to the mount of the whole, and one that is read-only to one that is not.
    for mount in sorted(mounts, key=lambda mount: (mount.root != "/", mount.read_only, order(_drive(mount, names)))):
        drive = _drive(mount, names)
        if mount.device_number in system_disks:
            passed_over.append(Verdict(drive, Why(system_disks[mount.device_number])))
        elif mount.device_number in seen:
            passed_over.append(Verdict(drive, Why(Reason.DUPLICATE, seen[mount.device_number])))
        else:
            seen[mount.device_number] = mount.mountpoint
            drives.append(drive)
    return drives, passed_over


def not_mounted(here: Iterable[Drive], expected: Iterable[Drive]) -> list[Verdict]:
    """Return a verdict for each expected drive that is not here by its identity.

    At its place may be another one. It was not replaced, as far as is known, if one of the two has no UUID: udev may
    have forgotten it, or not know it yet.
    """
    drives = list(here)
    identities = {drive.identity for drive in drives}
    at_place = {drive.mountpoint: drive.identity for drive in drives}
    gone: set[str] = set()
    missing: list[Verdict] = []
    for drive in expected:
        there = at_place.get(drive.mountpoint)
        if drive.identity in identities:
            continue
        if there is None and drive.mountpoint not in gone:
            gone.add(drive.mountpoint)
            missing.append(Verdict(drive, Why(Reason.NOT_MOUNTED)))
        elif there is not None and has_uuid(there) and has_uuid(drive.identity):
            missing.append(Verdict(drive, Why(Reason.WRONG_DRIVE, there)))
            identities.add(drive.identity)
    return missing


def partitions(table: Sequence[Mount]) -> list[Mount]:
    """Return the mounts that psutil takes for disks, without those that another mount hides."""
    seen = topmost(table)
    disks = {(partition.mountpoint, partition.fstype) for partition in psutil.disk_partitions(all=False)}
    return [mount for place, mount in seen.items() if (place, mount.file_system) in disks]


def _is_wanted(mount: Mount, settings: Drives, names: Mapping[str, Sequence[str]]) -> bool:
    if not matches_any(settings.mounts, [mount.mountpoint]):
        return False
    device = real_device(mount.source)
    return matches_any(settings.devices, [mount.source, device, *names.get(device, ())])


def real_device(device: str) -> str:
    """Follow the links in /dev, such as /dev/mapper/plots1 to /dev/dm-0; other names stay as they are."""
    return os.path.realpath(device) if device.startswith("/dev/") else device


def device_names() -> dict[str, list[str]]:
    """Return device -> its names under /dev/disk (by-uuid, by-id, by-label ...), as udev made them."""
    names: dict[str, list[str]] = {}
    try:
        kinds = sorted(os.listdir(_DEVICE_NAMES))
    except FileNotFoundError:
        return {}  # containers have no udev
    for kind in kinds:
        directory = str(_DEVICE_NAMES / kind)
        for name in _listed(directory):
            link = os.path.join(directory, name)
            with contextlib.suppress(OSError):  # udev took it away meanwhile, or it is no link
                target = os.path.normpath(os.path.join(directory, os.readlink(link)))
                names.setdefault(target, []).append(link)
    return names


def _listed(directory: str) -> list[str]:
    try:
        return os.listdir(directory)
    except OSError:  # udev took it away meanwhile
        return []


def _drive(mount: Mount, names: Mapping[str, Sequence[str]]) -> Drive:
    by_uuid = f"{_DEVICE_NAMES}/by-uuid/"
    links = names.get(real_device(mount.source), ())
    uuid = next((link.removeprefix(by_uuid) for link in links if link.startswith(by_uuid)), None)
    identity = f"uuid:{uuid}" if uuid else f"mount:{mount.mountpoint}"
    return Drive(mount.mountpoint, mount.source, identity, mount.device_number, mount.file_system)


def _directory(path: Path, table: Sequence[Mount]) -> Drive:
    place = os.path.abspath(path)
    mount = covering(place, table)
    device, number, kind = (mount.source, mount.device_number, mount.file_system) if mount else ("", 0, "")
    return Drive(place, device, f"directory:{place}", number, kind, directory_mode=True)


def system_disks(table: Sequence[Mount]) -> dict[int, Reason]:
    """Return the device numbers of what this host runs from, each with why no plots go there."""
    reasons = {str(CHECKOUT): Reason.PROGRAM_DISK, "/": Reason.SYSTEM_DISK}
    covers = {covering(path, table): reason for path, reason in reasons.items()}
    return {mount.device_number: reason for mount, reason in covers.items() if mount is not None}


def _listed_in_fstab() -> list[Drive]:
    try:
        return parse_fstab(os.fsdecode(_FSTAB.read_bytes()))
    except OSError:
        return []


def _expected(settings: Drives, known: Mapping[str, tuple[str, str]], listed: Sequence[Drive]) -> list[Drive]:
    remembered = [Drive(place, device, identity, 0, "") for identity, (place, device) in known.items()]
    return [drive for drive in [*remembered, *listed] if matches_any(settings.mounts, [drive.mountpoint])]


def parse_fstab(text: str) -> list[Drive]:
    """Return what an fstab(5) lists, as drives that are not mounted; UUID= gives the identity."""
    drives: list[Drive] = []
    for line in text.split("\n"):
        # Only blank and tab divide its fields: getmntent(3). A name may hold what else counts as white space.
        fields = re.findall(r"[^ \t\r]+", line)
        if len(fields) < 3 or fields[0].startswith("#"):
            continue
        device, place = decode(fields[0]), os.path.normpath(decode(fields[1]))
        if "\0" in place:
            _LOG.warning("A line of fstab names no directory, and is skipped: %s", line)
            continue
        uuid = device.removeprefix("UUID=").strip('"') if device.startswith("UUID=") else ""
        identity = f"uuid:{uuid}" if uuid else f"mount:{place}"
        is_meant_read_only = len(fields) > 3 and "ro" in fields[3].split(",")
        drives.append(Drive(place, device, identity, 0, fields[2], is_meant_read_only=is_meant_read_only))
    return drives
