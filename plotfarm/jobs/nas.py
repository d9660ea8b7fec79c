"""A NAS as the plotter's run sees it: its addresses, the ssh connections to them, and the streams on those."""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace

from plotfarm.base.config.links import parse_links
from plotfarm.base.config.sections import Config, TransferSettings
from plotfarm.base.errors import NasUnavailable, PlotfarmError
from plotfarm.base.ssh import Connection
from plotfarm.transfer.channel import Channel
from plotfarm.transfer.direct import DirectPipe
from plotfarm.transfer.messages import Capacity
from plotfarm.transfer.nas_choice import NasView
from plotfarm.transfer.netcat import NetcatPipe
from plotfarm.transfer.pipe import Pipe
from plotfarm.transfer.sender import Sender
from plotfarm.transfer.stream import OpenSession, Stream

_LOG = logging.getLogger(__name__)
_KILL_SECONDS = 20.0
_SESSIONS_A_CONNECTION = 8  # sshd's MaxSessions is 10; one is for kill_nc, one to spare
_LEFT_OUT_SECONDS = 60.0  # after that a run tries again what could not be reached
_ANSWER_LASTS_SECONDS = 30.0


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

    def follow_opening(self) -> None:
        """See how the opening goes; NasUnavailable, and the link is left out for a while, if it failed."""
        assert self.opening is not None
        try:
            if self.opening.went_up():
                self._up.append(self.opening)
                self.opening = None
        except NasUnavailable:
            self.leave_out()
            raise

    def leave_out(self) -> None:
        """Use this address no more for a while."""
        self.left_out_until = time.monotonic() + _LEFT_OUT_SECONDS
        self.close()

    def start_stream(self) -> Stream:
        """Start a stream on a connection that has room."""
        connection = self._with_room()
        assert connection is not None
        own_address = "" if self.address == self.host else self.address
        opener = functools.partial(_open_session, connection, own_address, self._config)
        stream = Stream(opener, functools.partial(_end_stale_listeners, connection, self._config))
        self.streams[stream] = connection
        return stream

    def end_stream(self, stream: Stream) -> None:
        """End a stream."""
        stream.end()
        del self.streams[stream]

    def close(self) -> None:
        """End every stream and connection."""
        for stream in list(self.streams):
            self.end_stream(stream)
        for connection in [*self._up, *([self.opening] if self.opening else [])]:
            connection.close()
        self._up, self.opening = [], None


class Nas:
    """One NAS: what it said that it can take, and the ways to it."""

    def __init__(self, host: str, config: Config) -> None:
        addresses = parse_links(config.nas.links).get(host, (host,))
        self.host = host
        self.links = [Link(host, address, config) for address in addresses]
        self.last_used = 0.0  # time.monotonic
        self.size = 0  # that it was asked for last
        self._capacity: Capacity | None = None
        self._asked = 0.0
        self._limit = self._most = config.nas.streams

    @property
    def streams(self) -> list[Stream]:
        """The streams to it, over all links."""
        return [stream for link in self.links for stream in link.streams]

    @property
    def is_usable(self) -> bool:
        """Whether there is a way to it that is not left out."""
        return any(link.is_usable for link in self.links)

    def answered(self, capacity: Capacity) -> None:
        """Note what it can take."""
        if time.monotonic() - self._asked > _ANSWER_LASTS_SECONDS:
            self._limit = self._most  # what was too many then may be welcome now
        self._capacity = capacity
        self._asked = time.monotonic()

    def must_be_asked(self, size: int) -> bool:
        """Tell whether its last answer is too old, or was about smaller plots, or no longer says that it has room."""
        if self._capacity is None or size > self.size:
            return True
        return time.monotonic() - self._asked > _ANSWER_LASTS_SECONDS

    def taken(self) -> None:
        """Note that another plot went there."""
        self.last_used = time.monotonic()
        if self._capacity is not None:
            plots, streams = max(0, self._capacity.plots - 1), max(0, self._capacity.streams - 1)
            self._capacity = replace(self._capacity, plots=plots, streams=streams)

    def ended(self, *, well: bool) -> None:
        """Note that a plot is no longer on its way there: its drive is free, or it must be asked what it can take."""
        if not well:
            self._capacity = None
        elif self._capacity is not None:
            self._capacity = replace(self._capacity, streams=self._capacity.streams + 1)

    def narrow(self, link: Link, stream: Stream) -> bool:
        """End a stream that the NAS has no place for, and start no more for a while; False if no other is busy."""
        link.end_stream(stream)
        busy = sum(other.is_busy for other in self.streams)
        self._limit = max(1, busy)
        return busy > 0

    def view(self) -> NasView:
        """Return what the choice between several NAS is made from."""
        capacity = self._capacity or Capacity(0, 0, 0, "")
        active = sum(stream.is_busy for stream in self.streams)
        return NasView(self.host, capacity.plots, capacity.streams, active, self._limit, self.last_used)

    @property
    def why(self) -> str:
        """Why it can take nothing, by its last answer; "" if it can."""
        return self._capacity.detail if self._capacity else ""

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

    def close(self) -> None:
        """End everything."""
        for link in self.links:
            link.close()


@contextmanager
def _open_session(connection: Connection, own_address: str, config: Config) -> Iterator[OpenSession]:
    """Start the receiving command for one session, and say what it said if it goes away.

    `own_address`: that of the link, if it has one of its own. Where to connect to is never the NAS's to say.
    """
    settings = config.transfer
    address = own_address or connection.address()
    session = connection.session([config.nas.receive_command, "receive"])
    try:
        channel = Channel(
            session.stdout, session.stdin, settings.beat_seconds, settings.silence_seconds, connection.host
        )
        channel.last_words = session.last_words
        sender = Sender(channel, settings, functools.partial(_connect, address, settings))
        try:
            sender.greet(settings.silence_seconds)
        except NasUnavailable as error:
            raise NasUnavailable(_with_remedy(str(error))) from None
        yield OpenSession(sender, channel)
    finally:
        session.close()


def _connect(address: str, settings: TransferSettings, port: int) -> Pipe:
    """Open a data connection to a port that the NAS has named, at the address that leads to it."""
    if settings.pipe == "direct":
        return DirectPipe(address, port)
    return NetcatPipe(address, port, settings.netcat)


def _end_stale_listeners(connection: Connection, config: Config) -> None:
    """Have the NAS end what a killed receiver may have left; that it cannot be asked is no new trouble."""
    limit = min(_KILL_SECONDS, config.transfer.silence_seconds)  # perhaps the link itself is dead
    with suppress(PlotfarmError):
        said = connection.run([config.nas.receive_command, "kill_nc"], limit)
        _LOG.debug("Remote nc kill called! %s: %s", connection.host, said.strip())


def _with_remedy(words: str) -> str:
    """Add what to do about the last words of a receiving command that did not even greet."""
    if any(sign in words for sign in ("No such file", "not found", "Permission denied")):
        return f"{words} (check [nas] receive_command, or the command in authorized_keys there)"
    return words if ": " in words else f"{words}: it gave no reason (check [nas] receive_command)"
