"""A disk of a journey that tests hold, the part that they make there, and what somebody may do to it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from plotfarm.plots.parts import PartFacts, part_name
from plotfarm.transfer.disk import Disk, Site
from plotfarm.transfer.effects import (
    CreatePart,
    OpenDrive,
    OpenPart,
    Stopped,
    SyncPart,
)
from plotfarm.transfer.hashing import SegmentHasher
from plotfarm.transfer.outcomes import Failure

MIB = 2**20
SEGMENT_BYTES = MIB
PLOT = "plot-k32-disk.plot"
ARRIVAL = "00000000000000ab"
PART = part_name(PLOT, ARRIVAL)
CONTENT = os.urandom(3 * MIB + 4097)
FACTS = PartFacts("chiaplot01", len(CONTENT), "ab" * 32)
CREATE = CreatePart(PLOT, ARRIVAL, FACTS)
OPEN = OpenPart(PART, FACTS)


class Held(Disk):
    """A disk that is let go of at the end of a test, as its process would be."""

    def __init__(self, place: Path) -> None:
        self.place = place
        site = Site(str(place), self._open, self._is_there)
        super().__init__(site, SEGMENT_BYTES, lambda done: None)

    def _open(self) -> int:
        return os.open(self.place, os.O_RDONLY | os.O_DIRECTORY)

    def _is_there(self, directory: int) -> bool:
        try:
            return os.path.samestat(os.stat(self.place), os.fstat(directory))
        except FileNotFoundError:
            return False

    def let_go(self) -> None:
        for descriptor in (self._directory, self._part, self._stored):
            if descriptor >= 0:
                os.close(descriptor)


@contextlib.contextmanager
def opened(place: Path) -> Iterator[Held]:
    disk = Held(place)
    try:
        disk.carry_out(OpenDrive())
        yield disk
    finally:
        disk.let_go()


@pytest.fixture
def disk(place: Path) -> Iterator[Held]:
    """A disk on each kind of file system."""
    with opened(place) as disk:
        yield disk


@pytest.fixture
def plain(tmp_path: Path) -> Iterator[Held]:
    """A disk in a plain directory, where the kind of file system makes no difference."""
    with opened(tmp_path) as disk:
        yield disk


def create(disk: Held, content: bytes = CONTENT) -> Path:
    disk.carry_out(CREATE)
    os.pwrite(disk.part, content, 0)
    disk.carry_out(SyncPart())
    return disk.place / PART


def leave_part(place: Path, content: bytes = CONTENT, facts: PartFacts = FACTS) -> Path:
    """Leave a part as an arrival does that is interrupted."""
    with opened(place) as disk:
        disk.carry_out(CreatePart(PLOT, ARRIVAL, facts))
        os.pwrite(disk.part, content, 0)
    return place / PART


def hashes(content: bytes) -> tuple[str, ...]:
    hasher = SegmentHasher(segment_bytes=SEGMENT_BYTES)
    hasher.update(memoryview(content))
    return hasher.finish()


def names(place: Path) -> set[str]:
    """Return what lies there, but for what mkfs made."""
    return {path.name for path in place.iterdir()} - {"lost+found", "image", "drive", "memory"}


def replace(path: Path) -> None:
    """Put another file in the place of this one, which keeps living under another name."""
    path.rename(path.with_name("moved"))
    path.write_bytes(b"somebody's")


def expect_stopped(disk: Held, effect: object, failure: Failure = Failure.PART_CHANGED) -> None:
    with pytest.raises(Stopped) as caught:
        disk.carry_out(effect)  # type: ignore[arg-type]
    assert caught.value.failure is failure


def touch(path: Path, how: str) -> None:
    match how:
        case "second name":
            os.link(path, path.with_name("second"))
        case "moved":
            path.rename(path.with_name("moved"))
        case "replaced":
            replace(path)
        case "removed":
            path.unlink()
