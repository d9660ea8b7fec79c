"""Messages by any other service, as Apprise URLs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from plotfarm.base.condition import Severity
from plotfarm.base.secret import Secret, SecretUrl
from plotfarm.notify.channels.channel import (
    APPRISE_KINDS,
    SENT,
    Outcome,
    as_text,
    is_final,
    label,
    one_by_one,
    refused,
    title,
    try_again,
)
from plotfarm.notify.message import Message

if TYPE_CHECKING:
    from apprise import AppriseAsset, NotifyBase

_SCHEMA = re.compile(r"([a-z][a-z0-9]{0,19})://", re.IGNORECASE)
# ntfy says its own number, which begins with the status: 40101.
_STATUS = re.compile(r"error=([1-5]\d{2})(?:\d{2})?\b")
_HAS_PRIORITY = re.compile(r"[?&]priority=", re.IGNORECASE)
# Those that wake somebody up, where the service can: by the protocol of a service, as Apprise has it.
_PRIORITIES = {
    "ntfys": {Severity.WARNING: "high", Severity.CRITICAL: "max"},
    "gotifys": {Severity.WARNING: "high", Severity.CRITICAL: "emergency"},
    "pover": {Severity.CRITICAL: "high"},  # goes through quiet hours; an emergency rings until somebody answers
}
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

    def __init__(self, urls: Sequence[SecretUrl], timeout_seconds: float) -> None:
        self._urls: Mapping[str, SecretUrl] = {label(_kind(url), url): url for url in urls}
        self._timeout_seconds = timeout_seconds

    def recipients(self, severity: Severity | None = None) -> Sequence[str]:
        """Return a label for each URL that messages of this severity go to."""
        return tuple(name for name, url in self._urls.items() if severity is None or severity in url.severities)

    def send(self, message: Message, recipients: Sequence[str]) -> Iterator[tuple[str, Outcome]]:
        """Send to each of these services, one after the other."""
        return one_by_one(self.name, recipients, self._urls, lambda recipient: self._send_one(message, recipient))

    def _send_one(self, message: Message, recipient: str) -> Outcome:
        from plotfarm.notify.channels import bare

        try:
            from apprise import Apprise, AppriseAsset
        except ImportError:  # the packages of this checkout cannot be used, and that has to be told
            return bare.send(self._urls[recipient].reveal(), message, self._timeout_seconds)
        if bare.is_wanted() and (posted := bare.request_of(self._urls[recipient].reveal(), message)):
            return bare.post(posted, self._timeout_seconds)

        # Without threads of its own, which the end of this process would have to wait for.
        asset = AppriseAsset(app_id="Chia Plot Manager", async_mode=False, service_timeout=0)
        service = self._service(self._urls[recipient].reveal(), message.severity, asset)
        if service is None:
            remedy = "see how it is written, and what it needs, at https://github.com/caronc/apprise"
            return refused(f"Apprise cannot use this URL of [notifications] services: {remedy}")
        sender = Apprise(asset=asset)
        sender.add(service)
        kind = APPRISE_KINDS[message.severity]
        with sender.notify(as_text(message.text), title(message), kind, body_format="text") as result:
            return SENT if result else _failure(entry.message for entry in result.logs())

    def _service(self, url: str, severity: Severity, asset: AppriseAsset) -> NotifyBase | None:
        """Return what Apprise makes of a URL, with the priority of this severity; None if it is none that it knows."""
        from apprise import Apprise, OverflowMode

        service = Apprise.instantiate(url, asset=asset)
        if service is None:
            return None
        urgent = _with_priority(url, str(service.secure_protocol), severity)
        if urgent != url:
            service = Apprise.instantiate(urgent, asset=asset) or service
        # What stands in the URL itself (cto, rto, overflow) is in there already.
        for setting, value in (
            ("socket_connect_timeout", self._timeout_seconds),
            ("socket_read_timeout", self._timeout_seconds),
            ("overflow_mode", OverflowMode.SPLIT),  # a long report is sent in parts, not refused or cut
        ):
            vars(service).setdefault(setting, value)
        return service


def _failure(said: Iterable[str]) -> Outcome:
    """Return what it means that a message was not sent. Of Apprise's words nothing but statuses is taken.

    What was refused as such, in all of its parts, will be refused again: a wrong token, a topic that is not there.
    """
    words = "\n".join(said)
    statuses = [int(found) for found in _STATUS.findall(words)]
    if statuses:
        status = statuses[-1]
        why = f"the service did not take it (HTTP {status})"
        why += f": {_REMEDIES[status]}" if status in _REMEDIES else ""
        return refused(why) if all(map(is_final, statuses)) else try_again(why)
    if "connection error" in words.lower():
        return try_again("the service cannot be reached or does not answer")
    return try_again("the service did not take it: is the URL in [notifications] services still right?")


def _with_priority(url: str, protocol: str, severity: Severity) -> str:
    """Return the URL of a service with the priority of a message, unless the owner has set one in it."""
    priority = _PRIORITIES.get(protocol, {}).get(severity)
    if priority is None or _HAS_PRIORITY.search(url):
        return url
    return f"{url}{'&' if '?' in url else '?'}priority={priority}"


def _kind(url: Secret) -> str:
    """Return what a URL is for (discord, ntfy, ...); what is no URL may be secret as a whole."""
    if not url.is_literal:
        return "url"
    match = _SCHEMA.match(url.reveal())
    return match[1].lower() if match else "url"
