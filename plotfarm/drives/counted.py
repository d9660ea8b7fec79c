"""What was found in the directories of a drive, kept compactly: a million plots take some megabytes."""

from __future__ import annotations

import base64
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from plotfarm.drives.reasons import Why
from plotfarm.plots.formats import plots_in

_NUMBER_BYTES = 8
_SAID_BYTES = 4


class Headers:
    """What the headers of many files said: the number of a file -> what it said, in 12 bytes a file.

    A number has 64 bits and a sign, what a header said has 32 bits without one (drives.below, drives.said).
    """

    def __init__(self, packed: bytes = b"") -> None:
        count = len(packed) // (_NUMBER_BYTES + _SAID_BYTES)
        self._numbers = array("q", packed[: count * _NUMBER_BYTES])  # in order
        self._said = array("I", packed[count * _NUMBER_BYTES :])

    def __len__(self) -> int:
        return len(self._numbers)

    def get(self, number: int) -> int | None:
        """Return what the header of a file said; None if it is not known."""
        place = bisect_left(self._numbers, number)
        if place < len(self._numbers) and self._numbers[place] == number:
            return self._said[place]
        return None

    def packed(self) -> bytes:
        """Return the same as bytes, in the order of this processor."""
        return self._numbers.tobytes() + self._said.tobytes()

    def kept(self, numbers: Iterable[int]) -> Headers:
        """Return only those of these files."""
        return Headers().with_more((number, said) for number in numbers if (said := self.get(number)) is not None)

    def with_more(self, learnt: Iterable[tuple[int, int]]) -> Headers:
        """Return these and more of them, which take the place of what was known of the same files."""
        said = dict(zip(self._numbers, self._said, strict=True))
        said.update(learnt)
        both = Headers()
        both._numbers = array("q", sorted(said))
        both._said = array("I", (said[number] for number in both._numbers))
        return both


@dataclass(frozen=True)
class CountedDirectory:
    """The plot files in one directory, as they were when it was gone through."""

    path: str  # below the mountpoint; "" is the drive's own
    signature: str  # what the directory itself looked like then; "": it is to be gone through again in any case
    gone_through: float  # Unix time
    tally: Mapping[int, int]  # what a header said, completed by the name (drives.said) -> files
    plot_bytes: int  # of all plot files, without testing plots
    by_name: int  # files whose header says nothing: it is not read yet, or cannot be
    unread: int  # those of them that are not read yet
    below: tuple[str, ...]  # names of the directories in it that plots may be in
    headers: bytes  # packed Headers

    @property
    def files(self) -> int:
        """How many files were counted, testing plots too."""
        return sum(self.tally.values())

    @property
    def unreadable(self) -> int:
        """How many files have a header that could not be read."""
        return self.by_name - self.unread

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON can carry it."""
        return {
            **self.__dict__,
            "tally": sorted(self.tally.items()),
            "headers": base64.b64encode(self.headers).decode(),
        }

    @classmethod
    def from_json(cls, carried: Mapping[str, Any]) -> CountedDirectory:
        """Make it of what JSON carried."""
        return cls(
            **{
                **carried,
                "tally": dict(carried["tally"]),
                "below": tuple(carried["below"]),
                "headers": base64.b64decode(carried["headers"]),
            }
        )


@dataclass(frozen=True)
class Count:
    """The plot files and testing plots on a whole drive."""

    counts: tuple[tuple[str, int, int], ...]  # kind, k, files
    plots: int  # in all of them together: a .gplot may hold many; without testing plots, as plot_bytes
    plot_bytes: int
    headers_missing: int  # files counted by their names
    gone: tuple[str, ...] = ()  # paths of directories that were known and are not there any more

    @property
    def plot_files(self) -> int:
        """How many plot files there are, without testing plots."""
        return plots_in({(kind, k): files for kind, k, files in self.counts})


@dataclass(frozen=True)
class ReadThrough:
    """That a drive was read to its end, as far as it is read: `error` says what could not be; None: all could."""

    error: Why | None
