"""One conversation with a mail server: how it is opened, and what its refusals mean."""

from __future__ import annotations

import contextlib
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from plotfarm.base.config.sections import Email
from plotfarm.base.errors import PlotfarmError
from plotfarm.base.text import one_line
from plotfarm.notify.channels.channel import Outcome, refused, said, try_again, unexpected

if TYPE_CHECKING:
    import smtplib
    import ssl

_USUAL_PORTS = {"tls": 465, "starttls": 587, "none": 25}
_PERMANENT = range(500, 600)
_LOGIN_WANTED = 530


@contextlib.contextmanager
def session(settings: Email, timeout_seconds: float) -> Iterator[smtplib.SMTP]:
    """Open a conversation, encrypted and logged in as configured; goodbye is said in the end.

    With starttls or tls nothing is said before the server has shown a certificate that is trusted and its own.
    """
    import smtplib

    host, port, own_name = settings.host, port_of(settings), _own_name()
    smtp: smtplib.SMTP
    if settings.security == "tls":
        context = _trust(settings.certificates)
        smtp = smtplib.SMTP_SSL(host, port, own_name, timeout=timeout_seconds, context=context)
    else:
        smtp = smtplib.SMTP(host, port, own_name, timeout=timeout_seconds)
    with contextlib.closing(smtp):
        if settings.security == "starttls":
            smtp.starttls(context=_trust(settings.certificates))
        if settings.user:
            smtp.login(settings.user, _password(settings))
        yield smtp
        with contextlib.suppress(smtplib.SMTPException, OSError):  # what was to be said has been said
            smtp.quit()


def port_of(settings: Email) -> int:
    """Return the port of the mail server."""
    return settings.port or _USUAL_PORTS[settings.security]


def explained(error: Exception, settings: Email, timeout_seconds: float) -> Outcome:
    """Return what an error of a conversation means for those whom the mail was for."""
    import smtplib
    import ssl

    server = f"the mail server {settings.host}:{port_of(settings)}"
    if isinstance(error, PlotfarmError):
        return try_again(one_line(str(error)))
    if isinstance(error, smtplib.SMTPAuthenticationError):
        remedy = "check [email] user and password (some providers want an app password)"
        return answered(error.smtp_code, error.smtp_error, settings, f"{server} does not accept the login", remedy)
    if isinstance(error, smtplib.SMTPSenderRefused):
        what = f"{server} does not accept the sender {said(error.sender)}"
        remedy = "check [email] sender" if error.smtp_code != _LOGIN_WANTED else "set [email] user and password"
        return answered(error.smtp_code, error.smtp_error, settings, what, remedy)
    if isinstance(error, smtplib.SMTPConnectError | smtplib.SMTPHeloError):  # whom it refuses is this host, for now
        return try_again(f"{server} wants no mail from this host ({error.smtp_code} {said(error.smtp_error)})")
    if isinstance(error, smtplib.SMTPResponseException):
        return answered(error.smtp_code, error.smtp_error, settings, f"{server} refused the mail")
    if isinstance(error, smtplib.SMTPServerDisconnected):
        return try_again(f"{server} ended the conversation or did not answer within {timeout_seconds:g} seconds")
    if isinstance(error, smtplib.SMTPException):  # no STARTTLS, no login, or none that smtplib knows
        remedy = "check [email] security and port, and user if it wants no login"
        return try_again(f"{server} does not offer what is needed ({said(str(error))}): {remedy}")
    if isinstance(error, ssl.SSLCertVerificationError):
        remedy = "check [email] host, or name your own authority in [email] certificates"
        return try_again(f"{server} is not trusted ({said(error.verify_message)}): {remedy}")
    if isinstance(error, ssl.SSLError):
        return try_again(f"no encryption with {server} ({said(error.reason or '')}): check [email] security and port")
    if isinstance(error, TimeoutError):
        return try_again(
            f"{server} did not answer within {timeout_seconds:g} seconds: check [email] host, port and security"
        )
    if isinstance(error, OSError):
        return try_again(f"{server} cannot be reached ({said(error.strerror or '')}): check [email] host and port")
    return unexpected("email", error)


def answered(code: int, text: bytes | str, settings: Email, what: str, remedy: str = "") -> Outcome:
    """Return the outcome of a reply of the server: 5xx is its last word, anything else is for now."""
    why = f"{what} ({code} {said(text, _secrets(settings))})"
    return (refused if code in _PERMANENT else try_again)(f"{why}: {remedy}" if remedy else why)


def _secrets(settings: Email) -> list[str]:
    """Return what a reply may repeat of a login; SASL PLAIN sends both parts as one."""
    try:
        password = settings.password.reveal()
    except PlotfarmError:
        return []  # then it was not sent either
    return [password, f"\0{settings.user}\0{password}"]


def _password(settings: Email) -> str:
    password = settings.password.reveal()
    if not (settings.user.isascii() and password.isascii()):
        raise PlotfarmError("[email] user and password may have ASCII characters only: a login carries no others")
    return password


def _trust(certificates: str) -> ssl.SSLContext:
    """Return the authorities that a server's certificate must come from; PlotfarmError if there are none."""
    import ssl

    if not certificates:
        return ssl.create_default_context()
    try:
        path = Path(certificates).expanduser()
        if path.is_dir():
            return ssl.create_default_context(capath=path)
        return ssl.create_default_context(cafile=path)
    except (OSError, RuntimeError) as error:
        reason = (isinstance(error, OSError) and error.strerror) or str(error) or "no certificates in it"
        raise PlotfarmError(f"cannot use [email] certificates {certificates}: {said(reason)}") from None


def _own_name() -> str:
    """Return how this host introduces itself; its name if that is a full one, without asking a name server."""
    name = socket.gethostname()
    return name if re.fullmatch(r"[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+", name) else "[127.0.0.1]"
