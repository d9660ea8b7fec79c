"""A session with a NAS over an ssh connection that stands: the receiving command there, and how plots get to it."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from plotfarm.base.config.sections import Config, TransferSettings
from plotfarm.base.errors import NasRefuses, NasUnavailable, PlotfarmError
from plotfarm.base.ssh import SSH_FAILED, Connection, Session
from plotfarm.transfer.channel import Channel
from plotfarm.transfer.direct import DirectPipe
from plotfarm.transfer.netcat import NetcatPipe
from plotfarm.transfer.pipe import Pipe
from plotfarm.transfer.sender import Sender
from plotfarm.transfer.stream import OpenSession

_LOG = logging.getLogger(__name__)
_KILL_SECONDS = 20.0


@contextmanager
def open_session(connection: Connection, own_address: str, config: Config) -> Iterator[OpenSession]:
    """Start the receiving command for one session, and say what it said if it goes away.

    `own_address`: that of the link, if it has one of its own. Where to connect to is never the NAS's to say.
    """
    settings = config.transfer
    # Not before a plot goes there: most NAS are only asked for their room.
    address = functools.cache(lambda: own_address or connection.address())
    session = connection.session([config.nas.receive_command, "receive"])
    try:
        channel = Channel(
            session.stdout, session.stdin, settings.beat_seconds, settings.silence_seconds, connection.host
        )
        channel.last_words = session.last_words
        sender = Sender(channel, settings, functools.partial(_connect, address, settings))
        try:
            sender.greet(settings.silence_seconds)
        except NasUnavailable as error:
            words = _with_remedy(str(error))
            raise NasRefuses(words) if _has_answered(session) else NasUnavailable(words) from None
        yield OpenSession(sender, channel, address)
    finally:
        session.close()


def _connect(address: Callable[[], str], settings: TransferSettings, port: int) -> Pipe:
    """Open a data connection to a port that the NAS has named, at the address that leads to it."""
    if settings.pipe == "direct":
        return DirectPipe(address(), port)
    return NetcatPipe(address(), port, settings.netcat)


def end_stale_listeners(connection: Connection, config: Config) -> None:
    """Have the NAS end what a killed receiver may have left; that it cannot be asked is no new trouble."""
    limit = min(_KILL_SECONDS, config.transfer.silence_seconds)  # perhaps the link itself is dead
    with suppress(PlotfarmError):
        said = connection.run([config.nas.receive_command, "kill_nc"], limit)
        _LOG.debug("Remote nc kill called! %s: %s", connection.host, said.strip())


def _has_answered(session: Session) -> bool:
    """Tell whether a command that did not greet was ended by the other host, and not by ssh."""
    return session.process.poll() not in (None, SSH_FAILED)


def _with_remedy(words: str) -> str:
    """Add what to do about the last words of a receiving command that did not even greet."""
    if any(sign in words for sign in ("No such file", "not found", "Permission denied")):
        return f"{words} (check [nas] receive_command, or the command in authorized_keys there)"
    return words if ": " in words else f"{words}: it gave no reason (check [nas] receive_command)"
