"""The digest of a plot: BLAKE3 over segments of 1 GiB, and BLAKE3 over the list of their digests.

The list makes resuming, reading back and scrubbing cheap; the layout is part of the protocol.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from blake3 import blake3

SEGMENT_BYTES = 2**30
# Half of a pipe's buffer: one piece is hashed while netcat drains the one before. Measured, with its neighbours.
PIECE_BYTES = 512 * 1024
FORGET_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True)
class Digest:
    """A finished digest: `plot` (64 hex digits) over the raw digests of `segments` (64 hex digits each)."""

    plot: str
    segments: tuple[str, ...]


@dataclass(frozen=True)
class Pieces:
    """How many bytes each end of a direct pipe has in hand at once."""

    send: int
    receive: int


# One stream alone switches less often between its two ends with large pieces; what several have in hand together must
# fit the caches of the cores. Measured: at four streams the small ones are 1.1 times as fast, at one the large ones.
_ALONE, _SHARED = Pieces(1024 * 1024, 4 * 1024 * 1024), Pieces(512 * 1024, 1024 * 1024)


def direct_pieces(streams: int) -> Pieces:
    """Return the pieces for a plotter that sends over so many direct pipes at once."""
    return _ALONE if streams == 1 else _SHARED


class Digester:
    """Takes a plot's bytes in order and gives its Digest at the end."""

    def __init__(self, segment_bytes: int = SEGMENT_BYTES, known: Sequence[str] = ()) -> None:
        """Begin behind the segments whose digests are `known`."""
        self._segment_bytes = segment_bytes
        self._room = segment_bytes
        self._current = blake3()
        self._segments = [bytes.fromhex(each) for each in known]

    @property
    def segments(self) -> tuple[str, ...]:
        """The digests of the segments that are complete."""
        return tuple(segment.hex() for segment in self._segments)

    def update(self, piece: memoryview) -> None:
        """Add the next bytes; a piece may cross from one segment into the next."""
        while len(piece) >= self._room:
            self._current.update(piece[: self._room])
            self._segments.append(self._current.digest())
            piece = piece[self._room :]
            self._current, self._room = blake3(), self._segment_bytes
        self._current.update(piece)
        self._room -= len(piece)

    def finish(self) -> Digest:
        """Return the digest of all bytes so far; the last segment may be short, an empty one does not count."""
        segments = list(self._segments)
        if self._room < self._segment_bytes or not segments:
            segments.append(self._current.digest())
        return Digest(blake3(b"".join(segments)).hexdigest(), tuple(segment.hex() for segment in segments))


def piece_buffer(size: int = PIECE_BYTES) -> memoryview:
    """Return a page-aligned buffer that is used again for every piece."""
    return memoryview(mmap.mmap(-1, size))


def digest_file(
    descriptor: int, size: int, each_piece: Callable[[int], None] = lambda done: None, known: Sequence[str] = ()
) -> Digest:
    """Read `size` bytes of a file and digest them; OSError if it cannot be read or is shorter.

    The segments whose digests are `known` are not read. `each_piece` hears after every piece how many bytes are done.
    """
    buffer, digester, done = piece_buffer(), Digester(known=known), len(known) * SEGMENT_BYTES
    while done < size:
        count = os.preadv(descriptor, [buffer[: min(PIECE_BYTES, size - done)]], done)
        if count == 0:
            raise OSError(f"the file ended at {done} of {size} bytes")
        digester.update(buffer[:count])
        done += count
        forget_read(descriptor, done, count, size)
        each_piece(done)
    return digester.finish()


def forget_read(descriptor: int, done: int, count: int, size: int) -> None:
    """Now and then, and at the end, let go of what was read; `count` of the `done` bytes have just been read.

    A plot is read once, and must not push out of memory what a harvester reads all the time.
    """
    if done % FORGET_BYTES < count or done == size:
        os.posix_fadvise(descriptor, 0, done, os.POSIX_FADV_DONTNEED)
