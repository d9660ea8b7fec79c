"""How processes and hosts of a simulated farm die: killed, hanging and finishing late, without power."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

from plotfarm.base.disk_error import DiskError
from plotfarm.base.errors import TransferFailed
from plotfarm.transfer import effects as e
from plotfarm.transfer.outcomes import Failure
from tests.simulation.actor import Actor
from tests.simulation.runner import Simulation
from tests.simulation.session import NAS
from tests.simulation.setup import Alias

Apply = Callable[[Simulation, Actor], "Exception | None"]
ODD_TIME = 10**12


def kill(sim: Simulation, actor: Actor) -> None:
    if actor.worker is not None:
        forget_error(sim, actor.worker.identity)
    sim.leave(actor)


def forget_error(sim: Simulation, identity: str) -> None:
    """Excuse what lies on a drive that has just failed, if its process dies before it could note that anywhere."""
    if identity in sim.world.unnoted:
        excuse_drive(sim, identity)


def excuse_drive(sim: Simulation, identity: str) -> None:
    for drive in sim.world.nas_drives:
        if drive.uuid == identity:
            sim.world.excused.update([sim.world.key(drive, inode) for inode in drive.names.values() if inode.stuck])


def kill_own(sim: Simulation, actor: Actor) -> None:
    kill(sim, actor)


def kill_other(sim: Simulation, actor: Actor) -> None:
    for other in sim.actors:
        if other.session is actor.session and other is not actor:
            kill(sim, other)


def kill_both(sim: Simulation, actor: Actor) -> None:
    kill_other(sim, actor)
    kill(sim, actor)


def kill_and_finish(sim: Simulation, actor: Actor) -> None:
    """Kill the session; the worker's effect is done all the same."""
    do_quietly(sim, actor)
    kill(sim, actor)


def finish_later(delay_runs: int, delay_steps: int, is_killed: bool) -> Apply:
    """Let the drive hang in this effect, which is done later; the session dies, or is told that it hangs."""

    def apply(sim: Simulation, actor: Actor) -> Exception | None:
        worker = actor.worker
        assert worker is not None
        worker.is_hung = True
        ghost = Actor("worker", NAS, iter(()), actor.plotter, actor.session)  # type: ignore[arg-type]
        ghost.effect = actor.effect
        ghost.worker = worker
        ghost.source = actor.source
        ghost.begun = actor.begun
        run = sim.world.run + delay_runs
        step = (0 if delay_runs else sim.world.run_step) + delay_steps

        def finish() -> None:
            if worker.is_hung and not worker.has_left:
                do_quietly(sim, ghost)
                sim.world.leave(worker)
                sim.world.memory.publishing.pop(worker.plot, None)

        sim.world.later(run, step, finish)
        if is_killed:
            sim.leave(actor)
            return None
        return e.Stopped(Failure.HANGS, "it does not answer")

    return apply


def do_quietly(sim: Simulation, actor: Actor) -> None:
    """Carry out the actor's effect, whatever comes of it."""
    with contextlib.suppress(e.Stopped, e.SourceError, TransferFailed, DiskError, OSError):
        sim.done[type(actor.effect)](actor, actor.effect)
    sim.world.is_changed = True


def kill_worker(is_done: bool) -> Apply:
    def apply(sim: Simulation, actor: Actor) -> Exception:
        worker = actor.worker
        assert worker is not None
        if is_done:
            do_quietly(sim, actor)
        forget_error(sim, worker.identity)
        worker.is_dead = True
        if worker.drive is not None:
            for handle in (worker.part, worker.stored):
                if handle is not None and handle.copies:
                    worker.drive.close(handle)
        return e.Stopped(Failure.INTERNAL, "the process that writes is gone")

    return apply


def cut_power(sim: Simulation, at_nas: bool, at_plotter: bool, choice: int) -> None:
    """Cut the power at one host or both; `choice` of what was not synced is kept, -1: all."""
    world = sim.world
    is_one_host = world.setup.is_move or world.setup.alias not in (Alias.OWN, Alias.OWN_NFS, Alias.NFS)
    at_nas = at_nas or is_one_host
    at_plotter = at_plotter or is_one_host
    was_odd = is_odd(sim)
    keep: Any = choice if choice >= 0 else (lambda options: options - 1)
    for actor in sim.actors:
        if not actor.is_done and (at_nas if actor.end == NAS else at_plotter):
            sim.leave(actor)
    if at_nas:
        for worker in list(world.workers):
            worker.has_left = True
        world.workers.clear()
        world.memory.quarantined.clear()  # that was the kernel's memory
        world.memory.publishing.clear()
        world.events = [event for event in world.events if event[2].__name__ != "finish"]
        for drive in world.nas_drives:
            before = {world.key(drive, inode) for inode in drive.names.values()}
            drive.power_cut(keep)
            world.uncounted |= {world.key(drive, inode) for inode in drive.names.values()} - before
        stale(sim)
    if at_plotter:
        for drive in world.drives:
            if drive not in world.nas_drives:
                drive.power_cut(keep)
    if not was_odd and is_odd(sim):
        world.doubles.add("times")  # it was given back, and that was not durable


def is_odd(sim: Simulation) -> bool:
    return any(inode.mtime >= ODD_TIME for drive in sim.world.drives for inode in drive.names.values())


def stale(sim: Simulation) -> None:
    """What a plotter has open over the network is gone with the drive's host."""
    for actor in sim.actors:
        if actor.source is not None and not actor.is_done and actor.source.drive in sim.world.nas_drives:
            actor.source.is_stale = True


def power(at_nas: bool, at_plotter: bool, choice: int) -> Apply:
    def apply(sim: Simulation, actor: Actor) -> None:
        cut_power(sim, at_nas, at_plotter, choice)

    return apply
