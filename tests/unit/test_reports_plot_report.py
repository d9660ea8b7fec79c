"""The plot report: its rows, its frame, what it says of what is not known, and the same as JSON."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reports_samples import HOT, K32, MISSING, NOW, SIZE, TIB, drive_facts, empty_farm, farm, health, missing, one_drive
from rich.cells import cell_len

from plotfarm.drives.model import Verdict
from plotfarm.drives.reasons import Reason, Why
from plotfarm.reports.facts import DAY_SECONDS, DriveFacts, Unknown
from plotfarm.reports.plot_report import as_text, data
from plotfarm.reports.terminal import Terminal

LABELS = [
    "Total Number of Plots on chianas01",
    "Total Number of Plots Chia is Farming",
    "Total Amount of Drive Space (TiB) Chia is Farming",
    "Total Number of Systemwide Plots Drives",
    "Total Number of k32 Plots until full",
    "Maximum # of plots when full",
    "Plots completed in the last 24 Hours",
    "Average Plots per Hours",
    "Average Plotting Speed Last 24 Hours (TiB/Day)",
    "Appx Number of Days to fill all current plot drives",
    "Current Plot Storage Drive",
    "Temperature of Current Plot Drive",
    "Latest Smart Drive Assessment of Plot Drive",
]


def frame_of(text):
    """The lines from the first line of # to the last."""
    lines = text.splitlines()
    edges = [number for number, line in enumerate(lines) if set(line) == {"#"}]
    return lines[: edges[-1] + 1]


def rows_of(text):
    return dict(re.fullmatch(r"(.+?): +(\S.*)", line).groups() for line in frame_of(text)[3:-1])


def why_of(text, label):
    """What the note below the frame says that the value of a row points to."""
    number = re.search(r"\[\d+\]$", rows_of(text)[label]).group()
    notes = text.split("\n\n")[1]
    return " ".join(re.search(rf"^{re.escape(number)} (.*(?:\n    .*)*)", notes, re.MULTILINE).group(1).split())


def test_the_whole_report_of_a_farm_in_order():
    assert as_text(farm(drives=farm().drives[:3] + farm().drives[22:24], standing=())).splitlines() == [
        "############################################################",
        "################## chianas01 Plot Report ###################",
        "############################################################",
        "Total Number of Plots on chianas01:                      371",
        "Total Number of Plots Chia is Farming:                  2349",
        "Total Amount of Drive Space (TiB) Chia is Farming:       233",
        "Total Number of Systemwide Plots Drives:                   5",
        "Total Number of k32 Plots until full:                    179",
        "Maximum # of plots when full:                            550",
        "Plots completed in the last 24 Hours:                     79",
        "Average Plots per Hours:                                 3.3",
        "Average Plotting Speed Last 24 Hours (TiB/Day):         7.82",
        "Appx Number of Days to fill all current plot drives:     2.3",
        "Current Plot Storage Drive:              /dev/sdx1 (drive22)",
        "Temperature of Current Plot Drive:                      24°C",
        "Latest Smart Drive Assessment of Plot Drive:            PASS",
        "############################################################",
    ]


@pytest.mark.parametrize("facts", [farm(), empty_farm(), one_drive()], ids=["farm", "empty", "one drive"])
def test_the_rows_are_always_these_in_this_order(facts):
    assert list(rows_of(as_text(facts))) == LABELS


@given(
    server=st.text(min_size=1, max_size=90),
    label=st.text(max_size=40),
    plots=st.integers(0, 10**30),
    device=st.text(max_size=120),
)
def test_the_frame_is_straight_whatever_the_values_are(server, label, plots, device):
    facts = farm(server=server, plot_label=label, chia_plots=plots)
    current = replace(
        facts.current, verdict=replace(facts.current.verdict, drive=replace(facts.current.drive, device=device))
    )
    frame = frame_of(as_text(replace(facts, current=current)))
    assert len({cell_len(line) for line in frame}) == 1
    assert len(frame) == 17


def test_wide_characters_count_twice():
    frame = frame_of(as_text(farm(server="磁盘农场" * 15)))
    assert {cell_len(line) for line in frame} == {cell_len(frame[0])}
    assert cell_len(frame[0]) > 120


def test_colours_only_where_they_are_asked_for_and_they_move_nothing():
    plain, coloured = as_text(farm()), as_text(farm(), Terminal(colour=True))
    assert "\033" not in plain
    assert "\033[32mPASS\033[0m" in coloured
    assert re.sub(r"\033\[[\d;]*m", "", coloured) == plain


def test_the_room_is_named_after_the_plots_that_arrive():
    assert "Total Number of k28 .gplot Plots until full" in rows_of(as_text(farm(plot_label="k28 .gplot")))


def test_what_is_unknown_is_never_zero_and_the_reason_stands_below():
    text = as_text(empty_farm())
    rows = rows_of(text)
    assert rows["Total Number of Plots Chia is Farming"] == "unknown [2]"
    assert why_of(text, "Total Number of Plots Chia is Farming") == "there is no /root/.chia/mainnet/log/debug.log"
    assert rows["Plots completed in the last 24 Hours"] == "n/a [3]"
    assert "no plot that arrived is recorded yet" in why_of(text, "Average Plots per Hours")
    assert rows["Current Plot Storage Drive"].startswith("n/a")
    assert "[drives] devices and mounts" in why_of(text, "Current Plot Storage Drive")


def test_an_empty_farm_says_that_no_drive_was_found():
    assert "No plot drives found" in why_of(as_text(empty_farm()), "Total Number of Systemwide Plots Drives")


def test_drives_that_are_away_are_named_where_they_are_missed():
    text = as_text(farm())
    for label in (
        "Total Number of Plots on chianas01",
        "Total Number of Systemwide Plots Drives",
        "Maximum # of plots when full",
    ):
        assert why_of(text, label) == "not counted: drive20 (not mounted)"


def test_sixteen_drives_that_are_away_make_one_short_reason():
    facts = farm(drives=(*(missing(number) for number in range(16)), *farm().drives[21:]))
    reason = why_of(as_text(facts), "Total Number of Systemwide Plots Drives")
    assert reason == "not counted: drive0, drive1, drive2, drive3, drive4, drive5 and 10 more (not mounted)"


def test_if_no_drive_could_be_counted_the_plots_are_unknown():
    silent = DriveFacts(Verdict(farm().drives[0].drive, Why(Reason.PROBE_HANGS)))
    text = as_text(one_drive(drives=(silent,), current=silent))
    rows = rows_of(text)
    assert rows["Total Number of Plots on chianas01"] == rows["Maximum # of plots when full"] == "unknown [1]"
    assert why_of(text, "Total Number of Plots on chianas01") == "not counted: drive0 (not answering)"
    assert data(one_drive(drives=(silent,), current=silent))["plots"] is None


def test_a_drive_that_answers_but_could_not_be_counted_says_why():
    facts = one_drive()
    uncounted = replace(facts.drives[0], counts=None, uncounted=Why(Reason.NOT_COUNTED_IN_TIME))
    text = as_text(replace(facts, drives=(uncounted,)))
    assert why_of(text, "Total Number of Plots on chianas01") == (
        "not counted: drive0 (its directories could not be listed in time)"
    )
    assert rows_of(text)["Total Number of Systemwide Plots Drives"] == "1"


def test_zero_plots_a_day_is_zero_but_the_days_to_fill_are_not():
    text = as_text(farm(made_plots=0, made_bytes=0))
    rows = rows_of(text)
    assert rows["Plots completed in the last 24 Hours"] == "0"
    assert rows["Average Plots per Hours"] == "0.0"
    assert rows["Average Plotting Speed Last 24 Hours (TiB/Day)"] == "0"
    assert (
        why_of(text, "Appx Number of Days to fill all current plot drives") == "no plots arrived in the last 24 hours"
    )


def test_less_than_a_day_of_records_is_said_and_the_pace_is_that_of_the_time_recorded():
    facts = farm(made_plots=12, made_bytes=12 * K32, made_since=NOW - 6 * 3600)
    text = as_text(facts)
    rows = rows_of(text)
    assert rows["Plots completed in the last 24 Hours"].startswith("12 [")
    assert rows["Average Plots per Hours"].startswith("2.0 [")
    assert why_of(text, "Average Plots per Hours") == "arrivals are recorded for 6 h only, not yet for 24 hours"
    assert data(facts)["days_to_fill"] == facts.room_plots / 48


@pytest.mark.parametrize("seconds", [5, 3599, -600], ids=["just now", "nearly an hour", "the clock was set back"])
def test_too_short_a_time_gives_no_pace(seconds):
    text = as_text(farm(made_plots=1, made_bytes=K32, made_since=NOW - seconds))
    assert rows_of(text)["Plots completed in the last 24 Hours"].startswith("1 [")
    assert "too short to tell a pace" in why_of(text, "Average Plots per Hours")
    assert "too short to tell a pace" in why_of(text, "Appx Number of Days to fill all current plot drives")


def test_after_a_day_of_records_nothing_is_said_of_them():
    facts = farm(made_since=NOW - DAY_SECONDS)
    assert rows_of(as_text(facts))["Average Plots per Hours"] == "3.3"


def test_a_full_farm_has_no_days_to_fill():
    full = drive_facts(0, 110)
    text = as_text(farm(drives=(full,), current=full, standing=()))
    assert rows_of(text)["Total Number of k32 Plots until full"].startswith("0 [")
    assert why_of(text, "Appx Number of Days to fill all current plot drives") == "no drive can take a plot: 1 full"


def test_a_little_is_never_shown_as_nothing():
    facts = farm(chia_bytes=3 * 10**6, made_plots=1, made_bytes=10**6, made_since=NOW - 90 * DAY_SECONDS)
    rows = rows_of(as_text(facts))
    assert rows["Total Amount of Drive Space (TiB) Chia is Farming"] == "< 0.01"
    assert rows["Average Plotting Speed Last 24 Hours (TiB/Day)"] == "< 0.01"
    assert rows["Average Plots per Hours"] == "< 0.1"


def test_without_smart_the_current_drive_says_why():
    facts = one_drive()
    silent = replace(
        facts.drives[0],
        health=health(0, celsius=None, assessment="", problem="smartctl is not installed: apt install smartmontools"),
    )
    text = as_text(replace(facts, drives=(silent,), current=silent))
    assert rows_of(text)["Temperature of Current Plot Drive"] == "unknown [1]"
    assert why_of(text, "Latest Smart Drive Assessment of Plot Drive") == (
        "no SMART: smartctl is not installed: apt install smartmontools"
    )


def test_a_drive_that_sleeps_shows_its_last_temperature_and_says_so():
    facts = one_drive()
    asleep = replace(facts.drives[0], health=health(0, celsius=26, asleep=True, last_read=NOW - 3 * 3600))
    text = as_text(replace(facts, drives=(asleep,), current=asleep))
    assert rows_of(text)["Temperature of Current Plot Drive"] == "26°C [1]"
    assert why_of(text, "Temperature of Current Plot Drive") == "it is asleep; this is its last reading 3 h ago"


def test_the_kinds_of_plots_are_counted_where_there_are_several():
    assert "Plots: 2331 k32 .plot, 20 k32 .plot (bladebit)" in as_text(farm())
    assert "Plots:" not in as_text(one_drive())
    many = drive_facts(0, 0, counts={("gplot", 28): 7, ("plot2", 28): 3, ("unknown", 0): 1, ("v1", 33): 2})
    expected = "Plots: 7 k28 .gplot, 3 k28 .plot2, 2 k33 .plot, 1 k unknown, format unknown"
    assert expected in as_text(one_drive(drives=(many,), current=many))


@pytest.mark.parametrize("before", range(30, 80))
def test_a_command_is_never_broken_within_a_word(before):
    text = as_text(farm(chia_plots=Unknown(f"{'x' * before} chia configure --set-log-level INFO")))
    assert "--set-log-level" in text.split()


def test_what_stands_is_said_below_in_sentences():
    text = " ".join(as_text(farm(standing=(MISSING, HOT))).split())
    assert "!! drive20 disappeared (serial ZHZ58380), with 110 plots" in text
    assert "! drive9 (/dev/sdk1, serial ZHZ71271) is hot: 54°C (limit 50°C, highest ever 57°C)" in text


def test_hostile_names_stay_on_their_line_and_steer_no_terminal():
    bad = "drive\n7\033[2J\u202e\udcff"
    facts = one_drive(server="nas\n\033]0;x\007", chia_plots=Unknown("no\nlog\033[1m"))
    place = replace(facts.drives[0].drive, mountpoint=f"/mnt/{bad}", device="/dev/\n\033[31msdb")
    drive = replace(
        facts.drives[0], verdict=replace(facts.drives[0].verdict, drive=place, why=Why(Reason.IO_ERROR, "a\nb\033"))
    )
    text = as_text(replace(facts, drives=(drive,), current=drive))
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e\ud800-\udfff]", text)
    assert len(frame_of(text)) == 17


def test_testing_plots_are_marked_and_in_no_number():
    drives = list(farm().drives)
    drives[3] = replace(drives[3], counts={**drives[3].counts, ("testing", 0): 2})
    drives[5] = replace(drives[5], counts={**drives[5].counts, ("testing", 32): 1})
    tried, before = farm(drives=tuple(drives)), farm()
    assert (tried.plots, tried.testing_plots) == (before.plots, 3)
    text = as_text(tried)
    assert "3 testing plots, which begin with zeros (on drive3, drive5)" in " ".join(text.split())
    assert "testing" not in as_text(before)
    document, plain = data(tried), data(before)
    assert document["testing_plots"] == 3
    assert [one["testing_plots"] for one in document["drives"] if one["testing_plots"]] == [2, 1]
    assert [one for one in document["plots_by_kind"] if one["kind"] == "testing"] == [
        {"kind": "testing", "k": None, "plots": 2},
        {"kind": "testing", "k": 32, "plots": 1},
    ]
    for name in ("plots", "maximum_plots", "room_plots", "plots_per_hour", "bytes_per_day", "days_to_fill"):
        assert document[name] == plain[name]


def test_json_has_the_same_facts_in_units_for_machines():
    document = data(farm())
    assert (document["plots"], document["chia_plots"], document["drives_present"]) == (2351, 2349, 43)
    assert document["chia_bytes"] == 2349 * K32
    assert document["bytes_per_day"] == document["bytes_last_24_hours"] == 79 * K32
    assert document["plots_why"] == "not counted: drive20 (not mounted)"
    assert document["chia_plots_why"] is None
    assert document["current_drive"]["celsius"] == 24
    assert {"kind": "bladebit", "k": 32, "plots": 20} in document["plots_by_kind"]
    assert document["alerts"][0]["kind"] == "missing"
    gone = document["drives"][20]
    assert (gone["plots"], gone["total_bytes"], gone["plots_why"]) == (None, None, "not mounted")
    assert document["drives"][0]["total_bytes"] == SIZE


def test_json_of_an_empty_farm_has_null_and_why():
    document = data(empty_farm())
    for name in ("chia_plots", "chia_bytes", "plots_last_24_hours", "plots_per_hour", "bytes_per_day", "days_to_fill"):
        assert document[name] is None
        assert document[f"{name}_why"]
    assert document["current_drive"] is None
    assert document["current_drive_why"]
    assert document["recorded_since"] is None


def test_the_names_in_json_are_always_the_same():
    def names(value):
        if isinstance(value, dict):
            return {key: names(below) for key, below in value.items() if key not in ("current_drive",)}
        return None

    keys = [names(data(facts)) for facts in (farm(), empty_farm(), one_drive())]
    assert keys[0] == keys[1] == keys[2]
    drives = data(farm())["drives"]
    assert len({tuple(drive) for drive in drives}) == 1


def test_five_hundred_drives_are_reported():
    drives = tuple(drive_facts(number % 44, 50) for number in range(500))
    facts = farm(drives=drives, current=drives[7], chia_bytes=500 * TIB, standing=())
    assert rows_of(as_text(facts))["Total Number of Plots on chianas01"] == "25000"
    assert len(data(facts)["drives"]) == 500


def test_the_report_needs_no_templates_while_nothing_stands():
    program = """
import sys
sys.path.insert(0, "tests/unit")
from reports_samples import one_drive
from plotfarm.reports.plot_report import as_text
as_text(one_drive())
print(sorted({"jinja2", "rich", "natsort"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "['rich']\n"
