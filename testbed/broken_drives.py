"""Drives that break: real file systems in images, whose writes come to nothing or whose power is cut. Needs root.

Everything here belongs inside `mounts.private_mounts`: what is mounted there is gone with it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import struct
import subprocess
from collections.abc import Iterator, Sequence
from enum import StrEnum
from pathlib import Path

from testbed.mounts import why_no_mounts

MIB = 2**20
_EXT4_IOC_SHUTDOWN = 0x8004587D  # _IOR('X', 125, __u32)
_NO_FLUSH_OF_THE_JOURNAL = struct.pack("I", 2)
_EXTENT = re.compile(r"^\s*\d+:\s+\d+\.\.\s*\d+:\s+(\d+)\.\.\s*(\d+):", re.MULTILINE)


class Kind(StrEnum):
    """A file system, as mkfs and mount call it."""

    EXT4 = "ext4"
    XFS = "xfs"
    BTRFS = "btrfs"


# mkfs refuses smaller ones.
SMALLEST_BYTES = {Kind.EXT4: 64 * MIB, Kind.XFS: 320 * MIB, Kind.BTRFS: 128 * MIB}
_MKFS: dict[Kind, Sequence[str]] = {
    # Nothing is left to be initialised in the background.
    Kind.EXT4: ("mkfs.ext4", "-q", "-m", "0", "-E", "lazy_itable_init=0,lazy_journal_init=0"),
    Kind.XFS: ("mkfs.xfs", "-q"),
    Kind.BTRFS: ("mkfs.btrfs", "-q"),
}


def why_no_broken_drives(*programs: str) -> str | None:
    """Say why there can be no such drives here, or None; `programs` are needed besides."""
    for program in ("mkfs.ext4", "mkfs.xfs", "filefrag", *programs):
        if shutil.which(program, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin") is None:
            return f"this test needs {program}"
    return why_no_mounts()


def why_no_fuse(*programs: str) -> str | None:
    """Say why nothing can be mounted through FUSE here, or None."""
    if not os.path.exists("/dev/fuse"):
        return "there is no /dev/fuse here"
    return why_no_broken_drives(*programs)


class ImageDrive:
    """A file system of some kind in the file `image`, mounted at `place`."""

    def __init__(self, kind: Kind, image: Path, place: Path, size: int = 0) -> None:
        self.kind, self.image, self.place = kind, image, place
        with open(image, "wb") as file:
            file.truncate(size or SMALLEST_BYTES[kind])
        _run(*_MKFS[kind], str(image))
        place.mkdir(parents=True, exist_ok=True)
        self.mount()

    def mount(self) -> None:
        """Mount it."""
        _run("mount", "-o", "loop", str(self.image), str(self.place))

    def unmount(self, *, lazily: bool = False) -> None:
        """Unmount it; lazily, as `umount -l` does, also while it is in use."""
        _run("umount", *(["-l"] if lazily else []), str(self.place))

    def forget_cache(self) -> None:
        """Mount it anew, so that what is read comes from the drive."""
        self.unmount()
        self.mount()

    def cut_power(self) -> None:
        """Lose whatever is not on the drive yet, and mount what is, as after a power cut: by file system shutdown."""
        if self.kind is Kind.XFS:
            _run("xfs_io", "-x", "-c", "shutdown", str(self.place))
        else:
            assert self.kind is Kind.EXT4, "there is no shutdown for other file systems"
            directory = os.open(self.place, os.O_RDONLY)
            try:
                fcntl.ioctl(directory, _EXT4_IOC_SHUTDOWN, _NO_FLUSH_OF_THE_JOURNAL)
            finally:
                os.close(directory)
        self.unmount()
        self.mount()

    def copy_as_after_a_power_cut(self, image: Path, place: Path) -> None:
        """Mount at `place` a copy of what is on the drive now; the drive itself goes on."""
        shutil.copyfile(self.image, image)
        place.mkdir(parents=True, exist_ok=True)
        options = "loop,nouuid" if self.kind is Kind.XFS else "loop"
        _run("mount", "-o", options, str(image), str(place))


class FailingDrive(ImageDrive):
    """A drive whose writes of data fail while `fail` holds; what the file system says of itself gets through.

    The error is EIO or ENOSPC, as the file system passes it on: of write-back both say that bytes are lost.

    Its image lies on a tmpfs that is full while it fails: blocks that were written before can be written again, and
    the free ones, which are holes in the image, cannot.
    """

    def __init__(self, kind: Kind, memory: Path, place: Path, size: int = 0) -> None:
        """Make it, with its image on a tmpfs that is mounted at `memory`."""
        memory.mkdir(parents=True)
        size = size or SMALLEST_BYTES[kind]
        _run("mount", "-t", "tmpfs", "-o", f"size={size + 16 * MIB}", "none", str(memory))
        super().__init__(kind, memory / "image", place, size)
        self._filler = memory / "filler"
        self._make_free_blocks_holes()

    def _make_free_blocks_holes(self) -> None:
        """Write the whole image, but for the blocks that a file would get."""
        extents = self._free_extents()
        self.unmount()
        with open(self.image, "r+b") as file:
            for offset in range(0, os.fstat(file.fileno()).st_size, MIB):
                block = os.pread(file.fileno(), MIB, offset)
                os.pwrite(file.fileno(), block, offset)
            for start, length in extents:
                _run("fallocate", "--punch-hole", "-o", str(start), "-l", str(length), str(self.image))
        self.mount()

    def _free_extents(self) -> list[tuple[int, int]]:
        """Return where a file that fills most of the drive lies in the image: offset and length in bytes."""
        probe = self.place / "probe"
        status = os.statvfs(self.place)
        _run("fallocate", "-l", str(status.f_bavail * status.f_frsize - 4 * MIB), str(probe))
        found = subprocess.run(["filefrag", "-v", "-b1", str(probe)], capture_output=True, text=True, check=True)
        extents = [(int(first), int(last) + 1 - int(first)) for first, last in _EXTENT.findall(found.stdout)]
        assert extents, found.stdout
        probe.unlink()
        os.sync()
        return extents

    @contextlib.contextmanager
    def fail(self) -> Iterator[None]:
        """Let writes fail for a while."""
        self.begin_to_fail()
        try:
            yield
        finally:
            self.end_failing()

    def begin_to_fail(self) -> None:
        """From now on writes fail."""
        with open(self._filler, "wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(MIB))
        with open(self._filler, "ab", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(4096))

    def end_failing(self) -> None:
        """From now on writes succeed again."""
        self._filler.unlink(missing_ok=True)


def bind(source: Path, place: Path, *, read_only: bool = False) -> None:
    """Let a directory be seen at a second place, there perhaps read-only."""
    place.mkdir(parents=True, exist_ok=True)
    _run("mount", "--bind", str(source), str(place))
    if read_only:
        _run("mount", "-o", "remount,bind,ro", str(place))


def bind_by_fuse(source: Path, place: Path, options: str = "") -> None:
    """Let a directory be seen at a second place through FUSE: other device and inode numbers; `options` as for -o."""
    place.mkdir(parents=True, exist_ok=True)
    more = ["-o", options] if options else []
    _mount_by_fuse(place, "bindfs", *more, os.path.relpath(source, place.parent))


def pool(drives: Sequence[Path], place: Path) -> None:
    """Let several directories be seen as one through mergerfs."""
    place.mkdir(parents=True, exist_ok=True)
    branches = ":".join(os.path.relpath(drive, place.parent) for drive in drives)
    _mount_by_fuse(place, "mergerfs", "-o", "category.create=mfs", branches)


def _mount_by_fuse(place: Path, *argv: str) -> None:
    # With relative paths: whatever names a farm's directory in its command line counts as one of the farm's processes.
    subprocess.run([*argv, place.name], cwd=place.parent, check=True, stdin=subprocess.DEVNULL)


def unmount(place: Path) -> None:
    """Unmount what lies there, also while it is in use: a FUSE process ends with its last mount."""
    subprocess.run(["umount", "-l", str(place)], stdin=subprocess.DEVNULL, capture_output=True, check=False)


@contextlib.contextmanager
def attribute(letter: str, path: Path) -> Iterator[None]:
    """Give a file or directory one of the attributes of chattr(1) for a while, such as `i` (immutable)."""
    _run("chattr", f"+{letter}", str(path))
    try:
        yield
    finally:
        _run("chattr", f"-{letter}", str(path))


def _run(*argv: str) -> None:
    subprocess.run(argv, check=True, stdin=subprocess.DEVNULL)
