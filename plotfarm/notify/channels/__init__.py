"""The ways by which messages go. Each isolates what its library and its network do; none knows of another."""

from __future__ import annotations

from collections.abc import Callable

from plotfarm.base.config.sections import Config
from plotfarm.notify.channels import email, pushbullet, services, sms
from plotfarm.notify.channels.channel import Channel, Outcome, Problem, Result

__all__ = ["Channel", "Outcome", "Problem", "Result", "configured_channels"]


def configured_channels(config: Config) -> tuple[list[Channel], list[Problem]]:
    """Return the channels that are switched on, and those that cannot be used as they are configured.

    Looks up no secret and asks nobody, so a job can afford it.
    """
    on, limit = config.notifications, config.notifications.timeout_seconds
    ways: list[tuple[str, bool, str, Callable[[], Channel]]] = [
        ("email", on.email, email.problem(config.email), lambda: email.EmailChannel(config.email, limit)),
        ("sms", on.sms, sms.problem(config.sms), lambda: sms.SmsChannel(config.sms, limit)),
        (
            "pb",
            on.pb,
            pushbullet.problem(config.pushbullet),
            lambda: pushbullet.PushbulletChannel(config.pushbullet, limit),
        ),
        ("services", bool(on.services), "", lambda: services.ServicesChannel(on.services, limit)),
    ]
    wanted = [(name, problem, make) for name, is_on, problem, make in ways if is_on]
    problems = [Problem(name, problem) for name, problem, _ in wanted if problem]
    return [make() for _, problem, make in wanted if not problem], problems
