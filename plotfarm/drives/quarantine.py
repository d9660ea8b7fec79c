"""Drives that lost data: no plots go there until they are mounted anew, or somebody says that they are in order.

After a failed fsync the next one succeeds, and the kernel's cache shows what the drive does not have: a drive that
failed looks well to every probe. So that it failed is remembered here, for as long as the kernel's memory of it lasts.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum

from plotfarm.base.boot import boot_id
from plotfarm.base.database import Database
from plotfarm.drives.model import Drive
from plotfarm.drives.mount_identity import is_mounted_anew, mount_identity

_COLUMNS = "identity, drive_name, reason, call, errno, plot, since, mount, boot"


class QuarantineReason(Enum):
    """What showed that a drive loses data. The values are kept in the database."""

    IO_ERROR = "io_error"  # a call failed whose failure means lost bytes
    SAMPLE_DIFFERED = "sample_differed"  # bytes read back from the drive were not those that were written
    HOLES = "holes"  # a part had holes although all of it was written


@dataclass(frozen=True)
class Quarantined:
    """A drive that is in quarantine, and why."""

    identity: str
    drive_name: str
    reason: QuarantineReason
    call: str  # that failed: a value of base.disk_error.Call; "": none did
    errno: int  # of that call; 0: none
    plot: str  # that was arriving; "": not known
    since: float  # Unix time
    mount: str  # the mount identity of that time
    boot: str  # the boot id of that time


class Quarantine:
    """The drives of this host that are in quarantine, in the state database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, drive: Drive, reason: QuarantineReason, *, call: str = "", errno: int = 0, plot: str = "") -> bool:
        """Put a drive into quarantine, durably; False if that cannot be written.

        The caller refuses the drive by itself then: nobody else will know. A drive that is in quarantine already
        stays so for its first reason.
        """
        if drive.identity in self.active([drive]):
            return self._database.is_lasting
        entry = Quarantined(
            drive.identity,
            drive.name,
            reason,
            call,
            errno,
            plot,
            since=time.time(),
            mount=mount_identity(drive),
            boot=boot_id(),
        )
        with self._database.durably():
            is_written = self._database.write(
                f"INSERT OR REPLACE INTO quarantined_drives ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608
                _row(entry),
            )
        return is_written and self._database.is_lasting

    def active(self, drives: Iterable[Drive]) -> Mapping[str, Quarantined]:
        """Return which of the drives are in quarantine now, by the identity that each has now.

        A drive that was mounted anew since is not, and none is after a restart of the host. No drive is touched.
        """
        boot = boot_id()
        entries = [entry for entry in self._entries() if entry.boot == boot]
        if not entries:
            return {}

        found: dict[str, Quarantined] = {}
        for drive in drives:
            mount = mount_identity(drive)
            for entry in entries:
                if _holds(entry, drive, mount):
                    found[drive.identity] = entry
        return found

    def lift(self, identity: str) -> bool:
        """Let plots go to a drive again; False if that cannot be written. `identity`: that of the Quarantined."""
        with self._database.durably():
            return self._database.write("DELETE FROM quarantined_drives WHERE identity = ?", (os.fsencode(identity),))

    def _entries(self) -> list[Quarantined]:
        rows = self._database.rows(f"SELECT {_COLUMNS} FROM quarantined_drives")  # noqa: S608
        return [_entry(*row) for row in rows]


def _holds(entry: Quarantined, drive: Drive, mount: str) -> bool:
    """Tell whether an entry of this boot is about a drive whose mount identity is `mount` now."""
    if drive.directory_mode:
        return entry.identity == drive.identity
    if not drive.device_number:
        return False  # it is not mounted: nothing can be written there, and then it is mounted anew
    if entry.identity == drive.identity:
        return not is_mounted_anew(entry.mount, mount)
    return bool(mount) and entry.mount == mount  # udev forgot its UUID meanwhile, so it is known by its place


def _row(entry: Quarantined) -> tuple[bytes | str | int | float, ...]:
    return (
        os.fsencode(entry.identity),
        os.fsencode(entry.drive_name),
        entry.reason.value,
        entry.call,
        entry.errno,
        entry.plot,
        entry.since,
        entry.mount,
        entry.boot,
    )


def _entry(
    identity: bytes,
    drive_name: bytes,
    reason: str,
    call: str,
    errno: int,
    plot: str,
    since: float,
    mount: str,
    boot: str,
) -> Quarantined:
    return Quarantined(
        os.fsdecode(identity),
        os.fsdecode(drive_name),
        QuarantineReason(reason),
        call,
        errno,
        plot,
        since,
        mount,
        boot,
    )
