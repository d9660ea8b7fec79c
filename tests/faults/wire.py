"""The wire between a plotter and the data port of its NAS: it flips bits, holds bytes back, and is cut.

The plotter's connections to the farm's data ports lead here (a preloaded library rewrites their address), whatever
pipe it has; everything else, and the other end, is as it always is.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum, auto

_CHUNK = 64 * 1024
_JOIN_SECONDS = 10.0


class Harm(Enum):
    """What happens to a connection behind so many of its bytes."""

    FLIP = auto()  # one bit of the next byte
    CUT = auto()  # the NAS sees its end, and the plotter a reset
    HOLD = auto()  # nothing more passes until `Wire.release`


@dataclass(frozen=True)
class Fault:
    """One harm on one connection."""

    harm: Harm
    after: int  # bytes from the plotter, the token included


class Wire:
    """Passes connections on to the ports that were meant; `faults` hit the connections in the order they come."""

    def __init__(self) -> None:
        self.faults: list[Fault] = []
        self.passed: list[int] = []  # bytes from the plotter, for each connection so far
        self.held = threading.Event()
        self._released = threading.Event()
        self._listener = socket.create_server(("0.0.0.0", 0))
        self.port: int = self._listener.getsockname()[1]
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._begin(self._accept)

    def _begin(self, work: Callable[..., None], *arguments: object) -> threading.Thread:
        thread = threading.Thread(target=work, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()
        return thread

    def release(self) -> None:
        """Let go on what is held."""
        self._released.set()

    def close(self) -> None:
        """Cut everything; no thread is left: a process with threads cannot leave its mount namespace."""
        self._released.set()
        for end in [self._listener, *self._open]:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        for thread in list(self._threads):
            thread.join(_JOIN_SECONDS)
        while {str(thread.native_id) for thread in self._threads} & set(os.listdir("/proc/self/task")):
            time.sleep(0.001)  # a thread that is joined has yet to leave the kernel
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                plotter, _ = self._listener.accept()
            except OSError:
                return
            number = len(self.passed)
            self.passed.append(0)
            fault = self.faults.pop(0) if self.faults else None
            self._begin(self._connect, plotter, number, fault)

    def _connect(self, plotter: socket.socket, number: int, fault: Fault | None) -> None:
        address = socket.inet_aton(plotter.getsockname()[0])  # 127.77 and the port that was meant
        try:
            nas = socket.create_connection(("127.0.0.1", int.from_bytes(address[2:], "big")), timeout=5)
        except OSError:
            plotter.close()
            return
        nas.settimeout(None)
        self._open |= {plotter, nas}
        back = self._begin(_pass_back, nas, plotter)
        with contextlib.suppress(OSError):
            self._pass_on(plotter, nas, number, fault)
        back.join(_JOIN_SECONDS)
        for end in (plotter, nas):
            end.close()
        self._open -= {plotter, nas}

    def _pass_on(self, plotter: socket.socket, nas: socket.socket, number: int, fault: Fault | None) -> None:
        done = 0
        while chunk := plotter.recv(_CHUNK):
            if fault is not None and done <= fault.after < done + len(chunk):
                at = fault.after - done
                if fault.harm is Harm.FLIP:
                    chunk = chunk[:at] + bytes([chunk[at] ^ 1]) + chunk[at + 1 :]
                else:
                    nas.sendall(chunk[:at])
                    self.passed[number] += at
                    done, chunk = done + at, chunk[at:]
                    if fault.harm is Harm.CUT:
                        nas.shutdown(socket.SHUT_WR)  # the plotter's end goes when the NAS has taken it all
                        return
                    self.held.set()
                    self._released.wait()
            nas.sendall(chunk)
            done += len(chunk)
            self.passed[number] = done
        with contextlib.suppress(OSError):
            nas.shutdown(socket.SHUT_WR)


def _pass_back(nas: socket.socket, plotter: socket.socket) -> None:
    """Pass on what the NAS says, which is nothing but the end."""
    with contextlib.suppress(OSError):
        while chunk := nas.recv(_CHUNK):
            plotter.sendall(chunk)
    with contextlib.suppress(OSError):
        plotter.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def wire() -> Iterator[Wire]:
    """Give a wire that passes everything on, until it is told to do otherwise."""
    found = Wire()
    try:
        yield found
    finally:
        found.close()
