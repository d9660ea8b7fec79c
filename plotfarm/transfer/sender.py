"""Carrying out the plotter's side of a session: messages, the data connection, and the source."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from typing import Any

from plotfarm.base.config.sections import TransferSettings
from plotfarm.base.disk_error import Call
from plotfarm.base.errors import NasUnavailable, TransferFailed
from plotfarm.transfer import messages
from plotfarm.transfer.channel import Channel, Gone, OtherEndGone
from plotfarm.transfer.effects import (
    Effect,
    NotSent,
    PourSource,
    Receive,
    Send,
    SentAll,
    SourceEffect,
    SourceError,
    play,
)
from plotfarm.transfer.hashing import SegmentHasher, chunk_buffer, configured_segment_bytes
from plotfarm.transfer.limits import Limits, Taking
from plotfarm.transfer.messages import Ask, Capacity, Failing, Hello, Message, Offer, Placed, Ready, Refused
from plotfarm.transfer.outcomes import NotTaken, Outcome, Phase
from plotfarm.transfer.pace import Pace
from plotfarm.transfer.pipe import Pipe, PipeLost
from plotfarm.transfer.send import Wanted, deliver, place
from plotfarm.transfer.source import Source

_LONGEST_PAUSE_SECONDS = 0.05
_LISTEN_SECONDS = 0.05
_WINDOW_BYTES = 256 * 1024 * 1024
# Half of a netcat's pipe: one chunk is hashed while netcat drains the one before.
_NETCAT_CHUNK_BYTES = 512 * 1024
# What several streams have in hand together must fit the caches of the cores; one alone switches less with more.
_DIRECT_CHUNK_BYTES, _DIRECT_CHUNK_BYTES_ALONE = 512 * 1024, 1024 * 1024


class Observer:
    """What a sender reports on the way; the one who starts it may be interested."""

    def moved(self, done: int) -> None:
        """Hear that so many bytes of the plot are handed over, or read."""

    def began(self, drive: str, offset: int) -> None:
        """Hear which drive the NAS takes the plot to, and that it has the bytes before `offset` already."""


class Sender:
    """One session with a NAS over `channel`; `connect` opens a data connection to a port of that NAS."""

    def __init__(self, channel: Channel, settings: TransferSettings, connect: Callable[[int], Pipe]) -> None:
        self._channel = channel
        self._settings = settings
        self._connect = connect
        self._limits = Limits(settings.silence_seconds, settings.stall_seconds)
        self._segment_bytes = configured_segment_bytes()
        self._pipe: Pipe | None = None
        self.is_broken = False  # the two ends no longer agree on where they are

    def greet(self, limit_seconds: float) -> None:
        """Exchange `hello`; NasUnavailable if the far end is not this suite."""
        self._channel.send(messages.hello())
        try:
            greeting = self._channel.receive((Hello,), limit_seconds)
        except OtherEndGone as error:
            raise NasUnavailable(str(error)) from None
        assert isinstance(greeting, Hello)
        messages.check_version(greeting)

    def ask(self, size: int) -> Capacity | NotTaken:
        """Ask how many plots of `size` bytes the NAS can take. TransferFailed if the session cannot go on."""
        with self._breaking():
            self._channel.send(Ask(size))
            answer = self._channel.receive((Capacity, Refused), self._limits.seconds(Phase.PLACING, 0))
        if isinstance(answer, Refused):
            self.is_broken = True  # a NAS that refuses a question has ended the session
            return NotTaken(answer.refusal, answer.detail)
        assert isinstance(answer, Capacity)
        return answer

    def place(self, offer: Offer) -> Placed | NotTaken:
        """Ask where a plot would go, in a dry run. TransferFailed if the session cannot go on."""
        with self._breaking():
            return play(place(offer), lambda effect: self._carry_out(effect, offer, None, Observer()))

    def deliver(self, offer: Offer, source: Source, wanted: Wanted, observer: Observer) -> Outcome:
        """Bring an open plot to the NAS and remove it here. TransferFailed or SourceError if it cannot go on."""
        with self._breaking():
            return play(deliver(offer, wanted), lambda effect: self._carry_out(effect, offer, source, observer))

    @contextlib.contextmanager
    def _breaking(self) -> Iterator[None]:
        try:
            yield
        except Exception:
            self.is_broken = True
            raise

    def _carry_out(self, effect: Effect[Any], offer: Offer, source: Source | None, observer: Observer) -> Any:
        try:
            match effect:
                case Send():
                    return self._channel.send(effect.message)
                case Receive():
                    limit = self._limits.seconds(effect.phase, offer.size, offer.patience_seconds)
                    return self._channel.receive(effect.kinds, limit)
                case PourSource():
                    assert source is not None
                    return self._pour(effect, offer, source, observer)
                case SourceEffect():
                    assert source is not None
                    self._channel.phase = Phase.READING_SOURCE
                    return source.carry_out(effect)
        except TransferFailed:
            self.is_broken = True
            raise
        raise TypeError(f"nobody carries out {type(effect).__name__}")

    # ---- The bytes ----

    def _pour(self, effect: PourSource, offer: Offer, source: Source, observer: Observer) -> SentAll | NotSent:
        """Send the token and the plot through one data connection."""
        self._channel.phase = Phase.POURING
        self.end_pipe()
        try:
            self._pipe = self._connect(effect.ready.port)
            observer.began(effect.ready.drive, len(effect.resumed) * self._segment_bytes)
            pouring = _Pouring(self._channel, self._settings, self._pipe)
            pouring.push_token(effect.ready.token)
            segments = self._pump(effect, offer, source, pouring, observer)
            self._pipe.close_input()
            return SentAll(segments)
        except PipeLost as lost:
            return NotSent(str(lost))
        except _Spoken as spoken:
            return NotSent(heard=spoken.message)
        finally:
            os.posix_fadvise(source.descriptor, 0, 0, os.POSIX_FADV_DONTNEED)

    def end_pipe(self) -> None:
        """Let go of the last data connection. It has to stay until the NAS has spoken: its end holds bytes yet."""
        if self._pipe is not None:
            self._pipe.close()
            self._pipe = None

    def _pump(
        self, effect: PourSource, offer: Offer, source: Source, pouring: _Pouring, observer: Observer
    ) -> tuple[str, ...]:
        """Bring the bytes behind the resumed segments into the pipe, hashing them on the way."""
        buffer = chunk_buffer(self._chunk_bytes(offer.streams))
        hasher = SegmentHasher(effect.resumed, segment_bytes=self._segment_bytes)
        pace = Pace(self._settings.max_mb_per_second * 1e6)
        done = len(effect.resumed) * self._segment_bytes
        while done < effect.size:
            chunk = _read_chunk(source.descriptor, buffer[: min(len(buffer), effect.size - done)], done)
            hasher.update(chunk)
            pouring.push(chunk, source.descriptor, done)
            done += len(chunk)
            _forget_behind(source.descriptor, done - len(chunk), done)
            observer.moved(done)
            pouring.listen_now_and_then(pace.rest(len(chunk)))
        return hasher.finish()

    def _chunk_bytes(self, streams: int) -> int:
        if self._settings.pipe != "direct":
            return _NETCAT_CHUNK_BYTES
        return _DIRECT_CHUNK_BYTES_ALONE if streams == 1 else _DIRECT_CHUNK_BYTES


class _Spoken(Exception):
    """The NAS has said something before all bytes were sent."""

    def __init__(self, message: Message) -> None:
        self.message = message
        super().__init__(type(message).__name__)


class _Pouring:
    """The writing end of one data connection, and the session beside it."""

    def __init__(self, channel: Channel, settings: TransferSettings, pipe: Pipe) -> None:
        self._channel = channel
        self._settings = settings
        self._pipe = pipe
        self._listened = time.monotonic()
        self._taking = Taking(settings.stall_seconds)

    def push_token(self, token: str) -> None:
        """Send what the NAS knows this plotter by."""
        data = memoryview(token.encode())
        self._push(lambda done: self._pipe.write(data[done:]), len(data))

    def push(self, chunk: memoryview, source: int, offset: int) -> None:
        """Send a chunk that lies at `offset` of the file `source`."""
        self._push(lambda done: self._pipe.put(chunk[done:], source, offset + done), len(chunk))

    def _push(self, put: Callable[[int], int], size: int) -> None:
        """Bring `size` bytes into the pipe by calls of `put`, hearing the NAS meanwhile.

        `put` takes how many bytes are done and returns how many more the pipe took, perhaps none. OtherEndGone when no
        byte has moved for too long, or too few for much longer.
        """
        done = 0
        pause = self._pipe.first_pause_seconds
        self._taking.begin()
        while done < size:
            count = put(done)
            done += count
            self._taking.took(count)
            if count:
                pause = self._pipe.first_pause_seconds
                continue
            if complaint := self._taking.complaint():
                raise OtherEndGone(Gone.TOO_LONG, complaint)
            # Not until the pipe takes bytes again, which is after every 16 KiB: a moment later it takes many more.
            self.listen(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)

    def listen_now_and_then(self, rest_seconds: float) -> None:
        """Hear the NAS also where the pipe is never full, because the plot is read from a slow disk."""
        if rest_seconds or time.monotonic() - self._listened > _LISTEN_SECONDS:
            self.listen(rest_seconds)

    def listen(self, seconds: float) -> None:
        """Keep the heartbeats going, and hear what the NAS says within so many seconds."""
        deadline = time.monotonic() + seconds
        while True:
            said, _ = self._channel.wait(timeout=max(0.0, deadline - time.monotonic()))
            if said:
                self._channel.put_back(said[1:])
                if not isinstance(said[0], Ready | Failing):
                    raise messages.out_of_turn(said[0])
                raise _Spoken(said[0])
            if time.monotonic() >= deadline:
                self._listened = time.monotonic()
                return


def _read_chunk(source: int, buffer: memoryview, offset: int) -> memoryview:
    try:
        count = os.preadv(source, [buffer], offset)
    except OSError as error:
        raise SourceError(Call.READ, error.errno or 0, f"the plot cannot be read: {error.strerror}") from error
    if count == 0:
        raise SourceError(Call.READ, 0, f"the plot became shorter while it was sent: it ends at {offset}")
    return buffer[:count]


def _forget_behind(source: int, before: int, done: int) -> None:
    """Drop from memory what was sent a window ago: the plotter's memory is for plotting.

    Not at once, since the pipe still holds those pages; and seldom, since dropping costs much however little it is.
    """
    window = done // _WINDOW_BYTES
    if window != before // _WINDOW_BYTES and window >= 2:
        os.posix_fadvise(source, (window - 2) * _WINDOW_BYTES, _WINDOW_BYTES, os.POSIX_FADV_DONTNEED)
