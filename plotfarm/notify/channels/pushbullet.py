"""Messages to phones and browsers, by Pushbullet."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from plotfarm.base.condition import Severity
from plotfarm.base.config.sections import Pushbullet
from plotfarm.base.secret import Secret
from plotfarm.notify.channels.channel import (
    SENT,
    Outcome,
    as_text,
    label,
    network_trouble,
    one_by_one,
    refused,
    said,
    title,
    try_again,
)
from plotfarm.notify.message import Message

if TYPE_CHECKING:
    from requests import PreparedRequest, Response


class PushbulletChannel:
    """`[pushbullet]`: a note to all devices of each account."""

    name = "pb"

    def __init__(self, settings: Pushbullet, timeout_seconds: float) -> None:
        self._tokens: Mapping[str, Secret] = {label("pushbullet", token): token for token in settings.access_tokens}
        self._timeout_seconds = timeout_seconds

    def recipients(self, severity: Severity | None = None) -> Sequence[str]:
        """Return a label for each access token."""
        return tuple(self._tokens)

    def send(self, message: Message, recipients: Sequence[str]) -> Iterator[tuple[str, Outcome]]:
        """Send a note to each of these accounts, one after the other."""
        return one_by_one(self.name, recipients, self._tokens, lambda recipient: self._send_one(message, recipient))

    def _send_one(self, message: Message, recipient: str) -> Outcome:
        from plotfarm.notify.channels import bare

        token = self._tokens[recipient].reveal()
        if bare.is_wanted():
            return bare.post(bare.push(token, message), self._timeout_seconds)
        try:
            import requests
            from pushbullet import InvalidKeyError, PushbulletError  # type: ignore[import-untyped]
        except ImportError:  # the packages of this checkout cannot be used, and that has to be told
            return bare.post(bare.push(token, message), self._timeout_seconds)
        try:
            account = _account(token, self._timeout_seconds)
            account.push_note(title(message), as_text(message.short))
        except InvalidKeyError:
            return refused("Pushbullet does not accept the access token: check [pushbullet] access_tokens")
        except PushbulletError as error:
            return try_again(f"Pushbullet did not take it: {said(str(error), [token, f'{token}:'])}")
        except requests.RequestException as error:
            return network_trouble(error, "Pushbullet", self._timeout_seconds)
        return SENT


def problem(settings: Pushbullet) -> str:
    """Say what is missing in `[pushbullet]`, or nothing."""
    return "" if settings.access_tokens else "[pushbullet] access_tokens is empty"


def _account(token: str, timeout_seconds: float) -> Any:
    """Return the account of a token, once Pushbullet has accepted that; every request has the time limit."""
    import pushbullet
    from requests.adapters import HTTPAdapter

    class Limited(HTTPAdapter):
        """The library itself would wait for ever."""

        def send(self, request: PreparedRequest, *args: Any, **more: Any) -> Response:
            return super().send(request, *args, **{**more, "timeout": timeout_seconds})

    class Account(pushbullet.Pushbullet):  # type: ignore[misc]
        """An account that knows its user; a note to all devices needs no lists of devices, chats and channels."""

        def refresh(self) -> None:
            for scheme in ("https://", "http://"):
                self._session.mount(scheme, Limited())
            self._load_user_info()

    return Account(token)
