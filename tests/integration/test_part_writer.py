"""What is written to a drive: on real file systems, full and broken ones too."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest
from blake3 import blake3

from plotfarm.base import kernel
from plotfarm.base.disk_error import Call, DiskError
from plotfarm.plots.parts import is_locked, lock_part
from plotfarm.transfer import part_writer
from plotfarm.transfer.direct_io import (
    BLOCK_BYTES,
    first_hole,
    open_directly,
)
from plotfarm.transfer.part_writer import PartWriter
from testbed.mounts import mount_small
from testbed.plots import CHECKOUT
from tests.integration.real_drives import CHUNK, MIB, DyingDrive, in_use, mounting, new_part, read, write

pytest_plugins = ["tests.integration.real_drives"]

SIZES = [1, 511, 4095, 4096, 4097, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK + 12345]


def refuse_direct(patch: pytest.MonkeyPatch) -> None:
    """Let the writer meet a file system that refuses O_DIRECT."""
    patch.setattr(part_writer, "open_directly", lambda descriptor, flags: None)


# ---- What was written is there ----


def test_drives_are_read_and_written_directly(drive: Path) -> None:
    """Without this all that follows could be about the page cache."""
    with new_part(drive) as descriptor:
        direct = open_directly(descriptor, os.O_RDWR)
        assert direct is not None
        assert fcntl.fcntl(direct, fcntl.F_GETFL) & os.O_DIRECT
        os.close(direct)
        assert not kernel.is_in_memory(descriptor)
        assert not fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_DIRECT


def test_sizes(place: Path) -> None:
    for size in SIZES:
        content = os.urandom(size)
        with new_part(place) as descriptor:
            write(descriptor, content)
            os.fsync(descriptor)
            assert first_hole(descriptor) == size
            assert read(descriptor, 0, size) == content
            assert (place / "part").read_bytes() == content
        (place / "part").unlink()


def test_resume_from_an_offset(place: Path) -> None:
    content = os.urandom(5 * CHUNK + 999)
    for begin in (0, BLOCK_BYTES, CHUNK, 2 * CHUNK + BLOCK_BYTES):
        with new_part(place) as descriptor:
            write(descriptor, content[: 3 * CHUNK + 77], size=len(content))
            os.ftruncate(descriptor, begin)
            write(descriptor, content, begin)
            os.fsync(descriptor)
            assert first_hole(descriptor) == len(content)
            assert read(descriptor, 0, len(content)) == content
        (place / "part").unlink()


def test_preallocated_parts_show_what_was_written(place: Path) -> None:
    content = os.urandom(3 * CHUNK + 5)
    with new_part(place) as descriptor:
        os.posix_fallocate(descriptor, 0, len(content))
        os.ftruncate(descriptor, 0)
        write(descriptor, content[: 2 * CHUNK], size=len(content))
        assert os.fstat(descriptor).st_size == 2 * CHUNK
        write(descriptor, content, 2 * CHUNK)
        os.fsync(descriptor)
        assert first_hole(descriptor) == len(content)
        assert read(descriptor, 0, len(content)) == content


@pytest.mark.parametrize("window_chunks", [1, 3])
def test_through_the_page_cache(place: Path, window_chunks: int, monkeypatch: pytest.MonkeyPatch) -> None:
    refuse_direct(monkeypatch)
    monkeypatch.setattr(part_writer, "WINDOW_BYTES", window_chunks * CHUNK)
    content = os.urandom(10 * CHUNK + 4097)
    with new_part(place) as descriptor:
        write(descriptor, content)
        os.fsync(descriptor)
        assert read(descriptor, 0, len(content)) == content


def test_a_file_system_that_takes_the_flag_and_refuses_the_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_for_real = os.pwrite

    def pwrite(descriptor: int, chunk: memoryview, offset: int) -> int:
        if fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_DIRECT:
            raise OSError(errno.EINVAL, "")
        return write_for_real(descriptor, chunk, offset)

    monkeypatch.setattr(os, "pwrite", pwrite)
    content = os.urandom(3 * CHUNK + 5)
    with new_part(tmp_path) as descriptor:
        write(descriptor, content)
    assert (tmp_path / "part").read_bytes() == content


def test_the_callers_lock_and_offset_are_left_alone(place: Path) -> None:
    content = os.urandom(CHUNK + 5)
    with new_part(place) as descriptor:
        assert lock_part(descriptor)
        write(descriptor, content)
        assert read(descriptor, 0, len(content)) == content
        other = os.open(place / "part", os.O_RDWR)
        assert is_locked(other)
        os.close(other)


# ---- The writer's rules ----


def test_never_beyond_the_size(tmp_path: Path) -> None:
    with new_part(tmp_path) as descriptor:
        writer = PartWriter(descriptor, 0, CHUNK + 100, chunk_bytes=CHUNK)
        assert len(writer.buffer()) == CHUNK
        with pytest.raises(ValueError, match="not asked for"):
            writer.submit(CHUNK + 1)
        writer.submit(CHUNK)
        assert len(writer.buffer()) == 100
        with pytest.raises(ValueError, match="not asked for"):
            writer.submit(101)
        writer.submit(100)
        assert len(writer.buffer()) == 0
        writer.finish()
        assert os.fstat(descriptor).st_size == CHUNK + 100


def test_nothing_follows_an_unaligned_chunk(tmp_path: Path) -> None:
    with new_part(tmp_path) as descriptor:
        writer = PartWriter(descriptor, 0, 10 * CHUNK, chunk_bytes=CHUNK)
        writer.buffer()
        writer.submit(100)
        writer.buffer()
        with pytest.raises(ValueError, match="unaligned"):
            writer.submit(100)
        writer.finish()
        assert os.fstat(descriptor).st_size == 100


@pytest.mark.parametrize("begin", [1, 100, BLOCK_BYTES + 512])
def test_an_unaligned_begin(tmp_path: Path, begin: int) -> None:
    with new_part(tmp_path) as descriptor, pytest.raises(ValueError, match="cannot write"):
        PartWriter(descriptor, begin, 10 * CHUNK)


def test_what_was_submitted_can_be_hashed_until_the_next_buffer(place: Path) -> None:
    content = os.urandom(8 * CHUNK)
    hasher = blake3()
    with new_part(place) as descriptor:
        writer = PartWriter(descriptor, 0, len(content), chunk_bytes=CHUNK)
        while len(buffer := writer.buffer()):
            offset = writer.submitted
            buffer[:] = content[offset : offset + len(buffer)]
            writer.submit(len(buffer))
            hasher.update(buffer)
        writer.finish()
    assert hasher.digest() == blake3(content).digest()


def test_abandoning_ends_the_thread_and_frees_the_file(place: Path) -> None:
    before = in_use(place)
    with new_part(place) as descriptor:
        writer = PartWriter(descriptor, 0, 10 * CHUNK, chunk_bytes=CHUNK)
        writer.buffer()
        writer.submit(CHUNK)
        writer.abandon()
        written = os.fstat(descriptor).st_size
        assert written in (0, CHUNK)
        writer.abandon()
    assert in_use(place) == before


def test_finishing_and_reading_free_the_file(place: Path) -> None:
    before = in_use(place)
    with new_part(place) as descriptor:
        write(descriptor, os.urandom(3 * CHUNK + 1))
        read(descriptor, 0, CHUNK)
    assert in_use(place) == before


def test_a_thread_that_hangs_does_not_keep_the_process_from_ending(tmp_path: Path) -> None:
    """A write that never ends, and a child that leaves as the workers do."""
    script = f"""
import os, threading
from plotfarm.transfer.part_writer import PartWriter
hangs = threading.Event()
def pwrite(*_):
    hangs.set()
    threading.Event().wait()
os.pwrite = pwrite
descriptor = os.open({str(tmp_path / "part")!r}, os.O_RDWR | os.O_CREAT)
writer = PartWriter(descriptor, 0, 100 * 4096, chunk_bytes=4096)
writer.buffer()
writer.submit(4096)
hangs.wait()
os._exit(7)
"""
    ended = subprocess.run([sys.executable, "-c", script], cwd=CHECKOUT, timeout=30, check=False)
    assert ended.returncode == 7


# ---- Full and broken drives ----


def fill(place: Path) -> None:
    """Leave 4 to 8 MiB on a drive."""
    number = 0
    with contextlib.suppress(OSError):
        while True:
            with open(place / f"filler{number}", "wb") as file:
                os.posix_fallocate(file.fileno(), 0, 4 * MIB)
            number += 1
    for removed in (number, number - 1):
        (place / f"filler{removed}").unlink(missing_ok=True)


def test_full_drive(drive: Path) -> None:
    fill(drive)
    with new_part(drive) as descriptor:
        with pytest.raises(DiskError) as caught:
            write(descriptor, os.urandom(16 * MIB))
        assert (caught.value.call, caught.value.number) == (Call.WRITE, errno.ENOSPC)
        assert 0 < os.fstat(descriptor).st_size < 16 * MIB


@pytest.mark.root
def test_full_memory(tmp_path: Path) -> None:
    with mounting("ext4"):
        mount_small(tmp_path, 8 * MIB)
        with new_part(tmp_path) as descriptor:
            with pytest.raises(DiskError) as caught:
                write(descriptor, os.urandom(16 * MIB))
            assert (caught.value.call, caught.value.number) == (Call.WRITE, errno.ENOSPC)


def test_error_of_a_write_arrives(dying_drive: DyingDrive) -> None:
    with new_part(dying_drive.place) as descriptor:
        os.fsync(descriptor)
        dying_drive.die()
        with pytest.raises(DiskError) as caught:
            write(descriptor, os.urandom(16 * MIB))
        assert (caught.value.call, caught.value.number) == (Call.WRITE, dying_drive.number)


def test_error_of_the_write_back_arrives(dying_drive: DyingDrive, monkeypatch: pytest.MonkeyPatch) -> None:
    """Through the page cache all writes succeed: only the write-back knows, and it says so once."""
    refuse_direct(monkeypatch)
    monkeypatch.setattr(part_writer, "WINDOW_BYTES", MIB)
    with new_part(dying_drive.place) as descriptor:
        os.fsync(descriptor)
        dying_drive.die()
        with pytest.raises(DiskError) as caught:
            write(descriptor, os.urandom(16 * MIB))
        assert (caught.value.call, caught.value.number) == (Call.WRITE_BACK, dying_drive.number)


def test_an_error_comes_out_of_whatever_is_called_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def pwrite(*_: object) -> int:
        raise OSError(errno.EIO, "")

    monkeypatch.setattr(os, "pwrite", pwrite)
    with new_part(tmp_path) as descriptor:
        writer = PartWriter(descriptor, 0, 100 * CHUNK, chunk_bytes=CHUNK)
        writer.buffer()
        writer.submit(CHUNK)
        with pytest.raises(DiskError):
            writer.finish()
        with pytest.raises(DiskError):
            writer.buffer()
        writer.abandon()


@pytest.mark.parametrize("length", [1, -1])
def test_what_cannot_write_back_is_no_error(length: int) -> None:
    """A pipe cannot (ESPIPE), and a negative length makes no sense (EINVAL)."""
    reader, writer = os.pipe()
    try:
        kernel.write_back(writer, 0, length, wait=True)
    finally:
        os.close(reader)
        os.close(writer)


def test_a_failed_write_back_is_an_error() -> None:
    with pytest.raises(OSError) as caught:
        kernel.write_back(-1, 0, 1, wait=False)
    assert caught.value.errno == errno.EBADF
