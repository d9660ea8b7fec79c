"""The temperature report: a straight frame, a row for every drive, and what is said where SMART says nothing."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reports_samples import drive_facts, empty_farm, farm, health, missing
from rich.cells import cell_len

from plotfarm.base.config.sections import Smart
from plotfarm.drives.model import Verdict
from plotfarm.drives.reasons import Reason, Why
from plotfarm.reports.facts import DriveFacts
from plotfarm.reports.temperatures import as_text, data
from plotfarm.reports.terminal import Terminal

SETTINGS = Smart(warning_celsius=50, critical_celsius=60)


def report(*drives, colour=False):
    return as_text(farm(drives=drives, current=None), SETTINGS, Terminal(colour=colour))


def with_health(number, **changes):
    return drive_facts(number, 3, health=health(number, **changes))


def row_of(text, drive):
    """The cells of a drive's row."""
    line = next(line for line in text.splitlines() if f" {drive} " in line)
    return [cell.strip() for cell in line.strip("#").split("#")]


def below(text):
    """What stands below the frame, each remark in one line."""
    return re.sub(r"\n {2,}", " ", text.partition("\n\n")[2])


def test_the_whole_report():
    drives = [with_health(number, serial=f"{number:08}", model="HUH721212", celsius=28) for number in (0, 1, 10)]
    assert report(*drives).splitlines() == [
        "########################################################################",
        "##################### chianas01 Temperature Report #####################",
        "########################################################################",
        "# Serial#  #  Device   #  Drive  # Temp #   Model   # Health # Highest #",
        "########################################################################",
        "# 00000000 # /dev/sdb1 # drive0  # 28°C # HUH721212 #  PASS  #  36°C   #",
        "# 00000001 # /dev/sdc1 # drive1  # 28°C # HUH721212 #  PASS  #  43°C   #",
        "# 00000010 # /dev/sdl1 # drive10 # 28°C # HUH721212 #  PASS  #  40°C   #",
        "########################################################################",
    ]


def test_a_row_has_serial_device_drive_temperature_model_health_and_highest():
    text = report(with_health(10, celsius=28, highest_celsius=41))
    assert row_of(text, "drive10") == [
        "ZHZ79190",
        "/dev/sdl1",
        "drive10",
        "28°C",
        "ST12000NM0007-2A1101",
        "PASS",
        "41°C",
    ]


def test_every_drive_has_its_row_in_the_order_of_the_facts():
    names = re.findall(r"# +(drive\d+) +#", as_text(farm(), SETTINGS))
    assert names == [f"drive{number}" for number in range(44)]


@given(
    serials=st.lists(st.text(max_size=30), min_size=1, max_size=5),
    problem=st.text(max_size=200),
    server=st.text(min_size=1, max_size=100),
)
def test_the_frame_is_straight_whatever_the_drives_say(serials, problem, server):
    drives = [with_health(number, serial=serial, model=serial[::-1]) for number, serial in enumerate(serials)]
    drives += [with_health(10, problem=problem), with_health(100 % 44, celsius=108), missing(20)]
    lines = as_text(farm(drives=tuple(drives), server=server), SETTINGS).split("\n\n")[0].splitlines()
    assert len({cell_len(line) for line in lines}) == 1
    assert all(line[0] == line[-1] == "#" for line in lines)


@pytest.mark.parametrize(
    ("width", "left_out"),
    [(50, "Device, Model, Highest"), (60, "Model, Highest"), (80, "Model"), (130, "")],
)
def test_the_least_important_columns_go_first_and_are_named(width, left_out):
    facts = farm(drives=(*(with_health(number) for number in (0, 1, 10)), missing(20)))
    lines = as_text(facts, SETTINGS, Terminal(width=width)).splitlines()
    assert max(map(cell_len, lines)) <= width
    for column in ("Serial#", "Device", "Drive", "Temp", "Model", "Health", "Highest"):
        assert (f" {column} " in lines[3]) == (column not in left_out.split(", "))
    remark = f"- not shown: {left_out} (--wide shows all)"
    assert " ".join(" ".join(lines).split()).endswith(remark) == bool(left_out)


def test_hot_drives_are_marked_by_the_configured_thresholds():
    text = report(*(with_health(number, celsius=celsius) for number, celsius in enumerate((49, 50, 59, 60))))
    assert [row_of(text, f"drive{number}")[3] for number in range(4)] == ["49°C", "50°C !", "59°C !", "60°C !!"]
    assert "! hot: 50°C or more (warning_celsius)" in text
    assert "!! much too hot: 60°C or more (critical_celsius)" in text
    assert "hot" not in report(with_health(0, celsius=49))


def test_colours_only_where_they_are_asked_for_and_they_move_nothing():
    drives = [
        with_health(0),
        with_health(1, celsius=66),
        with_health(2, assessment="FAIL"),
        with_health(3, problem="x"),
    ]
    plain, coloured = report(*drives), report(*drives, colour=True)
    assert "\033" not in plain
    assert re.search(r"\033\[1;31m *66°C !! *\033\[0m", coloured)
    assert re.search(r"\033\[1;31m *FAIL *\033\[0m", coloured)
    assert re.sub(r"\033\[[\d;]*m", "", coloured) == plain


def test_a_drive_without_smart_costs_only_its_own_row():
    why = "no permission: sudo does not let this user start smartctl, see README.md for the line that it takes"
    text = report(with_health(0), with_health(1, problem=why, assessment="", celsius=None), with_health(2))
    assert row_of(text, "drive1")[3:6] == ["-", "ST12000NM0007-2A1101", "no SMART"]
    assert below(text) == f"no SMART: drive1: {why} (last read less than an hour ago)"
    assert row_of(text, "drive2")[3] == row_of(report(with_health(2)), "drive2")[3]


def test_what_concerns_many_drives_is_said_once_with_their_names():
    why = "smartctl is not installed: apt install smartmontools"
    drives = [drive_facts(number, 3, health=health(number, problem=why, last_read=None)) for number in range(44)]
    drives[7] = with_health(7)
    text = report(*drives)
    assert below(text) == f"no SMART: drive0-drive6, drive8-drive43: {why}"
    assert text.count(" no SMART ") == 43


def test_a_reason_that_says_no_smart_itself_says_it_once():
    assert below(report(with_health(1, problem="no SMART: no single disk"))).count("no SMART") == 1


def test_a_failing_drive_that_says_nothing_any_more_is_still_failing():
    text = report(with_health(1, problem="it does not open", assessment="FAIL", celsius=None))
    assert row_of(text, "drive1")[5] == "FAIL, no SMART"
    assert "no SMART: drive1: it does not open" in below(text)


def test_a_drive_that_was_never_read_and_one_without_temperature_show_no_number():
    text = report(drive_facts(1, 3, health=None), with_health(2, celsius=None, highest_celsius=None))
    assert row_of(text, "drive1")[3:6] == ["-", "-", "not read yet"]
    assert "not read yet: drive1: its SMART data has not been read yet" in below(text)
    assert row_of(text, "drive2")[3:] == ["unknown", "ST12000NM0007-2A1101", "PASS", "unknown"]


def test_a_drive_that_sleeps_says_so_with_its_last_temperature_and_is_not_hot():
    text = report(with_health(1, asleep=True, celsius=61), with_health(2, asleep=True, celsius=None))
    assert row_of(text, "drive1")[3] == "asleep (61°C)"
    assert row_of(text, "drive2")[3] == "asleep"
    assert "asleep: left in standby" in text
    assert "!!" not in text


def test_a_drive_that_is_not_mounted_says_so_and_shows_no_temperature():
    text = report(with_health(0), missing(20))
    assert row_of(text, "drive20")[3:] == ["-", "ST12000NM0007-2A1101", "not mounted", "44°C"]
    assert below(text) == "not mounted: drive20 (last read 2 h ago)"


def test_a_drive_that_hangs_still_shows_what_smart_says():
    mounted = drive_facts(3, 5).drive
    silent = DriveFacts(Verdict(mounted, Why(Reason.NOT_ANSWERING)), health(3, celsius=71))
    assert row_of(report(silent), "drive3")[3] == "71°C !!"


def test_damaged_and_worn_drives_are_marked_whatever_they_say_of_themselves():
    text = report(
        with_health(0),
        with_health(1, reallocated=8256, pending=288),
        with_health(2, worn="Wear_Leveling_Count"),
        with_health(3, assessment="FAIL", uncorrectable=4),
        with_health(4, assessment="", pending=1),
    )
    shown = [row_of(text, f"drive{number}")[5] for number in range(5)]
    assert shown == ["PASS", "PASS, damaged", "PASS, worn", "FAIL, damaged", "unknown, damaged"]
    assert "damaged: drive1: 8256 reallocated sectors, 288 pending sectors" in text
    assert "worn: drive2: Wear_Leveling_Count" in text
    assert "damaged" not in report(with_health(0))


def test_a_drive_that_calls_itself_too_hot_is_marked():
    text = report(with_health(0, celsius=44, says_hot=True), with_health(1))
    assert row_of(text, "drive0")[3] == "44°C !"
    assert "! hot: 50°C or more (warning_celsius) or by its own word" in text


def test_json_has_the_counters_and_how_long_a_drive_has_run():
    worn = with_health(
        1, power_on_hours=13201, start_stop_count=212, reported_uncorrectable=2, command_timeouts=3, says_hot=True
    )
    drive, silent = data(farm(drives=(worn, drive_facts(5, 1, health=None))), SETTINGS)["drives"]
    names = ("power_on_hours", "start_stop_count", "reported_uncorrectable", "command_timeouts", "damage", "says_hot")
    assert [drive[name] for name in names] == [13201, 212, 2, 3, "damaged", True]
    assert [silent[name] for name in names] == [None] * 6


def test_an_empty_farm_says_that_there_are_no_drives():
    text = as_text(empty_farm(), SETTINGS)
    assert "No plot drives found" in text
    assert data(empty_farm(), SETTINGS)["drives"] == []


def test_hostile_names_stay_on_their_line():
    bad = with_health(0, serial="a\nb\033[31m", model="\u202e\udcff")
    place = replace(bad.verdict.drive, mountpoint="/mnt/dri\nve", device="/dev/\033")
    text = report(replace(bad, verdict=replace(bad.verdict, drive=place)))
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e\ud800-\udfff]", text)


def test_json_has_the_same_facts_and_null_where_nothing_is_known():
    drives = (
        with_health(1, celsius=61, pending=3),
        with_health(2, problem="it hangs", celsius=None, assessment="", pending=None),
        with_health(3, asleep=True, celsius=70),
        missing(20),
        drive_facts(5, 1, health=None),
    )
    document = data(farm(drives=drives), SETTINGS)
    hot, silent, asleep, gone, never = document["drives"]
    assert (document["warning_celsius"], document["critical_celsius"]) == (50, 60)
    assert (hot["celsius"], hot["heat"], hot["assessment"], hot["pending"]) == (61, "critical", "PASS", 3)
    assert hot["celsius_why"] is None
    assert (silent["celsius"], silent["assessment"], silent["celsius_why"]) == (None, None, "no SMART: it hangs")
    assert (asleep["celsius"], asleep["asleep"], asleep["heat"]) == (70, True, None)
    assert (gone["mounted"], gone["celsius"], gone["highest_celsius"]) == (False, None, 44)
    assert gone["celsius_why"] == "not mounted"
    assert (never["serial"], never["last_read"]) == (None, None)
    assert hot["last_read"] == "2026-11-24T01:55:41Z"
    assert len({tuple(drive) for drive in document["drives"]}) == 1


@pytest.mark.parametrize("count", [1, 500])
def test_any_number_of_drives_works(count):
    drives = tuple(with_health(number % 44) for number in range(count))
    assert report(*drives).count("ST12000NM0007-2A1101") == count
