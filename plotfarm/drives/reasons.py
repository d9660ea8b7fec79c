"""Why a drive gets plots or gets none. Everything decides on the reason; its words are made here, for people."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Self

_NOT_THERE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP})
_FORBIDDEN = frozenset({errno.EACCES, errno.EPERM})


class Reason(StrEnum):
    """Why a drive gets plots or gets none: its code, and a label for counts such as `3 full, 1 not mounted`.

    Behind each stands what its detail is, where it has one.
    """

    label: str

    def __new__(cls, code: str, label: str = "") -> Self:
        """Make a member of what stands below."""
        member = str.__new__(cls, code)
        member._value_ = code
        member.label = label
        return member

    HAS_ROOM = "has_room", "with room"
    FULL = "full", "full"  # what has run out; "": room
    TOO_SMALL = "too_small", "too small"  # no plot would fit there if it was empty

    OFFLINED = "offlined", "offlined"
    SYSTEM_DISK = "system_disk", "on the system disk"
    PROGRAM_DISK = "program_disk", "on the disk that holds this program"
    DUPLICATE = "duplicate", "mounted twice"  # where the same file system is mounted besides
    NOT_ASKED = "not_asked", "not asked"  # so that it was not touched

    QUARANTINED = "quarantined", "in quarantine"
    FAILING = "failing", "failing"  # what its SMART data says
    WORN = "worn", "worn"  # what its SMART data says
    HOT = "hot", "too hot"  # how hot it is, and what the limit is

    NOT_MOUNTED = "not_mounted", "not mounted"
    NO_MARKER = "no_marker", "not a drive"  # a declared directory: what else it is; "": it has no marker file
    WRONG_DRIVE = "wrong_drive", "replaced"  # the identity of what is mounted there now; "": it is not known
    READ_ONLY = "read_only", "read-only"
    MEANT_READ_ONLY = "meant_read_only", "read-only by fstab"
    IO_ERROR = "io_error", "I/O error"  # the kernel's words
    NO_PERMISSION = "no_permission", "not writable"
    NOT_ANSWERING = "not_answering", "not answering"  # for how long it was waited for
    PROBE_HANGS = "probe_hangs", "not answering"  # a probe that was begun before: since when; "": not known
    WRITER_HANGS = "writer_hangs", "not answering"
    PROBE_BROKEN = "probe_broken", "not known"  # what is broken; "": it is not known

    # Only why its plots were not counted.
    NOT_COUNTED_IN_TIME = "not_counted_in_time", "not counted in time"
    COUNT_UNDER_WAY = "count_under_way", "not counted yet"


@dataclass(frozen=True)
class Why:
    """A reason with its detail. The detail is for people: nothing is decided on it."""

    reason: Reason
    detail: str = ""

    def __str__(self) -> str:
        """Return the words for it, as they follow the name of the drive."""
        match self.reason:
            case Reason.DUPLICATE:
                return f"the same file system as {self.detail}"
            case Reason.NO_MARKER:
                return f"not a drive: {self.detail or 'the marker file .plot_drive is not there'}"
            case Reason.WRONG_DRIVE:
                return f"another file system is mounted there now{f': {self.detail}' if self.detail else ''}"
            case Reason.READ_ONLY:
                return "mounted read-only"
            case Reason.MEANT_READ_ONLY:
                return "mounted read-only, as fstab says"
            case Reason.IO_ERROR:
                return f"answers with an error: {self.detail or 'no details'}"
            case Reason.NO_PERMISSION:
                return "this user may not write there"
            case Reason.NOT_ANSWERING:
                return f"not answering within {self.detail}" if self.detail else self.reason.label
            case Reason.PROBE_HANGS:
                since = f" since {self.detail}" if self.detail else ""
                return f"not answering{since} (an earlier probe of it still hangs)"
            case Reason.WRITER_HANGS:
                return "not answering (a writer that was ended still hangs there)"
            case Reason.PROBE_BROKEN:
                return f"the probe broke down{f': {self.detail}' if self.detail else ''}"
            case Reason.NOT_COUNTED_IN_TIME:
                return "its directories could not be listed in time"
            case Reason.COUNT_UNDER_WAY:
                return "an earlier count of its plots is still under way"
            case _:
                return f"{self.reason.label}: {self.detail}" if self.detail else self.reason.label


def why_of_error(error: OSError) -> Why:
    """Return what a failed call says about the drive that it was made on."""
    number = error.errno or 0
    if number == errno.EROFS:
        return Why(Reason.READ_ONLY)
    if number in _NOT_THERE:
        return Why(Reason.NOT_MOUNTED)
    if number in _FORBIDDEN:
        return Why(Reason.NO_PERMISSION)
    return Why(Reason.IO_ERROR, os.strerror(number) if number else "")


def why_of_json(carried: Mapping[str, str]) -> Why:
    """Make a Why of what JSON carried of its `asdict`."""
    return Why(Reason(carried["reason"]), carried["detail"])
