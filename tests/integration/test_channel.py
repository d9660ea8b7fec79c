"""The conversation's channel over real pipes: beats, silence, noise, the end of input."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Iterator

import pytest

from plotfarm.base.errors import ProtocolError
from plotfarm.transfer import protocol
from plotfarm.transfer.channel import Channel, OtherEndGone

HELLO = protocol.hello()


class Ends:
    """A channel, and the far ends of its two pipes."""

    def __init__(self, beat_seconds: float = 0.05, silence_seconds: float = 0.5) -> None:
        read, self.far_write = os.pipe()
        self.far_read, write = os.pipe()
        self._mine = [read, write]
        self.channel = Channel(read, write, beat_seconds, silence_seconds, "the NAS")

    def say(self, data: bytes) -> None:
        os.write(self.far_write, data)

    def hang_up(self) -> None:
        os.close(self.far_write)
        self.far_write = -1

    def close(self) -> None:
        for descriptor in (*self._mine, self.far_write, self.far_read):
            with contextlib.suppress(OSError):
                os.close(descriptor)


@pytest.fixture
def ends() -> Iterator[Ends]:
    ends = Ends()
    yield ends
    ends.close()


def test_messages_come_in_order_however_they_are_cut(ends: Ends) -> None:
    data = HELLO + protocol.encode("one") + protocol.encode("two")
    heard: list[str] = []
    for byte in data:
        ends.say(bytes([byte]))
        heard += [message["type"] for message in ends.channel.pending()]
    assert heard == ["hello", "one", "two"]


def test_what_comes_together_is_handed_out_one_by_one(ends: Ends) -> None:
    """A hello and an offer in one piece: neither is lost."""
    ends.say(HELLO + protocol.encode("offer") + protocol.encode("sent"))
    heard = [ends.channel.wait_for_one(1) for _ in range(3)]
    assert [message and message["type"] for message in heard] == ["hello", "offer", "sent"]
    assert ends.channel.wait_for_one(0.01) is None


def test_what_came_before_the_end_is_heard_before_it(ends: Ends) -> None:
    ends.say(HELLO + protocol.encode("one") + protocol.encode("two"))
    ends.hang_up()
    assert ends.channel.wait_for_one(1) is not None
    messages, _ = ends.channel.wait(timeout=1)
    assert [message["type"] for message in messages] == ["one", "two"]
    with pytest.raises(OtherEndGone, match="the NAS closed the conversation"):
        ends.channel.wait(timeout=1)


def test_silence_is_noticed(ends: Ends) -> None:
    started = time.monotonic()
    with pytest.raises(OtherEndGone, match="has been silent for"):
        ends.channel.wait(timeout=10)
    assert 0.4 < time.monotonic() - started < 3


def test_beats_are_sent_meanwhile(ends: Ends) -> None:
    assert ends.channel.wait(timeout=0.3) == ([], [])
    beats = os.read(ends.far_read, 65536).splitlines()
    assert 3 <= len(beats) <= 7
    assert {protocol.decode(line)["type"] for line in beats} == {"beat"}  # type: ignore[index]


def test_beats_are_heard_and_swallowed(ends: Ends) -> None:
    ends.say(HELLO)
    ends.channel.wait_for_one(1)
    done = threading.Event()

    def beat() -> None:
        while not done.wait(0.1):
            ends.say(protocol.encode("beat"))

    thread = threading.Thread(target=beat)
    thread.start()
    try:
        assert ends.channel.wait(timeout=1.2) == ([], [])  # more than twice the silence limit
    finally:
        done.set()
        thread.join()


def test_after_a_stop_what_lies_unread_counts(ends: Ends) -> None:
    """A process that was stopped for longer than the limit first looks at what came meanwhile."""
    ends.say(HELLO)
    time.sleep(0.6)  # the clock is the subject here
    message = ends.channel.wait_for_one(1)
    assert message is not None
    assert message["type"] == "hello"


def test_noise_before_hello_is_skipped_and_after_it_is_not(ends: Ends) -> None:
    ends.say(b'Welcome!\n\xff\xfe\n{"type": "offer"}\n' + HELLO)
    message = ends.channel.wait_for_one(1)
    assert message is not None
    assert message["type"] == "hello"
    ends.say(b"Connection to host lost\n")
    with pytest.raises(ProtocolError, match="sent what is no message"):
        ends.channel.wait(timeout=1)


def test_a_line_without_an_end(ends: Ends) -> None:
    def babble() -> None:
        with contextlib.suppress(OSError):
            for _ in range(40):
                os.write(ends.far_write, b"x" * 65536)

    thread = threading.Thread(target=babble)
    thread.start()
    with pytest.raises(ProtocolError, match="a line without an end"):
        ends.channel.wait(timeout=10)
    ends.close()
    thread.join()


def test_nobody_reads_any_more(ends: Ends) -> None:
    os.close(ends.far_read)
    with pytest.raises(OtherEndGone, match="closed the conversation"):
        ends.channel.send(HELLO)


def test_other_descriptors_are_watched(ends: Ends) -> None:
    read, write = os.pipe()
    try:
        os.write(write, b"x")
        assert ends.channel.wait([read], 5) == ([], [read])
    finally:
        os.close(read)
        os.close(write)
