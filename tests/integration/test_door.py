"""The NAS's door, with real pipes on both sides: the plotter gets in, strangers do not, and cost it next to nothing."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from plotfarm.base.config.sections import TransferSettings
from plotfarm.base.errors import PlotfarmError, ProtocolError
from plotfarm.transfer import messages
from plotfarm.transfer.channel import Channel, OtherEndGone
from plotfarm.transfer.direct import DirectPipe
from plotfarm.transfer.door import Door
from plotfarm.transfer.effects import Stopped
from plotfarm.transfer.messages import Commit, Hello, Lost, Message, Ready, Sent
from plotfarm.transfer.netcat import NetcatPipe
from plotfarm.transfer.outcomes import Failure
from plotfarm.transfer.pipe import Pipe, PipeLost
from testbed.ports import take_port_range

NAS = "127.0.0.1"
PLOTTER = "127.0.0.1"
STRANGER = "127.0.0.3"
ARRIVAL = "0123456789abcdef"
CONTENT = b"the plot's bytes"

Plotter = Callable[["Scene", Ready], object]


@dataclass
class Scene:
    """The two ends of a session in one process: the door here, a plotter in a thread."""

    settings: TransferSettings
    near: Channel
    far: Channel
    locks: Path
    client: str = PLOTTER
    readies: list[Ready] = field(default_factory=list)
    pipes: list[Pipe] = field(default_factory=list)

    def door(self) -> Door:
        return Door(self.near, self.settings, NAS, self.client, self.locks)

    def open(self, plotter: Plotter, limit_seconds: float = 20) -> tuple[int, bytes]:
        """Open the door while `plotter` answers each `ready`; returns the attempt and all that came."""
        self.near.send(messages.hello())
        self.far.send(messages.hello())
        assert isinstance(self.near.receive_one(5), Hello)
        assert isinstance(self.far.receive_one(5), Hello)
        over = threading.Event()
        thread = threading.Thread(target=self._answer, args=(plotter, over))
        thread.start()
        try:
            with contextlib.ExitStack() as keep:
                attempt, connection = self.door().open(ARRIVAL, "drive1", 3, limit_seconds, keep)
                return attempt, read_all(connection)
        finally:
            over.set()
            thread.join()

    def _answer(self, plotter: Plotter, over: threading.Event) -> None:
        while not over.is_set():
            message = self.far.receive_one(0.02)
            if isinstance(message, Ready):
                self.readies.append(message)
                plotter(self, message)


def read_all(connection: int) -> bytes:
    content = b""
    while data := os.read(connection, 65536):
        content += data
    return content


def connect(scene: Scene, port: int) -> Pipe:
    if scene.settings.pipe == "direct":
        return DirectPipe(NAS, port)
    return NetcatPipe(NAS, port, scene.settings.netcat)


def honest(scene: Scene, ready: Ready) -> None:
    """What a plotter does: the token, then the bytes; when that fails it says so."""
    try:
        pipe = connect(scene, ready.port)
        scene.pipes.append(pipe)
        for data in (ready.token.encode(), CONTENT):
            assert pipe.write(memoryview(data)) == len(data)
        pipe.close_input()
    except PipeLost:
        scene.far.send(Lost(ready.attempt, ""))


def knock(port: int, said: bytes = b"", source: str = STRANGER) -> socket.socket:
    connection = socket.create_connection((NAS, port), 5, (source, 0))
    with contextlib.suppress(OSError):
        connection.sendall(said)
    return connection


@pytest.fixture(params=["direct", "nc.openbsd", "nc.traditional"])
def scene(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Scene]:
    if request.param != "direct" and shutil.which(request.param) is None:
        pytest.skip(f"{request.param} is not installed")
    taken, lock = take_port_range(NAS)
    near, far = socket.socketpair()
    if request.param == "direct":
        settings = TransferSettings(pipe="direct", ports=taken)
    else:
        settings = TransferSettings(pipe="netcat", netcat=request.param, ports=taken)
    with lock, near, far:
        scene = Scene(
            settings,
            Channel(near.fileno(), near.fileno(), 0.5, 20, "the plotter"),
            Channel(far.fileno(), far.fileno(), 0.5, 20, "the NAS"),
            tmp_path,
        )
        yield scene
        for pipe in scene.pipes:
            pipe.close()


# ---- The plotter ----------------------------------------------------------------------------------


def test_the_plotter_gets_in(scene: Scene) -> None:
    assert scene.open(honest) == (1, CONTENT)
    ready = scene.readies[0]
    assert ready.port in scene.settings.ports
    assert (ready.arrival, ready.drive, ready.segments, ready.attempt) == (ARRIVAL, "drive1", 3, 1)


def test_a_plotter_that_lost_its_connection_is_told_of_another_port(scene: Scene) -> None:
    def plotter(scene: Scene, ready: Ready) -> None:
        if ready.attempt <= 7:
            scene.far.send(Lost(ready.attempt, ""))
        else:
            honest(scene, ready)

    assert scene.open(plotter) == (8, CONTENT)
    assert len({ready.token for ready in scene.readies}) == 8


def test_what_was_said_too_early_is_handed_on(scene: Scene) -> None:
    """A small plot is sent before anybody has looked at its token."""

    def plotter(scene: Scene, ready: Ready) -> None:
        sent = Sent(ready.attempt, len(CONTENT))
        scene.far.send(sent)
        honest(scene, ready)

    assert scene.open(plotter) == (1, CONTENT)
    assert scene.near.receive((Sent,), 5) == Sent(1, len(CONTENT))


def test_a_late_word_about_an_earlier_attempt_does_not_count(scene: Scene) -> None:
    def plotter(scene: Scene, ready: Ready) -> None:
        if ready.attempt == 1:
            knock(ready.port, b"x" * 40, PLOTTER).close()
        else:
            scene.far.send(Lost(1, ""))
            scene.far.send(Sent(1, 1))
            honest(scene, ready)

    if scene.settings.pipe == "direct":
        pytest.skip("a stranger ends no attempt of a direct listener")
    assert scene.open(plotter) == (2, CONTENT)


@pytest.mark.parametrize("said", [Commit(), Lost(2, ""), Sent(2, 1), messages.hello()], ids=lambda each: str(each)[:7])
def test_what_may_not_be_said_here_ends_the_session(scene: Scene, said: Message) -> None:
    with pytest.raises(ProtocolError):
        scene.open(lambda scene, _: scene.far.send(said))


@pytest.mark.parametrize("said", [Lost(1, ""), Sent(1, 1)], ids=["lost", "sent"])
def test_the_same_is_not_said_for_ever(scene: Scene, said: Message) -> None:
    def plotter(scene: Scene, ready: Ready) -> None:
        with contextlib.suppress(OtherEndGone):
            for _ in range(3):
                scene.far.send(said)
                time.sleep(0.05)  # else they are too many undelivered ones

    with pytest.raises(ProtocolError):
        scene.open(plotter)


# ---- Strangers ------------------------------------------------------------------------------------


def test_a_stranger_who_is_first_costs_next_to_nothing(scene: Scene) -> None:
    """It connects, says nothing, and stays: known by its address."""
    held: list[socket.socket] = []

    def plotter(scene: Scene, ready: Ready) -> None:
        if ready.attempt == 1:
            held.append(knock(ready.port))
            if scene.settings.pipe == "netcat":
                return
        honest(scene, ready)

    started = time.monotonic()
    attempt, content = scene.open(plotter)
    took = time.monotonic() - started
    assert content == CONTENT
    assert attempt == (1 if scene.settings.pipe == "direct" else 2)
    assert took < 0.9
    for each in held:
        each.close()


@pytest.mark.parametrize("said", [b"", b"GET / HTTP/1.1\r\n\r\n", b"0" * 31], ids=["silent", "web", "nearly"])
def test_a_stranger_at_the_plotters_own_address_costs_a_second(scene: Scene, said: bytes) -> None:
    held: list[socket.socket] = []

    def plotter(scene: Scene, ready: Ready) -> None:
        if ready.attempt == 1:
            held.append(knock(ready.port, said, PLOTTER))
            if scene.settings.pipe == "netcat":
                return
        honest(scene, ready)

    started = time.monotonic()
    _, content = scene.open(plotter)
    assert content == CONTENT
    assert time.monotonic() - started < 3
    for each in held:
        each.close()


def test_a_token_from_another_address_is_worth_nothing(scene: Scene) -> None:
    """Who has heard the token, and is not the plotter, brings no byte into a file."""

    def plotter(scene: Scene, ready: Ready) -> None:
        with contextlib.suppress(OSError):
            knock(ready.port, ready.token.encode() + b"evil").close()

    with pytest.raises(Stopped) as caught:
        scene.open(plotter, 1.5)
    assert caught.value.failure is Failure.NOT_CONNECTED


@pytest.mark.parametrize("client", ["127.0.0.0/24", "::ffff:127.0.0.1", "127.0.0.1", ""])
def test_forms_of_the_plotters_address(scene: Scene, client: str) -> None:
    scene.client = client
    assert scene.open(honest) == (1, CONTENT)


@pytest.mark.parametrize("client", ["-lcid", "nas.example.org", "127.0.0.1;id", "127.0.0.1 -e sh", "300.1.1.1", "\n"])
def test_what_is_no_address_is_refused(scene: Scene, client: str) -> None:
    scene.client = client
    with pytest.raises(PlotfarmError):
        scene.door()
    scene.client = PLOTTER
    with pytest.raises(PlotfarmError):
        Door(scene.near, scene.settings, client, PLOTTER, scene.locks)


def test_over_ipv6(scene: Scene) -> None:
    if scene.settings.netcat == "nc.traditional":
        pytest.skip("netcat-traditional speaks no IPv6")
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            pass
    except OSError:
        pytest.skip("this host has no IPv6 loopback")

    def plotter(scene: Scene, ready: Ready) -> None:
        direct = DirectPipe("::1", ready.port)
        scene.pipes.append(direct)
        direct.write(memoryview(ready.token.encode() + CONTENT))
        direct.close_input()

    scene.client = "::1"
    scene.near.send(messages.hello())
    scene.far.send(messages.hello())
    scene.far.receive((Hello,), 5)
    scene.near.receive((Hello,), 5)

    def answer() -> None:
        ready = scene.far.receive((Ready,), 10)
        assert isinstance(ready, Ready)
        plotter(scene, ready)

    thread = threading.Thread(target=answer)
    thread.start()
    door = Door(scene.near, scene.settings, "::1", "::1", scene.locks)
    with contextlib.ExitStack() as keep:
        _, connection = door.open(ARRIVAL, "drive1", 0, 10, keep)
        assert read_all(connection) == CONTENT
    thread.join()


@contextlib.contextmanager
def hammering(ports: range, per_second: float) -> Iterator[list[int]]:
    """A stranger who connects so often, to whatever listens, and keeps what it has open."""
    over = threading.Event()
    hits: list[int] = []
    held: list[socket.socket] = []

    def hammer() -> None:
        while not over.wait(1 / per_second):
            for port in ports:
                with contextlib.suppress(OSError):
                    held.append(knock(port))
                    hits.append(port)

    thread = threading.Thread(target=hammer)
    thread.start()
    try:
        yield hits
    finally:
        over.set()
        thread.join()
        for each in held:
            each.close()


def test_a_stranger_who_hammers_does_not_keep_the_plotter_out(scene: Scene) -> None:
    """Twenty times a second, at every port of the range."""
    scene.settings = replace(scene.settings, ports=range(scene.settings.ports.start, scene.settings.ports.start + 4))
    started = time.monotonic()
    with hammering(scene.settings.ports, 20) as hits:
        while not hits and time.monotonic() < started + 0.2:
            time.sleep(0.01)  # nothing listens yet: the stranger is at work all the same
        began = time.monotonic()
        attempt, content = scene.open(honest)
        took = time.monotonic() - began
    print(f"{scene.settings.pipe} {scene.settings.netcat}: attempt {attempt}, {took * 1000:.0f} ms, {len(hits)} hits")
    assert content == CONTENT
    assert took < 3


# ---- Nobody comes, and nothing can listen ---------------------------------------------------------


def test_nobody_comes(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    started = time.monotonic()
    with pytest.raises(Stopped) as caught:
        scene.open(lambda *_: None, 0.5)
    assert caught.value.failure is Failure.NOT_CONNECTED
    assert time.monotonic() - started < 2
    assert caplog.messages == [], "nobody came, so nobody was turned away, and nobody had no token"


@pytest.mark.parametrize("ports", [range(0), range(20, 25), range(1, 1024), range(65536, 65540)], ids=str)
def test_no_port_to_listen_on(scene: Scene, ports: range) -> None:
    scene.settings = replace(scene.settings, ports=ports)
    with pytest.raises(Stopped) as caught:
        scene.open(honest)
    assert caught.value.failure is Failure.NO_PORT
    assert scene.readies == []


def test_no_netcat_to_listen_with(scene: Scene) -> None:
    if scene.settings.pipe == "direct":
        pytest.skip("direct needs none")
    scene.settings = replace(scene.settings, netcat="no-such-netcat")
    with pytest.raises(Stopped) as caught:
        scene.open(honest)
    assert caught.value.failure is Failure.NO_PORT


def test_nothing_is_held_afterwards(scene: Scene) -> None:
    port = scene.settings.ports.start
    scene.settings = replace(scene.settings, ports=range(port, port + 1))
    scene.open(honest)
    with pytest.raises(ConnectionRefusedError):
        knock(port, source=PLOTTER)
    with contextlib.ExitStack() as keep, pytest.raises(Stopped):
        scene.door().open(ARRIVAL, "drive1", 0, 0.3, keep)  # the same port is free again


@pytest.mark.parametrize("address", ["-lcid", "", "a b", "127.0.0.1\n", "$(id)"])
@pytest.mark.parametrize("pipe", [DirectPipe, lambda address, port: NetcatPipe(address, port, "auto")])
def test_the_plotter_connects_to_no_odd_address(address: str, pipe: Callable[[str, int], Pipe]) -> None:
    with pytest.raises(PipeLost):
        pipe(address, 4040)


@pytest.mark.parametrize("port", [-1, 0, 22, 1023, 65536, 10**9])
@pytest.mark.parametrize("pipe", [DirectPipe, lambda address, port: NetcatPipe(address, port, "auto")])
def test_the_plotter_connects_to_no_odd_port(port: int, pipe: Callable[[str, int], Pipe]) -> None:
    with pytest.raises(PipeLost):
        pipe(NAS, port)
