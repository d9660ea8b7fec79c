"""The forked child that works on a drive."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from plotfarm.base.locks import Lock, LockBusy
from plotfarm.transfer.worker import Endpoint, Worker, WorkerGone
from testbed.plots import CHECKOUT

_LIMIT_SECONDS = 10.0


def test_values_and_a_descriptor_travel(tmp_path: Path) -> None:
    def body(endpoint: Endpoint) -> None:
        number, descriptor = endpoint.receive()
        assert descriptor is not None
        endpoint.send((os.read(descriptor, 100), number), descriptor)

    (tmp_path / "file").write_text("content")
    worker = Worker(body)
    with open(tmp_path / "file") as file:
        worker.endpoint.send(7, file.fileno())
    value, descriptor = worker.endpoint.receive()
    worker.end()

    assert value == (b"content", 7)
    assert descriptor is not None
    assert os.path.samestat(os.fstat(descriptor), os.stat(tmp_path / "file"))
    os.close(descriptor)


def test_the_hashes_of_the_largest_plot_fit_into_one_value() -> None:
    segments = tuple("f" * 64 for _ in range(8192))
    worker = Worker(lambda endpoint: endpoint.send(endpoint.receive()[0]))
    worker.endpoint.send(segments)
    assert worker.endpoint.receive() == (segments, None)
    worker.end()


def test_a_child_that_ends_by_a_bug_is_noticed_and_never_goes_on_in_the_parents_code() -> None:
    parent = os.getpid()

    def body(endpoint: Endpoint) -> None:
        endpoint.send(os.getpid())
        raise KeyError("a bug")

    worker = Worker(body)
    child, _ = worker.endpoint.receive()
    with pytest.raises(WorkerGone):
        worker.endpoint.receive()
    assert (child, os.getpid()) == (worker.pid, parent)
    worker.end()


def test_a_child_that_is_killed_is_noticed() -> None:
    worker = Worker(lambda endpoint: endpoint.receive() and None)
    os.kill(worker.pid, signal.SIGKILL)
    with pytest.raises(WorkerGone):
        worker.endpoint.receive()
    worker.end()


def test_a_child_that_hangs_is_killed() -> None:
    def body(endpoint: Endpoint) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        endpoint.send("hanging")
        signal.pause()

    worker = Worker(body)
    assert worker.endpoint.receive()[0] == "hanging"
    started = time.monotonic()
    worker.end()
    assert time.monotonic() - started < _LIMIT_SECONDS
    assert not psutil.pid_exists(worker.pid)


def test_a_child_that_listens_cleans_up_by_itself(tmp_path: Path) -> None:
    unfinished = tmp_path / "unfinished"

    def body(endpoint: Endpoint) -> None:
        unfinished.touch()
        endpoint.send("prepared")
        try:
            endpoint.receive()
        finally:
            unfinished.unlink()

    worker = Worker(body)
    assert worker.endpoint.receive()[0] == "prepared"
    assert unfinished.exists()
    worker.end()
    assert not unfinished.exists()


def test_it_keeps_only_what_it_is_given(tmp_path: Path) -> None:
    """Neither an open file nor the session's descriptors: only the lock, which it holds on its own."""
    lock = Lock(tmp_path / "drive.lock")
    lock.acquire()
    other = os.open(tmp_path / "other", os.O_CREAT | os.O_RDWR)

    def body(endpoint: Endpoint) -> None:
        links = (f"/proc/self/fd/{number}" for number in os.listdir("/proc/self/fd"))
        endpoint.send([os.readlink(link) for link in links if os.path.exists(link)])
        endpoint.receive()

    worker = Worker(body, keep=[lock.fileno()])
    opened, _ = worker.endpoint.receive()
    names = [name for name in opened if name != "/dev/null"]
    assert str(lock.path) in names
    assert str(tmp_path / "other") not in names
    assert not [name for name in names if name.startswith("pipe:")]

    os.close(other)
    lock.release()
    with pytest.raises(LockBusy):
        Lock(lock.path).acquire()
    worker.end()
    again = Lock(lock.path)
    again.acquire()
    again.release()


def test_somebody_who_wants_to_write_does_not_end_a_child_with_a_lease(tmp_path: Path) -> None:
    """The kernel says so with SIGIO, which ends a process that does not expect it."""
    plot = tmp_path / "plot-k32-leased.plot"
    plot.write_bytes(b"bytes")

    def body(endpoint: Endpoint) -> None:
        descriptor = os.open(plot, os.O_RDONLY)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        endpoint.send("leased")
        endpoint.receive()
        endpoint.send(fcntl.fcntl(descriptor, fcntl.F_GETLEASE))

    worker = Worker(body)
    assert worker.endpoint.receive()[0] == "leased"
    with pytest.raises(BlockingIOError):  # which asks for the lease to be given up
        os.open(plot, os.O_WRONLY | os.O_NONBLOCK)
    worker.endpoint.send("look")
    assert worker.endpoint.receive()[0] == fcntl.F_UNLCK
    worker.end()


PARENT = """
import signal
from plotfarm.transfer.worker import Worker
worker = Worker(lambda endpoint: signal.pause())
print(worker.pid, flush=True)
signal.pause()
"""


def test_it_dies_with_its_parent() -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT], cwd=CHECKOUT, stdout=subprocess.PIPE)
    assert parent.stdout is not None
    child = psutil.Process(int(parent.stdout.readline()))
    parent.send_signal(signal.SIGKILL)
    parent.communicate()
    psutil.wait_procs([child], timeout=10)
    assert not child.is_running()
