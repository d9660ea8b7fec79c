"""Accepting the plotter's data connection, and nobody else's.

Only connections from the plotter's address are looked at, and their first bytes must be a token that only the plotter
knows (it came over ssh). Strangers may connect first, again and again: each is turned away at once, none of their
bytes ever reaches a file. A netcat accepts only the first that connects, so after a stranger the plotter is told of
another port and another token.
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
from plotfarm.base.errors import CommandFailed, PlotfarmError, ProtocolError, TransferFailed
from plotfarm.base.text import one_line
from plotfarm.transfer.addresses import AllowedClients, checked_address
from plotfarm.transfer.channel import Channel
from plotfarm.transfer.direct import DirectListener
from plotfarm.transfer.effects import Stopped
from plotfarm.transfer.messages import Lost, Ready, Sent, name_of
from plotfarm.transfer.netcat import NetcatListener, find_netcat
from plotfarm.transfer.outcomes import Failure
from plotfarm.transfer.pipe import Listener
from plotfarm.transfer.ports import free_port, is_free

_LOG = logging.getLogger(__name__)
_TOKEN_BYTES = 16
_MOST_ATTEMPTS = 200  # for one plot
_LAST_ATTEMPT = 10_000  # for one session
_QUICK_LOSSES = 5
_PAUSE_SECONDS = 0.2  # after more losses than that, so that a refusing firewall does not make both ends spin


class _Lost(Exception):
    """The plotter reports that its data connection was lost."""


class Door:
    """Opens a listener, waits for the plotter, and hands out the connection that the plot's bytes come from.

    One for a session: its attempts are counted on, so that a late word about an earlier one is known for what it is.
    `client_address`: where the plotter comes from, an address or a network; "": it is on this host.
    """

    def __init__(
        self,
        channel: Channel,
        settings: TransferSettings,
        address: str,
        client_address: str,
        lock_directory: Path,
    ) -> None:
        try:
            self._address = checked_address(address)
        except ValueError:
            raise PlotfarmError(f"{one_line(address)} is no address to listen on") from None
        self._channel = channel
        self._settings = settings
        self._allowed = AllowedClients(client_address, self._address)
        self._locks = lock_directory
        self._attempt = 0  # the number of the data connection that counts
        self._last_lost = 0  # the attempt that the plotter reported lost last
        self._sent: Sent | None = None  # of a small plot it may be said before the connection was looked at
        self._held: tuple[int, contextlib.ExitStack] | None = None  # a port, and what lets it go

    def hold_port(self) -> bool:
        """Take a port for the next listener, unless one is held; False if none is free."""
        if self._held is None:
            kept = contextlib.ExitStack()
            try:
                port, _ = kept.enter_context(free_port(self._settings.ports, self._address, self._locks))
            except Stopped:
                return False
            self._held = (port, kept)
        return True

    def let_port_go(self) -> None:
        """Leave to others the port that is held, if one is."""
        if self._held is not None:
            _, kept = self._held
            self._held = None
            kept.close()

    def open(
        self, arrival: str, drive: str, segments: int, limit_seconds: float, keep: contextlib.ExitStack
    ) -> tuple[int, int]:
        """Say `ready`, and return the attempt that got through and its connection, the token taken off.

        Its listener and port stay until `keep` is closed. `segments`: how many the plotter shall leave out. Stopped
        with NOT_CONNECTED if the plotter has not come through within the limit, with NO_PORT if nothing can listen.
        """
        deadline = time.monotonic() + limit_seconds
        losses = 0
        is_told = False  # of strangers: once for a plot, whatever they do
        for _ in range(_MOST_ATTEMPTS):
            if time.monotonic() >= deadline or self._attempt >= _LAST_ATTEMPT:
                break
            self._attempt += 1
            with contextlib.ExitStack() as opened:
                listener, port = self._listen(opened)
                token = secrets.token_hex(_TOKEN_BYTES)
                self._channel.send(Ready(port, token, drive, arrival, segments, self._attempt))
                reached("listening")
                try:
                    connection = listener.accept(token.encode(), self._wait, deadline)
                except _Lost:
                    losses += 1
                else:
                    if (strangers := listener.turned_away()) and not is_told:
                        is_told = True
                        _LOG.warning("Port %d: turned away: %s", port, one_line(strangers))
                    if connection is not None:
                        reached("token:seen")
                        keep.push(opened.pop_all())
                        self._hand_on()
                        return self._attempt, connection
            if losses > _QUICK_LOSSES:
                self._wait([], _PAUSE_SECONDS)
        raise Stopped(Failure.NOT_CONNECTED, self._advice(limit_seconds))

    def _listen(self, opened: contextlib.ExitStack) -> tuple[Listener, int]:
        """Return a listener that listens, and its port."""
        port = self._take_port(opened)
        try:
            if self._settings.pipe == "direct":
                direct = DirectListener(self._address, port, self._allowed)
                opened.callback(direct.close)
                return direct, port
            program, flavour = find_netcat(self._settings.netcat)
            netcat = NetcatListener(program, flavour, self._address, port, self._allowed)
            opened.callback(netcat.close)
            netcat.wait_until_listening()
        except (TransferFailed, CommandFailed) as error:
            raise Stopped(Failure.NO_PORT, str(error)) from None
        return netcat, port

    def _take_port(self, opened: contextlib.ExitStack) -> int:
        """Return the port that is held, or another one if that is in use by now."""
        if self._held is not None:
            port, kept = self._held
            if is_free(port, self._address):
                self._held = None
                opened.enter_context(kept)
                return port
            self.let_port_go()
        port, _ = opened.enter_context(free_port(self._settings.ports, self._address, self._locks))
        return port

    def _wait(self, descriptors: Sequence[int], seconds: float) -> list[int]:
        """Wait for descriptors, and for what the plotter says meanwhile: _Lost if that is of this attempt."""
        received, ready = self._channel.wait(descriptors, seconds)
        is_lost = False
        for message in received:
            if isinstance(message, Lost) and self._last_lost < message.attempt <= self._attempt:
                self._last_lost = message.attempt
                is_lost = message.attempt == self._attempt
            elif isinstance(message, Sent) and message.attempt == self._attempt and self._sent is None:
                self._sent = message
            elif not isinstance(message, Sent) or message.attempt >= self._attempt:
                raise ProtocolError(f"the plotter said {name_of(type(message))!r} where it may not")
        if is_lost:
            raise _Lost
        return ready

    def _hand_on(self) -> None:
        """Leave to others what the plotter has said of the attempt that got through."""
        if self._sent is not None:
            self._channel.put_back([self._sent])
            self._sent = None

    def _advice(self, limit_seconds: float) -> str:
        ports = self._settings.ports
        return (
            f"the plotter did not get through to {self._address} within {limit_seconds:g} seconds: does a firewall "
            f"close ports {ports.start}-{ports.stop - 1}, or does somebody else use them?"
        )
