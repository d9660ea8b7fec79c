"""The layout of the hashes against a computation of its own, and that it does not matter how the bytes come."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from plotfarm.base.disk_error import Call, DiskError
from plotfarm.transfer.hashing import (
    SEGMENT_BYTES,
    SOURCE_CHUNK_BYTES,
    SegmentHasher,
    SourceShort,
    chunk_buffer,
    hash_source,
    plot_hash,
)

SEGMENT = 64


def independent(content: bytes, segment: int) -> tuple[str, ...]:
    """The layout of the protocol: BLAKE3 of each segment."""
    segments = [content[start : start + segment] for start in range(0, len(content), segment)] or [b""]
    return tuple(blake3(each).hexdigest() for each in segments)


def hashed(chunks: list[bytes], segment: int) -> tuple[str, ...]:
    hasher = SegmentHasher(segment_bytes=segment)
    for chunk in chunks:
        hasher.update(memoryview(chunk))
    return hasher.finish()


@pytest.mark.parametrize("size", [0, 1, SEGMENT - 1, SEGMENT, SEGMENT + 1, 2 * SEGMENT, 5 * SEGMENT + 7])
def test_the_layout(size: int) -> None:
    content = os.urandom(size)
    assert hashed([content], SEGMENT) == independent(content, SEGMENT)


def test_segments_are_of_one_gib() -> None:
    """A change here would make hosts of different versions disagree about every plot."""
    assert SEGMENT_BYTES == 1024**3
    hasher = SegmentHasher()
    hasher.update(memoryview(b"plot"))
    assert hasher.finish() == (blake3(b"plot").hexdigest(),)


def test_hash_of_a_plot_is_over_raw_hashes() -> None:
    first, second = blake3(b"1"), blake3(b"2")
    expected = blake3(first.digest() + second.digest()).hexdigest()
    assert plot_hash([first.hexdigest(), second.hexdigest()]) == expected
    assert plot_hash([second.hexdigest(), first.hexdigest()]) != expected


@given(st.lists(st.binary(max_size=200), max_size=20), st.integers(1, 150))
def test_any_chunking_gives_the_same_hashes(chunks: list[bytes], segment: int) -> None:
    assert hashed(chunks, segment) == independent(b"".join(chunks), segment)


@given(st.binary(min_size=1, max_size=500), st.data())
def test_any_other_content_gives_other_hashes(content: bytes, data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(content) - 1))
    bit = 1 << data.draw(st.integers(0, 7))
    other = bytearray(content)
    other[place] ^= bit
    before, after = hashed([content], SEGMENT), hashed([bytes(other)], SEGMENT)
    assert [index for index in range(len(before)) if before[index] != after[index]] == [place // SEGMENT]
    assert hashed([content + b"\0"], SEGMENT) != before


@given(st.binary(max_size=500), st.integers(0, 10))
def test_resumed_segments_are_as_good_as_hashed_ones(content: bytes, count: int) -> None:
    complete = min(count, len(content) // SEGMENT)
    everything = independent(content, SEGMENT)
    hasher = SegmentHasher(everything[:complete], segment_bytes=SEGMENT)
    assert hasher.segments == everything[:complete]
    hasher.update(memoryview(content)[complete * SEGMENT :])
    assert hasher.finish() == everything


def test_a_finished_hasher_goes_on() -> None:
    hasher = SegmentHasher(segment_bytes=SEGMENT)
    hasher.update(memoryview(b"x" * 100))
    assert hasher.finish() == hasher.finish()
    assert len(hasher.segments) == 1
    hasher.update(memoryview(b"y" * 100))
    assert hasher.finish() == independent(b"x" * 100 + b"y" * 100, SEGMENT)


def test_buffers_can_be_written_directly() -> None:
    buffer = chunk_buffer(3 * 4096)
    assert len(buffer) == 3 * 4096
    buffer[:4] = b"plot"
    assert bytes(buffer[:5]) == b"plot\0"


def test_a_source(tmp_path: Path) -> None:
    content = os.urandom(SOURCE_CHUNK_BYTES * 2 + 12345)
    path = tmp_path / "file"
    path.write_bytes(content)
    segment = 300_000
    progress: list[int] = []
    with open(path, "rb") as file:
        descriptor = file.fileno()
        everything = hash_source(descriptor, len(content), progress.append, segment_bytes=segment)
        assert everything == independent(content, segment)
        assert progress == [SOURCE_CHUNK_BYTES, 2 * SOURCE_CHUNK_BYTES, len(content)]

        for count in (0, 1, 3, 100):
            first = hash_source(descriptor, len(content), first_segments_only=count, segment_bytes=segment)
            assert first == everything[:count]


def test_only_the_first_segments_are_read(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(2 * SEGMENT))
    with open(path, "rb") as file:
        hashes = hash_source(file.fileno(), 100 * SEGMENT, first_segments_only=2, segment_bytes=SEGMENT)
    assert hashes == independent(bytes(2 * SEGMENT), SEGMENT)


def test_a_source_that_is_too_short(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(1000))
    with open(path, "rb") as file, pytest.raises(SourceShort) as caught:
        hash_source(file.fileno(), 1001)
    assert caught.value.offset == 1000


def test_a_source_that_cannot_be_read(tmp_path: Path) -> None:
    descriptor = os.open(tmp_path, os.O_RDONLY)
    try:
        with pytest.raises(DiskError) as caught:
            hash_source(descriptor, 10)
    finally:
        os.close(descriptor)
    assert (caught.value.call, caught.value.number) == (Call.READ, errno.EISDIR)
