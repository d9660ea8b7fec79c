"""What goes wrong with messages, bytes, drives and what hosts remember."""

from __future__ import annotations

import errno

from plotfarm.base.disk_error import Call
from plotfarm.transfer import effects as e
from plotfarm.transfer.outcomes import Failure
from tests.simulation.actor import Actor
from tests.simulation.deeds import rot
from tests.simulation.excuses import excuse_block
from tests.simulation.filesystem import Drive
from tests.simulation.hosts import Memory, PlotterMemory
from tests.simulation.killing import Apply, excuse_drive
from tests.simulation.runner import Simulation

# ---- Messages and bytes on the wire -------------------------------------------------------------------------


def lose(sim: Simulation, actor: Actor) -> None:
    """Lose this message and all that follow: a session whose peer is silent."""
    actor.session.is_cut = True


def close(sim: Simulation, actor: Actor) -> None:
    """End the session, so that both ends see it."""
    actor.session.has_left = [True, True]
    actor.session.is_broken = True


def repeat(sim: Simulation, actor: Actor) -> None:
    if not actor.session.has_left[1 - actor.end]:
        actor.session.send(1 - actor.end, actor.effect.message)  # type: ignore[union-attr]


def delay(sim: Simulation, actor: Actor) -> None:
    """Let all that is on its way arrive a few steps later."""
    session = actor.session
    waiting = session.waiting[actor.end]
    held = list(waiting)
    waiting.clear()

    def arrive() -> None:
        waiting.extendleft(reversed(held))

    sim.world.later(sim.world.run, sim.world.run_step + 4, arrive)


def flip(sim: Simulation, actor: Actor) -> None:
    actor.session.flipped = sim.world.token()


def break_data(sim: Simulation, actor: Actor) -> None:
    actor.session.is_broken = True


def stranger(sim: Simulation, actor: Actor) -> None:
    """Let a stranger take the listener, so that the NAS listens anew."""
    sim.disk.listen(actor, actor.effect.segments, actor.effect.arrival)  # type: ignore[union-attr]


def refuse_data(sim: Simulation, actor: Actor) -> None:
    actor.session.is_listening = False


def stopped(failure: Failure) -> Apply:
    def apply(sim: Simulation, actor: Actor) -> Exception:
        return e.Stopped(failure, failure.value)

    return apply


# ---- Drives -------------------------------------------------------------------------------------------------


def error(call: Call, number: int, is_done: bool, at_source: bool) -> Apply:
    def apply(sim: Simulation, actor: Actor) -> None:
        drive = drive_of(actor, at_source)
        if drive is not None:
            drive.fail_next(call, number, is_done)

    return apply


def drive_of(actor: Actor, at_source: bool) -> Drive | None:
    if at_source:
        return actor.source.drive if actor.source is not None else None
    if actor.worker is None:
        return None
    return actor.worker.drive


def open_drive_error(sim: Simulation, actor: Actor) -> None:
    assert actor.worker is not None
    drive = sim.world.mounts[actor.worker.path]
    if drive is not None:
        drive.fail_next(Call.OPEN, errno.EIO)


def source_error(call: Call, number: int) -> Apply:
    def apply(sim: Simulation, actor: Actor) -> Exception:
        return e.SourceError(call, number, f"{call.value}: {number}")

    return apply


def read_only(sim: Simulation, actor: Actor) -> None:
    drive = drive_of(actor, at_source=False)
    if drive is not None:
        drive.remount_read_only()


def source_read_only(sim: Simulation, actor: Actor) -> None:
    assert actor.source is not None
    actor.source.drive.remount_read_only()


def lose_sight(sim: Simulation) -> None:
    """A time that was just set on a file that is away now cannot be given back."""
    if any(plotter.memory.times for plotter in sim.world.plotters):
        sim.world.doubles.add("times")


def unmount(sim: Simulation, actor: Actor) -> None:
    assert actor.worker is not None
    lose_sight(sim)
    sim.world.mounts[actor.worker.path] = None


def swap(sim: Simulation, actor: Actor) -> None:
    """Mount another drive there, which has the same numbers."""
    assert actor.worker is not None
    lose_sight(sim)
    drive = sim.world.mounts[actor.worker.path]
    other = Drive(device=drive.device if drive else 9, capacity=20, uuid="uuid-x")
    sim.world.mounts[actor.worker.path] = other


def take_room(sim: Simulation, actor: Actor) -> None:
    """Let somebody else fill the drive."""
    drive = drive_of(actor, at_source=False)
    if drive is None or drive.is_read_only or not drive.free or "filler" in drive.names:
        return
    handle = drive.create("filler")
    drive.fallocate(handle, drive.free)
    drive.close(handle)


def wrong_write(sim: Simulation, actor: Actor) -> None:
    """Let the drive keep another block than the last one that was written."""
    worker = actor.worker
    if worker is None or worker.part is None or worker.drive is None or worker.part.inode.size == 0:
        return
    inode = worker.part.inode
    index = inode.size - 1
    if not inode.dirty >> index & 1 and inode.disk.get(index):
        worker.drive.flip(inode, index, sim.world.token())
        inode.cache.pop(index, None)
        excuse_block(sim, worker, index)


def rotting(which: str) -> Apply:
    """Let a block rot at rest: of the part, the stored plot or the source."""

    def apply(sim: Simulation, actor: Actor) -> None:
        rot(sim, actor, which)

    return apply


# ---- Hosts --------------------------------------------------------------------------------------------------


def lose_memory(is_old: bool) -> Apply:
    def apply(sim: Simulation, actor: Actor) -> None:
        world = sim.world
        for identity in world.memory.quarantined:
            excuse_drive(sim, identity)
        if world.memory.publishing or world.memory.stored or world.memory.perhaps:
            world.doubles.add("memory")
        world.memory = world.backup.copy() if is_old else Memory()

    return apply


def lose_plotter_memory(sim: Simulation, actor: Actor) -> None:
    if actor.plotter.memory.times:
        sim.world.doubles.add("times")
    actor.plotter.memory = PlotterMemory()


def tear_lock(sim: Simulation, actor: Actor) -> None:
    """Empty the content of all lock files; who holds them holds them still."""
    for worker in sim.world.workers:
        worker.plot = ""
    if len(sim.world.plotters) > 1:
        sim.world.doubles.add("lock")  # nobody can know any more that another brings the same plot


def clock(by: int) -> Apply:
    def apply(sim: Simulation, actor: Actor) -> None:
        for drive in sim.world.drives:
            drive.clock += by

    return apply


def coarse_clock(sim: Simulation, actor: Actor) -> None:
    """Let times not move for a while: two changes have the same time."""
    for drive in sim.world.drives:
        drive.tick = 0

    def fine() -> None:
        for drive in sim.world.drives:
            drive.tick = 1

    sim.world.later(sim.world.run, sim.world.run_step + 12, fine)


def second_checkout(sim: Simulation, actor: Actor) -> None:
    """Let another checkout of the suite, which knows nothing of this one, remove its old parts here."""
    own = sim.world.memory
    sim.world.memory = Memory()
    sim.host.remove_old_parts(oldest=0)
    sim.world.memory = own
