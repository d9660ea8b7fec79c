"""A mail server on loopback, in a thread of its own: real SMTP, and it keeps what it gets.

`python -m testbed.mail_server DIRECTORY` runs one by hand: it says where it listens and writes each mail to a file.
"""

from __future__ import annotations

import argparse
import asyncio
import email
import email.policy
import signal
import ssl
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from email.message import EmailMessage
from pathlib import Path
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from testbed.service import Service


@dataclass(frozen=True)
class Received:
    """One mail as it arrived."""

    sender: str
    recipients: Sequence[str]  # of the envelope
    raw: bytes
    encrypted: bool
    user: str  # who was logged in; "": nobody

    @property
    def mail(self) -> EmailMessage:
        """The mail itself."""
        return email.message_from_bytes(self.raw, policy=email.policy.default)

    def part(self, kind: str) -> str:
        """Return the text of the part `plain` or `html`, its lines ended as Python ends them."""
        part = self.mail.get_body((kind,))
        assert part is not None
        return str(part.get_content()).replace("\r\n", "\n")


@dataclass
class MailServer(Service):
    """A mail server, as a context manager or with `start` and `stop`; after a stop it starts on the same port.

    `security` is none, starttls or tls, for which it needs a `context`. With a `login` (user, password) it demands
    that, over an encrypted connection only unless there is no encryption at all. The replies can be set at any time.
    """

    security: str = "none"
    context: ssl.SSLContext | None = None
    login: tuple[str, str] | None = None
    smtputf8: bool = False  # whether it takes addresses beyond ASCII: RFC 6531
    directory: Path | None = None  # where each mail becomes a file, 0001.eml and so on
    replies: dict[str, str] = field(default_factory=dict)  # to a recipient: "550 5.1.1 no such user"
    reply_to_sender: str = ""  # "451 4.7.1 come back later"
    reply_to_mail: str = ""  # after all of it was received
    reply_to_login: str = "535 5.7.8 Authentication credentials invalid"
    received: list[Received] = field(default_factory=list)
    conversations: int = 0
    goodbyes: int = 0  # conversations that ended with QUIT
    address: str = "127.0.0.1"
    port: int = 0

    @property
    def settings(self) -> dict[str, object]:
        """What a farm's configuration says, `section.key` -> value, whose owner gets mails here."""
        return {
            "notifications.alerting": True,
            "notifications.email": True,
            "email.host": self.address,
            "email.port": self.port,
            "email.security": "none",
            "email.sender": "farm@example.org",
            "email.recipients": "farmer@example.org",
        }

    def start(self) -> None:
        """Listen, from now on."""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="mail server", daemon=True)
        self._thread.start()
        opened = asyncio.run_coroutine_threadsafe(self._listen(), self._loop)
        self._server = opened.result()
        self.port = self._server.sockets[0].getsockname()[1]

    def stop(self) -> None:
        """End all conversations and listen no more."""
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _listen(self) -> asyncio.Server:
        tls = self.context if self.security == "tls" else None
        return await self._loop.create_server(self._conversation, self.address, self.port, ssl=tls)

    async def _end(self) -> None:
        self._server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    def _conversation(self) -> SMTP:
        self.conversations += 1
        return SMTP(
            _Handler(self),
            hostname="localhost",
            tls_context=self.context if self.security == "starttls" else None,
            require_starttls=self.security == "starttls",
            auth_required=self.login is not None,
            auth_require_tls=self.security == "starttls",  # else it is encrypted from the first byte, or never
            authenticator=self._authenticate,
            enable_SMTPUTF8=self.smtputf8,
            loop=self._loop,
        )

    def _authenticate(self, server: SMTP, session: Session, envelope: Envelope, how: str, data: Any) -> AuthResult:
        assert isinstance(data, LoginPassword)
        login = (data.login.decode(), data.password.decode())
        if login == self.login:
            return AuthResult(success=True, auth_data=login[0])
        return AuthResult(success=False, handled=False, message=self.reply_to_login)

    def keep(self, session: Session, envelope: Envelope) -> None:
        """Keep a mail."""
        encrypted = self.security == "tls" or session.ssl is not None
        raw = envelope.original_content or b""
        user = str(session.auth_data or "")
        self.received.append(Received(envelope.mail_from or "", list(envelope.rcpt_tos), raw, encrypted, user))
        if self.directory is not None:
            self.directory.mkdir(parents=True, exist_ok=True)
            (self.directory / f"{len(self.received):04}.eml").write_bytes(raw)


class _Handler:
    """What aiosmtpd asks at each step; the names are its own."""

    def __init__(self, server: MailServer) -> None:
        self._server = server

    async def handle_MAIL(  # noqa: N802
        self, smtp: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if not self._server.reply_to_sender:
            envelope.mail_from = address
        return self._server.reply_to_sender or "250 OK"

    async def handle_RCPT(  # noqa: N802
        self, smtp: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if address in self._server.replies:
            return self._server.replies[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, smtp: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        if self._server.reply_to_mail:
            return self._server.reply_to_mail
        self._server.keep(session, envelope)
        return "250 OK"

    async def handle_QUIT(self, smtp: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        self._server.goodbyes += 1
        return "221 Bye"


def main() -> None:
    """Run a mail server until it is ended with a signal."""
    parser = argparse.ArgumentParser(prog="python -m testbed.mail_server", description=main.__doc__)
    parser.add_argument("directory", type=Path, help="where each mail becomes a file")
    parser.add_argument("--port", type=int, default=0, help="default: a free one")
    arguments = parser.parse_args()
    signals = {signal.SIGINT, signal.SIGTERM}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)  # before there are threads, which inherit it
    with MailServer(directory=arguments.directory, port=arguments.port) as server:
        print(f"{server.address}:{server.port}", flush=True)
        signal.sigwait(signals)


if __name__ == "__main__":
    main()
