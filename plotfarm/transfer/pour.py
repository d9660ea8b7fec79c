"""The bytes of a plot on their way into its part: from a connection or a file, hashed and sampled as they pass."""

from __future__ import annotations

import functools
import os
import socket
import stat
import time
from collections.abc import Callable
from dataclasses import dataclass

from plotfarm.base import kernel
from plotfarm.base.disk_error import Call, calling
from plotfarm.transfer.direct_io import CHUNK_BYTES, configured_chunk_bytes
from plotfarm.transfer.effects import SourceError, Stopped
from plotfarm.transfer.hashing import SegmentHasher
from plotfarm.transfer.outcomes import Failure
from plotfarm.transfer.part_writer import PartWriter
from plotfarm.transfer.samples import Sample, Sampler

HEADER_BYTES = 1024 * 1024
_REPORT_SECONDS = 0.25
# Half of a netcat's pipe: one half is hashed while netcat fills the other.
_PIPE_STEP_BYTES = 512 * 1024
# A pipe wakes its reader for every 16 KiB that netcat writes. Who finds little there lets a little more come first.
_LITTLE_BYTES = 128 * 1024
_LITTLE_REST_SECONDS = 0.0003
# Into memory the processors decide: a netcat switches often anyway, and what is in hand is to fit their caches. One
# socket alone switches less often with large chunks.
_MEMORY_CHUNK_BYTES = 1024 * 1024
_MEMORY_CHUNK_BYTES_ALONE = 4 * 1024 * 1024

# Fills a buffer from where the bytes come from; returns fewer bytes than fit only at the end.
Fill = Callable[[memoryview, int], int]


@dataclass(frozen=True)
class Stream:
    """How the bytes of a plot come, and what is done with them on their way.

    They are written in chunks of `chunk_bytes`, and hashed as soon as `step_bytes` of them are there. `resumed`: the
    hashes of the segments that are there already. `refuse_header` gets the first MiB at most, and says why that is not
    the plot that was offered; `rest` is called after each chunk with the bytes that are there.
    """

    size: int  # bytes of the whole plot
    resumed: tuple[str, ...]
    segment_bytes: int
    is_sampled: bool
    chunk_bytes: int = CHUNK_BYTES
    step_bytes: int = CHUNK_BYTES
    refuse_header: Callable[[bytes], str | None] = lambda data: None
    rest: Callable[[int], None] = lambda done: None


@dataclass(frozen=True)
class Poured:
    """The hashes of all segments, and the samples of the bytes that came."""

    segments: tuple[str, ...]
    samples: tuple[Sample, ...]


def pour(fill: Fill, part: int, stream: Stream, on_progress: Callable[[int], None]) -> Poured:
    """Bring exactly the bytes that are missing, never more, into the part.

    DiskError of the drive; Stopped with INTERRUPTED if they end too early, with WRONG_HEADER if it is another plot.
    """
    incoming = _Incoming(fill, stream)
    writer = PartWriter(part, incoming.done, stream.size, chunk_bytes=stream.chunk_bytes)
    try:
        while incoming.done < stream.size:
            buffer = writer.buffer()
            count = incoming.fill(buffer)
            writer.submit(count)
            on_progress(incoming.done)
            stream.rest(incoming.done)
            if count < len(buffer):
                detail = f"the data connection ended after {incoming.done} of {stream.size} bytes"
                raise Stopped(Failure.INTERRUPTED, detail)
        writer.finish()
    except Stopped as stopped:
        if stopped.failure is Failure.INTERRUPTED:
            writer.finish()  # what came is good; if it could not be written, that is what matters
        else:
            writer.abandon()
        raise
    except BaseException:
        writer.abandon()
        raise
    return incoming.finish()


class _Incoming:
    """The bytes that come: each is hashed, and perhaps sampled, while the processors' caches still hold it."""

    def __init__(self, fill: Fill, stream: Stream) -> None:
        self._fill = fill
        self._stream = stream
        self.done = len(stream.resumed) * stream.segment_bytes  # the offset up to which they have come
        self._is_checked = self.done > 0
        self._hasher = SegmentHasher(stream.resumed, segment_bytes=stream.segment_bytes)
        self._sampler = Sampler(self.done, stream.size) if stream.is_sampled else None

    def fill(self, buffer: memoryview) -> int:
        """Fill a buffer; returns how many bytes came, fewer only at the end. Stopped with WRONG_HEADER."""
        filled = 0
        is_over = False
        while filled < len(buffer) and not is_over:
            room = buffer[filled : filled + self._stream.step_bytes]
            count = self._fill(room, self.done)
            is_over = count < len(room)
            self._hasher.update(room[:count])
            if self._sampler is not None:
                self._sampler.feed(self.done, room[:count])
            filled += count
            self.done += count

        if not self._is_checked and filled:
            self._is_checked = True
            if refusal := self._stream.refuse_header(bytes(buffer[: min(filled, HEADER_BYTES)])):
                raise Stopped(Failure.WRONG_HEADER, refusal)
        return filled

    def finish(self) -> Poured:
        """Return what is known of all bytes."""
        return Poured(self._hasher.finish(), self._sampler.samples if self._sampler is not None else ())


def sizes_for(connection: int, part: int, streams: int) -> tuple[int, int]:
    """Return the chunk and the step, in bytes, between a data connection and a part.

    `streams`: so many plots the plotter sends at once. DiskError (STAT).
    """
    is_socket = _is_socket(connection)
    with calling(Call.STAT):
        in_memory = kernel.is_in_memory(part)
    if not in_memory:
        chunk_bytes = configured_chunk_bytes()
    elif is_socket and streams == 1:
        chunk_bytes = _MEMORY_CHUNK_BYTES_ALONE
    else:
        chunk_bytes = _MEMORY_CHUNK_BYTES
    return chunk_bytes, chunk_bytes if is_socket else _PIPE_STEP_BYTES


def _is_socket(connection: int) -> bool:
    return stat.S_ISSOCK(os.fstat(connection).st_mode)


def connection_filler(connection: int, step_bytes: int = CHUNK_BYTES) -> Fill:
    """Return what fills buffers of so many bytes from a data connection: a socket, or the pipe of a netcat."""
    if not _is_socket(connection):
        return functools.partial(_fill_from_pipe, connection)
    received = socket.socket(fileno=os.dup(connection))
    # Woken when half a step is there, and not at every few packets.
    received.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, step_bytes // 2)

    def fill(buffer: memoryview, _: int) -> int:
        try:
            return received.recv_into(buffer, len(buffer), socket.MSG_WAITALL)
        except ConnectionError:
            return 0

    return fill


def _fill_from_pipe(pipe: int, buffer: memoryview, _: int) -> int:
    filled = 0
    while filled < len(buffer):
        count = os.readv(pipe, [buffer[filled:]])
        if count == 0:
            break
        filled += count
        if count < _LITTLE_BYTES and filled < len(buffer):
            time.sleep(_LITTLE_REST_SECONDS)
    return filled


def file_filler(descriptor: int) -> Fill:
    """Return what fills a buffer from an open file. SourceError if that cannot be read."""

    def fill(buffer: memoryview, offset: int) -> int:
        filled = 0
        while filled < len(buffer):
            try:
                count = os.preadv(descriptor, [buffer[filled:]], offset + filled)
            except OSError as error:
                raise SourceError(Call.READ, error.errno or 0, f"the plot cannot be read: {error.strerror}") from error
            if count == 0:
                raise SourceError(Call.READ, 0, f"the plot became shorter: it ended at {offset + filled}")
            filled += count
        return filled

    return fill


def reporter(report: Callable[[int], None]) -> Callable[[int], None]:
    """Return a function that passes progress on a few times a second."""
    reported = 0.0

    def on_progress(done: int) -> None:
        nonlocal reported
        if time.monotonic() - reported > _REPORT_SECONDS:
            reported = time.monotonic()
            report(done)

    return on_progress
