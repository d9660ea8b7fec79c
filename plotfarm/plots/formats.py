"""All plot formats, each with everything that the suite knows of it: a new one is an entry here, and a sample to test.

What has no entry travels too, as UNKNOWN, if its name has a suffix that [plots] other_suffixes lists.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from plotfarm.plots.header import Header, cut_short, read_bladebit, read_gplot, read_plot2, read_v1
from plotfarm.plots.measuring import by_chunk_index, by_last_chunk, by_last_park, by_least
from plotfarm.plots.wholeness import Extent

_SMALLEST_UNKNOWN_BYTES = 4096
_ZEROS_BYTES = 4096  # whoever reads a header has at least these


@dataclass(frozen=True)
class Entry:
    """What the suite knows of one format."""

    code: int  # 0 to 14, kept in the database (drives.said): never given to another format
    suffix: str  # of the finished file
    label: str  # in reports, behind k
    magic: bytes = b""  # the file begins so
    header_bytes: int = 0  # fewer are no header
    read: Callable[[bytes], Header | None] = lambda _data: None  # None: of another version
    measure: Callable[[int, Header, int], Extent] = by_least  # an open file, its header, its bytes
    is_farmed: bool = True  # by a release of Chia, now or in time to come
    is_plot: bool = True  # False: it is never counted as one


class PlotFormat(StrEnum):
    """A plot format. The values travel in offers and are kept with each transfer."""

    entry: Entry

    def __new__(cls, name: str, entry: Entry) -> PlotFormat:
        """Make a member that is its name, and has an entry."""
        member = str.__new__(cls, name)
        member._value_ = name
        member.entry = entry
        return member

    UNKNOWN = "unknown", Entry(code=0, suffix="", label="format unknown")
    V1 = (
        "v1",
        Entry(
            code=1,
            suffix=".plot",
            label=".plot",
            magic=b"Proof of Space Plot",
            header_bytes=60,
            read=read_v1,
            measure=by_last_park,
        ),
    )
    BLADEBIT = (
        "bladebit",
        Entry(
            code=2,
            suffix=".plot",
            label=".plot (bladebit)",
            magic=b"PLOT",
            header_bytes=43,
            read=read_bladebit,
        ),
    )
    # Chia 2.7 reads it, but the groups that come in its place are made otherwise: every one made so far is lost.
    PLOT2 = (
        "plot2",
        Entry(
            code=3,
            suffix=".plot2",
            label=".plot2",
            magic=b"pos2",
            header_bytes=43,
            read=read_plot2,
            measure=by_last_chunk,
            is_farmed=False,
        ),
    )
    GPLOT = (
        "gplot",
        Entry(
            code=4,
            suffix=".gplot",
            label=".gplot",
            magic=b"PoS2",
            header_bytes=51,
            read=read_gplot,
            measure=by_chunk_index,
        ),
    )
    # What `dd if=/dev/zero` makes for the testing mode. The bytes say so, whoever sent it and whatever its name is: a
    # real plot that came by the testing mode is one.
    TESTING = (
        "testing",
        Entry(code=5, suffix="", label="testing plot (zeros)", is_farmed=False, is_plot=False),
    )


SUFFIXES = tuple(dict.fromkeys(each.entry.suffix for each in PlotFormat if each.entry.suffix))
_BY_NAME = {each.value: each for each in PlotFormat}
_BY_CODE = {each.entry.code: each for each in PlotFormat}
NO_PLOTS = tuple(each.value for each in PlotFormat if not each.entry.is_plot)  # kinds that are never counted


def is_known(name: str) -> bool:
    """Tell whether there is a format of this name."""
    return name in _BY_NAME


def named(name: str) -> PlotFormat:
    """Return the format of this name; UNKNOWN if a later version of the suite has recorded another one."""
    return _BY_NAME.get(name, PlotFormat.UNKNOWN)


def of_code(code: int) -> PlotFormat:
    """Return the format that is kept as this number; UNKNOWN if a later version has kept it."""
    return _BY_CODE.get(code, PlotFormat.UNKNOWN)


def of_suffix(suffix: str) -> PlotFormat:
    """Return the only format with this suffix; UNKNOWN if there are several, or none."""
    found = [each for each in PlotFormat if each.entry.suffix == suffix]
    return found[0] if len(found) == 1 else PlotFormat.UNKNOWN


def plots_in(counts: Mapping[tuple[str, int], int]) -> int:
    """Return how many of the counted files, by (kind, k), are plots."""
    return sum(files for (kind, _), files in counts.items() if kind not in NO_PLOTS)


def testing_in(counts: Mapping[tuple[str, int], int]) -> int:
    """Return how many of the counted files, by (kind, k), are testing plots."""
    return sum(files for (kind, _), files in counts.items() if kind in NO_PLOTS)


def read_header(data: bytes, size: int) -> Header:
    """Return what a plot's header says; pure, and no input makes it raise.

    `data` is the beginning of the file, 1 MiB or less, also while more of it is still to arrive; `size` is
    the size of the whole file as it is known so far.
    """
    for each in PlotFormat:
        entry = each.entry
        if not entry.magic or not data.startswith(entry.magic):
            continue
        if len(data) < entry.header_bytes:
            return Header(missing=cut_short(data))
        header = entry.read(data)
        return _unknown(data, size) if header is None else replace(header, kind=each)
    return _unknown(data, size)


def _unknown(data: bytes, size: int) -> Header:
    """Gigahorse and whatever comes next: nothing is known, but some files can be no plot yet."""
    if size < _SMALLEST_UNKNOWN_BYTES:
        return Header(missing=f"{size:,} bytes are too few for a plot")
    if data and not data[:_ZEROS_BYTES].strip(b"\0"):  # of the testing mode, reserved, or lost in a power cut
        kind = PlotFormat.TESTING if len(data) >= _ZEROS_BYTES else PlotFormat.UNKNOWN
        return Header(kind=kind, missing="it begins with zeros: nothing is written there yet")
    return Header()


def measure(descriptor: int, header: Header, size: int) -> Extent:
    """Find out how large the whole file must be, reading those places that the header points to."""
    if header.least_bytes is not None and size < header.least_bytes:
        exact = () if header.expected_bytes is None else (header.expected_bytes,)
        return Extent(exact, header.least_bytes)
    return header.kind.entry.measure(descriptor, header, size)
