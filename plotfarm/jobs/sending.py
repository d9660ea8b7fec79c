"""One plot on its way from this plotter to a NAS, and what is said and remembered of it."""

from __future__ import annotations

import socket
import time
from dataclasses import dataclass
from typing import Any

from plotfarm.base.state import Transfer
from plotfarm.base.units import format_bytes, format_duration, format_speed
from plotfarm.jobs.dispatch import Berth, Job
from plotfarm.plots.plotfile import PlotFile
from plotfarm.transfer.send import Delivered


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

    def hear(self, word: dict[str, Any]) -> None:
        """Note how far it is."""
        if word["type"] == "progress":
            self.done, self.progress = word["done"], time.time()
        elif word["type"] == "began":
            self.drive, self.offset, self.done = word["drive"], word["offset"], word["offset"]
            self.since = self.progress = time.time()

    def status(self) -> dict[str, object]:
        """Return what --status of another process is to know."""
        return {
            "plot": self.plot.name, "nas": self.host, "address": self.berth.link.address, "drive": self.drive,
            "bytes": self.plot.size, "done": self.done, "offset": self.offset, "since": self.since,
            "progress": self.progress,
        }  # fmt: skip

    def how(self, delivered: Delivered) -> str:
        """Return in words how it got there."""
        if delivered.how == "have":
            return "was there already"
        words = f"{format_duration(self.seconds)}, {format_speed(self.plot.size - self.offset, self.seconds)}"
        return f"{words}, went on at {format_bytes(self.offset)}" if self.offset else words

    def record(self, delivered: Delivered | None, result: str) -> Transfer:
        """Return what is remembered of it now that it has ended."""
        digest = delivered.digest if delivered else None
        return Transfer(
            finished=time.time(), plot=self.plot.name, kind=self.plot.header.kind, source=str(self.plot.path),
            target=f"{self.host}:{delivered.path}" if delivered else "", plotter=socket.gethostname(),
            bytes=self.plot.size, seconds=self.seconds, digest=digest.plot if digest else "",
            segments=" ".join(digest.segments) if digest else "", result=result,
            inode=self.plot.inode, mtime_ns=self.plot.mtime_ns, k=self.plot.header.k or 0,
        )  # fmt: skip
