"""Carries journeys out one effect at a time: what is ready goes on, faults come before their step, all is checked."""

from __future__ import annotations

import functools
import random
from collections.abc import Callable
from typing import Any

from plotfarm.base.disk_error import DiskError
from plotfarm.base.errors import TransferFailed
from plotfarm.transfer import effects as e
from plotfarm.transfer.outcomes import Failed, Failure, Outcome
from tests.simulation.actor import Actor
from tests.simulation.disk import Disk
from tests.simulation.held import BLOCKED, MORE
from tests.simulation.host import Host
from tests.simulation.invariants import check
from tests.simulation.plotter import SourceEffects
from tests.simulation.session import BUFFERED_BLOCKS, NAS, PLOTTER, OtherEndGone
from tests.simulation.setup import Setup
from tests.simulation.world import Violation, World

MOST_STEPS = 1500  # of one run
_KNOWN_ERRORS = (DiskError, e.Stopped, e.SourceError, TransferFailed)


def _method(kind: type[e.Effect[Any]]) -> str:
    name = kind.__name__
    return "".join(["_" + letter.lower() if letter.isupper() else letter for letter in name]).lstrip("_")


_KINDS_OF_EFFECTS = (e.Effect, e.DiskEffect, e.SourceEffect, e.RecordEffect)
ALL_EFFECTS: list[type[e.Effect[Any]]] = [
    each
    for each in vars(e).values()
    if isinstance(each, type) and issubclass(each, e.Effect) and each not in _KINDS_OF_EFFECTS
]
METHODS = {kind: _method(kind) for kind in ALL_EFFECTS}


@functools.cache
def _carried_out_by(part: type[object]) -> list[tuple[type[e.Effect[Any]], str]]:
    return [(kind, name) for kind, name in METHODS.items() if hasattr(part, name)]


UNCHANGING = {
    e.Receive,
    e.Send,
    e.LookAtSource,
    e.HashSource,
    e.IsMounted,
    e.OpenDrive,
    e.OpenStored,
    e.LookAtStored,
    e.ReadStored,
    e.CheckSamples,
    e.FirstHole,
    e.ReadPart,
    e.LeaseSource,
    e.LeaseHolds,
    e.ChooseTime,
    e.PourSource,
    e.Connect,
    e.CompareSource,
}


Inject = Callable[["Stepping", Actor], "Exception | None"]
Watch = Callable[["Stepping", Actor], None]


class Stepping:
    """One farm, and the faults that wait for it: by the number of the step before which they come."""

    def __init__(self, setup: Setup, plan: dict[int, list[Inject]], schedule: random.Random | None = None) -> None:
        self.world = World(setup)
        self.host = Host(self.world)
        self.disk = Disk(self.world, self.host)
        self.sources = SourceEffects(self.world, self.disk)
        self.plan = plan
        self.schedule = schedule
        self.watch: Watch | None = None
        self.trace: list[tuple[int, str, str]] | None = None
        self.actors: list[Actor] = []
        self.worked = False  # a journey was begun in the last run
        self.checked_steps = 0  # so many are the same as in a run that was looked at after each of them
        self.done: dict[type[e.Effect[Any]], Callable[[Actor, Any], Any]] = {}
        for part in (self.host, self.disk, self.sources):
            for kind, name in _carried_out_by(type(part)):
                self.done[kind] = getattr(part, name)

    def go(self) -> None:
        count = 0
        while True:
            active = [actor for actor in self.actors if not actor.is_done]
            if not active:
                return
            count += 1
            if count > MOST_STEPS:
                raise Violation(5, "it does not end")
            if self.schedule is not None:
                self.schedule.shuffle(active)
            has_moved = False
            for actor in active:
                if not actor.is_done and self._is_ready(actor):
                    self._step(actor)
                    has_moved = True
                    if self.schedule is not None:
                        break
            if not has_moved:
                self._wait(active)

    def _wait(self, active: list[Actor]) -> None:
        """Nothing can go on: let what comes later happen, or else a limit in time is reached."""
        world = self.world
        if world.events and world.events[0][0] <= world.run:
            world.run_step = max(world.run_step, world.events[0][1])
            world.happen()
            return
        actor = active[0]
        kind = type(actor.effect)
        if kind is e.Connect:
            self.resume(actor, None, e.Stopped(Failure.NOT_CONNECTED, "nobody came"))
        elif kind is e.Pour:
            actor.session.is_broken = True
            self.resume(actor, None, e.Stopped(Failure.STALLED, "no byte for long"))
        else:
            self.resume(actor, None, OtherEndGone("silent"))

    @staticmethod
    def _is_ready(actor: Actor) -> bool:
        kind = type(actor.effect)
        session = actor.session
        if kind is e.Receive:
            return bool(session.waiting[actor.end]) or session.has_left[1 - actor.end]
        if not actor.begun:
            return True
        if kind is e.Connect:
            return session.has_begun or bool(session.waiting[NAS]) or session.has_left[PLOTTER]
        if kind is e.Pour:
            return bool(session.data or session.waiting[NAS]) or session.has_left[PLOTTER] or session.is_broken
        if kind is e.PourSource:
            is_free = len(session.data) < BUFFERED_BLOCKS or actor.position >= actor.effect.size  # type: ignore[union-attr]
            return is_free or bool(session.waiting[PLOTTER]) or session.is_broken or session.has_left[NAS]
        return True

    def _step(self, actor: Actor) -> None:
        world = self.world
        if world.events:
            world.happen()
        if self.watch is not None:
            self.watch(self, actor)
        if self.trace is not None:
            self.trace.append((world.step, actor.name, str(actor.effect)))
        error: Exception | None = None
        for inject in self.plan.get(world.step, ()):
            world.is_changed = True
            error = inject(self, actor) or error
        world.step += 1
        world.run_step += 1
        if not actor.is_done:
            self._carry_out(actor, error)
        if world.is_changed and world.step > self.checked_steps:
            world.is_changed = False
            check(world, self.host)

    def _carry_out(self, actor: Actor, error: Exception | None) -> None:
        effect = actor.effect
        kind = type(effect)
        worker = actor.worker
        if error is None and worker is not None and isinstance(effect, e.DiskEffect):
            if worker.is_hung:
                error = e.Stopped(Failure.HANGS, "it does not answer")
            elif worker.is_dead:
                error = e.Stopped(Failure.INTERNAL, "the process that writes is gone")
        result: Any = None
        if error is None:
            try:
                result = self.done[kind](actor, effect)
            except _KNOWN_ERRORS as caught:
                error = caught
        if kind not in UNCHANGING:
            self.world.is_changed = True
        for drive in self.world.drives:
            if drive.faults:
                drive.faults.clear()
        if error is None and (result is MORE or result is BLOCKED):
            return
        if error is not None and kind in (e.Pour, e.Connect):
            actor.session.is_broken = True
        if isinstance(error, DiskError) and worker is not None and error.call.value != "write":
            self.world.unnoted.add(worker.identity)
        self.resume(actor, result, error)

    def resume(self, actor: Actor, result: Any, error: Exception | None) -> None:
        actor.begun = False
        try:
            if error is None:
                actor.effect = actor.generator.send(result)
            else:
                actor.effect = actor.generator.throw(error)
        except StopIteration as stop:
            self.finish(actor, stop.value)
        except TransferFailed as failed:
            self.finish(actor, Failed(Failure.INTERRUPTED, str(failed)))
        except e.SourceError as failed:
            if actor.end == NAS:
                raise Violation(5, f"an error that nobody expects: {failed!r}") from failed
            self.finish(actor, Failed(Failure.SOURCE, str(failed)))
        except (DiskError, e.Stopped) as failed:
            raise Violation(5, f"an error that nobody expects: {failed!r}") from failed

    def finish(self, actor: Actor, outcome: Outcome | None) -> None:
        """Take the outcome of a journey that has ended."""
        raise NotImplementedError
