"""The steps of a plot's journey as values: each is one system call that matters, or one message.

The journeys (receive.py, send.py, local_move.py) are generators that yield effects and get back what came of them: a
result, or the error as an exception. Dropping the generator is a kill. What carries the effects out knows no order:
disk.py and source.py on real files, the drivers on real sessions, tests/simulation/ on a model.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from enum import Enum
from typing import Any, Generic, TypeVar

from plotfarm.base.checkpoints import reached
from plotfarm.base.disk_error import Call, DiskError
from plotfarm.base.errors import TransferFailed
from plotfarm.plots.identity import FileIdentity
from plotfarm.plots.parts import PartFacts
from plotfarm.transfer.messages import Message, Offer, Ready
from plotfarm.transfer.outcomes import Failure, How, Phase, Refusal

T = TypeVar("T")


class Effect(Generic[T]):
    """One step, which gives a T."""


# A journey, or a part of one: yields effects, returns a T.
Steps = Generator[Effect[Any], Any, T]


def do(effect: Effect[T]) -> Steps[T]:
    """Yield one effect and return its result, with its type."""
    result: T = yield effect
    return result


class SourceError(Exception):
    """A call on the source failed: that is not the fault of the NAS."""

    def __init__(self, call: Call, number: int, detail: str) -> None:
        self.call = call
        self.number = number
        self.detail = detail
        super().__init__(detail)

    def __reduce__(self) -> tuple[type[SourceError], tuple[Call, int, str]]:
        """Let it travel between processes."""
        return SourceError, (self.call, self.number, self.detail)


class Stopped(Exception):
    """The work of an effect ended before it was done, for a reason that is known."""

    def __init__(self, failure: Failure, detail: str) -> None:
        self.failure = failure
        self.detail = detail
        super().__init__(detail)

    def __reduce__(self) -> tuple[type[Stopped], tuple[Failure, str]]:
        """Let it travel between processes."""
        return Stopped, (self.failure, self.detail)


def play(steps: Steps[T], carry_out: Callable[[Effect[Any]], Any]) -> T:
    """Carry out every effect of a journey, in order, and return what the journey returns.

    A process can be stopped before and after each effect by name: see base/checkpoints.py.
    """
    result: Any = None
    error: Exception | None = None
    while True:
        try:
            effect = steps.throw(error) if error is not None else steps.send(result)
        except StopIteration as stop:
            returned: T = stop.value
            return returned

        reached(f"before:{type(effect).__name__}")
        error = None
        try:
            result = carry_out(effect)
        except (DiskError, SourceError, Stopped, TransferFailed) as caught:
            error = caught
        reached(f"after:{type(effect).__name__}")


# ---- On the drive: carried out by the process that writes to it -------------------------------------
#
# Effects without fields inherit all that makes them values, and are not decorated again: every run waits for that.


@dataclass(frozen=True)
class DiskEffect(Effect[T]):
    """A step on the drive. DiskError with the call that failed; Stopped with HANGS if the drive does not answer."""


class OpenDrive(DiskEffect[None]):
    """Open the directory of the drive and hold it. Stopped with UNMOUNTED if it is not the drive."""


@dataclass(frozen=True)
class OpenPart(DiskEffect[bool]):
    """Open and lock the dead part `name`; False if it is gone, taken, linked elsewhere, or has other facts."""

    name: str
    facts: PartFacts


@dataclass(frozen=True)
class CreatePart(DiskEffect[None]):
    """Make the part of a plot anew, never through a link, lock it, and let it carry its facts."""

    plot: str
    arrival: str
    facts: PartFacts


@dataclass(frozen=True)
class AllocatePart(DiskEffect[None]):
    """Reserve room for so many bytes; the part's size stays what arrived."""

    size: int


class SyncPart(DiskEffect[None]):
    """Bring the part to the drive: fsync(2)."""


@dataclass(frozen=True)
class ReadPart(DiskEffect[tuple[str, ...]]):
    """Read the part from the drive, past every cache, and return the hashes of its segments.

    `size` None: of the segments that are whole; otherwise of exactly so many bytes.
    """

    size: int | None = None


@dataclass(frozen=True)
class TruncatePart(DiskEffect[None]):
    """Cut the part to so many segments. Stopped with PART_CHANGED if it has another name by now."""

    segments: int


class TrimPart(DiskEffect[int]):
    """Give back the room that is reserved behind what arrived; returns the part's size in bytes."""


class RemovePart(DiskEffect[None]):
    """Remove the part, if its name still is the open file and it has no other name."""


class CommitPart(DiskEffect[None]):
    """Note in the part that both ends agreed on it."""


class FirstHole(DiskEffect[int]):
    """Return where the part's first hole is, or where it ends: its size, if it has none."""


class CheckSamples(DiskEffect[bool]):
    """Read back from the drive what was chosen at random before it arrived; tells whether it is equal."""


class IsMounted(DiskEffect[bool]):
    """Tell whether the path of the drive still leads to the directory that is held."""


class Naming(Enum):
    """What came of giving the part the plot's name."""

    NAMED = "named"
    TAKEN = "taken"  # something has that name
    UNSUPPORTED = "unsupported"  # this file system cannot do it in this way


@dataclass(frozen=True)
class LinkPart(DiskEffect[Naming]):
    """Give the open part the plot's name as a second one: linkat(2), which never replaces."""

    plot: str


@dataclass(frozen=True)
class RenamePart(DiskEffect[Naming]):
    """Rename the part to the plot's name where links cannot be made, if it still is the open file; never replaces."""

    plot: str


class UnlinkPart(DiskEffect[None]):
    """Remove the part's name if it still is the open file."""


class SyncDirectory(DiskEffect[None]):
    """Bring the names in the drive's directory to the drive: fsync(2) of the directory."""


class Fit(Enum):
    """How what has the plot's name on a drive compares with the plot that is offered."""

    SAME_SIZE = "same size"
    OTHER = "other"
    GONE = "gone"


@dataclass(frozen=True)
class OpenStored(DiskEffect[Fit]):
    """Open and hold the file that has the plot's name."""

    plot: str
    size: int


class SyncStored(DiskEffect[None]):
    """Bring the stored file to the drive: fsync(2)."""


@dataclass(frozen=True)
class ReadStored(DiskEffect[tuple[str, ...]]):
    """Read the stored file from the drive, past every cache, and return the hashes of its segments."""

    size: int


@dataclass(frozen=True)
class StoredLook:
    """A file as its name leads to it now: bytes, and the modification time in ns of Unix time."""

    size: int
    mtime_ns: int


@dataclass(frozen=True)
class LookAtStored(DiskEffect[StoredLook]):
    """Open what has the plot's name anew and look at it.

    Stopped with PART_CHANGED if that is not the very file that was published, or that OpenStored has opened.
    """

    plot: str


# ---- On the source ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class SourceEffect(Effect[T]):
    """A step on the source. SourceError with the call that failed."""


@dataclass(frozen=True)
class SourceLook:
    """The open source, whether its path still leads to it, and how many names it has."""

    identity: FileIdentity
    is_at_its_path: bool
    links: int


class LookAtSource(SourceEffect[SourceLook]):
    """Look at the open source and at its path."""


@dataclass(frozen=True)
class HashSource(SourceEffect[tuple[str, ...]]):
    """Read the source and return the hashes of its first `segments` segments, of all of them if that is None."""

    segments: int | None = None


class Lease(Enum):
    """Whether the kernel keeps writers away from the source."""

    HELD = "held"
    WRITER = "writer"  # somebody has it open for writing
    UNSUPPORTED = "unsupported"  # this file system, or this user, cannot have leases


class LeaseSource(SourceEffect[Lease]):
    """Keep everybody from opening the source for writing, or cutting it, until the journey ends."""


class LeaseHolds(SourceEffect[bool]):
    """Tell whether nobody has asked for the source meanwhile; True also where leases are unsupported."""


@dataclass(frozen=True)
class ChooseTime(SourceEffect[int]):
    """Return a modification time that nobody can guess: whole seconds, in ns of Unix time, other than `but`."""

    but: int


@dataclass(frozen=True)
class RememberTime(SourceEffect[None]):
    """Remember durably that the source's time is about to be changed from `old` to `new`."""

    old: int
    new: int


@dataclass(frozen=True)
class SetSourceTime(SourceEffect[None]):
    """Set the source's modification time, by its path."""

    mtime_ns: int


class ForgetTime(SourceEffect[None]):
    """Forget what RememberTime remembered."""


@dataclass(frozen=True)
class UnlinkSource(SourceEffect[bool]):
    """Remove the source's name if it still leads to the open source, as it was looked at; tells whether it did."""

    expected: FileIdentity


class SyncSourceDirectory(SourceEffect[None]):
    """Make the removal durable: fsync(2) of the source's directory."""


# ---- The session ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Send(Effect[None]):
    """Send a message."""

    message: Message


@dataclass(frozen=True)
class Receive(Effect[Message]):
    """Wait for a message of one of these kinds, as long as the phase may take.

    ProtocolError if another comes; OtherEndGone if the other end is gone, silent, or takes too long.
    """

    kinds: tuple[type[Message], ...]
    phase: Phase


@dataclass(frozen=True)
class Connect(Effect[int]):
    """NAS: listen, say `ready`, and wait for the plotter's data connection; returns its number.

    Stopped with NOT_CONNECTED or NO_PORT.
    """

    arrival: str
    drive: str
    segments: int  # that are there already


@dataclass(frozen=True)
class Pour(DiskEffect[tuple[str, ...]]):
    """NAS: write what comes through the data connection to the part, behind its `resumed` segments.

    Returns the hashes of all segments: those that were read, and those of the bytes that came. DiskError of the
    drive; Stopped with INTERRUPTED, STALLED, TOO_SLOW, YIELDED or WRONG_HEADER.
    """

    size: int
    resumed: tuple[str, ...]
    attempt: int


@dataclass(frozen=True)
class SentAll:
    """All bytes are sent: the hashes of all segments, those that were read before included."""

    segments: tuple[str, ...]


@dataclass(frozen=True)
class NotSent:
    """The bytes were not sent: the NAS has spoken meanwhile, or (`heard` None) the data connection was lost."""

    detail: str = ""
    heard: Message | None = None


@dataclass(frozen=True)
class PourSource(SourceEffect["SentAll | NotSent"]):
    """Plotter: send the source behind its `resumed` segments through a data connection, hashing it on the way.

    SourceError if it cannot be read; OtherEndGone if the session is over, or no byte is taken any more.
    """

    ready: Ready
    size: int
    resumed: tuple[str, ...]


# ---- The host ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class RefusedPlacement:
    """The plot is not taken."""

    refusal: Refusal
    detail: str


@dataclass(frozen=True)
class StoredPlacement:
    """A file of the plot's name is on a drive already."""

    drive: str  # its name, for people
    identity: str
    path: str


@dataclass(frozen=True)
class ReservedPlacement:
    """A drive is reserved for the plot; `part` is the plot's own part there, of an interrupted arrival, or ""."""

    drive: str
    identity: str
    path: str
    part: str
    arrival: str


Placement = RefusedPlacement | StoredPlacement | ReservedPlacement


@dataclass(frozen=True)
class Place(Effect[Placement]):
    """Decide where the plot goes, and reserve that drive; `excluded`: identities of drives that failed just now.

    The drive stays reserved until Release.
    """

    offer: Offer
    excluded: frozenset[str]


@dataclass(frozen=True)
class Release(Effect[None]):
    """Let go of the drive and of all that is open there."""


class RecordEffect(Effect[None]):
    """Something that the host is to remember, or to do, about an arrival; its Storage does (see storage.py)."""


@dataclass(frozen=True)
class Publishing(RecordEffect):
    """Note, durably, that the plot may appear under its name from now on, also if the drive or this process hangs."""


@dataclass(frozen=True)
class NotPublished(RecordEffect):
    """Take that note back: the plot did not get its name, for certain."""


@dataclass(frozen=True)
class QuarantineDrive(RecordEffect):
    """Believe nothing of the drive any more until it is mounted anew, the host restarts, or the owner says so."""

    failure: Failure
    call: str
    number: int


@dataclass(frozen=True)
class RecordStored(RecordEffect):
    """Record a plot that is on a drive, durably."""

    path: str
    segments: tuple[str, ...]
    how: How


@dataclass(frozen=True)
class RemoveOtherParts(RecordEffect):
    """Remove the parts that interrupted arrivals of this plot, from this plotter, have left: it is stored."""

    plot: str


@dataclass(frozen=True)
class RecordFailed(RecordEffect):
    """Record an arrival that failed."""

    failure: Failure
    detail: str


@dataclass(frozen=True)
class Copy(DiskEffect[tuple[str, ...]]):
    """Local moves: bring the source into the part, hashing it on the way; returns the hashes of all segments."""

    size: int


@dataclass(frozen=True)
class LinkSource(DiskEffect[Naming]):
    """Local moves: give the open source the plot's name on the drive, where both are one file system."""

    plot: str


class SourcePlace(Enum):
    """Where the source of a local move lies, as seen from the drive."""

    ELSEWHERE = "elsewhere"
    IN_DIRECTORY = "in directory"  # the plot directory is the drive's own
    SAME_FILE = "same file"  # it is the very file that has the plot's name there


@dataclass(frozen=True)
class CompareSource(DiskEffect[SourcePlace]):
    """Local moves: tell where the source lies; the stored file, if one is open, is compared with it."""
