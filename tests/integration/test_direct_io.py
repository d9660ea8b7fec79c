"""What is read back from a drive, and what is missing there: on real file systems."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
from pathlib import Path

import pytest
from blake3 import blake3

from plotfarm.base.disk_error import Call, DiskError
from plotfarm.transfer.direct_io import (
    BLOCK_BYTES,
    DirectFile,
    first_hole,
    hash_back,
    read_back,
)
from plotfarm.transfer.samples import SampleDiffers, Sampler, check_samples
from tests.integration.real_drives import CHUNK, in_use, make_drive, mounting, new_part, read, write

pytest_plugins = ["tests.integration.real_drives"]


# ---- Reading back ----


def test_any_range(place: Path) -> None:
    content = os.urandom(4 * CHUNK + 777)
    (place / "part").write_bytes(content)
    with open(place / "part", "rb") as file:
        os.fsync(file.fileno())
        for begin in (0, 1, 511, BLOCK_BYTES, CHUNK - 1, CHUNK, 2 * CHUNK + 5):
            for end in (begin, begin + 1, begin + CHUNK, len(content)):
                assert read(file.fileno(), begin, end) == content[begin:end]


def test_hashes_of_segments(place: Path) -> None:
    content = os.urandom(10 * CHUNK + 77)
    segment = 3 * CHUNK + BLOCK_BYTES
    expected = tuple(blake3(content[at : at + segment]).hexdigest() for at in range(0, len(content), segment))
    (place / "part").write_bytes(content)
    progress: list[int] = []
    with open(place / "part", "rb") as file:
        descriptor = file.fileno()
        os.fsync(descriptor)
        everything = hash_back(descriptor, 0, len(content), progress.append, segment_bytes=segment, chunk_bytes=CHUNK)
        assert everything == expected
        assert progress == sorted(progress) and progress[-1] == len(content)
        rest = hash_back(descriptor, 2 * segment, len(content), segment_bytes=segment, chunk_bytes=CHUNK)
        assert rest == expected[2:]
        with pytest.raises(ValueError, match="no segment"):
            hash_back(descriptor, 1, 2, segment_bytes=segment)


def test_a_short_file(place: Path) -> None:
    for size in (0, 1, BLOCK_BYTES, CHUNK + 512, 2 * CHUNK):
        (place / "part").write_bytes(bytes(size))
        with open(place / "part", "rb") as file:
            os.fsync(file.fileno())
            with pytest.raises(DiskError) as caught:
                read(file.fileno(), 0, size + 1)
            assert (caught.value.call, caught.value.number) == (Call.READ, errno.ENODATA)


def test_an_error_of_the_reader_of_chunks_ends_the_reading(tmp_path: Path) -> None:
    (tmp_path / "part").write_bytes(bytes(100 * CHUNK))
    before = in_use(tmp_path)

    def on_chunk(_: memoryview) -> None:
        raise EOFError

    with open(tmp_path / "part", "rb") as file, pytest.raises(EOFError):
        read_back(file.fileno(), 0, 100 * CHUNK, on_chunk, chunk_bytes=CHUNK)
    assert in_use(tmp_path) == before


def test_the_drive_is_read_and_not_the_cache(tmp_path: Path) -> None:
    """The bytes change behind the file system; a cached read still gives the good ones."""
    with mounting("ext4"):
        place = make_drive("ext4", tmp_path / "image", tmp_path / "drive")
        content = os.urandom(3 * CHUNK)
        with new_part(place) as descriptor:
            os.write(descriptor, content)
            os.fsync(descriptor)
            subprocess.run(["sync"], check=True)
            image = (tmp_path / "image").read_bytes()
            with open(tmp_path / "image", "r+b") as file:
                file.seek(image.index(content[:BLOCK_BYTES]) + 7)
                file.write(b"\0\0\0\0\0\0\0\0")
            assert os.pread(descriptor, len(content), 0) == content
            assert read(descriptor, 0, len(content)) != content


def test_io_error_of_a_read_arrives(tmp_path: Path) -> None:
    descriptor = os.open(tmp_path, os.O_RDONLY)
    try:
        with pytest.raises(DiskError) as caught:
            read(descriptor, 0, 10)
    finally:
        os.close(descriptor)
    assert caught.value.call is Call.READ


def test_a_file_system_that_takes_the_flag_and_refuses_the_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_for_real = os.preadv

    def preadv(descriptor: int, buffers: list[memoryview], offset: int) -> int:
        if fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_DIRECT:
            raise OSError(errno.EINVAL, "")
        return read_for_real(descriptor, buffers, offset)

    monkeypatch.setattr(os, "preadv", preadv)
    content = os.urandom(2 * CHUNK + 5)
    (tmp_path / "part").write_bytes(content)
    with open(tmp_path / "part", "rb") as file, DirectFile(file.fileno()) as direct:
        buffer = memoryview(bytearray(CHUNK))
        assert bytes(direct.read(buffer, 0, 100)) == content[:100]
        assert read(file.fileno(), 5, len(content)) == content[5:]


# ---- Holes and samples ----


def test_truncated_in_the_middle_of_writing(place: Path) -> None:
    """Somebody empties the part while bytes arrive: the size is right in the end, the first half is not."""
    content = os.urandom(8 * CHUNK)
    with new_part(place) as descriptor:
        write(descriptor, content[: 4 * CHUNK], size=len(content))
        os.truncate(place / "part", 0)
        write(descriptor, content, 4 * CHUNK)
        os.fsync(descriptor)
        assert os.fstat(descriptor).st_size == len(content)
        assert first_hole(descriptor) == 0


def test_a_skipped_range(place: Path) -> None:
    with new_part(place) as descriptor:
        write(descriptor, os.urandom(2 * CHUNK))
        write(descriptor, os.urandom(8 * CHUNK), 4 * CHUNK)
        os.fsync(descriptor)
        assert first_hole(descriptor) == 2 * CHUNK


@pytest.mark.parametrize("size", [0, 100, CHUNK, CHUNK + 1])
def test_without_holes_it_is_the_size(place: Path, size: int) -> None:
    with new_part(place) as descriptor:
        os.write(descriptor, os.urandom(size))
        os.fsync(descriptor)
        assert first_hole(descriptor) == size


def test_what_has_no_holes_to_seek() -> None:
    reader, writer = os.pipe()
    try:
        os.write(writer, b"x")
        with pytest.raises(DiskError):
            first_hole(reader)
    finally:
        os.close(reader)
        os.close(writer)


def test_overwritten_block_is_in_a_sample(place: Path) -> None:
    content = os.urandom(20 * CHUNK + 77)
    sampler = Sampler(0, len(content), fraction=0.25, sample_bytes=BLOCK_BYTES)
    with new_part(place) as descriptor:
        write(descriptor, content)
        sampler.feed(0, memoryview(content))
        os.fsync(descriptor)
        check_samples(descriptor, sampler.samples)

        victim = sampler.samples[len(sampler.samples) // 2]
        subprocess.run(
            [
                "dd",
                "if=/dev/zero",
                f"of={place / 'part'}",
                f"bs={BLOCK_BYTES}",
                f"seek={victim.offset // BLOCK_BYTES}",
                "count=1",
                "conv=notrunc,fsync",
                "status=none",
            ],
            check=True,
        )
        assert first_hole(descriptor) == len(content)
        with pytest.raises(SampleDiffers) as caught:
            check_samples(descriptor, sampler.samples)
        assert caught.value.offset == victim.offset
