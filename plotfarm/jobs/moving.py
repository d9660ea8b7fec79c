"""One plot on its way to a drive of the host that it lies on, as the run sees it that has several of them."""

from __future__ import annotations

import os
import time

from plotfarm.base.state import State
from plotfarm.jobs.restored_times import note_time
from plotfarm.plots.plotfile import PlotFile
from plotfarm.transfer.effects import RecordEffect, RefusedPlacement
from plotfarm.transfer.messages import Offer
from plotfarm.transfer.move import Load
from plotfarm.transfer.mover import Advanced, Mover, Order, ToRecord
from plotfarm.transfer.outcomes import Delivered, Failed
from plotfarm.transfer.source import open_source
from plotfarm.transfer.storage import Assignment, Storage
from plotfarm.transfer.stream import TimeNote


class Moving:
    """A plot that moves; `end` it in any case."""

    def __init__(
        self,
        plot: PlotFile,
        offer: Offer,
        assignment: Assignment,
        load: Load,
        storage: Storage,
        state: State,
        bytes_per_second: float,
    ) -> None:
        """Begin the move; TransferFailed if the plot cannot be opened, and the drive is given back then."""
        assert assignment.site is not None and not isinstance(assignment.placement, RefusedPlacement)
        self.plot = plot
        self.drive = assignment.placement.drive
        self.identity = assignment.placement.identity
        self._offer = offer
        self._assignment = assignment
        self._storage = storage
        self._state = state
        self._started = time.monotonic()
        try:
            self._source = open_source(plot.path, plot.identity)
        except BaseException:
            self._release()
            raise
        order = Order(load, plot.path, self._source, assignment.placement, assignment.site, bytes_per_second)
        keep = [assignment.lock.fileno()] if assignment.lock is not None else []
        self._mover = Mover(order, keep)

    @property
    def seconds(self) -> float:
        """For how long it has been on its way."""
        return time.monotonic() - self._started

    @property
    def moved(self) -> float:
        """When it got on last (time.monotonic)."""
        return self._mover.moved

    @property
    def done(self) -> int:
        """How many bytes were copied, read or compared."""
        return self._mover.done

    def fileno(self) -> int:
        """Return the descriptor to poll: ready when the process has something to say."""
        return self._mover.fileno()

    def follow(self) -> Delivered | Failed | None:
        """Take what the process says and record what it wants recorded; its outcome, when there is one."""
        said = self._mover.receive()
        match said:
            case Delivered() | Failed():
                return said
            case Advanced():
                if self._assignment.lock is not None:
                    self._assignment.lock.update(written_bytes=said.done, progress=time.time())
            case ToRecord():
                self.record(said.effect)
                self._mover.recorded()
            case TimeNote():
                note_time(self._state, said)
                self._mover.recorded()
        return None

    def record(self, effect: RecordEffect) -> None:
        """Have the host remember something of this move."""
        self._storage.record(effect, self._offer, self._assignment, self.seconds)

    def end(self) -> None:
        """End the process, and give the drive back."""
        self._mover.end()
        os.close(self._source)
        self._release()

    def _release(self) -> None:
        if self._assignment.lock is not None:
            self._assignment.lock.release()
