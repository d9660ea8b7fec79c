"""The chunk index at the end of a `.gplot`: it is the one place that shows whether the end is there.

For each chunk it holds, least significant bit first: a sign bit, a fixed number of remainder bits, and a
number in unary: ones ended by a zero. Nothing but the count of its entries tells where it ends.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

BLOCK_BYTES = 64 * 1024
_AT_ONCE = 1000
# The ones of a real entry are few (the unary number is about a normal deviate). Without a limit a hostile
# file of ones would be gathered in memory whole.
_LONGEST_ENTRY_BITS = 4096


@dataclass(frozen=True)
class IndexCount:
    """How many entries were found, in how many bits."""

    entries: int
    bits: int


def count_entries(blocks: Iterable[bytes], entries: int, remainder_bits: int) -> IndexCount:
    """Count the entries in an index given as successive blocks, up to `entries`; pure.

    A regular expression over the text of the bits walks through a thousand entries at a time, which is
    some 5 million entries a second; memory stays at a few blocks whatever the length.
    """
    entry = f"(?:[01]{{{1 + remainder_bits}}}1*+0)"
    many, one = re.compile(f"{entry}{{{_AT_ONCE}}}"), re.compile(entry)
    found = used = 0
    rest = ""
    for block in blocks:
        text = rest + _bits(block)
        position = 0
        while entries - found >= _AT_ONCE and (match := many.match(text, position)):
            found, position = found + _AT_ONCE, match.end()
        while found < entries and (match := one.match(text, position)):
            found, position = found + 1, match.end()
        used += position
        rest = text[position:]
        if found == entries or len(rest) > _LONGEST_ENTRY_BITS:
            break
    return IndexCount(found, used)


def _bits(block: bytes) -> str:
    """Write bytes as a text of 0 and 1, the least significant bit of the first byte first."""
    return f"{int.from_bytes(block, 'little'):0{8 * len(block)}b}"[::-1] if block else ""
