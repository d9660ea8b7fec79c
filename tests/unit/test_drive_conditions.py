"""What the owner should know of the drives, decided on readings."""

from __future__ import annotations

from dataclasses import replace

import pytest

from plotfarm.base.condition import AlertKind, Condition, Severity
from plotfarm.base.config.sections import Smart
from plotfarm.drives.conditions import (
    growth,
    health_conditions,
    heat,
    is_surely_failing,
    offline_conditions,
    quarantine_conditions,
    speed_conditions,
    unfit,
)
from plotfarm.drives.health import Health
from plotfarm.drives.model import Drive
from plotfarm.drives.quarantine import Quarantined, QuarantineReason
from plotfarm.drives.reasons import Reason, Why
from plotfarm.drives.speed import Speed
from plotfarm.notify.alerts import compare

NOW = 1_700_000_000.0
SMART = Smart(warning_celsius=50, critical_celsius=60, hysteresis_celsius=3, smart_interval_minutes=30)
DRIVE = Drive("/mnt/enclosure0/drive6", "/dev/sda1", "uuid:6", 2049, "ext4")
OTHER = Drive("/mnt/enclosure0/drive7", "/dev/sdb1", "uuid:7", 2065, "ext4")
GOOD = Health(
    "/dev/sda", NOW, last_read=NOW, serial="S6", model="M6", assessment="PASS", celsius=34, highest_celsius=39,
    reallocated=0, pending=0, uncorrectable=0, crc_errors=0,
)  # fmt: skip
NAMES = {
    "drive": "drive6", "mountpoint": "/mnt/enclosure0/drive6", "device": "/dev/sda1", "serial": "S6", "model": "M6",
}  # fmt: skip
WARNING, CRITICAL = Severity.WARNING, Severity.CRITICAL


def told(health=GOOD, dated=(), standing=None, drives=(DRIVE,)):
    before = {("hot", "uuid:6"): standing} if standing else {}
    return health_conditions(drives, {"uuid:6": health}, {"uuid:6": dated}, before, SMART)


def test_nothing_is_told_of_a_disk_in_order():
    assert told() == []


def test_nothing_is_told_of_a_drive_that_was_never_read_or_is_not_mounted():
    assert health_conditions([DRIVE], {}, {}, {}, SMART) == []
    assert told(replace(GOOD, assessment="FAIL", celsius=80), drives=[OTHER]) == []


# ---- Hot ----


def test_a_hot_disk():
    facts = {**NAMES, "celsius": 52, "highest_celsius": 55, "warning_celsius": 50, "critical_celsius": 60}
    hot = replace(GOOD, celsius=52, highest_celsius=55)
    assert told(hot) == [Condition(AlertKind.HOT, "uuid:6", WARNING, facts)]


@pytest.mark.parametrize(
    ("celsius", "before", "after"),
    [
        (49, None, None),
        (50, None, WARNING),
        (59, None, WARNING),
        (60, None, CRITICAL),
        (49, WARNING, WARNING),
        (47, WARNING, WARNING),
        (46, WARNING, None),
        (57, CRITICAL, CRITICAL),
        (56, CRITICAL, WARNING),
        (47, CRITICAL, WARNING),
        (46, CRITICAL, None),
        (57, WARNING, WARNING),
        (None, CRITICAL, None),
    ],
)
def test_heat_is_over_only_well_below_the_threshold(celsius, before, after):
    assert heat(celsius, before, SMART) is after


def test_a_hot_disk_that_cannot_be_read_is_still_hot():
    silent = replace(GOOD, problem="no SMART: gone", celsius=None)
    (hot,) = (condition for condition in told(silent, standing=CRITICAL) if condition.kind == "hot")
    assert (hot.severity, hot.facts["celsius"]) == (CRITICAL, None)
    assert [condition.kind for condition in told(silent)] == ["no_smart"]


def test_a_sleeping_disk_is_not_hot_whatever_it_was_when_it_fell_asleep():
    assert told(replace(GOOD, asleep=True, celsius=65), standing=CRITICAL) == []


# ---- Failing ----


def test_a_failing_disk():
    facts = {**NAMES, "assessment": "FAIL", "reallocated": 0, "pending": 0, "uncorrectable": None, "crc_errors": 3}
    failing = replace(GOOD, assessment="FAIL", crc_errors=3, uncorrectable=None)
    assert told(failing) == [Condition(AlertKind.FAILING, "uuid:6", CRITICAL, facts)]


@pytest.mark.parametrize("state", [{"asleep": True}, {"problem": "no SMART: gone"}])
def test_a_failing_disk_goes_on_failing_asleep_and_silent(state):
    assert "failing" in {condition.kind for condition in told(replace(GOOD, assessment="FAIL", **state))}


# ---- Offline because it is failing ----

FAILED = replace(GOOD, assessment="FAIL", failing_since=NOW, last_failed=NOW + 30 * 60)
OFFLINING = replace(SMART, offline_failing=True)


@pytest.mark.parametrize(("minutes", "is_sure"), [(None, False), (0, False), (29.9, False), (30, True), (300, True)])
def test_a_drive_is_surely_failing_by_two_readings_an_interval_apart(minutes, is_sure):
    last = None if minutes is None else NOW + minutes * 60
    since = None if minutes is None else NOW
    assert is_surely_failing(replace(FAILED, failing_since=since, last_failed=last), SMART) is is_sure
    assert not is_surely_failing(None, SMART)


def test_a_drive_that_was_taken_offline_is_told_of_until_it_is_in_use_again():
    def found(offlined, told=(), settings=OFFLINING, health=FAILED):
        return offline_conditions([DRIVE], {"uuid:6": health}, offlined, told, settings)

    offlined, told = ["uuid:6"], [("taken_offline", "uuid:6")]
    assert found(offlined) == [Condition(AlertKind.TAKEN_OFFLINE, "uuid:6", WARNING, {**NAMES, "since": NOW})]
    assert found([]) == []
    assert found([], told) == []
    assert found(offlined, settings=SMART) == []  # by the owner's own hand
    assert found(offlined, health=GOOD) == []
    assert found(offlined, told, SMART)
    assert found(offlined, told, health=GOOD)


# ---- Worn or damaged, whatever it says of itself ----


@pytest.mark.parametrize(
    ("changes", "word", "details"),
    [
        (
            {"reallocated": 8256, "pending": 288, "uncorrectable": 288},
            "damaged",
            "8256 reallocated sectors, 288 pending sectors, 288 uncorrectable sectors",
        ),
        ({"pending": 1}, "damaged", "1 pending sector"),
        ({"reported_uncorrectable": 2}, "damaged", "2 reported uncorrectable errors"),
        ({"worn": "Wear_Leveling_Count"}, "worn", "Wear_Leveling_Count"),
        (
            {"worn": "104% of its life used", "reallocated": 4},
            "damaged",
            "4 reallocated sectors, 104% of its life used",
        ),
    ],
)
def test_a_damaged_or_worn_disk_is_told_of_at_its_first_reading(changes, word, details):
    facts = {**NAMES, "word": word, "details": details}
    assert told(replace(GOOD, **changes)) == [Condition(AlertKind.DAMAGED, "uuid:6", WARNING, facts)]


@pytest.mark.parametrize("name", ["crc_errors", "command_timeouts"])
def test_errors_of_cables_are_no_damage(name):
    assert told(replace(GOOD, **{name: 500})) == []


def test_a_damaged_disk_that_cannot_be_read_any_more_has_not_healed():
    silent = replace(GOOD, problem="no SMART: gone")
    after = health_conditions([DRIVE], {"uuid:6": silent}, {}, {("damaged", "uuid:6"): WARNING}, SMART)
    assert {one.kind for one in after} == {"damaged", "no_smart"}
    assert {one.kind for one in told(silent)} == {"no_smart"}


# ---- No verdict ----


def test_a_disk_that_gives_no_verdict_is_not_failing_and_is_told_of_by_the_second_reading():
    facts = {**NAMES, "last_read": NOW}
    said = told(replace(GOOD, assessment=""))
    assert said == [Condition(AlertKind.UNSAID, "uuid:6", WARNING, facts, patience_seconds=15 * 60)]
    first = compare({}, said, ("unsaid",), NOW)
    assert not first.raised
    assert compare(first.kept, said, ("unsaid",), NOW + 30 * 60).raised == said


def test_an_alert_on_a_missing_verdict_stands_while_the_disk_sleeps_or_is_silent():
    for state in ({"asleep": True}, {"problem": "no SMART: gone"}):
        health = replace(GOOD, assessment="", **state)
        before = {("unsaid", "uuid:6"): WARNING}
        assert "unsaid" in {one.kind for one in health_conditions([DRIVE], {"uuid:6": health}, {}, before, SMART)}
        assert "unsaid" not in {one.kind for one in told(health)}


# ---- Hot by its own word ----


def test_a_disk_that_calls_itself_too_hot_is_hot_and_not_failing():
    said = told(replace(GOOD, says_hot=True, celsius=44))
    assert [(one.kind, one.severity) for one in said] == [("hot", WARNING)]
    assert told(replace(GOOD, says_hot=True, asleep=True)) == []
    assert [one.severity for one in told(replace(GOOD, says_hot=True, celsius=66))] == [CRITICAL]


# ---- Sectors ----


def readings(**counters):
    """Readings of GOOD with other counters, one after the other."""
    return [
        replace(GOOD, **dict(zip(counters, values, strict=True))) for values in zip(*counters.values(), strict=True)
    ]


def test_counters_that_grew():
    facts = {**NAMES, "pending_from": 0, "pending_to": 16, "crc_errors_from": 7, "crc_errors_to": 8}
    dated = readings(pending=[0, 8, 16], crc_errors=[7, 7, 8])
    assert told(dated=dated) == [Condition(AlertKind.SECTORS, "uuid:6", CRITICAL, facts)]


@pytest.mark.parametrize(
    ("name", "severity"),
    [("pending", CRITICAL), ("uncorrectable", CRITICAL), ("reallocated", WARNING), ("crc_errors", WARNING)],
)
def test_what_grows_before_a_disk_fails_is_critical(name, severity):
    assert [one.severity for one in told(dated=readings(**{name: [1, 2]}))] == [severity]


@pytest.mark.parametrize(
    ("values", "grown"),
    [
        ([], None),
        ([8], None),
        ([8, 8, 8], None),
        ([8, 0], None),  # pending sectors that could be written after all
        ([0, 8, 0], (0, 8)),  # told for its time, so that it does not come and go
        ([0, 8, 0, 4], (0, 4)),
        ([4, None, 6], (4, 6)),
        ([None, 6], None),  # nobody knows what it was before
    ],
)
def test_what_counts_as_growth(values, grown):
    assert growth(readings(pending=values)).get("pending") == grown


def test_the_counters_of_the_disk_before_are_not_compared():
    dated = [*readings(pending=[0, 1]), replace(GOOD, serial="S9", pending=50)]
    assert growth(dated) == {}
    assert growth([*dated, replace(GOOD, serial="S9", pending=51)]) == {"pending": (50, 51)}


# ---- No SMART data any more ----


def test_a_disk_that_used_to_give_smart_data():
    silent = replace(GOOD, problem="no SMART: no permission", celsius=None)
    facts = {**NAMES, "why": "no SMART: no permission", "last_read": NOW}
    assert told(silent) == [Condition(AlertKind.NO_SMART, "uuid:6", WARNING, facts, patience_seconds=45 * 60)]


def test_a_disk_that_never_gave_smart_data_is_not_told_of():
    assert told(Health("/dev/sda", NOW, problem="no SMART: a virtual disk")) == []


# ---- Slow drives ----


def test_a_drive_that_takes_plots_slowly_is_told_of_and_the_others_are_not():
    speeds = {DRIVE.mountpoint: Speed(60e6, 20, is_slow=True), OTHER.mountpoint: Speed(200e6, 20)}
    facts = {**NAMES, "bytes_per_second": 60e6, "arrivals": 20}
    found = speed_conditions([DRIVE, OTHER], speeds, {"uuid:6": GOOD})
    assert found == [Condition(AlertKind.SLOW, "uuid:6", WARNING, facts)]
    assert speed_conditions([DRIVE], {}, {}) == []


# ---- Drives that lost data ----


def test_a_drive_in_quarantine():
    entry = Quarantined("uuid:6", "drive6", QuarantineReason.IO_ERROR, "fsync", 5, "a.plot", NOW, "sysfs:1", "boot")
    facts = {
        **NAMES, "reason": "io_error", "call": "fsync", "error": "Input/output error", "plot": "a.plot", "since": NOW,
    }  # fmt: skip
    found = quarantine_conditions([DRIVE, OTHER], {"uuid:6": entry}, {"uuid:6": GOOD})
    assert found == [Condition(AlertKind.QUARANTINED, "uuid:6", CRITICAL, facts)]
    assert quarantine_conditions([DRIVE], {}, {}) == []


def test_a_drive_in_quarantine_without_a_failed_call_and_known_by_another_name_now():
    entry = Quarantined("uuid:6", "drive6", QuarantineReason.HOLES, "", 0, "a.plot", NOW, "sysfs:1", "boot")
    (condition,) = quarantine_conditions([OTHER], {"uuid:7": entry}, {})
    assert (condition.about, condition.facts["drive"]) == ("uuid:6", "drive7")
    assert (condition.facts["reason"], condition.facts["error"], condition.facts["call"]) == ("holes", "", "")


# ---- The drive choice ----


def test_a_failing_disk_gets_no_plots():
    healths = {"uuid:6": replace(GOOD, assessment="FAIL"), "uuid:7": GOOD, "uuid:8": replace(GOOD, assessment="")}
    assert unfit(healths, SMART) == {"uuid:6": Why(Reason.FAILING, "SMART says FAILED")}


def test_a_disk_that_is_much_too_hot_gets_no_plots_until_it_has_cooled():
    def at(celsius, too_hot=()):
        return unfit({"uuid:6": replace(GOOD, celsius=celsius)}, SMART, too_hot)

    assert at(60) == {"uuid:6": Why(Reason.HOT, "60 C (critical_celsius is 60)")}
    assert at(59) == {}
    assert at(57, too_hot=["uuid:6"]) != {}
    assert at(56, too_hot=["uuid:6"]) == {}
    assert at(57, too_hot=["uuid:7"]) == {}


def test_a_sleeping_disk_and_one_that_says_nothing_are_not_too_hot():
    assert unfit({"uuid:6": replace(GOOD, celsius=70, asleep=True)}, SMART) == {}
    assert unfit({"uuid:6": Health("/dev/sda", NOW, problem="no SMART: gone")}, SMART, ["uuid:6"]) == {}
