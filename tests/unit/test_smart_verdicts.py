"""What is made of whole answers of smartctl: each file in tests/data/smartctl is one, of a disk that never was."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from plotfarm.base.condition import Severity
from plotfarm.base.config.sections import Smart
from plotfarm.drives.conditions import health_conditions
from plotfarm.drives.damage import damage_of
from plotfarm.drives.health import Assessment
from plotfarm.drives.model import Drive
from plotfarm.drives.smart.answers import health_from
from plotfarm.drives.smart.calls import Answer

SAMPLES = Path(__file__).parents[1] / "data" / "smartctl"
NOW = 1_700_000_000.0
DRIVE = Drive("/mnt/drive1", "/dev/sdx1", "uuid:1", 2049, "ext4")
PASSED, FAILED, NOT_SAID = Assessment.PASSED, Assessment.FAILED, Assessment.NOT_SAID
WARNING, CRITICAL = Severity.WARNING, Severity.CRITICAL

# What is not JSON as a whole carries no exit status.
STATUSES = {"no-output": 2, "sudo-password": 1, "sudo-warns-first": 0, "too-old-for-json": 1, "cut-off-failed": 8}


def answer(name):
    path = next(SAMPLES.glob(f"{name}.*"))
    text = path.read_text()
    status = STATUSES[name] if path.suffix == ".txt" else json.loads(text)["smartctl"]["exit_status"]
    return Answer(text, status)


def health(name):
    return health_from(answer(name), "/dev/sdx", NOW, "one line in sudoers")


# File -> what the disk says, what it is told of at its first reading. A missing verdict waits for the second one.
VERDICTS = {
    # Not known is not failing.
    "unknown-aborted-command": (NOT_SAID, {"unsaid": WARNING}),
    "unknown-with-attributes": (NOT_SAID, {"unsaid": WARNING}),
    "unknown-usb-bridge": (NOT_SAID, {"unsaid": WARNING}),
    # In order, whatever else there is to say.
    "sata-in-order": (PASSED, {}),
    "sata-usb-in-order": (PASSED, {}),
    "sata-by-attribute-check": (PASSED, {}),
    "sata-selftest-log-errors": (PASSED, {}),
    "sata-crc-errors": (PASSED, {}),
    "sata-command-timeouts": (PASSED, {}),
    "sata-hours-in-minutes": (PASSED, {}),
    "sata-zero-degrees": (PASSED, {}),
    "sata-no-serial": (PASSED, {}),
    "sata-additional-product": (PASSED, {}),
    "ssd-without-most-attributes": (PASSED, {}),
    "sas-in-order": (PASSED, {}),
    "sas-old-json": (PASSED, {}),
    "sas-no-serial": (PASSED, {}),
    "sas-two-part-serial": (PASSED, {}),
    "sas-vendor-and-product": (PASSED, {}),
    "nvme-in-order": (PASSED, {}),
    "sudo-warns-first": (PASSED, {}),
    # Heat that is over is nothing; heat now is not failing.
    "sata-hot-in-the-past": (PASSED, {}),
    "sata-hot-now": (PASSED, {"hot": CRITICAL}),
    "sata-hot-now-prefail-194": (PASSED, {"hot": CRITICAL}),
    "sata-hot-by-attribute-check": (PASSED, {"hot": CRITICAL}),
    "sas-temperature-exceeded": (PASSED, {"hot": CRITICAL}),
    "sas-temperature-exceeded-old": (PASSED, {"hot": CRITICAL}),
    "sas-high-operating-temperature": (PASSED, {"hot": WARNING}),
    "nvme-hot": (PASSED, {"hot": CRITICAL}),
    # Failing, by each sign alone.
    "sata-failed": (FAILED, {"failing": CRITICAL, "damaged": WARNING}),
    "sata-failed-in-words-only": (FAILED, {"failing": CRITICAL}),
    "sata-failed-by-status-only": (FAILED, {"failing": CRITICAL}),
    "sata-prefail-by-status-only": (FAILED, {"failing": CRITICAL}),
    "sata-failed-odd-attributes": (FAILED, {"failing": CRITICAL}),
    "sata-failed-and-hot": (FAILED, {"failing": CRITICAL, "hot": CRITICAL}),
    "sata-prefail-now": (FAILED, {"failing": CRITICAL, "damaged": WARNING}),
    "sas-failure-predicted": (FAILED, {"failing": CRITICAL, "damaged": WARNING}),
    "sas-hardware-impending-failure": (FAILED, {"failing": CRITICAL}),
    "nvme-spare-below-threshold": (FAILED, {"failing": CRITICAL}),
    "nvme-reliability-degraded": (FAILED, {"failing": CRITICAL, "damaged": WARNING}),
    "nvme-read-only": (FAILED, {"failing": CRITICAL}),
    "nvme-read-only-and-hot": (FAILED, {"failing": CRITICAL, "hot": CRITICAL}),
    "cut-off-failed": (FAILED, {"failing": CRITICAL}),
    # Damaged or worn at the first reading, although they say that they are well.
    "sata-damaged-first-reading": (PASSED, {"damaged": WARNING}),
    "sata-one-pending-sector": (PASSED, {"damaged": WARNING}),
    "sata-averaged-raw-value": (PASSED, {"damaged": WARNING}),
    "sata-reported-uncorrectable": (PASSED, {"damaged": WARNING}),
    "sata-prefail-in-the-past": (PASSED, {"damaged": WARNING}),
    "ssd-worn-out": (PASSED, {"damaged": WARNING}),
    "sas-grown-defects": (PASSED, {"damaged": WARNING}),
    "sas-media-scan-warning": (PASSED, {"damaged": WARNING}),
    "nvme-worn-out": (PASSED, {"damaged": WARNING}),
    "nvme-media-errors": (PASSED, {"damaged": WARNING}),
}
# File -> what is said instead of SMART data, with the remedy.
NO_DATA = {
    "unknown-smart-disabled": "it is switched off: smartctl -s on /dev/sdx",
    "raid-volume": "'/dev/sdx megaraid,0' in [smart] device_types",
    "virtual-disk-zero-degrees": "it is a virtual disk",
    "no-such-device": "there is no /dev/sdx",
    "no-permission": "no permission: one line in sudoers",
    "unknown-usb-bridge-type": "try a line such as '/dev/sdx sat'",
    "unknown-device-type": "a virtual disk has no SMART data",
    "behind-a-raid-card": "'/dev/sdx megaraid,N' into [smart] device_types",
    "no-output": "smartctl ended with status 2 and said nothing",
    "sudo-password": "no permission: one line in sudoers",
    "too-old-for-json": "smartctl is older than 7.0",
}
ASLEEP = {"standby"}


def test_every_sample_is_judged_here():
    names = {path.stem for path in SAMPLES.iterdir()}
    assert names == set(VERDICTS) | set(NO_DATA) | ASLEEP
    assert len(names) >= 40


@pytest.mark.parametrize("name", VERDICTS)
def test_a_disk_is_what_it_says_and_no_more_is_told_of_it(name):
    assessment, told = VERDICTS[name]
    said = health(name)
    assert (said.problem, said.assessment, said.last_read) == ("", assessment, NOW)
    found = health_conditions([DRIVE], {"uuid:1": said}, {}, {}, Smart())
    assert {one.kind: one.severity for one in found} == told
    assert {one.kind for one in found if one.patience_seconds} == set(told) & {"unsaid"}


@pytest.mark.parametrize("status", [-15, 1, 255])
def test_the_status_that_smartctl_reports_counts_whatever_its_caller_ends_with(status):
    text = answer("sata-failed-by-status-only").text
    assert health_from(Answer(text, status), "/dev/sdx", NOW).assessment is FAILED


@pytest.mark.parametrize("name", NO_DATA)
def test_a_disk_without_data_says_why_and_is_nothing_else(name):
    said = health(name)
    assert said.problem.startswith("no SMART: ")
    assert NO_DATA[name] in said.problem
    assert (said.assessment, said.celsius, said.last_read, said.says_hot) == (NOT_SAID, None, None, False)
    assert not damage_of(said)


@pytest.mark.parametrize("name", ASLEEP)
def test_a_sleeping_disk_has_no_problem(name):
    assert (health(name).asleep, health(name).problem) == (True, "")


@pytest.mark.parametrize(
    ("name", "word", "details"),
    [
        (
            "sata-damaged-first-reading",
            "damaged",
            "8256 reallocated sectors, 288 pending sectors, 288 uncorrectable sectors",
        ),
        ("sata-averaged-raw-value", "damaged", "10 reallocated sectors"),
        ("sata-reported-uncorrectable", "damaged", "5 reported uncorrectable errors"),
        ("sata-prefail-in-the-past", "worn", "Reallocated_Sector_Ct"),
        ("ssd-worn-out", "worn", "Media_Wearout_Indicator"),
        ("sas-grown-defects", "damaged", "260 reallocated sectors, 536 uncorrectable sectors"),
        ("sas-media-scan-warning", "worn", "WARNING - BACKGROUND PRE-SCAN DETECTED MEDIUM ERROR"),
        ("nvme-worn-out", "worn", "104% of its life used"),
        ("nvme-media-errors", "damaged", "7 uncorrectable sectors"),
    ],
)
def test_damage_comes_with_its_numbers(name, word, details):
    damage = damage_of(health(name))
    assert (damage.word, damage.details()) == (word, details)


@pytest.mark.parametrize(
    ("name", "serial", "model"),
    [
        ("sas-two-part-serial", "PZHTESTD", "TESTDISK TD12000NM004"),
        ("sas-vendor-and-product", "ZVEND001", "TESTDISK TD4000NM0043"),
        ("sas-old-json", "ZOLD0001", "TESTDISK TD12000NM004"),
        ("sas-no-serial", "", "TESTDISK TD12000NM004"),
        ("sata-no-serial", "", ""),
        ("sata-additional-product", "ZDELL001", "TESTDISK TD04000"),
        ("nvme-in-order", "NV9TEST7", "TESTDISK NV4 4TB"),
        ("raid-volume", "00a1b2c3d4e5f600", "TESTRAID Virtual Disk"),
    ],
)
def test_names_are_those_on_the_label(name, serial, model):
    assert (health(name).serial, health(name).model) == (serial, model)


@pytest.mark.parametrize(
    ("name", "celsius", "hours", "cycles"),
    [
        ("sata-in-order", 34, 13201, 212),
        ("sata-hours-in-minutes", 34, 22077, 212),
        ("sata-zero-degrees", None, 13201, 212),
        ("ssd-without-most-attributes", 34, 13201, None),
        ("sas-in-order", 41, 20311, 71),
        ("sas-old-json", 41, 20311, 71),
        ("nvme-in-order", 47, 7890, None),
        ("unknown-usb-bridge", 33, None, None),
        ("unknown-aborted-command", None, None, None),
    ],
)
def test_temperature_hours_and_cycles_are_read_or_not_known(name, celsius, hours, cycles):
    said = health(name)
    assert (said.celsius, said.power_on_hours, said.start_stop_count) == (celsius, hours, cycles)


def test_command_timeouts_are_the_lowest_of_three_counts():
    assert health("sata-command-timeouts").command_timeouts == 9
