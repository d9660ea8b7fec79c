"""A line of messages in each direction that shows at once, or within the silence limit, when the other end is gone."""

from __future__ import annotations

import os
import select
import time
from collections.abc import Callable, Sequence

from plotfarm.base.errors import ProtocolError, TransferFailed
from plotfarm.transfer import protocol
from plotfarm.transfer.protocol import Message


class OtherEndGone(TransferFailed):
    """The other end closed the conversation or fell silent."""


class Channel:
    """Messages over two descriptors, with a beat every `beat_seconds` and a limit on the other end's silence."""

    def __init__(self, read: int, write: int, beat_seconds: float, silence_seconds: float, other: str) -> None:
        self._read, self._write = read, write
        self._beat_seconds, self._silence_seconds = beat_seconds, silence_seconds
        self._other = other
        self._unread = b""
        self._put_back: list[Message] = []
        self._greeted = False
        self._ended = False
        self._last_sent = self._last_heard = time.monotonic()
        self.last_words: Callable[[], str] = lambda: ""  # what the other end's program said when it ended
        self.on_beat: Callable[[], object] = lambda: None  # called with every beat that is sent
        os.set_blocking(read, False)

    def fileno(self) -> int:
        """Return the descriptor to poll for messages."""
        return self._read

    def send(self, line: bytes) -> None:
        """Send one encoded message; OtherEndGone if nobody reads any more."""
        self._last_sent = time.monotonic()
        try:
            while line:
                line = line[os.write(self._write, line) :]
        except OSError:
            raise self._closed() from None

    def wait(self, extra: Sequence[int] = (), timeout: float | None = None) -> tuple[list[Message], list[int]]:
        """Wait for messages, for one of the `extra` descriptors to be readable, or for the timeout.

        Returns the messages (beats are swallowed) and the ready ones of `extra`. Keeps the beats going meanwhile;
        OtherEndGone after the silence limit, and at the end of input once all that came before it was handed out.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            self.keep_alive()
            if self._put_back:
                return self.pending(), []
            step = self._last_sent + self._beat_seconds - time.monotonic()
            if deadline is not None:
                step = min(step, deadline - time.monotonic())
            ready, _, _ = select.select([self._read, *extra], [], [], max(0.0, step))
            messages = self.pending() if self._read in ready else []
            others = [descriptor for descriptor in extra if descriptor in ready]
            if messages or others or (deadline is not None and time.monotonic() >= deadline):
                return messages, others

    def wait_for_one(self, timeout: float | None = None) -> Message | None:
        """Wait for the next message, or None at the timeout; what came with it is handed out later."""
        messages, _ = self.wait(timeout=timeout)
        self._put_back = messages[1:]
        return messages[0] if messages else None

    def keep_alive(self) -> None:
        """Send a beat if one is due; OtherEndGone if the other end has been silent for too long."""
        now = time.monotonic()
        if now - self._last_heard > self._silence_seconds:
            # What lies unread may be the beat itself, after this process was stopped for a while.
            if select.select([self._read], [], [], 0)[0]:
                self._last_heard = now
            else:
                raise OtherEndGone(f"{self._other} has been silent for {now - self._last_heard:.0f} seconds")
        if now - self._last_sent >= self._beat_seconds:
            self.send(protocol.encode("beat"))
            self.on_beat()

    def pending(self) -> list[Message]:
        """Return the messages that have come, without waiting; OtherEndGone at the end of input."""
        messages, self._put_back = self._put_back, []
        while not self._ended:
            try:
                data = os.read(self._read, 65536)
            except BlockingIOError:
                break
            except OSError:
                data = b""
            self._ended = not data
            self._last_heard = time.monotonic()
            messages += self._split(data)
        if self._ended and not messages:
            raise self._closed()
        return messages

    def _closed(self) -> OtherEndGone:
        words = self.last_words()
        return OtherEndGone(f"{self._other} closed the conversation{f': {words}' if words else ''}")

    def _split(self, data: bytes) -> list[Message]:
        *lines, self._unread = (self._unread + data).split(b"\n")
        if len(self._unread) > protocol.LONGEST_LINE:
            raise ProtocolError(f"{self._other} sent a line without an end")
        messages = []
        for line in lines:
            message = protocol.decode(line)
            if message is not None and message["type"] == "hello":
                self._greeted = True
            if not self._greeted:
                continue  # noise from login scripts
            if message is None:
                raise ProtocolError(f"{self._other} sent what is no message: {line[:80]!r}")
            if message["type"] != "beat":
                messages.append(message)
        return messages
