"""The NAS's part of the effects that touch no file: where a plot goes, what is remembered, which parts are removed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from plotfarm.plots.parts import PartFacts, parse_part_name
from plotfarm.transfer.effects import (
    NotPublished,
    Place,
    Placement,
    Publishing,
    QuarantineDrive,
    RecordFailed,
    RecordStored,
    RefusedPlacement,
    Release,
    RemoveOtherParts,
    ReservedPlacement,
    StoredPlacement,
)
from plotfarm.transfer.messages import Offer
from plotfarm.transfer.outcomes import Failure, Refusal
from tests.simulation.filesystem import Drive
from tests.simulation.hosts import Worker
from tests.simulation.inodes import Inode
from tests.simulation.setup import BLOCKS
from tests.simulation.world import PATHS, Violation, World

if TYPE_CHECKING:
    from tests.simulation.actor import Actor

_MAY_BE_STORED = (Failure.OUTCOME_UNKNOWN, Failure.HANGS, Failure.INTERNAL)
OLDEST_PART = 3  # runs without progress


def facts_of(drive: Drive, inode: Inode) -> PartFacts | None:
    """Return what a part says of itself."""
    facts: Any = inode.attributes.get("facts") if drive.has_attributes else None
    return facts


class Host:
    """Decides for the NAS."""

    def __init__(self, world: World) -> None:
        self.world = world

    # ---- What is there --------------------------------------------------------------------------------------

    def mounted(self) -> Iterator[tuple[str, Drive]]:
        """Yield the drives of the farm that are mounted where they belong."""
        for path, own in zip(PATHS, self.world.nas_drives, strict=True):
            drive = self.world.mounts[path]
            if drive is own and drive.uuid not in self.world.offline:
                yield path, drive

    def hanging(self) -> set[str]:
        """Return the identities of drives that do not answer."""
        return {worker.identity for worker in self.world.workers if worker.is_hung}

    def reserved(self) -> set[str]:
        """Return the identities of drives that somebody writes to."""
        return {worker.identity for worker in self.world.workers if worker.is_writer}

    def parts(self, drive: Drive) -> Iterator[tuple[str, str, Inode]]:
        """Yield the parts of the suite on a drive: name, plot, file."""
        for name, inode in list(drive.names.items()):
            parsed = parse_part_name(name) if "/" not in name and inode.target is None else None
            if parsed is not None:
                yield name, parsed[0], inode

    # ---- Deciding -------------------------------------------------------------------------------------------

    def place(self, actor: Actor, effect: Place) -> Placement:
        offer = effect.offer
        found = self._settled(actor, offer, effect.excluded)
        if found is None:
            found = self._drive_for(actor, offer, effect.excluded)
        if isinstance(found, RefusedPlacement):
            return found
        is_writer = isinstance(found, ReservedPlacement)
        worker = Worker(found.path[: -len(offer.name) - 1], found.identity, offer.name, actor.plotter.name, is_writer)
        if isinstance(found, ReservedPlacement):
            if found.identity in self.reserved():
                raise Violation(8, f"two writers on {found.identity}")
            worker.arrival = found.arrival
        self.world.workers.append(worker)
        actor.worker = worker
        return found

    def _settled(
        self, actor: Actor, offer: Offer, excluded: frozenset[str]
    ) -> StoredPlacement | RefusedPlacement | None:
        """Answer an offer of a plot that is here, or may be."""
        memory = self.world.memory
        hanging = self.hanging()
        reachable = {drive.uuid for _, drive in self.mounted()} - hanging
        for path, drive in self.mounted():
            if drive.uuid in hanging or offer.name not in drive.names or drive.uuid in excluded:
                continue
            if drive.uuid in memory.quarantined:
                return RefusedPlacement(Refusal.QUARANTINED, drive.uuid)
            return StoredPlacement(path, drive.uuid, f"{path}/{offer.name}")
        if offer.name in memory.publishing:
            identity = memory.publishing[offer.name]
            if any(worker.identity == identity for worker in self.world.workers):
                return RefusedPlacement(Refusal.PUBLISHING, identity)
        where = memory.stored.get(offer.name)
        for uuid in reachable - memory.quarantined.keys() - {worker.identity for worker in self.world.workers}:
            memory.perhaps.pop((offer.name, uuid), None)  # it was just read: the plot is not there
        places = {where, *(uuid for plot, uuid in memory.perhaps if plot == offer.name)} - {None} - reachable
        if places:
            return RefusedPlacement(Refusal.DRIVE_SILENT, "")
        if self._arrives(offer.name):
            return RefusedPlacement(Refusal.ARRIVING, "")
        return None

    def _arrives(self, plot: str) -> bool:
        if any(worker.plot == plot and worker.is_writer for worker in self.world.workers):
            return True
        for _, drive in self.mounted():
            if any(other == plot and inode.locked_by is not None for _, other, inode in self.parts(drive)):
                return True
        return False

    def _drive_for(self, actor: Actor, offer: Offer, excluded: frozenset[str]) -> ReservedPlacement | RefusedPlacement:
        taken = self.reserved()
        left_out = excluded | taken | self.hanging() | self.world.memory.quarantined.keys()
        usable = [
            (path, drive) for path, drive in self.mounted() if drive.uuid not in left_out and not drive.is_read_only
        ]
        arrival = f"{self.world.token():016x}"
        facts = PartFacts(actor.plotter.name, offer.size, offer.id)
        held = self.held(actor.plotter.name)
        for path, drive in usable:
            for name, plot, inode in self.parts(drive):
                is_own = plot == offer.name and facts_of(drive, inode) == facts
                if is_own and inode.locked_by is None and inode.links == 1:
                    left = offer.size - inode.allocated.bit_count()
                    if drive.free >= left and (left == 0 or held + left <= self.world.setup.quota):
                        own = arrival if self.world.setup.is_move else name.removesuffix(".part").rpartition(".")[2]
                        return ReservedPlacement(path, drive.uuid, f"{path}/{offer.name}", name, own)
        if held + offer.size > self.world.setup.quota:
            return RefusedPlacement(Refusal.UNFINISHED_QUOTA, "")
        for path, drive in usable:
            if drive.free >= offer.size:
                return ReservedPlacement(path, drive.uuid, f"{path}/{offer.name}", "", arrival)
        return RefusedPlacement(Refusal.BUSY if taken else Refusal.NO_DRIVE, "")

    def held(self, plotter: str) -> int:
        """Return the blocks that parts of a plotter hold, on all drives."""
        blocks = 0
        for drive in self.world.nas_drives:
            for _, _, inode in self.parts(drive):
                facts = facts_of(drive, inode)
                if facts is None or facts.plotter != plotter:
                    continue
                blocks += BLOCKS if inode.locked_by is not None else inode.allocated.bit_count()
        return blocks

    # ---- Remembering ----------------------------------------------------------------------------------------

    def release(self, actor: Actor, effect: Release | None = None) -> None:
        worker = actor.worker
        if worker is None:
            return
        actor.worker = None
        if not worker.is_hung:
            self.world.memory.publishing.pop(worker.plot, None)
            self.world.leave(worker)

    def publishing(self, actor: Actor, effect: Publishing) -> None:
        assert actor.worker is not None
        self.world.memory.publishing[actor.worker.plot] = actor.worker.identity
        self.world.memory.perhaps[actor.worker.offered, actor.worker.identity] = True
        actor.worker.has_noted = True

    def not_published(self, actor: Actor, effect: NotPublished) -> None:
        assert actor.worker is not None
        self.world.memory.perhaps.pop((actor.worker.offered, actor.worker.identity), None)
        actor.worker.has_noted = False

    def quarantine_drive(self, actor: Actor, effect: QuarantineDrive) -> None:
        assert actor.worker is not None
        self.quarantine(actor.worker.identity, effect.failure)

    def quarantine(self, identity: str, failure: Failure) -> None:
        """Put a drive into quarantine."""
        self.world.memory.quarantined.setdefault(identity, failure)
        self.world.unnoted.discard(identity)
        self.world.alerts.add(f"quarantine {identity}")

    def record_stored(self, actor: Actor, effect: RecordStored) -> None:
        assert actor.worker is not None
        self.world.memory.stored[actor.worker.offered] = actor.worker.identity
        self.world.memory.perhaps.pop((actor.worker.offered, actor.worker.identity), None)

    def record_failed(self, actor: Actor, effect: RecordFailed) -> None:
        self.world.alerts.add(f"failed {effect.failure.value}")
        worker = actor.worker
        if worker is not None and worker.has_noted and effect.failure not in _MAY_BE_STORED:
            self.world.memory.perhaps.pop((worker.offered, worker.identity), None)

    # ---- Removing parts -------------------------------------------------------------------------------------

    def remove_other_parts(self, actor: Actor, effect: RemoveOtherParts) -> None:
        for _, drive in self.mounted():
            for name, plot, inode in self.parts(drive):
                facts = facts_of(drive, inode)
                if plot == effect.plot and facts is not None and facts.plotter == actor.plotter.name:
                    self._remove_dead(drive, name, inode)

    def remove_old_parts(self, oldest: int = OLDEST_PART) -> None:
        """Remove the parts that nobody went on with for long; those that both ends agreed on stay."""
        seen = self.world.memory.seen_parts
        for _, drive in self.mounted():
            for name, _, inode in self.parts(drive):
                size, since = seen.get((drive.uuid, name), (-1, 0))
                if size != inode.size or inode.locked_by is not None:
                    since = self.world.now
                seen[drive.uuid, name] = (inode.size, since)
                if self.world.now - since >= oldest and "committed" not in inode.attributes:
                    _, since = self.world.touched.get(self.world.key(drive, inode), (0, 0))
                    is_copy = self.world.key(drive, inode) in self.world.uncounted  # as old as what it replaced
                    if not is_copy and self.world.run - since < min(oldest, OLDEST_PART):
                        raise Violation(6, f"{name} is not old, and is removed")
                    self._remove_dead(drive, name, inode)

    def _remove_dead(self, drive: Drive, name: str, inode: Inode) -> None:
        if inode.locked_by is not None or inode.links != 1 or drive.uuid in self.hanging() or drive.is_read_only:
            return
        if facts_of(drive, inode) is not None:  # what has the name of a part and says nothing goes when it is old
            self.check_own(drive, name, inode)
        held = [
            worker.part.inode
            for worker in self.world.workers
            if worker.part is not None and worker.has_lock and not worker.is_dead
        ]
        if any(each is inode for each in held):
            raise Violation(6, f"{name} is alive, and is removed")
        drive.unlink(name)

    def check_own(self, drive: Drive, name: str, inode: Inode) -> None:
        """Raise a Violation if a file that is to be removed, or cut, is not a part of the suite."""
        if self.world.key(drive, inode) not in self.world.own_parts:
            raise Violation(4, f"{name} is to be removed, and is none of ours")
