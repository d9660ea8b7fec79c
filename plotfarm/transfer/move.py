"""A plot's journey from a directory of this host to one of its drives, as a generator of effects.

By a second name where both are one file system, by a hashed copy otherwise. The source goes last, and only if it is
another file than the one that is stored: a pool over the drives shows a stored plot as if it were a second one.
"""

from __future__ import annotations

from dataclasses import dataclass

from plotfarm.base.disk_error import DiskError
from plotfarm.plots.identity import FileIdentity
from plotfarm.plots.parts import PartFacts
from plotfarm.transfer.effects import (
    AllocatePart,
    CompareSource,
    Copy,
    CreatePart,
    Fit,
    HashSource,
    LinkSource,
    LookAtSource,
    LookAtStored,
    Naming,
    NotPublished,
    OpenDrive,
    OpenStored,
    Publishing,
    QuarantineDrive,
    ReadStored,
    RecordFailed,
    RecordStored,
    RemoveOtherParts,
    ReservedPlacement,
    SourceError,
    SourceLook,
    SourcePlace,
    Steps,
    Stopped,
    StoredLook,
    StoredPlacement,
    SyncDirectory,
    SyncSourceDirectory,
    SyncStored,
    UnlinkSource,
    do,
)
from plotfarm.transfer.outcomes import Delivered, Failed, Failure, How, Meaning, Removal, meaning_of
from plotfarm.transfer.publish import Arrival, Verify, failed_by, give_up, outcome_unknown, publish
from plotfarm.transfer.removal import Hashed, Removed, remove_source


@dataclass(frozen=True)
class Load:
    """One plot to move: its name, which file it is, what its header says, and whose part it becomes."""

    plot: str
    identity: FileIdentity
    plot_id: str
    mover: str  # this host
    keep_source: bool
    verify: Verify
    segment_bytes: int


def move(load: Load, place: ReservedPlacement | StoredPlacement) -> Steps[Delivered | Failed]:
    """Move a plot to its place, or remove it where that has it already.

    An error of the source is a failure like any other; a drive that cannot even begin gives a failure that
    `is_of_drive`.
    """
    try:
        look = yield from do(LookAtSource())
        if not look.is_at_its_path or look.identity != load.identity:
            return Failed(Failure.SOURCE, "the plot changed before it was moved")
        if isinstance(place, StoredPlacement):
            outcome = yield from _settle_stored(load, place)
        else:
            outcome = yield from _bring(load, place)
    except SourceError as error:
        outcome = Failed(Failure.SOURCE, error.detail)
    except (DiskError, Stopped) as error:
        outcome = failed_by(error, place.drive)
    if isinstance(outcome, Failed):
        yield from do(RecordFailed(outcome.failure, outcome.detail))
    return outcome


# ---- A plot that moves ------------------------------------------------------------------------------


def _bring(load: Load, place: ReservedPlacement) -> Steps[Delivered | Failed]:
    yield from do(OpenDrive())
    if (yield from do(CompareSource())) is SourcePlace.IN_DIRECTORY:
        return Failed(Failure.SAME_PLACE, f"it lies on {place.drive} already", place.drive)

    linked = yield from _link(load, place)
    if isinstance(linked, Delivered | Failed):
        return linked
    if linked is Naming.TAKEN:
        return Failed(Failure.NAME_TAKEN, f"something else is called {load.plot} there", place.drive)

    segments = yield from _copy(load, place)
    if isinstance(segments, Failed):
        return segments
    look = yield from _look(load)
    yield from do(RecordStored(place.path, segments, How.STORED))
    removed = yield from _remove(load, segments, look)
    yield from do(RemoveOtherParts(load.plot))
    return Delivered(place.path, segments, How.STORED, removed.removal, removed.detail)


def _link(load: Load, place: ReservedPlacement) -> Steps[Delivered | Failed | Naming]:
    """Give the source the plot's name on the drive and finish the move; TAKEN or UNSUPPORTED if that cannot be."""
    yield from do(Publishing())  # the drive may hang in the link, and the name appear when nobody waits for it any more
    try:
        named = yield from do(LinkSource(load.plot))
        if named is not Naming.NAMED:
            yield from do(NotPublished())
            return named
        return (yield from _finish_link(load, place, How.STORED))
    except DiskError as error:
        if meaning_of(error) is Meaning.DATA_LOST:
            yield from do(QuarantineDrive(Failure.IO_ERROR, error.call.value, error.number))
        return outcome_unknown(error, place.drive)
    except Stopped as error:
        return outcome_unknown(error, place.drive)


def _copy(load: Load, place: ReservedPlacement) -> Steps[tuple[str, ...] | Failed]:
    """Copy the source into a part and publish that; the hashes of its segments."""
    size = load.identity.size
    disk_error: DiskError | None = None
    try:
        yield from do(CreatePart(load.plot, place.arrival, PartFacts(load.mover, size, load.plot_id)))
        yield from do(AllocatePart(size))
        segments = yield from do(Copy(size))
        failed = yield from publish(Arrival(load.plot, size, segments, place.drive), load.verify)
        if failed is None:
            return segments
    except SourceError as error:
        failed = Failed(Failure.SOURCE, error.detail)
    except Stopped as error:
        failed = failed_by(error, place.drive)
    except DiskError as error:
        disk_error = error
        failed = failed_by(error, place.drive)
    return (yield from give_up(failed, disk_error, load.segment_bytes, keep=False))


def _finish_link(load: Load, place: ReservedPlacement | StoredPlacement, how: How) -> Steps[Delivered | Failed]:
    """Make the second name durable, then remove the first: two names of one file, in two directories."""
    if (yield from do(OpenStored(load.plot, load.identity.size))) is not Fit.SAME_SIZE:
        return Failed(Failure.NAME_TAKEN, f"{load.plot} was replaced there", place.drive)
    if (yield from do(CompareSource())) is not SourcePlace.SAME_FILE:
        return Failed(Failure.NAME_TAKEN, f"{load.plot} was replaced there", place.drive)
    yield from do(SyncStored())
    yield from do(SyncDirectory())

    yield from do(RecordStored(place.path, (), how))
    removed = Removed(Removal.KEPT)
    if not load.keep_source:
        removed = yield from _remove_second_name(load)
    return Delivered(place.path, (), how, removed.removal, removed.detail)


def _remove_second_name(load: Load) -> Steps[Removed]:
    look: SourceLook = yield from do(LookAtSource())
    if (yield from _look(load)) is None or look.links < 2:
        return Removed(Removal.UNKNOWN, "the stored plot is not under its name any more")
    if not look.is_at_its_path or not (yield from do(UnlinkSource(look.identity))):
        return Removed(Removal.GONE, "another file, or none, has its name now")
    yield from do(SyncSourceDirectory())
    after = yield from do(LookAtSource())
    if after.links >= look.links:
        return Removed(Removal.STILL_LINKED, f"it had {look.links} names before, and has {after.links} after")
    return Removed(Removal.REMOVED)


def _look(load: Load) -> Steps[StoredLook | None]:
    try:
        return (yield from do(LookAtStored(load.plot)))
    except (DiskError, Stopped):
        return None


def _remove(load: Load, segments: tuple[str, ...], expected: StoredLook | None) -> Steps[Removed]:
    """Remove the source if the stored plot is as `expected`: as it was when it was published, or before it was read."""
    if load.keep_source:
        return Removed(Removal.KEPT)
    is_first = True

    def look_again() -> Steps[StoredLook | None]:
        nonlocal is_first
        look = yield from _look(load)
        if is_first and look != expected:
            return None
        is_first = False
        return look

    return (yield from remove_source(Hashed(load.identity, segments), look_again))


# ---- A plot that is there ---------------------------------------------------------------------------


def _settle_stored(load: Load, place: StoredPlacement) -> Steps[Delivered | Failed]:
    """Compare a plot with the one of its name on a drive: a run may have died before it removed the source."""
    size = load.identity.size
    try:
        yield from do(OpenDrive())
        fit = yield from do(OpenStored(load.plot, size))
        source_place = yield from do(CompareSource())
        if source_place is SourcePlace.IN_DIRECTORY:
            return Failed(Failure.SAME_PLACE, f"it lies on {place.drive} already", place.drive)
        if source_place is SourcePlace.SAME_FILE:
            return (yield from _finish_link(load, place, How.HAVE))
        if fit is not Fit.SAME_SIZE:
            return Failed(Failure.NAME_TAKEN, f"{place.path} is another file: both stay", place.drive)
        look = yield from _look(load)  # before it is read: what is written meanwhile is seen by the next look
        yield from do(SyncStored())
        yield from do(SyncDirectory())
        stored = yield from do(ReadStored(size))
    except DiskError as error:
        yield from do(QuarantineDrive(Failure.IO_ERROR, error.call.value, error.number))
        return Failed(Failure.OUTCOME_UNKNOWN, f"{place.path} cannot be read: {error}", place.drive)

    own = yield from do(HashSource())
    if own != stored:
        return Failed(Failure.NAME_TAKEN, f"{place.path} is another plot of this name: both stay", place.drive)
    yield from do(RecordStored(place.path, own, How.HAVE))
    removed = yield from _remove(load, own, look)
    yield from do(RemoveOtherParts(load.plot))
    return Delivered(place.path, own, How.HAVE, removed.removal, removed.detail)
