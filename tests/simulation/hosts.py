"""What is kept for a host or a process of a simulated farm: what it remembers, what it holds, what it was promised."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from plotfarm.transfer.outcomes import Failure
from tests.simulation.filesystem import Drive, Handle
from tests.simulation.inodes import Inode
from tests.simulation.sources import SourceDirectory

SECOND = "plotter-2"
Key = tuple[str, int]  # which file, for ever: UUID of its drive, generation


@dataclass
class Promise:
    """A plot that must not be lost, under any of these names; `excuse` says what person or rot destroyed it."""

    content: tuple[int, ...]
    names: set[str]
    excuse: str = ""


@dataclass
class Memory:
    """What a NAS remembers on its own disk."""

    quarantined: dict[str, Failure] = field(default_factory=dict)  # by UUID
    stored: dict[str, str] = field(default_factory=dict)  # plot -> UUID
    publishing: dict[str, str] = field(default_factory=dict)  # plot -> UUID
    perhaps: dict[tuple[str, str], bool] = field(default_factory=dict)  # plot, UUID: it may be stored there
    seen_parts: dict[tuple[str, str], tuple[int, int]] = field(default_factory=dict)  # -> size, since when

    def copy(self) -> Memory:
        """Return a backup."""
        return Memory(*[dict(getattr(self, name)) for name in self.__dataclass_fields__])


@dataclass
class PlotterMemory:
    """What a plotter remembers: times to give back, and plots that are not offered again."""

    times: dict[str, tuple[int, int]] = field(default_factory=dict)
    set_aside: dict[str, tuple[Any, str]] = field(default_factory=dict)  # plot -> identity, why
    failures: dict[str, int] = field(default_factory=dict)


class Plotter:
    """A host with a plot directory."""

    def __init__(self, name: str, directory: SourceDirectory) -> None:
        self.name = name
        self.directory = directory
        self.memory = PlotterMemory()


class Worker:
    """The process that holds a drive, and its part, for one arrival."""

    __slots__ = (
        "arrival",
        "data",
        "drive",
        "has_checked",
        "has_left",
        "has_linked",
        "has_lock",
        "has_looked_for_holes",
        "has_measured",
        "has_noted",
        "identity",
        "is_dead",
        "is_hung",
        "is_known",
        "is_second_name",
        "is_writer",
        "kept",
        "offered",
        "part",
        "part_name",
        "path",
        "plot",
        "plotter",
        "position",
        "resumed",
        "seen",
        "stored",
        "truth",
        "written",
    )

    def __init__(self, path: str, identity: str, plot: str, plotter: str, is_writer: bool) -> None:
        self.path = path
        self.identity = identity
        self.offered = plot
        self.plot = plot  # as its lock tells others
        self.plotter = plotter
        self.is_writer = is_writer  # it reserved the drive
        self.arrival = ""
        self.drive: Drive | None = None
        self.part: Handle | None = None
        self.part_name = ""
        self.has_lock = False
        self.stored: Handle | None = None
        self.seen: tuple[Inode, int, int] | None = None  # the stored file when it was read or published
        self.position = -1  # of a Pour or Copy
        self.written: list[int] = []  # tokens as they arrived
        self.data: tuple[int, ...] = ()
        self.is_second_name = False  # of a local move
        self.is_known = False  # it was looked at after it was published, or before it was read
        self.has_measured = False  # its size was looked at for the last time
        self.has_looked_for_holes = False
        self.kept = 0  # blocks that were read when it was opened again
        self.resumed = 0  # blocks that were agreed on of these
        self.truth: tuple[int, ...] | None = None  # what the drive held when it was last read from
        self.has_checked = False  # the bytes were read back
        self.has_linked = False
        self.has_noted = False  # that it publishes
        self.is_hung = False
        self.is_dead = False
        self.has_left = False  # nobody holds anything through it any more
