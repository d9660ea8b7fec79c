"""What the receiving side asks of its host, and the answers: where a plot goes is not the conversation's business."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from plotfarm.base.errors import TransferFailed
from plotfarm.base.locks import Lock
from plotfarm.transfer.protocol import Capacity, Offer
from plotfarm.transfer.writer import Place, Recorded


class DriveFailed(TransferFailed):
    """The chosen drive cannot even begin to take the plot, and another one may."""


@dataclass(frozen=True)
class Refused:
    """A plot is not taken: why, and whether a later try may end differently.

    `busy`: it may be taken as soon as another arrival has ended. `perhaps_here`: it may be here all the same, now or
    soon, so it must not go to another NAS.
    """

    reason: str
    retry: bool = True
    busy: bool = False
    perhaps_here: bool = False


@dataclass(frozen=True)
class Reserved:
    """A place for the plot; `lock` is the reservation, held as long as anything may still write there.

    The lock's content lists under `parts` the plots whose NAME.part may be left there if this process is killed.
    `leftovers` are those of killed arrivals that nobody can go on with, `kept` other plots' that stay. Of this plot
    the segments `known` (hex digests) lie in a NAME.part with the number `inode` already.
    """

    place: Place
    drive: str  # its name, for people
    identity: str
    lock: Lock | None  # None in a dry run
    leftovers: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    known: tuple[str, ...] = ()
    inode: int = 0
    device_number: int = 0  # of the drive, for the kernel's count of its reads


@dataclass(frozen=True)
class Present:
    """A file of the plot's name is already on a drive, `size` bytes long; `recorded` is what is known of it."""

    place: Place
    drive: str
    size: int
    recorded: Recorded | None


@dataclass(frozen=True)
class Arrived:
    """A plot that is stored, for the records; `result` is `stored`, or `have` if it already was."""

    offer: Offer
    path: str
    digest: str
    segments: tuple[str, ...]
    seconds: float
    inode: int
    mtime_ns: int
    result: str


class Storage(Protocol):
    """The host's part in an arrival; the job that starts the receiver plays it."""

    def welcome(self) -> Refused | None:
        """Let the plotter in, or say why it has to stay outside."""

    def room(self, size: int) -> Capacity:
        """Tell how many plots of a size can be taken now."""

    def settle(self, offer: Offer, leave_out: set[str]) -> Reserved | Present | Refused:
        """Decide what happens to an offer; `leave_out` holds identities of drives that just proved unusable."""

    def settled(self, settled: bool) -> None:
        """Hear whether the plotter still waits for its turn (False), or no longer does."""

    def changes(self) -> int:
        """Return a descriptor that is readable when an arrival may have ended since it was last asked for."""

    def known_good(self, offer: Offer, reserved: Reserved, segments: tuple[str, ...], inode: int) -> None:
        """Record that these segments of an arrival would survive anything."""

    def stored(self, arrived: Arrived) -> None:
        """Record a plot that is stored."""

    def failed(self, offer: Offer, reason: str, seconds: float) -> None:
        """Record an arrival that came to nothing."""
