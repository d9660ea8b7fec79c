"""`drive_manager.py --test_notifications`: a test by each way that is set up, and what came of it."""

from __future__ import annotations

import json
import sys

from plotfarm.base.condition import Severity
from plotfarm.base.config.exposure import is_exposed
from plotfarm.base.config.sections import Config
from plotfarm.jobs.server import server_name
from plotfarm.notify import policy
from plotfarm.notify.channels import Result, configured_channels
from plotfarm.reports import mails
from plotfarm.reports.explain import wants_colour

_GREEN, _RED, _END = "\033[32m", "\033[31m", "\033[0m"
_NOTHING = (
    "No way is switched on: set email, sms or pb in [notifications] to True, or services to Apprise URLs, and set them "
    "up in the sections below it."
)


def run(config: Config, as_json: bool = False) -> int:
    """Send a test by each channel to each recipient and print what happened; 1 unless all of it was taken."""
    channels, problems = configured_channels(config)
    message = mails.test(server_name(config))
    rows = [(problem.channel, "", Result.REFUSED, problem.why) for problem in problems]
    for channel in channels:
        if not as_json:
            print(f"{channel.name}: sending to {len(channel.recipients())} ...", file=sys.stderr)  # noqa: T201
        for recipient, outcome in channel.send(message, channel.recipients()):
            rows.append((channel.name, recipient, outcome.result, outcome.why))
    facts = [{"channel": channel, "recipient": recipient or None, "result": result.value, "why": why or None}
             for channel, recipient, result, why in rows]  # fmt: skip
    if as_json:
        print(json.dumps({"alerting": config.notifications.alerting, "tests": facts}, indent=2))  # noqa: T201
    else:
        _print(rows, config)
    return 0 if rows and all(result is Result.SENT for _, _, result, _ in rows) else 1


def _print(rows: list[tuple[str, str, Result, str]], config: Config) -> None:
    colour = wants_colour(sys.stdout)
    for channel, recipient, result, why in rows:
        is_sent = result is Result.SENT
        word = "sent" if is_sent else "NOT SENT"
        shown = f"{_GREEN if is_sent else _RED}{word}{_END}" if colour else word
        print(f"{channel:8}  {recipient or '-'}  {shown}{f': {why}' if why else ''}")  # noqa: T201
    if not rows:
        print(_NOTHING)  # noqa: T201
    for severity in _unheard(config) if rows else ():
        print(f"Note: nobody gets messages of severity {severity}: see {severity}_channels and services.")  # noqa: T201
    if not config.notifications.alerting:
        print("Note: [notifications] alerting is False, so nothing but this test is ever sent.")  # noqa: T201
    if is_exposed(config):
        print(f"Note: all users of this host can read the passwords in {config.path}: chmod 600 it.")  # noqa: T201


def _unheard(config: Config) -> list[Severity]:
    """Return the severities whose messages would go to nobody."""
    channels, _ = configured_channels(config)
    everybody = {channel.name: channel.recipients() for channel in channels}
    return [
        severity
        for severity in Severity
        if not policy.targets(
            "alert",
            severity,
            config.notifications,
            {channel.name: channel.recipients(severity) for channel in channels},
            everybody,
        )
    ]
