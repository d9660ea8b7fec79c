"""Text messages, by Twilio."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from plotfarm.base.condition import Severity
from plotfarm.base.config.sections import Sms
from plotfarm.notify.channels.channel import (
    SENT,
    Outcome,
    as_text,
    is_final,
    network_trouble,
    one_by_one,
    refused,
    said,
    try_again,
)
from plotfarm.notify.message import Message

if TYPE_CHECKING:
    from twilio.http import HttpClient  # type: ignore[import-untyped]

_LONGEST = 1600  # what Twilio takes, in several parts
_MESSAGING_SERVICE = "MG"  # how the SID of one begins
# Twilio's error codes that an owner can do something about: https://www.twilio.com/docs/api/errors
_REMEDIES = {
    20003: "check [sms] account_sid and auth_token",
    20404: "check [sms] account_sid",
    21211: "check the number in [sms] recipients",
    21212: "check [sms] sender",
    21606: "check [sms] sender: it is none of your Twilio numbers",
    21608: "a trial account sends only to numbers that were verified at twilio.com",
    21610: "this phone has answered STOP: send START from it",
    21614: "it is no mobile number: check [sms] recipients",
    21659: "check [sms] sender: it is none of your Twilio numbers",
}


class SmsChannel:
    """`[sms]`: the short form of a message as an SMS to each number.

    `http_client` takes the place of Twilio's own, which has the time limit.
    """

    name = "sms"

    def __init__(self, settings: Sms, timeout_seconds: float, http_client: HttpClient | None = None) -> None:
        self._settings, self._timeout_seconds, self._http_client = settings, timeout_seconds, http_client

    def recipients(self, severity: Severity | None = None) -> Sequence[str]:
        """Return the numbers."""
        return self._settings.recipients

    def send(self, message: Message, recipients: Sequence[str]) -> Iterator[tuple[str, Outcome]]:
        """Send an SMS to each of these numbers, one after the other."""
        return one_by_one(
            self.name, recipients, self._settings.recipients, lambda recipient: self._send_one(message, recipient)
        )

    def _send_one(self, message: Message, recipient: str) -> Outcome:
        from plotfarm.notify.channels import bare

        if bare.is_wanted():
            return self._send_bare(message, recipient)
        try:
            import requests
            from twilio.base.exceptions import TwilioException  # type: ignore[import-untyped]
            from twilio.http.http_client import TwilioHttpClient  # type: ignore[import-untyped]
            from twilio.rest import Client  # type: ignore[import-untyped]
        except ImportError:  # the packages of this checkout cannot be used, and that has to be told
            return self._send_bare(message, recipient)

        sid, token, sender = self._settings.account_sid, self._settings.auth_token.reveal(), self._settings.sender
        by_service = sender.startswith(_MESSAGING_SERVICE)
        origin = {"messaging_service_sid": sender} if by_service else {"from_": sender}
        client = Client(sid, token, http_client=self._http_client or TwilioHttpClient(timeout=self._timeout_seconds))
        try:
            client.messages.create(to=recipient, body=as_text(message.short)[:_LONGEST], **origin)
        except TwilioException as error:
            return _answered(error, [token, f"{sid}:{token}"])
        except requests.RequestException as error:
            return network_trouble(error, "Twilio", self._timeout_seconds)
        return SENT

    def _send_bare(self, message: Message, recipient: str) -> Outcome:
        from plotfarm.notify.channels import bare

        settings = self._settings
        key = "MessagingServiceSid" if settings.sender.startswith(_MESSAGING_SERVICE) else "From"
        text = as_text(message.short)[:_LONGEST]
        token = settings.auth_token.reveal()
        posted = bare.text_message(settings.account_sid, token, {key: settings.sender}, recipient, text)
        return bare.post(posted, self._timeout_seconds)


def problem(settings: Sms) -> str:
    """Say what is missing in `[sms]`, or nothing."""
    needed = ("account_sid", "auth_token", "sender", "recipients")
    missing = [name for name in needed if not getattr(settings, name)]
    return f"[sms] {' and '.join(missing)} {'are' if len(missing) > 1 else 'is'} empty" if missing else ""


def _answered(error: Exception, secrets: Sequence[str]) -> Outcome:
    """Return the outcome of what Twilio does not do: 4xx is its last word, but for too many requests."""
    status, code = getattr(error, "status", None), getattr(error, "code", None)
    words = getattr(error, "msg", None) or getattr(error, "title", None) or type(error).__name__
    why = f"Twilio did not take it (HTTP {status}, error {code}: {said(str(words), secrets)})"
    if remedy := _REMEDIES.get(code or 0):
        why += f": {remedy}"
    return (refused if isinstance(status, int) and is_final(status) else try_again)(why)
