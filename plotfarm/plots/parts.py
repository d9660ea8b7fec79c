"""NAME.<arrival>.part, the file that a plot arrives in: its name, and the facts that it carries itself.

A part is found by listing a directory, and what is known of it stands in its own extended attributes: there is no
table of parts that could be lost, old, or about another file. It is alive while somebody holds its lock, which the
kernel gives back however its holder ends.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import stat
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from plotfarm.base.disk_error import Call, DiskError, calling
from plotfarm.plots.names import PART_SUFFIX, refuse_name

_ARRIVAL = re.compile(r"[0-9a-f]{16}")
_ATTRIBUTE = "user.plotfarm."
_COMMITTED = f"{_ATTRIBUTE}committed"
# struct flock of fcntl(2) on 64-bit Linux: type, whence, start, length, pid.
_FLOCK = "hhqqi4x"
_WHOLE_FILE = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
_NO_ATTRIBUTES = (errno.EOPNOTSUPP, errno.ENOSYS)


@dataclass(frozen=True)
class PartFacts:
    """What a part says of itself: whose it is, and which plot is to become of it."""

    plotter: str
    size: int  # bytes of the whole plot
    plot_id: str  # hex digits; "" if the plot's header does not tell


@dataclass(frozen=True)
class FoundPart:
    """A part that lies on a drive.

    `facts` is None where the file system keeps no extended attributes, or where they make no sense.
    """

    name: str  # of the file: NAME.<arrival>.part
    plot: str  # NAME
    arrival: str  # 16 hex digits
    facts: PartFacts | None
    size: int  # bytes that arrived
    allocated_bytes: int
    inode: int
    links: int  # names that it has: with more than one, somebody else uses it too
    is_alive: bool  # somebody holds its lock
    is_committed: bool  # both ends agreed on its hashes: all of it has arrived


def part_name(plot: str, arrival: str) -> str:
    """Return the name of the file that the plot arrives in."""
    return f"{plot}.{arrival}{PART_SUFFIX}"


def parse_part_name(name: str) -> tuple[str, str] | None:
    """Return the plot's name and the arrival id in the name of a part; None if it is no part of this suite."""
    if not name.endswith(PART_SUFFIX):
        return None
    plot, _, arrival = name.removesuffix(PART_SUFFIX).rpartition(".")
    if _ARRIVAL.fullmatch(arrival) is None or refuse_name(plot) is not None:
        return None
    return plot, arrival


def new_arrival_id() -> str:
    """Return an arrival id that was never used before: 16 hex digits."""
    return os.urandom(8).hex()


def write_facts(descriptor: int, facts: PartFacts) -> bool:
    """Let a part carry its facts; False where the file system keeps no extended attributes."""
    try:
        for name, value in facts.__dict__.items():
            os.setxattr(descriptor, f"{_ATTRIBUTE}{name}", str(value).encode())
    except OSError as error:
        if error.errno in _NO_ATTRIBUTES:
            return False
        raise DiskError(Call.XATTR, error.errno or 0) from error
    return True


def read_facts(descriptor: int) -> PartFacts | None:
    """Return what a part says of itself; None if it says nothing, or nothing that makes sense."""
    try:
        values = {
            name: os.getxattr(descriptor, f"{_ATTRIBUTE}{name}").decode() for name in PartFacts.__dataclass_fields__
        }
        return PartFacts(values["plotter"], int(values["size"]), values["plot_id"])
    except (OSError, ValueError):
        return None


def mark_committed(descriptor: int) -> None:
    """Note in a part that both ends agreed on it. DiskError if that cannot be written."""
    try:
        os.setxattr(descriptor, _COMMITTED, b"1")
    except OSError as error:
        if error.errno not in _NO_ATTRIBUTES:
            raise DiskError(Call.XATTR, error.errno or 0) from error


def is_committed(descriptor: int) -> bool:
    """Tell whether both ends agreed on this part."""
    try:
        return os.getxattr(descriptor, _COMMITTED) == b"1"
    except OSError:
        return False


def lock_part(descriptor: int) -> bool:
    """Take a part, which is open for writing, for this open file and its forked children; False if it is taken.

    An open file description lock: unlike flock(2) it needs the right to write, and others can look without taking it.
    """
    try:
        fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, _WHOLE_FILE)
    except OSError as error:
        if error.errno in (errno.EAGAIN, errno.EACCES):
            return False
        raise DiskError(Call.LOCK, error.errno or 0) from error
    return True


def is_locked(descriptor: int) -> bool:
    """Tell whether another open file holds the lock of this part."""
    answer = fcntl.fcntl(descriptor, fcntl.F_OFD_GETLK, _WHOLE_FILE)
    return bool(struct.unpack(_FLOCK, answer)[0] != fcntl.F_UNLCK)


def list_parts(directory: int) -> Iterator[FoundPart]:
    """Yield the parts of this suite in an open directory; foreign files are not touched. DiskError if it fails."""
    # Through an open directory btrfs shows at first what was there when it was opened.
    with calling(Call.LIST):
        fresh = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=directory)
        try:
            names = os.listdir(fresh)
        finally:
            os.close(fresh)
    for name in names:
        parsed = parse_part_name(name)
        if parsed is not None:
            found = _look_at(directory, name, *parsed)
            if found is not None:
                yield found


def _look_at(directory: int, name: str, plot: str, arrival: str) -> FoundPart | None:
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        descriptor = os.open(name, flags, dir_fd=directory)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ELOOP, errno.ENXIO, errno.EACCES, errno.EPERM):
            return None  # gone meanwhile, or nothing that this suite made
        raise DiskError(Call.OPEN, error.errno or 0) from error
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            return None
        return FoundPart(
            name=name,
            plot=plot,
            arrival=arrival,
            facts=read_facts(descriptor),
            size=status.st_size,
            allocated_bytes=status.st_blocks * 512,
            inode=status.st_ino,
            links=status.st_nlink,
            is_alive=is_locked(descriptor),
            is_committed=is_committed(descriptor),
        )
    finally:
        os.close(descriptor)


def remove_dead_part(directory: int, name: str) -> bool:
    """Remove a part that nobody works on from an open directory; tells whether it is gone now. OSError if it fails."""
    try:
        descriptor = os.open(name, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory)
    except FileNotFoundError:
        return True
    try:
        # Locked first, so that nobody begins to go on with it while it is removed.
        if not lock_part(descriptor):
            return False
        named = os.stat(name, dir_fd=directory, follow_symlinks=False)
        if not os.path.samestat(named, os.fstat(descriptor)):
            return False
        os.unlink(name, dir_fd=directory)
        return True
    except FileNotFoundError:
        return True
    finally:
        os.close(descriptor)
