"""A real directory with the operations of the modelled drive, and real file systems in images to put it on.

One block of the model is one block of 4 KiB, which holds its token 512 times. Runs in a mount namespace of its own.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import mmap
import os
import shutil
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

from plotfarm.plots import parts
from tests.simulation.inodes import HOLE

BLOCK_BYTES = 4096
# Set times are whole seconds from here on, so that they differ from those of the clocks of both sides.
FIRST_SET_TIME = 1_000_000
LAST_SET_TIME = 2_000_000

_LIBC = ctypes.CDLL(None, use_errno=True)
_KEEP_SIZE = 1
_NO_REPLACE = 1
_WRITE_AND_WAIT = 1 | 2 | 4  # sync_file_range: WAIT_BEFORE, WRITE, WAIT_AFTER
_SHUTDOWN = 0x8004587D  # EXT4_IOC_SHUTDOWN and XFS_IOC_GOINGDOWN
_NO_LOG_FLUSH = 2
_MINIMUM_BYTES = {"ext4": 64 * 2**20, "xfs": 320 * 2**20, "btrfs": 192 * 2**20}


class RealFile:
    """An open file description."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_RANDOM)  # no page is read ahead

    def is_direct(self, value: bool) -> None:
        """Switch O_DIRECT on or off."""
        flags = fcntl.fcntl(self.descriptor, fcntl.F_GETFL)
        wanted = flags | os.O_DIRECT if value else flags & ~os.O_DIRECT
        if wanted != flags:
            fcntl.fcntl(self.descriptor, fcntl.F_SETFL, wanted)


class RealDirectory:
    """The operations of a modelled drive, in one real directory."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._block = mmap.mmap(-1, BLOCK_BYTES)  # aligned, as O_DIRECT wants it

    def leave(self) -> None:
        """Close the directory, once."""
        if self.directory >= 0:
            os.close(self.directory)
        self.directory = -1

    def list(self) -> list[str]:
        # Learned: btrfs shows a directory as it was when it was opened, without files that were made later, to the
        # first listing of that descriptor. So it is opened anew.
        fresh = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=self.directory)
        try:
            return sorted(os.listdir(fresh))
        finally:
            os.close(fresh)

    def create(self, name: str, exclusive: bool = True) -> RealFile:
        only_new = os.O_EXCL if exclusive else 0
        return self._open(name, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | only_new)

    def symlink(self, target: str, name: str) -> None:
        os.symlink(target, name, dir_fd=self.directory)

    def open(self, name: str, nofollow: bool = True, is_writable: bool = False) -> RealFile:
        mode = os.O_RDWR if is_writable else os.O_RDONLY
        return self._open(name, mode | (os.O_NOFOLLOW if nofollow else 0))

    def _open(self, name: str, flags: int) -> RealFile:
        return RealFile(os.open(name, flags | os.O_CLOEXEC, 0o600, dir_fd=self.directory))

    def close(self, file: RealFile) -> None:
        os.close(file.descriptor)

    def link_open_file(self, file: RealFile, name: str) -> None:
        source = f"/proc/self/fd/{file.descriptor}"
        os.link(source, name, dst_dir_fd=self.directory, follow_symlinks=True)

    def link(self, old: str, new: str) -> None:
        os.link(old, new, src_dir_fd=self.directory, dst_dir_fd=self.directory, follow_symlinks=False)

    def unlink(self, name: str) -> None:
        os.unlink(name, dir_fd=self.directory)

    def unlink_if_same(self, file: RealFile, name: str) -> bool:
        try:
            there = os.stat(name, dir_fd=self.directory, follow_symlinks=False)
        except FileNotFoundError:
            return False
        if not os.path.samestat(there, os.fstat(file.descriptor)):
            return False
        self.unlink(name)
        return True

    def rename_noreplace(self, old: str, new: str) -> None:
        _checked(_LIBC.renameat2(self.directory, old.encode(), self.directory, new.encode(), _NO_REPLACE))

    def rename(self, old: str, new: str) -> None:
        os.rename(old, new, src_dir_fd=self.directory, dst_dir_fd=self.directory)

    def fsync_directory(self) -> None:
        os.fsync(self.directory)

    def stat(self, name: str) -> os.stat_result:
        return os.stat(name, dir_fd=self.directory, follow_symlinks=False)

    def fstat(self, file: RealFile) -> os.stat_result:
        return os.fstat(file.descriptor)

    def write(self, file: RealFile, index: int, token: int, direct: bool = False) -> None:
        file.is_direct(direct)
        self._block[:] = max(token, HOLE).to_bytes(8, "little") * (BLOCK_BYTES // 8)
        written = os.pwritev(file.descriptor, [self._block], index * BLOCK_BYTES)
        if written != BLOCK_BYTES:
            raise OSError(errno.ENOSPC, "a short write")

    def read(self, file: RealFile, index: int, direct: bool = False) -> int | None:
        file.is_direct(direct)
        got = os.preadv(file.descriptor, [self._block], index * BLOCK_BYTES)
        if got == 0:
            return None
        content = self._block[:BLOCK_BYTES]
        token = content[:8]
        if got != BLOCK_BYTES or content != token * (BLOCK_BYTES // 8):
            return -2  # not one token throughout
        return int.from_bytes(token, "little")

    def truncate(self, file: RealFile, size: int) -> None:
        os.ftruncate(file.descriptor, size * BLOCK_BYTES)

    def fallocate(self, file: RealFile, size: int) -> None:
        length = ctypes.c_int64(size * BLOCK_BYTES)
        _checked(_LIBC.fallocate(file.descriptor, _KEEP_SIZE, ctypes.c_int64(0), length))

    def seek_hole(self, file: RealFile) -> int:
        return os.lseek(file.descriptor, 0, os.SEEK_HOLE) // BLOCK_BYTES

    def write_back(self, file: RealFile) -> None:
        nothing = ctypes.c_int64(0)
        _checked(_LIBC.sync_file_range(file.descriptor, nothing, nothing, _WRITE_AND_WAIT))

    def drop_clean(self, file: RealFile) -> None:
        os.posix_fadvise(file.descriptor, 0, 0, os.POSIX_FADV_DONTNEED)

    def fsync(self, file: RealFile) -> None:
        os.fsync(file.descriptor)

    def set_mtime(self, file: RealFile, value: int) -> None:
        os.utime(file.descriptor, (value, value))

    def setxattr(self, file: RealFile, name: str, value: bytes) -> None:
        os.setxattr(file.descriptor, name, value)

    def getxattr(self, file: RealFile, name: str) -> bytes:
        return os.getxattr(file.descriptor, name)

    def lock(self, file: RealFile) -> bool:
        whole_file = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
        try:
            fcntl.fcntl(file.descriptor, fcntl.F_OFD_SETLK, whole_file)
        except BlockingIOError:
            return False
        return True

    def is_locked(self, file: RealFile) -> bool:
        return parts.is_locked(file.descriptor)


class ImageDrive:
    """A real file system in an image, which can lose its power. Use in a private mount namespace, as root."""

    def __init__(self, kind: str, base: Path) -> None:
        self.kind = kind
        self.image = base / f"{kind}.image"
        self.mountpoint = base / kind
        self.mountpoint.mkdir()
        if kind == "tmpfs":
            _run("mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", self.mountpoint)
            return
        with self.image.open("wb") as file:
            file.truncate(_MINIMUM_BYTES[kind])
        _run(f"mkfs.{kind}", "-q", self.image)
        self.mount()

    def mount(self) -> None:
        """Mount the image; the kernel commits by itself only after minutes."""
        options = ["loop"] + (["commit=300"] if self.kind in ("ext4", "btrfs") else [])
        _run("mount", "-t", self.kind, "-o", ",".join(options), self.image, self.mountpoint)

    def cut_power(self, let_go: Callable[[], None]) -> None:
        """Lose what is not on the device, close all files with `let_go`, and mount again.

        ext4 and XFS are shut down without writing their log. btrfs cannot do that: its image is copied while mounted.
        """
        if self.kind == "btrfs":
            copy = self.image.with_suffix(".copy")
            _run("cp", "--sparse=always", self.image, copy)
            let_go()
            _run("umount", self.mountpoint)
            copy.replace(self.image)
        else:
            root = os.open(self.mountpoint, os.O_RDONLY)
            fcntl.ioctl(root, _SHUTDOWN, struct.pack("I", _NO_LOG_FLUSH))
            os.close(root)
            let_go()
            _run("umount", self.mountpoint)
        self.mount()

    def remove(self) -> None:
        """Unmount and delete."""
        _run("umount", self.mountpoint)
        shutil.rmtree(self.mountpoint)
        self.image.unlink(missing_ok=True)


def _run(*argv: object) -> None:
    subprocess.run([str(part) for part in argv], check=True, stdout=subprocess.DEVNULL)


def _checked(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
