"""A NAS that makes plots itself, and what a fault test does to move_local_plots.py."""

from __future__ import annotations

import contextlib
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import psutil
import pytest

from plotfarm.base.checkpoints import STOP_AT
from testbed.farm import Farm, Side
from tests.faults import auditor
from tests.faults.scene import LIMITS, Scene, wait_for


class LocalScene(Scene):
    """A farm whose NAS makes plots in `near`, which lies on the file system of the drives, and in `far`."""

    def __init__(self, farm: Farm, near: Path, far: Path, drives: Sequence[Path] | None = None) -> None:
        super().__init__(farm, drives)
        self.near, self.far = near, far

    @property
    def sender(self) -> Side:
        """The side that the plots come from."""
        return self.farm.nas

    @property
    def scope(self) -> auditor.Scope:
        """Where the auditor looks."""
        return auditor.Scope([self.near, self.far], self.drives, [self.farm.nas.locks], str(self.farm.root))

    def start(self, environment: Mapping[str, str] | None = None) -> None:
        """Start move_local_plots.py, and do not wait."""
        together = {**self.environment, **(environment or {})}
        self.run = self.farm.start_move_local_plots(environment=together, output=subprocess.DEVNULL)

    def stop_at(self, state: str) -> psutil.Process:
        """Start it; return the process that stopped itself at `state` (see Scene.start_and_stop_at)."""
        self.start({STOP_AT: state})
        return wait_for(self.stopped, f"nothing stopped at {state}", self)[0]

    def run_again(self) -> subprocess.CompletedProcess[str]:
        """Run it to its end."""
        return self.farm.move_local_plots(environment=self.environment)

    def logs(self) -> str:
        """Return what it logged: for the messages of failing tests."""
        return self.farm.nas.log_text()


@contextlib.contextmanager
def local_scene(root: Path, drives: int = 3, **more: object) -> Iterator[LocalScene]:
    """Make a NAS with directories as drives and short limits; `more`: settings."""
    settings = {**LIMITS, **{name.replace("__", "."): value for name, value in more.items()}}
    with far_directory() as far:
        farm, near = Farm(root / "farm", drives, nas_settings=settings), root / "near"
        near.mkdir()
        farm.nas.change({"local_plots.plot_directories": f"{near}, {far}"})
        made = LocalScene(farm, near, far)
        try:
            yield made
        finally:
            made.end()


@contextlib.contextmanager
def far_directory() -> Iterator[Path]:
    """Make a directory on another file system than the temporary directories of tests."""
    memory = Path("/dev/shm")
    if not memory.is_dir() or memory.stat().st_dev == Path(tempfile.gettempdir()).stat().st_dev:
        pytest.skip("there is no second file system to write to (/dev/shm) besides that of temporary files")
    with tempfile.TemporaryDirectory(dir=memory) as directory:
        yield Path(directory)
