"""The few Linux calls that Python's standard library lacks, through libc."""

from __future__ import annotations

import ctypes
import errno
import os
import signal
import struct

_libc = ctypes.CDLL(None, use_errno=True)
_PR_SET_PDEATHSIG = 1
_RENAME_NOREPLACE = 1
_FALLOC_FL_KEEP_SIZE = 1
_IN_NONBLOCK, _IN_CLOEXEC, _IN_CLOSE_WRITE = 0o4000, 0o2000000, 8
_IN_MEMORY = (0x01021994, 0x858458F6)  # tmpfs and ramfs, from linux/magic.h
_OVERLAY = 0x794C7630  # likewise
# statx(2): of the open file itself, asked anew of whoever has it; the offsets are those of struct statx.
_AT_OF_DESCRIPTOR_ANEW = 0x1000 | 0x2000  # AT_EMPTY_PATH, AT_STATX_FORCE_SYNC
_STATX_BASIC_STATS = 0x7FF
_STATX_BYTES, _SIZE_OFFSET, _MTIME_OFFSET = 256, 40, 112
_STATFS_BYTES = 256  # more than struct statfs has anywhere; it begins with the type, a long
_SYNC_FILE_RANGE_WAIT_BEFORE, _SYNC_FILE_RANGE_WRITE, _SYNC_FILE_RANGE_WAIT_AFTER = 1, 2, 4


def die_with_parent(parent: int) -> None:
    """Have the kernel kill this process when `parent`, which has just forked it, ends: prctl(2)."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it ended before the call above
        os._exit(1)


def rename_without_replacing(directory: int, old: str, new: str) -> None:
    """Rename within the directory descriptor: renameat2(2) with RENAME_NOREPLACE.

    FileExistsError if `new` is there, OSError otherwise: EINVAL where the file system does not know it.
    """
    if _libc.renameat2(directory, os.fsencode(old), directory, os.fsencode(new), _RENAME_NOREPLACE) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), new)


def new_watch() -> int | None:
    """Return a descriptor for `watch_closing`: inotify(7); None if this user has too many of them."""
    descriptor: int = _libc.inotify_init1(_IN_NONBLOCK | _IN_CLOEXEC)
    return descriptor if descriptor >= 0 else None


def watch_closing(watch: int, file: str | os.PathLike[str]) -> bool:
    """Let a watch be readable when somebody closes a file that was open for writing; False if it cannot, or is gone."""
    return bool(_libc.inotify_add_watch(watch, os.fsencode(file), _IN_CLOSE_WRITE) >= 0)


def write_back(descriptor: int, offset: int, length: int, *, wait: bool) -> None:
    """Have a range of dirty pages written to the drive, and `wait` for it: sync_file_range(2). No substitute for fsync.

    OSError if a write to the drive failed, of this range or of any other before: the kernel says so once, so whoever
    ignores it loses it. Nothing happens where the file system cannot do this.
    """
    flags = _SYNC_FILE_RANGE_WRITE
    if wait:
        flags |= _SYNC_FILE_RANGE_WAIT_BEFORE | _SYNC_FILE_RANGE_WAIT_AFTER
    if _libc.sync_file_range(descriptor, ctypes.c_int64(offset), ctypes.c_int64(length), flags) == 0:
        return
    number = ctypes.get_errno()
    if number not in (errno.ENOSYS, errno.ESPIPE, errno.EINVAL):
        raise OSError(number, os.strerror(number))


def is_in_memory(descriptor: int) -> bool:
    """Tell whether a file lies on a file system without a drive, tmpfs or ramfs: fstatfs(2). OSError if it fails."""
    return _file_system_type(descriptor) in _IN_MEMORY


def is_overlay(descriptor: int) -> bool:
    """Tell whether a file lies on overlayfs: fstatfs(2). OSError if it fails."""
    return _file_system_type(descriptor) == _OVERLAY


def _file_system_type(descriptor: int) -> int:
    status = ctypes.create_string_buffer(_STATFS_BYTES)
    if _libc.fstatfs(descriptor, status) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return ctypes.c_long.from_buffer(status).value


def size_and_time_anew(descriptor: int) -> tuple[int, int]:
    """Return size in bytes and modification time (ns of Unix time) of an open file, as they are just now: statx(2).

    fstat(2) may show those of a while ago: FUSE and network file systems remember them. OSError if it fails.
    """
    buffer = ctypes.create_string_buffer(_STATX_BYTES)
    if _libc.statx(descriptor, b"", _AT_OF_DESCRIPTOR_ANEW, _STATX_BASIC_STATS, buffer) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    size: int = struct.unpack_from("Q", buffer, _SIZE_OFFSET)[0]
    seconds, nanoseconds = struct.unpack_from("qI", buffer, _MTIME_OFFSET)
    return size, seconds * 1_000_000_000 + nanoseconds


def allocate_keeping_size(descriptor: int, length: int) -> bool:
    """Reserve room for the first `length` bytes of a file, whose size stays: fallocate(2), FALLOC_FL_KEEP_SIZE.

    Unlike posix_fallocate(3) it never writes zeros instead: False where the file system cannot reserve. OSError if
    there is no room.
    """
    if _libc.fallocate(descriptor, _FALLOC_FL_KEEP_SIZE, ctypes.c_int64(0), ctypes.c_int64(length)) == 0:
        return True
    number = ctypes.get_errno()
    if number not in (errno.ENOSYS, errno.EOPNOTSUPP):
        raise OSError(number, os.strerror(number))
    return False
