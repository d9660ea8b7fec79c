"""The digest's layout against a computation of its own, and that it does not matter how the bytes come."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from plotfarm.transfer.digest import PIECE_BYTES, SEGMENT_BYTES, Digester, digest_file

SEGMENT = 64


def independent(content: bytes, segment: int) -> tuple[str, tuple[str, ...]]:
    """The layout of the protocol: BLAKE3 of each segment, and BLAKE3 of their raw digests in a row."""
    segments = [content[start : start + segment] for start in range(0, len(content), segment)] or [b""]
    raw = [blake3(each).digest() for each in segments]
    return blake3(b"".join(raw)).hexdigest(), tuple(each.hex() for each in raw)


def digested(pieces: list[bytes], segment: int) -> tuple[str, tuple[str, ...]]:
    digester = Digester(segment)
    for piece in pieces:
        digester.update(memoryview(piece))
    digest = digester.finish()
    return digest.plot, digest.segments


@pytest.mark.parametrize("size", [0, 1, SEGMENT - 1, SEGMENT, SEGMENT + 1, 2 * SEGMENT, 5 * SEGMENT + 7])
def test_the_layout(size: int) -> None:
    content = os.urandom(size)
    assert digested([content], SEGMENT) == independent(content, SEGMENT)


def test_segments_are_of_one_gib() -> None:
    """A change here would make hosts of different versions disagree about every plot."""
    assert SEGMENT_BYTES == 1024**3
    assert digested([b"plot"], SEGMENT_BYTES) == independent(b"plot", 1024**3)


@given(st.lists(st.binary(max_size=200), max_size=20), st.integers(1, 150))
def test_any_chunking_gives_the_same_digest(pieces: list[bytes], segment: int) -> None:
    assert digested(pieces, segment) == independent(b"".join(pieces), segment)


@given(st.binary(min_size=1, max_size=500), st.data())
def test_any_other_content_gives_another_digest(content: bytes, data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(content) - 1))
    bit = 1 << data.draw(st.integers(0, 7))
    other = bytearray(content)
    other[place] ^= bit
    assert digested([content], SEGMENT)[0] != digested([bytes(other)], SEGMENT)[0]
    assert digested([content + b"\0"], SEGMENT)[0] != digested([content], SEGMENT)[0]


def test_a_finished_digester_goes_on() -> None:
    digester = Digester(SEGMENT)
    digester.update(memoryview(b"x" * 100))
    assert digester.finish() == digester.finish()
    digester.update(memoryview(b"y" * 100))
    assert digester.finish().plot == independent(b"x" * 100 + b"y" * 100, SEGMENT)[0]


def test_a_file(tmp_path: Path) -> None:
    content = os.urandom(PIECE_BYTES * 2 + 12345)
    path = tmp_path / "file"
    path.write_bytes(content)
    heard: list[int] = []
    with open(path, "rb") as file:
        assert digest_file(file.fileno(), len(content), heard.append).plot == independent(content, SEGMENT_BYTES)[0]
        assert heard == [PIECE_BYTES, 2 * PIECE_BYTES, len(content)]
        assert digest_file(file.fileno(), 1000).plot == independent(content[:1000], SEGMENT_BYTES)[0]
        with pytest.raises(OSError, match="ended at"):
            digest_file(file.fileno(), len(content) + 1)
