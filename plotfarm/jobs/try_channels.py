"""`drive_manager.py --test_notifications`: a test by each way that is set up, and what came of it."""

from __future__ import annotations

import time

from plotfarm.base.condition import Severity
from plotfarm.base.config.exposure import exposed
from plotfarm.base.config.sections import Config
from plotfarm.jobs.server import sender, server_name
from plotfarm.notify import policy
from plotfarm.notify.channels import Result, configured_channels
from plotfarm.reports import mails
from plotfarm.reports.envelope import Report, Role, enveloped
from plotfarm.reports.terminal import Terminal, complain, say, standard_output

_NOTHING = (
    "No way is switched on: set email, sms or pb in [notifications] to True, or services to Apprise URLs, and set them "
    "up in the sections below it."
)


def run(config: Config, as_json: bool = False, role: Role = Role.NAS) -> int:
    """Send a test by each channel to each recipient and print what happened; 1 unless all of it was taken."""
    channels, problems = configured_channels(config)
    message = mails.test(server_name(config))
    rows = [(problem.channel, "", Result.REFUSED, problem.why) for problem in problems]
    for channel in channels:
        if not as_json:
            complain(f"{channel.name}: sending to {len(channel.recipients())} ...")
        for recipient, outcome in channel.send(message, channel.recipients()):
            rows.append((channel.name, recipient, outcome.result, outcome.why))
    facts = [{"channel": channel, "recipient": recipient or None, "result": result.value, "why": why or None}
             for channel, recipient, result, why in rows]  # fmt: skip
    if as_json:
        data = {"alerting": config.notifications.alerting, "tests": facts}
        say(enveloped(Report.NOTIFICATION_TEST, sender(config, role), data, time.time()))
    else:
        say("\n".join(_as_text(rows, config, standard_output())))
    return 0 if rows and all(result is Result.SENT for _, _, result, _ in rows) else 1


def _as_text(rows: list[tuple[str, str, Result, str]], config: Config, terminal: Terminal) -> list[str]:
    lines = []
    for channel, recipient, result, why in rows:
        is_sent = result is Result.SENT
        word = "sent" if is_sent else "NOT SENT"
        reason = f": {why}" if why else ""
        mood = "good" if is_sent else "critical"
        lines += terminal.lines(f"{channel:8}  {recipient or '-'}  {word}{reason}", "    ", mood)
    if not rows:
        lines += terminal.lines(_NOTHING)
    for severity in _unheard(config) if rows else ():
        unheard = f"Note: nobody gets messages of severity {severity}: see {severity}_channels and services."
        lines += terminal.lines(unheard)
    if not config.notifications.alerting:
        lines += terminal.lines("Note: [notifications] alerting is False, so nothing but this test is ever sent.")
    for path in exposed(config):
        lines += terminal.lines(f"Note: all users of this host can read the passwords in {path}: chmod 600 it.")
    return lines


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
