"""Reading what lies on a drive, and not what the page cache says of it.

Reads that decide bypass the page cache with O_DIRECT. POSIX_FADV_DONTNEED drops neither mapped nor dirty pages and
always reports success, and after a failed write-back the cache still holds the bytes that the drive lost.
"""

from __future__ import annotations

import contextlib
import errno
import os
import queue
import threading
from collections.abc import Callable, Generator

from plotfarm.base import kernel
from plotfarm.base.disk_error import Call, DiskError, calling
from plotfarm.transfer.hashing import SEGMENT_BYTES, SegmentHasher, chunk_buffer

# Offsets, lengths and memory of a direct transfer are multiples of this; no drive has larger blocks.
BLOCK_BYTES = 4096
_SECTOR_BYTES = 512
CHUNK_BYTES = 4 * 1024 * 1024
_BUFFERS = 2
REFUSED = (errno.EINVAL, errno.EOPNOTSUPP)


def configured_chunk_bytes() -> int:
    """Return how much is written to a drive at once: 4 MiB, or what a measurement of what that costs asks for."""
    return int(os.environ.get("PLOT_MANAGER_CHUNK_BYTES", CHUNK_BYTES))


def first_hole(descriptor: int) -> int:
    """Return where nothing was ever written to a file, or where it ends, whichever comes first, in bytes.

    Shows truncation by somebody else, skipped ranges, and write-back errors that nobody was told of. Have the file
    fsynced before. DiskError if the file system cannot say.
    """
    with calling(Call.SEEK):
        # On ext4 and XFS a page in memory makes an unwritten block look like data.
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        size = os.fstat(descriptor).st_size
        # There is no hole to be found in an empty file, and the kernel says ENXIO.
        return min(size, os.lseek(descriptor, 0, os.SEEK_HOLE)) if size else 0


def open_directly(descriptor: int, flags: int) -> int | None:
    """Open an open file once more, past the page cache; None where its file system refuses that. OSError otherwise.

    The flags and the lock of `descriptor` stay as they are: this is another open file description.
    """
    try:
        return os.open(f"/proc/self/fd/{descriptor}", flags | os.O_DIRECT | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in REFUSED:
            return None
        raise


class DirectFile:
    """A file that is open for reading past the page cache; a context manager, used by one thread at a time."""

    def __init__(self, descriptor: int) -> None:
        """Open it once more; `descriptor` is used itself where the file system refuses. DiskError (READ)."""
        self._cached = descriptor
        with calling(Call.READ):
            self._is_in_memory = kernel.is_in_memory(descriptor)
            self._direct = None if self._is_in_memory else open_directly(descriptor, os.O_RDONLY)

    def __enter__(self) -> DirectFile:
        return self

    def __exit__(self, *_: object) -> None:
        if self._direct is not None:
            os.close(self._direct)
            self._direct = None

    def read(self, buffer: memoryview, offset: int, count: int) -> memoryview:
        """Read exactly `count` bytes at `offset` into the buffer, and return the part of it that holds them.

        The buffer is page-aligned and a block larger than `count` unless `offset` is a multiple of BLOCK_BYTES, its
        size is such a multiple. DiskError (READ); ENODATA if the file is shorter.
        """
        skipped = offset % BLOCK_BYTES
        wanted = skipped + count
        room = buffer[: -(-wanted // BLOCK_BYTES) * BLOCK_BYTES]
        filled = 0
        while filled < wanted:
            with calling(Call.READ):
                got = self._read_some(room[filled:], offset - skipped + filled)
            filled += got
            # Only at the end of a file does the kernel give what is no multiple of a sector.
            if filled < wanted and (got == 0 or got % _SECTOR_BYTES != 0):
                raise DiskError(Call.READ, errno.ENODATA)
        return buffer[skipped:wanted]

    def _read_some(self, buffer: memoryview, offset: int) -> int:
        if self._direct is not None:
            try:
                return os.preadv(self._direct, [buffer], offset)
            except OSError as error:
                if error.errno not in REFUSED:
                    raise
            os.close(self._direct)  # it took the flag, and cannot do it after all
            self._direct = None

        if self._is_in_memory:
            return os.preadv(self._cached, [buffer], offset)
        # Before, so that the drive is asked; after, so that a plot evicts nothing that a harvester reads.
        os.posix_fadvise(self._cached, offset, len(buffer), os.POSIX_FADV_DONTNEED)
        got = os.preadv(self._cached, [buffer], offset)
        os.posix_fadvise(self._cached, offset, len(buffer), os.POSIX_FADV_DONTNEED)
        return got


def read_back(
    descriptor: int,
    begin: int,
    end: int,
    on_chunk: Callable[[memoryview], None],
    on_progress: Callable[[int], None] = lambda done: None,
    *,
    chunk_bytes: int = CHUNK_BYTES,
) -> None:
    """Read the bytes from `begin` up to `end` from the drive, and give them to `on_chunk` in order.

    The next chunk is read while `on_chunk` is at work; its memory is used again after that. `on_progress` is called
    after every chunk with the offset that is reached. Have the file fsynced before: where O_DIRECT is refused, what is
    dirty comes from memory. DiskError (READ) if anything fails; ENODATA if the file is shorter.
    """
    done = begin
    with contextlib.closing(_read_ahead(descriptor, begin, end, chunk_bytes)) as chunks:
        for chunk in chunks:
            on_chunk(chunk)
            done += len(chunk)
            on_progress(done)


def hash_back(
    descriptor: int,
    begin: int,
    end: int,
    on_progress: Callable[[int], None] = lambda done: None,
    *,
    segment_bytes: int = SEGMENT_BYTES,
    chunk_bytes: int = CHUNK_BYTES,
) -> tuple[str, ...]:
    """Return the hashes of the segments from `begin`, where one begins, up to `end`, as `read_back` reads them."""
    if begin % segment_bytes != 0:
        raise ValueError(f"no segment begins at {begin}")
    hasher = SegmentHasher(segment_bytes=segment_bytes)
    read_back(descriptor, begin, end, hasher.update, on_progress, chunk_bytes=chunk_bytes)
    return hasher.finish()


def _read_ahead(descriptor: int, begin: int, end: int, chunk_bytes: int) -> Generator[memoryview]:
    """Yield the chunks of a range, whose borders are those of the file; a thread reads the next one meanwhile."""
    if begin >= end:
        return
    free: queue.SimpleQueue[memoryview | None] = queue.SimpleQueue()
    full: queue.SimpleQueue[tuple[memoryview, memoryview] | Exception] = queue.SimpleQueue()

    def read_all() -> None:
        offset = begin
        try:
            with DirectFile(descriptor) as file:
                while offset < end and (buffer := free.get()) is not None:
                    count = min(chunk_bytes - offset % chunk_bytes, end - offset)
                    full.put((buffer, file.read(buffer, offset, count)))
                    offset += count
        except Exception as error:
            full.put(error)

    for _ in range(_BUFFERS):
        free.put(chunk_buffer(chunk_bytes))
    # A daemon: a thread that hangs with its drive does not keep this process from ending.
    thread = threading.Thread(target=read_all, name="read ahead", daemon=True)
    thread.start()
    try:
        offset = begin
        while offset < end:
            item = full.get()
            if isinstance(item, Exception):
                raise item
            buffer, chunk = item
            yield chunk
            offset += len(chunk)
            free.put(buffer)
    finally:
        free.put(None)
        thread.join()
