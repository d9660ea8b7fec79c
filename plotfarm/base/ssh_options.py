"""What ssh does here whatever ~/.ssh/config allows for people: no agent, no forwarding, no command but this suite's."""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence

from plotfarm.base.errors import CommandFailed, NasUnavailable
from plotfarm.base.last_output import last_lines
from plotfarm.base.processes import run
from plotfarm.base.text import one_line

_ASKING_SECONDS = 10.0
_HOST = re.compile(r"[A-Za-z0-9_:][A-Za-z0-9_.:%-]*")

# They come first, so they hold whatever ~/.ssh/config and [nas] ssh_options say: the first value of an option counts.
_HELD = {
    "BatchMode": "yes",
    "ForwardAgent": "no",
    "ForwardX11": "no",
    "ForwardX11Trusted": "no",
    "ClearAllForwardings": "yes",
    "Tunnel": "no",
    "RemoteCommand": "none",
    "EscapeChar": "none",
    "ControlPersist": "no",
    "UpdateHostKeys": "no",  # nothing that the other host says is written to a file
}
# Not every ssh that is in use knows these.
_HELD_IF_KNOWN = {
    "ForkAfterAuthentication": "no",
    "SessionType": "default",
    "StdinNull": "no",
    "GSSAPIDelegateCredentials": "no",
}
_known: set[str] = set()  # what _known_options has found
# These flags set what options cannot take back, so they come last: no agent, no X11, no GSSAPI delegation, no terminal.
FLAGS = ("-a", "-x", "-k", "-T")


@functools.lru_cache(maxsize=256)
def effective_options(host: str, options: tuple[str, ...]) -> dict[str, str]:
    """Return what ssh would do for this host: option in lower case -> value; NasUnavailable if it cannot say."""
    _check_host(host)
    try:
        said = run(["ssh", *options, "-G", "--", host], timeout_seconds=_ASKING_SECONDS)
    except CommandFailed as error:
        raise NasUnavailable(str(error)) from None
    if said.status:
        raise NasUnavailable(f"ssh does not accept its options for {host}: {last_lines(said.errors.encode())}")

    effective: dict[str, str] = {}
    for line in said.output.splitlines():
        name, _, value = line.partition(" ")
        effective.setdefault(name.lower(), value.strip())
    return effective


def _check_host(host: str) -> None:
    if not _HOST.fullmatch(host.rpartition("@")[2]) or host.startswith("-"):
        raise NasUnavailable(f"{one_line(host)} is no name of a host")


def resolved_host(host: str, options: Sequence[str]) -> str:
    """Return the host name or address that the configuration of this host leads to: HostName of `ssh -G`.

    NasUnavailable if ssh cannot say, or says what is no name of a host.
    """
    name = effective_options(host, tuple(options)).get("hostname", "")
    if not _HOST.fullmatch(name):
        raise NasUnavailable(f"ssh leads from {host} to {one_line(name)}, which is no name of a host")
    return name


def _known_options(host: str, options: Sequence[str]) -> frozenset[str]:
    """Return the options that this ssh knows, in lower case: the same for all hosts, so it is asked once."""
    if not _known:
        _known.update(effective_options(host, tuple(options)))
    return frozenset(_known)


def held_options(host: str, options: Sequence[str]) -> list[str]:
    """Return the words that make ssh hold what has to hold; NasUnavailable if it does not accept its options."""
    _check_host(host)
    known = _known_options(host, options)
    held = _HELD | {name: value for name, value in _HELD_IF_KNOWN.items() if name.lower() in known}
    return [word for name, value in held.items() for word in ("-o", f"{name}={value}")]
