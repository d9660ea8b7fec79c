"""One stream of plots to a NAS: a process of its own, so that no stream ever waits for another.

The run hands it open plots, one after the other, and hears what becomes of each; the conversation stays open between
them. It is gone with the run, however that ends.
"""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from typing import Any

from plotfarm.base.errors import NasUnavailable, PlotfarmError, TransferFailed
from plotfarm.transfer.channel import Channel, OtherEndGone
from plotfarm.transfer.digest import Digest
from plotfarm.transfer.protocol import Capacity, Offer
from plotfarm.transfer.send import Delivered, Observer, PlotRefused, Sender, Source
from plotfarm.transfer.worker import Endpoint, Worker

_LOG = logging.getLogger(__name__)
_REPORT_SECONDS = 0.25
_ENDING = ("unavailable", "lost", "broken")  # what a conversation does not go on after


@dataclass(frozen=True)
class Talk:
    """An open conversation with a NAS."""

    sender: Sender
    channel: Channel


# Opens a conversation; NasUnavailable if nobody answers as this suite does.
OpenTalk = Callable[[], AbstractContextManager[Talk]]


class LinkLost(TransferFailed):
    """The NAS was gone in the midst of a transfer: perhaps it can be reached on another way."""


class Stream:
    """The run's side of a stream. `plot` is what it is at now, "" for nothing."""

    def __init__(self, talk: OpenTalk, end_listeners: Callable[[], None]) -> None:
        self._worker = Worker(lambda endpoint: _Server(talk, end_listeners, endpoint).serve())
        self.heard = time.monotonic()  # when it last said anything
        self.is_busy = False
        self.is_over = False  # ended from outside: it is of no more use

    def fileno(self) -> int:
        """Return the descriptor to poll: ready when the stream has something to say."""
        return self._worker.endpoint.fileno()

    def ask(self, size: int) -> None:
        """Have the NAS asked how many plots of a size it can take: `hear` returns a Capacity, or None if it is old."""
        self._say("ask", size=size)

    def deliver(self, offer: Offer, source: int, segments: tuple[str, ...]) -> None:
        """Have a plot delivered, open as `source`; the first `segments` were digested by an earlier try."""
        self._say("deliver", source, offer=asdict(offer), segments=segments)

    def where(self, offer: Offer) -> None:
        """Have the NAS asked where a plot would go: `hear` returns its path and whether it is there already."""
        self._say("where", offer=asdict(offer))

    def _say(self, kind: str, descriptor: int | None = None, **fields: Any) -> None:
        self.is_busy, self.heard = True, time.monotonic()
        with contextlib.suppress(OSError):  # it was ended from outside, which `hear` will tell
            self._worker.endpoint.send(kind, descriptor, **fields)

    def hear(self) -> dict[str, Any] | Capacity | Delivered | tuple[str, bool] | None:
        """Return the stream's next word: progress as a message, or the result of what it was told to do.

        PlotRefused, NasUnavailable, LinkLost or TransferFailed if that came to nothing.
        """
        try:
            message = self._worker.hear("the process of a stream was ended from outside")
        except TransferFailed:
            self.is_busy, self.is_over = False, True
            raise
        self.heard = time.monotonic()
        kind = message.pop("type")
        if kind == "log":
            logging.getLogger(message["name"]).log(message["level"], "%s", message["text"])
        if kind in ("log", "progress", "began", "segments", "beat", "state"):
            return {"type": kind, **message}
        self.is_busy = False
        return _result(kind, message)

    def end(self) -> None:
        """End the stream, whatever it is doing."""
        self._worker.end()


def _result(kind: str, message: dict[str, Any]) -> Capacity | Delivered | tuple[str, bool] | None:
    if kind == "room":
        return Capacity(**message["room"]) if message["room"] else None
    if kind == "place":
        return message["path"], message["present"]
    if kind == "delivered":
        return Delivered(message["path"], Digest(message["digest"], tuple(message["segments"])), message["how"])
    if kind == "refused":
        raise PlotRefused(**message)
    errors: dict[str, type[PlotfarmError]] = {"unavailable": NasUnavailable, "lost": LinkLost}
    raise errors.get(kind, TransferFailed)(message["reason"])


class _Server(Observer):
    """The child's side: does one thing after the other, and keeps the conversation alive in between."""

    def __init__(self, talk: OpenTalk, end_listeners: Callable[[], None], endpoint: Endpoint) -> None:
        self._open_talk, self._end_listeners, self._endpoint = talk, end_listeners, endpoint
        self._open = contextlib.ExitStack()
        self._talk: Talk | None = None
        self._reported = 0.0
        _log_through(endpoint)

    def serve(self) -> None:
        """Do what comes, until EOFError: the run is gone, or wants no more."""
        with self._open:
            while True:
                self._wait_for_work()
                message, descriptor = self._endpoint.receive()
                kind, answer = self._answer(message, descriptor)
                self._endpoint.send(kind, **answer)  # first: cleaning up after a NAS that is silent takes a while
                if kind in _ENDING:
                    self._hang_up()
                if kind in _ENDING and message["type"] == "deliver":
                    self._end_listeners()

    def _wait_for_work(self) -> None:
        try:
            while self._talk is not None:
                messages, ready = self._talk.channel.wait([self._endpoint.fileno()])
                if ready:
                    return
                if messages:
                    raise OtherEndGone("the NAS speaks out of turn")
        except TransferFailed as error:
            _LOG.debug("The conversation ended between two plots: %s", error)
            self._hang_up()

    def _answer(self, message: dict[str, Any], descriptor: int | None) -> tuple[str, dict[str, Any]]:
        """Do one thing and return what to report."""
        try:
            return self._carry_out(message, descriptor)
        except PlotRefused as error:
            flags = {"retry": error.retry, "busy": error.busy, "perhaps_here": error.perhaps_here}
            return "refused", {"reason": error.reason, **flags}
        except NasUnavailable as error:
            return "unavailable", {"reason": str(error)}
        except TransferFailed as error:
            return "lost" if isinstance(error, OtherEndGone) else "broken", {"reason": str(error)}
        finally:
            if descriptor is not None:
                os.close(descriptor)

    def _carry_out(self, message: dict[str, Any], descriptor: int | None) -> tuple[str, dict[str, Any]]:
        sender = self._sender()
        if message["type"] == "ask":
            capacity = sender.ask(message["size"])
            return "room", {"room": asdict(capacity) if capacity else None}
        offer = Offer(**message["offer"])
        if message["type"] == "where":
            path, present = sender.where(offer)
            return "place", {"path": path, "present": present}
        assert descriptor is not None
        delivered = sender.deliver(offer, Source(descriptor, tuple(message["segments"])), self)
        if sender.version < 2:  # it takes one plot a conversation
            self._hang_up()
        digest = {"digest": delivered.digest.plot, "segments": delivered.digest.segments}
        return "delivered", {"path": delivered.path, "how": delivered.how, **digest}

    def _sender(self) -> Sender:
        if self._talk is None:
            self._talk = self._open.enter_context(self._open_talk())
            self._talk.channel.on_beat = lambda: self._endpoint.send("beat")
        return self._talk.sender

    def _hang_up(self) -> None:
        self._talk = None
        with contextlib.suppress(PlotfarmError):
            self._open.close()

    def moved(self, done: int) -> None:
        """Report the progress a few times a second."""
        if time.monotonic() - self._reported > _REPORT_SECONDS:
            self._reported = time.monotonic()
            self._endpoint.send("progress", done=done)

    def began(self, drive: str, offset: int) -> None:
        """Report where the plot goes."""
        self._endpoint.send("began", drive=drive, offset=offset)

    def digested(self, segments: tuple[str, ...]) -> None:
        """Report the segments that are digested."""
        self._endpoint.send("segments", segments=segments)


def _log_through(endpoint: Endpoint) -> None:
    """Let the run write the log of this process: its files are not open here."""

    class Forwarding(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            with contextlib.suppress(OSError):
                endpoint.send("log", name=record.name, level=record.levelno, text=record.getMessage())

    logging.getLogger().handlers = [Forwarding()]
    logging.disable(logging.NOTSET)
