"""What a value must keep to beyond its type: decisions on values, nothing is looked up here."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from plotfarm.base.config.sections import Config

_HOST = re.compile(r"([A-Za-z0-9_][A-Za-z0-9_.-]*@)?[A-Za-z0-9_:][A-Za-z0-9_.:%-]*")


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


def _refuse_relative(paths: Sequence[Path | str]) -> str | None:
    bad = [str(path) for path in paths if not str(path).startswith("/")]
    return f"only absolute paths are allowed, and {bad[0]!r} does not start with /" if bad else None


def _refuse_relative_one(path: str) -> str | None:
    return None if path.startswith("/") else "an absolute path is allowed (it starts with /)"


def _refuse_relative_unless_empty(path: str) -> str | None:
    return _refuse_relative_one(path) if path else None


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


_RULES: dict[tuple[str, str], Callable[..., str | None]] = {
    ("plotting_drives", "current_plotting_drive"): _refuse_relative_unless_empty,
    ("plotter", "plot_directories"): _refuse_relative,
    ("nas", "hosts"): _refuse_hosts,
    ("nas", "receive_command"): _refuse_relative_one,
    ("transfer", "netcat"): _refuse_program,
    ("transfer", "data_address"): _refuse_address,
    ("drives", "mounts"): _refuse_relative,
    ("drives", "directories"): _refuse_relative,
}
