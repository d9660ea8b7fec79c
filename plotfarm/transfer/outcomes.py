"""What can become of a plot on its journey, as types: words for people are made from them elsewhere."""

from __future__ import annotations

import errno
from dataclasses import dataclass
from enum import Enum, StrEnum

from plotfarm.base.disk_error import Call, DiskError


class Phase(StrEnum):
    """What an end of a session is doing; the other end waits for so long as that may take."""

    GREETING = "greeting"
    PLACING = "placing"  # the NAS looks for a drive, or the plot waits for its turn
    READING_PART = "reading the part"
    READING_SOURCE = "reading the source"
    CONNECTING = "connecting"
    POURING = "pouring"  # the plot's bytes travel
    COMPARING = "comparing"
    PUBLISHING = "publishing"  # fsync, reading back, link
    READING_STORED = "reading the stored plot"
    RECHECKING = "rechecking"
    IDLE = "idle"  # between two plots


class Refusal(StrEnum):
    """Why a NAS does not take a plot that was offered."""

    NAME = "name"  # it may not travel under this name
    FORMAT = "format"  # this NAS does not know plots of this format
    OTHER_FILE = "other file"  # another file has the plot's name
    NO_DRIVE = "no drive"  # no drive can take it
    BUSY = "busy"  # all drives that could take it are taken just now, or no port is free
    SESSIONS = "sessions"  # the plotter has too many sessions
    DAILY_QUOTA = "daily quota"
    UNFINISHED_QUOTA = "unfinished quota"
    ARRIVING = "arriving"  # another session brings this very plot
    PUBLISHING = "publishing"  # it may appear yet on a drive that hangs
    DRIVE_SILENT = "drive silent"  # it was stored on a drive that does not answer
    QUARANTINED = "quarantined"  # it lies on a drive in quarantine, whose word is not believed

    @property
    def is_final(self) -> bool:
        """Whether it stays refused until a user does something."""
        return self in (Refusal.NAME, Refusal.FORMAT, Refusal.OTHER_FILE)

    @property
    def is_for_now(self) -> bool:
        """Whether it may be taken as soon as another arrival has ended."""
        return self in (Refusal.BUSY, Refusal.SESSIONS, Refusal.UNFINISHED_QUOTA)

    @property
    def is_perhaps_here(self) -> bool:
        """Whether the NAS may have the plot all the same: it must not go to another NAS meanwhile."""
        return self in (Refusal.ARRIVING, Refusal.PUBLISHING, Refusal.DRIVE_SILENT, Refusal.QUARANTINED)


class Failure(StrEnum):
    """Why an arrival, or a move on one host, failed after it had begun."""

    DRIVE_FULL = "drive full"
    IO_ERROR = "I/O error"  # the drive lost bytes, or cannot read them
    CANNOT_WRITE = "cannot write"  # the drive refuses, and lost nothing: read-only, not permitted
    HOLES = "holes"  # the part lacks bytes that were written to it
    SAMPLE_DIFFERED = "sample differed"  # the drive gives back other bytes than were written to it
    UNMOUNTED = "unmounted"  # the drive went away
    NAME_TAKEN = "name taken"  # something has the plot's name that is no plot of this size
    PART_CHANGED = "part changed"  # somebody else linked, cut or replaced the part
    HANGS = "hangs"  # the drive does not answer
    STALLED = "stalled"  # no byte arrives
    TOO_SLOW = "too slow"  # while others wait for the drive
    YIELDED = "yielded"  # to a plotter that has waited for its share
    NOT_CONNECTED = "not connected"  # the plotter did not get through to the data port
    NO_PORT = "no port"
    INTERRUPTED = "interrupted"  # the data connection ended early
    WRONG_HEADER = "wrong header"  # the bytes are not of the plot that was offered
    REJECTED = "rejected"  # the hashes of both ends differ
    OUTCOME_UNKNOWN = "outcome unknown"  # the plot may appear under its name, now or later
    SAME_PLACE = "same place"  # the plot lies where it would go
    SOURCE = "source"  # the plot on the sending side cannot be read, or changed
    INTERNAL = "internal error"

    @property
    def is_perhaps_here(self) -> bool:
        """Whether the plot may be stored all the same."""
        return self is Failure.OUTCOME_UNKNOWN

    @property
    def is_of_drive(self) -> bool:
        """Whether the drive is to blame, so that another drive may well take the plot."""
        return self in _OF_DRIVE


_OF_DRIVE = (
    Failure.DRIVE_FULL,
    Failure.IO_ERROR,
    Failure.CANNOT_WRITE,
    Failure.HOLES,
    Failure.SAMPLE_DIFFERED,
    Failure.UNMOUNTED,
    Failure.PART_CHANGED,
    Failure.HANGS,
)


class Meaning(Enum):
    """What an error of a call on a part or a stored plot means for its bytes."""

    DRIVE_FULL = "nothing is lost, there is no room for more"
    DATA_LOST = "bytes that were taken are lost: nothing of the part, nor of the drive, is believed any more"
    OUTCOME_UNKNOWN = "the plot may have its name, now or after the next mount"
    REFUSED = "nothing was done"


_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_REFUSING = (
    errno.EEXIST,
    errno.EROFS,
    errno.EACCES,
    errno.EPERM,
    errno.EOPNOTSUPP,
    errno.ENOENT,
    errno.EMFILE,
    errno.ENFILE,
)
_NAMING = (Call.LINK, Call.RENAME, Call.UNLINK, Call.SYNC_DIRECTORY)
_DATA = (Call.WRITE_BACK, Call.FSYNC, Call.CLOSE, Call.READ)


def meaning_of(error: DiskError) -> Meaning:
    """Return what an error means: the call decides, not the number. ENOSPC of fsync is loss, of write it is not."""
    if error.call in _DATA:
        return Meaning.DATA_LOST
    if error.call in _NAMING:
        return Meaning.OUTCOME_UNKNOWN
    if error.number in _NO_ROOM:
        return Meaning.DRIVE_FULL
    if error.number in _REFUSING:
        return Meaning.REFUSED
    return Meaning.DATA_LOST


class How(StrEnum):
    """How a plot came to be on the drive."""

    STORED = "stored"  # it has just arrived
    HAVE = "have"  # it was there already


class Removal(StrEnum):
    """What became of the source of a plot that is stored."""

    REMOVED = "removed"
    KEPT = "kept"  # as the configuration wants it
    CHANGED = "changed"  # it is no longer the file that was hashed: it stays
    GONE = "gone"  # somebody else removed it
    SAME_FILE = "same file"  # source and stored plot are one file: nothing is removed
    SUSPECT = "suspect"  # they cannot be told apart: same size and time, or the time cannot be set
    NOT_PERMITTED = "not permitted"  # it cannot be removed
    STILL_LINKED = "still linked"  # it was unlinked, and its number of links did not fall
    UNKNOWN = "unknown"  # the session ended before it could be known


@dataclass(frozen=True)
class Delivered:
    """The plot is stored, whole and equal: its path there and the hashes of its segments (hex)."""

    path: str
    segments: tuple[str, ...]
    how: How
    removal: Removal
    detail: str = ""  # the kernel's word where the removal did not go well


@dataclass(frozen=True)
class NotTaken:
    """A NAS refused the plot."""

    refusal: Refusal
    detail: str


@dataclass(frozen=True)
class Failed:
    """The plot did not arrive; its source is untouched. `is_resumable`: the next try goes on with what arrived."""

    failure: Failure
    detail: str
    drive: str = ""
    is_resumable: bool = False


Outcome = Delivered | NotTaken | Failed
