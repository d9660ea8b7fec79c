"""Messages by any other service, as Apprise URLs."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Iterator, Mapping, Sequence

from plotfarm.base.condition import Severity
from plotfarm.base.secret import Secret
from plotfarm.notify.channels.channel import (
    SENT,
    Outcome,
    as_text,
    label,
    one_by_one,
    refused,
    title,
    try_again,
)
from plotfarm.notify.message import Message

_KINDS = {Severity.INFO: "info", Severity.WARNING: "warning", Severity.CRITICAL: "failure"}
_SCHEMA = re.compile(r"([a-z][a-z0-9]{0,19})://", re.IGNORECASE)
_STATUS = re.compile(r"error=(\d{3})\b")
_REMEDIES = {
    400: "see how the URL is written at https://github.com/caronc/apprise",
    401: "is the URL in [notifications] services still right?",
    403: "is the URL in [notifications] services still right?",
    404: "is the URL in [notifications] services still right?",
    429: "too many messages in a short time",
}


class ServicesChannel:
    """`[notifications] services`: the text of a message to each Apprise URL."""

    name = "services"

    def __init__(self, urls: Sequence[Secret], timeout_seconds: float) -> None:
        self._urls: Mapping[str, Secret] = {label(_kind(url), url): url for url in urls}
        self._timeout_seconds = timeout_seconds

    def recipients(self) -> Sequence[str]:
        """Return a label for each URL."""
        return tuple(self._urls)

    def send(self, message: Message, recipients: Sequence[str]) -> Iterator[tuple[str, Outcome]]:
        """Send to each of these services, one after the other."""
        return one_by_one(self.name, recipients, self._urls, lambda recipient: self._send_one(message, recipient))

    def _send_one(self, message: Message, recipient: str) -> Outcome:
        try:
            from apprise import Apprise, AppriseAsset, OverflowMode
        except ImportError:  # the packages of this checkout cannot be used, and that has to be told
            from plotfarm.notify.channels import bare

            return bare.send(self._urls[recipient].reveal(), message, self._timeout_seconds)

        # Without threads of its own, which the end of this process would have to wait for.
        asset = AppriseAsset(app_id="Chia Plot Manager", async_mode=False, service_timeout=0)
        service = Apprise.instantiate(self._urls[recipient].reveal(), asset=asset)
        if service is None:
            remedy = "see how it is written, and what it needs, at https://github.com/caronc/apprise"
            return refused(f"Apprise cannot use this URL of [notifications] services: {remedy}")
        # What stands in the URL itself (cto, rto, overflow) is in there already.
        for setting, value in (
            ("socket_connect_timeout", self._timeout_seconds),
            ("socket_read_timeout", self._timeout_seconds),
            ("overflow_mode", OverflowMode.SPLIT),  # a long report is sent in parts, not refused or cut
        ):
            vars(service).setdefault(setting, value)
        sender = Apprise(asset=asset)
        sender.add(service)
        with _Listener() as listener:
            was_sent = sender.notify(
                as_text(message.text), title(message), _KINDS[message.severity], body_format="text"
            )
        return SENT if was_sent else try_again(listener.why())


class _Listener(logging.Handler):
    """Hears why Apprise, which only says yes or no, could not send. Of its words nothing but a status is taken."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._thread = threading.get_ident()
        self._heard: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.thread == self._thread:
            self._heard.append(record.getMessage())

    def why(self) -> str:
        """Return what is known of the reason."""
        heard = "\n".join(self._heard)
        if match := _STATUS.search(heard):
            status = int(match[1])
            why = f"the service did not take it (HTTP {status})"
            return f"{why}: {_REMEDIES[status]}" if status in _REMEDIES else why
        if "connection error" in heard.lower():
            return "the service cannot be reached or does not answer"
        return "the service did not take it: is the URL in [notifications] services still right?"

    def __enter__(self) -> _Listener:
        logging.getLogger("apprise").addHandler(self)
        return self

    def __exit__(self, *error: object) -> None:
        logging.getLogger("apprise").removeHandler(self)


def _kind(url: Secret) -> str:
    """Return what a URL is for (discord, ntfy, ...); what is no URL may be secret as a whole."""
    if not url.is_literal:
        return "url"
    match = _SCHEMA.match(url.reveal())
    return match[1].lower() if match else "url"
