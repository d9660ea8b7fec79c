"""Other hosts on this machine: network namespaces at the ends of cables that can be pulled. Needs root.

A cable is a veth pair. Pulled, it is a dead link as TCP sees it: no answer, no reset, nothing.
"""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import os
import random
import subprocess
from collections.abc import Iterator
from types import TracebackType

from plotfarm.base.processes import find_program

_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


def why_no_separate_host() -> str | None:
    """Say why there can be no other host here, or None."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    if find_program("ip") is None:
        return "network namespaces need ip (iproute2)"
    probe = f"probe{os.getpid()}"
    made = subprocess.run(["ip", "netns", "add", probe], capture_output=True, text=True, check=False)
    if made.returncode:
        return f"no network namespaces here: {made.stderr.strip()}"
    inside = subprocess.run(["ip", "-n", probe, "link"], capture_output=True, text=True, check=False)
    _ip("netns", "delete", probe)
    return f"network namespaces cannot be entered here: {inside.stderr.strip()}" if inside.returncode else None


class Switch:
    """What several hosts are plugged into, so that they reach each other; a context manager.

    This machine itself is not plugged in.
    """

    def __init__(self) -> None:
        self.name = f"switch{os.getpid()}"
        self.network = _network()
        self._open = contextlib.ExitStack()
        self._addresses = itertools.count(1)

    def __enter__(self) -> Switch:
        _ip("link", "add", self.name, "type", "bridge")
        self._open.callback(_ip, "link", "delete", self.name)
        _ip("link", "set", self.name, "up")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    def host(self) -> SeparateHost:
        """Plug another host in; it is there as long as the switch is."""
        return self._open.enter_context(SeparateHost(self, next(self._addresses)))


class SeparateHost:
    """A network namespace reached over a cable, as a context manager; `address` is its IPv4 address.

    The other end of the cable is here, with the address `here`, or in a switch.
    """

    def __init__(self, switch: Switch | None = None, number: int = 2) -> None:
        own = f"{os.getpid()}x{number}"  # 15 characters at most make an interface's name
        self.name = f"farm{own}"
        self._near, self._far, self._switch = f"near{own}", f"far{own}", switch
        network = switch.network if switch else _network()
        self.address, self.here = f"{network}.{number}", f"{network}.1"

    def __enter__(self) -> SeparateHost:
        _ip("netns", "add", self.name)
        try:
            _ip("link", "add", self._near, "type", "veth", "peer", "name", self._far, "netns", self.name)
            if self._switch:
                _ip("link", "set", self._near, "master", self._switch.name)
            else:
                _ip("address", "add", f"{self.here}/24", "dev", self._near)
            _ip("link", "set", self._near, "up")
            self._ip_inside("address", "add", f"{self.address}/24", "dev", self._far)
            self._ip_inside("link", "set", "lo", "up")
            self.link("up")
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(subprocess.CalledProcessError):
            _ip("link", "delete", self._near)
        _ip("netns", "delete", self.name)

    def link(self, state: str) -> None:
        """Pull the cable at the far end, or put it in again: `down` or `up`."""
        self._ip_inside("link", "set", self._far, state)

    @contextlib.contextmanager
    def inside(self) -> Iterator[None]:
        """Be on the other host for a while: what is started then stays there."""
        with open("/proc/self/ns/net") as here, open(f"/run/netns/{self.name}") as there:
            _enter(there.fileno())
            try:
                yield
            finally:
                _enter(here.fileno())

    def _ip_inside(self, *words: str) -> None:
        _ip("-n", self.name, *words)


def _network() -> str:
    return f"10.{random.randrange(200, 250)}.{random.randrange(256)}"


def _enter(namespace: int) -> None:
    if _libc.setns(namespace, _CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns(2) failed")


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, stdin=subprocess.DEVNULL)
