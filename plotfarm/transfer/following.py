"""Following the bytes of a plot as they arrive: whether they move, whether all are here, and whether they must end."""

from __future__ import annotations

import time

from plotfarm.plots.formats import read_header
from plotfarm.transfer import messages
from plotfarm.transfer.effects import Pour, Stopped
from plotfarm.transfer.messages import Lost, Message, Offer, Sent
from plotfarm.transfer.outcomes import Failure
from plotfarm.transfer.storage import Assignment, Storage


class Following:
    """How a plot's bytes come in: what was heard of them from both sides, and whether they still move."""

    def __init__(self, effect: Pour, stall_seconds: float, lowest_bytes_per_second: float) -> None:
        self._effect = effect
        self._stall_seconds = stall_seconds
        self._lowest = lowest_bytes_per_second
        self._moved = time.monotonic()
        self._window = (time.monotonic(), 0)  # when the speed was measured last, and the bytes then
        self._is_sent = False
        self.is_worker_busy = True  # the drive's process is not done with the bytes
        self.done = 0
        self.segments: tuple[str, ...] | None = None

    @property
    def is_over(self) -> bool:
        """Whether all bytes are here, and the plotter has said that they are sent."""
        return self._is_sent and self.segments is not None

    def seconds_left(self) -> float:
        """Return how long may pass without progress; Stopped if that is over."""
        left = self._moved + self._stall_seconds - time.monotonic()
        if left <= 0:
            detail = f"no byte for {self._stall_seconds:g} seconds after {self.done} of {self._effect.size}"
            raise Stopped(Failure.STALLED, detail)
        return min(left, 1.0)

    def hear(self, message: Message) -> None:
        """Take what the plotter says while its bytes come."""
        match message:
            case Lost() | Sent() if message.attempt != self._effect.attempt:
                return  # about an earlier data connection
            case Lost():
                raise Stopped(Failure.INTERRUPTED, f"the plotter lost the data connection: {message.detail}")
            case Sent() if message.size == self._effect.size:
                self._is_sent = True
                self._moved = time.monotonic()
            case _:
                raise messages.out_of_turn(message)

    def moved(self, done: int) -> None:
        """Note how many bytes there are."""
        if done > self.done:
            self.done = done
            self._moved = time.monotonic()

    def arrived(self, segments: tuple[str, ...]) -> None:
        """Note that all bytes are there."""
        self.segments = segments
        self.is_worker_busy = False
        self.done = self._effect.size
        self._moved = time.monotonic()

    def check(self, storage: Storage, assignment: Assignment | None) -> None:
        """Raise Stopped if others wait for the drive, and this arrival is too slow or has had more than its share."""
        now = time.monotonic()
        since, done = self._window
        if now - since < self._stall_seconds / 2 or assignment is None:
            return
        self._window = (now, self.done)
        speed = (self.done - done) / (now - since)
        if speed < self._lowest and self.is_worker_busy and storage.is_wanted_by_others():
            raise Stopped(Failure.TOO_SLOW, f"{speed / 1e6:.1f} MB/s, while others wait for the drive")
        if storage.must_yield(assignment):
            raise Stopped(Failure.YIELDED, "another plotter has waited for its share of the drives")


def refuse_header(offer: Offer, data: bytes) -> str | None:
    """Say why a plot whose bytes begin with `data` is not the one that was offered, or None if it is."""
    header = read_header(data, offer.size)
    if header.kind != offer.format:
        return f"the bytes are of a {header.kind} plot, but a {offer.format} plot was offered"
    if offer.id and header.plot_id and header.plot_id != offer.id:
        return "the bytes are of another plot than was offered"
    return None
