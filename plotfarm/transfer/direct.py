"""`pipe = direct`: the data connection without a netcat at this end, one socket and one buffer.

What goes over it is the same as with netcat, so each end may have its own pipe.
"""

from __future__ import annotations

import contextlib
import hmac
import os
import socket
import struct
import time

from plotfarm.base.errors import TransferFailed
from plotfarm.transfer.pipe import PipeLost, Wait

_TOKEN_SECONDS = 5.0  # the plotter sends it at once
_MOST_AT_THE_DOOR = 16  # strangers who connect and say nothing: the oldest is thrown out first
_CONNECT_SECONDS = 10.0
_BLOCKED_SECONDS = 0.05  # so long a send may wait for room before the conversation is heard again


class DirectListener:
    """A socket that lets in the first who says the token; others are thrown out, as many as may come."""

    def __init__(self, address: str, port: int) -> None:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_STREAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._guests: dict[int, tuple[socket.socket, float, bytes]] = {}  # descriptor -> socket, deadline, heard
        self._admitted: socket.socket | None = None
        try:
            self._socket.bind((address, port))
            self._socket.listen(_MOST_AT_THE_DOOR)
        except OSError as error:
            self._socket.close()
            raise TransferFailed(f"cannot listen on port {port} of {address}: {error.strerror}") from None
        self._socket.setblocking(False)

    def admit(self, token: bytes, wait: Wait, deadline: float) -> int | None:
        """Return the connection with the token taken off, None at the deadline (time.monotonic).

        From then on nobody else can connect.
        """
        while (now := time.monotonic()) < deadline:
            ends = [deadline, *(until for _, until, _ in self._guests.values())]
            ready = wait([self._socket.fileno(), *self._guests], max(0.0, min(ends) - now))
            if self._socket.fileno() in ready:
                self._accept()
            for guest in [each for each in ready if each in self._guests]:
                if self._hear(guest, token):
                    self._let_in(guest)
                    return guest
            for guest, (_, until, _) in list(self._guests.items()):
                if time.monotonic() >= until:
                    self._throw_out(guest)
        return None

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # gone again already
            connection, _ = self._socket.accept()
            connection.setblocking(False)
            if len(self._guests) >= _MOST_AT_THE_DOOR:
                self._throw_out(next(iter(self._guests)))
            self._guests[connection.fileno()] = (connection, time.monotonic() + _TOKEN_SECONDS, b"")

    def _hear(self, guest: int, token: bytes) -> bool:
        """Tell whether a guest has said the whole token; one who says anything else is thrown out."""
        connection, until, heard = self._guests[guest]
        try:
            data = connection.recv(len(token) - len(heard))
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        heard += data
        self._guests[guest] = (connection, until, heard)
        if not data or not token.startswith(heard):
            self._throw_out(guest)
        return hmac.compare_digest(heard, token)

    def _let_in(self, guest: int) -> None:
        self._admitted, _, _ = self._guests.pop(guest)
        self._admitted.setblocking(True)
        self._socket.close()
        for other in list(self._guests):
            self._throw_out(other)

    def _throw_out(self, guest: int) -> None:
        connection, _, _ = self._guests.pop(guest)
        connection.close()

    def peer(self) -> str:
        """Return who was turned away: there may have been many."""
        return "whoever connected"

    def close(self) -> None:
        """Close everything that is open."""
        for guest in list(self._guests):
            self._throw_out(guest)
        self._socket.close()
        if self._admitted is not None:
            self._admitted.close()


class DirectPipe:
    """The sending end: a connection to the NAS's listener."""

    first_pause_seconds = 0.0  # `put` waits itself, in the kernel, where the connection takes bytes as they drain

    def __init__(self, address: str, port: int) -> None:
        try:
            self._socket = socket.create_connection((address, port), _CONNECT_SECONDS)
        except OSError as error:
            raise PipeLost(f"no data connection to port {port} of {address}: {error.strerror or error}") from None
        self._socket.settimeout(None)
        limit = struct.pack("ll", 0, int(_BLOCKED_SECONDS * 1e6))
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
        self.exited = os.dup(self._socket.fileno())

    def put(self, piece: memoryview, source: int, offset: int) -> int:
        """Send what the connection takes within a moment, perhaps nothing; PipeLost if it has ended.

        `source` and `offset`, where the piece was read from, do not matter here.
        """
        return self.write(piece)

    def write(self, piece: memoryview) -> int:
        """Send what the connection takes within a moment, perhaps nothing; PipeLost if it has ended."""
        try:
            return self._socket.send(piece)
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

    def check(self) -> None:
        """Raise PipeLost if the connection broke; that the NAS closed it when it had everything is well."""
        number = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if number:
            raise PipeLost(f"the data connection failed: {os.strerror(number)}")

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()
        os.close(self.exited)
