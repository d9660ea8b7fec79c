"""What is remembered of SMART readings, in a real database."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from plotfarm.base.database import Database
from plotfarm.drives.conditions import growth
from plotfarm.drives.health import Health
from plotfarm.drives.smart.records import HealthRecords, is_due

CHECKOUT = Path(__file__).parents[2]
NOW, HOUR, DAY = 1_700_000_000.0, 3600.0, 86400.0
GOOD = Health(
    "/dev/sda", NOW, last_read=NOW, serial="S1", model="M1", assessment="PASS", celsius=34, highest_celsius=34,
    reallocated=0, pending=0, uncorrectable=0, crc_errors=0,
)  # fmt: skip


def at(time, **changes):
    celsius = changes.get("celsius", GOOD.celsius)
    return replace(GOOD, time=time, last_read=time, highest_celsius=celsius, **changes)


def asleep(time):
    return Health("/dev/sda", time, asleep=True)


def silent(time):
    return Health("/dev/sda", time, problem="no SMART: gone")


@pytest.fixture
def directory(tmp_path):
    return tmp_path


@pytest.fixture
def records(directory):
    return HealthRecords(Database(directory))


def known(records, *healths):
    for health in healths:
        records.record({"uuid:1": health})
    return records.latest()["uuid:1"]


def test_the_latest_reading_is_returned_as_it_was_also_by_another_process(records, directory):
    assert known(records, GOOD) == GOOD
    assert HealthRecords(Database(directory)).latest() == {"uuid:1": GOOD}


def test_the_highest_temperature_ever_stays(records):
    assert known(records, at(NOW, celsius=41), at(NOW + 1, celsius=58), at(NOW + 2, celsius=30)) == replace(
        at(NOW + 2, celsius=30), highest_celsius=58
    )


def test_a_sleeping_disk_keeps_the_values_of_its_last_reading(records):
    said = known(records, at(NOW, celsius=41, pending=3), asleep(NOW + 60), asleep(NOW + 120))
    assert said == replace(
        GOOD, celsius=41, highest_celsius=41, pending=3, asleep=True, time=NOW + 120, last_read=NOW
    )  # fmt: skip


def test_a_disk_that_says_nothing_any_more_is_known_by_its_name_only(records):
    said = known(records, at(NOW, celsius=41, pending=3), silent(NOW + 60))
    assert said == Health(
        "/dev/sda", NOW + 60, problem="no SMART: gone", last_read=NOW, serial="S1", model="M1", highest_celsius=41
    )


def test_a_failing_disk_is_failing_until_it_says_otherwise(records):
    assert known(records, at(NOW, assessment="FAIL"), silent(NOW + 60)).assessment == "FAIL"
    assert known(records, asleep(NOW + 120)).assessment == "FAIL"
    assert known(records, at(NOW + 180)).assessment == "PASS"
    assert known(records, silent(NOW + 240)).assessment == ""


def test_a_failing_disk_that_gives_no_verdict_is_failing_still(records):
    said = known(records, at(NOW, assessment="FAIL"), at(NOW + 60, assessment=""))
    assert (said.assessment, said.failing_since, said.last_failed) == ("FAIL", NOW, NOW)
    assert known(records, at(NOW + 120, assessment="FAIL")).failing_seconds == 120
    healed = known(records, at(NOW + 180), at(NOW + 240, assessment=""))
    assert (healed.assessment, healed.failing_seconds) == ("", None)


def test_a_verdict_without_a_time_holds_only_until_the_next_reading(records):
    known(records, at(NOW, assessment="FAIL"))
    records._database.write("DELETE FROM health_details")  # as it was left before verdicts were dated
    assert known(records).assessment == "FAIL"
    assert known(records, at(NOW + 60, assessment="")).assessment == ""


def test_how_long_a_disk_fails_is_never_negative_after_the_clock_was_set_back(records):
    said = known(records, at(NOW, assessment="FAIL"), at(NOW - 9 * DAY, assessment="FAIL"))
    assert said.failing_seconds == 0


def test_another_disk_in_place_of_a_failing_one_is_judged_anew(records):
    said = known(records, at(NOW, assessment="FAIL"), at(NOW + DAY, assessment="FAIL", serial="S2"))
    assert said.failing_seconds == 0


def test_everything_that_a_disk_counts_is_remembered(records, directory):
    full = replace(
        GOOD, says_hot=True, worn="Wear_Leveling_Count", reported_uncorrectable=2, command_timeouts=3,
        power_on_hours=13201, start_stop_count=212,
    )  # fmt: skip
    assert known(records, full) == full
    assert HealthRecords(Database(directory)).latest() == {"uuid:1": full}
    assert known(records, asleep(NOW + 60)).power_on_hours == 13201


def test_the_values_come_back_when_a_disk_falls_asleep_after_it_said_nothing(records):
    assert known(records, at(NOW, celsius=41), silent(NOW + 60), asleep(NOW + 120)).celsius == 41


def test_another_disk_in_the_same_place_begins_anew(records):
    said = known(records, at(NOW, celsius=58, reallocated=9), at(NOW + 1, serial="S2"))
    assert (said.serial, said.highest_celsius) == ("S2", 34)
    assert growth(records.since(NOW)["uuid:1"]) == {}


def test_serial_numbers_are_known_also_of_disks_that_are_gone(records):
    records.record({"uuid:1": GOOD, "uuid:2": asleep(NOW)})
    records.record({"uuid:2": asleep(NOW + 60)})
    assert records.serials() == {"uuid:1": "S1"}


def test_readings_are_dated_when_a_counter_changes_and_once_a_day(records):
    for hour in range(49):
        records.record({"uuid:1": at(NOW + hour * HOUR, celsius=30 + hour % 7, pending=int(hour >= 5))})
    dated = [((one.time - NOW) / HOUR, one.pending) for one in records.since(0)["uuid:1"]]
    assert dated == [(0, 0), (5, 1), (29, 1)]


def test_what_held_at_a_time_comes_before_what_changed_since(records):
    for hours, pending in ((0, 0), (10, 1), (20, 2), (30, 3)):
        records.record({"uuid:1": at(NOW + hours * HOUR, pending=pending)})
    records.record({"uuid:2": at(NOW + 30 * HOUR)})

    def pending_since(hours):
        return [one.pending for one in records.since(NOW + hours * HOUR)["uuid:1"]]

    assert pending_since(15) == [1, 2, 3]
    assert pending_since(20) == [2, 3]
    assert pending_since(50) == [3]
    assert pending_since(-1) == [0, 1, 2, 3]
    assert growth(records.since(NOW + 15 * HOUR)["uuid:1"]) == {"pending": (1, 3)}


def test_old_readings_are_forgotten_but_not_the_last_one_of_a_drive(records):
    records.record({"uuid:gone": at(NOW), "uuid:1": at(NOW)})
    for day in range(1, 200):
        records.record({"uuid:1": at(NOW + day * DAY)})
    assert len(records.since(0)["uuid:1"]) == 91
    assert [one.time for one in records.since(0)["uuid:gone"]] == [NOW]


def test_a_round_is_due_after_the_interval(records):
    assert records.last_time() is None
    assert records.is_due(NOW, 1800)
    records.record({"uuid:1": GOOD})
    assert records.last_time() == NOW
    assert not records.is_due(NOW, 1800)
    assert not records.is_due(NOW + 1799, 1800)
    assert records.is_due(NOW + 1800, 1800)


def test_reading_some_drives_does_not_put_off_the_round(records):
    records.record({"uuid:1": GOOD, "uuid:2": GOOD})
    records.record({"uuid:1": at(NOW + 1700)}, complete=False)
    assert records.is_due(NOW + 1800, 1800)


def test_a_clock_that_was_set_back_delays_nothing(records):
    records.record({"uuid:1": at(NOW + 400 * DAY, pending=0), "uuid:gone": at(NOW + 400 * DAY)})
    assert records.is_due(NOW, 1800)
    records.record({"uuid:1": at(NOW, pending=2)})
    assert not records.is_due(NOW + 60, 1800)
    assert records.is_due(NOW + 1800, 1800)
    assert growth(records.since(NOW - DAY)["uuid:1"]) == {"pending": (0, 2)}
    assert growth(records.since(NOW + DAY)["uuid:1"]) == {}
    assert records.latest()["uuid:gone"].time == NOW


def test_a_clock_that_jumps_ahead_costs_one_round(records):
    records.record({"uuid:1": GOOD})
    records.record({"uuid:1": at(NOW + 400 * DAY)})
    assert records.latest()["uuid:1"].time == NOW + 400 * DAY


@pytest.mark.parametrize(("last", "due"), [(None, True), (100.0, False), (50.0, True), (50.1, False), (101.0, True)])
def test_due_is_what_was_never_done_or_long_ago_or_lies_ahead(last, due):
    assert is_due(last, 100.0, 50.0) is due


def test_a_drive_whose_name_is_no_text_is_remembered_like_any_other(records):
    strange = "mount:/mnt/enclosure0/drive\udcff"
    records.record({strange: GOOD, "mount:/mnt/it's \u202e a drive\n": at(NOW, celsius=35)})
    assert records.latest() == {strange: GOOD, "mount:/mnt/it's \u202e a drive\n": at(NOW, celsius=35)}
    assert records.serials()[strange] == "S1"
    assert [one.celsius for one in records.since(NOW)[strange]] == [34]


def test_nothing_is_written_for_no_drives(records):
    records.record({})
    assert (records.latest(), records.serials(), records.last_time(), records.since(0)) == ({}, {}, None, {})


WRITER = """
import sys
from pathlib import Path
from plotfarm.base.database import Database
from plotfarm.drives.health import Health
from plotfarm.drives.smart.records import HealthRecords
records = HealthRecords(Database(Path(sys.argv[1])))
for number in range(50):
    time = float(number)
    counted = int(sys.argv[2]) + number
    records.record({"uuid:1": Health("/dev/sda", time, last_read=time, serial="S1", reallocated=counted)})
"""


def test_two_processes_may_record_at_once(records, directory):
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, directory, start], cwd=CHECKOUT, stderr=subprocess.PIPE)
        for start in ("0", "1000")
    ]
    assert [(writer.communicate(timeout=60)[1], writer.returncode) for writer in writers] == [(b"", 0)] * 2
    assert len(records.since(-1)["uuid:1"]) == 100
    assert records.latest()["uuid:1"].reallocated in (49, 1049)


def test_without_a_disk_for_the_database_the_run_goes_on(directory):
    (directory / "state").write_text("a file, where the directory should be")
    records = HealthRecords(Database(directory / "state"))
    records.record({"uuid:1": GOOD})
    assert records.latest() == {"uuid:1": GOOD}
