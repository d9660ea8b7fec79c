"""Letting the plotter's data connection in, and nobody else's.

The first bytes of a data connection must be a token that only the plotter knows (it came over ssh). Strangers may
connect first, again and again: each is thrown out, none of their bytes ever reaches a file. A netcat listener
takes only the first that connects, so the plotter is told of a new port and a new token then.
"""

from __future__ import annotations

import contextlib
import logging
import secrets
import time
from collections.abc import Sequence
from pathlib import Path

from plotfarm.base.checkpoints import reached
from plotfarm.base.config.sections import TransferSettings
from plotfarm.base.errors import TransferFailed
from plotfarm.transfer import protocol
from plotfarm.transfer.channel import Channel
from plotfarm.transfer.direct import DirectListener
from plotfarm.transfer.netcat import NetcatListener, find_netcat, free_port
from plotfarm.transfer.pipe import Listener
from plotfarm.transfer.protocol import Message

_LOG = logging.getLogger(__name__)
_TOKEN_BYTES = 32
_QUICK_ATTEMPTS = 5
_PAUSE_SECONDS = 0.2  # between later attempts, so that a refusing firewall does not make both ends spin


class _Lost(Exception):
    """The plotter reports that its data connection was lost."""


class Door:
    """Opens a listener, waits for the plotter, and hands out the connection that the plot's bytes come from."""

    def __init__(self, channel: Channel, settings: TransferSettings, address: str, lock_directory: Path) -> None:
        self._channel, self._settings, self._address, self._locks = channel, settings, address, lock_directory
        self.attempt = 0  # the number of the data connection that counts
        self.heard: list[Message] = []  # what the plotter said meanwhile: of a small plot it is all `sent` by then

    def let_in(self, drive: str, offset: int, limit_seconds: float, keep: contextlib.ExitStack) -> int:
        """Return the connection with the token taken off; its listener and port stay until `keep` is closed.

        The plotter is told to begin at `offset`. TransferFailed with what to check if it has not come through within
        the limit.
        """
        deadline, ports = time.monotonic() + limit_seconds, self._settings.ports
        while time.monotonic() < deadline:
            self.attempt += 1
            with contextlib.ExitStack() as opened:
                port, _ = opened.enter_context(free_port(ports, self._address, self._locks))
                listener = self._listen(port)
                opened.callback(listener.close)
                token = secrets.token_hex(_TOKEN_BYTES // 2)
                ready = {"port": port, "address": self._address, "token": token, "offset": offset}
                self._channel.send(protocol.encode("ready", **ready, drive=drive, attempt=self.attempt))
                reached("listening")
                with contextlib.suppress(_Lost):
                    connection = listener.admit(token.encode(), self._wait, deadline)
                    if connection is not None:
                        reached("token:seen")
                        keep.push(opened.pop_all())
                        return connection
                _LOG.warning("Attempt %d on port %d: %s had no token", self.attempt, port, listener.peer())
            if self.attempt > _QUICK_ATTEMPTS:
                self._channel.wait(timeout=_PAUSE_SECONDS)
        raise TransferFailed(
            f"the plotter did not get through to {self._address} within {limit_seconds:g} seconds: does a firewall "
            f"close ports {ports.start}-{ports.stop - 1}, or does somebody else use them?"
        )

    def _listen(self, port: int) -> Listener:
        if self._settings.pipe == "direct":
            return DirectListener(self._address, port)
        listener = NetcatListener(*find_netcat(self._settings.netcat), self._address, port)
        try:
            listener.wait_until_listening()
        except BaseException:
            listener.close()
            raise
        return listener

    def _wait(self, descriptors: Sequence[int], seconds: float) -> list[int]:
        messages, ready = self._channel.wait(descriptors, seconds)
        if any(message["type"] == "lost" and message.get("attempt") == self.attempt for message in messages):
            raise _Lost
        self.heard += messages
        return ready
