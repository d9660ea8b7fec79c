"""A farm with plots in it, and what a fault test does: stop it somewhere, break something, look, let it finish."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import psutil

from plotfarm.base.checkpoints import STOP_AT
from plotfarm.base.state import State, Transfer
from plotfarm.drives.quarantine import Quarantine
from testbed.farm import Farm, Side
from testbed.plots import PlotShop, v1_name
from tests.faults import auditor

# Short limits: a fault is noticed in seconds. The beat leaves room for a busy machine.
LIMITS = {"transfer.beat_seconds": 0.2, "transfer.silence_seconds": 2, "transfer.stall_seconds": 2.5}
PATIENT = {"transfer.silence_seconds": 12, "transfer.stall_seconds": 15}  # nothing is broken any more
REST_SECONDS = 25.0  # by then everything must have ended by itself, on a busy machine too
Found = TypeVar("Found")


class Scene:
    """A farm, the plots that were put into it, and the run that is on."""

    def __init__(self, farm: Farm, drives: Sequence[Path] | None = None) -> None:
        self.farm = farm
        self.drives = list(farm.drives if drives is None else drives)
        self.manifest: dict[str, tuple[str, int]] = {}
        self.run: subprocess.Popen[str] | None = None
        self.environment: dict[str, str] = {}  # of every run
        self.nas_environment: dict[str, str] = {}  # of every session

    def add(self, *plots: Path) -> None:
        """Note plots in the manifest, before anything can happen to them."""
        self.manifest |= auditor.manifest(plots)

    @property
    def sender(self) -> Side:
        """The side that the plots come from."""
        return self.farm.plotter

    @property
    def scope(self) -> auditor.Scope:
        """Where the auditor looks."""
        farm = self.farm
        daemon = farm.sshd.daemon
        return auditor.Scope(
            sources=[farm.plots],
            drives=self.drives,
            locks=[farm.nas.locks, farm.plotter.locks],
            marker=str(farm.root),
            ports=farm.ports,
            spared=[] if daemon is None else [daemon],
        )

    # ---- Getting somewhere ----

    def set_segments(self, size: int) -> None:
        """Have segments of so many bytes at both ends, so that small plots have several."""
        segments = {"PLOT_MANAGER_SEGMENT_BYTES": str(size)}
        self.environment |= segments
        self.nas_environment |= segments
        self.farm.set_nas_environment(self.nas_environment)

    def start(self, environment: Mapping[str, str] | None = None) -> None:
        """Start plot_manager.py, and do not wait."""
        together = {**self.environment, **(environment or {})}
        self.run = self.farm.start_plot_manager(environment=together, output=subprocess.DEVNULL)

    def start_and_stop_at(self, side: str, state: str) -> psutil.Process:
        """Start plot_manager.py; return the process that stopped itself at `state` (side: `plotter` or `nas`).

        A state such as `before:Send#2` is reached when it comes for the second time.
        """
        stop = {STOP_AT: state}
        self.farm.set_nas_environment({**self.nas_environment, **(stop if side == "nas" else {})})
        self.start(stop if side == "plotter" else None)
        stopped = wait_for(self.stopped, f"nothing stopped at {state}", self)
        self.farm.set_nas_environment(self.nas_environment)  # read again only by the next session
        return stopped[0]

    def wait_until_midway(self, size: int) -> None:
        """Wait until so many bytes of a plot that is on its way are on a drive."""

        def look() -> bool:
            with contextlib.suppress(FileNotFoundError):
                return any(part.stat().st_size >= size for part in self.parts())
            return False

        wait_for(look, f"there are no {size} bytes of any plot on a drive", self)

    def parts(self) -> list[Path]:
        """Return the parts on all drives."""
        return [path for drive in self.drives for path in sorted(drive.glob("*.part"))]

    def stopped(self) -> list[psutil.Process]:
        """Return the farm's processes that are stopped."""
        return [process for process in self.processes() if _status(process) == psutil.STATUS_STOPPED]

    def processes(self) -> list[psutil.Process]:
        """Return the farm's processes, but the sshd that stays."""
        found = []
        for pid in auditor.processes(self.scope):
            with contextlib.suppress(psutil.NoSuchProcess):
                found.append(psutil.Process(pid))
        return found

    def roles(self) -> dict[str, list[psutil.Process]]:
        """Return the farm's processes by what they are."""
        roles: dict[str, list[psutil.Process]] = {}
        for process in self.processes():
            with contextlib.suppress(psutil.NoSuchProcess):
                roles.setdefault(_role(process), []).append(process)
        return roles

    def victim(self, role: str) -> psutil.Process:
        """Return the process of a role, as soon as there is one."""
        return wait_for(lambda: self.roles().get(role, []), f"there is no {role}", self)[0]

    # ---- Coming to rest ----

    def rest(self) -> None:
        """Wait until all has ended by itself; what was stopped goes on, so that it can."""
        deadline = time.monotonic() + REST_SECONDS
        while busy := self.busy():
            for process in self.stopped():
                resume(process)
            assert time.monotonic() < deadline, "\n".join([f"not at rest: {busy}", self.logs()])
            time.sleep(0.05)

    def busy(self) -> list[str]:
        """Return what keeps the farm from being at rest."""
        if self.run is not None:
            self.run.poll()  # reaps it
        return auditor.still_busy(self.scope)

    def audit(self, *, finished: bool = False) -> None:
        """Fail with every violation and the logs, if there is one."""
        violations = auditor.audit(self.manifest, self.scope, finished=finished)
        assert violations == [], "\n".join([*violations, self.logs()])

    def finish(self, tries: int = 1) -> None:
        """Let the next run finish the work and audit the outcome.

        The short limits have done their work. A busy machine is slower than they allow, and that is no fault.
        """
        for side in (self.farm.plotter, self.farm.nas):
            side.change(PATIENT)

        for _ in range(tries):
            done = self.run_again()
            if done.returncode == 0:
                break
        assert done.returncode == 0, "\n".join([done.stdout, done.stderr, self.logs()])
        self.rest()
        self.audit(finished=True)

    def run_again(self) -> subprocess.CompletedProcess[str]:
        """Run the script of this scene to its end."""
        return self.farm.plot_manager(environment=self.environment)

    def lift_quarantine(self) -> None:
        """Let the owner put the drives online that are in quarantine."""
        state = State(self.farm.nas.state)
        try:
            Quarantine(state.database)
            rows = state.database.rows("SELECT drive_name FROM quarantined_drives", ())
        finally:
            state.close()
        for (name,) in rows:
            self.farm.drive_manager("-on", os.fsdecode(name))

    def remove_stale_parts(self) -> None:
        """Let the NAS remove what interrupted arrivals have left, as its cron line does when that is old enough."""
        self.farm.nas.change({"receiving.part_age_hours": 0})
        self.farm.drive_manager()

    def rest_and_finish(self) -> None:
        """After a fault: all ends by itself, nothing is wrong, and the next run finishes the work."""
        self.rest()
        self.audit()
        self.finish()

    def status(self) -> int:
        """Wait for the run that is on and return its exit status."""
        assert self.run is not None
        return self.run.wait(REST_SECONDS)

    def transfers(self, side: Side | None = None) -> list[Transfer]:
        """Return what a side, by itself the sending one, has recorded, the newest first."""
        state = State((side or self.sender).state)
        try:
            return state.transfers()
        finally:
            state.close()

    def result(self, side: Side | None = None) -> str:
        """Return how the last transfer ended, as a side, by itself the sending one, has it: see transfer.outcomes."""
        return next((transfer.ending for transfer in self.transfers(side)), "")

    def logs(self) -> str:
        """Return what both sides logged: for the messages of failing tests."""
        return f"--- plotter\n{self.farm.plotter.log_text()}\n--- NAS\n{self.farm.nas.log_text()}"

    def end(self) -> None:
        """Kill what a failed test has left, so that the next one finds no trace of it."""
        for process in self.processes():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        if self.run is not None:
            self.run.wait()


@contextlib.contextmanager
def scene(farm: Farm, drives: Sequence[Path] | None = None) -> Iterator[Scene]:
    """Give a farm that is already open as a scene, and leave nothing of it running."""
    scene = Scene(farm, drives)
    try:
        yield scene
    finally:
        scene.end()


@contextlib.contextmanager
def one_plot(root: Path, shop: PlotShop, **more: object) -> Iterator[Scene]:
    """Make a farm with short limits and one real plot of 4 MB; `more`: settings for both sides."""
    settings = {**LIMITS, **{name.replace("__", "."): value for name, value in more.items()}}
    with Farm(root / "farm", settings=settings) as farm, scene(farm) as made:
        made.add(shop.v1(farm.plots))
        yield made


def unknown_plot(directory: Path, seed: str, size: int) -> Path:
    """Make a plot with a header that nobody knows, of any size: what it holds is not zero, and never repeats."""
    path = directory / v1_name(seed, 32)
    path.write_bytes(random.Random(seed).randbytes(size))
    return path


def wait_for(look: Callable[[], Found], complaint: str, scene: Scene, seconds: float = REST_SECONDS) -> Found:
    """Look until there is something to see and return it; fail with the logs if that takes too long."""
    deadline = time.monotonic() + seconds
    while True:
        began = time.monotonic()
        if seen := look():
            return seen
        assert began < deadline, f"{complaint}\n{scene.logs()}"
        time.sleep(max(0.005, 2 * (time.monotonic() - began)))  # looking through /proc must not take the CPU


def resume(process: psutil.Process) -> None:
    """Let a stopped process go on; nothing happens if it is gone."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(process.pid, signal.SIGCONT)


def _status(process: psutil.Process) -> str:
    try:
        return str(process.status())
    except psutil.NoSuchProcess:
        return "gone"


def _role(process: psutil.Process) -> str:
    """Say what a process is, from its command line and its parent's."""
    words = process.cmdline()
    parent = process.parent()
    above = parent.cmdline() if parent is not None else []
    name = os.path.basename(words[0]) if words else process.name()
    if "plotfarm.jobs.receive_plot" in words:
        return "disk worker" if "plotfarm.jobs.receive_plot" in above else "receiver"
    if any(word.endswith("plot_manager.py") for word in words):
        return "stream" if any(word.endswith("plot_manager.py") for word in above) else "plot_manager"
    if any(word.endswith("move_local_plots.py") for word in words):
        return "mover" if any(word.endswith("move_local_plots.py") for word in above) else "move_local_plots"
    if name.startswith("nc"):
        return "listening nc" if "-l" in words else "sending nc"
    if name == "ssh":
        return "ssh master" if "-N" in words else "ssh"
    if name.startswith("sshd"):
        return "sshd session"
    return "script" if name in ("sh", "bash") else f"other: {name}"
