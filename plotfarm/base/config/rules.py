"""What a value must keep to beyond its type: decisions on values, nothing is looked up here."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from plotfarm.base.config.intervals import parse_intervals
from plotfarm.base.config.links import parse_links
from plotfarm.base.config.sections import Config
from plotfarm.base.secret import Secret

_HOST = re.compile(r"([A-Za-z0-9_][A-Za-z0-9_.-]*@)?[A-Za-z0-9_:][A-Za-z0-9_.:%-]*")

_MAIL_ADDRESS = re.compile(r"[^\s@,;<>()\"]+@[A-Za-z0-9_.:\[\]-]+")
_PHONE_NUMBER = re.compile(r"\+[0-9]{6,15}")
_SUFFIX = re.compile(r"\.[A-Za-z0-9_-]{1,16}")
_UNFINISHED = (".part", ".partial", ".tmp", ".temp")
_HOURS = re.compile(r"((?:[01][0-9]|2[0-3]):[0-5][0-9])-((?:[01][0-9]|2[0-3]):[0-5][0-9])")
_DEVICE_TYPE = re.compile(r"/\S+\s+[a-z0-9][a-z0-9_.,+/\[\]:-]*", re.IGNORECASE)


@dataclass(frozen=True)
class KernelPorts:
    """The ports that this host's kernel gives to outgoing connections."""

    low: int = 0
    high: int = -1  # below `low`: not known
    reserved: tuple[range, ...] = ()  # ports in between that it leaves alone

    def first_taken(self, ports: range) -> int | None:
        """Return the first of `ports` that the kernel may give away, or None."""
        shared = range(max(self.low, ports.start), min(self.high + 1, ports.stop))
        return next((port for port in shared if not any(port in kept for kept in self.reserved)), None)


def refusals(
    config: Config, kernel: KernelPorts, wrong: Collection[tuple[str, str]] = ()
) -> Iterator[tuple[str, str, str]]:
    """Yield (section, field, what is allowed) for each value that breaks a rule.

    Fields in `wrong` could not be read: `config` holds their defaults, and no rule asks about them.
    """
    for (section, field), rule in _RULES.items():
        value = getattr(getattr(config, section), field)
        if (section, field) not in wrong and (allowed := rule(value)):
            yield section, field, allowed
    if ("transfer", "ports") not in wrong and (allowed := _refuse_kernel_ports(config.transfer.ports, kernel)):
        yield "transfer", "ports", allowed
    seconds = {("transfer", "silence_seconds"), ("transfer", "beat_seconds")}
    beat = config.transfer.beat_seconds
    if not seconds & set(wrong) and config.transfer.silence_seconds <= 2 * beat:
        yield "transfer", "silence_seconds", f"more than twice beat_seconds ({beat:g}) is allowed"

    unknown = sorted(set(_known_links(config)) - set(config.nas.hosts))
    if unknown and not {("nas", "links"), ("nas", "hosts")} & set(wrong):
        yield "nas", "links", f"only NAS that stand in hosts are allowed, and {unknown[0]!r} does not"

    degrees = {("smart", "warning_celsius"), ("smart", "critical_celsius")}
    if not degrees & set(wrong) and config.smart.critical_celsius < config.smart.warning_celsius:
        yield "smart", "critical_celsius", f"at least warning_celsius ({config.smart.warning_celsius}) is allowed"


def _known_links(config: Config) -> dict[str, tuple[str, ...]]:
    try:
        return parse_links(config.nas.links)
    except ValueError:  # its own rule says so
        return {}


def _refuse_kernel_ports(ports: range, kernel: KernelPorts) -> str | None:
    port = kernel.first_taken(ports)
    if port is None:
        return None
    return (
        f"only ports outside {kernel.low}-{kernel.high} are allowed: the kernel of this host gives those to "
        f"outgoing connections (net.ipv4.ip_local_port_range). Port {port} is one of them; choose others, or "
        "set them aside with net.ipv4.ip_local_reserved_ports"
    )


def _refuse_hosts(hosts: Sequence[str]) -> str | None:
    bad = [host for host in hosts if not _HOST.fullmatch(host)]
    if not bad:
        return None
    return f"host or user@host is allowed, without spaces and without a leading '-', and {bad[0]!r} is not that"


def _refuse_links(lines: Sequence[str]) -> str | None:
    try:
        links = parse_links(lines)
    except ValueError as error:
        return f"lines such as 'root@nas1: 10.0.1.5, 10.0.2.5' are allowed, and {str(error)!r} is none"
    return _refuse_hosts([address for addresses in links.values() for address in addresses])


def _refuse_unnatural(niceness: int) -> str | None:
    return None if niceness <= 19 else "0 to 19 is allowed"


def _refuse_crawl(mb_per_second: float) -> str | None:
    return "0 (no limit) or at least 1 is allowed" if 0 < mb_per_second < 1 else None


def _refuse_relative(paths: Sequence[Path | str]) -> str | None:
    bad = [str(path) for path in paths if not str(path).startswith("/")]
    return f"only absolute paths are allowed, and {bad[0]!r} does not start with /" if bad else None


def _refuse_relative_one(path: str) -> str | None:
    return None if path.startswith("/") else "an absolute path is allowed (it starts with /)"


def _refuse_relative_unless_empty(path: str) -> str | None:
    return _refuse_relative_one(path) if path else None


def _refuse_homeless(path: str) -> str | None:
    return None if not path or path.startswith(("/", "~")) else "an absolute path is allowed, or one that starts with ~"


def _refuse_program(name: str) -> str | None:
    if name and not name.startswith("-") and not re.search(r"\s", name):
        return None
    return "auto is allowed, or a program's name or path without spaces"


def _refuse_address(text: str) -> str | None:
    if not text:
        return None
    import ipaddress

    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        address = None
    if address is None or address.is_unspecified or address.is_multicast:
        return "one IP address of this host is allowed, such as 10.0.0.5, or nothing"
    return None


def _refuse_network(text: str) -> str | None:
    if not text:
        return None
    import ipaddress

    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        network = None
    if network is None or network.prefixlen == 0:
        return "the IP address of the plotter is allowed, or a network such as 10.0.0.0/24, or nothing"
    return None


def _refuse_suffixes(suffixes: Sequence[str]) -> str | None:
    for suffix in suffixes:
        if not _SUFFIX.fullmatch(suffix):
            return f"endings of file names such as .drplot are allowed, with their dot, and {suffix!r} is none"
        if suffix.lower() in _UNFINISHED:
            return f"endings of finished files are allowed, and {suffix} is that of an unfinished one"
    return None


def _refuse_mail_addresses(addresses: Sequence[str]) -> str | None:
    bad = [address for address in addresses if not _MAIL_ADDRESS.fullmatch(address)]
    return f"addresses such as farmer@example.org are allowed, and {bad[0]!r} is none" if bad else None


def _refuse_mail_address(address: str) -> str | None:
    return _refuse_mail_addresses([address] if address else [])


def _refuse_phone_numbers(numbers: Sequence[str]) -> str | None:
    bad = [number for number in numbers if not _PHONE_NUMBER.fullmatch(number)]
    return (
        f"numbers such as +12025550123 are allowed, with the country and no spaces; {bad[0]!r} is none" if bad else None
    )


def _refuse_quiet_hours(text: str) -> str | None:
    match = _HOURS.fullmatch(text)
    if not text or (match and match[1] != match[2]):
        return None
    return "a span of local time such as 22:00-07:00 is allowed, or nothing"


def _refuse_port(port: int) -> str | None:
    return None if port <= 65535 else "a port up to 65535 is allowed, or 0 for the usual one"


def _refuse_intervals(items: Sequence[str]) -> str | None:
    try:
        parse_intervals(items)
    except ValueError as error:
        return f"scripts with their minutes are allowed, such as plot_manager: 5, and {str(error)!r} is none"
    return None


def _refuse_heartbeat(url: Secret) -> str | None:
    if not url.is_literal or re.match(r"https?://[^\s/]", url.reveal()):
        return None
    return "a URL that begins with https:// or http:// is allowed, or env:NAME, file:/path, or nothing"


def _refuse_device_types(lines: Sequence[str]) -> str | None:
    bad = [line for line in lines if not _DEVICE_TYPE.fullmatch(line)]
    return f"lines such as '/dev/sd[a-p] megaraid,7' are allowed, and {bad[0]!r} is none" if bad else None


_RULES: dict[tuple[str, str], Callable[..., str | None]] = {
    ("plotting_drives", "current_plotting_drive"): _refuse_relative_unless_empty,
    ("plots", "other_suffixes"): _refuse_suffixes,
    ("plotter", "plot_directories"): _refuse_relative,
    ("local_plots", "plot_directories"): _refuse_relative,
    ("local_plots", "max_mb_per_second"): _refuse_crawl,
    ("nas", "hosts"): _refuse_hosts,
    ("nas", "links"): _refuse_links,
    ("transfer", "max_mb_per_second"): _refuse_crawl,
    ("transfer", "niceness"): _refuse_unnatural,
    ("nas", "receive_command"): _refuse_relative_one,
    ("transfer", "netcat"): _refuse_program,
    ("transfer", "data_address"): _refuse_address,
    ("transfer", "data_client"): _refuse_network,
    ("email", "sender"): _refuse_mail_address,
    ("email", "recipients"): _refuse_mail_addresses,
    ("email", "port"): _refuse_port,
    ("email", "sendmail"): _refuse_relative_one,
    ("sms", "recipients"): _refuse_phone_numbers,
    ("notifications", "quiet_hours"): _refuse_quiet_hours,
    ("smart", "device_types"): _refuse_device_types,
    ("watch", "intervals"): _refuse_intervals,
    ("heartbeat", "drive_manager"): _refuse_heartbeat,
    ("heartbeat", "plot_manager"): _refuse_heartbeat,
    ("heartbeat", "move_local_plots"): _refuse_heartbeat,
    ("heartbeat", "coin_monitor"): _refuse_heartbeat,
    ("chia", "home"): _refuse_homeless,
    ("chia", "log"): _refuse_homeless,
    ("coins", "wallet_port"): _refuse_port,
    ("coins", "wallet_certificate"): _refuse_homeless,
    ("coins", "wallet_key"): _refuse_homeless,
    ("drives", "mounts"): _refuse_relative,
    ("drives", "directories"): _refuse_relative,
}
