"""Who is told what, by which ways and when."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plotfarm.base.condition import Severity
from plotfarm.base.config.sections import Notifications
from plotfarm.notify import policy

HOUR, DAY = 3600.0, 86400.0
SWITCHED = ("new_plot_drive", "daily_update", "per_plot")
ALL = {"email": ("a@e.org", "b@e.org"), "sms": ("+1",), "pb": ("pb 1",), "services": ("ntfy 2",)}
BERLIN = ZoneInfo("Europe/Berlin")
NIGHT = "22:00-07:00"


def at(hour, minute=0, second=0, day=20, month=6, fold=0):
    return datetime(2026, month, day, hour, minute, second, tzinfo=BERLIN, fold=fold)


def held(local, quiet_hours=NIGHT, severity=Severity.INFO):
    return policy.held_until(severity, local, quiet_hours)


# ---- What is sent at all ----


@pytest.mark.parametrize("kind", SWITCHED)
def test_a_kind_with_a_switch_goes_only_while_that_and_alerting_are_on(kind):
    others = dict.fromkeys(set(SWITCHED) - {kind}, True)
    assert policy.is_wanted(kind, Notifications(alerting=True, **{kind: True}))
    assert not policy.is_wanted(kind, Notifications(alerting=True, **others))
    assert not policy.is_wanted(kind, Notifications(alerting=False, **{kind: True}))


def test_an_alert_needs_only_alerting_and_a_test_needs_nothing():
    assert policy.is_wanted("alert", Notifications(alerting=True))
    assert not policy.is_wanted("alert", Notifications(alerting=False, new_plot_drive=True))
    assert policy.is_wanted("test", Notifications(alerting=False))


# ---- By which ways ----


def test_each_severity_has_channels_of_its_own():
    settings = Notifications(
        info_channels=("email",), warning_channels=("email", "services"), critical_channels=("sms", "pb")
    )
    told = {one: policy.targets("alert", one, settings, ALL) for one in Severity}
    assert told == {
        Severity.INFO: [("email", "a@e.org"), ("email", "b@e.org")],
        Severity.WARNING: [("email", "a@e.org"), ("email", "b@e.org"), ("services", "ntfy 2")],
        Severity.CRITICAL: [("sms", "+1"), ("pb", "pb 1")],
    }


def test_a_warning_goes_by_every_way_if_none_that_it_is_meant_for_is_set_up_but_news_do_not():
    settings = Notifications(info_channels=("pb",), warning_channels=("pb",), critical_channels=("pb",))
    usable = {"email": ("a@e.org",), "sms": ("+1",), "pb": ()}
    everybody = [("email", "a@e.org"), ("sms", "+1")]
    assert policy.targets("alert", Severity.WARNING, settings, usable) == everybody
    assert policy.targets("alert", Severity.CRITICAL, settings, usable) == everybody
    assert policy.targets("daily_update", Severity.INFO, settings, usable) == []
    assert policy.targets("alert", Severity.CRITICAL, settings, {}) == []


def test_a_warning_goes_to_everybody_if_nobody_wants_that_severity():
    nobody, everybody = {"services": ()}, {"services": ("ntfy 1",)}
    assert policy.targets("alert", Severity.CRITICAL, Notifications(), nobody, everybody) == [("services", "ntfy 1")]
    assert policy.targets("alert", Severity.INFO, Notifications(), nobody, everybody) == []


def test_who_wants_a_severity_by_no_channel_at_all_gets_none():
    settings = Notifications(warning_channels=())
    assert policy.targets("alert", Severity.WARNING, settings, ALL) == []


def test_one_way_that_is_set_up_is_enough():
    settings = Notifications(critical_channels=("pb", "sms"))
    assert policy.targets("alert", Severity.CRITICAL, settings, {"email": ("a",), "sms": ("+1",)}) == [("sms", "+1")]


def test_a_test_goes_to_all_and_nobody_is_told_twice():
    settings = Notifications(info_channels=())
    assert policy.targets("test", Severity.INFO, settings, {"email": ("a", "b", "a"), "pb": ("c",)}) == [
        ("email", "a"), ("email", "b"), ("pb", "c"),
    ]  # fmt: skip


# ---- Quiet hours ----


def test_quiet_hours_over_midnight():
    assert held(at(21, 59, 59)) is None
    assert held(at(22)) == at(7, day=21)
    assert held(at(23, 59, 59)) == at(7, day=21)
    assert held(at(0)) == at(7)
    assert held(at(6, 59, 59)) == at(7)
    assert held(at(7)) is None
    assert held(at(22, day=31, month=12)) == datetime(2027, 1, 1, 7, tzinfo=BERLIN)


def test_quiet_hours_within_a_day():
    assert held(at(12, 59), "13:00-15:30") is None
    assert held(at(13), "13:00-15:30") == at(15, 30)
    assert held(at(15, 29, 59), "13:00-15:30") == at(15, 30)
    assert held(at(15, 30), "13:00-15:30") is None


def test_only_news_wait_and_only_if_there_are_quiet_hours():
    assert held(at(23), "") is None
    assert held(at(23), severity=Severity.WARNING) is None
    assert held(at(23), severity=Severity.CRITICAL) is None


@given(st.datetimes(datetime(2026, 1, 1), datetime(2027, 1, 1)))
def test_hours_that_end_when_they_begin_are_none(local):
    assert held(local, "07:00-07:00") is None


def test_in_the_night_that_is_an_hour_shorter():
    """On 29 March 2026, 02:00 is followed by 03:00."""
    until = held(at(23, day=28, month=3))
    assert until.timestamp() - at(23, day=28, month=3).timestamp() == 7 * HOUR
    assert held(at(1, 59, day=29, month=3), "22:00-02:30").timestamp() == at(3, 30, day=29, month=3).timestamp()
    assert held(at(3, day=29, month=3), "22:00-02:30") is None


def test_in_the_night_that_is_an_hour_longer():
    """On 25 October 2026, 03:00 is followed by 02:00."""
    evening = at(23, day=24, month=10)
    assert held(evening).timestamp() - evening.timestamp() == 9 * HOUR
    first, second = at(2, 15, day=25, month=10), at(2, 15, day=25, month=10, fold=1)
    assert second.astimezone(UTC) - first.astimezone(UTC) == timedelta(hours=1)
    assert held(evening, "22:00-02:30").timestamp() - first.timestamp() == 15 * 60
    assert held(first, "22:00-02:30").timestamp() - first.timestamp() == 15 * 60
    assert held(second, "22:00-02:30").timestamp() - second.timestamp() == 15 * 60


@given(
    st.datetimes(datetime(2026, 1, 1), datetime(2027, 1, 1)),
    st.sampled_from(["22:00-07:00", "13:00-15:30", "00:00-23:59", "23:59-00:00", "02:10-02:50"]),
    st.sampled_from([0, 1]),
)
def test_what_is_held_is_held_for_less_than_a_day_and_not_any_longer_after_it(naive, quiet_hours, fold):
    local = naive.replace(tzinfo=BERLIN, fold=fold)
    until = held(local, quiet_hours)
    if until is not None:
        seconds = until.timestamp() - local.timestamp()
        assert -HOUR < seconds <= DAY + HOUR  # in a time that does not exist it may be over already
        assert held(until, quiet_hours) is None
        assert f"{until:%H:%M}" == quiet_hours[-5:]


# ---- Trying again, and giving up ----


def test_the_pauses_grow_up_to_an_hour():
    assert [policy.next_pause(attempts) / 60 for attempts in range(9)] == [0, 1, 2, 5, 15, 30, 60, 60, 60]
    assert policy.next_pause(10**6) == policy.LONGEST_PAUSE == HOUR


def attempts_until_given_up(give_up_seconds, clock):
    """Try with the right pauses, by a clock of its own; returns how many attempts there were, and the real seconds."""
    attempts, elapsed = 0, 0.0
    while attempts < 1000:
        attempts += 1
        if policy.is_given_up(clock(elapsed), attempts, give_up_seconds):
            return attempts, elapsed
        elapsed += policy.next_pause(attempts)
    return attempts, elapsed


def test_a_message_is_given_up_when_it_is_old_enough():
    attempts, elapsed = attempts_until_given_up(72 * HOUR, lambda elapsed: elapsed)
    assert 72 * HOUR <= elapsed < 73 * HOUR
    assert attempts == 78
    assert attempts_until_given_up(0, lambda elapsed: elapsed) == (1, 0.0)


def test_a_clock_that_was_set_back_does_not_keep_it_for_ever():
    _, elapsed = attempts_until_given_up(72 * HOUR, lambda elapsed: elapsed - 365 * DAY)
    assert 72 * HOUR <= elapsed < 73 * HOUR


def test_a_clock_that_was_set_forward_or_a_host_that_was_off_leaves_it_some_tries():
    attempts, elapsed = attempts_until_given_up(72 * HOUR, lambda elapsed: elapsed + 365 * DAY)
    assert attempts == 7
    assert HOUR <= elapsed < 2 * HOUR


def test_the_age_counts_what_the_pauses_do_not():
    assert not policy.is_given_up(71 * HOUR, 10, 72 * HOUR)
    assert policy.is_given_up(72 * HOUR, 10, 72 * HOUR)
    assert not policy.is_given_up(72 * HOUR, 6, 72 * HOUR), "the pauses were less than an hour together"


@given(st.floats(0, 4e9), st.integers(0, 200))
def test_no_pause_is_taken_for_the_mistake_of_a_clock(now, attempts):
    assert now + policy.next_pause(attempts) < policy.latest_next_try(now) <= now + 2 * HOUR


def test_without_memory_an_alert_goes_in_one_minute_of_each_hour():
    runs = [policy.may_alert_without_memory(1_800_000_000 + 17 + 60 * minute) for minute in range(24 * 60)]
    assert sum(runs) == 24
    assert all(sum(runs[start : start + 60]) == 1 for start in range(0, len(runs), 60))
