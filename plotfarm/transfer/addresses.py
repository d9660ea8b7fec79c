"""Which addresses a data connection may come from, and what may stand in a command line as address and port.

Nothing that comes from the network becomes an argument that could be taken for an option: an address is one that
`ipaddress` knows, a port is a number.
"""

from __future__ import annotations

import ipaddress
import re
import socket

from plotfarm.base.errors import PlotfarmError, TransferFailed
from plotfarm.base.text import one_line

LOWEST_PORT = 1024
HIGHEST_PORT = 65535

_HOST_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,252}")
_INTERFACE = re.compile(r"[A-Za-z0-9_.-]{1,15}")

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def parse_address(text: str) -> Address:
    """Return an address without its interface, an IPv4 one also where it comes as ::ffff:10.0.0.5; else ValueError."""
    address = ipaddress.ip_address(text.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def checked_address(text: str) -> str:
    """Return an address to listen on or to connect to, as a program may be given it; ValueError if it is none."""
    _, percent, interface = text.partition("%")
    if percent and not _INTERFACE.fullmatch(interface):
        raise ValueError(text)
    return f"{parse_address(text)}{percent}{interface}"


def checked_port(port: int) -> int:
    """Return a port that a plot may travel to; TransferFailed if it is none."""
    if not LOWEST_PORT <= port <= HIGHEST_PORT:
        raise TransferFailed(f"a plot travels to no port below {LOWEST_PORT} or above {HIGHEST_PORT}")
    return port


def numeric_address(host: str) -> str:
    """Return the address of a host; TransferFailed if this is no name of a host, or nobody knows its address."""
    try:
        return checked_address(host)
    except ValueError:
        pass
    if not _HOST_NAME.fullmatch(host):
        raise TransferFailed(f"{one_line(host)} is no name of a host")
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError as error:
        raise TransferFailed(f"the address of {host} is not known: {error.strerror}") from None
    return str(found[0][4][0])


class AllowedClients:
    """Who may open a data connection: the plotter, at one address or in one network.

    `client` "": nobody came over the network, so the plotter is on this host, whose address is `own`.
    PlotfarmError if what is configured is no address.
    """

    def __init__(self, client: str, own: str) -> None:
        self._networks: list[Network]
        try:
            if client:
                self._networks = [_network(client)]
            else:
                self._networks = [_network(own), _network("127.0.0.0/8"), _network("::1")]
        except ValueError:
            raise PlotfarmError(f"{one_line(client or own)} is no address that a plotter can come from") from None

    def allow(self, peer: str) -> bool:
        """Tell whether this address, as the kernel or netcat reports it, may bring a plot."""
        try:
            address = parse_address(peer)
        except ValueError:
            return False
        return any(address in network for network in self._networks)

    @property
    def only_one(self) -> str | None:
        """The one IPv4 address, if there is only one."""
        first = self._networks[0]
        is_single = len(self._networks) == 1 and first.version == 4 and first.num_addresses == 1
        return str(first.network_address) if is_single else None


def _network(text: str) -> Network:
    if "/" in text:
        return ipaddress.ip_network(text, strict=False)
    return ipaddress.ip_network(parse_address(text))
