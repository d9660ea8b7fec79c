"""Several plotters and several NAS: each NAS is that of a Farm, each plotter knows all of them by name."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType

from testbed.farm import Farm, Settings, Side
from testbed.network import SeparateHost, Switch


class Fleet:
    """`nas` storage servers with `drives` each, called nas1, nas2 ..., and `plotters`; a context manager.

    The hosts share nothing but the network: with a `switch` each is a network namespace, without one each has a
    loopback address of its own.
    """

    def __init__(
        self, root: Path, plotters: int, nas: int, drives: int = 4, settings: Mapping[str, object] | None = None,
        switch: Switch | None = None,
    ) -> None:  # fmt: skip
        self.root = root
        self._settings: Settings = settings or {}
        self._nas_hosts = [switch.host() if switch else None for _ in range(nas)]
        self._plotter_hosts = [switch.host() if switch else None for _ in range(plotters)]
        self.farms: list[Farm] = []
        for number, host in enumerate(self._nas_hosts, 1):
            address = host.address if host else f"127.0.0.{10 + number}"
            # Without namespaces ssh has the address of its plotter, and the data connection that of this host.
            clients = {} if host else {"transfer.data_client": "127.0.0.0/8"}
            with _on(host):
                self.farms.append(
                    Farm(root / f"nas{number}", drives=drives, settings=settings, nas_settings=clients, address=address)
                )
        self.plotters: list[Side] = []
        self._names = [f"nas{number}" for number in range(1, nas + 1)]
        self._open = contextlib.ExitStack()

    @property
    def plots(self) -> list[Path]:
        """The plot directory of each plotter."""
        return [plotter.directory / "plots" for plotter in self.plotters]

    @property
    def drives(self) -> list[Path]:
        """The drives of all NAS."""
        return [drive for farm in self.farms for drive in farm.drives]

    def __enter__(self) -> Fleet:
        for farm, host in zip(self.farms, self._nas_hosts, strict=True):
            with _on(host):
                self._open.enter_context(farm)
        for number in range(1, len(self._plotter_hosts) + 1):
            self.plotters.append(self._make_plotter(self.root / f"plotter{number}"))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    def _make_plotter(self, directory: Path) -> Side:
        ssh = directory / "ssh_config"
        settings: dict[str, object] = {
            "plotter.plot_directories": directory / "plots",
            "nas.hosts": ", ".join(self._names),
            "nas.ssh_options": f"-F {ssh}",
            "nas.receive_command": "/nas/receive_plot.sh",  # the restricted key knows where it lies
            **self._settings,
        }
        plotter = Side(directory, settings)
        (directory / "plots").mkdir()
        # A NAS knows its plotters by their addresses.
        number = len(self.plotters)
        host = self._plotter_hosts[number]
        address = host.address if host else f"127.0.1.{number + 1}"
        ssh.write_text("\n".join([*self._ssh_lines(), "Host *", f"  BindAddress {address}"]) + "\n")
        return plotter

    def _ssh_lines(self) -> list[str]:
        """Return what stands in a plotter's ~/.ssh/config."""
        lines = []
        for name, farm in zip(self._names, self.farms, strict=True):
            options = farm.sshd.client_options()[2:]  # without -F
            lines += [f"Host {name}", f"  HostName {farm.sshd.address}", f"  Port {options[1]}"]
            lines += [f"  IdentityFile {options[3]}"]
            lines += ["  " + option.replace("=", " ", 1) for option in options[5::2]]
        return lines

    def start(self, number: int) -> subprocess.Popen[str]:
        """Start plot_manager.py on one of the plotters (from 0), in a session of its own."""
        with _on(self._plotter_hosts[number]):
            return self.farms[0].start_script("plot_manager.py", self.plotters[number])

    def logs(self) -> str:
        """Return what all hosts logged."""
        sides = {f"plotter{number}": plotter for number, plotter in enumerate(self.plotters, 1)}
        sides |= {name: farm.nas for name, farm in zip(self._names, self.farms, strict=True)}
        return "\n".join(f"--- {name}\n{side.log_text()[-20000:]}" for name, side in sides.items())


def _on(host: SeparateHost | None) -> AbstractContextManager[None]:
    return host.inside() if host else contextlib.nullcontext()
