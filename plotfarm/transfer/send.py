"""The plotter's side of a plot's journey: one conversation, one plot; its source is removed by the caller."""

from __future__ import annotations

import contextlib
import errno
import functools
import logging
import os
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from plotfarm.base.checkpoints import reached
from plotfarm.base.config.sections import TransferSettings
from plotfarm.base.errors import NasUnavailable, PlotfarmError, ProtocolError, TransferFailed
from plotfarm.base.processes import end, spawn, tail
from plotfarm.transfer import protocol
from plotfarm.transfer.channel import Channel
from plotfarm.transfer.digest import PIECE_BYTES, Digest, Digester, digest_file, piece_buffer
from plotfarm.transfer.netcat import widen_pipe
from plotfarm.transfer.protocol import Message, Offer

_LOG = logging.getLogger(__name__)
SEND_SCRIPT = Path(__file__).resolve().parents[2] / "send_plot.sh"

_FIRST_PAUSE_SECONDS = 0.0003  # longer, and netcat would run dry before a busy machine wakes this process
_LONGEST_PAUSE_SECONDS = 0.05
_LISTEN_SECONDS = 0.05
_WINDOW_BYTES = 256 * 1024 * 1024
_SPLICE_F_NONBLOCK = 2  # splice(2); os has the function without the flags

Progress = Callable[[int], None]  # bytes handed to the pipe so far


class PlotRefused(PlotfarmError):
    """The NAS does not take this plot; `retry` tells whether a later try may end differently."""

    def __init__(self, reason: str, retry: bool) -> None:
        self.retry = retry
        super().__init__(f"refused by the NAS: {reason}")


class PipeLost(TransferFailed):
    """The data connection was refused or ended early; the NAS may open another one."""


class _Again(TransferFailed):
    """The NAS threw a stranger out and listens elsewhere now: `ready` says where."""

    def __init__(self, ready: Message) -> None:
        self.ready = ready
        super().__init__("the NAS listens elsewhere now")


@dataclass(frozen=True)
class Delivered:
    """The plot is on the NAS, whole and equal: its path there, its digest, and how that came to be known."""

    path: str
    digest: Digest
    how: str  # `stored` just now, or `have`: it already was


class Sender:
    """One conversation with the NAS over `channel`."""

    def __init__(self, channel: Channel, settings: TransferSettings) -> None:
        self._channel, self._settings = channel, settings

    def greet(self, limit_seconds: float) -> None:
        """Exchange `hello`; NasUnavailable if the far end is not this suite."""
        self._channel.send(protocol.hello())
        message = self._channel.wait_for_one(limit_seconds)
        if message is None:
            raise NasUnavailable(f"the receiving command said nothing within {limit_seconds:g} seconds")
        protocol.agree(message)

    def where(self, offer: Offer) -> tuple[str, bool]:
        """Ask where a plot would go, in a dry run: its path on the NAS, and whether it is there already."""
        answer = self._offer(offer, "place")
        return protocol.text(answer, "path"), answer.get("present") is True

    def deliver(self, offer: Offer, source: int, progress: Progress) -> Delivered:
        """Bring the open plot `source` to the NAS. PlotRefused or TransferFailed if it is not there afterwards."""
        answer = self._offer(offer, "ready", "have")
        if answer["type"] == "have":
            return self._compare_with(answer, offer, source, progress)
        while True:
            try:
                return self._pour(answer, offer, source, progress)
            except _Again as again:
                answer = again.ready
            except PipeLost as error:
                _LOG.warning("%s", error)
                self._channel.send(protocol.encode("lost", attempt=answer.get("attempt"), reason=str(error)))
                answer = self._hear("ready")

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
            raise PlotRefused(protocol.text(message, "reason"), message.get("retry") is not False)
        if message["type"] == "failed":
            raise TransferFailed(f"the NAS could not take it: {protocol.text(message, 'reason')}")
        raise ProtocolError(f"the NAS sent {message['type']!r} where {' or '.join(expected)} was due")

    def _compare_with(self, have: Message, offer: Offer, source: int, progress: Progress) -> Delivered:
        """Digest the source and see whether the file of this name that the NAS has is this plot."""
        path, size = protocol.text(have, "path"), protocol.integer(have, "size")
        digest = digest_file(source, offer.size, progress) if size == offer.size else None
        if digest is None or digest.plot != protocol.text(have, "digest"):
            raise PlotRefused(
                f"it holds another file under this name: {path} ({size} bytes, this plot has {offer.size}); "
                "compare the two by hand and rename or remove one",
                retry=False,
            )
        return Delivered(path, digest, "have")

    def _pour(self, ready: Message, offer: Offer, source: int, progress: Progress) -> Delivered:
        """Send the token and the plot through one netcat pipe and hear how it ended."""
        attempt = ready.get("attempt")
        pipe = Pipe(protocol.text(ready, "address"), protocol.integer(ready, "port"), self._settings.netcat)
        try:
            token = memoryview(protocol.text(ready, "token").encode())
            self._push(pipe, lambda done: pipe.write(token[done:]), len(token))
            digest = self._pump(pipe, offer.size, source, progress)
            pipe.close_input()
            self._channel.send(protocol.encode("sent", attempt=attempt, size=offer.size, digest=digest.plot))
            reached("sent:sent")
            answer = self._hear_about(pipe)
        finally:
            pipe.close()
        reached("stored:received")
        if protocol.text(answer, "digest") != digest.plot:
            raise ProtocolError("the NAS stored other bytes than were sent")  # it compares too: never trust one end
        return Delivered(protocol.text(answer, "path"), digest, "stored")

    def _pump(self, pipe: Pipe, size: int, source: int, progress: Progress) -> Digest:
        buffer, digester, done, half_reached, listened = piece_buffer(), Digester(), 0, False, time.monotonic()
        while done < size:
            count = os.preadv(source, [buffer[: min(PIECE_BYTES, size - done)]], done)
            if count == 0:
                raise TransferFailed(f"the plot became shorter while it was sent: {done} of {size} bytes")
            digester.update(buffer[:count])
            self._push(pipe, functools.partial(pipe.splice, source, done, count), count)
            done += count
            _let_go_behind(source, done - count, done)
            progress(done)
            if time.monotonic() - listened > _LISTEN_SECONDS:
                # Also where the pipe is never full, because the plot is read from a slow disk.
                self._listen(0)
                listened = time.monotonic()
            if not half_reached and done * 2 >= size:
                half_reached = True
                reached("bytes:half")
        return digester.finish()

    def _push(self, pipe: Pipe, put: Callable[[int], int], size: int) -> None:
        """Bring `size` bytes into the pipe by calls of `put`, hearing the NAS meanwhile.

        `put` takes how many bytes are done and returns how many more the pipe took, perhaps none. TransferFailed when
        no byte has moved for too long.
        """
        done, moved, pause = 0, time.monotonic(), _FIRST_PAUSE_SECONDS
        while done < size:
            count = put(done)
            done += count
            if count:
                moved, pause = time.monotonic(), _FIRST_PAUSE_SECONDS
                continue
            if time.monotonic() - moved > self._settings.stall_seconds:
                raise TransferFailed(f"stalled: no byte taken for {self._settings.stall_seconds:g} seconds")
            # Not until the pipe takes bytes again, which is after every 16 KiB: a moment later it takes many more.
            self._listen(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)

    def _listen(self, seconds: float) -> None:
        """Keep the beats going, and hear what the NAS says within so many seconds."""
        messages, _ = self._channel.wait(timeout=seconds)
        for message in messages:
            self._heard_on_the_way(message)

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


class Pipe:
    """send_plot.sh, the sending end of one netcat pipe."""

    def __init__(self, address: str, port: int, netcat: str) -> None:
        argv = [str(SEND_SCRIPT), address, str(port), netcat]
        self._process = spawn(argv, stdin=subprocess.PIPE, stderr=subprocess.PIPE)
        assert self._process.stdin is not None
        self.descriptor = self._process.stdin.fileno()
        self.exited = os.pidfd_open(self._process.pid)  # readable when the process has ended
        widen_pipe(self.descriptor)
        os.set_blocking(self.descriptor, False)

    def write(self, piece: memoryview) -> int:
        """Write what the pipe takes now, perhaps nothing; PipeLost if netcat has ended."""
        try:
            return os.write(self.descriptor, piece)
        except BlockingIOError:
            return 0
        except BrokenPipeError:
            raise PipeLost(f"the data connection ended: {self._last_words()}") from None

    def splice(self, source: int, offset: int, count: int, done: int) -> int:
        """Move what the pipe takes now of `count` bytes at `offset` of a file, of which `done` have been moved.

        The kernel hands over the file's pages without copying them. Should they have changed since they were digested,
        the digests differ in the end. PipeLost if netcat has ended.
        """
        try:
            return os.splice(source, self.descriptor, count - done, offset_src=offset + done, flags=_SPLICE_F_NONBLOCK)
        except BlockingIOError:
            return 0
        except BrokenPipeError:
            raise PipeLost(f"the data connection ended: {self._last_words()}") from None
        except OSError as error:
            if error.errno != errno.EINVAL:  # a file system that cannot splice
                raise
            return self.write(memoryview(os.pread(source, count - done, offset + done)))

    def close_input(self) -> None:
        """Tell netcat that this was all."""
        assert self._process.stdin is not None
        self._process.stdin.close()

    def check(self) -> None:
        """Raise PipeLost if netcat has ended badly."""
        if self._process.wait() != 0:
            raise PipeLost(f"the data connection failed: {self._last_words()}")

    def _last_words(self) -> str:
        assert self._process.stderr is not None
        status = end(self._process)
        said = tail(self._process.stderr.read().decode(errors="replace"))
        return said or f"netcat ended with status {status}"

    def close(self) -> None:
        """End netcat, whatever it is doing."""
        for pipe in (self._process.stdin, self._process.stderr):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        self._process.kill()
        self._process.wait()
        os.close(self.exited)
