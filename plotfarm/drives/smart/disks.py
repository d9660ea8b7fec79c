"""Which whole disk is behind a drive: looked up in /sys and /dev, so that no disk is touched."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from plotfarm.drives.model import Drive
from plotfarm.drives.patterns import matches

_SYS = Path("/sys")


def disk_of(drive: Drive, named: str = "", sys: Path = _SYS) -> str:
    """Return the path of the whole disk behind a drive, "" if there is no single one.

    `named`: the device that the marker file of a declared directory names; it counts before the device that the
    directory lies on. Partitions, dm-crypt and LVM lead to their disk, both paths of a multipath disk to one of
    them; a loop device is a disk by itself. ZFS, network file systems and arrays of several disks have no single one.
    """
    if named:
        device = os.path.realpath(named)
        block = _block(os.path.basename(device), sys)
        return _single(block) if block else device
    block = _block_by_number(drive.device_number, sys)
    if block is None and drive.device.startswith("/dev/"):  # btrfs has a number of its own, which no device has
        block = _block(os.path.basename(os.path.realpath(drive.device)), sys)
    return _single(block) if block else ""


def spinning_disk(device_number: int, sys: Path = _SYS) -> str:
    """Return the path of the whole disk behind a file system if it spins; "" if it does not, or nobody knows."""
    block = _block_by_number(device_number, sys)
    disk = _single(block) if block else ""
    rotational = sys / "class" / "block" / os.path.basename(disk) / "queue" / "rotational"
    return disk if disk and _text(rotational).strip() == "1" else ""


def type_of(names: Sequence[str], device_types: Sequence[str]) -> str:
    """Return what smartctl has to be told with -d about a disk, "" if it finds out by itself.

    `names`: its paths, also those under /dev/disk; `device_types`: lines "PATTERN TYPE", the first that fits counts.
    """
    for line in device_types:
        pattern, kind = line.split(maxsplit=1)
        if any(matches(pattern, name) for name in names):
            return kind
    return ""


def _block(name: str, sys: Path) -> Path | None:
    """Return the directory in /sys of a block device; in names there a `!` stands for a slash: cciss!c0d0."""
    path = sys / "class" / "block" / name.replace("/", "!")
    return path.resolve() if name and path.exists() else None


def _block_by_number(device_number: int, sys: Path) -> Path | None:
    path = sys / "dev" / "block" / f"{os.major(device_number)}:{os.minor(device_number)}"
    return path.resolve() if device_number and path.exists() else None


def _single(block: Path) -> str:
    disks = sorted(_disks(block))
    return f"/dev/{disks[0].replace('!', '/')}" if len(disks) == 1 else ""


def _disks(block: Path) -> set[str]:
    """Return the names of the whole disks that a block device consists of."""
    if (block / "partition").exists():
        block = block.parent
    below = _names(block / "slaves")
    if _text(block / "dm" / "uuid").startswith("mpath-"):
        below = below[:1]  # the others are the same disk, by other cables
    if not below:
        return {block.name}
    return set().union(*(_disks((block / "slaves" / name).resolve()) for name in below))


def _names(directory: Path) -> list[str]:
    try:
        return sorted(os.listdir(directory))
    except OSError:
        return []


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
