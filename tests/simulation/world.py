"""The state of a simulated farm: drives and what is mounted, what hosts remember, and the truth about the plots.

What only an all-knowing observer sees (promises, exceptions, foreign files) is here too; the journeys never see it.
"""

from __future__ import annotations

from collections.abc import Callable

from plotfarm.plots.parts import PartFacts
from tests.simulation.filesystem import Drive
from tests.simulation.hosts import SECOND, Key, Memory, Plotter, Promise, Worker
from tests.simulation.inodes import Inode
from tests.simulation.setup import (
    BLOCKS,
    CONTENT,
    KEPT_BLOCKS,
    OTHER_CONTENT,
    PLOT,
    PLOT_ID,
    Alias,
    Setup,
    Start,
)
from tests.simulation.sources import SourceDirectory

PATHS = ("/d1", "/d2")
PLOTTER = "plotter-1"
OLD_PART = f"{PLOT}.{'0' * 15}9.part"


class Violation(Exception):
    """A property that must hold does not."""

    def __init__(self, invariant: int, detail: str) -> None:
        self.invariant = invariant
        self.detail = detail
        super().__init__(f"invariant {invariant}: {detail}")


class World:
    """A farm."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self.source_drive = Drive(device=1, capacity=40, uuid="uuid-s")
        self.nas_drives = [Drive(device=2, capacity=20, uuid="uuid-1"), Drive(device=3, capacity=20, uuid="uuid-2")]
        self.drives = [self.source_drive, *self.nas_drives]
        for place, drive in enumerate(self.drives):
            drive.clock = 1000 + place * 1_000_000
            drive.has_direct = setup.has_direct
            drive.has_attributes = setup.has_attributes
        self.mounts: dict[str, Drive | None] = dict(zip(PATHS, self.nas_drives, strict=True))
        self.offline: set[str] = set()

        self.promises: list[Promise] = []
        self.excused: set[Key] = set()  # files whose content a person or rot changed where nobody could see it
        self.tolerated: set[Key] = set()  # files with the name of a plot that are not whole through a person's deed
        self.uncounted: set[Key] = set()  # parts that a person copied or moved away, or that a power cut brought back
        self.in_pool: set[Key] = set()  # files that came into a pool during a journey: unlink takes all of the name
        self.rotten: set[Key] = set()  # sources that rotted after they were read
        self.foreign: dict[Key, tuple[int, ...]] = {}  # files that are none of ours
        self.own_parts: set[Key] = set()
        self.alerts: set[str] = set()
        self.doubles: set[str] = set()  # why a plot may be stored twice
        self.touched: dict[Key, tuple[int, int]] = {}  # parts -> size, and the run in which they got it
        self.is_taken = False  # a person took, or changed, a stored plot

        self.memory = Memory()
        self.plotters = [Plotter(PLOTTER, self._directory())]
        self.workers: list[Worker] = []
        self.events: list[tuple[int, int, Callable[[], None]]] = []  # due: run, step of the run
        self.ports = 0

        self.run = 0
        self.now = 0  # running time, in runs
        self.step = 0
        self.run_step = 0
        self.is_changed = True
        self.serial = 100
        self.reads: list[int] = [0]  # blocks of sources that were read, by run
        self.leases: dict[Key, bool] = {}  # -> somebody has asked
        self.writers: set[Key] = set()  # sources that somebody has open for writing
        self.deferred: list[Callable[[], None]] = []  # what waits for the end of a lease
        self.unnoted: set[str] = set()  # drives that failed, which nothing on disk tells yet

        self.plotters[0].directory.is_there = self._is_mounted
        self._prepare()
        self.backup = self.memory.copy()

    def _is_mounted(self, drive: Drive) -> bool:
        return drive not in self.nas_drives or drive in self.mounts.values()

    # ---- Making it ------------------------------------------------------------------------------------------

    def _directory(self) -> SourceDirectory:
        first, second = self.nas_drives
        match self.setup.alias:
            case Alias.OWN:
                return SourceDirectory([(self.source_drive, "")])
            case Alias.OWN_NFS:
                return SourceDirectory([(self.source_drive, "")], device=77)
            case Alias.SAME:
                return SourceDirectory([(first, "")])
            case Alias.OTHER_DIRECTORY:
                return SourceDirectory([(first, "p/")])
            case Alias.POOL:
                return SourceDirectory([(first, ""), (second, "")], device=88)
            case Alias.POOL_SSD:
                return SourceDirectory([(self.source_drive, ""), (first, ""), (second, "")], device=88)
        return SourceDirectory([(first, "")], device=77)

    def _prepare(self) -> None:
        setup = self.setup
        drive, prefix = self.plotters[0].directory.branches[0]
        inode = self.put(drive, prefix + PLOT, CONTENT)
        self.promises.append(Promise(CONTENT, {PLOT}))
        first = self.nas_drives[0]
        self.foreign[self.key(first, self.put(first, "photos.tar", (91, 92)))] = (91, 92)
        foreign_part = self.put(first, f"{PLOT}.part", (93,))
        self.foreign[self.key(first, foreign_part)] = (93,)

        match setup.start:
            case Start.PART:
                self.put_part(first, CONTENT[:KEPT_BLOCKS])
            case Start.PART_ROTTEN:
                self.put_part(first, (*CONTENT[:3], 99, CONTENT[4]))
            case Start.STORED:
                self.put(first, PLOT, CONTENT)
                self.memory.stored[PLOT] = first.uuid
            case Start.STORED_ROTTEN:
                self.put(first, PLOT, (*CONTENT[:3], 99, *CONTENT[4:]))
                self.tolerated.add(self.key(first, first.names[PLOT]))
            case Start.OTHER:
                other = self.put(first, PLOT, OTHER_CONTENT)
                self.foreign[self.key(first, other)] = OTHER_CONTENT
            case Start.OTHER_SIZE:
                other = self.put(first, PLOT, OTHER_CONTENT[:3])
                self.foreign[self.key(first, other)] = OTHER_CONTENT[:3]
            case Start.LINKED:
                first.link(prefix + PLOT, PLOT)
                first.sync()
                self.memory.stored[PLOT] = first.uuid
        if setup.is_first_full:
            self.foreign[self.key(first, self.put(first, "films.tar", tuple(range(300, 300 + first.free - 2))))] = ()
        if setup.second_plotter:
            self._prepare_second(setup.second_plotter)
        self.original_time = inode.mtime

    def _prepare_second(self, kind: str) -> None:
        drive = Drive(device=4, capacity=40, uuid="uuid-t")
        drive.clock = 5_000_000
        drive.has_direct = self.setup.has_direct
        self.drives.append(drive)
        content = CONTENT if kind == "same" else OTHER_CONTENT
        self.put(drive, PLOT, content)
        if kind == "other":
            self.promises.append(Promise(content, {PLOT}))
        self.plotters.append(Plotter(SECOND, SourceDirectory([(drive, "")])))

    def put(self, drive: Drive, name: str, content: tuple[int, ...]) -> Inode:
        """Let a file be there, durably."""
        handle = drive.create(name)
        for index, token in enumerate(content):
            drive.write(handle, index, token)
        drive.fsync(handle)
        drive.fsync_directory()
        drive.close(handle)
        drive.drop_caches()
        return handle.inode

    def put_part(self, drive: Drive, content: tuple[int, ...]) -> None:
        """Let a part be there that an interrupted arrival has left."""
        inode = self.put(drive, OLD_PART, content)
        if drive.has_attributes:
            owner = self.plotters[0].name
            inode.attributes = inode.durable_attributes = {"facts": PartFacts(owner, BLOCKS, PLOT_ID)}  # type: ignore[dict-item]
        self.own_parts.add(self.key(drive, inode))
        self.touched[self.key(drive, inode)] = (len(content), 0)

    # ---- Seeing it ------------------------------------------------------------------------------------------

    @staticmethod
    def key(drive: Drive, inode: Inode) -> Key:
        """Return what tells a file from every other, also after its numbers were given away."""
        return drive.uuid, inode.generation

    def token(self) -> int:
        """Return a token that no block has yet."""
        self.serial += 1
        return self.serial

    def later(self, run: int, step: int, do: Callable[[], None]) -> None:
        """Let something happen in a run, before its step."""
        self.events.append((run, step, do))
        self.events.sort(key=lambda event: event[:2])

    def happen(self) -> None:
        """Let happen what is due."""
        while self.events and self.events[0][:2] <= (self.run, self.run_step):
            self.is_changed = True
            self.events.pop(0)[2]()

    def leave(self, worker: Worker) -> None:
        """Let go of all that a worker holds."""
        if worker.has_left:
            return
        worker.has_left = True
        worker.is_hung = False
        if worker.drive is not None:
            for handle in (worker.part, worker.stored):
                if handle is not None and handle.copies:
                    worker.drive.close(handle)
        if worker in self.workers:
            self.workers.remove(worker)

    def note_parts(self) -> None:
        """Note, as an observer, in which run each part got its size."""
        for drive in self.nas_drives:
            for name, inode in drive.names.items():
                key = self.key(drive, inode)
                if name.endswith(".part") and self.touched.get(key, (-1, 0))[0] != inode.size:
                    self.touched[key] = (inode.size, self.run)
