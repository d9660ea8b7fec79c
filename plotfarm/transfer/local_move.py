"""One plot on its way to a drive of the host that it lies on, as the run sees it that has several of them.

What touches the disks is a worker (local_copy.py); here its words are heard and answered, and nothing waits.
"""

from __future__ import annotations

import os
import time
from typing import Any

from plotfarm.base.checkpoints import reached
from plotfarm.base.errors import TransferFailed
from plotfarm.plots.plotfile import PlotFile
from plotfarm.transfer.local_copy import Load, carry, settle_present
from plotfarm.transfer.protocol import Offer
from plotfarm.transfer.storage import Arrived, DriveFailed, Present, Reserved, Storage
from plotfarm.transfer.worker import Worker


class Move:
    """A plot that moves; `end` it in any case.

    `done` is how many bytes were brought, or compared; `moved` when that changed last (time.monotonic).
    `result` is `stored`, or `have` if the plot was on the drive already, and empty until that is certain.
    """

    def __init__(
        self, plot: PlotFile, offer: Offer, answer: Reserved | Present, storage: Storage,
        *, readback: bool, keep_source: bool, bytes_per_second: float,
    ) -> None:  # fmt: skip
        self.plot, self.drive, self.identity = plot, answer.drive, ""
        self.path = os.path.join(answer.place.directory, plot.name)
        self.done, self.result, self.is_over = 0, "", False
        self.started = self.moved = time.monotonic()
        self._offer, self._answer, self._storage = offer, answer, storage
        self._prepared, self._digest, self._read = False, dict[str, Any](), ""
        leftovers = answer.leftovers if isinstance(answer, Reserved) else ()
        load = Load(plot, answer.place, readback, leftovers, keep_source, bytes_per_second)
        if isinstance(answer, Present):
            if answer.size != plot.size:
                raise TransferFailed(f"{self.path} is another plot of this name ({answer.size} bytes): both stay")
            recorded = None if readback else answer.recorded
            self._worker = Worker(lambda endpoint: settle_present(load, recorded, endpoint))
        else:
            assert answer.lock is not None
            self.identity = answer.identity
            self._worker = Worker(lambda endpoint: carry(load, endpoint), keep=[answer.lock.fileno()])

    @property
    def seconds(self) -> float:
        """For how long it is on its way."""
        return time.monotonic() - self.started

    @property
    def digest(self) -> str:
        """The plot's digest; empty if it has only got another name on the same file system."""
        return str(self._digest.get("digest", ""))

    def fileno(self) -> int:
        """Return the descriptor to poll: ready when the worker has something to say."""
        return self._worker.endpoint.fileno()

    def hear(self) -> None:
        """Hear the worker's next word and answer it; TransferFailed if it failed."""
        try:
            message = self._worker.hear()
        except TransferFailed as error:
            if isinstance(self._answer, Reserved) and not self._prepared:
                raise DriveFailed(str(error)) from None
            raise
        try:
            self._answer_worker(message)
        except OSError:
            raise TransferFailed("the process that moves the plot was ended from outside") from None

    def _answer_worker(self, message: dict[str, Any]) -> None:
        kind, say = message["type"], self._worker.endpoint.send
        if message.get("done", self.done) != self.done or kind not in ("progress", "state"):
            self.moved, self.done = time.monotonic(), message.get("done", self.done)
        lock = self._answer.lock if isinstance(self._answer, Reserved) else None
        if kind == "prepared":
            self._prepared = True
        elif kind == "progress" and lock:
            lock.update(written_bytes=self.done, progress=time.time())
        elif kind == "arrived":
            self._digest = message
            say("sync")
        elif kind == "synced" and lock:
            # A rename that hangs cannot be taken back: until it is known how it ended, nobody takes this plot.
            lock.update(publishing=True)
            say("publish")
        elif kind == "read":
            self._read = message["digest"]
        elif kind in ("published", "digested"):
            self._record(message)
            say("remove")
        self.is_over = kind == "removed"

    def _record(self, message: dict[str, Any]) -> None:
        """Note that the plot is stored, before its source goes; TransferFailed if it is another plot."""
        result = "stored"
        if message["type"] == "digested":
            result, self._digest = "have", message
            if message["digest"] != self._read:
                raise TransferFailed(f"{self.path} is another plot of this name: both stay")
        digest, segments = self._digest["digest"], tuple(self._digest["segments"])
        inode, mtime_ns = message["inode"], message["mtime_ns"]
        self._storage.stored(Arrived(self._offer, self.path, digest, segments, self.seconds, inode, mtime_ns, result))
        self.result = result
        reached("stored:recorded")

    def failed(self, reason: str) -> None:
        """Record that it came to nothing."""
        self._storage.failed(self._offer, reason, self.seconds)

    def end(self) -> None:
        """End the worker, and give the drive back."""
        tidy = self._worker.end()
        if isinstance(self._answer, Reserved) and self._answer.lock is not None:
            if tidy:
                self._answer.lock.update(parts=[])
            self._answer.lock.release()
