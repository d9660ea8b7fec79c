"""A session's channel over real pipes: heartbeats, silence, noise, the end of input, and floods of every kind."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from plotfarm.base.errors import ProtocolError, TransferFailed
from plotfarm.transfer import messages
from plotfarm.transfer.channel import (
    HEARTBEAT_BURST,
    MOST_NOISE_BYTES,
    MOST_UNDELIVERED,
    SHORT_LINE_BYTES,
    Channel,
    Gone,
    OtherEndGone,
)
from plotfarm.transfer.messages import Ask, Commit, Done, Heartbeat, Hello, Message, Partial, Recheck
from plotfarm.transfer.outcomes import Phase
from testbed.plots import CHECKOUT

HELLO = messages.encode(messages.hello())
HEARTBEAT = messages.encode(Heartbeat(Phase.IDLE))


class Ends:
    """A channel, and the far ends of its two pipes."""

    def __init__(self, heartbeat_seconds: float = 0.05, silence_seconds: float = 0.5) -> None:
        read, self.far_write = os.pipe()
        self.far_read, write = os.pipe()
        self._mine = [read, write]
        self.channel = Channel(read, write, heartbeat_seconds, silence_seconds, "the NAS")

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


@pytest.fixture
def greeted(ends: Ends) -> Ends:
    ends.say(HELLO)
    assert isinstance(ends.channel.receive_one(1), Hello)
    return ends


def encoded(*said: Message) -> bytes:
    return b"".join(map(messages.encode, said))


# ---- Messages -------------------------------------------------------------------------------------


def test_messages_come_in_order_however_they_are_cut(ends: Ends) -> None:
    said = (messages.hello(), Ask(1), Recheck(1))
    received: list[Message] = []
    for byte in encoded(*said):
        ends.say(bytes([byte]))
        received += ends.channel.pending()
    assert received == list(said)


def test_what_comes_together_is_handed_out_one_by_one(ends: Ends) -> None:
    said = (messages.hello(), Ask(1), Commit(), Done())
    ends.say(encoded(*said))
    assert [ends.channel.receive_one(1) for _ in said] == list(said)
    assert ends.channel.receive_one(0.01) is None


def test_what_is_put_back_comes_first(greeted: Ends) -> None:
    greeted.channel.put_back([Ask(1)])
    greeted.say(encoded(Ask(2)))
    assert greeted.channel.receive_one(1) == Ask(1)
    assert greeted.channel.receive_one(1) == Ask(2)


def test_what_came_before_the_end_is_received_before_it(greeted: Ends) -> None:
    greeted.channel.last_words = lambda: "killed"
    greeted.say(encoded(Recheck(1), Done()))
    greeted.hang_up()
    assert greeted.channel.receive_one(1) == Recheck(1)
    assert greeted.channel.wait(timeout=1) == ([Done()], [])
    with pytest.raises(OtherEndGone, match="killed") as caught:
        greeted.channel.wait(timeout=1)
    assert caught.value.how is Gone.CLOSED


def test_receive_takes_only_what_may_come(greeted: Ends) -> None:
    greeted.say(encoded(Ask(7), Done(), Ask(8)))
    assert greeted.channel.receive((Done, Ask), 1) == Ask(7)
    assert greeted.channel.receive((Done, Ask), 1) == Done()
    with pytest.raises(ProtocolError):
        greeted.channel.receive((Done,), 1)


def test_receive_ends_although_heartbeats_come(greeted: Ends) -> None:
    """A NAS that lives and never does anything is left."""
    done = threading.Event()

    def beat() -> None:
        while not done.wait(0.1):
            greeted.say(HEARTBEAT)

    thread = threading.Thread(target=beat)
    thread.start()
    started = time.monotonic()
    try:
        with pytest.raises(OtherEndGone) as caught:
            greeted.channel.receive((Done,), 1.2)  # more than twice the silence limit
    finally:
        done.set()
        thread.join()
    assert caught.value.how is Gone.TOO_LONG
    assert time.monotonic() - started < 3
    assert greeted.channel.other_phase is Phase.IDLE


def test_other_descriptors_are_watched(ends: Ends) -> None:
    read, write = os.pipe()
    try:
        os.write(write, b"x")
        assert ends.channel.wait([read], 5) == ([], [read])
    finally:
        os.close(read)
        os.close(write)


# ---- Heartbeats and silence -----------------------------------------------------------------------


def test_silence_is_noticed(ends: Ends) -> None:
    started = time.monotonic()
    with pytest.raises(OtherEndGone) as caught:
        ends.channel.wait(timeout=10)
    assert caught.value.how is Gone.SILENT
    assert 0.4 < time.monotonic() - started < 3


def test_heartbeats_are_sent_meanwhile_and_carry_the_phase(ends: Ends) -> None:
    counted: list[None] = []
    ends.channel.on_heartbeat = lambda: counted.append(None)
    ends.channel.phase = Phase.POURING
    assert ends.channel.wait(timeout=0.3) == ([], [])
    sent = [messages.decode(line) for line in os.read(ends.far_read, 65536).splitlines()]
    assert 3 <= len(sent) <= 7
    assert len(counted) == len(sent)
    assert set(sent) == {Heartbeat(Phase.POURING)}


def test_after_a_stop_what_lies_unread_counts(greeted: Ends) -> None:
    """A process that was stopped for longer than the limit first looks at what came meanwhile."""
    for _ in range(HEARTBEAT_BURST):
        greeted.say(HEARTBEAT)
    greeted.say(encoded(Done()))
    time.sleep(0.6)  # the clock is the subject here
    assert greeted.channel.receive_one(1) == Done()


def test_a_backlog_of_heartbeats_is_no_flood(greeted: Ends) -> None:
    """What may have been sent since the session began is allowed, also when it is found at once."""
    time.sleep(0.4)  # the clock is the subject here
    for _ in range(HEARTBEAT_BURST + 8):
        greeted.say(HEARTBEAT)
    assert greeted.channel.receive_one(0.01) is None


def test_nobody_reads_any_more(ends: Ends) -> None:
    os.close(ends.far_read)
    with pytest.raises(OtherEndGone) as caught:
        ends.channel.send(messages.hello())
    assert caught.value.how is Gone.CLOSED


def test_somebody_who_never_reads_is_left(ends: Ends) -> None:
    """The pipe to it is full: writing must not wait for ever."""
    started = time.monotonic()
    filling = (ends.channel.send(Partial(("0" * 64,) * 100)) for _ in range(100))  # type: ignore[func-returns-value]
    with pytest.raises(OtherEndGone) as caught:
        list(filling)
    assert caught.value.how is Gone.NOT_READING
    assert time.monotonic() - started < 3


def test_one_socket_for_both_directions() -> None:
    """What sshd hands over: a message longer than its buffer arrives whole, though the socket does not block."""
    ours, theirs = socket.socketpair()
    long = Partial(("0" * 64,) * messages.MOST_SEGMENTS)
    with ours, theirs:
        near = Channel(ours.fileno(), ours.fileno(), 0.05, 5, "the plotter")
        far = Channel(theirs.fileno(), theirs.fileno(), 0.05, 5, "the NAS")
        near.send(messages.hello())
        thread = threading.Thread(target=near.send, args=(long,))
        thread.start()
        assert isinstance(far.receive_one(5), Hello)
        assert far.receive((Partial,), 5) == long
        thread.join()


# ---- Noise and floods -----------------------------------------------------------------------------


def test_noise_before_hello_is_skipped_and_after_it_is_not(ends: Ends) -> None:
    ends.say(b'Welcome!\n\xff\xfe\n\n{"type": "commit"}\n' + HELLO)
    assert isinstance(ends.channel.receive_one(1), Hello)
    ends.say(b"Connection to host lost\n")
    with pytest.raises(ProtocolError):
        ends.channel.wait(timeout=1)


def test_a_greeting_that_is_none_is_an_error_and_no_noise(ends: Ends) -> None:
    ends.say(b'{"type": "hello", "suite": "chia-plot-manager", "lowest": 1, "highest": 2}\n')
    with pytest.raises(ProtocolError):
        ends.channel.wait(timeout=1)


FLOODS = {
    "noise without an end": (b"", b"x" * 65536),
    "lines of noise": (b"", b"x\n" * 32768),
    "empty lines before hello": (b"", b"\n" * 65536),
    "heartbeats before hello": (b"", HEARTBEAT * 1000),
    "hellos": (b"", HELLO * 100),
    "a short kind without an end": (HELLO, b'{"type": "refused", "detail": "' + b"x" * 65536),
    "a long kind without an end": (HELLO + b'{"type": "partial", "segments": ["', b"0" * 65536),
    "a long kind of braces": (HELLO, b'{"type": "partial", "segments": [' + b"{}," * 180_000 + b"{}]}\n"),
    "a long kind of lists": (HELLO, b'{"type": "have", "path": "", "segments": [' + b"[0]," * 130_000 + b"0]}\n"),
    "a long line of no kind": (HELLO, b'{"type": "partial2", "segments": ["' + b"0" * 65536),
    "another spelling of a long kind": (HELLO, b'{ "type":"partial", "segments": ["' + b"0" * 65536),
    "heartbeats": (HELLO, HEARTBEAT * 1000),
    "messages": (HELLO, encoded(Done()) * 1000),
    "long messages": (HELLO, encoded(Partial(("0" * 64,) * messages.MOST_SEGMENTS))),
    "brackets": (HELLO, b"[" * 65536),
    "digits": (HELLO, b"9" * 65536),
}
# A session that waits for one answer; prints how it ended, and its highest memory in KiB: at first and in the end.
FLOODED = """
import sys
from plotfarm.base.errors import TransferFailed
from plotfarm.transfer.channel import Channel
from plotfarm.transfer.messages import Commit, Hello
def peak():
    return next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM"))
channel = Channel(0, 1, 10, 20, "the other end")
before = peak()
try:
    channel.receive((Hello,), 20)
    channel.receive((Commit,), 20)
except TransferFailed as error:
    print(type(error).__name__, before, peak(), file=sys.stderr)
"""


@pytest.mark.parametrize("flood", FLOODS)
def test_a_flood_ends_the_session_at_once_and_takes_no_memory(flood: str) -> None:
    begin, again = FLOODS[flood]
    session = subprocess.Popen(
        [sys.executable, "-c", FLOODED],
        cwd=CHECKOUT,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    assert session.stdin is not None and session.stderr is not None
    killer = threading.Timer(30, session.kill)
    killer.start()
    said = 0
    with contextlib.suppress(BrokenPipeError):
        said += session.stdin.write(begin)
        while said < 200_000_000:
            said += session.stdin.write(again)
    killer.cancel()
    how, before, after = session.stderr.read().decode().split()
    session.wait()
    print(f"{flood}: {how}, {said / 1e6:.1f} MB, {int(before) / 1e3:.1f} -> {int(after) / 1e3:.1f} MB")
    assert how == "ProtocolError"
    assert int(after) < 64_000
    with contextlib.suppress(BrokenPipeError):
        session.stdin.close()


@pytest.mark.parametrize("count", [MOST_UNDELIVERED, MOST_UNDELIVERED + 1])
def test_so_many_messages_may_wait(greeted: Ends, count: int) -> None:
    greeted.say(encoded(Done()) * count)
    if count <= MOST_UNDELIVERED:
        assert greeted.channel.pending() == [Done()] * count
    else:
        with pytest.raises(ProtocolError):
            greeted.channel.pending()


def test_what_nobody_takes_is_not_kept_without_end(greeted: Ends) -> None:
    """One message after another while the session has no time for them."""
    for _ in range(MOST_UNDELIVERED):
        greeted.say(encoded(Done()))
        greeted.channel.put_back(greeted.channel.pending())
    greeted.say(encoded(Done()))
    with pytest.raises(ProtocolError):
        greeted.channel.pending()


@pytest.mark.parametrize("length", [SHORT_LINE_BYTES, SHORT_LINE_BYTES + 1])
def test_the_longest_line_of_noise(ends: Ends, length: int) -> None:
    ends.say(b"x" * length + b"\n" + HELLO)
    if length <= SHORT_LINE_BYTES:
        assert isinstance(ends.channel.receive_one(1), Hello)
    else:
        with pytest.raises(ProtocolError):
            ends.channel.receive_one(1)


@pytest.mark.parametrize("more", [0, 1])
def test_the_most_noise(ends: Ends, more: int) -> None:
    def say() -> None:
        with contextlib.suppress(OSError):
            ends.say((b"x" * 63 + b"\n") * (MOST_NOISE_BYTES // 64) + b"\n" * more + HELLO)

    thread = threading.Thread(target=say)
    thread.start()
    if more == 0:
        assert isinstance(ends.channel.receive_one(1), Hello)
    else:
        with pytest.raises(ProtocolError):
            ends.channel.receive_one(1)
    ends.close()
    thread.join()


def test_a_stopped_process_finds_more_heartbeats_than_a_burst() -> None:
    """SIGSTOP, as a suspended host: the other end's heartbeats of that time are no flood."""
    session = subprocess.Popen(
        [sys.executable, "-c", FLOODED],
        cwd=CHECKOUT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert session.stdin is not None and session.stderr is not None
    session.stdin.write(HELLO)
    session.stdin.flush()
    time.sleep(0.2)
    session.send_signal(signal.SIGSTOP)
    for _ in range(HEARTBEAT_BURST + 10):
        session.stdin.write(HEARTBEAT)
        session.stdin.flush()
        time.sleep(0.05)
    session.send_signal(signal.SIGCONT)
    session.stdin.close()
    assert session.stderr.read().split()[0] == b"OtherEndGone"
    session.wait()


def test_errors_of_both_kinds_are_one_family() -> None:
    assert issubclass(OtherEndGone, TransferFailed)
    assert issubclass(ProtocolError, TransferFailed)
