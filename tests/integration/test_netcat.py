"""Both netcats as listeners, their ports, and the ones that a dead owner left."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from plotfarm.base.errors import CommandFailed, TransferFailed
from plotfarm.base.locks import Lock
from plotfarm.transfer.addresses import AllowedClients
from plotfarm.transfer.effects import Stopped
from plotfarm.transfer.netcat import NetcatListener, NetcatPipe, find_netcat, stale_listeners
from plotfarm.transfer.outcomes import Failure
from plotfarm.transfer.pipe import PipeLost
from plotfarm.transfer.ports import free_port
from testbed.plots import CHECKOUT
from testbed.ports import take_port_range

LOCAL = AllowedClients("127.0.0.1", "127.0.0.1")
FLAVOURS = {"nc.openbsd": "openbsd", "nc.traditional": "traditional"}


@pytest.fixture
def ports() -> Iterator[range]:
    taken, lock = take_port_range()
    with lock:
        yield taken


@pytest.fixture(params=FLAVOURS)
def netcat(request: pytest.FixtureRequest) -> tuple[str, str]:
    if shutil.which(request.param) is None:
        pytest.skip(f"{request.param} is not installed")
    return find_netcat(request.param)


def test_the_flavours_are_told_apart(netcat: tuple[str, str]) -> None:
    assert netcat[1] == FLAVOURS[Path(netcat[0]).name]


def test_auto_finds_one() -> None:
    assert find_netcat("auto")[1] in FLAVOURS.values()


@pytest.mark.parametrize("setting", ["no-such-netcat", "/bin/cat", "true"])
def test_what_is_no_netcat(setting: str) -> None:
    with pytest.raises(CommandFailed, match="install netcat-openbsd or netcat-traditional"):
        find_netcat(setting)


def test_a_listener_hands_over_what_arrives(netcat: tuple[str, str], ports: range) -> None:
    listener = NetcatListener(*netcat, "127.0.0.1", ports[0], LOCAL)
    try:
        listener.wait_until_listening()
        with socket.create_connection(("127.0.0.1", ports[0])) as connection:
            connection.sendall(b"hello")
        assert os.read(listener.pipe, 100) == b"hello"
        assert os.read(listener.pipe, 100) == b""
    finally:
        listener.close()


def test_it_is_bound_to_its_address_only(netcat: tuple[str, str], ports: range) -> None:
    listener = NetcatListener(*netcat, "127.0.0.2", ports[0], LOCAL)
    try:
        listener.wait_until_listening()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", ports[0]))
        listening = [each.laddr for each in psutil.net_connections("tcp") if each.status == psutil.CONN_LISTEN]
        assert [address.ip for address in listening if address and address.port == ports[0]] == ["127.0.0.2"]
    finally:
        listener.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.2", ports[0]))


def test_a_foreign_address_is_an_error(netcat: tuple[str, str], ports: range) -> None:
    listener = NetcatListener(*netcat, "192.0.2.1", ports[0], LOCAL)
    try:
        with pytest.raises(TransferFailed, match=r"netcat could not listen: .*assign"):
            listener.wait_until_listening()
    finally:
        listener.close()


# Arguments that would make a netcat run a command, listen for ever, or come where it may not.
HOSTILE = [
    ("-lcid", "4040", "nc.traditional"),
    ("-lk", "4040", "nc.openbsd"),
    ("127.0.0.1", "-e/bin/sh", "nc.traditional"),
    ("127.0.0.1", "22", "nc"),
    ("127.0.0.1", "01024", "nc"),
    ("127.0.0.1", "65536", "nc"),
    ("127.0.0.1", "99999999999999999999", "nc"),
    ("127.0.0.1", "4040;id", "nc"),
    ("127.0.0.1", "a[$(id)]", "nc"),
    ("127.0.0.1", "", "nc"),
    ("", "4040", "nc"),
    ("nas.example.org", "4040", "nc"),
    ("127.0.0.1\n-lk", "4040", "nc"),
    ("127.0.0.1 -lk", "4040", "nc"),
    ("/run/some.socket", "4040", "nc"),
    ("127.0.0.1", "4040", "-e"),
    ("127.0.0.1", "4040", "nc -e /bin/sh"),
    ("127.0.0.1", "4040"),
    ("127.0.0.1", "4040", "nc", "-e/bin/sh"),
    (),
]


@pytest.mark.parametrize("arguments", HOSTILE, ids=lambda each: " ".join(each) or "none")
def test_send_plot_refuses_what_could_be_an_option(arguments: tuple[str, ...]) -> None:
    done = subprocess.run(
        [CHECKOUT / "send_plot.sh", *arguments], stdin=subprocess.DEVNULL, capture_output=True, timeout=20, check=False
    )
    assert done.returncode == 2
    assert b"refused" in done.stderr


def test_send_plot_brings_what_comes_in(netcat: tuple[str, str], ports: range) -> None:
    with socket.create_server(("127.0.0.1", ports[0])) as server:
        pipe = NetcatPipe("127.0.0.1", ports[0], netcat[0])
        try:
            connection, _ = server.accept()
            with connection:
                pipe.write(memoryview(b"bytes"))
                pipe.close_input()
                assert connection.makefile("rb").read() == b"bytes"
        finally:
            pipe.close()


def fill(pipe: NetcatPipe) -> None:
    """Write until netcat, which holds the other end, has ended."""
    while True:
        pipe.write(memoryview(bytes(4096)))


def test_a_refused_connection_is_lost(netcat: tuple[str, str], ports: range) -> None:
    pipe = NetcatPipe("127.0.0.1", ports[0], netcat[0])
    try:
        with pytest.raises(PipeLost):
            fill(pipe)
    finally:
        pipe.close()


def test_two_at_once_get_two_ports(ports: range, tmp_path: Path) -> None:
    few = range(ports.start, ports.start + 2)
    with free_port(few, "127.0.0.1", tmp_path) as (first, _), free_port(few, "127.0.0.1", tmp_path) as (second, _):
        assert {first, second} == set(few)
        with pytest.raises(Stopped) as caught, free_port(few, "127.0.0.1", tmp_path):
            pass
        assert caught.value.failure is Failure.NO_PORT
    with free_port(few, "127.0.0.1", tmp_path) as (again, _):
        assert again in few


def test_a_port_that_somebody_listens_on_is_not_free(ports: range, tmp_path: Path) -> None:
    few = range(ports.start, ports.start + 2)
    with socket.create_server(("127.0.0.1", few[0])):
        for _ in range(5):
            with free_port(few, "127.0.0.1", tmp_path) as (port, _):
                assert port == few[1]


def test_many_at_once_never_share_a_port(ports: range, tmp_path: Path) -> None:
    held: list[int] = []
    everybody = threading.Barrier(10)

    def take() -> None:
        with free_port(ports, "127.0.0.1", tmp_path) as (port, _):
            held.append(port)
            everybody.wait(20)

    threads = [threading.Thread(target=take) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(held)) == 10
    assert all(Lock(tmp_path / f"port-{port}.lock").path.exists() for port in held)


# Starts a listener of the suite's, and waits to be killed.
OWNER = """
import sys, signal
from plotfarm.transfer.addresses import AllowedClients
from plotfarm.transfer.netcat import NetcatListener, find_netcat
allowed = AllowedClients("127.0.0.1", "127.0.0.1")
listener = NetcatListener(*find_netcat(sys.argv[1]), "127.0.0.1", int(sys.argv[2]), allowed)
listener.wait_until_listening()
print(listener._process.pid, flush=True)
signal.pause()
"""
# The same, but its listener outlives it: as when the kernel could not deliver the parent-death signal.
ORPHAN = """
import os, subprocess, sys
from plotfarm.base.locks import process_started
from plotfarm.transfer.netcat import OWNER
owner = f"{os.getpid()}:{process_started(os.getpid())}"
nc = subprocess.Popen(
    ["nc.openbsd", "-l", "-n", "-v", "127.0.0.1", sys.argv[2]], env={**os.environ, OWNER: owner},
    stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True,
)
nc.stderr.readline()
print(nc.pid, flush=True)
if sys.argv[1] == "stay":
    sys.stdin.read()
"""


def start(script: str, *arguments: str) -> tuple[subprocess.Popen[bytes], psutil.Process]:
    process = subprocess.Popen(
        [sys.executable, "-c", script, *arguments], cwd=CHECKOUT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    return process, psutil.Process(int(process.stdout.readline()))


def test_a_listener_dies_with_its_owner(netcat: tuple[str, str], ports: range) -> None:
    owner, listener = start(OWNER, netcat[0], str(ports[0]))
    assert listener.is_running()
    owner.send_signal(signal.SIGKILL)
    owner.communicate()
    psutil.wait_procs([listener], timeout=10)
    assert not listener.is_running()


def test_kill_nc_ends_only_what_is_ours_and_ownerless(ports: range) -> None:
    if shutil.which("nc.openbsd") is None:
        pytest.skip("nc.openbsd is not installed")
    foreign = subprocess.Popen(
        ["nc.openbsd", "-l", "-n", "-v", "127.0.0.1", str(ports[0])], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL
    )
    assert foreign.stderr is not None
    foreign.stderr.readline()
    gone, orphan = start(ORPHAN, "go", str(ports[1]))
    gone.communicate()
    owner, kept = start(ORPHAN, "stay", str(ports[2]))
    try:
        assert orphan.pid in stale_listeners()
        assert kept.pid not in stale_listeners()
        dry = subprocess.run([CHECKOUT / "kill_nc.sh", "--dry-run"], capture_output=True, text=True, check=True)
        assert str(orphan.pid) in dry.stdout
        assert orphan.is_running()
        done = subprocess.run([CHECKOUT / "kill_nc.sh"], capture_output=True, text=True, check=True, cwd="/")
        assert str(orphan.pid) in done.stdout
        psutil.wait_procs([orphan], timeout=10)
        assert not orphan.is_running()
        assert kept.is_running()
        assert foreign.poll() is None
    finally:
        for process in (orphan, kept):
            if process.is_running():
                process.kill()
        foreign.kill()
        foreign.communicate()
        owner.communicate()
