"""File systems to write parts to: mounted from images, in memory, full, and dying. Fixtures and helpers."""

from __future__ import annotations

import contextlib
import errno
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from plotfarm.base.processes import find_program
from plotfarm.transfer.direct_io import (
    read_back,
)
from plotfarm.transfer.part_writer import PartWriter
from testbed.mounts import mount_small, private_mounts, why_no_mounts
from testbed.plots import CHECKOUT

MIB = 2**20
CHUNK = 64 * 1024
IMAGE_BYTES = {"ext4": 48 * MIB, "xfs": 320 * MIB, "btrfs": 128 * MIB}
ON_DRIVES = [pytest.param(each, marks=pytest.mark.root) for each in IMAGE_BYTES]
NO_MOUNTS = why_no_mounts()

Ending = Callable[[str, Path], contextlib.AbstractContextManager["DyingDrive"]]


def make_drive(file_system: str, image: Path, place: Path) -> Path:
    """Mount a new file system in an image; inside private_mounts."""
    return mount_image(make_image(file_system, image), place)


def make_image(file_system: str, image: Path) -> Path:
    with open(image, "wb") as file:
        file.truncate(IMAGE_BYTES[file_system])
    subprocess.run([f"mkfs.{file_system}", "-q", str(image)], check=True, stdin=subprocess.DEVNULL)
    return image


def mount_image(image: Path, place: Path) -> Path:
    place.mkdir()
    subprocess.run(["mount", "-o", "loop", str(image), str(place)], check=True)
    return place


@contextlib.contextmanager
def mounting(file_system: str) -> Iterator[None]:
    if NO_MOUNTS:
        pytest.skip(NO_MOUNTS)
    if find_program(f"mkfs.{file_system}") is None:
        pytest.skip(f"mkfs.{file_system} is not installed")
    before = threads_now()
    with private_mounts():
        yield
        wait_for_threads(before)


def in_use(place: Path) -> tuple[list[str], list[str]]:
    """Return the open files below a place and the threads of readers and writers: others come and go meanwhile."""
    names = ("part writer", "read ahead")
    threads = [thread.name for thread in threading.enumerate() if thread.name in names]
    files = []
    for number in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):
            files.append(os.readlink(f"/proc/self/fd/{number}"))
    return threads, [file for file in files if file.startswith(str(place))]


def threads_now() -> set[str]:
    """Return the threads of this process, as the kernel numbers them."""
    return set(os.listdir("/proc/self/task"))


def wait_for_threads(before: set[str]) -> None:
    """A namespace cannot be left while threads share it, and a joined one is still ending in the kernel."""
    deadline = time.monotonic() + 10
    while threads_now() - before:
        assert time.monotonic() < deadline, "a thread was left behind"
        time.sleep(0.001)


@pytest.fixture(params=["plain", "memory", *ON_DRIVES])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A directory on each kind of file system."""
    if request.param == "plain":
        yield tmp_path
    elif request.param == "memory":
        if not os.access("/dev/shm", os.W_OK):
            pytest.skip("/dev/shm is not there")
        with tempfile.TemporaryDirectory(dir="/dev/shm") as directory:
            yield Path(directory)
    else:
        with mounting(request.param):
            yield make_drive(request.param, tmp_path / "image", tmp_path / "drive")


@pytest.fixture(params=ON_DRIVES)
def drive(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    with mounting(request.param):
        yield make_drive(request.param, tmp_path / "image", tmp_path / "drive")


@dataclass(frozen=True)
class DyingDrive:
    """A drive that takes no writes any more after `die`: they end with the error `number`."""

    place: Path
    die: Callable[[], None]
    number: int


@contextlib.contextmanager
def thin_drive(file_system: str, directory: Path) -> Iterator[DyingDrive]:
    """A drive on thin storage that is used up: there is no memory left for its image."""
    memory = directory / "memory"
    memory.mkdir()
    mount_small(memory, 160 * MIB)
    place = make_drive(file_system, memory / "image", directory / "drive")

    def die() -> None:
        with contextlib.suppress(OSError), open(memory / "filler", "wb", buffering=0) as filler:
            while True:
                filler.write(bytes(MIB))

    yield DyingDrive(place, die, errno.ENOSPC)


@contextlib.contextmanager
def unplugged_drive(file_system: str, directory: Path) -> Iterator[DyingDrive]:
    """A drive whose disk is a process, which is killed."""
    if not os.path.exists("/dev/fuse"):
        pytest.skip("there is no /dev/fuse here")
    image = make_image(file_system, directory / "image")
    (directory / "disk").touch()
    disk = subprocess.Popen(
        [sys.executable, "-m", "testbed.slow_disk", str(image), str(directory / "disk"), "10000"],
        cwd=CHECKOUT,
        stdout=subprocess.PIPE,
    )
    try:
        assert disk.stdout is not None
        assert disk.stdout.readline() == b"ready\n"

        def die() -> None:
            disk.kill()
            disk.wait()

        yield DyingDrive(mount_image(directory / "disk", directory / "drive"), die, errno.EIO)
    finally:
        disk.kill()
        disk.communicate()


@pytest.fixture(params=ON_DRIVES)
def dying_drive(request: pytest.FixtureRequest, tmp_path: Path, ending: Ending) -> Iterator[DyingDrive]:
    with mounting(request.param), ending(request.param, tmp_path) as drive:
        yield drive


@pytest.fixture(params=[thin_drive, unplugged_drive])
def ending(request: pytest.FixtureRequest) -> Ending:
    made: Ending = request.param
    return made


@contextlib.contextmanager
def new_part(place: Path) -> Iterator[int]:
    descriptor = os.open(place / "part", os.O_RDWR | os.O_CREAT | os.O_EXCL)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def write(descriptor: int, content: bytes, begin: int = 0, size: int | None = None) -> None:
    """Write the content from `begin` on, as a transfer does."""
    writer = PartWriter(descriptor, begin, len(content) if size is None else size, chunk_bytes=CHUNK)
    try:
        while writer.submitted < len(content):
            buffer = writer.buffer()
            offset = writer.submitted
            count = min(len(buffer), len(content) - offset)
            buffer[:count] = content[offset : offset + count]
            writer.submit(count)
        writer.finish()
    except BaseException:
        writer.abandon()
        raise


def read(descriptor: int, begin: int, end: int) -> bytes:
    chunks: list[bytes] = []
    read_back(descriptor, begin, end, lambda chunk: chunks.append(bytes(chunk)), chunk_bytes=CHUNK)
    return b"".join(chunks)
