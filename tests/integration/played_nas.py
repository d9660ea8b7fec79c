"""A NAS that is played in a thread, and a plotter that brings one plot to it: fixtures and helpers."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from plotfarm.base.config.sections import TransferSettings
from plotfarm.plots.identity import FileIdentity
from plotfarm.transfer import messages
from plotfarm.transfer.channel import Channel
from plotfarm.transfer.direct import DirectPipe
from plotfarm.transfer.hashing import SegmentHasher
from plotfarm.transfer.messages import (
    Arrived,
    Commit,
    Done,
    Have,
    Hello,
    Message,
    Offer,
    Ready,
    Recheck,
    Rechecked,
    Sent,
    Stored,
)
from plotfarm.transfer.netcat import NetcatPipe
from plotfarm.transfer.outcomes import Outcome
from plotfarm.transfer.pipe import Pipe
from plotfarm.transfer.send import Wanted
from plotfarm.transfer.sender import Observer, Sender
from plotfarm.transfer.source import Source, TimeNotes, open_source

MIB = 2**20
CONTENT = os.urandom(3 * MIB + 100)
SECOND = 10**9
OLD = 1_700_000_000 * SECOND + 5
STORED_TIME = 1_600_000_000 * SECOND
ARRIVAL = "0123456789abcdef"
TOKEN = "ab" * 16
HEARTBEAT_SECONDS, SILENCE_SECONDS, STALL_SECONDS = 0.1, 2.0, 5.0
LIMIT_SECONDS = 20.0


class Nas:
    """The far end of the session: says what the test wants it to say, and takes bytes over a real connection."""

    def __init__(self, channel: Channel, silence: Callable[[], None]) -> None:
        self.channel = channel
        self.go_away = silence
        self.heard: list[Message] = []
        self.received = b""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]

    def say(self, *said: Message) -> None:
        for message in said:
            self.channel.send(message)

    def hear(self, *kinds: type[Message]) -> Message:
        message = self.channel.receive(kinds, LIMIT_SECONDS)
        self.heard.append(message)
        return message

    def take(self, segments: int = 0) -> None:
        """Say `ready` and take what comes through the data connection until its end."""
        self.say(Ready(self.port, TOKEN, "drive1", ARRIVAL, segments, 1))
        connection, _ = self._listener.accept()
        with connection, connection.makefile("rb") as file:
            self.received = file.read()
        self.hear(Sent)

    def publish(self, arrival: str = ARRIVAL) -> None:
        self.say(Arrived(len(CONTENT), hashes(CONTENT)))
        self.hear(Commit)
        self.say(Stored(arrival, "/mnt/drive1/x.plot", hashes(CONTENT)))

    def recheck(self, mtime_ns: Callable[[], int] = lambda: STORED_TIME) -> None:
        """Answer what the plotter asks about the stored plot, until it is content."""
        while isinstance(message := self.hear(Recheck, Done), Recheck):
            self.say(Rechecked(message.number, len(CONTENT), mtime_ns()))

    def close(self) -> None:
        self._listener.close()


class Notes(TimeNotes):
    def __init__(self) -> None:
        self.open: dict[Path, tuple[int, int]] = {}

    def remember(self, path: Path, old: int, new: int) -> None:
        self.open[path] = (old, new)

    def forget(self, path: Path) -> None:
        del self.open[path]


class Plotter:
    """The near end: a plot, and the sender that brings it to the NAS."""

    def __init__(self, plot: Path, channel: Channel, settings: TransferSettings) -> None:
        self.plot = plot
        self.notes = Notes()
        connect: Callable[[int], Pipe] = lambda port: DirectPipe("127.0.0.1", port)  # noqa: E731
        if settings.pipe == "netcat":
            connect = lambda port: NetcatPipe("127.0.0.1", port, "auto")  # noqa: E731
        self.sender = Sender(channel, settings, connect)

    def deliver(self, observer: Observer | None = None, *, keep: bool = False) -> Outcome:
        identity = FileIdentity.of(self.plot.stat())
        source = Source(open_source(self.plot, identity), self.plot, MIB, self.notes)
        offer = Offer(
            name=self.plot.name,
            size=identity.size,
            format="unknown",
            k=None,
            id="",
            is_dry_run=False,
            patience_seconds=0.0,
            streams=1,
            plot_directory=str(self.plot.parent)[:200],
            free_bytes=None,
            waiting_bytes=0,
            hours_left=None,
        )
        try:
            return self.sender.deliver(offer, source, Wanted(identity, keep, MIB), observer or Observer())
        finally:
            self.sender.end_pipe()
            source.close()


Play = Callable[[Nas], None]
Scene = Callable[[Play], contextlib.AbstractContextManager[tuple[Plotter, Nas]]]


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Scene:
    """Return a function that plays a NAS in a thread and gives the plotter; at the end the thread must be done."""
    monkeypatch.setenv("PLOT_MANAGER_SEGMENT_BYTES", str(MIB))
    pipe = getattr(request, "param", "direct")

    @contextlib.contextmanager
    def playing(play: Play) -> Iterator[tuple[Plotter, Nas]]:
        plot = tmp_path / "plot-k32-send.plot"
        plot.write_bytes(CONTENT)
        os.utime(plot, ns=(OLD, OLD))
        to_nas, to_plotter = os.pipe(), os.pipe()
        descriptors = [*to_nas, *to_plotter]

        def go_away() -> None:
            for descriptor in (to_nas[0], to_plotter[1]):
                os.close(descriptor)
                descriptors.remove(descriptor)

        far = Channel(to_nas[0], to_plotter[1], HEARTBEAT_SECONDS, SILENCE_SECONDS, "the plotter")
        near = Channel(to_plotter[0], to_nas[1], HEARTBEAT_SECONDS, SILENCE_SECONDS, "the NAS")
        nas = Nas(far, go_away)
        problems: list[BaseException] = []

        def be_the_nas() -> None:
            try:
                nas.say(messages.hello())
                nas.hear(Hello)
                nas.hear(Offer)
                play(nas)
            except BaseException as error:
                problems.append(error)

        thread = threading.Thread(target=be_the_nas, daemon=True)
        thread.start()
        settings = TransferSettings(
            pipe=pipe, beat_seconds=HEARTBEAT_SECONDS, silence_seconds=SILENCE_SECONDS, stall_seconds=STALL_SECONDS
        )
        plotter = Plotter(plot, near, settings)
        plotter.sender.greet(LIMIT_SECONDS)
        try:
            yield plotter, nas
            thread.join(LIMIT_SECONDS)
            assert not thread.is_alive()
            assert problems == []
        finally:
            nas.close()
            for descriptor in descriptors:
                os.close(descriptor)

    return playing


def hashes(content: bytes) -> tuple[str, ...]:
    hasher = SegmentHasher(segment_bytes=MIB)
    hasher.update(memoryview(content))
    return hasher.finish()


def expect_untouched(plotter: Plotter) -> None:
    """The source is as it was, its time too."""
    assert plotter.plot.read_bytes() == CONTENT
    assert plotter.plot.stat().st_mtime_ns == OLD
    assert plotter.notes.open == {}


def have(nas: Nas) -> None:
    """Say that a plot of that name, equal to the offered one, is there."""
    nas.say(Have("/mnt/drive1/x.plot", hashes(CONTENT)))
