"""How large the whole file must be, from those places in it that its header points to: one way for each format."""

from __future__ import annotations

import os

from plotfarm.plots.gplot import BLOCK_BYTES, count_entries
from plotfarm.plots.header import Header, remainder_bits
from plotfarm.plots.wholeness import Extent


def by_least(_descriptor: int, header: Header, _size: int) -> Extent:
    """Take the least size that the header tells, if it does: no place in the file tells more."""
    return Extent(least=header.least_bytes)


def by_last_park(descriptor: int, header: Header, _size: int) -> Extent:
    """Allow for the rare plot without a park for its last entry: see `header._tightly_packed`.

    madMAx fills the park before with zeros; chiapos ends the file with its content, whose length stands at
    its beginning.
    """
    expected = header.expected_bytes
    if expected is None:
        return Extent(least=header.least_bytes)
    if header.last_park_at is None:
        return Extent((expected,))
    park = (expected - header.last_park_at) // 2
    used = int.from_bytes(read_at(descriptor, header.last_park_at, 2), "big")
    return Extent((expected, header.last_park_at + park, header.last_park_at + 2 + used))


def by_last_chunk(descriptor: int, header: Header, size: int) -> Extent:
    """Add the length of the last chunk, which stands at its beginning, to its offset, the last one."""
    begin, count = header.index_at or 0, header.index_entries or 0
    last = int.from_bytes(read_at(descriptor, begin + 8 * count, 8), "little")
    if last == 0:
        return Extent(missing="its chunk offsets are not written yet")
    if last < begin + 8 + 8 * count:
        return Extent(problem="its last chunk begins inside the header")
    if last + 8 > size:
        return Extent(missing=f"its last chunk begins at byte {last:,} of {size:,}")
    return Extent((last + 8 + int.from_bytes(read_at(descriptor, last, 8), "little"),))


def by_chunk_index(descriptor: int, header: Header, size: int) -> Extent:
    """Count the entries of the index, which ends with the file."""
    begin, entries = header.index_at or 0, header.index_entries or 0
    blocks = (read_at(descriptor, at, BLOCK_BYTES) for at in range(begin, size, BLOCK_BYTES))
    count = count_entries(blocks, entries, remainder_bits(header.group_size or 1))
    if count.entries < entries:
        return Extent(missing=f"its chunk index has {count.entries:,} of {entries:,} entries")
    return Extent((begin + -(-count.bits // 8),))


def read_at(descriptor: int, offset: int, length: int) -> bytes:
    """Read up to `length` bytes at `offset`; fewer only at the end of the file."""
    data = b""
    while len(data) < length and (piece := os.pread(descriptor, length - len(data), offset + len(data))):
        data += piece
    return data
