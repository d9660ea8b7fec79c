"""A hard disk in a process: one queue, so many bytes a second, and a seek before each read from another place.

The kernel's own limits (blkio.throttle) hold writes and reads back separately, so a read never waits for a write. On
a disk it does. Here the disk is one file of a FUSE file system, which a loop device makes a block device of: the file
system on it, the page cache, the queue and the counters in /sys/block are then the kernel's, as with a real disk.

    python3 -m testbed.slow_disk IMAGE PLACE MB_PER_SECOND

serves the bytes of the file IMAGE as the file PLACE, until that is unmounted. Needs root, and Linux.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import select
import struct
import sys
import time
from collections.abc import Callable

SEEK_SECONDS = 0.008
QUEUE_REQUESTS = 32  # as a SATA disk takes (NCQ)
REQUEST_BYTES = 1024 * 1024
_PRIORITY = -15  # a disk does not get slower because the processors have much to do
_LONGEST_LAG_SECONDS = 0.1  # that a disk held up by this machine may catch up with

# The kernel's side of FUSE: /usr/include/linux/fuse.h.
_VERSION = (7, 31)
_GETATTR, _SETATTR, _OPEN, _READ, _WRITE, _STATFS, _RELEASE, _FSYNC, _INIT = 3, 4, 14, 15, 16, 17, 18, 20, 26
_SILENT = {2, 36, 42}  # FORGET, INTERRUPT and BATCH_FORGET are not answered
_ASYNC_READ, _BIG_WRITES, _ASYNC_DIO, _MAX_PAGES = 1 << 0, 1 << 5, 1 << 15, 1 << 22
_DIRECT_IO, _PARALLEL_WRITES = 1 << 0, 1 << 6
_IN_HEADER = struct.Struct("=IIQQ")  # length, opcode, unique; the node is always this one file
_IN_HEADER_BYTES = 40
_RANGE = struct.Struct("=QQI")  # of READ and WRITE: handle, offset, size
_HEAD_BYTES = _IN_HEADER_BYTES + 40  # what stands before the bytes of a WRITE
_OUT_HEADER = struct.Struct("=IiQ")


class SlowDisk:
    """The disk's mechanics: what each request costs, one after the other."""

    def __init__(self, image: str, bytes_per_second: float) -> None:
        self._image = os.open(image, os.O_RDWR | os.O_DIRECT | os.O_CLOEXEC)
        self.size = os.fstat(self._image).st_size
        self._bytes_per_second = bytes_per_second
        self._free_at = time.monotonic()
        self._head = 0  # where the next read needs no seek

    def begin(self, waited: bool) -> None:
        """Hear of a request; `waited`: it was there before the one before it was done."""
        now = time.monotonic()
        self._free_at = max(self._free_at, now - _LONGEST_LAG_SECONDS if waited else now)

    def read(self, buffer: memoryview, offset: int) -> None:
        """Fill the buffer from the disk, in a disk's time."""
        seek = 0.0 if offset == self._head else SEEK_SECONDS
        os.preadv(self._image, [buffer], offset)
        self._take(seek, len(buffer), offset)

    def write(self, buffer: memoryview, offset: int) -> None:
        """Write the buffer to the disk, in a disk's time: it has a cache that puts writes in order, so no seek."""
        os.pwrite(self._image, buffer, offset)
        self._take(0.0, len(buffer), offset)

    def _take(self, seek: float, count: int, offset: int) -> None:
        self._head = offset + count
        self._free_at += seek + count / self._bytes_per_second
        time.sleep(max(0.0, self._free_at - time.monotonic()))


class Server:
    """The file, as the kernel asks for it through /dev/fuse: first come, first served."""

    def __init__(self, disk: SlowDisk, place: str) -> None:
        self._disk = disk
        self._fuse = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
        self._poll = select.poll()
        self._poll.register(self._fuse, select.POLLIN)
        memory = memoryview(mmap.mmap(-1, mmap.PAGESIZE + REQUEST_BYTES))
        # The bytes of a request begin on a page, as O_DIRECT wants them.
        self._head, self._body = memory[mmap.PAGESIZE - _HEAD_BYTES : mmap.PAGESIZE], memory[mmap.PAGESIZE :]
        self._answers: dict[int, Callable[[], list[bytes | memoryview]]] = {
            _INIT: self._init, _GETATTR: self._attributes, _SETATTR: self._attributes, _OPEN: self._open,
            _READ: self._read, _WRITE: self._write, _STATFS: lambda: [bytes(80)], _RELEASE: list, _FSYNC: list,
        }  # fmt: skip
        _mount(self._fuse, place)

    def serve(self) -> None:
        """Answer until the file is unmounted."""
        while True:
            waited = bool(self._poll.poll(0))
            try:
                os.readv(self._fuse, [self._head, self._body])
            except OSError as error:
                if error.errno == errno.ENODEV:
                    return
                if error.errno in (errno.ENOENT, errno.EINTR, errno.EAGAIN):  # it was taken back meanwhile
                    continue
                raise
            self._disk.begin(waited)
            self._answer()

    def _answer(self) -> None:
        _, opcode, unique, _ = _IN_HEADER.unpack_from(self._head)
        if opcode in _SILENT:
            return
        status, parts = -errno.ENOSYS, list[bytes | memoryview]()
        if answer := self._answers.get(opcode):
            try:
                status, parts = 0, answer()
            except OSError as error:
                status, parts = -(error.errno or errno.EIO), []
        length = _OUT_HEADER.size + sum(len(part) for part in parts)
        os.writev(self._fuse, [_OUT_HEADER.pack(length, status, unique), *parts])

    def _init(self) -> list[bytes | memoryview]:
        flags = _ASYNC_READ | _BIG_WRITES | _ASYNC_DIO | _MAX_PAGES
        pages = REQUEST_BYTES // mmap.PAGESIZE
        return [
            struct.pack(
                "=IIIIHHIIHHI28x",
                *_VERSION, 0, flags, QUEUE_REQUESTS, QUEUE_REQUESTS, REQUEST_BYTES, 1, pages, 0, 0,
            )
        ]  # fmt: skip

    def _attributes(self) -> list[bytes | memoryview]:
        size, mode = self._disk.size, 0o100600
        return [
            struct.pack("=QII 6Q 10I", 3600, 0, 0, 1, size, size // 512, 0, 0, 0, 0, 0, 0, mode, 1, 0, 0, 0, 4096, 0)
        ]

    def _open(self) -> list[bytes | memoryview]:
        return [struct.pack("=QII", 0, _DIRECT_IO | _PARALLEL_WRITES, 0)]

    def _range(self) -> tuple[int, memoryview]:
        _, offset, size = _RANGE.unpack_from(self._head, _IN_HEADER_BYTES)
        return offset, self._body[:size]

    def _read(self) -> list[bytes | memoryview]:
        offset, buffer = self._range()
        self._disk.read(buffer, offset)
        return [buffer]

    def _write(self) -> list[bytes | memoryview]:
        offset, buffer = self._range()
        self._disk.write(buffer, offset)
        return [struct.pack("=II", len(buffer), 0)]


def _mount(fuse: int, place: str) -> None:
    # The root of this file system is a regular file, so it is mounted on one.
    options = f"fd={fuse},rootmode=100600,user_id=0,group_id=0,max_read={REQUEST_BYTES}"
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"slow_disk", os.fsencode(place), b"fuse", ctypes.c_ulong(0), options.encode()) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"mount(2): {os.strerror(number)}")


def main() -> None:
    """Serve one disk; says `ready` when it is there."""
    image, place, mb_per_second = sys.argv[1:]
    os.setpriority(os.PRIO_PROCESS, 0, _PRIORITY)
    server = Server(SlowDisk(image, float(mb_per_second) * 1e6), place)
    print("ready", flush=True)
    server.serve()


if __name__ == "__main__":
    main()
