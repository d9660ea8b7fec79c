"""Messages to services without their libraries: for the day when the packages of a checkout cannot be used.

With the standard library alone, and only for the services that need no more than one request: Pushbullet, Twilio, and
of the Apprise URLs in `[notifications] services` json, ntfy, Gotify, Discord and Telegram. Others wait in the outbox.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import SplitResult, unquote, urlencode, urlsplit

from plotfarm.base.condition import Severity
from plotfarm.notify.channels.channel import (
    APPRISE_KINDS,
    SENT,
    Outcome,
    as_text,
    is_final,
    refused,
    title,
    try_again,
)
from plotfarm.notify.message import Message

_LONGEST_TEXT = 1900  # Discord takes 2000 characters
# As the services know them; services.py has the words that Apprise has for the same.
_PRIORITIES_OF_NTFY = {Severity.INFO: 3, Severity.WARNING: 4, Severity.CRITICAL: 5}  # from 1 to 5
_PRIORITIES_OF_GOTIFY = {Severity.INFO: 5, Severity.WARNING: 8, Severity.CRITICAL: 10}  # from 0 to 10
# Set for the processes that tell of unusable packages: what can be imported may be too old to be used.
WITHOUT_PACKAGES = "PLOT_MANAGER_WITHOUT_PACKAGES"


@dataclass(frozen=True)
class Posted:
    """One request."""

    url: str
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)


def is_wanted() -> bool:
    """Tell whether the packages of this checkout are known to be unusable."""
    return WITHOUT_PACKAGES in os.environ


def send(url: str, message: Message, timeout_seconds: float) -> Outcome:
    """Send one message to the service of an Apprise URL."""
    posted = request_of(url, message)
    if posted is None:
        return try_again("Apprise is not installed, and without it this service cannot be used: run ./install.sh")
    return post(posted, timeout_seconds)


def post(posted: Posted, timeout_seconds: float) -> Outcome:
    """Send one request; what became of it holds no part of the URL."""
    from urllib.error import HTTPError
    from urllib.request import Request, urlopen

    request = Request(posted.url, data=posted.body, headers=posted.headers)  # noqa: S310 (http(s) only, see below)
    try:
        with urlopen(request, timeout=timeout_seconds):  # noqa: S310
            return SENT
    except HTTPError as error:
        why = f"the service did not take it (HTTP {error.code})"
        return refused(why) if is_final(error.code) else try_again(why)
    except Exception as error:  # whatever a network does; its text may hold the URL
        return try_again(f"the service cannot be reached ({type(error).__name__})")


def request_of(url: str, message: Message) -> Posted | None:
    """Return what is to be posted for an Apprise URL; None if that cannot be told here."""
    try:
        parts = urlsplit(url.strip())
        words = [unquote(word) for word in parts.path.split("/") if word]
        host = parts.hostname or ""
    except ValueError:
        return None
    text = as_text(f"{title(message)}\n\n{message.short}")[:_LONGEST_TEXT]
    match parts.scheme.lower():
        case "json" | "jsons":
            content: dict[str, object] = {
                "version": "1.0",
                "title": title(message),
                "message": as_text(message.text),
                "type": APPRISE_KINDS[message.severity],
            }
            return _json(f"{_base(parts)}{parts.path}", content, _login(parts))
        case "ntfy" | "ntfys" if host:
            base = _base(parts) if words else "https://ntfy.sh"
            topic = words[0] if words else parts.netloc.rpartition("@")[2]
            urgency = {"Priority": str(_PRIORITIES_OF_NTFY[message.severity])}
            return Posted(f"{base}/{topic}", text.encode(), {**urgency, **_login(parts)})
        case "gotify" | "gotifys" if words:
            priority = _PRIORITIES_OF_GOTIFY[message.severity]
            content = {"title": title(message), "message": as_text(message.text), "priority": priority}
            where = "/".join([_base(parts), *words[:-1], "message"])
            return _json(where, content, {"X-Gotify-Key": words[-1]})
        case "discord" if words:
            identity = parts.netloc.rpartition("@")[2]  # in its own case
            return _json(f"https://discord.com/api/webhooks/{identity}/{words[0]}", {"content": text})
        case "tgram" if words:
            return _json(f"https://api.telegram.org/bot{parts.netloc}/sendMessage", {"chat_id": words[0], "text": text})
        case _:
            return None


def push(token: str, message: Message) -> Posted:
    """Return what is to be posted for an access token of Pushbullet: https://docs.pushbullet.com/#create-push."""
    note = {"type": "note", "title": title(message), "body": as_text(message.short)}
    return _json("https://api.pushbullet.com/v2/pushes", note, {"Access-Token": token})


def text_message(sid: str, token: str, origin: Mapping[str, str], to: str, text: str) -> Posted:
    """Return what is to be posted for an SMS by Twilio; `origin`: From or MessagingServiceSid."""
    url = f"https://api.twilio.com/2010-04-01/Accounts/{sid}/Messages.json"
    login = base64.b64encode(f"{sid}:{token}".encode()).decode()
    headers = {"Authorization": f"Basic {login}", "Content-Type": "application/x-www-form-urlencoded"}
    return Posted(url, urlencode({"To": to, **origin, "Body": text}).encode(), headers)


def _base(parts: SplitResult) -> str:
    """Return http://HOST:PORT, or https:// if the scheme ends with s."""
    scheme = "https" if parts.scheme.lower().endswith("s") else "http"
    return f"{scheme}://{parts.netloc.rpartition('@')[2]}"


def _login(parts: SplitResult) -> dict[str, str]:
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    if not user:
        return {}
    if not password and user.startswith("tk_"):  # a token of ntfy
        return {"Authorization": f"Bearer {user}"}
    return {"Authorization": f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"}


def _json(url: str, content: Mapping[str, object], headers: dict[str, str] | None = None) -> Posted:
    more = {"Content-Type": "application/json", "User-Agent": "chia-plot-manager", **(headers or {})}
    return Posted(url, json.dumps(content).encode(), more)
