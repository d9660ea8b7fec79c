"""The plotter's side of a plot's journey, from the offer to the removal of the source, as a generator of effects.

The NAS may say what it likes: this side compares, and this side decides whether its source goes.
"""

from __future__ import annotations

import contextlib
import itertools
from dataclasses import dataclass

from plotfarm.base.errors import ProtocolError, TransferFailed
from plotfarm.plots.identity import FileIdentity
from plotfarm.transfer.effects import (
    HashSource,
    LookAtSource,
    PourSource,
    Receive,
    Send,
    SentAll,
    Steps,
    StoredLook,
    do,
)
from plotfarm.transfer.messages import (
    Arrived,
    Commit,
    Continue,
    Done,
    Failing,
    Have,
    Lost,
    Offer,
    Partial,
    Placed,
    Ready,
    Recheck,
    Rechecked,
    Refused,
    Reject,
    Sent,
    Stored,
    text,
)
from plotfarm.transfer.outcomes import (
    Delivered,
    Failed,
    Failure,
    How,
    NotTaken,
    Outcome,
    Phase,
    Refusal,
    Removal,
)
from plotfarm.transfer.removal import Hashed, LookAgain, Removed, remove_source

_MOST_ATTEMPTS = 200  # data connections for one offer: each stranger at a netcat's port costs one
# A small plot is all in the buffers of a connection before a stranger is found at its end; a large one never is.
_MOST_SENT_BYTES = 2**30
_MOST_PARTIALS = 32  # drives with a part of the plot: for each of them the source is read


@dataclass(frozen=True)
class Wanted:
    """What the run wants: which file it looked at, and whether the source stays."""

    identity: FileIdentity
    keep_source: bool
    segment_bytes: int


def place(offer: Offer) -> Steps[Placed | NotTaken]:
    """Ask where a plot would go, in a dry run."""
    yield from do(Send(offer))
    answer = yield from do(Receive((Placed, Refused), Phase.PLACING))
    if isinstance(answer, Refused):
        return NotTaken(answer.refusal, answer.detail)
    assert isinstance(answer, Placed)
    return answer


def deliver(offer: Offer, wanted: Wanted) -> Steps[Outcome]:
    """Bring an open plot to the NAS, and remove its source when it is stored there, whole and equal.

    SourceError if the source cannot be read; OtherEndGone or ProtocolError if the session cannot go on.
    """
    look = yield from do(LookAtSource())
    if not look.is_at_its_path or look.identity != wanted.identity:
        return Failed(Failure.SOURCE, "the plot changed before it was sent")

    yield from do(Send(offer))
    answer = yield from do(Receive((Ready, Partial, Have, Refused, Failing), Phase.PLACING))
    resumed: tuple[str, ...] = ()
    for _ in range(_MOST_PARTIALS):
        if not isinstance(answer, Partial):
            break
        resumed = yield from _agree(answer, offer, wanted)
        yield from do(Send(Continue(len(resumed))))
        answer = yield from do(Receive((Ready, Partial, Have, Refused, Failing), Phase.CONNECTING))

    match answer:
        case Refused():
            return NotTaken(answer.refusal, answer.detail)
        case Failing():
            return _failed(answer)
        case Have():
            return (yield from _compare_with_stored(answer, offer, wanted))
        case Ready():
            return (yield from _send(answer, offer, resumed, wanted))
    raise ProtocolError("the NAS answered an offer with nothing that answers it")


# ---- A plot that goes -------------------------------------------------------------------------------


def _agree(partial: Partial, offer: Offer, wanted: Wanted) -> Steps[tuple[str, ...]]:
    """Return the hashes of the first segments that are equal here and in the NAS's part, by reading the source."""
    count = min(len(partial.segments), offer.size // wanted.segment_bytes)
    own = yield from do(HashSource(count))
    equal = 0
    while equal < count and own[equal] == partial.segments[equal]:
        equal += 1
    return own[:equal]


def _send(ready: Ready, offer: Offer, agreed: tuple[str, ...], wanted: Wanted) -> Steps[Outcome]:
    """Send the bytes, compare, commit, and remove the source."""
    sent = yield from _pour(ready, offer, agreed)
    ready, segments, arrived = sent.ready, sent.segments, sent.answer
    if isinstance(arrived, Failing):
        return _failed(arrived, ready.drive)
    difference = _first_difference(segments, arrived.segments)
    if arrived.size != offer.size or difference is not None:
        yield from do(Send(Reject(difference or 0)))
        yield from do(Receive((Failing,), Phase.COMPARING))
        detail = f"other bytes arrived than were sent, from segment {difference or 0} on"
        return Failed(Failure.REJECTED, detail, ready.drive, is_resumable=True)

    yield from do(Send(Commit()))
    try:
        stored = yield from do(Receive((Stored, Failing), Phase.PUBLISHING))
    except TransferFailed as error:
        return Failed(Failure.OUTCOME_UNKNOWN, str(error), ready.drive)
    if isinstance(stored, Failing):
        return _failed(stored, ready.drive)
    assert isinstance(stored, Stored)
    if (stored.arrival, stored.segments) != (ready.arrival, segments):
        raise ProtocolError("the NAS stored another plot than was sent")

    removed = yield from _finish(Hashed(wanted.identity, segments), wanted)
    return Delivered(stored.path, segments, How.STORED, removed.removal, removed.detail)


@dataclass(frozen=True)
class _Poured:
    """How the sending of the bytes ended: the last `ready`, the hashes of the source, and the NAS's answer."""

    ready: Ready
    segments: tuple[str, ...]
    answer: Arrived | Failing


def _pour(ready: Ready, offer: Offer, agreed: tuple[str, ...]) -> Steps[_Poured]:
    """Send the bytes over as many data connections as it takes: a stranger's connection to a netcat costs one."""
    sent_bytes = 0
    for _ in range(_MOST_ATTEMPTS):
        if ready.segments > len(agreed):
            raise ProtocolError("the NAS wants to go on behind what was agreed on")
        if sent_bytes > _MOST_SENT_BYTES:
            raise ProtocolError("the NAS wants all of the plot once more")
        result = yield from do(PourSource(ready, offer.size, agreed[: ready.segments]))

        segments: tuple[str, ...] = ()
        if isinstance(result, SentAll):
            segments = result.segments
            sent_bytes += offer.size
            yield from do(Send(Sent(ready.attempt, offer.size)))
            answer = yield from do(Receive((Arrived, Failing, Ready), Phase.COMPARING))
        elif result.heard is not None:
            answer = result.heard
        else:
            yield from do(Send(Lost(ready.attempt, text(result.detail))))
            answer = yield from do(Receive((Ready, Failing), Phase.CONNECTING))

        if isinstance(answer, Failing) or (isinstance(answer, Arrived) and segments):
            return _Poured(ready, segments, answer)
        if not isinstance(answer, Ready):
            raise ProtocolError("the NAS says that the plot has arrived before it was sent")
        ready = answer
    raise ProtocolError(f"no data connection was accepted in {_MOST_ATTEMPTS} attempts")


def _first_difference(own: tuple[str, ...], theirs: tuple[str, ...]) -> int | None:
    """Return the first segment whose hashes differ, None if there is none."""
    for index, (mine, other) in enumerate(zip(own, theirs, strict=False)):
        if mine != other:
            return index
    return None if len(own) == len(theirs) else min(len(own), len(theirs))


# ---- A plot that is there ---------------------------------------------------------------------------


def _compare_with_stored(have: Have, offer: Offer, wanted: Wanted) -> Steps[Outcome]:
    """Compare all of the source with the file of its name that the NAS has."""
    own = yield from do(HashSource())
    if own != have.segments:
        yield from do(Send(Reject(_first_difference(own, have.segments) or 0)))
        detail = f"{have.path} is another plot of this name: compare the two, and rename or remove one"
        return NotTaken(Refusal.OTHER_FILE, detail)
    removed = yield from _finish(Hashed(wanted.identity, own), wanted)
    return Delivered(have.path, own, How.HAVE, removed.removal, removed.detail)


def _finish(hashed: Hashed, wanted: Wanted) -> Steps[Removed]:
    """Remove the source of a plot that is stored, unless it shall stay, and let the NAS go."""
    if wanted.keep_source:
        removed = Removed(Removal.KEPT)
    else:
        removed = yield from remove_source(hashed, _rechecking())
    with contextlib.suppress(TransferFailed):  # the plot is stored, and what became of its source is known
        yield from do(Send(Done()))
    return removed


def _rechecking() -> LookAgain:
    """Return what has the NAS look at the stored plot anew, and takes no older answer for the one it wants."""
    numbers = itertools.count(1)

    def recheck() -> Steps[StoredLook | None]:
        number = next(numbers)
        try:
            yield from do(Send(Recheck(number)))
            answer = yield from do(Receive((Rechecked, Failing), Phase.RECHECKING))
        except TransferFailed:
            return None
        if not isinstance(answer, Rechecked) or answer.number != number:
            return None
        return StoredLook(answer.size, answer.mtime_ns)

    return recheck


def _failed(failing: Failing, drive: str = "") -> Failed:
    return Failed(failing.failure, failing.detail, drive, failing.is_resumable)
