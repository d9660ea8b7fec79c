"""What a value must keep to beyond its type: decisions on values, nothing is looked up here."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from plotfarm.base.config.intervals import parse_intervals
from plotfarm.base.config.links import parse_links
from plotfarm.base.config.sections import Config, Email
from plotfarm.base.secret import Secret

_HOST = re.compile(r"([A-Za-z0-9_][A-Za-z0-9_.-]*@)?[A-Za-z0-9_:][A-Za-z0-9_.:%-]*")

_PHONE_NUMBER = re.compile(r"\+[0-9]{6,15}")
_SUFFIX = re.compile(r"\.[A-Za-z0-9_-]{1,16}")
_UNFINISHED = (".part", ".partial", ".tmp", ".temp")
_HOURS = re.compile(r"((?:[01][0-9]|2[0-3]):[0-5][0-9])-((?:[01][0-9]|2[0-3]):[0-5][0-9])")
_LOOPBACK_NAMES = ("localhost", "localhost.localdomain", "ip6-localhost")
_MOST_ENTRIES = 5  # that are repeated
_MOST_SHOWN = 80  # characters of each
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


@dataclass(frozen=True)
class Refusal:
    """What is allowed, and which entries of the value are not; these may be repeated only where the value may."""

    allowed: str
    entries: tuple[str, ...] = ()
    lack: str = "not that"  # 'x' is ...

    def in_words(self, *, may_show: bool) -> str:
        """Return the words that follow the value in a message."""
        if not self.entries:
            return self.allowed
        more = len(self.entries) - _MOST_ENTRIES
        shown = [repr(entry[:_MOST_SHOWN]) for entry in self.entries[:_MOST_ENTRIES]] if may_show else ["an entry"]
        others = f" (and {more} more)" if may_show and more > 0 else ""
        verb = "are" if len(shown) > 1 else "is"
        return f"{self.allowed}, and {', '.join(shown)}{others} {verb} {self.lack}"


def refusals(
    config: Config, kernel: KernelPorts, wrong: Collection[tuple[str, str]] = ()
) -> Iterator[tuple[str, str, Refusal]]:
    """Yield (section, field, what is allowed) for each value that breaks a rule.

    Fields in `wrong` could not be read: `config` holds their defaults, and no rule asks about them.
    """
    for (section, field), rule in _RULES.items():
        value = getattr(getattr(config, section), field)
        if (section, field) not in wrong and (refusal := rule(value)):
            yield section, field, refusal
    yield from (each for each in _refuse_together(config, kernel, wrong) if each[:2] not in wrong)


def _refuse_together(
    config: Config, kernel: KernelPorts, wrong: Collection[tuple[str, str]]
) -> Iterator[tuple[str, str, Refusal]]:
    """Yield what values are not allowed beside others, or on this host."""
    if refusal := _refuse_kernel_ports(config.transfer.ports, kernel):
        yield "transfer", "ports", refusal

    seconds = {("transfer", "silence_seconds"), ("transfer", "beat_seconds")}
    beat = config.transfer.beat_seconds
    if not seconds & set(wrong) and config.transfer.silence_seconds <= 2 * beat:
        yield "transfer", "silence_seconds", Refusal(f"more than twice beat_seconds ({beat:g}) is allowed")

    unknown = sorted(set(_known_links(config)) - set(config.nas.hosts))
    if unknown and not {("nas", "links"), ("nas", "hosts")} & set(wrong):
        yield "nas", "links", Refusal("only NAS that stand in hosts are allowed", tuple(unknown), "not one of them")

    degrees = {("smart", "warning_celsius"), ("smart", "critical_celsius")}
    if not degrees & set(wrong) and config.smart.critical_celsius < config.smart.warning_celsius:
        allowed = f"at least warning_celsius ({config.smart.warning_celsius}) is allowed"
        yield "smart", "critical_celsius", Refusal(allowed)

    if refusal := _refuse_plain_password(config.email):
        yield "email", "security", refusal


def _known_links(config: Config) -> dict[str, tuple[str, ...]]:
    try:
        return parse_links(config.nas.links)
    except ValueError:  # its own rule says so
        return {}


def _refuse_plain_password(email: Email) -> Refusal | None:
    """Refuse to send a password as clear text through a network, unless the owner says that he wants it."""
    is_plain = email.method == "smtp" and email.security == "none" and email.password
    if not is_plain or email.allow_plain or _is_loopback(email.host):
        return None
    return Refusal(
        "starttls or tls is allowed where there is a password: none would send it as clear text. If the network up to "
        "the mail server is yours alone, set allow_plain = True"
    )


def _is_loopback(host: str) -> bool:
    import ipaddress

    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower().rstrip(".") in _LOOPBACK_NAMES


def _refuse_kernel_ports(ports: range, kernel: KernelPorts) -> Refusal | None:
    port = kernel.first_taken(ports)
    if port is None:
        return None
    return Refusal(
        f"only ports outside {kernel.low}-{kernel.high} are allowed: the kernel of this host gives those to "
        f"outgoing connections (net.ipv4.ip_local_port_range). Port {port} is one of them; choose others, or "
        "set them aside with net.ipv4.ip_local_reserved_ports"
    )


def _refuse_entries(bad: Iterable[str], allowed: str, lack: str = "not that") -> Refusal | None:
    entries = tuple(bad)
    return Refusal(allowed, entries, lack) if entries else None


def _refuse_hosts(hosts: Sequence[str]) -> Refusal | None:
    bad = (host for host in hosts if not _HOST.fullmatch(host))
    return _refuse_entries(bad, "host or user@host is allowed, without spaces and without a leading '-'")


def _refuse_host(host: str) -> Refusal | None:
    # In any script: what looks it up knows how to write it. Not the login, nor anything else that belongs elsewhere.
    is_host = not host or re.fullmatch(r"[^\s=@,;/<>\"'-][^\s=@,;/<>\"']*", host)
    return None if is_host else Refusal("one host name or IP address is allowed")


def _refuse_links(lines: Sequence[str]) -> Refusal | None:
    bad = [line for line in lines if not _is_link(line)]
    if bad:
        return Refusal("lines such as 'root@nas1: 10.0.1.5, 10.0.2.5' are allowed", tuple(bad), "none")
    return _refuse_hosts([address for addresses in parse_links(lines).values() for address in addresses])


def _is_link(line: str) -> bool:
    try:
        return bool(parse_links([line]))
    except ValueError:
        return False


def _refuse_unnatural(niceness: int) -> Refusal | None:
    return None if niceness <= 19 else Refusal("0 to 19 is allowed")


def _refuse_crawl(mb_per_second: float) -> Refusal | None:
    return Refusal("0 (no limit) or at least 1 is allowed") if 0 < mb_per_second < 1 else None


def _refuse_relative(paths: Sequence[Path | str]) -> Refusal | None:
    bad = (str(path) for path in paths if not str(path).startswith("/"))
    return _refuse_entries(bad, "only absolute paths are allowed, which start with /", "none")


def _refuse_relative_one(path: str) -> Refusal | None:
    return None if path.startswith("/") else Refusal("an absolute path is allowed (it starts with /)")


def _refuse_relative_unless_empty(path: str) -> Refusal | None:
    return _refuse_relative_one(path) if path else None


def _refuse_homeless(path: str) -> Refusal | None:
    if not path or path.startswith(("/", "~")):
        return None
    return Refusal("an absolute path is allowed, or one that starts with ~")


def _refuse_program(name: str) -> Refusal | None:
    if name and not name.startswith("-") and not re.search(r"\s", name):
        return None
    return Refusal("auto is allowed, or a program's name or path without spaces")


def _refuse_address(text: str) -> Refusal | None:
    if not text:
        return None
    import ipaddress

    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        address = None
    if address is None or address.is_unspecified or address.is_multicast:
        return Refusal("one IP address of this host is allowed, such as 10.0.0.5, or nothing")
    return None


def _refuse_network(text: str) -> Refusal | None:
    if not text:
        return None
    import ipaddress

    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        network = None
    if network is None or network.prefixlen == 0:
        return Refusal("the IP address of the plotter is allowed, or a network such as 10.0.0.0/24, or nothing")
    return None


def _refuse_suffixes(suffixes: Sequence[str]) -> Refusal | None:
    bad = [suffix for suffix in suffixes if not _SUFFIX.fullmatch(suffix)]
    if bad:
        return Refusal("endings of file names such as .drplot are allowed, with their dot", tuple(bad), "none")
    unfinished = (suffix for suffix in suffixes if suffix.lower() in _UNFINISHED)
    return _refuse_entries(unfinished, "endings of finished files are allowed", "that of an unfinished one")


def _refuse_mail_addresses(addresses: Sequence[str]) -> Refusal | None:
    if not addresses:
        return None
    from plotfarm.base.config.mailboxes import is_mailbox  # not every host sends mail

    bad = (address for address in addresses if not is_mailbox(address))
    return _refuse_entries(
        bad, "addresses such as farmer@example.org or Farmer <farmer@example.org> are allowed", "none"
    )


def _refuse_mail_address(address: str) -> Refusal | None:
    return _refuse_mail_addresses([address] if address else [])


def _refuse_phone_numbers(numbers: Sequence[str]) -> Refusal | None:
    bad = (number for number in numbers if not _PHONE_NUMBER.fullmatch(number))
    return _refuse_entries(bad, "numbers such as +12025550123 are allowed, with the country and no spaces", "none")


def _refuse_quiet_hours(text: str) -> Refusal | None:
    match = _HOURS.fullmatch(text)
    if not text or (match and match[1] != match[2]):
        return None
    return Refusal("a span of local time such as 22:00-07:00 is allowed, or nothing")


def _refuse_port(port: int) -> Refusal | None:
    return None if port <= 65535 else Refusal("a port up to 65535 is allowed, or 0 for the usual one")


def _refuse_intervals(items: Sequence[str]) -> Refusal | None:
    try:
        parse_intervals(items)
    except ValueError as error:
        return Refusal("scripts with their minutes are allowed, such as plot_manager: 5", (str(error),))
    return None


def _refuse_heartbeat(url: Secret) -> Refusal | None:
    if not url.is_literal or re.match(r"https?://[^\s/]", url.reveal()):
        return None
    return Refusal("a URL that begins with https:// or http:// is allowed, or env:NAME, file:/path, or nothing")


def _refuse_device_types(lines: Sequence[str]) -> Refusal | None:
    bad = (line for line in lines if not _DEVICE_TYPE.fullmatch(line))
    return _refuse_entries(bad, "lines such as '/dev/sd[a-p] megaraid,7' are allowed", "none")


_RULES: dict[tuple[str, str], Callable[..., Refusal | None]] = {
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
    ("email", "host"): _refuse_host,
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
    ("coins", "wallet_host"): _refuse_host,
    ("coins", "wallet_port"): _refuse_port,
    ("coins", "wallet_certificate"): _refuse_homeless,
    ("coins", "wallet_key"): _refuse_homeless,
    ("coins", "wallet_authority"): _refuse_homeless,
    ("drives", "mounts"): _refuse_relative,
    ("drives", "directories"): _refuse_relative,
}
