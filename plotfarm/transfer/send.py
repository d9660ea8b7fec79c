"""The plotter's side of a conversation: plots go one after the other; their sources are removed by the caller."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from dataclasses import dataclass

from plotfarm.base.checkpoints import reached
from plotfarm.base.config.sections import TransferSettings
from plotfarm.base.errors import NasUnavailable, PlotfarmError, ProtocolError, TransferFailed
from plotfarm.transfer import protocol
from plotfarm.transfer.channel import Channel
from plotfarm.transfer.digest import (
    PIECE_BYTES,
    SEGMENT_BYTES,
    Digest,
    Digester,
    digest_file,
    direct_pieces,
    piece_buffer,
)
from plotfarm.transfer.direct import DirectPipe
from plotfarm.transfer.netcat import NetcatPipe
from plotfarm.transfer.pace import Pace
from plotfarm.transfer.pipe import Pipe, PipeLost
from plotfarm.transfer.protocol import Capacity, Message, Offer

_LOG = logging.getLogger(__name__)

_LONGEST_PAUSE_SECONDS = 0.05
_LISTEN_SECONDS = 0.05
_WINDOW_BYTES = 256 * 1024 * 1024


class PlotRefused(PlotfarmError):
    """The NAS does not take this plot; `retry` tells whether a later try may end differently.

    `busy`: it takes it as soon as other plots have arrived. `perhaps_here`: it may have it all the same.
    """

    def __init__(self, reason: str, retry: bool, busy: bool = False, perhaps_here: bool = False) -> None:
        self.reason, self.retry, self.busy, self.perhaps_here = reason, retry, busy, perhaps_here
        super().__init__(f"refused by the NAS: {reason}")


class _Again(TransferFailed):
    """The NAS threw a stranger out and listens elsewhere now: `ready` says where."""

    def __init__(self, ready: Message) -> None:
        self.ready = ready
        super().__init__("the NAS listens elsewhere now")


class Observer:
    """What a sender reports on the way; the one who starts it may be interested."""

    def moved(self, done: int) -> None:
        """Hear that so many bytes of the plot are handed over, or compared."""

    def began(self, drive: str, offset: int) -> None:
        """Hear which drive the NAS takes the plot to, and that it has the bytes before `offset` already."""

    def digested(self, segments: tuple[str, ...]) -> None:
        """Hear the digests of all segments that are complete, whenever there is another one."""


@dataclass(frozen=True)
class Delivered:
    """The plot is on the NAS, whole and equal: its path there, its digest, and how that came to be known."""

    path: str
    digest: Digest
    how: str  # `stored` just now, or `have`: it already was


@dataclass(frozen=True)
class Source:
    """An open plot, and the digests of its first segments as far as they are known from an earlier try."""

    descriptor: int
    segments: tuple[str, ...] = ()


class Sender:
    """One conversation with the NAS over `channel`."""

    def __init__(self, channel: Channel, settings: TransferSettings) -> None:
        self._channel, self._settings = channel, settings
        self.version = protocol.HIGHEST_VERSION

    def greet(self, limit_seconds: float) -> None:
        """Exchange `hello`; NasUnavailable if the far end is not this suite."""
        self._channel.send(protocol.hello())
        message = self._channel.wait_for_one(limit_seconds)
        if message is None:
            raise NasUnavailable(f"the receiving command said nothing within {limit_seconds:g} seconds")
        self.version = protocol.agree(message)

    def ask(self, size: int) -> Capacity | None:
        """Ask how many plots of `size` bytes the NAS can take; None if it is too old for the question."""
        if self.version < 2:
            return None
        self._channel.send(protocol.encode("ask", size=size))
        return Capacity.read(self._hear("room"))

    def where(self, offer: Offer) -> tuple[str, bool]:
        """Ask where a plot would go, in a dry run: its path on the NAS, and whether it is there already."""
        answer = self._offer(offer, "place")
        return protocol.text(answer, "path"), answer.get("present") is True

    def deliver(self, offer: Offer, source: Source, observer: Observer) -> Delivered:
        """Bring an open plot to the NAS. PlotRefused or TransferFailed if it is not there afterwards."""
        answer = self._offer(offer, "ready", "have", "partial")
        if answer["type"] == "have":
            return self._compare_with(answer, offer, source, observer)
        known: tuple[str, ...] = ()
        if answer["type"] == "partial":
            known = self._agreed(protocol.texts(answer, "segments"), offer, source, observer)
            self._channel.send(protocol.encode("continue", offset=len(known) * SEGMENT_BYTES))
            answer = self._hear("ready")
        while True:
            try:
                return self._pour(answer, offer, source, known, observer)
            except _Again as again:
                answer = again.ready
            except PipeLost as error:
                _LOG.warning("%s", error)
                self._channel.send(protocol.encode("lost", attempt=answer.get("attempt"), reason=str(error)))
                answer = self._hear("ready")

    def _agreed(self, theirs: tuple[str, ...], offer: Offer, source: Source, observer: Observer) -> tuple[str, ...]:
        """Return the first segments that both ends have, of those that the NAS has from an interrupted transfer.

        What was digested here before is not read again.
        """
        ours, wanted = list(source.segments), min(len(theirs), (offer.size - 1) // SEGMENT_BYTES)

        def alive(done: int) -> None:
            self._channel.keep_alive()
            observer.moved(done)

        if len(ours) < wanted:
            ours = list(digest_file(source.descriptor, wanted * SEGMENT_BYTES, alive, ours).segments)
        equal = 0
        while equal < wanted and ours[equal] == theirs[equal]:
            equal += 1
        return tuple(ours[:equal])

    def _offer(self, offer: Offer, *expected: str) -> Message:
        self._channel.send(protocol.encode("offer", **offer.__dict__))
        reached("offer:sent")
        return self._hear(*expected)

    def _hear(self, *expected: str) -> Message:
        """Wait for one of the expected messages; a refusal or failure becomes an error."""
        message = self._channel.wait_for_one()
        assert message is not None  # without a limit there is one, or OtherEndGone
        return self._expected(message, *expected)

    def _expected(self, message: Message, *expected: str) -> Message:
        if message["type"] in expected:
            return message
        if message["type"] == "refused":
            raise PlotRefused(
                protocol.text(message, "reason"), message.get("retry") is not False,
                busy=message.get("busy") is True, perhaps_here=message.get("perhaps_here") is True,
            )  # fmt: skip
        if message["type"] == "failed":
            raise TransferFailed(f"the NAS could not take it: {protocol.text(message, 'reason')}")
        raise ProtocolError(f"the NAS sent {message['type']!r} where {' or '.join(expected)} was due")

    def _compare_with(self, have: Message, offer: Offer, source: Source, observer: Observer) -> Delivered:
        """Digest the source and see whether the file of this name that the NAS has is this plot."""
        path, size = protocol.text(have, "path"), protocol.integer(have, "size")
        digest = digest_file(source.descriptor, offer.size, observer.moved) if size == offer.size else None
        if digest is None or digest.plot != protocol.text(have, "digest"):
            raise PlotRefused(
                f"it holds another file under this name: {path} ({size} bytes, this plot has {offer.size}); "
                "compare the two by hand and rename or remove one",
                retry=False,
            )
        return Delivered(path, digest, "have")

    def _pour(
        self, ready: Message, offer: Offer, source: Source, known: tuple[str, ...], observer: Observer
    ) -> Delivered:
        """Send the token and the plot through one data connection and hear how it ended."""
        attempt = ready.get("attempt")
        pipe = self._connect(protocol.text(ready, "address"), protocol.integer(ready, "port"))
        try:
            observer.began(str(ready.get("drive") or ""), len(known) * SEGMENT_BYTES)
            token = memoryview(protocol.text(ready, "token").encode())
            self._push(pipe, lambda done: pipe.write(token[done:]), len(token))
            digest = self._pump(pipe, offer, source.descriptor, known, observer)
            pipe.close_input()
            self._channel.send(protocol.encode("sent", attempt=attempt, size=offer.size, digest=digest.plot))
            reached("sent:sent")
            answer = self._hear_about(pipe)
        finally:
            pipe.close()
            os.posix_fadvise(source.descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        reached("stored:received")
        if protocol.text(answer, "digest") != digest.plot:
            raise ProtocolError("the NAS stored other bytes than were sent")  # it compares too: never trust one end
        return Delivered(protocol.text(answer, "path"), digest, "stored")

    def _connect(self, address: str, port: int) -> Pipe:
        if self._settings.pipe == "direct":
            return DirectPipe(address, port)
        return NetcatPipe(address, port, self._settings.netcat)

    def _pump(self, pipe: Pipe, offer: Offer, source: int, known: tuple[str, ...], observer: Observer) -> Digest:
        """Bring the bytes behind the `known` segments into the pipe, digesting them on the way."""
        size = offer.size
        piece_bytes = direct_pieces(offer.streams).send if self._settings.pipe == "direct" else PIECE_BYTES
        buffer, digester, pace = (
            piece_buffer(piece_bytes),
            Digester(known=known),
            Pace(self._settings.max_mb_per_second * 1e6),
        )
        done = begin = len(known) * SEGMENT_BYTES
        half_reached, listened = False, time.monotonic()
        while done < size:
            count = os.preadv(source, [buffer[: min(piece_bytes, size - done)]], done)
            if count == 0:
                raise TransferFailed(f"the plot became shorter while it was sent: {done} of {size} bytes")
            segment_before = done // SEGMENT_BYTES
            digester.update(buffer[:count])
            self._push_piece(pipe, buffer[:count], source, done)
            done += count
            if done // SEGMENT_BYTES != segment_before:
                observer.digested(digester.segments)
            _let_go_behind(source, done - count, done)
            observer.moved(done)
            rest = pace.rest(count)
            if rest or time.monotonic() - listened > _LISTEN_SECONDS:
                # Also where the pipe is never full, because the plot is read from a slow disk.
                self._listen(rest)
                listened = time.monotonic()
            if not half_reached and (done - begin) * 2 >= size - begin:
                half_reached = True
                reached("bytes:half")
        return digester.finish()

    def _push_piece(self, pipe: Pipe, piece: memoryview, source: int, offset: int) -> None:
        self._push(pipe, lambda done: pipe.put(piece[done:], source, offset + done), len(piece))

    def _push(self, pipe: Pipe, put: Callable[[int], int], size: int) -> None:
        """Bring `size` bytes into the pipe by calls of `put`, hearing the NAS meanwhile.

        `put` takes how many bytes are done and returns how many more the pipe took, perhaps none. TransferFailed when
        no byte has moved for too long.
        """
        done, moved, pause = 0, time.monotonic(), pipe.first_pause_seconds
        while done < size:
            count = put(done)
            done += count
            if count:
                moved, pause = time.monotonic(), pipe.first_pause_seconds
                continue
            if time.monotonic() - moved > self._settings.stall_seconds:
                raise TransferFailed(f"stalled: no byte taken for {self._settings.stall_seconds:g} seconds")
            # Not until the pipe takes bytes again, which is after every 16 KiB: a moment later it takes many more.
            self._listen(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)

    def _listen(self, seconds: float) -> None:
        """Keep the beats going, and hear what the NAS says within so many seconds."""
        deadline = time.monotonic() + seconds
        while True:
            messages, _ = self._channel.wait(timeout=max(0.0, deadline - time.monotonic()))
            for message in messages:
                self._heard_on_the_way(message)
            if time.monotonic() >= deadline:
                return

    def _heard_on_the_way(self, message: Message) -> None:
        if message["type"] == "ready":
            raise _Again(message)
        self._expected(message, "nothing")

    def _hear_about(self, pipe: Pipe) -> Message:
        """Wait for `stored`; netcat's own failure is worth knowing before that."""
        watched = [pipe.exited]
        while True:
            messages, ready = self._channel.wait(watched)
            for message in messages:
                if message["type"] == "ready":
                    raise _Again(message)
                return self._expected(message, "stored")
            if ready:
                pipe.check()
                watched = []


def _let_go_behind(source: int, before: int, done: int) -> None:
    """Drop from memory what was sent a window ago: the plotter's memory is for plotting.

    Not at once, since the pipe still holds those pages; and seldom, since dropping costs much however little it is.
    """
    window = done // _WINDOW_BYTES
    if window != before // _WINDOW_BYTES and window >= 2:
        os.posix_fadvise(source, (window - 2) * _WINDOW_BYTES, _WINDOW_BYTES, os.POSIX_FADV_DONTNEED)
