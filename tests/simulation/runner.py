"""Runs journeys on a simulated farm, one effect at a time, as cron would: again and again, until all is settled."""

from __future__ import annotations

from plotfarm.transfer import effects as e
from plotfarm.transfer.messages import Offer
from plotfarm.transfer.move import Load, move
from plotfarm.transfer.outcomes import Delivered, Failed, Failure, NotTaken, Outcome, Removal
from plotfarm.transfer.receive import Terms, receive
from plotfarm.transfer.send import Wanted, deliver
from tests.simulation.actor import Actor, Source
from tests.simulation.hosts import Plotter
from tests.simulation.invariants import check
from tests.simulation.session import NAS, PLOTTER, Session
from tests.simulation.setup import PLOT_ID, SEGMENT_BYTES, Setup
from tests.simulation.stepping import MOST_STEPS, Stepping

_SET_ASIDE = (Removal.SAME_FILE, Removal.SUSPECT, Removal.NOT_PERMITTED, Removal.STILL_LINKED, Removal.KEPT)
_MOST_FAILURES = 3  # after so many in a row somebody is told


class Simulation(Stepping):
    """One farm, and the faults that wait for it: by the number of the step before which they come."""

    # ---- A run ----------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Run once at each plotter: every plot that is not set aside is offered, one after the other."""
        world = self.world
        world.run += 1
        world.now += 1
        world.run_step = 0
        world.reads.append(0)
        world.happen()
        world.note_parts()
        self.host.remove_old_parts()
        queues = [self._queue(plotter) for plotter in world.plotters]
        check(world, self.host)
        self.worked = any(queues)
        while any(queues):
            self.actors = []
            for plotter, queue in zip(world.plotters, queues, strict=True):
                if queue:
                    self._start(plotter, queue.pop(0))
            self.go()
        world.run_step = MOST_STEPS
        world.happen()
        check(world, self.host)

    def _queue(self, plotter: Plotter) -> list[str]:
        self._restore_times(plotter)
        queue = []
        for name in plotter.directory.names():
            aside = plotter.memory.set_aside.get(name)
            if aside is not None and aside[0] == self._look(plotter, name):
                continue
            if (
                name in plotter.memory.times
            ):  # that could not be given back: a journey would take the odd one for its own
                self._failed(plotter, name, "its time cannot be given back")
                continue
            queue.append(name)
        return queue

    def _restore_times(self, plotter: Plotter) -> None:
        """Give sources their own time back whose removal was interrupted."""
        for name, (old, new) in list(plotter.memory.times.items()):
            inode = plotter.directory.inode(name)
            if inode is not None and inode.mtime in (old, new):
                try:
                    plotter.directory.set_time(name, old)
                except OSError:
                    continue
            elif inode is None and not all(
                plotter.directory.is_there(drive) for drive, _ in plotter.directory.branches
            ):
                continue
            del plotter.memory.times[name]

    @staticmethod
    def _look(plotter: Plotter, name: str) -> tuple[int, int, int]:
        inode = plotter.directory.inode(name)
        return (0, 0, 0) if inode is None else (inode.generation, inode.size, inode.mtime)

    def _start(self, plotter: Plotter, name: str) -> None:
        try:
            drive, handle = plotter.directory.open(name)
        except OSError:
            return
        suffix = "" if plotter is self.world.plotters[0] else "-2"
        session = Session()
        source = Source(drive, handle, name)
        source.offered = self._look(plotter, name)
        setup = self.world.setup
        actor = Actor(f"plotter{suffix}", PLOTTER, iter(()), plotter, session)  # type: ignore[arg-type]
        actor.source = source
        identity = actor.identity()
        plot_id = PLOT_ID if identity.size else ""
        offer = Offer(name, max(identity.size, 1), "v1", 32, plot_id, False, 0, 1, "", None, 0, None)
        if setup.is_move:
            actor.name = f"mover{suffix}"
            place = self.host.place(actor, e.Place(offer, frozenset()))
            if isinstance(place, e.RefusedPlacement):
                drive.close(handle)
                self._failed(plotter, name, place.refusal.value)
                return
            load = Load(name, identity, plot_id, plotter.name, setup.keep_source, setup.verify, SEGMENT_BYTES)
            actor.generator = move(load, place)
            self._begin(actor)
            return
        actor.generator = deliver(offer, Wanted(identity, setup.keep_source, SEGMENT_BYTES))
        nas = Actor(f"nas{suffix}", NAS, iter(()), plotter, session)  # type: ignore[arg-type]
        nas.generator = self._receive(nas, setup)
        self._begin(nas)
        self._begin(actor)

    def _receive(self, nas: Actor, setup: Setup) -> e.Steps[None]:
        """Wait for an offer and answer it, as the receiver's loop does."""
        offer = yield e.Receive((Offer,), e.Phase.IDLE)
        yield from receive(offer, Terms(setup.verify, SEGMENT_BYTES, nas.plotter.name))

    def _begin(self, actor: Actor) -> None:
        self.actors.append(actor)
        self.resume(actor, None, None)

    # ---- Ends -----------------------------------------------------------------------------------------------

    def finish(self, actor: Actor, outcome: Outcome | None) -> None:
        self.leave(actor)
        actor.outcome = outcome
        if actor.source is None:
            return
        plotter = actor.plotter
        name = actor.source.name
        self.world.unnoted.clear()
        if isinstance(outcome, Delivered):
            plotter.memory.failures.pop(name, None)
            if outcome.removal in _SET_ASIDE:
                plotter.memory.set_aside[name] = (actor.source.offered, outcome.removal.value)
        elif isinstance(outcome, NotTaken) and outcome.refusal.is_final:
            plotter.memory.set_aside[name] = (actor.source.offered, outcome.refusal.value)
        elif isinstance(outcome, NotTaken):
            self._failed(plotter, name, outcome.refusal.value)
        elif isinstance(outcome, Failed):
            if outcome.failure in (Failure.NAME_TAKEN, Failure.SAME_PLACE) and actor.name.startswith("mover"):
                plotter.memory.set_aside[name] = (actor.source.offered, outcome.failure.value)
            self._failed(plotter, name, outcome.failure.value)

    def _failed(self, plotter: Plotter, name: str, why: str) -> None:
        count = plotter.memory.failures.get(name, 0) + 1
        plotter.memory.failures[name] = count
        if count >= _MOST_FAILURES:
            self.world.alerts.add(f"{name}: {why}")

    def leave(self, actor: Actor) -> None:
        """Let a process end, well or not, and with it what it holds; a worker that hangs stays."""
        actor.is_done = True
        actor.session.leave(actor.end)
        worker = actor.worker
        actor.worker = None
        if worker is not None and not worker.is_hung:
            self.world.memory.publishing.pop(worker.plot, None) if actor.outcome else None
            self.world.leave(worker)
        source = actor.source
        if source is not None:
            if source.is_leased:
                self.world.leases.pop(self.world.key(source.drive, source.inode), None)
                source.is_leased = False
            if source.handle.copies and not source.is_stale:
                source.drive.close(source.handle)
            for deferred in self.world.deferred:
                deferred()
            self.world.deferred.clear()
