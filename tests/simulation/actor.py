"""One journey that is under way: its generator, the effect that it waits for, and what it holds."""

from __future__ import annotations

from typing import Any

from plotfarm.plots.identity import FileIdentity
from plotfarm.transfer.effects import Effect, Steps
from tests.simulation.filesystem import Drive, Handle
from tests.simulation.hosts import Plotter, Worker
from tests.simulation.inodes import Inode
from tests.simulation.session import Session


class Source:
    """An open source."""

    __slots__ = (
        "drive",
        "handle",
        "hashed",
        "inode",
        "is_leased",
        "is_marked",
        "is_stale",
        "is_time_set",
        "name",
        "offered",
    )

    def __init__(self, drive: Drive, handle: Handle, name: str) -> None:
        self.drive = drive
        self.handle = handle
        self.inode: Inode = handle.inode
        self.name = name
        self.is_leased = False
        self.is_time_set = False
        self.is_marked = False  # it was looked at after its time was set
        self.offered = (0, 0, 0)  # how it looked when it was offered
        self.is_stale = False  # the drive went away under it
        self.hashed: tuple[int, ...] = ()  # its content when all of it was last read


class Actor:
    """A journey; `end` is the side of the session it is on."""

    __slots__ = (
        "begun",
        "effect",
        "end",
        "generator",
        "is_done",
        "name",
        "outcome",
        "plotter",
        "position",
        "resumed",
        "session",
        "source",
        "steps",
        "tokens",
        "worker",
    )

    def __init__(self, name: str, end: int, generator: Steps[Any], plotter: Plotter, session: Session) -> None:
        self.name = name
        self.end = end
        self.generator = generator
        self.plotter = plotter
        self.session = session
        self.worker: Worker | None = None
        self.source: Source | None = None
        self.effect: Effect[Any] | None = None
        self.begun = False  # an effect of many steps is under way
        self.position = -1
        self.tokens: list[int] = []  # that were read from the source in this effect
        self.outcome: Any = None
        self.is_done = False
        self.steps = 0

    def identity(self) -> FileIdentity:
        """Return which file the source is, as it is open now."""
        assert self.source is not None
        status = self.source.drive.fstat(self.source.handle)
        shown = self.plotter.directory.shown(self.source.drive, status)
        return FileIdentity(shown.device, shown.inode, shown.size, shown.mtime, shown.ctime)
