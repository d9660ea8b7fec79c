"""A NAS as the plotter's run sees it: one ssh connection a run, one session on it for each plot."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from plotfarm.base.config.sections import Config
from plotfarm.base.errors import NasUnavailable, PlotfarmError
from plotfarm.base.ssh import Connection
from plotfarm.transfer.channel import Channel, OtherEndGone
from plotfarm.transfer.protocol import Offer
from plotfarm.transfer.send import Delivered, Progress, Sender

_LOG = logging.getLogger(__name__)
_KILL_SECONDS = 20.0


class NasLink:
    """One NAS; `unavailable` once it could not be reached in this run."""

    def __init__(self, host: str, config: Config) -> None:
        self.host = host
        self.unavailable = False
        self._config = config
        self._connection: Connection | None = None

    def open(self) -> None:
        """Connect if that has not been done yet; NasUnavailable, also for the rest of the run, if it fails."""
        if self._connection is None:
            nas = self._config.nas
            connection = Connection(self.host, nas.ssh_options, nas.connect_timeout_seconds, self._config.paths.locks)
            try:
                connection.open()
            except PlotfarmError as error:
                connection.close()
                self.unavailable = True
                raise NasUnavailable(str(error)) from None
            self._connection = connection

    def close(self) -> None:
        """End the connection, if there is one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def where(self, offer: Offer) -> tuple[str, bool]:
        """Ask where a plot would go: its path there, and whether it is there already."""
        with self._sender() as sender:
            return sender.where(offer)

    def deliver(self, offer: Offer, source: int, progress: Progress) -> Delivered:
        """Bring an open plot there; PlotRefused or TransferFailed if it is not there afterwards."""
        with self._sender() as sender:
            return sender.deliver(offer, source, progress)

    def end_stale_listeners(self) -> None:
        """Have the NAS end what a killed receiver may have left; that it cannot be asked is no new trouble."""
        if self._connection is not None:
            limit = min(_KILL_SECONDS, self._config.transfer.silence_seconds)  # perhaps the link itself is dead
            with suppress(PlotfarmError):
                said = self._connection.run([self._config.nas.receive_command, "kill_nc"], limit)
                _LOG.debug("Remote nc kill called! %s: %s", self.host, said.strip())

    @contextmanager
    def _sender(self) -> Iterator[Sender]:
        """Start the receiving command for one plot, and say what it said if it goes away."""
        assert self._connection is not None
        settings = self._config.transfer
        session = self._connection.session([self._config.nas.receive_command, "receive"])
        try:
            channel = Channel(session.stdout, session.stdin, settings.beat_seconds, settings.silence_seconds, self.host)
            sender = Sender(channel, settings)
            try:
                sender.greet(settings.silence_seconds)
            except OtherEndGone as error:
                self.unavailable = True
                raise NasUnavailable(f"{error}: {_with_remedy(session.last_words())}") from None
            except NasUnavailable:
                self.unavailable = True
                raise
            try:
                yield sender
            except OtherEndGone as error:
                words = session.last_words()
                raise OtherEndGone(f"{error}: {words}" if words else str(error)) from None
        finally:
            session.close()


def _with_remedy(words: str) -> str:
    """Add what to do about the last words of a receiving command that did not even greet."""
    if any(sign in words for sign in ("No such file", "not found", "Permission denied")):
        return f"{words} (check [nas] receive_command, or the command in authorized_keys there)"
    return words or "it gave no reason (check [nas] receive_command)"
