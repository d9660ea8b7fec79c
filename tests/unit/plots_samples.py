"""Plot files for the tests: real ones, made once, and others built byte by byte."""

import functools
import math
import struct
import tempfile
from pathlib import Path

from testbed.plots import make_gplot, make_v1

SECRET = b"\xa7the secret key in a memo\x9c" * 5
MEMO = SECRET[:112]
ID = bytes(range(100, 132))


@functools.cache
def real(kind: str, k: int = 18) -> bytes:
    """Return the content of a real plot."""
    with tempfile.TemporaryDirectory() as directory:
        make = {"v1": make_v1, "gplot": make_gplot}[kind]
        return make(Path(directory) / "plot", k).read_bytes()


def v1_header(pointers: list[int], k: int = 32, memo: bytes = MEMO) -> bytes:
    start = b"Proof of Space Plot" + ID + bytes([k]) + b"\0\x04v1.0"
    return start + struct.pack(">H", len(memo)) + memo + struct.pack(">10Q", *pointers)


def packed_pointers(entries: int, k: int = 32, memo: bytes = MEMO) -> tuple[list[int], int, int]:
    """Lay out tables as chiapos does; returns pointers, the end of the file, the size of a C3 park."""
    end = 60 + len(memo) + 80
    pointers = [end + 4096 * table for table in range(7)]
    entry = math.ceil(k / 8)
    c1_entries = math.ceil(entries / 10_000)
    c1 = pointers[6] + ((entries - 1) // 2048 + 1) * (k + 1) * 256
    c2 = c1 + (c1_entries + 1) * entry
    c3 = c2 + (math.ceil(c1_entries / 10_000) + 1) * entry
    park = 3000 if k >= 20 else 10_000
    return [*pointers, c1, c2, c3], c3 + c1_entries * park, park


def bladebit_header(
    level: int, tables: list[tuple[int, int]], k: int = 32, memo: bytes = MEMO, version: int = 2
) -> bytes:
    start = b"PLOT" + struct.pack("<I", version) + ID + bytes([k]) + struct.pack(">H", len(memo)) + memo
    flags = struct.pack("<I", 1) + bytes([level]) if level else struct.pack("<I", 0)
    begins, lengths = zip(*tables, strict=True)
    return start + flags + struct.pack("<10Q", *begins) + struct.pack("<10Q", *lengths)


def plot2(chunks: list[bytes], k: int = 28, memo: bytes = MEMO) -> bytes:
    start = b"pos2" + bytes([1]) + ID + bytes([k, 2, 0, 0, 0, len(memo)]) + memo
    position = len(start) + 8 + 8 * len(chunks)
    offsets, data = [], b""
    for chunk in chunks:
        offsets.append(position + len(data))
        data += struct.pack("<Q", len(chunk)) + chunk
    return start + struct.pack(f"<Q{len(chunks)}Q", len(chunks), *offsets) + data


def gplot_header(index_at: int, k: int = 18, group: int = 1, memo: bytes = MEMO) -> bytes:
    start = b"PoS2" + bytes([2]) + ID + bytes([k, 2]) + struct.pack("<H", group) + b"\0"
    return start + struct.pack("<Q", index_at) + bytes([len(memo)]) + memo
