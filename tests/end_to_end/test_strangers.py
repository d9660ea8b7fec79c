"""Strangers at the data port: none of their bytes reaches a file, and they hold nothing up for long."""

from __future__ import annotations

import contextlib
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fake_sender import FakeSender, segments_of
from farm_help import OFFERED, audit, held_at, logs, names_and_digests, times_reached, wait_for

from testbed.farm import Farm
from testbed.plots import v1_name

NewFarm = Callable[..., Farm]
PutV1 = Callable[[Path, str], Path]
GARBAGE = b"STRANGER" * 8192


class Stranger(threading.Thread):
    """Connects to every port again and again, until it is told to stop; `served` counts who let it in."""

    def __init__(self, address: str, ports: range, words: bytes, connections: int = 2**31) -> None:
        super().__init__(daemon=True)
        self._address, self._ports, self._words = address, ports, words
        self._stop_asked = threading.Event()
        self._left = connections
        self.served = 0
        self.open: list[socket.socket] = []

    def run(self) -> None:
        while not self._stop_asked.is_set() and self._left:
            for port in self._ports:
                with contextlib.suppress(OSError):
                    connection = socket.create_connection((self._address, port), timeout=1)
                    self.served += 1
                    self._left -= 1
                    self.open = [*self.open[-20:], connection]
                    connection.sendall(self._words)
                if not self._left:
                    return

    def leave(self) -> None:
        self._stop_asked.set()
        self.join()
        for connection in self.open:
            connection.close()


@contextlib.contextmanager
def stranger(farm: Farm, words: bytes, connections: int = 2**31) -> Iterator[Stranger]:
    person = Stranger("127.0.0.1", farm.ports, words, connections)
    person.start()
    try:
        yield person
    finally:
        person.leave()


def no_trace(farm: Farm) -> bool:
    """Tell whether nothing of what the strangers sent lies on any drive."""
    return all(GARBAGE[:8] not in path.read_bytes() for drive in farm.drives for path in drive.iterdir())


def _accepts(port: int) -> bool:
    # Looked up, not connected to: a connection would be the one that netcat takes.
    wanted = f":{port:04X} "
    return any(wanted in line and " 0A " in line for line in Path("/proc/net/tcp").read_text().splitlines())


@pytest.mark.parametrize("words", [GARBAGE, b"", b"\0" * 31, b"0" * 31])
@pytest.mark.parametrize("netcat", ["nc.openbsd", "nc.traditional"])
def test_a_stranger_who_connects_first(new_farm: NewFarm, put_v1: PutV1, words: bytes, netcat: str) -> None:
    """The listener listens and the plotter, not yet told of it, is held: the stranger's connection comes first."""
    farm = new_farm(nas_settings={"transfer.netcat": netcat, "transfer.stall_seconds": 5})
    put_v1(farm.plots, "wanted")
    manifest = names_and_digests(farm)
    with held_at(farm, OFFERED) as held:
        port = wait_for(lambda: next(filter(_accepts, farm.ports), None), "a listener")
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.sendall(words)
            held.finish()
    assert no_trace(farm)
    if held.manager.returncode:
        assert list(farm.stored()) == []
        audit(farm, manifest)
        assert farm.plot_manager().returncode == 0, logs(farm)
    assert len(farm.stored()) == 1, logs(farm)
    assert times_reached(farm.nas, "listening") >= 2
    audit(farm, manifest)


@pytest.mark.parametrize("words", [GARBAGE, b"", b"\0" * 31, b"0" * 31])
def test_a_direct_listener_lets_strangers_wait_outside(new_farm: NewFarm, put_v1: PutV1, words: bytes) -> None:
    """More of them than may stand at the door, and all before the plotter: it comes through at the first attempt."""
    farm = new_farm(settings={"transfer.pipe": "direct"})
    put_v1(farm.plots, "wanted")
    manifest = names_and_digests(farm)
    with held_at(farm, OFFERED) as held, contextlib.ExitStack() as crowd:
        port = wait_for(lambda: next(filter(_accepts, farm.ports), None), "a listener")
        for _ in range(40):
            connection = crowd.enter_context(socket.create_connection(("127.0.0.1", port)))
            with contextlib.suppress(OSError):  # thrown out already
                connection.sendall(words)
        held.finish()
    assert held.manager.returncode == 0, logs(farm)
    assert no_trace(farm)
    assert times_reached(farm.nas, "listening") == 1
    assert len(farm.stored()) == 1
    audit(farm, manifest)


@pytest.mark.parametrize("words", [GARBAGE, b""])
@pytest.mark.parametrize("pipe", ["netcat", "direct"])
def test_strangers_who_flood_every_port(new_farm: NewFarm, put_v1: PutV1, words: bytes, pipe: str) -> None:
    farm = new_farm(settings={"transfer.stall_seconds": 5, "transfer.pipe": pipe})
    farm.ports = range(farm.ports.start, farm.ports.start + 3)
    for side in (farm.plotter, farm.nas):
        side.change({"transfer.ports": f"{farm.ports.start}-{farm.ports.stop - 1}"})
    put_v1(farm.plots, "wanted")
    manifest = names_and_digests(farm)
    with stranger(farm, words) as crowd, held_at(farm, OFFERED) as held:
        wait_for(lambda: crowd.served >= 3, "strangers who are let in")
        held.go_on()
        begun = time.monotonic()
        wait_for(lambda: time.monotonic() - begun > 3 or held.manager.poll() is not None, "three seconds of flood")
        assert no_trace(farm)
    assert no_trace(farm)
    if held.manager.returncode:
        audit(farm, manifest)
        assert farm.plot_manager().returncode == 0, held.output + logs(farm)
    assert len(farm.stored()) == 1
    audit(farm, manifest)


def test_a_sender_with_a_wrong_token_is_a_stranger(farm: Farm, put_v1: PutV1) -> None:
    """Whole as it is, a plot behind another token than the one that travelled over ssh is not taken."""
    put_v1(farm.plots, "wanted")
    forged = put_v1(farm.root, "forged").read_bytes()
    manifest = names_and_digests(farm)
    with held_at(farm, OFFERED) as held:
        port = wait_for(lambda: next(filter(_accepts, farm.ports), None), "a listener")
        with socket.create_connection(("127.0.0.1", port)) as connection, contextlib.suppress(OSError):
            connection.sendall(b"0123456789abcdef0123456789abcdef" + forged)
        held.finish()
    assert held.manager.returncode == 0, logs(farm)
    audit(farm, manifest)
    assert len(farm.stored()) == 1


@pytest.mark.parametrize("netcat", ["nc.openbsd", "nc.traditional"])
@pytest.mark.parametrize(("address", "limit_seconds"), [("127.0.0.1", 3.0), ("127.0.0.2", 2.0)])
def test_a_stranger_who_says_nothing_costs_a_moment(
    new_farm: NewFarm, netcat: str, address: str, limit_seconds: float
) -> None:
    """From the plotter's own address he may be the plotter, for a second; from elsewhere he is not even listened to."""
    if shutil.which(netcat) is None:
        pytest.skip(f"{netcat} is not installed")
    farm = new_farm(nas_settings={"transfer.netcat": netcat})
    content = b"\x07" + bytes(100_000)
    with FakeSender(farm) as sender:
        ready = sender.offer(v1_name("wanted", k=32), len(content))
        for _ in range(3):
            assert ready is not None
            begun = time.monotonic()
            with socket.create_connection(("127.0.0.1", ready["port"]), 5, (address, 0)):
                before = ready
                ready = sender.hear()
            assert time.monotonic() - begun < limit_seconds
            assert ready is not None
            assert (ready["type"], ready["attempt"]) == ("ready", before["attempt"] + 1)
            assert ready["token"] != before["token"]
        arrived = sender.send(ready, content)
        assert arrived is not None
        assert arrived["segments"] == segments_of(content)
