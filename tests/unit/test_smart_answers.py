"""What is made of smartctl's words, without starting anything."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plotfarm.drives.smart.answers import health_from
from plotfarm.drives.smart.calls import Answer
from testbed import smart_samples as samples

DISK, NOW = "/dev/sdx", 1_700_000_000.0


def health(text, status=0):
    return health_from(Answer(text, status), DISK, NOW, "put a line into sudoers")


def test_a_sata_disk():
    said = health(samples.sata(reallocated="8", pending="3", uncorrectable="2", crc_errors="41"))
    assert (said.disk, said.time, said.last_read, said.problem, said.asleep) == (DISK, NOW, NOW, "", False)
    assert (said.serial, said.model, said.assessment) == ("ZL2TEST1", "TESTDISK TD18000NM", "PASS")
    assert (said.celsius, said.highest_celsius) == (34, 34)
    assert (said.reallocated, said.pending, said.uncorrectable, said.crc_errors) == (8, 3, 2, 41)


def test_a_sas_disk():
    said = health(samples.sas(grown_defects=56, uncorrected=(1, 2, 4)))
    assert (said.problem, said.serial, said.model) == ("", "ZC1TESTS0000C923", "TESTDISK TD12000NM004")
    assert (said.assessment, said.power_on_hours, said.start_stop_count) == ("PASS", 20311, 71)
    assert (said.celsius, said.reallocated, said.uncorrectable) == (41, 56, 7)
    assert (said.pending, said.crc_errors) == (None, None)


def test_an_nvme_disk():
    said = health(samples.nvme(media_errors=5))
    assert (said.problem, said.serial, said.model, said.assessment) == ("", "NV9TEST7", "TESTDISK NV4 4TB", "PASS")
    assert (said.celsius, said.uncorrectable) == (47, 5)
    assert (said.reallocated, said.pending, said.crc_errors) == (None, None, None)


@pytest.mark.parametrize("text", [samples.sata(), samples.sas(), samples.nvme()])
def test_the_status_for_a_failing_disk_is_enough(text):
    assert health(text, 8).assessment == "FAIL"


@pytest.mark.parametrize("status", [0, 4, 32, 64, 128, 4 | 64 | 128])
def test_the_other_bits_of_the_status_are_no_error(status):
    assert (health(samples.sata(), status).problem, health(samples.sata(), status).assessment) == ("", "PASS")


def test_what_a_disk_says_of_itself_is_enough_too():
    assert health(samples.sata(passed=False)).assessment == "FAIL"
    assert health(samples.sas(health="FAILURE PREDICTION THRESHOLD EXCEEDED [asc=5d, ascq=0]")).assessment == "FAIL"
    assert health(samples.nvme(critical_warning=4)).assessment == "FAIL"


def test_a_critical_warning_fails_an_nvme_disk_that_says_it_passed():
    text = samples.nvme(critical_warning=1).replace("FAILED!", "PASSED")
    assert health(text).assessment == "FAIL"


@pytest.mark.parametrize("status", [-11, -9, 1, 126, 127, 137, 139, 255])
def test_the_status_of_what_is_not_smartctl_slanders_no_disk(status):
    assert health("sh: 1: smartctl: not found\n", status).assessment == ""
    assert health(samples.sata(), status).assessment == "PASS"


@pytest.mark.parametrize("end", [0.3, 0.6, 0.95])
def test_a_verdict_of_failed_is_not_lost_with_the_rest_of_a_broken_answer(end):
    text = samples.sata(passed=False)
    said = health(text[: int(len(text) * end)], 8)
    assert (said.assessment, said.problem, said.last_read) == ("FAIL", "", NOW)


def test_the_printed_verdict_counts_where_the_facts_are_broken():
    assert health("{" + samples.sata(passed=False)).assessment == "FAIL"


@pytest.mark.parametrize(
    ("raw", "number"),
    [("10 (Average 12)", 10), ("0", 0), ("1234567", 1234567), ("-", None), (str(2**64), None), ("0 0/3", 0)],
)
def test_raw_values_are_the_first_number(raw, number):
    assert health(samples.sata(reallocated=raw)).reallocated == number


@pytest.mark.parametrize("celsius", [-40, 0, 121, 65535])
def test_temperatures_that_cannot_be_are_not_known(celsius):
    for text in (samples.sata(celsius=str(celsius)), samples.sas(celsius=celsius), samples.nvme(celsius=celsius)):
        said = health(text)
        assert (said.problem, said.celsius, said.highest_celsius, said.assessment) == ("", None, None, "PASS")


def test_the_other_temperature_counts_where_the_first_cannot_be():
    answer = json.loads(samples.sata(celsius="38"))
    answer["temperature"] = {}
    for attribute in answer["ata_smart_attributes"]["table"]:
        if attribute["id"] == 194:
            attribute["raw"] = {"value": 790102054, "string": "790102054"}
    assert health(json.dumps(answer)).celsius == 38


def test_a_volume_of_a_raid_card_has_a_name_but_no_smart_data():
    said = health(samples.volume(), 4)
    assert said.problem.startswith("no SMART: it is a virtual disk, or a volume of a RAID card")
    assert (said.serial, said.model) == ("00a1b2c3d4e5f600", "TESTRAID Virtual Disk")
    assert (said.celsius, said.assessment, said.last_read) == (None, "", None)


@pytest.mark.parametrize("mode", ["STANDBY", "SLEEP", "STANDBY (OS)", "STANDBY_Y BY TIMER", "LOW POWER"])
def test_a_sleeping_disk_says_nothing_new(mode):
    said = health(samples.asleep(mode), 2)
    assert (said.asleep, said.problem, said.celsius, said.last_read) == (True, "", None, None)


@pytest.mark.parametrize(
    ("text", "status", "words"),
    [
        ("sudo: a password is required\n", 1, "no permission: put a line into sudoers"),
        ("Sorry, user nas is not allowed to execute '/usr/sbin/smartctl' as root on nas.\n", 1, "no permission"),
        (samples.not_opened(DISK, "Permission denied"), 2, "no permission: put a line into sudoers"),
        (samples.not_opened(DISK, "No such device"), 2, "there is no /dev/sdx"),
        (samples.not_opened(DISK, "Input/output error"), 2, "it cannot be opened: Input/output error"),
        (
            samples.not_opened(DISK, "DELL or MegaRaid controller, please try adding '-d megaraid,N'"),
            2,
            "'/dev/sdx megaraid,N' into [smart] device_types",
        ),
        (samples.unknown_bridge(DISK), 1, "its USB bridge [0x1234:0x5678 (0x204)]: try a line such as '/dev/sdx sat'"),
        (samples.unknown_type(DISK), 1, "a virtual disk has no SMART data"),
        (f"{DISK}: Unknown device type 'sta{{0}}'\n=======> VALID ARGUMENTS ARE: ata, scsi\n", 1, "the type 'sta{0}'"),
        ("", 1, "smartctl ended with status 1 and said nothing"),
        ("", 0, "smartctl said nothing"),
        ("", -11, "smartctl ended with status -11 and said nothing"),
        ("Short INQUIRY response, skip product id\n", 2, "smartctl says: Short INQUIRY response, skip product id"),
        (samples.answer({"smart_support": {"available": True, "enabled": False}}), 4, "smartctl -s on /dev/sdx"),
        (samples.answer({}, ["SMART support is: Disabled"]), 4, "smartctl -s on /dev/sdx"),
        ("=======> UNRECOGNIZED OPTION: json=o\n", 1, "smartctl is older than 7.0"),
        ("SMART overall-health self-assessment test result: PASSED\n", 0, "did not answer in JSON"),
        ("sudo: unable to resolve host nas\n" + samples.not_opened(DISK, "No such device"), 2, "there is no /dev/sdx"),
    ],
)
def test_a_disk_without_smart_data_says_why_and_what_to_do(text, status, words):
    said = health(text, status)
    assert said.problem.startswith("no SMART: ")
    assert words in said.problem
    assert (said.last_read, said.celsius, said.assessment) == (None, None, "")


def test_what_sudo_says_besides_does_no_harm():
    assert health("sudo: unable to resolve host nas: Name or service not known\n" + samples.sata()) == health(
        samples.sata()
    )


def test_nothing_in_the_text_reaches_a_terminal():
    said = health(samples.sata(serial="A\x1b[2J\x07", model="M\x1b]0;x\x07\u202e"))
    assert said.serial.isprintable()
    assert said.model.isprintable()
    assert len(health(samples.sata(model="M" * 10_000)).model) <= 100
    refused = health("\x1b[31m\u2028" * 1000, 2)
    assert refused.problem.isprintable()
    assert len(refused.problem) < 300


def test_pysmart_fills_what_the_json_of_an_old_smartctl_lacks():
    said = health(samples.sas(is_old=True))
    assert (said.model, said.start_stop_count, said.power_on_hours) == ("TESTDISK TD12000NM004", 71, 20311)


def test_pysmart_overrules_nothing():
    answer = json.loads(samples.sas(is_old=True, grown_defects=3))
    lines = "\n".join(answer["smartctl"]["output"])
    lines = lines.replace("list: 3", "list: 77").replace("20311:17", "4:00").replace("41 C", "99 C")
    lines = lines.replace("ZC1TESTS0000C923", "OTHER").replace("Status: OK", "Status: FAILURE")
    answer["smartctl"]["output"] = lines.splitlines()
    assert health(json.dumps(answer)) == health(samples.sas(is_old=True, grown_defects=3))


@pytest.mark.parametrize(
    "line", ["grown defect list: many", "start-stop cycles:", "read: 1", "Specified cycle count: x"]
)
def test_what_pysmart_cannot_understand_costs_only_the_gap(line):
    answer = json.loads(samples.sas(is_old=True))
    answer["smartctl"]["output"].insert(5, f"Elements in {line}" if "list" in line else f"Accumulated {line}")
    said = health(json.dumps(answer))
    assert (said.problem, said.assessment, said.celsius) == ("", "PASS", 41)


@given(st.sampled_from([samples.sata(), samples.sas(), samples.nvme()]), st.data(), st.integers(0, 255))
def test_no_text_is_too_strange(text, data, status):
    start = data.draw(st.integers(0, len(text)))
    middle = data.draw(st.text(max_size=40) | st.sampled_from(["0\n", ": ", "Temperature: ", "read:\n", "\n\n"]))
    end = data.draw(st.integers(0, len(text)))
    said = health(text[:start] + middle + text[end:], status)
    assert said.disk == DISK
    assert said.problem.isprintable()
    assert said.celsius is None or 1 <= said.celsius <= 120
    assert said.assessment in ("", "PASS", "FAIL")
    assert bool(said.problem) or said.asleep or said.last_read == NOW
