"""Messages by e-mail: through a mail server, or through the local sendmail program."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from plotfarm.base.condition import Severity
from plotfarm.base.config.mailboxes import Mailbox, is_mailbox, parse_mailbox
from plotfarm.base.config.sections import Email
from plotfarm.base.errors import CommandFailed
from plotfarm.base.processes import run, tail
from plotfarm.base.text import one_line
from plotfarm.notify.channels.channel import SENT, Outcome, as_text, one_by_one, refused, said, title, try_again
from plotfarm.notify.channels.smtp import answered, explained, session
from plotfarm.notify.message import Message

if TYPE_CHECKING:
    import smtplib
    from email.message import EmailMessage

# sysexits.h: what another try will not change. Other codes are about the program, its network or its configuration.
_NO_SMTPUTF8 = (
    "the mail server cannot take an address that has other letters than a-z before its @ (it does not offer SMTPUTF8): "
    "use another address, or another [email] host"
)
_EX_DATAERR, _EX_NOUSER, _EX_NOPERM = 65, 67, 77


class EmailChannel:
    """`[email]`: one mail for all recipients, in one conversation with the mail server.

    Those whose addresses not every server can take get a mail of their own in it, so that they cost the others nothing.
    """

    name = "email"

    def __init__(self, settings: Email, timeout_seconds: float) -> None:
        self._settings, self._timeout_seconds = settings, timeout_seconds
        self._sender = parse_mailbox(settings.sender or default_sender())

    def recipients(self, severity: Severity | None = None) -> Sequence[str]:
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
            yield from self._converse(conversation, message, good)

    def _is_recipient(self, text: str) -> bool:
        return text in self._settings.recipients and is_mailbox(text)

    def _converse(
        self, conversation: contextlib.ExitStack, message: Message, recipients: Sequence[str]
    ) -> Iterator[tuple[str, Outcome]]:
        """Send one mail for all to the mail server, or two; the conversation is left open."""
        try:
            smtp = conversation.enter_context(session(self._settings, self._timeout_seconds))
        except Exception as error:  # a boundary: whatever it is, they get another try or are told why not
            failed = explained(error, self._settings, self._timeout_seconds)
            yield from dict.fromkeys(recipients, failed).items()
            return
        mailboxes = {text: parse_mailbox(text) for text in recipients}
        for is_international in (False, True):
            group = {text: one for text, one in mailboxes.items() if self._needs_smtputf8(one) is is_international}
            if group:
                yield from self._send_one(smtp, message, group, is_international=is_international).items()

    def _needs_smtputf8(self, recipient: Mailbox) -> bool:
        return recipient.needs_smtputf8 or self._sender.needs_smtputf8

    def _send_one(
        self, smtp: smtplib.SMTP, message: Message, recipients: Mapping[str, Mailbox], *, is_international: bool
    ) -> Mapping[str, Outcome]:
        """Send one mail to all of these, by their texts in the configuration."""
        import smtplib

        refusals: Mapping[str, tuple[int, bytes]]
        others = SENT
        addresses = [one.address for one in recipients.values()]
        try:
            smtp.ehlo_or_helo_if_needed()
            if is_international and not smtp.has_extn("smtputf8"):
                return dict.fromkeys(recipients, refused(_NO_SMTPUTF8))
            mail = compose(message, self._sender, list(recipients.values()))
            options = ["SMTPUTF8", "BODY=8BITMIME"] if is_international else []
            refusals = smtp.sendmail(self._sender.address, addresses, mail.as_bytes(), options)
        except smtplib.SMTPRecipientsRefused as error:
            refusals, others = error.recipients, try_again("the mail server ended the conversation")
        except Exception as error:  # a boundary, as above
            return dict.fromkeys(recipients, explained(error, self._settings, self._timeout_seconds))
        what = "the mail server does not accept this recipient"
        outcomes = {to: answered(code, text, self._settings, what) for to, (code, text) in refusals.items()}
        return {text: outcomes.get(one.address, others) for text, one in recipients.items()}

    def _hand_over(self, message: Message, recipient: str) -> Outcome:
        """Give a mail to the sendmail program; it has its own queue."""
        program = self._settings.sendmail
        mailbox = parse_mailbox(recipient)
        argv = [program, "-i", "-f", self._sender.address, "--", mailbox.address]
        mail = compose(message, self._sender, [mailbox])
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
    return "" if is_mailbox(sender) else f"[email] sender: {one_line(sender)} is no address"


def default_sender() -> str:
    """Return USER@HOST."""
    import pwd

    try:
        user = pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:  # a user without a name, as in a container
        user = str(os.geteuid())
    return f"{user}@{socket.gethostname()}"


def compose(message: Message, sender: Mailbox, recipients: Sequence[Mailbox]) -> EmailMessage:
    """Make a mail: text, and HTML if the message has it; 7-bit, so that every server takes it.

    Only the headers of one with an address that needs SMTPUTF8 are UTF-8.
    """
    from email.headerregistry import Address
    from email.message import EmailMessage
    from email.policy import SMTP
    from email.utils import formatdate, make_msgid

    is_international = any(one.needs_smtputf8 for one in (sender, *recipients))
    mail = EmailMessage(policy=SMTP.clone(cte_type="7bit", utf8=is_international))
    mail["From"] = Address(sender.name, sender.local, sender.domain)
    mail["To"] = [Address(one.name, one.local, one.domain) for one in recipients]
    mail["Subject"] = title(message)
    mail["Date"] = formatdate(localtime=True)
    mail["Message-ID"] = make_msgid(domain=sender.domain)
    mail["Auto-Submitted"] = "auto-generated"
    if message.severity is Severity.CRITICAL:
        mail["X-Priority"] = "1"
    mail.set_content(as_text(message.text))
    if message.html:
        mail.add_alternative(as_text(message.html), subtype="html")
    return mail
