"""The data connection of the malicious NAS: it takes a plot's bytes, holds or cuts them, or lets nobody in."""

from __future__ import annotations

import socket
import time

_READ_BYTES = 65536
_DRAIN_SECONDS = 1.0


class Door:
    """One listener, and the connection that came last; `manner` is take, refuse, cut or hold.

    `enough`: the bytes after which `take` says so, and cut and hold begin.
    """

    def __init__(self, manner: str, enough: int) -> None:
        self._manner, self._enough = manner, enough
        self._listener: socket.socket | None = None
        self._data: socket.socket | None = None
        self._taken = 0

    @property
    def port(self) -> int:
        """The port where it listens, or would."""
        if self._listener is None:
            self._listener = socket.socket()
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)  # so that little is on its way
            self._listener.bind(("127.0.0.1", 0))
            if self._manner != "refuse":
                self._listener.listen(8)
        return int(self._listener.getsockname()[1])

    def watched(self) -> list[socket.socket]:
        """Return what is readable when there is something to take."""
        if self._data is not None:
            is_held = self._manner == "hold" and self._taken >= self._enough
            return [] if is_held else [self._data]
        return [self._listener] if self._listener is not None and self._manner != "refuse" else []

    def take(self) -> bool:
        """Let somebody in, or take some bytes; True once there are enough of them."""
        if self._data is None:
            assert self._listener is not None
            self._data = self._listener.accept()[0]
            self._taken = 0
            return False
        try:
            count = len(self._data.recv(_READ_BYTES))
        except OSError:
            count = 0
        if not count:
            self.close_data()
            return False
        was_enough = self._taken >= self._enough
        self._taken += count
        if was_enough or self._taken < self._enough:
            return False
        if self._manner == "cut":
            self.close_data()
        return True

    def drain(self) -> None:
        """Take what is on its way yet."""
        deadline = time.monotonic() + _DRAIN_SECONDS
        while self._data is not None and time.monotonic() < deadline:
            self.take()

    def close_data(self) -> None:
        """Close the connection, and go on listening."""
        if self._data is not None:
            self._data.close()
            self._data = None

    def close(self) -> None:
        """Close everything."""
        self.close_data()
        if self._listener is not None:
            self._listener.close()
