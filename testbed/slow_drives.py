"""Plot drives as slow as real ones: XFS on loop devices, over `testbed.slow_disk` or throttled. Needs root.

A disk that is played knows seeks and has one queue, and costs a processor. A throttled one only takes so many MB a
second, which the kernel sees to: it costs nothing, and like a disk with a cache it forgives a short pause.

Call everything inside `testbed.mounts.private_mounts`: then the mounts are gone with it, whatever happens, and the
loop devices with the mounts.
"""

from __future__ import annotations

import abc
import concurrent.futures
import contextlib
import mmap
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

from plotfarm.base.processes import end, find_program, spawn
from testbed import slow_disk
from testbed.mounts import why_no_mounts
from testbed.plots import CHECKOUT

_BLKIO = Path("/sys/fs/cgroup/blkio")
_PIECE_BYTES = 64 * 1024 * 1024
_SECTOR_BYTES = 4096


def why_no_slow_drives() -> str | None:
    """Say why there can be no slow drives here, or None."""
    if not Path("/dev/fuse").exists():
        return "slow drives need FUSE (/dev/fuse)"
    if find_program("mkfs.xfs") is None:
        return "slow drives need mkfs.xfs (xfsprogs)"
    return why_no_mounts()


def why_no_throttled_drives() -> str | None:
    """Say why there can be no throttled drives here, or None."""
    if not (_BLKIO / "blkio.throttle.write_bps_device").exists():
        return f"throttled drives need the blkio controller of cgroups v1 ({_BLKIO})"
    if find_program("mkfs.xfs") is None:
        return "slow drives need mkfs.xfs (xfsprogs)"
    return why_no_mounts()


class SlowDrive(abc.ABC):
    """An XFS of `size` bytes, mounted at `place`, on a disk that moves so many MB a second."""

    def __init__(self, directory: Path, place: Path, size: int) -> None:
        self.place = place
        self._image = directory / f"{place.name}.image"
        _write_zeros(self._image, _whole_sectors(size))
        _run("mkfs.xfs", "-q", "-s", f"size={_SECTOR_BYTES}", str(self._image))

    def write(self, name: str, size: int) -> None:
        """Write a file of zeros and fsync it: as `dd bs=64M oflag=direct conv=fsync` does."""
        descriptor = os.open(self.place / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_DIRECT, 0o600)
        try:
            _fill_with_zeros(descriptor, _whole_sectors(size))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    @abc.abstractmethod
    def cpu_seconds(self) -> float:
        """Return what the disk itself has cost: a real one has a processor of its own."""

    @abc.abstractmethod
    def remove(self) -> None:
        """Unmount it, and give its room back."""


class ThrottledDrive(SlowDrive):
    """A drive to which processes in `cgroup` write, and from which they read, so many MB a second and no more."""

    def __init__(self, directory: Path, place: Path, size: int, mb_per_second: float, cgroup: Path) -> None:
        super().__init__(directory, place, size)
        device = _loop_device(self._image)
        try:
            place.mkdir(parents=True, exist_ok=True)
            _run("mount", device, str(place))
        finally:
            _run("losetup", "-d", device)  # as soon as it is not mounted any more
        number = Path("/sys/class/block", Path(device).name, "dev").read_text().strip()
        for direction in ("read", "write"):
            limit = f"{number} {mb_per_second * 1e6:.0f}"
            (cgroup / f"blkio.throttle.{direction}_bps_device").write_text(limit)

    def cpu_seconds(self) -> float:
        """Return 0: no process plays this disk."""
        return 0.0

    def remove(self) -> None:
        """Unmount it, and give its room back."""
        with contextlib.suppress(subprocess.CalledProcessError):
            _run("umount", str(self.place))
        self._image.unlink()


class PlayedDrive(SlowDrive):
    """A drive whose disk a process plays, with its queue and its seeks."""

    def __init__(self, directory: Path, place: Path, size: int, mb_per_second: float) -> None:
        super().__init__(directory, place, size)
        self._disk = directory / f"{place.name}.disk"
        self._disk.touch()
        self._server = spawn(
            ["env", "-C", str(CHECKOUT), sys.executable, "-m", "testbed.slow_disk",
             str(self._image), str(self._disk), str(mb_per_second)],
            stdout=subprocess.PIPE,
        )  # fmt: skip
        assert self._server.stdout is not None
        if self._server.stdout.readline() != b"ready\n":
            raise RuntimeError(f"the disk of {place} does not start")
        self._mount()

    def _mount(self) -> None:
        device = _loop_device(self._disk)
        try:
            queue = Path("/sys/class/block", Path(device).name, "queue")
            (queue / "scheduler").write_text("none")
            (queue / "nr_requests").write_text(str(slow_disk.QUEUE_REQUESTS))
            (queue / "max_sectors_kb").write_text(str(slow_disk.REQUEST_BYTES // 1024))
            self.place.mkdir(parents=True, exist_ok=True)
            _run("mount", device, str(self.place))
        finally:
            _run("losetup", "-d", device)  # as soon as it is not mounted any more

    def cpu_seconds(self) -> float:
        """Return what the disk itself has cost: a real one has a processor of its own."""
        times = psutil.Process(self._server.pid).cpu_times()
        return float(times.user + times.system)

    def remove(self) -> None:
        """Unmount it, and give its room back."""
        with contextlib.suppress(subprocess.CalledProcessError):
            _run("umount", str(self.place))
            _run("umount", str(self._disk))
        end(self._server)
        self._image.unlink()


@contextlib.contextmanager
def slow_drives(
    directory: Path, places: list[Path], size: int, mb_per_second: float, *, throttled: bool = False
) -> Iterator[list[SlowDrive]]:
    """Have a slow drive at each place for a while; this process and all that it starts meanwhile are throttled."""
    directory.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        cgroup = stack.enter_context(_cgroup()) if throttled else None
        drives: list[SlowDrive] = []
        for place in places:
            if cgroup is not None:
                drives.append(ThrottledDrive(directory, place, size, mb_per_second, cgroup))
            else:
                drives.append(PlayedDrive(directory, place, size, mb_per_second))
            stack.callback(drives[-1].remove)
        yield drives


@contextlib.contextmanager
def _cgroup() -> Iterator[Path]:
    """Be in a cgroup of one's own for a while."""
    cgroup = _BLKIO / f"slow-drives-{os.getpid()}"
    cgroup.mkdir()
    (cgroup / "cgroup.procs").write_text(str(os.getpid()))
    try:
        yield cgroup
    finally:
        for pid in (cgroup / "cgroup.procs").read_text().split():
            with contextlib.suppress(OSError):  # it has ended meanwhile
                (_BLKIO / "cgroup.procs").write_text(pid)
        cgroup.rmdir()


def _loop_device(file: Path) -> str:
    # 4 KiB sectors and direct I/O: the disk hears of each request as the file system made it.
    sectors = ["--sector-size", str(_SECTOR_BYTES)]
    losetup = ["losetup", "--find", "--show", "--direct-io=on", *sectors, str(file)]
    return subprocess.run(losetup, check=True, capture_output=True, text=True).stdout.strip()


def written_mb_per_second(drives: list[SlowDrive], size: int) -> float:
    """Return how fast files of `size` bytes are written and fsynced, one on each drive at once, as a sum in MB/s."""
    started = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(len(drives)) as pool:
        list(pool.map(lambda drive: drive.write("calibration", size), drives))
    seconds = time.monotonic() - started
    for drive in drives:
        (drive.place / "calibration").unlink()
    return len(drives) * size / 1e6 / seconds


def _write_zeros(image: Path, size: int) -> None:
    # Not a hole: the file system below would look for room in the middle of a measurement.
    descriptor = os.open(image, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_DIRECT, 0o600)
    try:
        _fill_with_zeros(descriptor, size)
    finally:
        os.close(descriptor)


def _whole_sectors(size: int) -> int:
    return size // _SECTOR_BYTES * _SECTOR_BYTES


def _fill_with_zeros(descriptor: int, size: int) -> None:
    with mmap.mmap(-1, _PIECE_BYTES) as piece, memoryview(piece) as view:
        for offset in range(0, size, _PIECE_BYTES):
            with view[: min(_PIECE_BYTES, size - offset)] as part:
                os.pwrite(descriptor, part, offset)


def _run(*argv: str) -> None:
    subprocess.run(argv, check=True, stdin=subprocess.DEVNULL)
