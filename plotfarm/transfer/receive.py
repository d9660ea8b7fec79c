"""The NAS's side of a plot's journey, from its offer to `done`, as a generator of effects.

It orders the steps and knows what each error means; it touches neither a drive nor a connection itself.
"""

from __future__ import annotations

from dataclasses import dataclass

from plotfarm.base.disk_error import DiskError
from plotfarm.base.errors import TransferFailed
from plotfarm.plots.parts import PartFacts
from plotfarm.transfer.effects import (
    AllocatePart,
    CommitPart,
    Connect,
    CreatePart,
    Fit,
    LookAtStored,
    OpenDrive,
    OpenPart,
    OpenStored,
    Place,
    Pour,
    QuarantineDrive,
    ReadPart,
    ReadStored,
    Receive,
    RecordFailed,
    RecordStored,
    RefusedPlacement,
    Release,
    RemoveOtherParts,
    ReservedPlacement,
    Send,
    Steps,
    Stopped,
    StoredLook,
    StoredPlacement,
    SyncDirectory,
    SyncPart,
    SyncStored,
    TruncatePart,
    do,
)
from plotfarm.transfer.messages import (
    Arrived,
    Commit,
    Continue,
    Done,
    Failing,
    Have,
    Offer,
    Partial,
    Placed,
    Recheck,
    Rechecked,
    Refused,
    Reject,
    Stored,
    text,
)
from plotfarm.transfer.outcomes import Failed, Failure, How, Phase, Refusal
from plotfarm.transfer.publish import Arrival, Verify, failed_by, give_up, publish

_MOST_RECHECKS = 8


@dataclass(frozen=True)
class Terms:
    """What a receiver works by: how much is read back, bytes of a segment, and who the plotter is."""

    verify: Verify
    segment_bytes: int
    plotter: str


def receive(offer: Offer, terms: Terms) -> Steps[None]:
    """Answer one offer, and take the plot in if it is wanted, on the first drive that turns out to work."""
    excluded: frozenset[str] = frozenset()
    while True:
        place = yield from do(Place(offer, excluded))

        if isinstance(place, RefusedPlacement):
            yield from do(Send(Refused(place.refusal, text(place.detail))))
            return
        if offer.is_dry_run:
            yield from do(Send(Placed(place.path, place.drive, isinstance(place, StoredPlacement))))
            yield from do(Release())
            return

        try:
            if isinstance(place, StoredPlacement):
                is_answered = yield from _offer_stored(offer, place)
            else:
                is_answered = yield from _take(offer, place, terms)
        except TransferFailed:  # the plotter is gone, or says what it may not
            yield from do(Release())
            raise
        yield from do(Release())
        if is_answered:
            return
        excluded |= {place.identity}


# ---- A plot that comes ------------------------------------------------------------------------------


def _take(offer: Offer, place: ReservedPlacement, terms: Terms) -> Steps[bool]:
    """Take the plot in on a reserved drive; False if that drive cannot even begin, so that another one may."""
    try:
        resumed = yield from _prepare_part(offer, place, terms)
    except (DiskError, Stopped) as error:
        failed = failed_by(error, place.drive)
        yield from give_up(failed, _disk_error(error), terms.segment_bytes)
        yield from do(RecordFailed(failed.failure, failed.detail))
        return False

    arrived = yield from _bring(offer, place, resumed, terms)
    if isinstance(arrived, Failed):
        yield from _report(arrived)
        return True

    failure = yield from _publish(arrived, terms)
    if failure is not None:
        yield from _report(failure)
        return True

    look = yield from _look(offer)
    yield from do(RecordStored(place.path, arrived.segments, How.STORED))
    yield from do(Send(Stored(place.arrival, place.path, arrived.segments)))
    yield from _answer_rechecks(offer, look)
    return True


def _prepare_part(offer: Offer, place: ReservedPlacement, terms: Terms) -> Steps[tuple[str, ...]]:
    """Open the plot's own part or make one, with room for all of it; returns the hashes of what is there and agreed."""
    facts = PartFacts(terms.plotter, offer.size, offer.id)
    yield from do(OpenDrive())

    resumed: tuple[str, ...] = ()
    if place.part:
        if not (yield from do(OpenPart(place.part, facts))):
            raise Stopped(Failure.PART_CHANGED, f"{place.part} was removed, taken or linked by somebody else")
        yield from do(SyncPart())
        there = yield from do(ReadPart())
        yield from do(Send(Partial(there)))
        answer = yield from do(Receive((Continue,), Phase.READING_SOURCE))
        assert isinstance(answer, Continue)
        resumed = there[: answer.segments]
        yield from do(TruncatePart(len(resumed)))
    else:
        yield from do(CreatePart(offer.name, place.arrival, facts))

    yield from do(AllocatePart(offer.size))
    return resumed


def _bring(offer: Offer, place: ReservedPlacement, resumed: tuple[str, ...], terms: Terms) -> Steps[Arrival | Failed]:
    """Bring the bytes into the part, until both ends agree on their hashes."""
    try:
        attempt = yield from do(Connect(place.arrival, place.drive, len(resumed)))
        segments = yield from do(Pour(offer.size, resumed, attempt))
        yield from do(Send(Arrived(offer.size, segments)))
        answer = yield from do(Receive((Commit, Reject), Phase.COMPARING))

        if isinstance(answer, Commit):
            yield from do(CommitPart())
            return Arrival(offer.name, offer.size, segments, place.drive)
        assert isinstance(answer, Reject)
        # The hashes are of the bytes as they came: whatever differs, the drive is not to blame.
        failed = Failed(Failure.REJECTED, f"the hashes differ from segment {answer.segment} on", place.drive)
        return (yield from give_up(failed, None, terms.segment_bytes))

    except (DiskError, Stopped) as error:
        failed = failed_by(error, place.drive)
        return (yield from give_up(failed, _disk_error(error), terms.segment_bytes))
    except TransferFailed as error:
        failed = Failed(Failure.INTERRUPTED, str(error), place.drive)
        yield from give_up(failed, None, terms.segment_bytes)
        yield from do(RecordFailed(failed.failure, failed.detail))
        raise


def _publish(arrival: Arrival, terms: Terms) -> Steps[Failed | None]:
    """Publish the plot; the failure, if it could not be, with its part dealt with."""
    error: DiskError | Stopped | None = None
    try:
        failed = yield from publish(arrival, terms.verify)
    except (DiskError, Stopped) as caught:
        error = caught
        failed = failed_by(caught, arrival.drive)
    if failed is None:
        return None
    return (yield from give_up(failed, _disk_error(error), terms.segment_bytes))


def _report(failed: Failed) -> Steps[None]:
    yield from do(RecordFailed(failed.failure, failed.detail))
    yield from do(Send(Failing(failed.failure, text(failed.detail), failed.is_resumable)))


def _disk_error(error: Exception | None) -> DiskError | None:
    return error if isinstance(error, DiskError) else None


# ---- A plot that is there ---------------------------------------------------------------------------


def _offer_stored(offer: Offer, place: StoredPlacement) -> Steps[bool]:
    """Say what is stored under the plot's name, as read from the drive just now; False if it is gone again."""
    try:
        yield from do(OpenDrive())
        fit = yield from do(OpenStored(offer.name, offer.size))
        if fit is Fit.GONE:
            return False
        if fit is Fit.OTHER:
            yield from do(Send(Refused(Refusal.OTHER_FILE, text(f"{place.path} is another file"))))
            return True

        look = yield from _look(offer)  # before it is read: what is written meanwhile is seen by the first recheck
        # Its writer may have died between the link and the fsync, so all of that is done again.
        yield from do(SyncStored())
        yield from do(SyncDirectory())
        segments = yield from do(ReadStored(offer.size))
    except (DiskError, Stopped) as error:
        if isinstance(error, DiskError):  # first: the plotter may be gone
            yield from do(QuarantineDrive(Failure.IO_ERROR, error.call.value, error.number))
        yield from _report(_failed_reading(error, place))
        return True

    yield from do(Send(Have(place.path, segments)))
    if (yield from _answer_rechecks(offer, look)):
        yield from do(RecordStored(place.path, segments, How.HAVE))
    return True


def _failed_reading(error: DiskError | Stopped, place: StoredPlacement) -> Failed:
    """Return what it means that a stored plot cannot be read: it may be whole all the same, once the drive is."""
    failed = failed_by(error, place.drive)
    return Failed(Failure.OUTCOME_UNKNOWN, f"{place.path} cannot be read: {failed.detail}", place.drive)


def _look(offer: Offer) -> Steps[StoredLook | None]:
    try:
        return (yield from do(LookAtStored(offer.name)))
    except (DiskError, Stopped):
        return None


def _answer_rechecks(offer: Offer, expected: StoredLook | None) -> Steps[bool]:
    """Look at the stored plot anew as often as the plotter asks; True when it is content with what it has seen.

    The first time it must be as `expected`: as it was when it was published, or before it was read.
    """
    is_as_stored = True
    for _ in range(_MOST_RECHECKS):
        message = yield from do(Receive((Recheck, Done, Reject), Phase.RECHECKING))
        if isinstance(message, Reject):
            return False
        if isinstance(message, Done):
            if is_as_stored:
                yield from do(RemoveOtherParts(offer.name))
            return is_as_stored
        assert isinstance(message, Recheck)

        look = yield from _look(offer)
        is_as_stored = is_as_stored and look is not None and (message.number != 1 or look == expected)
        if look is not None and is_as_stored:
            yield from do(Send(Rechecked(message.number, look.size, look.mtime_ns)))
            continue
        detail = f"{offer.name} was changed after it was stored, or cannot be looked at"
        yield from do(Send(Failing(Failure.OUTCOME_UNKNOWN, text(detail), False)))
    return False
