"""What a host remembers of an arrival or a move, and of the drive that it was on: as the journey's effects say it."""

from __future__ import annotations

import logging
import time
from dataclasses import replace

from plotfarm.base.state import State, Transfer, TransferOutcome
from plotfarm.drives.quarantine import Quarantine, QuarantineReason
from plotfarm.jobs.arrival_limits import ArrivalLimits
from plotfarm.jobs.drive_looks import DriveLooks
from plotfarm.transfer.effects import (
    NotPublished,
    Placement,
    Publishing,
    QuarantineDrive,
    RecordEffect,
    RecordFailed,
    RecordStored,
    RefusedPlacement,
)
from plotfarm.transfer.hashing import plot_hash
from plotfarm.transfer.messages import Offer, text
from plotfarm.transfer.outcomes import Failure, How
from plotfarm.transfer.storage import Assignment

_LOG = logging.getLogger(__name__)
_MAY_BE_STORED = (Failure.OUTCOME_UNKNOWN, Failure.HANGS, Failure.INTERNAL)  # after it was noted
_REASONS = {
    Failure.IO_ERROR: QuarantineReason.IO_ERROR,
    Failure.HOLES: QuarantineReason.HOLES,
    Failure.SAMPLE_DIFFERED: QuarantineReason.SAMPLE_DIFFERED,
}


class ArrivalRecords:
    """The records of one session."""

    def __init__(self, state: State, plotter: str, limits: ArrivalLimits, looks: DriveLooks) -> None:
        self._state = state
        self._plotter = plotter
        self._limits = limits
        self._looks = looks
        self._quarantine = Quarantine(state.database)
        self._noted: set[tuple[str, str]] = set()  # plot and drive of attempts that noted that they publish

    def record(self, effect: RecordEffect, offer: Offer, assignment: Assignment, seconds: float) -> None:
        """Remember what an effect says of an offer that has this assignment, so long after it was made."""
        identity = identity_of(assignment.placement)
        match effect:
            case Publishing():
                if assignment.lock is not None:
                    assignment.lock.update(publishing=True)
                self._state.note_publishing(offer.name, identity)
                self._noted.add((offer.name, identity))

            case NotPublished():
                self._end_publishing(offer.name, identity)

            case QuarantineDrive():
                drive = self._looks.drives[identity]
                _LOG.error("Drive %s goes into quarantine: %s: %s", drive.name, effect.failure.value, effect.call)
                self._looks.refused.add(identity)
                reason = _REASONS[effect.failure]
                self._quarantine.add(drive, reason, call=effect.call, errno=effect.number, plot=offer.name)

            case RecordStored():
                _LOG.info("Stored: %s (%s)", effect.path, effect.how)
                if effect.how is How.STORED:
                    self._limits.is_granted()
                    self._state.count_received(self._plotter, offer.size)
                ended = replace(self._transfer(offer, seconds), outcome=TransferOutcome(effect.how), target=effect.path)
                if effect.segments:  # none if it only got another name
                    ended = replace(ended, digest=plot_hash(effect.segments), segments=" ".join(effect.segments))
                self._state.record_transfer(ended)
                self._end_publishing(offer.name, identity)

            case RecordFailed():
                _LOG.error("Failed: %s: %s", offer.name, effect.detail)
                # A note of an earlier attempt stays: this one may have failed because the drive is away.
                if (offer.name, identity) in self._noted and effect.failure not in _MAY_BE_STORED:
                    self._end_publishing(offer.name, identity)
                self._noted.discard((offer.name, identity))
                ended = self._transfer(offer, seconds)
                ended = replace(ended, reason=effect.failure.value, detail=text(effect.detail))
                self._state.record_transfer(ended)

    def _end_publishing(self, plot: str, identity: str) -> None:
        """Forget that the plot may be on the drive: how that ended is known."""
        self._state.forget_publishing(plot, identity)
        self._noted.discard((plot, identity))

    def _transfer(self, offer: Offer, seconds: float) -> Transfer:
        """Return what is known of a transfer that has just ended, however it did."""
        return Transfer(
            finished=time.time(),
            plot=offer.name,
            kind=offer.format,
            source=offer.plot_directory,
            target="",
            plotter=self._plotter,
            bytes=offer.size,
            seconds=seconds,
            digest="",
            segments="",
            outcome=TransferOutcome.FAILED,
            k=offer.k or 0,
        )


def identity_of(placement: Placement) -> str:
    """Return the identity of the drive that a plot was placed on."""
    assert not isinstance(placement, RefusedPlacement)
    return placement.identity
