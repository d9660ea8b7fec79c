"""The hashes of a plot: BLAKE3 over segments of 1 GiB, and BLAKE3 over the list of their hashes.

The list makes resuming, reading back and scrubbing cheap; the layout is part of the protocol.
"""

from __future__ import annotations

import contextlib
import mmap
import os
from collections.abc import Callable, Sequence

from blake3 import blake3

from plotfarm.base.disk_error import Call, calling

SEGMENT_BYTES = 2**30
# Half of a pipe's buffer: one chunk is hashed while netcat drains the one before.
SOURCE_CHUNK_BYTES = 512 * 1024
FORGET_BYTES = 64 * 1024 * 1024


class SourceShort(Exception):
    """A plot has fewer bytes than were expected: it ended at `offset`."""

    def __init__(self, offset: int, size: int) -> None:
        self.offset = offset
        self.size = size
        super().__init__(f"the file ended at {offset} of {size} bytes")


class SegmentHasher:
    """Takes a plot's bytes in order and gives the hash of each segment.

    `resumed`: the hashes of complete segments, behind which it begins.
    """

    def __init__(self, resumed: Sequence[str] = (), *, segment_bytes: int = SEGMENT_BYTES) -> None:
        self._segment_bytes = segment_bytes
        self._missing = segment_bytes  # bytes until the current segment is complete
        self._current = blake3()
        self._segments = list(resumed)

    @property
    def segments(self) -> tuple[str, ...]:
        """The hashes of the segments that are complete, 64 hex digits each."""
        return tuple(self._segments)

    def update(self, chunk: memoryview) -> None:
        """Add the next bytes; a chunk may cross from one segment into the next."""
        while len(chunk) >= self._missing:
            self._current.update(chunk[: self._missing])
            self._segments.append(self._current.hexdigest())
            chunk = chunk[self._missing :]
            self._current = blake3()
            self._missing = self._segment_bytes
        self._current.update(chunk)
        self._missing -= len(chunk)

    def finish(self) -> tuple[str, ...]:
        """Return the hashes of all bytes so far: at least one.

        The last segment may be short; an empty one behind others does not count.
        """
        if self._missing == self._segment_bytes and self._segments:
            return self.segments
        return (*self._segments, self._current.hexdigest())


def plot_hash(segments: Sequence[str]) -> str:
    """Return the hash of a whole plot, 64 hex digits: BLAKE3 over the raw hashes of its segments."""
    return blake3(b"".join(bytes.fromhex(each) for each in segments)).hexdigest()


def chunk_buffer(size: int) -> memoryview:
    """Return a page-aligned buffer that is used again for every chunk, of huge pages where there are any.

    With them the kernel has 2 pages instead of 1024 to pin for a direct write of 4 MiB.
    """
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with contextlib.suppress(OSError):  # a kernel without huge pages
        memory.madvise(mmap.MADV_HUGEPAGE)
    return memoryview(memory)


def hash_source(
    descriptor: int,
    size: int,
    on_progress: Callable[[int], None] = lambda done: None,
    first_segments_only: int | None = None,
    *,
    segment_bytes: int = SEGMENT_BYTES,
) -> tuple[str, ...]:
    """Read the `size` bytes of a source through the page cache and return the hashes of its segments.

    `first_segments_only` leaves out what comes after so many segments. `on_progress` is called after every chunk with
    the number of bytes read so far. DiskError (READ) if it cannot be read, SourceShort if it is shorter.
    """
    end = size
    if first_segments_only is not None:
        if first_segments_only == 0:
            return ()
        end = min(size, first_segments_only * segment_bytes)

    buffer = chunk_buffer(SOURCE_CHUNK_BYTES)
    hasher = SegmentHasher(segment_bytes=segment_bytes)
    done = 0
    while done < end:
        with calling(Call.READ):
            count = os.preadv(descriptor, [buffer[: min(len(buffer), end - done)]], done)
        if count == 0:
            raise SourceShort(done, size)

        hasher.update(buffer[:count])
        done += count
        forget_read(descriptor, done, count, end)
        on_progress(done)
    return hasher.finish()


def forget_read(descriptor: int, done: int, count: int, end: int) -> None:
    """Now and then, and at the end, drop from memory what was read; `count` of the `done` bytes were read just now.

    A plot is read once, and must not evict what a harvester reads all the time.
    """
    if done % FORGET_BYTES < count or done == end:
        with calling(Call.READ):
            os.posix_fadvise(descriptor, 0, done, os.POSIX_FADV_DONTNEED)


def configured_segment_bytes() -> int:
    """Return how many bytes a segment has: 1 GiB, or for tests, with real parts but small plots, what they ask for."""
    return int(os.environ.get("PLOT_MANAGER_SEGMENT_BYTES", SEGMENT_BYTES))
