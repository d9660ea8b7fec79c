"""A plotter and a NAS in one directory, with everything between them real: ssh, netcat, the scripts, plots.

The two sides share nothing but the network: each has its own configuration, logs, state and locks. The
drives are plain directories that are declared to be drives, since a test cannot mount.
"""

from __future__ import annotations

import hashlib
import shlex
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import IO

from plotfarm.base.state import State, Transfer, TransferOutcome
from plotfarm.drives.model import MARKER
from testbed import smart_samples
from testbed.fake_smartctl import FakeSmartctl
from testbed.plots import CHECKOUT, v1_name
from testbed.ports import take_port_range
from testbed.sshd import PrivateSshd

# "section.key" -> value, as in plot_manager_config; an empty value leaves the key out.
Settings = Mapping[str, object]

SETTINGS: dict[str, object] = {
    "system_logging.log_level": "DEBUG",
    "plotter.settle_seconds": 0,
    "plotter.warn_hours_left": 0,
    "plotter.streams_from_one_disk": 100,  # whatever disk the tests run on
    "transfer.beat_seconds": 0.5,
    "transfer.silence_seconds": 5,
    "transfer.stall_seconds": 10,
    "drives.probe_seconds": 5,
    "drives.minimum_free": "1 MiB",
}


class Side:
    """One host of the farm: its directory, its configuration and what the scripts leave there."""

    def __init__(self, directory: Path, settings: Settings) -> None:
        self.directory = directory
        self.config = directory / "plot_manager_config"
        self.logs, self.state, self.locks = (directory / name for name in ("logs", "state", "locks"))
        directory.mkdir(parents=True)
        paths = {f"paths.{name}": directory / name for name in ("logs", "state", "locks")}
        self.configure({**SETTINGS, **paths, **settings})

    def configure(self, settings: Settings) -> None:
        """Write the whole configuration anew from `settings`."""
        self._settings = dict(settings)
        sections: dict[str, list[str]] = {}
        for place, value in settings.items():
            section, key = place.split(".", 1)
            if value != "":
                sections.setdefault(section, []).append(f"{key} = {value}")
        blocks = ["\n".join([f"[{name}]", *lines]) for name, lines in sections.items()]
        self.config.write_text("\n\n".join(blocks) + "\n")

    def change(self, settings: Settings) -> None:
        """Change some values; what the scripts wrote back into the file is lost."""
        self.configure({**self._settings, **settings})

    def log_text(self) -> str:
        """Return all that was logged: for the messages of failing tests."""
        log = self.logs / "debug.log"
        return log.read_text(errors="replace") if log.exists() else ""


class Farm:
    """A farm below `root`, as a context manager: the sshd runs inside it.

    `settings` goes into both configurations, `plotter_settings` and `nas_settings` into one. With
    `restricted` the plotter's key may run only receive_plot.sh, as the README tells users to set it up.
    `nas_environment` is added to the environment of receive_plot.sh. The scripts are those of `checkout`.
    """

    def __init__(
        self,
        root: Path,
        drives: int = 3,
        *,
        settings: Settings | None = None,
        plotter_settings: Settings | None = None,
        nas_settings: Settings | None = None,
        restricted: bool = True,
        nas_environment: Mapping[str, str] | None = None,
        address: str = "127.0.0.1",
        checkout: Path = CHECKOUT,
    ) -> None:
        self.root = root
        self._checkout = checkout
        root.mkdir(parents=True, exist_ok=True)
        self.plots = root / "plotter" / "plots"
        self.home = root / "home"  # of the user, as cron sets it
        self.drives = [root / "nas" / f"drive{number}" for number in range(1, drives + 1)]
        self.ports, self._ports_lock = take_port_range(address)
        self._receive = root / "receive_plot.sh"  # a restricted key goes by this name
        self._address = address
        self.sshd = PrivateSshd(root / "sshd", address, str(self._receive) if restricted else None)
        shared = {"transfer.ports": f"{self.ports.start}-{self.ports.stop - 1}", **(settings or {})}
        self.nas = Side(root / "nas", {**shared, **self._nas_settings(), **(nas_settings or {})})
        self.plotter = Side(root / "plotter", {**shared, **self._plotter_settings(), **(plotter_settings or {})})
        self.set_nas_environment(nas_environment or {})
        self._make_directories()

    def _nas_settings(self) -> dict[str, object]:
        return {
            "drives.directories": ", ".join(str(drive) for drive in self.drives),
            "drives.mounts": self.root / "nas" / "mounts" / "*",  # never a real drive of this machine
        }

    def _plotter_settings(self) -> dict[str, object]:
        return {
            "plotter.plot_directories": self.plots,
            "nas.hosts": self._address,
            "nas.receive_command": self._receive,
        }

    def _make_directories(self) -> None:
        for directory in (self.plots, self.home, *self.drives):
            directory.mkdir()
        for drive in self.drives:
            (drive / MARKER).touch()

    def give_smart(self) -> FakeSmartctl:
        """Let a disk with SMART data stand behind each drive, as far as the NAS can tell; returns who tells it."""
        smartctl = FakeSmartctl(self.root / "smart")
        for number, drive in enumerate(self.drives, 1):
            disk = f"/dev/fake{number}"
            (drive / MARKER).write_text(f"{disk}\n")
            smartctl.says(disk, smart_samples.sata(serial=f"ZHZ{number:05}", celsius=f"{30 + number} (Min/Max 21/47)"))
        self.nas.change({"smart.smartctl": smartctl.program})
        return smartctl

    def set_nas_environment(self, environment: Mapping[str, str]) -> None:
        """Set what is added to the environment of receive_plot.sh from the next session on."""
        wanted = {"PLOT_MANAGER_CONFIG": str(self.nas.config), **environment}
        exports = [f"export {name}={shlex.quote(value)}" for name, value in wanted.items()]
        command = f'exec {shlex.quote(str(self._checkout / "receive_plot.sh"))} "$@"'
        self._receive.write_text("\n".join(["#!/bin/sh", *exports, command]) + "\n")
        self._receive.chmod(0o755)

    def __enter__(self) -> Farm:
        self.sshd.start()
        self.plotter.change({"nas.ssh_options": shlex.join(self.sshd.client_options())})
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.sshd.stop()
        self._ports_lock.close()

    # ---- The scripts, as cron starts them ----

    def plot_manager(
        self, *arguments: str, environment: Mapping[str, str] | None = None, timeout: float = 60
    ) -> subprocess.CompletedProcess[str]:
        """Run plot_manager.py to its end."""
        return self._run("plot_manager.py", self.plotter, arguments, environment, timeout)

    def drive_manager(
        self, *arguments: str, environment: Mapping[str, str] | None = None, timeout: float = 60
    ) -> subprocess.CompletedProcess[str]:
        """Run drive_manager.py to its end."""
        return self._run("drive_manager.py", self.nas, arguments, environment, timeout)

    def move_local_plots(
        self, *arguments: str, environment: Mapping[str, str] | None = None, timeout: float = 60
    ) -> subprocess.CompletedProcess[str]:
        """Run move_local_plots.py to its end, on the NAS."""
        return self._run("move_local_plots.py", self.nas, arguments, environment, timeout)

    def coin_monitor(
        self, *arguments: str, environment: Mapping[str, str] | None = None, timeout: float = 60
    ) -> subprocess.CompletedProcess[str]:
        """Run coin_monitor.py to its end, on the NAS, which farms too."""
        return self._run("coin_monitor.py", self.nas, arguments, environment, timeout)

    def start_plot_manager(
        self, *arguments: str, environment: Mapping[str, str] | None = None, output: int | IO[str] = subprocess.PIPE
    ) -> subprocess.Popen[str]:
        """Start plot_manager.py in a session of its own; the caller waits for it, or kills it.

        What it says on stdout and stderr goes to `output`.
        """
        return self._start("plot_manager.py", self.plotter, arguments, environment, output)

    def start_move_local_plots(
        self, *arguments: str, environment: Mapping[str, str] | None = None, output: int | IO[str] = subprocess.PIPE
    ) -> subprocess.Popen[str]:
        """Start move_local_plots.py likewise, on the NAS."""
        return self._start("move_local_plots.py", self.nas, arguments, environment, output)

    def start_script(self, script: str, side: Side) -> subprocess.Popen[str]:
        """Start a script on any host, in a session of its own; what it says is in its log only."""
        return self._start(script, side, (), None, subprocess.DEVNULL)

    def _start(
        self,
        script: str,
        side: Side,
        arguments: tuple[str, ...],
        environment: Mapping[str, str] | None,
        output: int | IO[str],
    ) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self._command(script, side, arguments),
            env=self.cron_environment(environment),
            cwd=self.home,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            preexec_fn=_heed_ctrl_c,
        )

    def _run(
        self,
        script: str,
        side: Side,
        arguments: tuple[str, ...],
        environment: Mapping[str, str] | None,
        timeout: float,
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self._command(script, side, arguments),
            env=self.cron_environment(environment),
            cwd=self.home,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def _command(self, script: str, side: Side, arguments: tuple[str, ...]) -> list[str]:
        return [str(self._checkout / script), "--config", str(side.config), *arguments]

    def cron_environment(self, more: Mapping[str, str] | None = None) -> dict[str, str]:
        """Return the bare environment that cron gives, and `more`."""
        bare = {"PATH": "/usr/bin:/bin", "HOME": str(self.home), "SHELL": "/bin/sh", "LOGNAME": "farmer"}
        return {**bare, **(more or {})}

    def remember_small_plots(self) -> None:
        """Let the NAS remember a k18 plot of yesterday, so that it plans with that size and not with a k32.

        Without it drive_manager.py finds no drive on a machine with less than 100 GiB of free space.
        """
        state = State(self.nas.state)
        state.record_transfer(
            Transfer(
                time.time() - 86400, v1_name("yesterday"), "v1", str(self.plots), str(self.drives[0]), "plotter",
                bytes=5_000_000, seconds=1.0, digest="", segments="", outcome=TransferOutcome.STORED,
            )
        )  # fmt: skip
        state.close()

    # ---- What lies where ----

    def stored(self) -> dict[Path, str]:
        """Return the files under final names on all drives, with their SHA-256."""
        return {path: sha256(path) for drive in self.drives for path in _files(drive) if path.suffix != ".part"}

    def parts(self) -> list[Path]:
        """Return the unfinished arrivals on all drives."""
        return [path for drive in self.drives for path in _files(drive) if path.suffix == ".part"]

    def waiting(self) -> dict[Path, str]:
        """Return the files in the plotter's plot directory, with their SHA-256."""
        return {path: sha256(path) for path in _files(self.plots)}


def _heed_ctrl_c() -> None:
    """Undo what a shell does to commands that it starts in the background."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file, in hex: not the digest of the suite, so that it judges from outside."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _files(directory: Path) -> list[Path]:
    return sorted(path for path in directory.iterdir() if path.is_file() and path.name != MARKER)
