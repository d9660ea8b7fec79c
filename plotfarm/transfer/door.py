"""Letting the plotter's data connection in, and nobody else's.

A netcat listener takes the first that connects, so the first bytes must be a token that only the plotter knows (it
came over ssh). Strangers may connect first, again and again: each is thrown out, the plotter is told of a new
port and a new token, and none of a stranger's bytes ever reaches a file.
"""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import time
from pathlib import Path

from plotfarm.base.checkpoints import reached
from plotfarm.base.errors import TransferFailed
from plotfarm.transfer import protocol
from plotfarm.transfer.channel import Channel
from plotfarm.transfer.netcat import Listener, find_netcat, free_port
from plotfarm.transfer.protocol import Message

_LOG = logging.getLogger(__name__)
_TOKEN_BYTES = 32
_TOKEN_SECONDS = 5.0  # the plotter sends it at once
_QUICK_ATTEMPTS = 5
_PAUSE_SECONDS = 0.2  # between later attempts, so that a refusing firewall does not make both ends spin


class Door:
    """Opens a listener, waits for the plotter, and hands out the pipe that the plot's bytes come from."""

    def __init__(self, channel: Channel, netcat: str, ports: range, address: str, lock_directory: Path) -> None:
        self._channel, self._ports, self._address, self._locks = channel, ports, address, lock_directory
        self._program, self._flavour = find_netcat(netcat)
        self.attempt = 0  # the number of the data connection that counts
        self.heard: list[Message] = []  # what the plotter said meanwhile: of a small plot it is all `sent` by then

    def let_in(self, drive: str, limit_seconds: float, keep: contextlib.ExitStack) -> int:
        """Return the pipe with the token taken off; its listener and port stay until `keep` is closed.

        TransferFailed with what to check if the plotter has not come through within the limit.
        """
        deadline = time.monotonic() + limit_seconds
        while time.monotonic() < deadline:
            self.attempt += 1
            with contextlib.ExitStack() as opened:
                port, _ = opened.enter_context(free_port(self._ports, self._address, self._locks))
                listener = Listener(self._program, self._flavour, self._address, port)
                opened.callback(listener.close)
                listener.wait_until_listening()
                token = secrets.token_hex(_TOKEN_BYTES // 2)
                ready = {"port": port, "address": self._address, "token": token, "offset": 0}
                self._channel.send(protocol.encode("ready", **ready, drive=drive, attempt=self.attempt))
                reached("listening")
                if self._plotter_comes(listener, token.encode(), deadline):
                    reached("token:seen")
                    keep.push(opened.pop_all())
                    return listener.pipe
                _LOG.warning("Attempt %d on port %d: %s had no token", self.attempt, port, listener.peer())
            if self.attempt > _QUICK_ATTEMPTS:
                self._channel.wait(timeout=_PAUSE_SECONDS)
        raise TransferFailed(
            f"the plotter did not get through to {self._address} within {limit_seconds:g} seconds: does a firewall "
            f"close ports {self._ports.start}-{self._ports.stop - 1}, or does somebody else use them?"
        )

    def _plotter_comes(self, listener: Listener, token: bytes, deadline: float) -> bool:
        """Tell whether the one connection begins with the token, and soon; False if the plotter reports it lost."""
        received, connected = b"", False
        while token.startswith(received):
            # netcat speaks once more, when somebody has connected: who says nothing then is a stranger.
            watched = [listener.pipe] if connected else [listener.pipe, listener.words]
            messages, ready = self._channel.wait(watched, max(0.0, deadline - time.monotonic()))
            if any(message["type"] == "lost" and message.get("attempt") == self.attempt for message in messages):
                return False
            self.heard += messages
            if listener.words in ready:
                connected = True
                deadline = min(deadline, time.monotonic() + _TOKEN_SECONDS)
            if listener.pipe in ready:
                data = os.read(listener.pipe, len(token) - len(received))
                received += data
                if received == token or not data:
                    return received == token
            elif not messages and not ready:
                return False
        return False
