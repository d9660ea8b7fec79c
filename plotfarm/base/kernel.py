"""The few Linux calls that Python's standard library lacks, through libc."""

from __future__ import annotations

import ctypes
import errno
import os
import signal

_libc = ctypes.CDLL(None, use_errno=True)
_PR_SET_PDEATHSIG = 1
_RENAME_NOREPLACE = 1
_IN_NONBLOCK, _IN_CLOEXEC, _IN_CLOSE_WRITE = 0o4000, 0o2000000, 8
_SYNC_FILE_RANGE_WAIT_BEFORE, _SYNC_FILE_RANGE_WRITE, _SYNC_FILE_RANGE_WAIT_AFTER = 1, 2, 4


def die_with_parent(parent: int) -> None:
    """Have the kernel kill this process when `parent`, which has just forked it, ends: prctl(2)."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it ended before the call above
        os._exit(1)


def rename_without_replacing(directory: int, old: str, new: str) -> None:
    """Rename within the directory descriptor; FileExistsError if `new` is there, OSError otherwise.

    renameat2(2) with RENAME_NOREPLACE, and link + unlink where the file system does not know it.
    """
    if _libc.renameat2(directory, os.fsencode(old), directory, os.fsencode(new), _RENAME_NOREPLACE) == 0:
        return
    number = ctypes.get_errno()
    if number not in (errno.EINVAL, errno.ENOSYS):
        raise OSError(number, os.strerror(number), new)
    os.link(old, new, src_dir_fd=directory, dst_dir_fd=directory, follow_symlinks=False)
    os.unlink(old, dir_fd=directory)


def new_watch() -> int | None:
    """Return a descriptor for `watch_closing`: inotify(7); None if this user has too many of them."""
    descriptor: int = _libc.inotify_init1(_IN_NONBLOCK | _IN_CLOEXEC)
    return descriptor if descriptor >= 0 else None


def watch_closing(watch: int, file: str | os.PathLike[str]) -> None:
    """Let a watch be readable when somebody closes a file that was open for writing; nothing if it is gone."""
    _libc.inotify_add_watch(watch, os.fsencode(file), _IN_CLOSE_WRITE)


def start_writing_back(descriptor: int, offset: int, length: int) -> None:
    """Ask the kernel to begin writing a range of dirty pages to the drive: sync_file_range(2)."""
    _sync_file_range(descriptor, offset, length, _SYNC_FILE_RANGE_WRITE)


def wait_for_write_back(descriptor: int, offset: int, length: int) -> None:
    """Wait until a range of dirty pages is written: sync_file_range(2). Not a substitute for fsync."""
    everything = _SYNC_FILE_RANGE_WAIT_BEFORE | _SYNC_FILE_RANGE_WRITE | _SYNC_FILE_RANGE_WAIT_AFTER
    _sync_file_range(descriptor, offset, length, everything)


def _sync_file_range(descriptor: int, offset: int, length: int, flags: int) -> None:
    # A file system that cannot do this (ENOSYS, ESPIPE, EINVAL) writes back when it likes; fsync decides anyway.
    _libc.sync_file_range(descriptor, ctypes.c_int64(offset), ctypes.c_int64(length), flags)
