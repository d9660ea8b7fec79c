"""Which promise ends, and which file counts as whole or is tolerated, when a person or rot changes something."""

from __future__ import annotations

from plotfarm.transfer.publish import Verify
from tests.simulation.actor import Actor
from tests.simulation.filesystem import Drive
from tests.simulation.host import facts_of
from tests.simulation.hosts import Promise, Worker
from tests.simulation.inodes import Inode
from tests.simulation.invariants import is_safe
from tests.simulation.runner import Simulation
from tests.simulation.setup import PLOT, SAMPLED

Found = tuple[Drive, str, Inode]

# ---- Finding --------------------------------------------------------------------------------------------------


def find_part(sim: Simulation) -> Found | None:
    """Return the first part of the suite."""
    for drive in sim.world.nas_drives:
        for name, _, inode in sim.host.parts(drive):
            if sim.world.key(drive, inode) in sim.world.own_parts and facts_of(drive, inode) is not None:
                return drive, name, inode
    return None


def find_stored(sim: Simulation) -> Found | None:
    """Return the first file with the plot's name on a drive of the NAS."""
    for drive in sim.world.nas_drives:
        if PLOT in drive.names and drive in sim.world.mounts.values():
            return drive, PLOT, drive.names[PLOT]
    return None


def find_source(actor: Actor) -> Found | None:
    """Return what the path of an actor's source leads to."""
    assert actor.source is not None
    found = actor.plotter.directory.holders(actor.source.name)
    if not found:
        return None
    drive, name = found[0]
    return drive, name, drive.names[name]


def worker_of(sim: Simulation, inode: Inode) -> Worker | None:
    """Return the worker that holds a part."""
    for worker in sim.world.workers:
        if worker.part is not None and worker.part.inode is inode:
            return worker
    return None


# ---- Which promise ends ---------------------------------------------------------------------------------------


def settle(sim: Simulation, why: str) -> None:
    """End the promises whose only copy a person, or rot, has just destroyed."""
    for promise in sim.world.promises:
        if not promise.excuse and not is_safe(sim.world, promise):
            promise.excuse = why


def excuse_block(sim: Simulation, worker: Worker | None, index: int) -> None:
    """Excuse a changed block of a part unless the chosen `verify` has still to read it back."""
    if worker is None or worker.part is None or worker.drive is None:
        return  # nobody brings it: who resumes it reads all of it
    verify = sim.world.setup.verify
    is_to_be_read = verify is Verify.READBACK or (verify is Verify.SAMPLE and index in SAMPLED)
    is_kept = index < worker.kept and verify is Verify.SAMPLE
    if is_to_be_read and not worker.has_checked and not is_kept:
        return
    if worker.position < 0 and not worker.kept:
        return  # it is still to be read before anything is added
    sim.world.excused.add(sim.world.key(worker.drive, worker.part.inode))


def excuse_stored(sim: Simulation, drive: Drive, inode: Inode) -> None:
    """Excuse bytes of a stored plot that change: nobody promises to read it again without need."""
    sim.world.excused.add(sim.world.key(drive, inode))


def tolerate(sim: Simulation, drive: Drive, inode: Inode, is_longer: bool) -> None:
    worker = worker_of(sim, inode)
    if worker is not None and (worker.has_measured if is_longer else worker.has_looked_for_holes):
        sim.world.tolerated.add(sim.world.key(drive, inode))


def after_last_look(sim: Simulation) -> None:
    """After its last look at the stored plot a plotter removes its source: nothing can be promised in between."""
    for actor in sim.actors:
        is_second_name = actor.worker is not None and actor.worker.is_second_name
        if not actor.is_done and actor.session.looks >= (1 if is_second_name else 3):
            for promise in sim.world.promises:
                promise.excuse = promise.excuse or "the stored plot was changed after the last look at it"


def change_stored(sim: Simulation, drive: Drive, inode: Inode) -> None:
    """Changed bytes have to be noticed from the first look on, by the time; until then they count as whole."""
    key = sim.world.key(drive, inode)
    workers = [worker for worker in sim.world.workers if worker.seen is not None and worker.seen[0] is inode]
    is_published = any(not worker.is_known and worker.stored is None for worker in workers)
    if is_published or drive.tick == 0:
        sim.world.excused.add(key)
    else:
        sim.world.tolerated.add(key)


def promise_source(sim: Simulation, drive: Drive, name: str, inode: Inode) -> None:
    """Promise what a person has just made of a source."""
    is_lost = sim.world.key(drive, inode) in sim.world.rotten
    names = {PLOT, name.rpartition("/")[2]}
    content = inode.cached_content()
    excuse = "written where no time could tell" if is_lost else ""
    if not any(promise.content == content and not promise.excuse for promise in sim.world.promises):
        sim.world.promises.append(Promise(content, names, excuse))
    if not inode.is_durable():
        sim.world.promises[-1].excuse = "it was never durable"
