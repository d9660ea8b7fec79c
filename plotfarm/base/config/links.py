"""`[nas] links`: the addresses of a NAS that has more than one."""

from __future__ import annotations

from collections.abc import Sequence


def parse_links(lines: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Return NAS -> its addresses, from lines `NAS: ADDRESS, ADDRESS`; ValueError with the line that is none."""
    links = {}
    for line in lines:
        host, colon, addresses = line.partition(": ")
        found = tuple(address.strip() for address in addresses.split(",") if address.strip())
        if not colon or not host.strip() or not found:
            raise ValueError(line)
        links[host.strip()] = found
    return links
