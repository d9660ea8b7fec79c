"""A NAS as the plotter's run sees it: its addresses, the ssh connections to them, and the streams on those."""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Sequence

from plotfarm.base.config.links import parse_links
from plotfarm.base.config.sections import Config
from plotfarm.base.errors import NasUnavailable, PlotfarmError
from plotfarm.base.ssh import Connection
from plotfarm.jobs.nas_session import end_stale_listeners, open_session
from plotfarm.transfer.messages import Capacity
from plotfarm.transfer.nas_choice import Answer, NasView
from plotfarm.transfer.stream import Stream

_SESSIONS_A_CONNECTION = 8  # sshd's MaxSessions is 10; one is for kill_nc, one to spare
_LEFT_OUT_SECONDS = 60.0  # after that a run tries again what could not be reached
EXPECTED_SECONDS = 3600.0  # so long what a NAS has said tells whether it is worth asking
_LIMIT_LASTS_SECONDS = 30.0  # how many streams are too many changes with what others send


class Link:
    """One address of a NAS: as many connections as its streams need."""

    def __init__(self, host: str, address: str, config: Config) -> None:
        self.host, self.address = host, address
        self.left_out_until = 0.0  # time.monotonic
        self.streams: dict[Stream, Connection] = {}
        self.opening: Connection | None = None
        self._up: list[Connection] = []
        self._config = config

    @property
    def is_usable(self) -> bool:
        """Whether it is not left out just now."""
        return time.monotonic() >= self.left_out_until

    @property
    def is_up(self) -> bool:
        """Whether a connection stands."""
        return bool(self._up)

    def has_room(self) -> bool:
        """Tell whether another stream finds a connection that is up."""
        return self._with_room() is not None

    def _with_room(self) -> Connection | None:
        used = list(self.streams.values())
        return next((each for each in self._up if used.count(each) < _SESSIONS_A_CONNECTION), None)

    def begin_opening(self) -> None:
        """Begin another connection, unless one is being opened."""
        if self.opening is None:
            nas = self._config.nas
            options = list(nas.ssh_options)
            if self.address != self.host:
                alias = self.host.rpartition("@")[2]
                options += ["-o", f"HostName={self.address}", "-o", f"HostKeyAlias={alias}"]
            self.opening = Connection(self.host, options, nas.connect_timeout_seconds, self._config.paths.locks)
            try:
                self.opening.begin()
            except PlotfarmError as error:
                self.leave_out()
                raise NasUnavailable(str(error)) from None

    def follow_opening(self) -> float:
        """See how the opening goes; returns how many seconds it took once it has ended well, 0 until then.

        NasUnavailable, and the link is left out for a while, if it failed.
        """
        assert self.opening is not None
        try:
            if not self.opening.went_up():
                return 0.0
        except NasUnavailable:
            self.leave_out()
            raise
        seconds = self.opening.seconds
        self._up.append(self.opening)
        self.opening = None
        return seconds

    def leave_out(self) -> None:
        """Use this address no more for a while."""
        self.left_out_until = time.monotonic() + _LEFT_OUT_SECONDS
        self.close()

    def start_stream(self) -> Stream:
        """Start a stream on a connection that has room."""
        connection = self._with_room()
        assert connection is not None
        own_address = "" if self.address == self.host else self.address
        opener = functools.partial(open_session, connection, own_address, self._config)
        stream = Stream(opener, functools.partial(end_stale_listeners, connection, self._config))
        self.streams[stream] = connection
        return stream

    def end_stream(self, stream: Stream) -> None:
        """End a stream."""
        stream.end()
        del self.streams[stream]

    def close(self) -> None:
        """End every stream and connection."""
        close_links([self])

    def connections(self) -> list[Connection]:
        """Return those that stand or are being opened."""
        return [*self._up, *([self.opening] if self.opening is not None else [])]

    def forget(self) -> None:
        """Forget the streams and connections, which have ended."""
        self.streams.clear()
        self._up.clear()
        self.opening = None


def close_links(links: Sequence[Link]) -> None:
    """End every stream and connection of these links: first all are told, then each is waited for."""
    streams = [stream for link in links for stream in link.streams]
    for stream in streams:
        stream.let_go()
    for stream in streams:
        stream.end()

    connections = [connection for link in links for connection in link.connections()]
    for connection in connections:
        connection.let_go()
    for connection in connections:
        connection.close()
    for link in links:
        link.forget()


class Nas:
    """One NAS: what it said that it can take, and the ways to it."""

    def __init__(self, host: str, config: Config) -> None:
        addresses = parse_links(config.nas.links).get(host, (host,))
        self.host = host
        self.links = [Link(host, address, config) for address in addresses]
        self.last_used = -math.inf  # in seconds from the start of the run, before it negative; -inf: none yet
        self.size = 0  # that it was asked for last
        self.asking: Stream | None = None  # that brings its answer
        self.awaited_since: float | None = None  # time.monotonic of the question that it has not answered
        self.is_late = False  # nobody waits for its answer, until it comes
        self.was_silent = False  # in the last run
        self._answer: Answer | None = None
        self._expected_bytes: int | None = None  # room, by its last answer, however old, less what was sent since
        self.expected_since = 0.0  # time.monotonic of that answer
        self._limit = self._most = config.nas.streams
        self._limited = 0.0  # time.monotonic when the limit was found

    @property
    def streams(self) -> list[Stream]:
        """The streams to it, over all links."""
        return [stream for link in self.links for stream in link.streams]

    @property
    def is_usable(self) -> bool:
        """Whether there is a way to it that is not left out."""
        return any(link.is_usable for link in self.links)

    @property
    def is_connected(self) -> bool:
        """Whether a connection to it is up."""
        return any(link.is_up for link in self.links)

    def answered(self, capacity: Capacity) -> None:
        """Note what it can take."""
        now = time.monotonic()
        if now - self._limited > _LIMIT_LASTS_SECONDS:
            self._limit = self._most  # what was too many then may be welcome now
        self._answer = Answer(capacity, self.size, now)
        self.expect(capacity.plots * self.size, now)
        self.awaited_since = None
        self.is_late = False
        self.was_silent = False

    def expect(self, room_bytes: int | None, since: float) -> None:
        """Note how much room it had when it said so last (time.monotonic), None if nothing is known."""
        self._expected_bytes = room_bytes
        self.expected_since = since

    def expected_bytes(self) -> int | None:
        """Return how much room it has, if its last answer, which need not be a new one, still is worth something."""
        is_too_old = time.monotonic() - self.expected_since > EXPECTED_SECONDS
        return None if is_too_old else self._expected_bytes

    def taken(self, moment: float, size: int) -> None:
        """Note that a plot of `size` bytes went there, at a `moment` in seconds from the start of the run."""
        self.last_used = moment
        if self._expected_bytes is not None:
            self._expected_bytes = max(0, self._expected_bytes - size)
        if self._answer is not None:
            self._answer = self._answer.after_sending()

    def ended(self, *, well: bool) -> None:
        """Note that a plot is no longer on its way there: its drive is free, or it must be asked what it can take."""
        if not well:
            self._answer = None
        elif self._answer is not None:
            self._answer = self._answer.after_arrival()

    def narrow(self, link: Link, stream: Stream) -> bool:
        """End a stream that the NAS has no place for, and start no more for a while; False if no other is busy."""
        link.end_stream(stream)
        busy = sum(other.is_busy for other in self.streams)
        self._limit = max(1, busy)
        self._limited = time.monotonic()
        return busy > 0

    def view(self, size: int, oldest: float) -> NasView:
        """Return what the choice between several NAS for a plot of `size` bytes is made from.

        An answer counts that was heard at `oldest` (time.monotonic) or later.
        """
        answer = self._answer
        is_awaited = answer is None or not answer.holds(size, oldest)
        capacity = answer.capacity if answer is not None else Capacity(0, 0, 0, "")
        expected = self.expected_bytes()
        return NasView(
            host=self.host,
            plots=(expected or 0) // size if is_awaited else capacity.plots,
            streams=capacity.streams,
            active=sum(stream.is_busy for stream in self.streams if stream is not self.asking),
            limit=self._limit,
            last_used=self.last_used,
            arriving=capacity.arriving_bytes / size,
            is_awaited=is_awaited,
            is_unknown=is_awaited and expected is None,
        )

    @property
    def said(self) -> Capacity | None:
        """What it said last that it can take; None if it has not said, or that is not so any more."""
        return self._answer.capacity if self._answer is not None else None

    @property
    def opening_since(self) -> float | None:
        """When the oldest connection that does not stand yet was begun (time.monotonic); None if there is none."""
        begun = [link.opening.begun for link in self.links if link.opening is not None]
        return min(begun, default=None)

    @property
    def has_place(self) -> bool:
        """Whether another stream of this plotter may begin there."""
        return sum(stream.is_busy for stream in self.streams) < self._limit

    @property
    def why(self) -> str:
        """Why it can take nothing, by its last answer; "" if it can."""
        return self._answer.capacity.detail if self._answer else ""

    def idle_stream(self) -> tuple[Link, Stream] | None:
        """Return a stream that has nothing to do, starting one where that can be done at once.

        Streams are spread over the links; None while a connection is only being opened.
        """
        usable = sorted((link for link in self.links if link.is_usable), key=lambda link: len(link.streams))
        for link in usable:
            for stream in link.streams:
                if not stream.is_busy:
                    return link, stream
        if usable and usable[0].has_room() and len(self.streams) < max(1, self._limit):
            return usable[0], usable[0].start_stream()
        return None

    def open_links(self) -> list[str]:
        """Begin to open the way that the next stream takes; returns why those that cannot be used could not."""
        problems: list[str] = []
        usable = sorted((link for link in self.links if link.is_usable), key=lambda link: len(link.streams))
        for link in usable[:1]:
            if not link.has_room():
                try:
                    link.begin_opening()
                except NasUnavailable as error:
                    problems.append(str(error))
        return problems
