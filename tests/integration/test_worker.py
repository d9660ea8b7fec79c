"""The forked child that works on a drive."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from plotfarm.base.errors import TransferFailed
from plotfarm.base.locks import Lock, LockBusy
from plotfarm.transfer.worker import Endpoint, Worker
from testbed.plots import CHECKOUT


def test_messages_and_a_descriptor_travel(tmp_path: Path) -> None:
    def body(endpoint: Endpoint) -> None:
        message, descriptor = endpoint.receive()
        assert descriptor is not None
        endpoint.send("published", read=os.read(descriptor, 100).decode(), got=message["number"])

    (tmp_path / "file").write_text("content")
    worker = Worker(body)
    with open(tmp_path / "file") as file:
        worker.endpoint.send("take", file.fileno(), number=7)
    assert worker.hear() == {"type": "published", "read": "content", "got": 7}
    worker.end()


def _planned(endpoint: Endpoint) -> None:
    raise TransferFailed("the drive said no")


def _system(endpoint: Endpoint) -> None:
    os.stat("/no/such/place")


def _bug(endpoint: Endpoint) -> None:
    raise KeyError("a bug")


@pytest.mark.parametrize(
    ("body", "said"),
    [(_planned, "the drive said no"), (_system, "No such file"), (_bug, "unexpected KeyError: 'a bug'")],
)
def test_a_failure_is_told(body: object, said: str) -> None:
    worker = Worker(body)  # type: ignore[arg-type]
    with pytest.raises(TransferFailed, match=said):
        worker.hear()
    worker.end()


def test_a_child_that_is_killed_is_noticed() -> None:
    worker = Worker(lambda endpoint: endpoint.receive() and None)
    os.kill(worker.pid, signal.SIGKILL)
    with pytest.raises(TransferFailed, match="was ended from outside"):
        worker.hear()
    worker.end()


def test_a_child_that_hangs_is_killed() -> None:
    def body(endpoint: Endpoint) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        endpoint.send("hanging")
        signal.pause()

    worker = Worker(body)
    assert worker.hear()["type"] == "hanging"
    started = time.monotonic()
    assert not worker.end()
    assert time.monotonic() - started < 10
    assert not psutil.pid_exists(worker.pid)


def test_a_child_that_listens_tidies_up_by_itself(tmp_path: Path) -> None:
    unfinished = tmp_path / "unfinished"

    def body(endpoint: Endpoint) -> None:
        unfinished.touch()
        endpoint.send("prepared")
        try:
            endpoint.receive()
        finally:
            unfinished.unlink()

    worker = Worker(body)
    assert worker.hear()["type"] == "prepared"
    assert unfinished.exists()
    assert worker.end()
    assert not unfinished.exists()


def test_it_keeps_only_what_it_is_given(tmp_path: Path) -> None:
    """Neither an open file nor the conversation's descriptors: only the lock, which it holds on its own."""
    lock = Lock(tmp_path / "drive.lock")
    lock.acquire()
    other = os.open(tmp_path / "other", os.O_CREAT | os.O_RDWR)

    def body(endpoint: Endpoint) -> None:
        names = [
            os.readlink(f"/proc/self/fd/{number}") for number in range(40) if os.path.exists(f"/proc/self/fd/{number}")
        ]
        endpoint.send("open", names=names)
        endpoint.receive()

    worker = Worker(body, keep=[lock.fileno()])
    names = [name for name in worker.hear()["names"] if name != "/dev/null"]
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
