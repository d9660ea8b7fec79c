"""What random operations do not meet: a drive that is full, and one block of a drive that cannot be written.

The same steps run on the model and on a real drive. The bad block is a hole in the image, which lies on a full tmpfs:
the loop device then answers EIO for this block and for no other, and no device-mapper is needed.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import re
import struct
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

from plotfarm.base.disk_error import Call
from tests.simulation.filesystem import Drive
from tests.simulation.real import BLOCK_BYTES, ImageDrive, RealDirectory, RealFile
from tests.simulation.steps import BLOCKS, Side, Step

BAD_BLOCK = 2
BAD_ERROR = errno.ENOSPC  # the loop device passes on what the full tmpfs says, as thin storage does
_FIEMAP = 0xC020660B
_PUNCH_HOLE = 1 | 2  # with KEEP_SIZE
_LIBC = ctypes.CDLL(None, use_errno=True)

PREPARE = (
    Step("create", 0, ("a", True)),
    Step("truncate", 0, (BLOCKS,)),
    Step("fallocate", 0, (BLOCKS,)),
    *[Step("write", 0, (index, 10 + index, True)) for index in range(BLOCKS) if index != BAD_BLOCK],
    Step("fsync", 0),
    Step("fsync_directory"),
    Step("open", 1, ("a", True, True)),
    Step("seek_hole", 0),
)
WRITE_BAD = Step("write", 0, (BAD_BLOCK, 7, False))
READ_CACHED = Step("read", 0, (BAD_BLOCK, False))
READ_DIRECT = Step("read", 0, (BAD_BLOCK, True))
FSYNC = Step("fsync", 0)
FSYNC_OTHER = Step("fsync", 1)

# Each part begins with a bad block that the model is told of by the call that meets it.
BAD_BLOCK_PARTS: dict[str, tuple[Call, tuple[Step, ...]]] = {
    "told once to each open file, then forgotten while the cache lies": (
        Call.WRITE_BACK,
        (
            WRITE_BAD,
            FSYNC,
            FSYNC,
            FSYNC_OTHER,
            FSYNC_OTHER,
            Step("open", 2, ("a", True, True)),
            Step("fsync", 2),
            Step("close", 2),
            READ_CACHED,
            Step("seek_hole", 0),
            Step("link_open_file", 0, ("b",)),
            Step("fsync_directory"),
            Step("drop_clean", 0),
            Step("seek_hole", 0),
            READ_DIRECT,
            READ_CACHED,
            Step("unlink", None, ("b",)),
        ),
    ),
    "write-back that was waited for takes the error off the file": (
        Call.WRITE_BACK,
        (WRITE_BAD, Step("write_back", 0), FSYNC, FSYNC_OTHER, READ_CACHED, Step("drop_clean", 0), READ_CACHED),
    ),
    "told to who opens the file afterwards, if nobody was told": (
        Call.WRITE_BACK,
        (
            WRITE_BAD,
            READ_DIRECT,
            Step("open", 2, ("a", True, True)),
            Step("fsync", 2),
            FSYNC,
            FSYNC_OTHER,
            FSYNC_OTHER,
            Step("close", 2),
            READ_CACHED,
            READ_DIRECT,
            Step("drop_clean", 0),
        ),
    ),
    "a direct write fails itself, and its page must not be believed": (
        Call.WRITE,
        (Step("drop_clean", 0), Step("write", 0, (BAD_BLOCK, 8, True)), FSYNC, FSYNC_OTHER, READ_DIRECT, READ_CACHED),
    ),
}


def run_bad_block(kind: str, base: Path, model: Drive) -> None:
    """Compare all parts on a real drive with a bad block; AssertionError where they differ."""
    with _drive_with_bad_block(kind, base) as (mountpoint, break_block):
        real = Side(RealDirectory(mountpoint))
        side = Side(model)
        _compare("prepare", PREPARE, side, real)
        file = real.files[0]
        assert isinstance(file, RealFile)
        break_block(file)
        for part, (call, steps) in BAD_BLOCK_PARTS.items():
            model.fail_next(call, BAD_ERROR)
            _compare(part, steps, side, real)
            assert not model.faults, part
        real.close_all()
        assert isinstance(real.directory, RealDirectory)
        real.directory.leave()


def run_full(kind: str, base: Path, model: Drive) -> None:
    """Compare a drive that fills up: reserved room stays, other room is given back; AssertionError if it differs."""
    drive = ImageDrive(kind, base)
    real = Side(RealDirectory(drive.mountpoint))
    side = Side(model)
    reserve = (
        Step("create", 0, ("reserved", True)),
        Step("fallocate", 0, (BLOCKS,)),
        Step("create", 1, ("other", True)),
        FSYNC,
        Step("create", 2, ("filler", True)),
    )
    _compare("reserve", reserve, side, real)
    _fill_up(real)
    side.directory.free = 0  # type: ignore[union-attr]
    _compare("reserved room", [Step("write", 0, (index, 5, True)) for index in range(BLOCKS)], side, real)
    no_room = (
        Step("write", 1, (0, 6, True)),
        Step("write", 1, (0, 6, False)),
        Step("fallocate", 1, (BLOCKS,)),
        Step("write", 0, (0, 8, True)),  # again: needs room where blocks are never overwritten
    )
    _compare("no room", no_room, side, real)
    real.run(Step("truncate", 2, (0,)))
    real.run(Step("fsync", 2))
    side.directory.free = model.capacity // 2  # type: ignore[union-attr]
    _compare("room again", [Step("write", 1, (0, 6, True)), Step("write", 0, (0, 8, True))], side, real)
    real.close_all()
    assert isinstance(real.directory, RealDirectory)
    real.directory.leave()
    drive.remove()


def _fill_up(real: Side) -> None:
    filler = real.files[2]
    assert isinstance(filler, RealFile)
    size = 0
    for step_bytes in (16 * 2**20, 2**20, 64 * 1024, BLOCK_BYTES):
        while _LIBC.fallocate(filler.descriptor, 0, ctypes.c_int64(size), ctypes.c_int64(step_bytes)) == 0:
            size += step_bytes
    os.fsync(filler.descriptor)
    while _LIBC.fallocate(filler.descriptor, 0, ctypes.c_int64(size), ctypes.c_int64(BLOCK_BYTES)) == 0:
        size += BLOCK_BYTES


def _compare(part: str, steps: tuple[Step, ...] | list[Step], model: Side, real: Side) -> None:
    for place, step in enumerate(steps):
        expected = model.run(step)
        found = real.run(step)
        assert expected == found, f"{part}: {step} (step {place}): model {expected}, real {found}"


@contextlib.contextmanager
def _drive_with_bad_block(kind: str, base: Path) -> Iterator[tuple[Path, Callable[[RealFile], None]]]:
    size = {"ext4": 32, "xfs": 320, "btrfs": 128}[kind] * 2**20
    store = base / "store"
    store.mkdir()
    mountpoint = base / "bad"
    mountpoint.mkdir()
    _run("mount", "-t", "tmpfs", "-o", f"size={size + 2**20}", "tmpfs", store)
    image = store / "image"
    _allocate(image, size)
    no_discard = {"ext4": ("-E", "nodiscard"), "xfs": ("-K",), "btrfs": ("-K",)}[kind]
    _run(f"mkfs.{kind}", "-q", *no_discard, image)
    _allocate(image, size)  # again: mkfs punches holes where it wants zeros
    _run("mount", "-t", kind, "-o", "loop" + (",nodiscard" if kind == "btrfs" else ""), image, mountpoint)

    def break_block(file: RealFile) -> None:
        _LIBC.syncfs(file.descriptor)  # so that btrfs-map-logical finds the file in the image
        position = _position(kind, image, file.descriptor, BAD_BLOCK)
        with image.open("r+b") as bytes_of_drive:
            where = ctypes.c_int64(position)
            length = ctypes.c_int64(BLOCK_BYTES)
            assert _LIBC.fallocate(bytes_of_drive.fileno(), _PUNCH_HOLE, where, length) == 0
        with contextlib.suppress(OSError), (store / "filler").open("wb", buffering=0) as filler:
            while filler.write(bytes(BLOCK_BYTES)):
                pass

    try:
        yield mountpoint, break_block
    finally:
        _run("umount", "-l", mountpoint)
        _run("umount", "-l", store)


def _allocate(image: Path, size: int) -> None:
    with image.open("ab") as file:
        os.posix_fallocate(file.fileno(), 0, size)


def _position(kind: str, image: Path, descriptor: int, index: int) -> int:
    """Return where a block of a file lies in the image."""
    request = bytearray(struct.pack("QQIIII", index * BLOCK_BYTES, BLOCK_BYTES, 0, 0, 1, 0) + bytes(56))
    fcntl.ioctl(descriptor, _FIEMAP, request)
    logical, physical = struct.unpack_from("QQ", request, 32)
    position: int = physical + index * BLOCK_BYTES - logical
    if kind == "btrfs":  # has addresses of its own
        answer = subprocess.run(
            ["btrfs-map-logical", "-l", str(position), str(image)], capture_output=True, text=True, check=False
        )
        found = re.search(r"physical (\d+)", answer.stdout)
        assert found, answer
        position = int(found[1])
    return position


def _run(*argv: object) -> None:
    subprocess.run([str(part) for part in argv], check=True, stdout=subprocess.DEVNULL)
