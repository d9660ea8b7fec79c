"""What a channel is, and what all channels share: outcomes, labels, discretion, and the boundary to foreign libraries.

Nothing here and in the channels repeats a secret: not in an outcome, not in a log record, not in a label.
"""

from __future__ import annotations

import logging
import re
import traceback
from base64 import b64encode
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol
from urllib.parse import quote

from plotfarm.base.condition import Severity
from plotfarm.base.errors import PlotfarmError
from plotfarm.base.secret import Secret
from plotfarm.base.text import one_line
from plotfarm.notify.message import Message

_LOG = logging.getLogger(__name__)
_LONGEST_TITLE = 200
_MOST_SAID = 240  # characters of what a server said that are repeated
APPRISE_KINDS = {Severity.INFO: "info", Severity.WARNING: "warning", Severity.CRITICAL: "failure"}
_ONLY_FOR_NOW = (407, 408, 425, 429)  # of the statuses that say that the request is to blame
_NOT_TEXT = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")  # control characters but tab and line feed
# They log whole URLs, request bodies and headers. What they have to tell becomes an outcome.
_TALKATIVE = ("apprise", "pushbullet", "requests", "sentry_sdk", "twilio", "urllib3")


class Result(Enum):
    """What became of one message to one recipient."""

    SENT = "sent"
    TRY_AGAIN = "try again"
    REFUSED = "refused"  # permanent: bad login, bad number, unknown recipient


@dataclass(frozen=True)
class Outcome:
    """A result, and why: one line without secrets, with what to do about it."""

    result: Result
    why: str = ""


SENT = Outcome(Result.SENT)


@dataclass(frozen=True)
class Problem:
    """A channel that is switched on but cannot be used as it is configured."""

    channel: str
    why: str


class Channel(Protocol):
    """One way by which messages go."""

    @property
    def name(self) -> str:
        """Return email, sms, pb or services."""

    def recipients(self, severity: Severity | None = None) -> Sequence[str]:
        """Return labels of those who get messages of a severity; None: all of them.

        They may be stored and shown: none is a secret.
        """

    def send(self, message: Message, recipients: Sequence[str]) -> Iterator[tuple[str, Outcome]]:
        """Send to these recipients, and yield what became of it for each as soon as it is known.

        Never raises for anything that a network or a service does.
        """


def try_again(why: str) -> Outcome:
    """Return the outcome of what may go better the next time."""
    return Outcome(Result.TRY_AGAIN, why)


def refused(why: str) -> Outcome:
    """Return the outcome of what will not go better by itself."""
    return Outcome(Result.REFUSED, why)


def is_final(status: int) -> bool:
    """Tell whether what a service did not take with this HTTP status will not be taken at another try either."""
    return 400 <= status < 500 and status not in _ONLY_FOR_NOW


def one_by_one(
    channel: str, recipients: Iterable[str], known: Container[str], attempt: Callable[[str], Outcome]
) -> Iterator[tuple[str, Outcome]]:
    """Yield what `attempt` says of each recipient; whatever it raises costs that recipient, and none of the others."""
    silence_libraries()
    for recipient in recipients:
        if recipient in known:
            yield recipient, _guarded(channel, attempt, recipient)
        else:
            yield recipient, refused("this recipient is not (or no longer) in the configuration")


def _guarded(channel: str, attempt: Callable[[str], Outcome], recipient: str) -> Outcome:
    try:
        return attempt(recipient)
    except PlotfarmError as error:  # a secret that is not where the configuration says
        return try_again(one_line(str(error)))
    except Exception as error:  # of libraries that are not ours: nothing is known of what they may raise
        return unexpected(channel, error)


def unexpected(channel: str, error: Exception) -> Outcome:
    """Return the outcome of an error that nobody foresaw; the log gets its kind and place, but not its text."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f"{frames[-1].filename}:{frames[-1].lineno}" if frames else "an unknown place"
    _LOG.error("Sending by %s: unexpected %s at %s", channel, type(error).__name__, place)
    return try_again(f"unexpected {type(error).__name__} (the log says where)")


def label(kind: str, secret: Secret) -> str:
    """Return a name for what a secret stands for: its kind and 8 hexadecimal digits of a digest.

    The digest is of what the configuration holds, so it needs no look at the variable or file that may hold the
    secret itself, and stays the same when that gets a new one.
    """
    return f"{kind} {secret.fingerprint}"


def said(text: str | bytes, secrets: Iterable[str] = ()) -> str:
    """Return what a server said as one short line, without the secrets that it may have sent back."""
    line = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
    line = one_line(" ".join(without(line, secrets).split()))
    return line if len(line) <= _MOST_SAID else line[:_MOST_SAID] + "..."


def without(text: str, secrets: Iterable[str]) -> str:
    """Return a text in which each secret, also as base64 or in a URL, is replaced by ***."""
    forms: set[str] = set()
    for secret in filter(None, secrets):
        raw = secret.encode("utf-8", "surrogateescape")  # as an environment variable may hold it
        forms |= {secret, quote(raw, safe=""), b64encode(raw).decode()}
    for form in sorted(forms, key=len, reverse=True):  # one may be part of another
        text = text.replace(form, "***")
    return text


def network_trouble(error: Exception, server: str, timeout_seconds: float) -> Outcome:
    """Return the outcome of an error of the `requests` library; its text is left out, for it holds the whole URL."""
    from requests import Timeout

    if isinstance(error, Timeout):
        return try_again(f"{server} did not answer within {timeout_seconds:g} seconds")
    return try_again(f"{server} cannot be reached ({type(error).__name__}): check the network of this host")


def title(message: Message) -> str:
    """Return the subject of a message, fit for a header: one short line whatever it holds."""
    return one_line(" ".join(message.subject.split()))[:_LONGEST_TITLE]


def as_text(text: str) -> str:
    """Return a text that every service can take: what is no text in it is written as an escape."""
    return _NOT_TEXT.sub(lambda match: match[0].encode("unicode_escape").decode(), text.replace("\r\n", "\n"))


def silence_libraries() -> None:
    """Keep the log records of the libraries that speak with services out of every log of ours."""
    for name in _TALKATIVE:
        logger = logging.getLogger(name)
        logger.propagate = False
        logger.setLevel(logging.WARNING)
        if not logger.handlers:
            logger.addHandler(logging.NullHandler())  # without any, warnings would go to stderr
