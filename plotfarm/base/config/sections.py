"""What may stand in the configuration: one frozen dataclass for each INI section, units in the names.

The field metadata is the schema: the loader reads it, the commented file that ships is checked against it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class SystemSettings:
    """`[system_settings]`."""

    debug: bool = False


@dataclass(frozen=True)
class SystemLogging:
    """`[system_logging]`."""

    logging: bool = True
    log_level: str = field(default="INFO", metadata={"choices": ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")})


@dataclass(frozen=True)
class Notifications:
    """`[notifications]`: which messages are wanted and by which way."""

    alerting: bool = False
    pb: bool = False
    email: bool = False
    sms: bool = False
    new_plot_drive: bool = False
    daily_update: bool = False
    per_plot: bool = False


@dataclass(frozen=True)
class PlottingDrives:
    """`[plotting_drives]`: written by drive_manager.py."""

    current_plotting_drive: str = ""


@dataclass(frozen=True)
class PlottingInformation:
    """`[plotting_information]`: written by drive_manager.py."""

    current_total_plots_midnight: int = 0
    current_total_plots_daily: int = 0


@dataclass(frozen=True)
class RemoteTransfer:
    """`[remote_transfer]`: accepted from older configurations; locks tell whether a transfer runs."""

    remote_transfer_active: bool = False


@dataclass(frozen=True)
class Paths:
    """`[paths]`: relative paths start at the checkout."""

    logs: Path = Path("logs")
    state: Path = Path("state")
    locks: Path = Path("locks")


@dataclass(frozen=True)
class Plotter:
    """`[plotter]`: the host that makes plots."""

    plot_directories: tuple[Path, ...] = ()
    settle_seconds: int = field(default=120, metadata={"minimum": 0})
    keep_source: bool = False
    warn_hours_left: int = field(default=12, metadata={"minimum": 0})


@dataclass(frozen=True)
class Nas:
    """`[nas]`: the storage servers, as the plotter reaches them."""

    hosts: tuple[str, ...] = ()  # host or user@host, in the order in which they are tried
    ssh_options: tuple[str, ...] = field(default=(), metadata={"words": True})  # split as a shell would: -p 2222
    receive_command: str = "/root/plot_manager/receive_plot.sh"
    connect_timeout_seconds: int = field(default=10, metadata={"minimum": 1})


@dataclass(frozen=True)
class TransferSettings:
    """`[transfer]`: how a plot travels; both ends read it."""

    netcat: str = "auto"  # auto, or a program's name or path
    ports: range = range(4040, 4140)  # 4040-4139 in the file
    data_address: str = ""  # "": the address that the ssh came in on
    verify: str = field(default="wire", metadata={"choices": ("wire", "readback")})
    beat_seconds: float = field(default=10.0, metadata={"minimum": 0.05})
    silence_seconds: float = field(default=45.0, metadata={"minimum": 0.2})
    stall_seconds: float = field(default=120.0, metadata={"minimum": 0.2})


@dataclass(frozen=True)
class Receiving:
    """`[receiving]`: what a NAS grants to a plotter."""

    daily_quota_bytes: int = 0  # 0: no limit; `daily_quota` in the file
    part_age_hours: float = field(default=24.0, metadata={"minimum": 0})


@dataclass(frozen=True)
class Drives:
    """`[drives]`: which mounted file systems are plot drives, and which is filled next."""

    devices: tuple[str, ...] = ("/dev/sd*",)
    mounts: tuple[str, ...] = ("/mnt/enclosure*/**/drive*",)
    directories: tuple[Path, ...] = ()  # plain directories declared to be drives; each needs the marker file
    policy: str = field(default="fill", metadata={"choices": ("fill", "spread")})
    minimum_free_bytes: int = 2 * 2**30  # `minimum_free` in the file
    probe_seconds: float = field(default=10.0, metadata={"minimum": 0.1})


@dataclass(frozen=True)
class Testing:
    """`[testing]`: try the plotter's side with its own directory, size and lock."""

    testing: bool = False
    plot_directory: Path = Path("test_plots")
    minimum_size_bytes: int = 10_000_000  # `minimum_size` in the file


@dataclass(frozen=True)
class Config:
    """The whole configuration as it was read from `path`."""

    path: Path
    system_settings: SystemSettings = SystemSettings()
    system_logging: SystemLogging = SystemLogging()
    notifications: Notifications = Notifications()
    plotting_drives: PlottingDrives = PlottingDrives()
    plotting_information: PlottingInformation = PlottingInformation()
    remote_transfer: RemoteTransfer = RemoteTransfer()
    paths: Paths = Paths()
    plotter: Plotter = Plotter()
    nas: Nas = Nas()
    transfer: TransferSettings = TransferSettings()
    receiving: Receiving = Receiving()
    drives: Drives = Drives()
    testing: Testing = Testing()
