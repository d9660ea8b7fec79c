import random
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plots_samples import (
    ID,
    MEMO,
    bladebit_header,
    gplot_header,
    packed_pointers,
    plot2,
    real,
    v1_header,
)

from plotfarm.plots.formats import read_header
from plotfarm.plots.header import HEADER_BYTES, Header

KINDS = {"v1", "bladebit", "plot2", "gplot", "unknown"}
BIG = 10**11
TABLES = [(0, 0), *[(4096 * (i + 1), 4000) for i in range(9)]]


def whole(kind: str) -> bytes:
    """Return one sound file of each kind, real where a plotter is at hand."""
    return {
        "v1": lambda: real("v1"),
        "gplot": lambda: real("gplot"),
        "bladebit": lambda: bladebit_header(7, TABLES).ljust(4096 * 9 + 4000, b"\1"),
        "plot2": lambda: plot2([b"x" * 3000, b"y" * 2000]),
    }[kind]()


@pytest.mark.parametrize("k", [18, 20])
def test_a_real_v1_plot_gives_its_exact_size(k: int) -> None:
    data = real("v1", k)
    header = read_header(data[:HEADER_BYTES], len(data))
    assert (header.kind, header.k, header.pool, header.version) == ("v1", k, "contract", 1)
    assert header.plot_id == data[19:51].hex()
    assert header.expected_bytes == len(data)
    assert (header.missing, header.problem) == ("", "")


@pytest.mark.parametrize("k", [18, 20, 22])
def test_a_real_plot_group_gives_its_facts(k: int) -> None:
    data = real("gplot", k)
    header = read_header(data[:HEADER_BYTES], len(data))
    assert (header.kind, header.k, header.group_size, header.strength) == ("gplot", k, 1, 2)
    assert header.plot_id == data[5:37].hex()
    assert header.index_entries == 2 ** (k - 6)
    assert header.least_bytes is not None
    assert header.index_at is not None
    assert header.index_at < header.least_bytes <= len(data)
    assert (header.missing, header.problem) == ("", "")


@pytest.mark.parametrize(("length", "pool"), [(128, "og"), (112, "contract"), (60, "")])
def test_the_kind_of_pool_comes_from_the_length_of_the_memo(length: int, pool: str) -> None:
    memo = (MEMO * 2)[:length]
    pointers, size, _ = packed_pointers(4_294_000_000, memo=memo)
    header = read_header(v1_header(pointers, memo=memo), size)
    assert header.pool == pool
    assert header.expected_bytes == size


def test_tables_aligned_as_bladebit_does_give_a_lower_bound_only() -> None:
    pointers = [4096 * (i + 1) for i in range(10)]
    header = read_header(v1_header(pointers), BIG)
    assert header.expected_bytes is None
    assert header.least_bytes == 4096 * 10 + 1
    assert (header.missing, header.problem) == ("", "")


@pytest.mark.parametrize("table", range(10))
@pytest.mark.parametrize("step", [-1, 1, 5])
def test_one_moved_table_never_makes_a_wrong_exact_size(table: int, step: int) -> None:
    pointers, size, _ = packed_pointers(4_294_000_000)
    pointers[table] += step
    header = read_header(v1_header(pointers), size)
    assert header.expected_bytes is None or (1 <= table <= 5 and header.expected_bytes == size)


def test_v1_pointers_not_yet_written_and_pointers_into_the_header() -> None:
    pointers, size, _ = packed_pointers(10**6)
    assert "not written yet" in read_header(v1_header([*pointers[:9], 0]), size).missing
    assert "inside the header" in read_header(v1_header([17, *pointers[1:]]), size).problem
    assert "k = 99" in read_header(v1_header(pointers, k=99), size).problem


def test_another_format_under_the_v1_magic_is_left_to_the_fallback() -> None:
    data = v1_header([1] * 10).replace(b"\0\x04v1.0", b"\0\x04v9.9")
    assert read_header(data, BIG) == Header()


@pytest.mark.parametrize("level", [0, 1, 7, 9])
def test_a_bladebit_plot_gives_level_and_smallest_size(level: int) -> None:
    header = read_header(bladebit_header(level, TABLES), BIG)
    assert (header.kind, header.k, header.compression) == ("bladebit", 32, level)
    assert header.plot_id == ID.hex()
    assert header.least_bytes == 4096 * 9 + 4000
    assert header.expected_bytes is None


def test_bladebit_headers_that_are_not_whole() -> None:
    assert "not written yet" in read_header(bladebit_header(7, [(0, 0)] * 10), BIG).missing
    assert "inside the header" in read_header(bladebit_header(7, [(5, 9), *TABLES[1:]]), BIG).problem
    assert read_header(bladebit_header(7, TABLES, version=3), BIG) == Header()
    assert "k = 2;" in read_header(bladebit_header(7, TABLES, k=2), BIG).problem


def test_plot2_headers() -> None:
    data = plot2([b"x" * 100, b"y" * 50])
    header = read_header(data, len(data))
    assert (header.kind, header.k, header.strength, header.index_entries) == ("plot2", 28, 2, 2)
    assert header.plot_id == ID.hex()
    at = header.index_at
    assert at is not None
    assert "not written yet" in read_header(data[:at] + bytes(len(data) - at), len(data)).missing
    hostile = data[:at] + b"\xff" * 8 + data[at + 8 :]
    assert "more than the plot has" in read_header(hostile, len(data)).problem
    assert "k = 0" in read_header(plot2([b"x"], k=0), BIG).problem


def test_plot_group_headers_that_are_not_whole() -> None:
    assert "not written yet" in read_header(gplot_header(0), BIG).missing
    assert "inside the header" in read_header(gplot_header(60), BIG).problem
    assert "no plots in the group" in read_header(gplot_header(5000, group=0), BIG).problem
    assert "k = 255" in read_header(gplot_header(5000, k=255), BIG).problem


def test_unknown_headers_are_judged_by_rest_alone_but_too_small_or_zero_is_no_plot() -> None:
    assert read_header(b"gigahorse" * 1000, BIG) == Header()
    assert "too few" in read_header(b"gigahorse", 9).missing
    assert "begins with zeros" in read_header(bytes(8192), BIG).missing
    assert "too few" in read_header(b"", 0).missing


@pytest.mark.parametrize("kind", ["v1", "gplot", "bladebit", "plot2"])
def test_a_header_cut_at_every_byte_is_missing_or_whole_and_never_wrong(kind: str) -> None:
    data = whole(kind)
    full = read_header(data[:HEADER_BYTES], len(data))
    complete_at = next(cut for cut in range(1000) if read_header(data[:cut], len(data)) == full)
    for cut in range(complete_at):
        partial = read_header(data[:cut], cut)
        assert partial.missing, cut
        assert not partial.problem, cut
        assert partial.expected_bytes is None, cut
    for cut in range(complete_at, 600):
        assert read_header(data[:cut], len(data)) == full


def check_sane(header: Header, memo: bytes) -> None:
    assert header.kind in KINDS
    shown = repr(header)
    for start in range(len(memo) - 8):
        assert memo[start : start + 8].hex() not in shown
    assert "\\x" not in shown


@given(
    st.binary(max_size=400),
    st.sampled_from([b"", b"Proof of Space Plot", b"PLOT\2\0\0\0", b"pos2", b"PoS2\2"]),
    st.integers(0, 2**63),
)
@settings(max_examples=400)
def test_no_bytes_make_it_raise(rest: bytes, magic: bytes, size: int) -> None:
    assert read_header(magic + rest, size).kind in KINDS


@given(st.binary(min_size=48, max_size=128), st.lists(st.integers(0, 2**64 - 1), min_size=20, max_size=20))
def test_no_memo_is_returned(memo: bytes, numbers: list[int]) -> None:
    memo = b"\xee\xd1" + memo  # never part of the id
    tables = list(zip(numbers[:10], numbers[10:], strict=True))
    for data in (
        v1_header(numbers[:10], memo=memo),
        bladebit_header(5, tables, memo=memo),
        plot2([b"x"], memo=memo),
        gplot_header(numbers[0], memo=memo),
    ):
        header = read_header(data, BIG)
        assert memo.hex()[:40] not in repr(header)
        assert all(value != memo for value in vars(header).values())


@pytest.mark.parametrize("kind", ["v1", "gplot", "bladebit", "plot2"])
def test_thousands_of_mutated_headers_raise_nothing(kind: str) -> None:
    data = whole(kind)[:1024]
    chance = random.Random(f"mutations of {kind}")
    for _ in range(3000):
        mutated = bytearray(data[: chance.choice([len(data), chance.randrange(len(data))])])
        for _ in range(chance.randrange(1, 12)):
            if mutated:
                mutated[chance.randrange(min(len(mutated), 320))] = chance.choice([0, 1, 255, chance.randrange(256)])
        header = read_header(bytes(mutated), chance.choice([len(mutated), 10**6, 2**63, 0]))
        check_sane(header, bytes(data[60:172]) if kind == "v1" else MEMO)


def test_hostile_numbers_stay_numbers() -> None:
    header = read_header(v1_header([2**64 - 1 - i for i in range(10)]), BIG)
    assert header.least_bytes == 2**64
    header = read_header(bladebit_header(1, [(2**64 - 1, 2**64 - 1)] * 10), BIG)
    assert header.least_bytes == 2**65 - 2
    index_at = struct.unpack("<Q", b"\xff" * 8)[0]
    assert (read_header(gplot_header(index_at, k=50), BIG).least_bytes or 0) > BIG
