"""The messages of a session, in both directions, with a bound on everything that the other end says.

It shows at once, or within the silence limit, when the other end is gone: closed, silent, or no longer reading.
"""

from __future__ import annotations

import os
import re
import select
import time
from collections.abc import Callable, Sequence
from enum import Enum

from plotfarm.base.errors import ProtocolError, TransferFailed
from plotfarm.transfer import messages
from plotfarm.transfer.bounds import Hashes
from plotfarm.transfer.messages import Heartbeat, Hello, Message, Ready
from plotfarm.transfer.outcomes import Phase

SHORT_LINE_BYTES = 16384
MOST_NOISE_BYTES = 65536  # what login scripts may print before `hello`
MOST_UNDELIVERED = 4
MOST_OVERTAKEN = 200  # `ready` that are of no use any more, because strangers were faster at the port
HEARTBEAT_BURST = 20
# The shortest interval that can be configured is 0.05 seconds; the other end has a configuration of its own.
HEARTBEATS_PER_SECOND = 25.0

_READ_BYTES = 65536
_KIND = re.compile(rb'\{"type": "([a-z]{1,20})"')  # how every line of `encode` begins


def _kinds_with_hashes() -> frozenset[bytes]:
    return frozenset(
        name.encode()
        for name, kind in messages.kinds().items()
        if any(isinstance(bound, Hashes) for bound in messages.bounds(kind).values())
    )


_LONG_KINDS = _kinds_with_hashes()


class Gone(Enum):
    """How the other end of a session went away."""

    CLOSED = "closed"
    SILENT = "silent"  # no heartbeat for the silence limit
    NOT_READING = "not reading"  # it took nothing for the silence limit
    TOO_LONG = "too long"  # it is alive, and did not take the step in the time that the step may take


class OtherEndGone(TransferFailed):
    """The other end closed the session, fell silent, or did not do in time what it had to; `how` says which."""

    def __init__(self, how: Gone, detail: str) -> None:
        self.how = how
        super().__init__(detail)


class Channel:
    """Messages over two descriptors, with a heartbeat every `heartbeat_seconds` and a limit on silence.

    `phase` is what this end's heartbeats say that it is doing; `other_phase` what the other end's said last. `other`
    is what the other end is called in errors.
    """

    def __init__(self, read: int, write: int, heartbeat_seconds: float, silence_seconds: float, other: str) -> None:
        self.phase = Phase.GREETING
        self.other_phase: Phase | None = None
        self.last_words: Callable[[], str] = lambda: ""  # what the other end's program said when it ended
        self.on_heartbeat: Callable[[], object] = lambda: None  # called with every heartbeat that is sent

        self._read = read
        self._write = write
        self._heartbeat_seconds = heartbeat_seconds
        self._silence_seconds = silence_seconds
        self._other = other

        self._unread = bytearray()
        self._undelivered: list[Message] = []
        self._overtaken = 0
        self._noise_bytes = 0
        self._heartbeats = 0
        self._is_greeted = False
        self._is_ended = False
        self._began = time.monotonic()
        self._last_sent = self._began
        self._last_heard = self._began

        # sshd may hand over one socket for both directions: what is set for one then holds for the other.
        os.set_blocking(read, False)
        os.set_blocking(write, False)

    def fileno(self) -> int:
        """Return the descriptor to poll for messages."""
        return self._read

    # ---- Sending ------------------------------------------------------------------------------------

    def send(self, message: Message) -> None:
        """Send a message; OtherEndGone if nobody reads any more."""
        line = memoryview(messages.encode(message))
        deadline = time.monotonic() + self._silence_seconds
        while line:
            try:
                line = line[os.write(self._write, line) :]
            except BlockingIOError:
                self._wait_until_it_reads(deadline)
            except OSError:
                raise self._closed() from None
        self._last_sent = time.monotonic()

    def _wait_until_it_reads(self, deadline: float) -> None:
        _, writable, _ = select.select([], [self._write], [], max(0.0, deadline - time.monotonic()))
        if not writable and time.monotonic() >= deadline:
            detail = f"{self._other} has read nothing for {self._silence_seconds:g} seconds"
            raise OtherEndGone(Gone.NOT_READING, detail)

    def keep_alive(self) -> None:
        """Send a heartbeat if one is due; OtherEndGone if the other end has been silent for too long."""
        if time.monotonic() - self._last_heard > self._silence_seconds:
            # What lies unread may be the heartbeat itself, after this process was stopped for a while.
            self._take_in()
            silence = time.monotonic() - self._last_heard
            if silence > self._silence_seconds:
                raise OtherEndGone(Gone.SILENT, f"{self._other} has been silent for {silence:.0f} seconds")

        if time.monotonic() - self._last_sent >= self._heartbeat_seconds:
            self.send(Heartbeat(self.phase))
            self.on_heartbeat()

    # ---- Receiving ----------------------------------------------------------------------------------

    def wait(self, extra: Sequence[int] = (), timeout: float | None = None) -> tuple[list[Message], list[int]]:
        """Wait for messages, for one of the `extra` descriptors to be readable, or for the timeout in seconds.

        Returns the messages (heartbeats are swallowed) and the ready ones of `extra`. Keeps the heartbeats going
        meanwhile; OtherEndGone after the silence limit, and at the end of input once all that came before it was
        handed out; ProtocolError for what is no message, or for more than the other end may say.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            self.keep_alive()
            if self._undelivered:
                return self.pending(), []

            step = self._last_sent + self._heartbeat_seconds - time.monotonic()
            if deadline is not None:
                step = min(step, deadline - time.monotonic())
            ready, _, _ = select.select([self._read, *extra], [], [], max(0.0, step))

            received = self.pending() if self._read in ready else []
            others = [descriptor for descriptor in extra if descriptor in ready]
            is_late = deadline is not None and time.monotonic() >= deadline
            if received or others or is_late:
                return received, others

    def receive_one(self, timeout: float | None = None) -> Message | None:
        """Wait for the next message, or None at the timeout; what came with it is handed out later."""
        received, _ = self.wait(timeout=timeout)
        self.put_back(received[1:])
        return received[0] if received else None

    def receive(self, kinds: Sequence[type[Message]], deadline_seconds: float) -> Message:
        """Return the next message, which has to be of one of these kinds.

        ProtocolError for any other; OtherEndGone if it is gone, silent, or lives and says nothing for so long.
        """
        message = self.receive_one(deadline_seconds)
        if message is None:
            expected = " or ".join(messages.name_of(kind) for kind in kinds)
            phase = f", and is {self.other_phase.value}" if self.other_phase else ""
            detail = f"{self._other} did not say {expected} within {deadline_seconds:g} seconds{phase}"
            raise OtherEndGone(Gone.TOO_LONG, detail)

        if not isinstance(message, tuple(kinds)):
            raise ProtocolError(f"{self._other} said {messages.name_of(type(message))!r} where it may not")
        return message

    def pending(self) -> list[Message]:
        """Return the messages that have come, without waiting; OtherEndGone at the end of input."""
        self._take_in()
        received = self._undelivered
        self._undelivered = []
        self._overtaken = 0
        if self._is_ended and not received:
            raise self._closed()
        return received

    def put_back(self, received: Sequence[Message]) -> None:
        """Hand these out again, before all others."""
        self._undelivered = [*received, *self._undelivered]

    def _take_in(self) -> None:
        """Read what is there."""
        while not self._is_ended:
            try:
                data = os.read(self._read, _READ_BYTES)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            self._is_ended = not data
            self._last_heard = time.monotonic()
            self._unread += data
            self._split()

    def _split(self) -> None:
        """Take the whole lines off what was read."""
        begin = 0
        end = self._unread.find(b"\n")
        while end >= 0:
            line = bytes(self._unread[begin:end])
            self._refuse_long(line)
            self._take_line(line)
            begin = end + 1
            end = self._unread.find(b"\n", begin)
        del self._unread[:begin]
        self._refuse_long(self._unread)

    def _refuse_long(self, line: bytes | bytearray) -> None:
        """ProtocolError if a line, or its beginning, is longer than one of its kind may be."""
        if len(line) <= SHORT_LINE_BYTES:
            return
        kind = _KIND.match(line)
        may_be_long = self._is_greeted and kind is not None and kind.group(1) in _LONG_KINDS
        if not may_be_long or len(line) > messages.LONGEST_LINE_BYTES:
            raise ProtocolError(f"{self._other} sent a line that is too long")

    def _take_line(self, line: bytes) -> None:
        if not self._is_greeted and not line.startswith(b'{"type": "hello"'):
            self._skip_noise(line)
            return
        message = messages.decode(line)
        if isinstance(message, Hello):
            self._is_greeted = True
        if isinstance(message, Heartbeat):
            self._count_heartbeat(message)
            return
        last = self._undelivered[-1] if self._undelivered else None
        if isinstance(message, Ready) and isinstance(last, Ready) and self._overtaken < MOST_OVERTAKEN:
            self._overtaken += 1
            self._undelivered[-1] = message
            return
        if len(self._undelivered) >= MOST_UNDELIVERED:
            raise ProtocolError(f"{self._other} sent more messages than a step of a session has")
        self._undelivered.append(message)

    def _skip_noise(self, line: bytes) -> None:
        self._noise_bytes += len(line) + 1
        if self._noise_bytes > MOST_NOISE_BYTES:
            raise ProtocolError(f"{self._other} sent {MOST_NOISE_BYTES} bytes without a greeting")

    def _count_heartbeat(self, heartbeat: Heartbeat) -> None:
        """ProtocolError if there were more than can have been sent by now.

        It is not their rate that counts: a process that was stopped finds all at once what came meanwhile.
        """
        self.other_phase = heartbeat.phase
        self._heartbeats += 1
        age = time.monotonic() - self._began
        if self._heartbeats > HEARTBEAT_BURST + HEARTBEATS_PER_SECOND * age:
            raise ProtocolError(f"{self._other} sends heartbeats without end")

    def _closed(self) -> OtherEndGone:
        words = self.last_words()
        return OtherEndGone(Gone.CLOSED, f"{self._other} closed the session{f': {words}' if words else ''}")
