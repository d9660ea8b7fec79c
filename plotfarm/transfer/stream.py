"""One stream of plots to a NAS: a process of its own, so that no stream ever waits for another.

The run hands it open plots, one after the other, and hears what becomes of each; the session stays open between them.
It is gone with the run, however that ends.
"""

from __future__ import annotations

import contextlib
import logging
import os
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from plotfarm.base.errors import NasRefuses, NasUnavailable, PlotfarmError, TransferFailed
from plotfarm.plots.names import escaped
from plotfarm.transfer.channel import Channel
from plotfarm.transfer.effects import SourceError
from plotfarm.transfer.messages import Capacity, Offer, Placed, out_of_turn
from plotfarm.transfer.outcomes import NotTaken, Outcome
from plotfarm.transfer.pour import reporter
from plotfarm.transfer.send import Wanted
from plotfarm.transfer.sender import Observer, Sender
from plotfarm.transfer.source import Source, TimeNotes
from plotfarm.transfer.worker import Endpoint, Worker, WorkerGone


@dataclass(frozen=True)
class OpenSession:
    """An open session with a NAS."""

    sender: Sender
    channel: Channel
    prepare: Callable[[], object]  # before a plot is offered; NasUnavailable if nothing can be sent


# Opens a session; NasUnavailable if nobody answers as this suite does.
SessionOpener = Callable[[], AbstractContextManager[OpenSession]]


# ---- What the run asks ------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Ask:
    size: int


@dataclass(frozen=True)
class _Place:
    offer: Offer


@dataclass(frozen=True)
class _Deliver:
    offer: Offer
    path: Path
    wanted: Wanted


# ---- What the stream says ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Log:
    """A line for the log, which only the run has open."""

    name: str
    level: int
    text: str

    def write(self) -> None:
        """Write it, in the run."""
        logging.getLogger(self.name).log(self.level, "%s", self.text)


@dataclass(frozen=True)
class Alive:
    """The stream is at work."""


@dataclass(frozen=True)
class Moved:
    """So many bytes of the plot are handed over, or read."""

    done: int


@dataclass(frozen=True)
class Began:
    """The NAS takes the plot to this drive, and has the bytes before `offset` already."""

    drive: str
    offset: int


@dataclass(frozen=True)
class TimeNote:
    """The source's time goes from `old` to `new` for a moment (ns of Unix time); `new` None: it is over."""

    path: Path
    old: int = 0
    new: int | None = None


@dataclass(frozen=True)
class Unavailable:
    """The NAS cannot be reached, or does not answer as this suite does."""

    detail: str
    is_refusal: bool = False  # it was reached, and what takes plots there ended in an error


@dataclass(frozen=True)
class SessionLost:
    """The session broke in the midst of the plot: perhaps the NAS can be reached on another way."""

    detail: str


@dataclass(frozen=True)
class SourceFailed:
    """The source cannot be read, or is no longer the plot."""

    detail: str


@dataclass(frozen=True)
class StreamGone:
    """The stream's process was ended from outside: it is of no more use."""

    detail: str = "the process of a stream was ended from outside"


OnTheWay = Log | Alive | Moved | Began | TimeNote
End = Capacity | NotTaken | Placed | Outcome | Unavailable | SessionLost | SourceFailed | StreamGone


class Stream:
    """The run's side of a stream."""

    def __init__(self, open_session: SessionOpener, end_listeners: Callable[[], None]) -> None:
        self._worker = Worker(lambda endpoint: _Server(open_session, end_listeners, endpoint).serve())
        self.heard = time.monotonic()  # when it last said anything
        self.is_busy = False
        self.is_over = False  # ended from outside

    def fileno(self) -> int:
        """Return the descriptor to poll: ready when the stream has something to say."""
        return self._worker.endpoint.fileno()

    def ask(self, size: int) -> None:
        """Have the NAS asked how many plots of a size it can take: `receive` returns a Capacity in the end."""
        self._send(_Ask(size))

    def deliver(self, offer: Offer, source: int, path: Path, wanted: Wanted) -> None:
        """Have a plot delivered, open as `source`, and removed from `path`: `receive` returns an Outcome in the end."""
        self._send(_Deliver(offer, path, wanted), source)

    def place(self, offer: Offer) -> None:
        """Have the NAS asked where a plot would go: `receive` returns a Placed in the end."""
        self._send(_Place(offer))

    def noted(self) -> None:
        """Tell the stream that its TimeNote is on record."""
        self._worker.endpoint.noted()

    def _send(self, request: object, descriptor: int | None = None) -> None:
        self.is_busy = True
        self.heard = time.monotonic()
        with contextlib.suppress(WorkerGone):  # which `receive` will tell
            self._worker.endpoint.send(request, descriptor)

    def receive(self) -> OnTheWay | End:
        """Return what the stream says: how it gets on, or the end of what it was asked to do."""
        try:
            said, _ = self._worker.endpoint.receive()
        except WorkerGone:
            self.is_over = True
            said = StreamGone()
        self.heard = time.monotonic()
        if isinstance(said, Log):
            said.write()
        if isinstance(said, OnTheWay):
            return said
        self.is_busy = False
        end: End = said
        return end

    def let_go(self) -> None:
        """Have the stream end by itself; `end` waits until it has."""
        self._worker.let_go()

    def end(self) -> None:
        """End the stream, whatever it is doing."""
        self._worker.end()


class RelayedNotes(TimeNotes):
    """Has the run remember a source's time, since only it has the database open."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint

    def remember(self, path: Path, old: int, new: int) -> None:
        """Have the run remember the source's own time, and wait until it has."""
        self._endpoint.have_noted(TimeNote(path, old, new))

    def forget(self, path: Path) -> None:
        """Have the run forget it."""
        self._endpoint.have_noted(TimeNote(path))


class _Server(Observer):
    """The child's side: does one thing after the other, and keeps the session alive in between."""

    def __init__(self, open_session: SessionOpener, end_listeners: Callable[[], None], endpoint: Endpoint) -> None:
        self._open_session = open_session
        self._end_listeners = end_listeners
        self._endpoint = endpoint
        self._open = contextlib.ExitStack()
        self._session: OpenSession | None = None
        self._report = reporter(lambda done: endpoint.send(Moved(done)))
        log_through(endpoint)

    def serve(self) -> None:
        """Do what comes, until WorkerGone: the run is gone, or wants no more."""
        with self._open, _logging_bugs():
            while True:
                self._wait_for_work()
                request, descriptor = self._endpoint.receive()
                end = self._answer(request, descriptor)
                self._endpoint.send(end)  # first: cleaning up after a NAS that is silent takes a while
                if self._session is None or self._session.sender.is_broken:
                    self._hang_up()
                    if isinstance(request, _Deliver):
                        self._end_listeners()

    def _wait_for_work(self) -> None:
        try:
            while self._session is not None:
                said, ready = self._session.channel.wait([self._endpoint.fileno()])
                if ready:
                    return
                if said:
                    raise out_of_turn(said[0])
        except TransferFailed as error:
            logging.getLogger(__name__).debug("The session ended between two plots: %s", error)
            self._hang_up()

    def _answer(self, request: object, descriptor: int | None) -> End:
        """Do one thing and return what came of it."""
        try:
            sender = self._sender()
            if isinstance(request, _Ask):
                return sender.ask(request.size)
            if isinstance(request, _Place):
                return sender.place(request.offer)
            assert isinstance(request, _Deliver) and descriptor is not None
            return self._deliver(sender, request, descriptor)
        except NasUnavailable as error:
            return Unavailable(str(error), isinstance(error, NasRefuses))
        except PlotfarmError as error:
            return SessionLost(str(error))
        except SourceError as error:
            return SourceFailed(error.detail)

    def _deliver(self, sender: Sender, request: _Deliver, descriptor: int) -> Outcome:
        assert self._session is not None
        try:
            self._session.prepare()
        except NasUnavailable:
            os.close(descriptor)
            raise
        try:
            notes = RelayedNotes(self._endpoint)
            source = Source(descriptor, request.path, request.wanted.segment_bytes, notes, self._read_on)
        except SourceError:
            os.close(descriptor)
            raise
        try:
            return sender.deliver(request.offer, source, request.wanted, self)
        finally:
            sender.end_pipe()
            source.close()

    def _read_on(self, done: int) -> None:
        """Keep the session alive while the source is read, and report how far that is."""
        if self._session is not None:
            with contextlib.suppress(TransferFailed):  # whoever speaks to the NAS next finds out
                self._session.channel.keep_alive()
        self._report(done)

    def _sender(self) -> Sender:
        if self._session is None:
            self._session = self._open.enter_context(self._open_session())
            self._session.channel.on_heartbeat = lambda: self._endpoint.send(Alive())
        return self._session.sender

    def _hang_up(self) -> None:
        self._session = None
        with contextlib.suppress(PlotfarmError):
            self._open.close()

    # ---- What is reported on the way ----

    def moved(self, done: int) -> None:
        """Report the progress a few times a second."""
        self._report(done)

    def began(self, drive: str, offset: int) -> None:
        """Report where the plot goes."""
        self._endpoint.send(Began(drive, offset))


@contextlib.contextmanager
def _logging_bugs() -> Iterator[None]:
    """Have what nobody expected logged by the run, before this process ends of it."""
    try:
        yield
    except WorkerGone:
        raise
    except Exception:
        for line in traceback.format_exc().splitlines():
            logging.getLogger(__name__).error("Unexpected error: %s", line)
        raise


def log_through(endpoint: Endpoint) -> None:
    """Let the run write the log of this process, which it hears as Log: its files are not open here."""

    class Forwarding(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            with contextlib.suppress(WorkerGone):
                endpoint.send(Log(record.name, record.levelno, escaped(record.getMessage())))

    logging.getLogger().handlers = [Forwarding()]
    logging.disable(logging.NOTSET)
