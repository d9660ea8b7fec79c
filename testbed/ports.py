"""Ports of its own for each farm, however many tests run at the same time."""

from __future__ import annotations

import contextlib
import fcntl
import os
import random
import socket
import tempfile
from pathlib import Path
from typing import IO

from plotfarm.base.config.loader import kernel_ports

_PORTS = 20  # in the range of one farm
_BASES = range(10000, 60000, _PORTS)


def take_port_range(address: str = "127.0.0.1") -> tuple[range, IO[str]]:
    """Return 20 free ports in a row, and the open file whose lock keeps other farms away from them."""
    directory = Path(tempfile.gettempdir()) / f"testbed-ports-{os.geteuid()}"
    directory.mkdir(mode=0o700, exist_ok=True)
    kernel = kernel_ports()
    for base in random.sample(_BASES, len(_BASES)):
        ports = range(base, base + _PORTS)
        if kernel.first_taken(ports) is not None:
            continue
        lock = open(directory / str(base), "w")  # noqa: SIM115 (it stays open as long as the farm)
        with contextlib.suppress(OSError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if all(_is_free(address, port) for port in ports):
                return ports, lock
        lock.close()
    raise RuntimeError("no range of free ports is left on this machine")


def _is_free(address: str, port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind((address, port))
        except OSError:
            return False
        return True
