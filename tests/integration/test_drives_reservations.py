"""Drive reservations between real processes: held, given back by any death, and kept by a writer that hangs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from plotfarm.base.locks import Lock, LockBusy
from plotfarm.drives.model import Arrival, Drive
from plotfarm.drives.reservations import Reservations

CHECKOUT = Path(__file__).parents[2]
DRIVE = Drive("/mnt/hdd 1", "/dev/sdb1", "uuid:1234-ab", 2065, "xfs")
OTHER = Drive("/mnt/hdd2", "/dev/sdc1", "mount:/mnt/hdd2", 2081, "xfs")

RECEIVER = """
import os, sys
from pathlib import Path
from plotfarm.drives.model import Drive
from plotfarm.drives.reservations import Reservations
reservations = Reservations(Path(sys.argv[1]))
with reservations.mutex():
    if sys.argv[2] == "mutex":
        print("inside", flush=True)
        sys.stdin.read()
    lock = reservations.take(Drive("/mnt/hdd 1", "/dev/sdb1", "uuid:1234-ab", 2065, "xfs"),
                             plot="a.plot", bytes=1000, plotter="rig1")
lock.update(written_bytes=400)
if sys.argv[2] == "writer" and os.fork() == 0:
    print("taken", os.getpid(), flush=True)
    sys.stdin.read()
    os._exit(0)
if sys.argv[2] == "alone":
    print("taken", os.getpid(), flush=True)
sys.stdin.read()
"""


@pytest.fixture
def start(tmp_path):
    started: list[subprocess.Popen[str]] = []

    def run(how: str) -> tuple[subprocess.Popen[str], str]:
        process = subprocess.Popen(
            [sys.executable, "-c", RECEIVER, tmp_path, how],
            cwd=CHECKOUT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        started.append(process)
        return process, process.stdout.readline()

    yield run
    for process in started:
        process.kill()
        with process:  # closes its pipes and reaps it
            pass


def test_an_arrival_is_seen_and_ends_with_its_receiver(start, tmp_path):
    reservations = Reservations(tmp_path)
    receiver, said = start("alone")
    assert said.startswith("taken")
    with reservations.mutex():
        (arrival,) = reservations.arrivals()
        assert arrival == Arrival("a.plot", 1000, 400, DRIVE.identity, "rig1", arrival.since, True)
        with pytest.raises(LockBusy) as busy:
            reservations.take(DRIVE, plot="b.plot")
        assert busy.value.holder["plot"] == "a.plot"
        with reservations.take(OTHER, plot="b.plot", bytes=5, plotter="rig2"):
            assert [one.plot for one in reservations.arrivals()] == ["b.plot", "a.plot"]
    receiver.kill()
    receiver.wait()
    with reservations.mutex():
        assert reservations.arrivals() == []
        reservations.take(DRIVE, plot="b.plot").release()
    assert reservations.path_for(DRIVE).exists(), "lock files are never deleted"


def test_a_writer_that_was_left_behind_keeps_the_drive(start, tmp_path):
    reservations = Reservations(tmp_path)
    receiver, said = start("writer")
    writer = psutil.Process(int(said.split()[1]))
    os.kill(receiver.pid, signal.SIGKILL)
    receiver.wait()
    with reservations.mutex():
        (arrival,) = reservations.arrivals()
        assert not arrival.alive
        with pytest.raises(LockBusy):
            reservations.take(DRIVE, plot="b.plot")
    receiver.stdin.close()  # the writer reads from it too: now it ends
    writer.wait(20)
    with reservations.mutex():
        assert reservations.arrivals() == []


def test_only_one_process_is_in_the_mutex(start, tmp_path):
    reservations = Reservations(tmp_path)
    inside, said = start("mutex")
    assert said == "inside\n"
    with pytest.raises(LockBusy):
        Lock(tmp_path / "arrivals.lock").acquire()
    inside.stdin.close()
    with reservations.mutex():  # waits until the other one is out
        assert reservations.lock_directory == tmp_path
    assert inside.wait(20) == 0


def test_a_lock_with_damaged_content_still_keeps_its_drive(tmp_path):
    reservations = Reservations(tmp_path)
    lock = reservations.take(DRIVE, plot="a.plot", bytes=1000)
    reservations.path_for(DRIVE).write_text('{"plot": "a.pl')
    (arrival,) = reservations.arrivals()
    assert arrival.identity == DRIVE.identity
    assert not arrival.alive
    lock.release()
