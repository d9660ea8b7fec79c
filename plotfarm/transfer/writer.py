"""Writing one plot to one drive: `NAME.part` while it arrives, its own name only when it is whole and on the drive.

`store` runs in a worker process, since any call here may hang with the drive. The order that protects a plot:
digest equal, fsync, (read back), still mounted, rename that never replaces, fsync of the directory.
"""

from __future__ import annotations

import contextlib
import functools
import os
import socket
import stat
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from plotfarm.base import kernel
from plotfarm.base.errors import TransferFailed
from plotfarm.plots.names import PART_SUFFIX
from plotfarm.transfer.digest import (
    PIECE_BYTES,
    SEGMENT_BYTES,
    Digest,
    Digester,
    digest_file,
    direct_pieces,
    piece_buffer,
)
from plotfarm.transfer.pace import rester
from plotfarm.transfer.part import Interrupted, Kept, create_part, open_kept, remove_own, remove_parts
from plotfarm.transfer.worker import Endpoint, PartKept

_HEADER_BYTES = 1024 * 1024
_REPORT_SECONDS = 0.25
# Dirty pages are written back behind the arriving bytes: fsync at the end is short, and the plot does not push
# the harvester's data out of memory.
WINDOW_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True)
class Place:
    """Where a plot goes: a directory on a drive, opened and checked by functions that may block."""

    directory: str
    file_system: str
    open_directory: Callable[[], int]  # a directory descriptor; PlotfarmError if the drive is not usable
    still_there: Callable[[int], bool]  # whether that descriptor is still what the path leads to


@dataclass(frozen=True)
class Recorded:
    """The digest of a stored plot, and the file's inode and time then: the same now, and it is still that file."""

    inode: int
    mtime_ns: int
    digest: str
    segments: tuple[str, ...]


class Cargo(Protocol):
    """Where a plot's bytes come from: a connection (FromPipe) or a file of this host (local_copy.FromFile)."""

    def begin(self, task: Task, directory: int, part: str) -> int:
        """Open NAME.part in an open directory, and return it; nothing new is left there if that fails."""

    def fill(self, task: Task, descriptor: int, endpoint: Endpoint) -> Digest:
        """Bring all bytes into NAME.part and digest them on the way.

        TransferFailed if they do not come; PartKept if what is there is worth keeping for another try.
        """


@dataclass(frozen=True)
class Task:
    """One plot to take in."""

    name: str
    size: int
    place: Place
    readback: bool
    leftovers: tuple[str, ...]  # plots of killed arrivals whose NAME.part may lie here
    cargo: Cargo


def store(task: Task, endpoint: Endpoint) -> None:
    """Take one plot in, told what to do over `endpoint`.

    Says `prepared`; the bytes come, by whatever way the cargo has; says `progress` and `arrived`; takes `sync`; says
    `synced`; takes `publish`; says `published`. Raises OSError or PlotfarmError, after removing NAME.part; PartKept
    instead if it stays there for another try.
    """
    directory = task.place.open_directory()
    _refuse_taken_name(task, directory)
    remove_parts(directory, task.leftovers)
    part = task.name + PART_SUFFIX
    descriptor = task.cargo.begin(task, directory, part)
    try:
        endpoint.reached("part:created")
        digest = task.cargo.fill(task, descriptor, endpoint)
        endpoint.send("arrived", digest=digest.plot, segments=digest.segments)
        endpoint.receive()  # `sync`: both ends agree on size and digest
        endpoint.reached("digest:equal")
        _bring_to_drive(task, descriptor, digest, endpoint)
        endpoint.send("synced")
        endpoint.receive()  # `publish`: the lock says that from now on the plot may appear, even if the drive hangs
        _publish(task, directory, descriptor, part, endpoint)
    except PartKept:
        raise
    except BaseException:
        remove_own(part, directory)
        raise


def _refuse_taken_name(task: Task, directory: int) -> None:
    """Raise before the first byte travels if something that is no plot (a link, a directory) has the plot's name."""
    with contextlib.suppress(FileNotFoundError):
        os.stat(task.name, dir_fd=directory, follow_symlinks=False)
        raise TransferFailed(f"{task.name} is already in {task.place.directory}: it was not replaced")


@dataclass(frozen=True)
class FromPipe:
    """A plot that comes through a connection, whose descriptor is handed over with the message `take`.

    `known`: the digests of the segments that an interrupted arrival has left in NAME.part, whose inode was `inode`.
    """

    refuse_header: Callable[[bytes], str | None]  # given the first MiB at most
    rests: tuple[Callable[[int], float], ...] = ()  # each says for how many seconds to rest after so many bytes
    known: tuple[str, ...] = ()
    inode: int = 0
    streams: int = 1  # that the plotter may have at once

    def begin(self, task: Task, directory: int, part: str) -> int:
        """Go on with the NAME.part that is there, or make one anew."""
        if self.known:
            kept = open_kept(directory, part, self.inode, range(len(self.known) * SEGMENT_BYTES, task.size + 1))
            if kept is not None:
                return kept
        remove_parts(directory, [task.name])
        return create_part(task.size, task.place.file_system, directory, part)

    def fill(self, task: Task, descriptor: int, endpoint: Endpoint) -> Digest:
        """Take the bytes in; the beginning is looked at as soon as it is there."""
        inode = os.fstat(descriptor).st_ino
        known = self.known if inode == self.inode else ()
        endpoint.send("prepared", offset=len(known) * SEGMENT_BYTES, inode=inode)
        message, connection = endpoint.receive()
        if message["type"] != "take" or connection is None:
            raise EOFError
        known = known[: message["offset"] // SEGMENT_BYTES]
        checked, rest = False, rester(*self.rests)

        def after(done: int) -> None:
            nonlocal checked
            if not checked and done >= min(_HEADER_BYTES, task.size):
                checked = True
                if refusal := self.refuse_header(os.pread(descriptor, _HEADER_BYTES, 0)):
                    raise TransferFailed(refusal)
            rest(done)

        kept = Kept(descriptor, known, endpoint)
        try:
            digest = bring(task, connection, "the data connection", descriptor, endpoint, after, kept, self.streams)
        except (Interrupted, EOFError, BrokenPipeError, ConnectionResetError) as error:
            kept.finish()
            if kept.segments:
                raise PartKept(str(error)) from None
            raise
        os.close(connection)
        return digest


def bring(
    task: Task, source: int, source_name: str, descriptor: int, endpoint: Endpoint,
    each_piece: Callable[[int], None], kept: Kept | None = None, streams: int = 1,
) -> Digest:  # fmt: skip
    """Move exactly `task.size` bytes, never more, from a connection or a file to NAME.part, digesting them on the way.

    `each_piece` hears after every piece how many bytes are there; `kept` of every segment that is complete, and
    says how many are there already; `streams` may be at it at once. Interrupted if the source ends too early.
    """
    fill, piece_bytes = _reader(source, streams)
    digester, begin = Digester(known=kept.segments if kept else ()), len(kept.segments) * SEGMENT_BYTES if kept else 0
    buffer, done, report = piece_buffer(piece_bytes), begin, reporter(endpoint)
    half_reached = False
    while done < task.size:
        count = fill(buffer[: min(piece_bytes, task.size - done)])
        if count == 0:
            raise Interrupted(f"{source_name} ended after {done} of {task.size} bytes")
        digester.update(buffer[:count])
        _write(descriptor, buffer[:count], done)
        done += count
        if task.place.file_system != "tmpfs":  # nothing to write back to, and dropping is slow there
            _write_back_behind(descriptor, done - count, done)
        if kept is not None and done // SEGMENT_BYTES > len(kept.segments):
            kept.complete(digester.segments)
        each_piece(done)
        report(done)
        if not half_reached and (done - begin) * 2 >= task.size - begin:
            half_reached = True
            endpoint.reached("bytes:half")
    return digester.finish()


def _reader(source: int, streams: int) -> tuple[Callable[[memoryview], int], int]:
    """Return how to fill a buffer from a connection or a file, and how large that should be.

    The function returns how many bytes there are: fewer than fit only at the end.
    """
    if not stat.S_ISSOCK(os.fstat(source).st_mode):
        return functools.partial(_fill, source), PIECE_BYTES
    connection = socket.socket(fileno=os.dup(source))

    def receive(buffer: memoryview) -> int:
        try:
            return connection.recv_into(buffer, len(buffer), socket.MSG_WAITALL)
        except ConnectionError:
            return 0

    return receive, direct_pieces(streams).receive


def _fill(source: int, buffer: memoryview) -> int:
    """Read until the buffer is full or the source has ended; returns how many bytes there are."""
    filled = 0
    while filled < len(buffer):
        count = os.readv(source, [buffer[filled:]])
        if count == 0:
            break
        filled += count
    return filled


def _write(descriptor: int, piece: memoryview, offset: int) -> None:
    while piece:
        written = os.pwrite(descriptor, piece, offset)
        piece, offset = piece[written:], offset + written


def _write_back_behind(descriptor: int, before: int, done: int) -> None:
    """At each window's end start writing it to the drive, and let go of the one before, which has had its time."""
    window = done // WINDOW_BYTES
    if window == before // WINDOW_BYTES:
        return
    kernel.start_writing_back(descriptor, (window - 1) * WINDOW_BYTES, WINDOW_BYTES)
    if window >= 2:
        kernel.wait_for_write_back(descriptor, (window - 2) * WINDOW_BYTES, WINDOW_BYTES)
        os.posix_fadvise(descriptor, (window - 2) * WINDOW_BYTES, WINDOW_BYTES, os.POSIX_FADV_DONTNEED)


def _bring_to_drive(task: Task, descriptor: int, digest: Digest, endpoint: Endpoint) -> None:
    """Make the bytes survive a power cut, and with `readback` compare what the drive gives back."""
    os.fsync(descriptor)
    endpoint.reached("part:synced")
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    if task.readback and digest.plot and digest_file(descriptor, task.size, reporter(endpoint)).plot != digest.plot:
        raise TransferFailed("the drive gives back other bytes than were written to it: check its cable and SMART")


def reporter(endpoint: Endpoint) -> Callable[[int], None]:
    """Return a function that tells the parent about progress a few times a second."""
    reported = 0.0

    def report(done: int) -> None:
        nonlocal reported
        if time.monotonic() - reported > _REPORT_SECONDS:
            endpoint.send("progress", done=done)
            reported = time.monotonic()

    return report


def _publish(task: Task, directory: int, descriptor: int, part: str, endpoint: Endpoint) -> None:
    """Give the plot its own name, durably, if its drive is still where it was and the name is free."""
    if not task.place.still_there(directory):
        raise TransferFailed(f"{task.place.directory} was unmounted during the transfer")
    try:
        kernel.rename_without_replacing(directory, part, task.name)
    except FileExistsError:
        raise TransferFailed(f"{task.name} is already in {task.place.directory}: it was not replaced") from None
    endpoint.reached("publish:renamed")
    os.fsync(directory)
    endpoint.reached("publish:synced")
    status = os.fstat(descriptor)
    endpoint.send("published", inode=status.st_ino, mtime_ns=status.st_mtime_ns)


def digest_stored(place: Place, name: str, size: int, recorded: Recorded | None, endpoint: Endpoint) -> None:
    """Digest a plot that is already on a drive and make sure that it stays there; says `digested`.

    If it is still the file that was recorded, its digest is known without reading. Its writer may have died
    between the rename and the fsync, so that is done again.
    """
    directory = place.open_directory()
    descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
    os.fsync(descriptor)
    os.fsync(directory)
    status = os.fstat(descriptor)
    file = {"inode": status.st_ino, "mtime_ns": status.st_mtime_ns}
    if recorded and (recorded.inode, recorded.mtime_ns, size) == (*file.values(), status.st_size):
        endpoint.send("digested", digest=recorded.digest, segments=recorded.segments, **file)
    else:
        digest = digest_file(descriptor, size, reporter(endpoint))
        endpoint.send("digested", digest=digest.plot, segments=digest.segments, **file)
