"""What people do to sources, and the promise of what they make of them."""

from __future__ import annotations

from plotfarm.transfer.effects import SetSourceTime
from tests.simulation.actor import Actor
from tests.simulation.deeds import THIRD_CONTENT, Act, Deed, create, rm, truncate, try_to, write
from tests.simulation.excuses import find_source, promise_source, settle
from tests.simulation.filesystem import Drive
from tests.simulation.inodes import Inode
from tests.simulation.runner import Simulation
from tests.simulation.setup import BLOCKS

MOVED = "moved.plot"

# ---- Sources --------------------------------------------------------------------------------------------------


def _source_deed(name: str, act: Act, *, opens_for_writing: bool = False) -> Deed:
    def apply(sim: Simulation, actor: Actor) -> None:
        found = find_source(actor)
        if found is None or found[0].is_read_only:
            return
        drive, _, inode = found
        key = sim.world.key(drive, inode)
        if len(actor.plotter.directory.branches) > 1 and actor.plotter.memory.times:
            sim.world.doubles.add("times")  # through a pool nobody sees that the other branch has the odd time

        def now() -> None:
            left = find_source(actor)
            if left is not None and left[2] is inode:
                if opens_for_writing and (_is_unguarded(actor) or drive.tick == 0):
                    sim.world.rotten.add(key)
                if sim.world.foreign.pop(key, None) is not None:  # through a pool it is a file on a drive
                    sim.world.tolerated.add(key)
                try_to(lambda: act(sim, *left))
                settle(sim, f"{name} of the source")
                sim.world.is_changed = True

        if opens_for_writing and key in sim.world.leases:
            sim.world.leases[key] = True
            sim.world.deferred.append(now)
        else:
            now()

    return Deed(name, apply)


def _is_unguarded(actor: Actor) -> bool:
    """Tell whether it is the instant in which a source's time is set: without a lease a write then cannot be seen."""
    source = actor.source
    assert source is not None
    is_instant = isinstance(actor.effect, SetSourceTime) or (source.is_time_set and not source.is_marked)
    return is_instant and not actor.plotter.directory.has_leases


def _dd_source(restores_time: bool) -> Act:
    def act(sim: Simulation, drive: Drive, name: str, inode: Inode) -> None:
        if inode.size < 3:
            return
        time = inode.mtime
        write(drive, name, 2, sim.world.token())
        handle = drive.open(name)
        drive.fsync(handle)
        if restores_time:
            drive.set_mtime(handle, time)
        drive.close(handle)
        promise_source(sim, drive, name, inode)

    return act


def _truncate_source(sim: Simulation, drive: Drive, name: str, inode: Inode) -> None:
    truncate(drive, name, min(3, inode.size))
    handle = drive.open(name)
    drive.fsync(handle)
    drive.close(handle)
    promise_source(sim, drive, name, inode)


def _mv_source(sim: Simulation, drive: Drive, name: str, inode: Inode) -> None:
    drive.rename(name, _beside(name, MOVED))
    drive.fsync_directory()
    sim.world.doubles.add("moved")
    for promise in sim.world.promises:
        if promise.content == inode.durable_content():
            promise.names.add(MOVED)
    if inode.cached_content() != inode.durable_content():
        sim.world.tolerated.add(sim.world.key(drive, inode))


def _replace_source(sim: Simulation, drive: Drive, name: str, inode: Inode) -> None:
    """Put another plot of this name in its place: `mv -f`."""
    if drive.free < BLOCKS:
        return
    other = _beside(name, "other.tmp")
    made = create(drive, other, THIRD_CONTENT)
    drive.rename(other, name)
    drive.fsync_directory()
    promise_source(sim, drive, name, made)


def _ln_source(sim: Simulation, drive: Drive, name: str, inode: Inode) -> None:
    drive.link(name, _beside(name, "kept.bin"))


def _chmod_source(sim: Simulation, drive: Drive, name: str, inode: Inode) -> None:
    drive.clock += 1
    inode.ctime = drive.clock


def _beside(name: str, other: str) -> str:
    head, slash, _ = name.rpartition("/")
    return head + slash + other


SOURCE_DEEDS = [
    _source_deed("rm", rm),
    _source_deed("mv", _mv_source),
    _source_deed("mv another over", _replace_source),
    _source_deed("ln", _ln_source),
    _source_deed("chmod", _chmod_source),
    _source_deed("dd", _dd_source(restores_time=False), opens_for_writing=True),
    _source_deed("dd and touch", _dd_source(restores_time=True), opens_for_writing=True),
    _source_deed("truncate", _truncate_source, opens_for_writing=True),
]
