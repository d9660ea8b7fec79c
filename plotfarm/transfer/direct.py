"""`pipe = direct`: the data connection without a netcat at this end, one socket and one buffer.

What goes over it is the same as with netcat, so each end may have its own pipe.
"""

from __future__ import annotations

import contextlib
import hmac
import socket
import struct
import time
from dataclasses import dataclass

from plotfarm.base.errors import TransferFailed
from plotfarm.transfer.addresses import AllowedClients, checked_port, numeric_address
from plotfarm.transfer.pipe import TOKEN_SECONDS, PipeLost, Wait

_MOST_AT_THE_DOOR = 16  # who connect from the plotter's address and say nothing: the oldest is turned away first
_BACKLOG = 128
_MOST_AT_ONCE = 64  # accepted before the session is looked at again
_CONNECT_SECONDS = 10.0
_BLOCKED_SECONDS = 0.05  # so long a send may wait for room before the session is looked at again
_AT_ONCE = struct.pack("ii", 1, 0)  # SO_LINGER: a connection that is turned away leaves nothing behind


@dataclass
class _Guest:
    """Somebody who has connected, and has not said the whole token yet."""

    connection: socket.socket
    deadline: float  # time.monotonic
    said: bytes = b""


class DirectListener:
    """A socket that accepts the first who says the token; others are turned away, as many as may come."""

    def __init__(self, address: str, port: int, allowed: AllowedClients) -> None:
        self._allowed = allowed
        self._guests: dict[int, _Guest] = {}  # by their descriptors
        self._accepted: socket.socket | None = None
        self._turned_away = 0
        try:
            family, kind, _, _, where = socket.getaddrinfo(
                address, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST
            )[0]
            self._socket = socket.socket(family, kind)
        except OSError as error:
            raise TransferFailed(f"cannot listen on {address}: {error.strerror}") from None
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            self._socket.bind(where)
            self._socket.listen(_BACKLOG)
        except OSError as error:
            self._socket.close()
            raise TransferFailed(f"cannot listen on port {port} of {address}: {error.strerror}") from None
        self._socket.setblocking(False)

    def accept(self, token: bytes, wait: Wait, deadline: float) -> int | None:
        """Return the connection with the token taken off, None at the deadline (time.monotonic).

        From then on nobody else can connect.
        """
        while (now := time.monotonic()) < deadline:
            ends = [deadline, *(guest.deadline for guest in self._guests.values())]
            ready = wait([self._socket.fileno(), *self._guests], max(0.0, min(ends) - now))
            if self._socket.fileno() in ready:
                self._let_in()
            for descriptor in [each for each in ready if each in self._guests]:
                if self._has_token(descriptor, token):
                    return self._take(descriptor)
            for descriptor, guest in list(self._guests.items()):
                if time.monotonic() >= guest.deadline:
                    self._turn_away(descriptor)
        return None

    def _let_in(self) -> None:
        """Accept those who wait; a stranger's address is enough to turn it away."""
        for _ in range(_MOST_AT_ONCE):
            try:
                connection, peer = self._socket.accept()
            except OSError:  # nobody is left, or is gone again already
                return
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
            if not self._allowed.allow(peer[0]):
                self._turned_away += 1
                connection.close()
                continue
            if len(self._guests) >= _MOST_AT_THE_DOOR:
                self._turn_away(next(iter(self._guests)))
            connection.setblocking(False)
            self._guests[connection.fileno()] = _Guest(connection, time.monotonic() + TOKEN_SECONDS)

    def _has_token(self, descriptor: int, token: bytes) -> bool:
        """Tell whether a guest has said the whole token; one who says anything else is turned away."""
        guest = self._guests[descriptor]
        try:
            data = guest.connection.recv(len(token) - len(guest.said))
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        guest.said += data
        if not data or not token.startswith(guest.said):
            self._turn_away(descriptor)
        return hmac.compare_digest(guest.said, token)

    def _take(self, descriptor: int) -> int:
        connection = self._guests.pop(descriptor).connection
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 0, 0))
        connection.setblocking(True)
        self._accepted = connection
        self._socket.close()
        for other in list(self._guests):
            self._turn_away(other)
        return descriptor

    def _turn_away(self, descriptor: int) -> None:
        self._turned_away += 1
        self._guests.pop(descriptor).connection.close()

    def turned_away(self) -> str:
        """Return how many were turned away, "" if nobody was."""
        return f"{self._turned_away} connections" if self._turned_away else ""

    def close(self) -> None:
        """Close everything that is open."""
        for descriptor in list(self._guests):
            self._guests.pop(descriptor).connection.close()
        self._socket.close()
        if self._accepted is not None:
            self._accepted.close()


class DirectPipe:
    """The sending end: a connection to the NAS's listener at an address that this host's configuration leads to."""

    first_pause_seconds = 0.0  # `put` waits itself, in the kernel, where the connection takes bytes as they drain

    def __init__(self, address: str, port: int) -> None:
        try:
            where = (numeric_address(address), checked_port(port))
        except TransferFailed as error:
            raise PipeLost(str(error)) from None
        try:
            self._socket = socket.create_connection(where, _CONNECT_SECONDS)
        except OSError as error:
            raise PipeLost(f"no data connection to port {port} of {address}: {error.strerror or error}") from None
        self._socket.settimeout(None)
        limit = struct.pack("ll", 0, int(_BLOCKED_SECONDS * 1e6))
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)

    def put(self, chunk: memoryview, source: int, offset: int) -> int:
        """Send what the connection takes within a moment, perhaps nothing; PipeLost if it has ended.

        `source` and `offset`, where the chunk was read from, do not matter here.
        """
        return self.write(chunk)

    def write(self, chunk: memoryview) -> int:
        """Send what the connection takes within a moment, perhaps nothing; PipeLost if it has ended."""
        try:
            return self._socket.send(chunk)
        except BlockingIOError:
            return 0
        except OSError as error:
            raise PipeLost(f"the data connection ended: {error.strerror}") from None

    def close_input(self) -> None:
        """Tell the NAS that this was all; PipeLost if it has gone before."""
        try:
            self._socket.shutdown(socket.SHUT_WR)
        except OSError as error:
            raise PipeLost(f"the data connection ended: {error.strerror}") from None

    def close(self) -> None:
        """Close the connection."""
        with contextlib.suppress(OSError):
            self._socket.close()
