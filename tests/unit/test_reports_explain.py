"""The table of `--explain` at every width, its colours, and the same as JSON."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from plotfarm.drives.choose import Choice, Selected, Taken
from plotfarm.drives.model import Drive, Verdict
from plotfarm.drives.quarantine import Quarantined, QuarantineReason
from plotfarm.drives.reasons import Reason, Why
from plotfarm.reports.envelope import iso
from plotfarm.reports.explain import as_text, data
from plotfarm.reports.reasons import counted, quarantine_in_words
from plotfarm.reports.terminal import Terminal


def verdict(number: int, reason: Reason, plots: int = 0, total: int = 12 * 10**12) -> Verdict:
    place = f"/mnt/enclosure0/front/column{number // 6}/drive{number}"
    drive = Drive(place, f"/dev/sd{number}", f"uuid:{number}", number, "xfs")
    return Verdict(drive, Why(reason), plots * 10**11, plots * 10**11, plots, total)


VERDICTS = (
    verdict(2, Reason.FULL),
    verdict(17, Reason.HAS_ROOM, 58),
    verdict(18, Reason.HAS_ROOM, 3),
    verdict(19, Reason.PROBE_HANGS, total=0),
    verdict(20, Reason.NOT_MOUNTED, total=0),
)
CHOSEN = VERDICTS[1]
CHOICE = Choice(VERDICTS[0].drive.mountpoint, Selected(CHOSEN, Taken.LOWEST), VERDICTS, "fill", 108_995_911_228, False)


def test_the_table():
    assert as_text(CHOICE).splitlines() == [
        "   DRIVE    MOUNTPOINT                                  FREE      ROOM  WHY",
        "   drive2   /mnt/enclosure0/front/column0/drive2         0 B   0 plots  "
        "full: 0 B are left for plots, and one takes 101.5 GiB",
        "=> drive17  /mnt/enclosure0/front/column2/drive17    5.3 TiB  58 plots  "
        "taken: the lowest drive with room (58 plots)",
        "   drive18  /mnt/enclosure0/front/column3/drive18  279.4 GiB   3 plots  room for 3 plots",
        "   drive19  /mnt/enclosure0/front/column3/drive19          -         -  "
        "not answering (an earlier probe of it still hangs)",
        "   drive20  /mnt/enclosure0/front/column3/drive20          -         -  not mounted",
        "",
        "The configured plot drive is /mnt/enclosure0/front/column0/drive2; "
        "the next run of drive_manager.py makes it /mnt/enclosure0/front/column2/drive17.",
        "",
        "Room for 61 plots of 101.5 GiB in all, policy fill.",
    ]


@pytest.mark.parametrize("width", range(40, 200, 7))
def test_no_line_is_wider_than_the_terminal_and_every_drive_is_there_with_its_reason(width):
    text = as_text(CHOICE, Terminal(width=width))
    assert max(map(len, text.splitlines())) <= width
    words = " ".join(text.split())
    for one in VERDICTS:
        assert one.drive.name in words
    assert "not answering (an earlier probe of it still hangs)" in words
    assert "taken: the lowest drive with room (58 plots)" in words
    for column in ("MOUNTPOINT", "FREE", "ROOM"):
        assert column in text.splitlines()[0] or column in words.partition("not shown: ")[2]


def test_columns_line_up():
    lines = as_text(CHOICE).splitlines()[:6]
    column = lines[0].index("WHY")
    assert [line[column - 2 : column] for line in lines] == ["  "] * 6
    assert all(line[column] != " " for line in lines)


def test_colour_changes_nothing_but_colour():
    import re

    coloured = as_text(CHOICE, Terminal(colour=True, width=100))
    assert "\033[1;32m=> drive17" in coloured
    assert re.sub(r"\033\[[0-9;]*m", "", coloured) == as_text(CHOICE, Terminal(width=100))


def test_json_has_the_same_facts():
    facts = data(CHOICE, ())
    assert facts["configured_mountpoint"] == VERDICTS[0].drive.mountpoint
    assert facts["chosen_mountpoint"] == CHOSEN.drive.mountpoint
    assert [(one["name"], one["chosen"], one["usable"]) for one in facts["drives"]] == [
        ("drive2", False, False), ("drive17", True, True), ("drive18", False, True),
        ("drive19", False, False), ("drive20", False, False),
    ]  # fmt: skip
    assert facts["drives"][1]["why"] == "taken: the lowest drive with room (58 plots)"
    assert facts["drives"][2]["room_plots"] == 3


NOON = time.mktime((2026, 11, 24, 12, 3, 0, 0, 0, -1))
LOST = Quarantined("uuid:20", "drive20", QuarantineReason.IO_ERROR, "fsync", 5, "a.plot", NOON, "sysfs:1", "boot")
REMEDY = "it ends when the drive is mounted anew, this host restarts, or: drive_manager.py -on drive20"


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({}, "Input/output error on fsync while a.plot was written"),
        ({"errno": 28, "call": "write back"}, "No space left on device on write back while a.plot was written"),
        ({"reason": QuarantineReason.HOLES}, "a.plot had holes although all of it had been written"),
        ({"reason": QuarantineReason.SAMPLE_DIFFERED}, "what was read back of a.plot was not what had been written"),
    ],
)
def test_a_quarantine_in_words(changes, why):
    said = quarantine_in_words(replace(LOST, **changes), "drive20", NOON + 60)
    assert said == f"in quarantine since 12:03: {why}; {REMEDY}"


def test_a_quarantine_of_another_day_has_its_date():
    assert quarantine_in_words(LOST, "drive20", NOON + 86400).startswith("in quarantine since 2026-11-24 12:03: ")


def test_a_quarantine_is_explained_in_the_table_and_counted_by_itself():
    lost = replace(verdict(20, Reason.QUARANTINED), quarantine=LOST)
    choice = Choice("", None, (*VERDICTS[:1], lost), "fill", 1, False)
    assert f"Input/output error on fsync while a.plot was written; {REMEDY}" in as_text(choice)
    full, quarantined = data(choice, ())["drives"]
    assert full["quarantine"] is None
    assert quarantined["quarantine"] == {
        "reason": "io_error", "call": "fsync", "error": "Input/output error", "plot": "a.plot", "since": iso(NOON),
    }  # fmt: skip
    assert quarantined["why"].endswith(REMEDY)
    assert counted(choice.verdicts) == "1 full, 1 in quarantine"
    offlined = Choice("", None, (replace(lost, why=Why(Reason.OFFLINED)),), "fill", 1, False)
    assert "offlined; in quarantine since" in as_text(offlined)


def test_a_mountpoint_cannot_write_to_the_terminal():
    bad = Verdict(Drive("/mnt/\033[31mdrive\n1", "/dev/sda", "uuid:1", 1, "xfs"), Why(Reason.NOT_MOUNTED))
    text = as_text(Choice("", None, (bad,), "fill", 1, False))
    assert "\033" not in text
    assert len([line for line in text.splitlines() if "not mounted" in line]) == 1


def test_without_drives_and_without_room():
    assert as_text(Choice("", None, (), "fill", 1, False)).startswith("No plot drives found")
    full = Choice("/mnt/hdd1", None, VERDICTS[:1], "fill", 1, False)
    assert "No drive can take a plot. The configured plot drive is /mnt/hdd1." in as_text(full)
    assert counted([*VERDICTS, *VERDICTS[:1]]).startswith("2 full, ")
    assert "1 not answering" in counted(VERDICTS)
