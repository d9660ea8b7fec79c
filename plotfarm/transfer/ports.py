"""Ports for data connections: each belongs to one arrival at a time."""

from __future__ import annotations

import contextlib
import random
import socket
from collections.abc import Iterator
from pathlib import Path

from plotfarm.base.locks import Lock, LockBusy
from plotfarm.transfer.addresses import HIGHEST_PORT, LOWEST_PORT
from plotfarm.transfer.effects import Stopped
from plotfarm.transfer.outcomes import Failure


@contextlib.contextmanager
def free_port(ports: range, address: str, lock_directory: Path) -> Iterator[tuple[int, Lock]]:
    """Hold one port of the range that no other arrival holds and nobody listens on.

    Both netcats set address reuse: a second listener on a port would start, and connections cross. So a
    port is taken by its lock file *and* seen free. Stopped with NO_PORT if none is left.
    """
    allowed = [port for port in ports if LOWEST_PORT <= port <= HIGHEST_PORT]
    for port in random.sample(allowed, len(allowed)):  # a stranger cannot know where to wait
        lock = Lock(lock_directory / f"port-{port}.lock")
        try:
            lock.acquire()
        except LockBusy:
            continue
        try:
            if is_free(port, address):
                yield port, lock
                return
        finally:
            lock.release()
    raise Stopped(Failure.NO_PORT, f"no port of {ports.start}-{ports.stop - 1} is free on {address}")


def is_free(port: int, address: str) -> bool:
    """Tell whether nobody listens on a port."""
    try:
        found = socket.getaddrinfo(address, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except OSError:
        return False
    family, kind, _, _, where = found[0]
    with socket.socket(family, kind) as probe:
        # Reuse only lets this succeed beside connections that are closing; a listener still refuses it.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(where)
            probe.listen(1)
        except OSError:
            return False
    return True
