"""What the receiving side asks of its host, and the answers: where a plot goes is not the session's business."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from plotfarm.base.locks import Lock
from plotfarm.transfer.disk import Site
from plotfarm.transfer.effects import Placement, RecordEffect, RefusedPlacement
from plotfarm.transfer.messages import Capacity, Offer


@dataclass(frozen=True)
class Assignment:
    """Where a plot goes, or lies already, and what is needed to work there.

    `lock` is the reservation of the drive, held as long as anything may still write there: None where nothing will.
    """

    placement: Placement
    site: Site | None = None
    lock: Lock | None = None
    device_number: int = 0  # of the drive, for the kernel's count of its reads


class Storage(Protocol):
    """The host's part in an arrival; the job that starts the receiver plays it."""

    def welcome(self) -> RefusedPlacement | None:
        """Let the plotter in, or say why it has to stay outside."""

    def capacity(self, size: int) -> Capacity:
        """Tell how many plots of a size can be taken now."""

    def place(self, offer: Offer, excluded: frozenset[str]) -> Assignment:
        """Decide what happens to an offer; `excluded` holds identities of drives that just proved unusable."""

    def is_waiting(self, waits: bool) -> None:
        """Note that the plotter waits for its turn, or no longer does."""

    def changes(self) -> int:
        """Return a descriptor that is readable when an arrival may have ended since it was last asked for."""

    def is_wanted_by_others(self) -> bool:
        """Tell whether another plot waits for a drive."""

    def must_yield(self, assignment: Assignment) -> bool:
        """Tell whether this arrival has to make room for a plotter that has waited for its share."""

    def record(self, effect: RecordEffect, offer: Offer, assignment: Assignment, seconds: float) -> None:
        """Remember, or do, what an effect says of an offer that has this assignment, so long after it was made."""
