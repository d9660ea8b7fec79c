"""What the end-to-end tests share: waiting for a named state, and judging a farm from outside."""

from __future__ import annotations

import contextlib
import fcntl
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TypeVar

import psutil

from plotfarm.base.state import State, Transfer
from testbed.farm import Farm, Side
from testbed.plots import v1_name

LIMIT_SECONDS = 30.0
# Named states of a plotter: the effects before or after which a process can be stopped.
OFFERED = "after:Send"  # the NAS has the offer, and its answer is not read yet
ON_THE_WAY = "before:PourSource"  # the NAS listens, and holds a drive; no byte has been sent
STORED = "before:LeaseSource"  # the plotter knows that the plot is stored, and has removed nothing
# Of the receiver:
POURING = "token:seen"  # the data connection stands
_T = TypeVar("_T")


def wait_for(condition: Callable[[], _T], what: str, limit_seconds: float = LIMIT_SECONDS) -> _T:
    """Poll until the condition is true and return what it gave; the limit is an error, not a pause."""
    deadline = time.monotonic() + limit_seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"waited {limit_seconds:g} seconds in vain for: {what}"
        time.sleep(0.01)
    return value


def big_plot(directory: Path, seed: str, size: int = 64 * 2**20) -> Path:
    """Write a plot with an unknown header, large enough to be caught on its way; mostly a hole."""
    path = directory / v1_name(seed, k=32)
    with open(path, "wb") as file:
        file.write(b"\x07" + random.Random(seed).randbytes(2**20))
        file.truncate(size)
    return path


def processes_of(farm: Farm) -> list[psutil.Process]:
    """Return every process that belongs to the farm, except the sshd that listens."""
    mark = str(farm.root)
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            listens = process.name() == "sshd" and "-D" in process.cmdline()
            if not listens and (
                any(mark in word for word in process.cmdline())
                or any(mark in value for value in process.environ().values())
            ):
                found.append(process)
    return [process for process in found if process.pid != os.getpid()]


def stopped(farm: Farm) -> psutil.Process | None:
    """Return the process of the farm that stopped itself at a named state, if one has."""
    for process in processes_of(farm):
        with contextlib.suppress(psutil.Error):
            if process.status() == psutil.STATUS_STOPPED:
                return process
    return None


@contextlib.contextmanager
def held_at(farm: Farm, state: str, *arguments: str, where: str = "plotter") -> Iterator[Held]:
    """Run plot_manager.py until a process stops itself at `state`; inside, the world can be changed.

    At the end the process goes on and plot_manager.py is waited for, unless that was done before.
    """
    stop = {"PLOT_MANAGER_STOP_AT": state}
    if where == "nas":
        farm.set_nas_environment(stop)
    process = farm.start_plot_manager(*arguments, environment=stop if where == "plotter" else None)
    held = Held(process, wait_for(lambda: stopped(farm), f"a process that stops at {state}"))
    if where == "nas":
        farm.set_nas_environment({})
    try:
        yield held
        held.finish()
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        with contextlib.suppress(psutil.Error):
            if held.process.is_running() and held.process.status() == psutil.STATUS_STOPPED:
                held.process.kill()


class Held:
    """plot_manager.py (`manager`), and the process that stands at the named state."""

    def __init__(self, manager: subprocess.Popen[str], process: psutil.Process) -> None:
        self.manager, self.process, self.output = manager, process, ""

    def go_on(self) -> None:
        """Let the process go on from where it stopped."""
        with contextlib.suppress(psutil.NoSuchProcess):
            self.process.resume()

    def finish(self) -> None:
        """Let it go on, also past the same state of later plots, until plot_manager.py has ended."""
        deadline = time.monotonic() + 60
        while self.manager.poll() is None and time.monotonic() < deadline:
            with contextlib.suppress(psutil.NoSuchProcess):
                if self.process.status() == psutil.STATUS_STOPPED:
                    self.process.resume()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.manager.wait(0.05)
        self.output += self.manager.communicate(timeout=1)[0] if self.manager.stdout else ""


def is_locked(path: Path) -> bool:
    """Tell whether some process holds the flock on a file."""
    with open(path) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def held_locks(farm: Farm) -> list[str]:
    """Return the lock files of both sides that are held now."""
    return [path.name for side in (farm.plotter, farm.nas) for path in side.locks.glob("*.lock") if is_locked(path)]


def audit(farm: Farm, manifest: Mapping[str, str], *, parts: bool = False) -> None:
    """Judge the farm against name -> SHA-256 of the plots that there were: none lost, none wrong, nothing left over.

    `parts`: whether a NAME.part may lie on a drive, because an arrival was killed and no run came since.
    """
    wait_for(lambda: not processes_of(farm), f"the end of {processes_of(farm)}", 15)
    stored = {path.name: digest for path, digest in farm.stored().items()}
    assert len(stored) == len(farm.stored()), "a plot lies on two drives"
    waiting = {path.name: digest for path, digest in farm.waiting().items()}
    assert {name: digest for name, digest in stored.items() if manifest.get(name) != digest} == {}
    lost = [name for name, digest in manifest.items() if digest not in (waiting.get(name), stored.get(name))]
    assert lost == []
    wait_for(lambda: not held_locks(farm), "the release of every lock", 15)
    assert parts or farm.parts() == []


def names_and_digests(farm: Farm) -> dict[str, str]:
    """Return the manifest for `audit`: what lies in the plot directory now."""
    return {path.name: digest for path, digest in farm.waiting().items()}


def results(side: Side) -> list[str]:
    """Return how the transfers of one side ended, the oldest first: values of the suite's outcomes."""
    return [transfer.ending for transfer in transfers(side)]


def transfers(side: Side) -> list[Transfer]:
    """Return the transfers that one side remembers, the oldest first."""
    state = State(side.state)
    try:
        return state.transfers()[::-1]
    finally:
        state.close()


def times_reached(side: Side, state: str) -> int:
    """Return how often the processes of one side have reached a named state."""
    return sum(line.endswith(f" State: {state}") for line in side.log_text().splitlines())


def logs(farm: Farm) -> str:
    """Return what both sides logged, for the message of a failing test."""
    return f"--- plotter\n{farm.plotter.log_text()[-6000:]}\n--- NAS\n{farm.nas.log_text()[-6000:]}"
