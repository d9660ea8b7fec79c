"""The values that the drives room works on: read once in a run, then only handed on."""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import quote

from plotfarm.base.errors import PlotfarmError
from plotfarm.drives.reasons import Reason, Why
from plotfarm.plots.formats import plots_in
from plotfarm.plots.parts import FoundPart

if TYPE_CHECKING:
    from plotfarm.drives.quarantine import Quarantined

MARKER = ".plot_drive"  # a plain directory is a drive only while this file lies in it
_LONGEST_LOCK_NAME = 200  # file names end at 255 bytes


class DriveUnusable(PlotfarmError):
    """A drive cannot be written to just now."""

    def __init__(self, mountpoint: str, why: Why) -> None:
        self.why = why
        super().__init__(f"{mountpoint}: {why}")


@dataclass(frozen=True)
class Drive:
    """One file system (or declared directory) that is meant for plots."""

    mountpoint: str
    device: str  # /dev/sdb1; for a directory: the device that it lies on
    identity: str  # uuid:..., mount:... or directory:...: what a drive is known by
    device_number: int  # as the kernel numbers the file system (os.makedev); 0 if it is not mounted
    file_system: str
    directory_mode: bool = False
    is_meant_read_only: bool = False  # fstab mounts it so

    @property
    def name(self) -> str:
        """The last part of the mountpoint: what people call the drive."""
        return os.path.basename(self.mountpoint)


NO_FILE = -1  # something has the name that is no regular file, so no plot can get it


@dataclass(frozen=True)
class NoParts:
    """That no parts lay in the root of a drive when it was listed."""

    signature: str  # what the directory looked like (drives.root_parts)
    listed: float  # CLOCK_BOOTTIME


@dataclass(frozen=True)
class Reading:
    """What a drive answered: its room, the parts on it, and those of the asked plots that are there."""

    drive: Drive
    problem: Why | None = None  # None: it answered and is in order
    total_bytes: int = 0
    free_bytes: int = 0  # for an ordinary user
    found: Mapping[str, int] = field(default_factory=dict)  # name -> size in bytes; NO_FILE: no regular file
    parts: tuple[FoundPart, ...] = ()  # of this suite, whoever left them
    no_parts: NoParts | None = field(default=None, compare=False)  # None: it has to be listed again
    was_asked: bool = True  # False: it was left out, so that it was not touched
    mount: str = ""  # its mount identity (drives.mount_identity) when it answered; "": not known
    disk: str = ""  # the device that the marker file of a declared directory names, for SMART
    uuid: str = ""  # of its file system, read from it because udev does not tell; "": udev does, or it is not known
    counts: Mapping[tuple[str, int], int] | None = None  # (kind, k) -> files; None: not asked for or not known
    uncounted: Why | None = None  # why there are no counts although they were asked for
    plots: int = 0  # in all plot files together: a .gplot may hold many; without testing plots, as plot_bytes
    plot_bytes: int = 0  # of all plot files
    counted: float = 0.0  # Unix time of the counts, if they are of an earlier look
    headers_missing: int = 0  # files counted by their names: header unreadable, or not read yet (the next run does)
    has_inodes: bool = True  # False: no other file can be made there, whatever is free

    @property
    def plot_files(self) -> int | None:
        """How many plot files lie on it, without testing plots; None: not asked for or not known."""
        return None if self.counts is None else plots_in(self.counts)


@dataclass(frozen=True)
class Arrival:
    """A plot that is on its way to a drive, as its receiver wrote it into the drive's lock."""

    plot: str  # file name; its bytes are in NAME.<arrival id>.part
    bytes: int
    written_bytes: int
    identity: str  # of the drive
    plotter: str
    since: float  # Unix time
    alive: bool  # False: the receiver is gone, and a writer that it left still holds the lock
    publishing: bool = False  # its rename has begun: it may appear under its name at any moment
    offset: int = 0  # bytes that an interrupted arrival had left
    progress: float = 0.0  # Unix time when a byte arrived last; 0: none yet
    arrival_id: str = ""  # that its part is named by; "": not known
    format: str = ""  # by its offer; "": not known


@dataclass(frozen=True)
class Verdict:
    """Whether a drive can take a plot of the asked size, and why."""

    drive: Drive
    why: Why
    free_bytes: int = 0
    room_bytes: int = 0  # free, less what is still to arrive and what must stay free; may be negative
    room_plots: int = 0
    total_bytes: int = 0
    busy: bool = False  # a plot is arriving there: no second stream to it
    quarantine: Quarantined | None = None  # why no plots go there although it answers; None: it is in none

    @property
    def usable(self) -> bool:
        """Whether it is mounted, answering, not offlined or in quarantine, and with room."""
        return self.why.reason is Reason.HAS_ROOM


def has_uuid(identity: str) -> bool:
    """Tell whether a drive is known by the UUID of its file system, and not only by its place."""
    return identity.startswith("uuid:")


@functools.lru_cache(maxsize=4096)  # a session looks for the locks of hundreds of drives again and again
def lock_name(purpose: str, identity: str) -> str:
    """Return the file name of a drive's lock: the identity with everything unusual escaped."""
    safe = quote(os.fsencode(identity), safe="")
    if len(safe) > _LONGEST_LOCK_NAME:
        import hashlib  # takes 2 ms, and is hardly ever needed

        safe = f"{safe[:100]}-{hashlib.blake2b(os.fsencode(identity), digest_size=16).hexdigest()}"
    return f"{purpose}-{safe}.lock"
