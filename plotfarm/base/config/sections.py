"""What may stand in the configuration: one frozen dataclass for each INI section, units in the names.

The field metadata is the schema: the loader reads it, the commented file that ships is checked against it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from plotfarm.base.secret import Secret, SecretUrl

_NOT_SET = Secret()
_CHANNELS = ("email", "sms", "pb", "services")


@dataclass(frozen=True)
class SystemSettings:
    """`[system_settings]`."""

    debug: bool = False
    server_name: str = ""  # in reports and messages; "": the host's name


@dataclass(frozen=True)
class SystemLogging:
    """`[system_logging]`."""

    logging: bool = True
    log_level: str = field(default="INFO", metadata={"choices": ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")})


@dataclass(frozen=True)
class Notifications:
    """`[notifications]`: which messages are wanted, and by which ways they go."""

    alerting: bool = False
    pb: bool = False
    email: bool = False
    sms: bool = False
    new_plot_drive: bool = False
    daily_update: bool = False
    per_plot: bool = False
    per_coin: bool = True
    per_coin_email: bool = True  # False: of coins all ways tell but e-mail
    services: tuple[SecretUrl, ...] = ()  # Apprise URLs, for anything else; each with its severities before it
    info_channels: tuple[str, ...] = field(default=_CHANNELS, metadata={"choices": _CHANNELS})
    warning_channels: tuple[str, ...] = field(default=_CHANNELS, metadata={"choices": _CHANNELS})
    critical_channels: tuple[str, ...] = field(default=_CHANNELS, metadata={"choices": _CHANNELS})
    quiet_hours: str = ""  # 22:00-07:00, local time: messages of severity info wait until they are over
    give_up_hours: float = field(default=72.0, metadata={"minimum": 0})
    timeout_seconds: float = field(default=20.0, metadata={"minimum": 0.1})  # of each network call
    sentry_dsn: Secret = _NOT_SET  # where bugs are reported


@dataclass(frozen=True)
class Email:
    """`[email]`: how mail is sent."""

    sender: str = ""  # "": USER@HOST
    recipients: tuple[str, ...] = field(default=(), metadata={"quoted": True})
    method: str = field(default="smtp", metadata={"choices": ("smtp", "sendmail")})
    host: str = "localhost"
    port: int = field(default=0, metadata={"minimum": 0})  # 0: 465 for tls, 587 for starttls, 25 for none
    security: str = field(default="starttls", metadata={"choices": ("none", "starttls", "tls")})
    allow_plain: bool = False  # True: the password may go as clear text to a host that is not this one
    certificates: str = ""  # a file or directory of trusted CAs; "": those of the system
    user: str = ""
    password: Secret = _NOT_SET
    sendmail: str = "/usr/sbin/sendmail"


@dataclass(frozen=True)
class Sms:
    """`[sms]`: text messages by Twilio."""

    account_sid: str = ""
    auth_token: Secret = _NOT_SET
    sender: str = ""  # a Twilio number, or the SID of a messaging service (MG...)
    recipients: tuple[str, ...] = ()


@dataclass(frozen=True)
class Pushbullet:
    """`[pushbullet]`: one access token for each account that is told."""

    access_tokens: tuple[Secret, ...] = ()


@dataclass(frozen=True)
class Smart:
    """`[smart]`: how the health of the drives is read."""

    smartctl: tuple[str, ...] = field(
        default=(), metadata={"words": True}
    )  # (): found by itself, with sudo -n if needed
    smart_interval_minutes: float = field(default=30.0, metadata={"minimum": 1})
    timeout_seconds: float = field(default=20.0, metadata={"minimum": 0.1})  # of each call of smartctl
    device_types: tuple[str, ...] = field(default=(), metadata={"lines": True})  # "/dev/sd[a-p] megaraid,7"
    wake_drives: bool = False  # False: a disk in standby is left asleep
    warning_celsius: int = field(default=50, metadata={"minimum": 1})
    critical_celsius: int = field(default=60, metadata={"minimum": 1})
    hysteresis_celsius: int = field(default=3, metadata={"minimum": 0})
    offline_failing: bool = False  # take a drive offline that said FAILED twice


@dataclass(frozen=True)
class Chia:
    """`[chia]`: where Chia's own files are."""

    home: str = "~/.chia/mainnet"  # ~ is for the chia room to follow
    log: str = ""  # a path; "": log/debug.log in `home`
    silent_minutes: float = field(default=15.0, metadata={"minimum": 0})  # longer silence: it does not farm; 0: never
    harvester: str = field(default="auto", metadata={"choices": ("auto", "never")})  # is it asked if the log is silent?
    harvester_port: int = field(default=8560, metadata={"minimum": 1})  # of its RPC, on this host


@dataclass(frozen=True)
class Coins:
    """`[coins]`: coin_monitor.py."""

    price: float = field(default=0.0, metadata={"minimum": 0})  # of one XCH; 0: no fiat values
    currency: str = "USD"
    netspace_eib: float = field(default=0.0, metadata={"minimum": 0})  # 0: no expected time to win
    farm_size_tib: float = field(default=0.0, metadata={"minimum": 0})  # 0: as Chia's log tells it
    wallet: str = field(default="auto", metadata={"choices": ("auto", "always", "never")})  # is it asked?
    wallet_host: str = "localhost"
    wallet_port: int = field(default=9256, metadata={"minimum": 1})
    wallet_certificate: str = ""  # "": config/ssl/wallet/private_wallet.crt in [chia] home
    wallet_key: str = ""  # "": likewise, .key
    wallet_authority: str = ""  # "": ../ca/private_ca.crt, from where the certificate is


@dataclass(frozen=True)
class Watch:
    """`[watch]`: what an alert is sent for."""

    missing_minutes: float = field(default=2.0, metadata={"minimum": 0})  # a drive may be away for so long
    system_disk_free_bytes: int = 5 * 10**9  # `system_disk_free` in the file
    chia_difference: int = field(default=5, metadata={"minimum": 0})  # plots on drives, less those Chia farms
    trouble_minutes: float = field(default=15.0, metadata={"minimum": 0})  # a job may fail for so long
    intervals: tuple[str, ...] = ()  # "plot_manager: 5": minutes between its runs; 0: nobody waits for it
    lock_seconds: float = field(default=20.0, metadata={"minimum": 0.1})  # so long a lock is waited for


@dataclass(frozen=True)
class Heartbeat:
    """`[heartbeat]`: where each script says that it runs; the field's name is the script's."""

    drive_manager: Secret = _NOT_SET
    plot_manager: Secret = _NOT_SET
    move_local_plots: Secret = _NOT_SET
    coin_monitor: Secret = _NOT_SET


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
class Plots:
    """`[plots]`: which files are plots."""

    other_suffixes: tuple[str, ...] = (".drplot",)  # of formats that nothing is known of; each with its dot


@dataclass(frozen=True)
class Plotter:
    """`[plotter]`: the host that makes plots."""

    plot_directories: tuple[Path, ...] = ()
    settle_seconds: int = field(default=120, metadata={"minimum": 0})
    keep_source: bool = False
    warn_hours_left: int = field(default=12, metadata={"minimum": 0})
    streams: int = field(default=8, metadata={"minimum": 1})  # plots on their way at once, to all NAS together
    streams_from_one_disk: int = field(default=1, metadata={"minimum": 1})  # of those that spin
    longest_run_minutes: float = field(default=0.0, metadata={"minimum": 0})  # then nothing new begins; 0: no limit


@dataclass(frozen=True)
class LocalPlots:
    """`[local_plots]`: plots that are made on the NAS itself."""

    plot_directories: tuple[Path, ...] = ()
    moves: int = field(default=4, metadata={"minimum": 1})  # at the same time, each to another drive
    moves_from_one_disk: int = field(default=1, metadata={"minimum": 1})  # of those that spin
    max_mb_per_second: float = field(default=0.0, metadata={"minimum": 0})  # of each move, in 10^6 bytes; 0: no limit
    io_priority: str = field(default="idle", metadata={"choices": ("idle", "normal")})


@dataclass(frozen=True)
class Nas:
    """`[nas]`: the storage servers, as the plotter reaches them."""

    hosts: tuple[str, ...] = ()  # host or user@host, in the order in which they are tried
    ssh_options: tuple[str, ...] = field(default=(), metadata={"words": True})  # split as a shell would: -p 2222
    receive_command: str = "/root/plot_manager/receive_plot.sh"
    connect_timeout_seconds: int = field(default=10, metadata={"minimum": 1})
    streams: int = field(default=4, metadata={"minimum": 1})  # plots on their way at once to one NAS
    policy: str = field(default="most_free", metadata={"choices": ("most_free", "in_order", "round_robin")})
    answer_seconds: float = field(default=30.0, metadata={"minimum": 1})  # so long an answer about room counts
    links: tuple[str, ...] = field(default=(), metadata={"lines": True})  # "NAS: ADDRESS, ADDRESS", a line a NAS


@dataclass(frozen=True)
class TransferSettings:
    """`[transfer]`: how a plot travels; each end reads its own."""

    pipe: str = field(default="netcat", metadata={"choices": ("netcat", "direct")})
    netcat: str = "auto"  # auto, or a program's name or path
    ports: range = range(4040, 4140)  # 4040-4139 in the file
    data_address: str = ""  # where the NAS listens; "": the address that the ssh came in on
    data_client: str = ""  # who may connect there, an address or a network; "": the address that the ssh came from
    verify: str = field(default="sample", metadata={"choices": ("wire", "sample", "readback")})
    max_mb_per_second: float = field(default=0.0, metadata={"minimum": 0})  # of each plot, in 10^6 bytes; 0: no limit
    niceness: int = field(default=0, metadata={"minimum": 0})
    io_priority: str = field(default="normal", metadata={"choices": ("idle", "normal")})
    beat_seconds: float = field(default=10.0, metadata={"minimum": 0.05})
    silence_seconds: float = field(default=45.0, metadata={"minimum": 0.2})
    stall_seconds: float = field(default=120.0, metadata={"minimum": 0.2})


@dataclass(frozen=True)
class Receiving:
    """`[receiving]`: what a NAS grants to a plotter."""

    arrivals: int = field(default=0, metadata={"minimum": 0})  # plots that arrive at once; 0: one for each drive
    sessions_per_plotter: int = field(default=16, metadata={"minimum": 1})
    daily_quota_bytes: int = 0  # of each plotter; 0: no limit; `daily_quota` in the file
    lowest_mb_per_second: float = field(default=2.0, metadata={"minimum": 0})  # while others wait for the drive
    yield_seconds: float = field(default=120.0, metadata={"minimum": 1})  # so long a plotter waits for its share
    unfinished_quota_bytes: int = 0  # of each plotter, arriving or interrupted; 0: no limit; `unfinished_quota`
    lookup_milliseconds: float = field(default=0.0, metadata={"minimum": 0})  # slower reads slow writing; 0: never
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
    count_seconds: float = field(default=20.0, metadata={"minimum": 0.1})  # of normal mode; reports take longer


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
    email: Email = Email()
    sms: Sms = Sms()
    pushbullet: Pushbullet = Pushbullet()
    plotting_drives: PlottingDrives = PlottingDrives()
    plotting_information: PlottingInformation = PlottingInformation()
    remote_transfer: RemoteTransfer = RemoteTransfer()
    paths: Paths = Paths()
    plots: Plots = Plots()
    plotter: Plotter = Plotter()
    local_plots: LocalPlots = LocalPlots()
    nas: Nas = Nas()
    transfer: TransferSettings = TransferSettings()
    receiving: Receiving = Receiving()
    drives: Drives = Drives()
    smart: Smart = Smart()
    chia: Chia = Chia()
    coins: Coins = Coins()
    watch: Watch = Watch()
    heartbeat: Heartbeat = Heartbeat()
    testing: Testing = Testing()
