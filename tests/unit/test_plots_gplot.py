import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from plots_samples import real

from plotfarm.plots.formats import read_header
from plotfarm.plots.gplot import IndexCount, count_entries
from plotfarm.plots.header import remainder_bits


def encode(entries: list[tuple[int, int, int]], remainder: int) -> bytes:
    """Write an index plainly, bit by bit."""
    bits = []
    for sign, rest, unary in entries:
        bits += [sign, *[rest >> i & 1 for i in range(remainder)], *[1] * unary, 0]
    bits += [0] * (-len(bits) % 8)
    return bytes(sum(bit << i for i, bit in enumerate(bits[at : at + 8])) for at in range(0, len(bits), 8))


def index_of(k: int) -> tuple[bytes, int, int]:
    data = real("gplot", k)
    header = read_header(data, len(data))
    assert header.index_at is not None
    assert header.group_size is not None
    return data[header.index_at :], header.index_entries or 0, remainder_bits(header.group_size)


@pytest.mark.parametrize("k", [18, 20, 22])
def test_a_real_index_ends_with_the_file(k: int) -> None:
    index, entries, remainder = index_of(k)
    count = count_entries([index], entries, remainder)
    assert count.entries == entries
    assert 0 <= 8 * len(index) - count.bits < 8


@pytest.mark.parametrize("block", [1, 7, 64, 1000, 65536])
def test_where_the_blocks_end_does_not_matter(block: int) -> None:
    index, entries, remainder = index_of(18)
    blocks = [index[at : at + block] for at in range(0, len(index), block)]
    assert count_entries(blocks, entries, remainder) == count_entries([index], entries, remainder)


@pytest.mark.parametrize("k", [18, 20, 22])
def test_every_cut_loses_an_entry(k: int) -> None:
    index, entries, remainder = index_of(k)
    chance = random.Random(k)
    if k == 18:
        cuts = [*range(len(index) - 400, len(index)), *(chance.randrange(len(index)) for _ in range(100))]
    else:
        cuts = [*range(len(index) - 10, len(index)), *(chance.randrange(len(index)) for _ in range(10))]
    for cut in cuts:
        assert count_entries([index[:cut]], entries, remainder).entries < entries


@given(
    st.integers(1, 12),
    st.lists(st.tuples(st.integers(0, 1), st.integers(0, 2**12 - 1), st.integers(0, 40)), min_size=1, max_size=60),
    st.integers(1, 9),
)
def test_it_counts_what_was_written(remainder: int, entries: list[tuple[int, int, int]], block: int) -> None:
    written = encode(entries, remainder)
    blocks = [written[at : at + block] for at in range(0, len(written), block)]
    used = sum(2 + remainder + unary for _, _, unary in entries)
    assert count_entries(blocks, len(entries), remainder) == IndexCount(len(entries), used)
    assert count_entries([written[:-1]], len(entries), remainder).entries < len(entries)


def test_a_hostile_index_of_ones_is_given_up_after_one_block() -> None:
    ones = iter([b"\xff" * 65536] * 1000)
    assert count_entries(ones, 4096, 4).entries == 0
    assert len(list(ones)) == 999


def test_remainder_bits_grow_with_the_group() -> None:
    assert [remainder_bits(group) for group in (1, 2, 16, 128, 65535)] == [4, 5, 6, 8, 12]
