"""Bugs of these scripts, reported to Sentry if the owner uses it: where it happened, and nothing of the farm's own.

No local variables, no arguments, no environment. What an error's text repeats of secrets or of a plot's memo is
taken out.
"""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Iterator, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from plotfarm import __version__
from plotfarm.base.config.sections import Config
from plotfarm.base.errors import PlotfarmError
from plotfarm.base.secret import Secret
from plotfarm.notify.channels.channel import silence_libraries, without

if TYPE_CHECKING:
    from sentry_sdk.types import Event, Hint

_LOG = logging.getLogger(__name__)
_MOST_SECONDS = 5.0  # somebody may be waiting for the script to end
# What an event consists of, beside the exception.
_SENT = (
    "contexts",
    "environment",
    "event_id",
    "level",
    "platform",
    "release",
    "sdk",
    "server_name",
    "tags",
    "timestamp",
)
# Long hexadecimal numbers (ids, keys and memos of plots), and bytes as repr() writes them, also within a text that
# was itself written by repr(): from the first to the last quotation mark, rather too much than too little.
_BINARY = re.compile(r"""\b(?:0x)?[0-9a-fA-F]{32,}\b|\bb(\\*['"]).*\1|\bb\\*['"].*""", re.DOTALL)
_SHORTEST_PART = 8  # characters; a shorter part of a URL is no token, and may well be a common word


def report(error: BaseException, script: str, config: Config) -> None:
    """Send an error with its traceback to `[notifications] sentry_dsn`.

    Takes `timeout_seconds` at most, and never more than 5 seconds. Never raises: the log has the error anyway.
    """
    try:
        dsn = config.notifications.sentry_dsn.reveal()
        if dsn:
            _send(error, script, dsn, config)
    except PlotfarmError as problem:
        _LOG.warning("The bug could not be reported: %s", problem)
    except Exception as problem:  # a boundary: whatever it is must not hide the error that is reported
        _LOG.warning("The bug could not be reported (%s): check [notifications] sentry_dsn", type(problem).__name__)


def _send(error: BaseException, script: str, dsn: str, config: Config) -> None:
    silence_libraries()
    import sentry_sdk
    from sentry_sdk.utils import event_from_exception

    secrets = list(_secrets(config))

    def clean(event: Event, hint: Hint) -> Event:
        known: Any = {name: value for name, value in event.items() if name in _SENT}
        return {**known, "exception": _clean(event.get("exception"), secrets)}  # type: ignore[typeddict-item]

    client = sentry_sdk.Client(
        dsn=dsn,
        release=__version__,
        server_name=config.system_settings.server_name or None,
        default_integrations=False,
        auto_enabling_integrations=False,
        include_local_variables=False,
        send_default_pii=False,
        send_client_reports=False,
        auto_session_tracking=False,
        max_breadcrumbs=0,
        before_send=clean,
    )
    try:
        event, hint = event_from_exception(error, client_options=client.options)
        event["tags"] = {"script": script}
        client.capture_event(event, hint)
    finally:
        client.close(timeout=min(config.notifications.timeout_seconds, _MOST_SECONDS))


def _clean(value: Any, secrets: Sequence[str]) -> Any:
    """Return a copy of what is sent, every text in it without secrets and binary data."""
    if isinstance(value, str):
        return _BINARY.sub("(left out)", without(value, secrets))
    if isinstance(value, dict):
        return {key: _clean(one, secrets) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_clean(one, secrets) for one in value]
    return value


def _secrets(config: Config) -> Iterator[str]:
    """Yield every secret of the configuration that can be looked up, wherever it stands, and the parts of URLs."""
    sections = (getattr(config, section.name) for section in fields(config) if section.name != "path")
    values = (value for section in sections for value in vars(section).values())
    for secret in (one for value in values for one in (value if isinstance(value, tuple) else (value,))):
        if isinstance(secret, Secret):
            with contextlib.suppress(PlotfarmError):
                text = secret.reveal()
                yield text
                yield from (part for part in re.split(r"[/:@?&=]+", text) if len(part) >= _SHORTEST_PART)
