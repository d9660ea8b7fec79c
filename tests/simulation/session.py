"""A modelled session between two ends: queues of messages, and a data connection that holds two blocks."""

from __future__ import annotations

from collections import deque

from plotfarm.base.errors import ProtocolError, TransferFailed
from plotfarm.transfer.messages import Message

NAS = 0
PLOTTER = 1
BUFFERED_BLOCKS = 2


class OtherEndGone(TransferFailed):
    """The other end is gone, or silent."""


class Session:
    """Messages that are under way to each end, and who has left."""

    __slots__ = (
        "attempt",
        "data",
        "flipped",
        "has_begun",
        "has_left",
        "is_broken",
        "is_cut",
        "is_listening",
        "looks",
        "waiting",
        "wire",
    )

    def __init__(self) -> None:
        self.waiting: tuple[deque[Message], deque[Message]] = (deque(), deque())
        self.has_left = [False, False]
        self.is_cut = False  # nothing arrives any more, and nobody is told
        self.wire = ""  # what is to happen to the next message

        self.looks = 0  # at the stored plot, for the one who will remove its source
        self.attempt = 0
        self.is_listening = False
        self.data: deque[int] = deque()
        self.has_begun = False  # the plotter is connected
        self.is_broken = False  # the data connection
        self.flipped = 0  # the token that the next block arrives as

    def send(self, to: int, message: Message) -> None:
        """Put a message on its way. OtherEndGone if the end it is for has left."""
        if self.has_left[to]:
            raise OtherEndGone("the other end has gone")
        if not self.is_cut:
            self.waiting[to].append(message)

    def has_news(self, end: int) -> bool:
        """Tell whether a receive would return or fail at once."""
        return bool(self.waiting[end]) or self.has_left[1 - end]

    def receive(self, end: int, kinds: tuple[type[Message], ...]) -> Message:
        """Return the next message."""
        if not self.waiting[end]:
            raise OtherEndGone("the other end has gone")
        message = self.waiting[end].popleft()
        if not isinstance(message, kinds):
            raise ProtocolError(f"{type(message).__name__} is not to be said now")
        return message

    def leave(self, end: int) -> None:
        """Close one end."""
        self.has_left[end] = True
        self.is_broken = True

    def listen(self) -> int:
        """Wait for a data connection; returns its number."""
        self.attempt += 1
        self.is_listening = True
        self.has_begun = False
        self.is_broken = False
        self.data.clear()
        return self.attempt
