"""What the receiving side asks of its host, and the answers: where a plot goes is not the conversation's business."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from plotfarm.base.errors import TransferFailed
from plotfarm.base.locks import Lock
from plotfarm.transfer.protocol import Offer
from plotfarm.transfer.writer import Place, Recorded


class DriveFailed(TransferFailed):
    """The chosen drive cannot even begin to take the plot, and another one may."""


@dataclass(frozen=True)
class Refused:
    """A plot is not taken: why, and whether a later try may end differently."""

    reason: str
    retry: bool = True


@dataclass(frozen=True)
class Reserved:
    """A place for the plot; `lock` is the reservation, held as long as anything may still write there.

    The lock's content lists under `parts` the plots whose NAME.part may be left there if this process is killed;
    `leftovers` are those that killed arrivals left before.
    """

    place: Place
    drive: str  # its name, for people
    identity: str
    lock: Lock | None  # None in a dry run
    leftovers: tuple[str, ...] = ()


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

    def settle(self, offer: Offer, leave_out: set[str]) -> Reserved | Present | Refused:
        """Decide what happens to an offer; `leave_out` holds identities of drives that just proved unusable."""

    def stored(self, arrived: Arrived) -> None:
        """Record a plot that is stored."""

    def failed(self, offer: Offer, reason: str, seconds: float) -> None:
        """Record an arrival that came to nothing."""
