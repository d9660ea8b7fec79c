"""What the first bytes of a plot file say about it: one reader for each format, all of them listed in `formats`.

Layouts: chiapos `plotter_disk.hpp` and `phase4.hpp`, madMAx `phase4.hpp`, bladebit `PlotWriter.cpp`, and
the v2 formats of chia_rs. The memo of a plot holds its secret key: its length is looked at, its content
never is.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from plotfarm.plots.formats import PlotFormat

HEADER_BYTES = 1 << 20  # reading this much of a file is enough for every known header

_K_SIZES = range(18, 51)
_POOLS = {128: "og", 112: "contract"}  # by the length of a v1 memo
_C1_INTERVAL = 10_000  # table 7 entries for each entry of C1, and C1 entries for each of C2
_PARK_ENTRIES = 2048  # table 7 entries in a park


def _unknown_format() -> PlotFormat:
    from plotfarm.plots.formats import PlotFormat  # which lists the readers of this module

    return PlotFormat.UNKNOWN


@dataclass(frozen=True)
class Header:
    """The facts of one plot file that its header gives; None or an empty string where it gives none.

    Sizes and positions are in bytes. `problem` says why the file can never be whole (damaged), `missing`
    what is not written yet (unfinished); both are empty for a sound header.
    """

    kind: PlotFormat = field(default_factory=_unknown_format)
    k: int | None = None
    plot_id: str = ""  # 64 hex digits; of a .gplot the group's id
    version: int | None = None
    compression: int | None = None  # bladebit's level, 0 = none
    group_size: int | None = None  # plots in a .gplot
    strength: int | None = None
    pool: str = ""  # og, contract or ""
    expected_bytes: int | None = None  # the exact size of the whole file
    least_bytes: int | None = None  # the whole file is not smaller
    index_at: int | None = None  # .gplot: the chunk index; .plot2: the chunk count, then the offsets
    index_entries: int | None = None
    last_park_at: int | None = None  # v1: the last park of C3, if the file may end with it early
    missing: str = ""
    problem: str = ""

    @property
    def is_recognised(self) -> bool:
        """Whether it is of a known format."""
        return bool(self.kind.entry.magic)


def read_v1(data: bytes) -> Header | None:
    """Read the header of chiapos and madMAx; None: it is of another version."""
    if data[52:58] != b"\0\x04v1.0":
        return None
    memo_length = int.from_bytes(data[58:60], "big")
    end = 60 + memo_length + 80
    header = Header(k=data[51], plot_id=data[19:51].hex(), version=1, pool=_POOLS.get(memo_length, ""))
    if wrong := _impossible_k(data[51]):
        return replace(header, problem=wrong)
    if len(data) < end:
        return replace(header, missing=cut_short(data))
    pointers = struct.unpack_from(">10Q", data, end - 80)
    if 0 in pointers:
        return replace(header, missing="the table pointers in its header are not written yet")
    if min(pointers) < end:
        return replace(header, problem="a table begins inside the header")
    return _tightly_packed(replace(header, least_bytes=max(pointers) + 1), pointers, end)


def _tightly_packed(header: Header, pointers: tuple[int, ...], end: int) -> Header:
    """Add the exact size if the tables lie as chiapos and madMAx lay them; bladebit aligns them to blocks.

    The checks on the lengths of P7, C1 and C2 make sure that another plotter's layout is never measured
    with this one's ruler.
    """
    k = header.k or 0
    seventh, c1, c2, c3 = pointers[6:]
    entry = math.ceil(k / 8)
    park = 10_000 if k < 20 else 3_000
    count = (c2 - c1) // entry - 1
    if (
        pointers[0] != end
        or list(pointers) != sorted(set(pointers))
        or count < 1
        or c2 - c1 != (count + 1) * entry
        or c3 - c2 != (-(-count // _C1_INTERVAL) + 1) * entry
        or (c1 - seventh) % ((k + 1) * _PARK_ENTRIES // 8)
    ):
        return header
    parks = (c1 - seventh) // ((k + 1) * _PARK_ENTRIES // 8)
    # One plot in 10,000 has a single entry behind its last full C3 park. The plotters then write no park
    # for it, so the file ends before the next one.
    early = count > 1 and (count - 1) * _C1_INTERVAL // _PARK_ENTRIES + 1 == parks
    return replace(
        header,
        expected_bytes=c3 + count * park,
        last_park_at=c3 + (count - 2) * park if early else None,
    )


def read_bladebit(data: bytes) -> Header | None:
    """Read the header of a bladebit plot; None: it is of another version."""
    if data[4:8] != b"\2\0\0\0":
        return None
    memo_length = int.from_bytes(data[41:43], "big")
    header = Header(k=data[40], plot_id=data[8:40].hex(), version=2, pool=_POOLS.get(memo_length, ""))
    if wrong := _impossible_k(data[40]):
        return replace(header, problem=wrong)
    flags_at = 43 + memo_length
    compressed = len(data) > flags_at and data[flags_at] & 1
    tables_at = flags_at + 4 + (1 if compressed else 0)
    if len(data) < tables_at + 160:
        return replace(header, missing=cut_short(data))
    header = replace(header, compression=data[flags_at + 4] if compressed else 0)
    numbers = struct.unpack_from("<20Q", data, tables_at)
    tables = [(begin, length) for begin, length in zip(numbers[:10], numbers[10:], strict=True) if length]
    if not any(begin for begin, _ in tables):
        return replace(header, missing="the table pointers in its header are not written yet")
    if min(begin for begin, _ in tables) < tables_at + 160:
        return replace(header, problem="a table begins inside the header")
    return replace(header, least_bytes=max(begin + length for begin, length in tables))


def read_plot2(data: bytes) -> Header | None:
    """Read the header of a `.plot2`."""
    header = Header(k=data[37], plot_id=data[5:37].hex(), version=data[4], strength=data[38])
    if wrong := _impossible_k(data[37]):
        return replace(header, problem=wrong)
    index_at = 43 + data[42]
    if len(data) < index_at + 8:
        return replace(header, missing=cut_short(data))
    count = int.from_bytes(data[index_at : index_at + 8], "little")
    if count == 0:
        return replace(header, missing="its chunk offsets are not written yet")
    if count > 2 ** data[37]:
        return replace(header, problem=f"its header counts {count:,} chunks, more than the plot has entries")
    return replace(header, index_at=index_at, index_entries=count, least_bytes=index_at + 8 + 16 * count)


def read_gplot(data: bytes) -> Header | None:
    """Read the header of a group of plots; None: it is of another version."""
    if data[4] != 2:
        return None
    group = int.from_bytes(data[39:41], "little")
    header = Header(k=data[37], plot_id=data[5:37].hex(), version=data[4], group_size=group, strength=data[38])
    if wrong := _impossible_k(data[37]):
        return replace(header, problem=wrong)
    if group == 0:
        return replace(header, problem="its header says that there are no plots in the group")
    index_at = int.from_bytes(data[42:50], "little")
    if index_at == 0:
        return replace(header, missing="its chunk index is not written yet")
    if index_at <= 51 + data[50]:
        return replace(header, problem="its chunk index begins inside the header")
    entries = 2 ** (data[37] - 6)
    least = index_at + -(-entries * (2 + remainder_bits(group)) // 8)
    return replace(header, index_at=index_at, index_entries=entries, least_bytes=least)


def remainder_bits(group_size: int) -> int:
    """Return the remainder bits of an entry in the chunk index of a `.gplot` with `group_size` > 0 plots."""
    return round(math.log2(math.isqrt(357 * group_size)))


def _impossible_k(k: int) -> str:
    return "" if k in _K_SIZES else f"its header says k = {k}; plots have {_K_SIZES[0]} to {_K_SIZES[-1]}"


def cut_short(data: bytes) -> str:
    """Say that the header goes on behind what is there."""
    return f"its header is cut short after {len(data):,} bytes"
