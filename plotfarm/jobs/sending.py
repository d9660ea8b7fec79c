"""One plot on its way from this plotter to a NAS, and what is said and remembered of it."""

from __future__ import annotations

import socket
import time
from dataclasses import dataclass, replace

from plotfarm.base.state import Transfer, TransferOutcome
from plotfarm.base.units import format_bytes, format_duration, format_speed
from plotfarm.jobs.dispatch import Berth, Job
from plotfarm.plots.plotfile import PlotFile
from plotfarm.transfer.hashing import plot_hash
from plotfarm.transfer.outcomes import Delivered, Failure, How
from plotfarm.transfer.stream import Began, Moved, OnTheWay


@dataclass
class Sending:
    """A plot on its way."""

    job: Job
    berth: Berth
    source: int  # descriptor
    started: float  # time.monotonic
    since: float  # Unix time
    progress: float  # Unix time when a byte moved last
    done: int = 0
    offset: int = 0
    drive: str = ""

    @property
    def plot(self) -> PlotFile:
        """The plot."""
        return self.job.plot

    @property
    def host(self) -> str:
        """The NAS that it goes to."""
        return self.berth.nas.host

    @property
    def seconds(self) -> float:
        """How long it has been on its way."""
        return time.monotonic() - self.started

    def update(self, said: OnTheWay) -> None:
        """Take in how far it is."""
        match said:
            case Moved():
                self.done = said.done
                self.progress = time.time()
            case Began():
                self.drive = said.drive
                self.offset = said.offset
                self.done = said.offset
                self.since = time.time()
                self.progress = self.since

    def status(self) -> dict[str, object]:
        """Return what --status of another process is to know."""
        return {
            "plot": self.plot.name,
            "nas": self.host,
            "address": self.berth.link.address,
            "drive": self.drive,
            "bytes": self.plot.size,
            "done": self.done,
            "offset": self.offset,
            "since": self.since,
            "progress": self.progress,
        }

    def how(self, delivered: Delivered) -> str:
        """Return in words how it got there."""
        if delivered.how is How.HAVE:
            return "was there already"
        words = f"{format_duration(self.seconds)}, {format_speed(self.plot.size - self.offset, self.seconds)}"
        return f"{words}, went on at {format_bytes(self.offset)}" if self.offset else words

    def record_delivered(self, delivered: Delivered) -> Transfer:
        """Return what is remembered of it now that it is stored."""
        segments = delivered.segments
        return replace(
            self._record(TransferOutcome(delivered.how), delivered.path),
            digest=plot_hash(segments) if segments else "",
            segments=" ".join(segments),
        )

    def record_failed(self, failure: Failure, detail: str) -> Transfer:
        """Return what is remembered of it now that it has failed."""
        return replace(self._record(TransferOutcome.FAILED, self.drive), reason=failure.value, detail=detail)

    def _record(self, outcome: TransferOutcome, place: str) -> Transfer:
        return Transfer(
            finished=time.time(),
            plot=self.plot.name,
            kind=self.plot.header.kind.value,
            source=str(self.plot.path),
            target=f"{self.host}:{place}",
            plotter=socket.gethostname(),
            bytes=self.plot.size,
            seconds=self.seconds,
            digest="",
            segments="",
            outcome=outcome,
            k=self.plot.header.k or 0,
        )
