"""Writing a part to its drive while the next bytes arrive, so that every error is the result of the call it belongs to.

On a drive it writes past the page cache with O_DIRECT: nothing waits in memory to be lost later, the harvester's memory
is left alone, and a fifth of the processor time does. Where O_DIRECT is refused (some FUSE) it writes through the page
cache, and looks at every result of the write-back that it starts. In memory (tmpfs) it just writes.
"""

from __future__ import annotations

import contextlib
import errno
import os
import queue
import threading

from plotfarm.base import kernel
from plotfarm.base.disk_error import Call, DiskError, calling
from plotfarm.transfer.direct_io import BLOCK_BYTES, CHUNK_BYTES, REFUSED, open_directly
from plotfarm.transfer.hashing import chunk_buffer

BUFFERS = 2
# Written back behind the arriving bytes, where they go through the page cache: fsync at the end is short, and the plot
# does not evict what the harvester reads.
WINDOW_BYTES = 64 * 1024 * 1024


class PartWriter:
    """Writes a part in order, from `begin` on and never beyond `size`.

    `buffer` gives memory to be filled, `submit` has it written, `finish` waits for all of it. What was submitted may
    still be read, to hash it, until `buffer` is called again. Whoever does not come to `finish` calls `abandon`.

    The descriptor is open for reading and writing without O_DIRECT; it is used for the unaligned end, and it stays
    open. Sync it after `finish`.
    """

    def __init__(
        self, descriptor: int, begin: int, size: int, *, chunk_bytes: int = CHUNK_BYTES, buffers: int = BUFFERS
    ) -> None:
        """Open the part once more for writing; `begin` and `chunk_bytes` are multiples of BLOCK_BYTES."""
        if begin % BLOCK_BYTES != 0 or chunk_bytes % BLOCK_BYTES != 0 or not 0 <= begin <= size:
            raise ValueError(f"cannot write from {begin} to {size} in chunks of {chunk_bytes} bytes")
        self._submitted = begin  # the offset of the next chunk
        self._size = size
        self._chunk_bytes = chunk_bytes
        self._error: DiskError | None = None
        self._filling: memoryview | None = None  # what `buffer` gave and `submit` did not take yet
        with calling(Call.WRITE):
            in_memory = kernel.is_in_memory(descriptor)
        self._file = _MemoryFile(descriptor) if in_memory else _DriveFile(descriptor)

        self._free: queue.SimpleQueue[memoryview] = queue.SimpleQueue()
        self._full: queue.SimpleQueue[tuple[memoryview, int, int] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        # Memory takes the bytes at once: there is nothing to wait for, and one warm buffer is cheaper than two.
        for _ in range(1 if in_memory else buffers):
            self._free.put(chunk_buffer(chunk_bytes))
        if not in_memory:
            # A daemon: a thread that hangs with its drive does not keep this process from ending.
            self._thread = threading.Thread(target=self._write_all, name="part writer", daemon=True)
            self._thread.start()

    @property
    def submitted(self) -> int:
        """The offset up to which bytes were submitted."""
        return self._submitted

    def buffer(self) -> memoryview:
        """Return the next memory to be filled, waiting until some is free; shorter at the end, empty when all is there.

        DiskError if an earlier chunk could not be written.
        """
        if self._filling is None:
            self._filling = self._free.get()
        if self._error is not None:
            raise self._error
        return self._filling[: min(self._chunk_bytes, self._size - self._submitted)]

    def submit(self, count: int) -> None:
        """Have the first `count` bytes of the buffer written. Only the last chunk may be no multiple of BLOCK_BYTES."""
        if self._filling is None or not 0 <= count <= min(self._chunk_bytes, self._size - self._submitted):
            raise ValueError(f"{count} bytes were not asked for")
        if self._submitted % BLOCK_BYTES != 0 and count > 0:
            raise ValueError("nothing can follow an unaligned chunk")
        buffer = self._filling
        offset = self._submitted
        self._filling = None
        self._submitted += count
        if self._thread is not None:
            self._full.put((buffer, count, offset))
            return
        try:
            self._file.write(buffer[:count], offset)
        finally:
            self._free.put(buffer)

    def finish(self) -> None:
        """Wait until all that was submitted is written. DiskError if any of it is not."""
        self._stop()
        if self._error is not None:
            self.abandon()
            raise self._error
        self._file.close()

    def abandon(self) -> None:
        """Write nothing more. Waits for a write that is under way, so nothing lands later; never raises."""
        if self._error is None:
            self._error = DiskError(Call.WRITE, errno.ECANCELED)
        self._stop()
        with contextlib.suppress(DiskError):  # these bytes are given up
            self._file.close()

    def _stop(self) -> None:
        if self._thread is not None and self._thread.is_alive():
            self._full.put(None)
            self._thread.join()

    def _write_all(self) -> None:
        """Write what is submitted, in order; after an error only hand the buffers back."""
        while (item := self._full.get()) is not None:
            buffer, count, offset = item
            if self._error is None:
                try:
                    self._file.write(buffer[:count], offset)
                except DiskError as error:
                    self._error = error
            self._free.put(buffer)


class _MemoryFile:
    """A file on tmpfs: no drive, no write-back."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def write(self, chunk: memoryview, offset: int) -> None:
        """Write the chunk. DiskError (WRITE)."""
        _write(self._descriptor, chunk, offset)

    def close(self) -> None:
        """Do nothing."""


class _DriveFile:
    """A file on a drive: written past the page cache, or else with write-back behind."""

    def __init__(self, descriptor: int) -> None:
        self._cached = descriptor
        with calling(Call.WRITE):
            self._direct = open_directly(descriptor, os.O_WRONLY)
        self._wrote_directly = False

    def write(self, chunk: memoryview, offset: int) -> None:
        """Write the chunk; the end that is no whole block goes through the page cache. DiskError."""
        whole_blocks = len(chunk) - len(chunk) % BLOCK_BYTES
        if self._direct is not None and whole_blocks:
            try:
                _write(self._direct, chunk[:whole_blocks], offset)
                self._wrote_directly = True
            except DiskError as error:
                if error.number not in REFUSED or self._wrote_directly:
                    raise
                self.close()  # it took the flag, and cannot do it after all

        if self._direct is not None:
            _write(self._cached, chunk[whole_blocks:], offset + whole_blocks)
        else:
            _write(self._cached, chunk, offset)
            _write_back_behind(self._cached, offset, offset + len(chunk))

    def close(self) -> None:
        """Close what was opened here. DiskError (CLOSE): on NFS and FUSE it is news of lost bytes."""
        if self._direct is not None:
            direct = self._direct
            self._direct = None
            with calling(Call.CLOSE):
                os.close(direct)


def _write(descriptor: int, chunk: memoryview, offset: int) -> None:
    """Write all of the chunk. DiskError (WRITE)."""
    while chunk:
        with calling(Call.WRITE):
            written = os.pwrite(descriptor, chunk, offset)
        if written == 0:
            raise DiskError(Call.WRITE, errno.EIO)
        chunk = chunk[written:]
        offset += written


def _write_back_behind(descriptor: int, begin: int, end: int) -> None:
    """At each window's end start writing it to the drive, and drop from memory the one before, which has had its time.

    DiskError (WRITE_BACK): bytes that were taken are lost.
    """
    window = end // WINDOW_BYTES
    if window == begin // WINDOW_BYTES:
        return
    with calling(Call.WRITE_BACK):
        kernel.write_back(descriptor, (window - 1) * WINDOW_BYTES, WINDOW_BYTES, wait=False)
        if window >= 2:
            before = (window - 2) * WINDOW_BYTES
            kernel.write_back(descriptor, before, WINDOW_BYTES, wait=True)
            os.posix_fadvise(descriptor, before, WINDOW_BYTES, os.POSIX_FADV_DONTNEED)
