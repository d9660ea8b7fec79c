"""From the last byte to the plot's own name: what an arrival and a move on one host have in common.

The order that protects a plot: fsync, no holes, read back, still mounted, a link that never replaces, fsync of the
directory. Each result is looked at, and what an error means comes from the call.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from plotfarm.base.disk_error import DiskError
from plotfarm.transfer.effects import (
    CheckSamples,
    FirstHole,
    IsMounted,
    LinkPart,
    Naming,
    Publishing,
    QuarantineDrive,
    ReadPart,
    RemovePart,
    RenamePart,
    Steps,
    Stopped,
    SyncDirectory,
    SyncPart,
    TrimPart,
    UnlinkPart,
    do,
)
from plotfarm.transfer.outcomes import Failed, Failure, Meaning, meaning_of


class Verify(StrEnum):
    """What is read back from the drive before a plot is published."""

    WIRE = "wire"  # nothing
    SAMPLE = "sample"  # about 2 % of the bytes, at places chosen before they arrive
    READBACK = "readback"  # all


@dataclass(frozen=True)
class Arrival:
    """A plot in its part: the name and size that it shall have, and the hashes that both ends agree on."""

    plot: str
    size: int  # bytes
    segments: tuple[str, ...]
    drive: str


def publish(arrival: Arrival, verify: Verify) -> Steps[Failed | None]:
    """Bring the part to the drive and give it the plot's name; None when that is done, durably.

    Whatever fails before the name is given leaves the part to the caller (see give_up).
    """
    size = yield from do(TrimPart())
    if size != arrival.size:
        detail = f"the part has {size} bytes instead of {arrival.size}: somebody else has cut or extended it"
        return Failed(Failure.PART_CHANGED, detail, arrival.drive)
    yield from do(SyncPart())

    hole = yield from do(FirstHole())
    if hole != arrival.size:
        detail = f"the part should have {arrival.size} bytes, and has none at {hole}"
        return Failed(Failure.HOLES, detail, arrival.drive)
    if verify is Verify.SAMPLE and not (yield from do(CheckSamples())):
        return Failed(Failure.SAMPLE_DIFFERED, "a sample differs from what was written", arrival.drive)
    if verify is Verify.READBACK and (yield from do(ReadPart(arrival.size))) != arrival.segments:
        return Failed(Failure.SAMPLE_DIFFERED, "what was read back differs from what was written", arrival.drive)
    if not (yield from do(IsMounted())):
        return Failed(Failure.UNMOUNTED, "the drive was unmounted meanwhile", arrival.drive)

    # From here on nothing may be written to the part or cut from it: it may be the plot already.
    yield from do(Publishing())
    try:
        named = yield from _name(arrival)
    except (DiskError, Stopped) as error:
        return outcome_unknown(error, arrival.drive)
    if named is not Naming.NAMED:
        detail = f"something else is called {arrival.plot} now, or the part was moved: nothing was replaced"
        return Failed(Failure.NAME_TAKEN, detail, arrival.drive)
    return None


def _name(arrival: Arrival) -> Steps[Naming]:
    """Give the open part the plot's name, take its own away, and make both durable."""
    named = yield from do(LinkPart(arrival.plot))
    if named is Naming.UNSUPPORTED:
        named = yield from do(RenamePart(arrival.plot))
    elif named is Naming.NAMED:
        yield from do(UnlinkPart())
    if named is Naming.NAMED:
        yield from do(SyncDirectory())
    return named


def outcome_unknown(error: DiskError | Stopped, drive: str) -> Failed:
    """Return the failure that an error means once the plot may have its name, whichever call it came from.

    Only a part that was removed or moved before is a certain failure.
    """
    if isinstance(error, Stopped) and error.failure is Failure.PART_CHANGED:
        return Failed(error.failure, error.detail, drive)
    return Failed(Failure.OUTCOME_UNKNOWN, str(error), drive)


def failed_by(error: DiskError | Stopped, drive: str) -> Failed:
    """Return the failure that an error of a step means."""
    if isinstance(error, Stopped):
        return Failed(error.failure, error.detail, drive)
    return Failed(_FAILURE_OF[meaning_of(error)], str(error), drive)


_FAILURE_OF = {
    Meaning.DRIVE_FULL: Failure.DRIVE_FULL,
    Meaning.DATA_LOST: Failure.IO_ERROR,
    Meaning.OUTCOME_UNKNOWN: Failure.OUTCOME_UNKNOWN,
    Meaning.REFUSED: Failure.CANNOT_WRITE,
}
# What was written is not what is there: nothing of the part can be used.
_PART_IS_SPOILT = (Failure.IO_ERROR, Failure.HOLES, Failure.SAMPLE_DIFFERED, Failure.WRONG_HEADER)
_QUARANTINED = (Failure.IO_ERROR, Failure.HOLES, Failure.SAMPLE_DIFFERED)
# Nothing more is done to the part: it may be the plot by now, or it is not ours, or every call would hang.
_PART_IS_LEFT_ALONE = (Failure.OUTCOME_UNKNOWN, Failure.PART_CHANGED, Failure.HANGS, Failure.UNMOUNTED)
SHORTEST_RESUME_SEGMENTS = 4  # below that it is not worth reading the drive and the source


def give_up(failed: Failed, error: DiskError | None, segment_bytes: int, *, keep: bool = True) -> Steps[Failed]:
    """Deal with the part of an arrival that failed, and with its drive; returns what the other end is to know.

    A part whose bytes are good stays for the next try, with the room that they take and no more.
    """
    if failed.failure in _QUARANTINED:
        call = error.call.value if error else failed.failure.value
        yield from do(QuarantineDrive(failed.failure, call, error.number if error else 0))
    if failed.failure in _PART_IS_LEFT_ALONE:
        return failed

    try:
        if keep and failed.failure not in _PART_IS_SPOILT:
            size = yield from do(TrimPart())
            if size >= SHORTEST_RESUME_SEGMENTS * segment_bytes:
                return Failed(failed.failure, failed.detail, failed.drive, is_resumable=True)
        yield from do(RemovePart())
    except (DiskError, Stopped):
        pass  # it goes when it is old: what failed first is what matters
    return failed
