"""Who is told what, by which ways and when: decisions on values. No clock, no network, no database is asked here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from plotfarm.base.condition import Severity
from plotfarm.base.config.sections import Notifications

TEST = "test"
PER_COIN = "per_coin"
_SWITCHED = ("new_plot_drive", "daily_update", "per_plot", PER_COIN)  # kinds with a switch of the same name

_MINUTE, _HOUR = 60.0, 3600.0
_PAUSES = (1 * _MINUTE, 2 * _MINUTE, 5 * _MINUTE, 15 * _MINUTE, 30 * _MINUTE)
LONGEST_PAUSE = 1 * _HOUR
_MARGIN = 5 * _MINUTE  # clocks that are set by a little are nothing unusual


def is_wanted(kind: str, settings: Notifications) -> bool:
    """Tell whether the switches let a kind of message through; a test always goes."""
    if kind == TEST:
        return True
    if not settings.alerting:
        return False
    return bool(getattr(settings, kind)) if kind in _SWITCHED else True


def targets(
    kind: str,
    severity: Severity,
    settings: Notifications,
    recipients: Mapping[str, Sequence[str]],
    everybody: Mapping[str, Sequence[str]] | None = None,
) -> list[tuple[str, str]]:
    """Return (channel, recipient) for each who is told; `recipients`: those of each channel for this severity.

    `everybody`: those of each channel for any; None: the same.

    A test goes to all. What is more than information goes by every channel if none of those it is meant for is set up:
    a warning that nobody hears is none.
    """
    meant = tuple(recipients) if kind == TEST else _channels_for(severity, settings)
    if kind == PER_COIN and not settings.per_coin_email:
        meant = tuple(channel for channel in meant if channel != "email")
    usable = [channel for channel in recipients if channel in meant and recipients[channel]]
    if not usable and meant and severity is not Severity.INFO:
        recipients = everybody or recipients
        usable = list(recipients)
    return [(channel, recipient) for channel in usable for recipient in dict.fromkeys(recipients[channel])]


def _channels_for(severity: Severity, settings: Notifications) -> tuple[str, ...]:
    if severity is Severity.CRITICAL:
        return settings.critical_channels
    return settings.warning_channels if severity is Severity.WARNING else settings.info_channels


def held_until(severity: Severity, local: datetime, quiet_hours: str) -> datetime | None:
    """Return when the quiet hours end that hold a message back now, or None if nothing does.

    `local` is local time: without a time zone it is that of this host. What is returned is of the same sort, so its
    `timestamp()` is right also in the nights when the clocks change. `quiet_hours`: "22:00-07:00" or "".
    """
    if severity is not Severity.INFO or not quiet_hours:
        return None
    start, end = (_at(time, local) for time in quiet_hours.split("-"))
    now = local.replace(second=0, microsecond=0)
    if start <= end:
        return end if start <= now < end else None
    if now < end:
        return end
    return end + timedelta(days=1) if now >= start else None


def _at(time: str, local: datetime) -> datetime:
    hour, minute = time.split(":")
    return local.replace(hour=int(hour), minute=int(minute), second=0, microsecond=0)


def next_pause(attempts: int) -> float:
    """Return how many seconds to wait after so many attempts that failed: 1, 2, 5, 15, 30 minutes, then hourly."""
    return _PAUSES[attempts - 1] if 1 <= attempts <= len(_PAUSES) else LONGEST_PAUSE if attempts else 0.0


def is_given_up(age_seconds: float, attempts: int, give_up_seconds: float) -> bool:
    """Tell whether a message has been tried for long enough, after an attempt that failed.

    `age_seconds` is by the clock of this host, which may have been set, and the host may have been off. So the
    pauses count too: a message is given up when they alone are long enough, and not before there were some.
    """
    paused = sum(map(next_pause, range(attempts)))
    return paused >= give_up_seconds or (age_seconds >= give_up_seconds and paused >= LONGEST_PAUSE)


def latest_next_try(now: float) -> float:
    """Return the latest Unix time for which a next try can be meant; a later one was set by a wrong clock."""
    return now + LONGEST_PAUSE + _MARGIN


def is_due_again(told: float, now: float) -> bool:
    """Tell whether an alert that no database remembers, told at a Unix time, is told again; also if a clock was set."""
    return abs(now - told) >= _HOUR - _MINUTE / 2  # cron is not to the second


def may_alert_without_memory(now: float) -> bool:
    """Tell whether alerts are sent of which nothing at all can be remembered, so that each run would send them again.

    Only in the first minute of each hour: this needs no memory, and cron starts few runs in it.
    """
    return now % _HOUR < _MINUTE
