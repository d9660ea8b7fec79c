"""A farm whose wire and system calls a test has in its hand, with segments so small that a plot of 10 MB has ten."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import psutil

from testbed.broken_drives import ImageDrive, Kind
from testbed.farm import Farm
from testbed.fault_library import FaultLibrary, Rule
from tests.faults.local_scene import LocalScene, local_scene
from tests.faults.scene import LIMITS, Scene, unknown_plot, wait_for
from tests.faults.wire import Wire, wire

MIB = 2**20
SEGMENT_BYTES = MIB
SIZE = 10 * MIB + 12345
LATE = 7 * MIB + MIB // 2  # behind enough whole segments to make going on worth it
# Loop drives, as they are mounted and found on a NAS.
_DRIVES = "enclosure0/front"
_FOUND = "enclosure*/**/drive*"


class WiredScene(Scene):
    """A scene whose plotter sends through `wire`; `nas_library` is preloaded at the NAS, if there is one."""

    def __init__(
        self, farm: Farm, wire: Wire, rules: Sequence[Rule], nas_rules: Sequence[Rule], drives: Sequence[Path]
    ) -> None:
        super().__init__(farm, drives)
        self.wire = wire
        self.library = FaultLibrary(farm.root / "plotter" / "library", *rules, redirect=(farm.ports, wire.port))
        self.nas_library = FaultLibrary(farm.root / "nas" / "library", *nas_rules) if nas_rules else None
        self.set_segments(SEGMENT_BYTES)

    def set_segments(self, size: int) -> None:
        """Have segments of so many bytes at both ends."""
        segments = {"PLOT_MANAGER_SEGMENT_BYTES": str(size)}
        self.environment = {**self.library.environment, **segments}
        self.nas_environment = {**(self.nas_library.environment if self.nas_library else {}), **segments}
        self.farm.set_nas_environment(self.nas_environment)

    def start(self, environment: Mapping[str, str] | None = None) -> None:
        """Start plot_manager.py, and do not wait."""
        super().start({**self.environment, **(environment or {})})

    def run_again(self) -> subprocess.CompletedProcess[str]:
        """Run plot_manager.py to its end."""
        return self.farm.plot_manager(environment=self.environment)

    def run_to_failure(self) -> None:
        """Run plot_manager.py: it fails, all comes to rest, and nothing is lost."""
        done = self.run_again()
        assert done.returncode == 1, "\n".join([done.stdout, done.stderr, self.logs()])
        self.rest()
        self.audit()

    def start_and_hold(self) -> None:
        """Start plot_manager.py, and return when the wire holds its bytes back."""
        self.start()
        wait_for(self.wire.held.is_set, "nothing is held back", self)

    def go_on(self) -> int:
        """Let the bytes go on, wait for the run to end, and return its status."""
        self.wire.release()
        status = self.status()
        self.rest()
        return status

    def part_with(self, beginning: bytes) -> Path:
        """Wait for a part whose first bytes these are, and return it."""

        def look() -> list[Path]:
            with contextlib.suppress(OSError):
                return [path for path in self.parts() if _begins_with(path, beginning)]
            return []

        return wait_for(look, "no such bytes have arrived", self)[0]

    def kill_everything(self) -> None:
        """Kill every process of the farm at both ends at once, as a power cut would; its sshd stays."""
        victims = self.processes()
        for process in victims:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.suspend()
        for process in victims:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self.status()
        self.rest()

    def stored_plot(self, name: str) -> Path:
        """Return where a plot is stored."""
        (found,) = [drive / name for drive in self.drives if (drive / name).exists()]
        return found


def _begins_with(path: Path, beginning: bytes) -> bool:
    with open(path, "rb") as file:
        return file.read(len(beginning)) == beginning


@contextlib.contextmanager
def wired(
    root: Path,
    *,
    rules: Sequence[Rule] = (),
    nas_rules: Sequence[Rule] = (),
    drives: Sequence[Path] = (),
    **more: object,
) -> Iterator[WiredScene]:
    """Give a farm with no plot yet; `drives`: mounted ones, else directories are declared to be drives."""
    settings: dict[str, object] = {**LIMITS, "transfer.verify": "wire"}  # whatever is caught is caught without reading
    settings |= {name.replace("__", "."): value for name, value in more.items()}
    mounted = {"drives.devices": "/dev/loop*", "drives.mounts": root / _FOUND} if drives else {}
    with (
        wire() as line,
        Farm(root / "farm", drives=0 if drives else 3, settings=settings, nas_settings=mounted) as farm,
    ):
        made = WiredScene(farm, line, rules, nas_rules, drives or farm.drives)
        try:
            yield made
        finally:
            made.end()


@contextlib.contextmanager
def one_wired_plot(root: Path, **more: object) -> Iterator[WiredScene]:
    """Give a farm with one plot of ten segments; `more` as for `wired`."""
    with wired(root, **more) as made:  # type: ignore[arg-type]
        made.add(unknown_plot(made.farm.plots, "plot", SIZE))
        yield made


@contextlib.contextmanager
def mounted_wired_plot(
    root: Path, kind: Kind, first: ImageDrive | None = None, **more: object
) -> Iterator[tuple[WiredScene, list[ImageDrive]]]:
    """Give a farm with one plot of ten segments and two mounted drives of a kind; `first`: the first of them."""
    one = first or ImageDrive(kind, root / "image1", place(root, 1))
    drives = [one, ImageDrive(kind, root / "image2", place(root, 2))]
    with one_wired_plot(root, drives=[drive.place for drive in drives], **more) as made:
        yield made, drives


def place(root: Path, number: int) -> Path:
    """Return where a farm's drive of this number is mounted."""
    return root / _DRIVES / f"drive{number}"


class PreloadedLocalScene(LocalScene):
    """Local moves with a library preloaded."""

    def preload(self, *rules: Rule) -> FaultLibrary:
        """Let the library be preloaded from now on; returns it."""
        library = FaultLibrary(self.farm.root / "library", *rules)
        self.environment = library.environment
        return library

    def start(self, environment: Mapping[str, str] | None = None) -> None:
        """Start move_local_plots.py, and do not wait."""
        super().start({**self.environment, **(environment or {})})

    def run_again(self) -> subprocess.CompletedProcess[str]:
        """Run it to its end."""
        return self.farm.move_local_plots(environment=self.environment)


@contextlib.contextmanager
def preloaded_local_scene(root: Path) -> Iterator[PreloadedLocalScene]:
    """Give a NAS that makes plots itself."""
    with local_scene(root, transfer__verify="wire") as plain:
        made = PreloadedLocalScene(plain.farm, plain.near, plain.far)
        try:
            yield made
        finally:
            made.end()
