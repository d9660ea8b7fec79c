"""Messages by e-mail: through a mail server, or through the local sendmail program."""

from __future__ import annotations

import contextlib
import os
import re
import socket
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from plotfarm.base.condition import Severity
from plotfarm.base.config.sections import Email
from plotfarm.base.errors import CommandFailed
from plotfarm.base.processes import run, tail
from plotfarm.base.text import one_line
from plotfarm.notify.channels.channel import SENT, Outcome, as_text, one_by_one, refused, said, title, try_again
from plotfarm.notify.channels.smtp import answered, explained, session
from plotfarm.notify.message import Message

if TYPE_CHECKING:
    from email.message import EmailMessage

# What can stand in a header and in an SMTP command as it is.
_ADDRESS = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]+@[A-Za-z0-9.:\[\]-]+")
# sysexits.h: what another try will not change. Other codes are about the program, its network or its configuration.
_EX_DATAERR, _EX_NOUSER, _EX_NOPERM = 65, 67, 77


class EmailChannel:
    """`[email]`: one mail for all recipients, in one conversation with the mail server."""

    name = "email"

    def __init__(self, settings: Email, timeout_seconds: float) -> None:
        self._settings, self._timeout_seconds = settings, timeout_seconds
        self._sender = settings.sender or default_sender()

    def recipients(self) -> Sequence[str]:
        """Return the addresses."""
        return self._settings.recipients

    def send(self, message: Message, recipients: Sequence[str]) -> Iterator[tuple[str, Outcome]]:
        """Send one mail to these addresses, and yield what became of it for each."""
        good = [recipient for recipient in recipients if self._is_recipient(recipient)]
        if self._settings.method == "sendmail":  # it has one status for all recipients, so each gets a mail
            yield from one_by_one(self.name, recipients, good, lambda to: self._hand_over(message, to))
            return
        for recipient in recipients:
            if recipient not in good:
                yield recipient, refused("this is not (or no longer) an address in [email] recipients")
        if not good:
            return
        with contextlib.ExitStack() as conversation:
            # What became of the mail is told before the server is told goodbye.
            yield from self._converse(conversation, message, good).items()

    def _is_recipient(self, address: str) -> bool:
        return address in self._settings.recipients and _ADDRESS.fullmatch(address) is not None

    def _converse(
        self, conversation: contextlib.ExitStack, message: Message, recipients: Sequence[str]
    ) -> Mapping[str, Outcome]:
        """Send one mail for all to the mail server; the conversation is left open."""
        import smtplib

        refusals: Mapping[str, tuple[int, bytes]]
        others = SENT
        try:
            mail = compose(message, self._sender, recipients)
            smtp = conversation.enter_context(session(self._settings, self._timeout_seconds))
            refusals = smtp.sendmail(self._sender, recipients, mail.as_bytes())
        except smtplib.SMTPRecipientsRefused as error:
            refusals, others = error.recipients, try_again("the mail server ended the conversation")
        except Exception as error:  # a boundary: whatever it is, these recipients get another try or are told why not
            failed = explained(error, self._settings, self._timeout_seconds)
            return dict.fromkeys(recipients, failed)
        what = "the mail server does not accept this recipient"
        fates = {to: answered(code, text, self._settings, what) for to, (code, text) in refusals.items()}
        return {to: fates.get(to, others) for to in recipients}

    def _hand_over(self, message: Message, recipient: str) -> Outcome:
        """Give a mail to the sendmail program; it has its own queue."""
        program = self._settings.sendmail
        argv = [program, "-i", "-f", self._sender, "--", recipient]
        mail = compose(message, self._sender, [recipient])
        text = mail.as_string(policy=mail.policy.clone(linesep="\n"))
        try:
            done = run(argv, timeout_seconds=self._timeout_seconds, input_text=text)
        except CommandFailed as error:
            return try_again(f"{error}: check [email] sendmail")
        if done.status == 0:
            return SENT
        why = f"{program} ended with status {done.status}: {said(tail(done.errors or done.output))}"
        return (refused if done.status in (_EX_DATAERR, _EX_NOUSER, _EX_NOPERM) else try_again)(why)


def problem(settings: Email) -> str:
    """Say what is missing in `[email]`, or nothing."""
    if not settings.recipients:
        return "[email] recipients is empty"
    if settings.method == "smtp" and not settings.host:
        return "[email] host is empty"
    if settings.method == "smtp" and bool(settings.user) != bool(settings.password):
        return "[email] user and password belong together: one of them is empty"
    sender = settings.sender or default_sender()
    return "" if _ADDRESS.fullmatch(sender) else f"[email] sender: {one_line(sender)} is no address"


def default_sender() -> str:
    """Return USER@HOST."""
    import pwd

    try:
        user = pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:  # a user without a name, as in a container
        user = str(os.geteuid())
    return f"{user}@{socket.gethostname()}"


def compose(message: Message, sender: str, recipients: Sequence[str]) -> EmailMessage:
    """Make a mail: text, and HTML if the message has it; 7-bit, so that every server takes it."""
    from email.message import EmailMessage
    from email.policy import SMTP
    from email.utils import formatdate, make_msgid

    mail = EmailMessage(policy=SMTP.clone(cte_type="7bit"))
    mail["From"] = sender
    mail["To"] = ", ".join(recipients)
    mail["Subject"] = title(message)
    mail["Date"] = formatdate(localtime=True)
    mail["Message-ID"] = make_msgid(domain=sender.rpartition("@")[2])
    mail["Auto-Submitted"] = "auto-generated"
    if message.severity is Severity.CRITICAL:
        mail["X-Priority"] = "1"
    mail.set_content(as_text(message.text))
    if message.html:
        mail.add_alternative(as_text(message.html), subtype="html")
    return mail
