"""Offlined drives: what the lines of the file mean, and which drive a person means."""

from __future__ import annotations

import os
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plotfarm.base.errors import PlotfarmError
from plotfarm.drives import offlined
from plotfarm.drives.model import Drive
from plotfarm.drives.offlined import (
    absent,
    find,
    is_offlined,
    listed,
    named,
    parse_offlined,
    read_entries,
    read_offlined,
)

FRONT = Drive("/mnt/enclosure0/front/drive6", "/dev/sdf1", "uuid:f6", 1, "xfs")
REAR = Drive("/mnt/enclosure0/rear/drive6", "/dev/sdg1", "uuid:66", 2, "xfs")
SEVEN = Drive("/mnt/enclosure0/front/drive7", "/dev/mapper/seven", "uuid:77", 3, "xfs")
FARM = [FRONT, REAR, SEVEN]
SERIALS = {"uuid:f6": "ZHZ0001", "uuid:66": "ZHZ0002"}
DISKS = {"uuid:f6": "/dev/sdf", "uuid:66": "/dev/sdg"}
NOON = 1795608000.0


@pytest.mark.parametrize(
    ("line", "meant"),
    [
        ("drive6", {"drive6"}),
        ("  drive6\t # rattles", {"drive6"}),
        ("drive6\t# rattles", {"drive6"}),
        ("/mnt/hdd9/", {"/mnt/hdd9"}),
        ("//mnt//hdd9", {"/mnt/hdd9"}),
        ("/mnt/my drive", {"/mnt/my drive"}),
        (r"/mnt/my\040drive\040\0431", {"/mnt/my drive #1"}),
        ("/mnt/a#1", {"/mnt/a#1"}),
        ("uuid:f6  # drive6 /mnt/enclosure0/front/drive6 2026-11-24 01:40", {"uuid:f6", "mount:" + FRONT.mountpoint}),
        ("uuid:f6  # see /mnt/notes", {"uuid:f6"}),
        ("uuid:f6  # drive6", {"uuid:f6"}),
        ("drive6  # drive6 /mnt/enclosure0/front/drive6 2026-11-24 01:40", {"drive6"}),
        ("# drive6", set()),
        ("   # drive6", set()),
        ("", set()),
    ],
)
def test_lines(line, meant):
    assert parse_offlined(f"# mine\n{line}\r\n\n") == meant


def test_a_new_drive_in_the_place_of_an_offline_one_is_not_offline():
    entries = parse_offlined("uuid:f6  # drive6 /mnt/enclosure0/front/drive6 2026-11-24 01:40\n")
    assert is_offlined(FRONT, entries)
    assert is_offlined(replace(FRONT, mountpoint="/mnt/elsewhere", device="/dev/sdz1"), entries)
    assert not is_offlined(replace(FRONT, identity="uuid:new"), entries)


def test_a_drive_whose_uuid_cannot_be_told_for_now_stays_offline_where_it_was():
    entries = parse_offlined("uuid:f6  # drive6 /mnt/enclosure0/front/drive6 2026-11-24 01:40\n")
    assert is_offlined(replace(FRONT, identity=f"mount:{FRONT.mountpoint}"), entries)
    assert not is_offlined(replace(REAR, identity=f"mount:{REAR.mountpoint}"), entries)


def test_a_drive_without_a_uuid_is_whatever_is_mounted_there(tmp_path):
    plain = replace(FRONT, identity=f"mount:{FRONT.mountpoint}")
    offlined.take_offline(tmp_path, tmp_path, plain, NOON)
    assert is_offlined(plain, read_offlined(tmp_path))
    assert is_offlined(FRONT, read_offlined(tmp_path)), "its UUID is known by now"
    offlined.bring_online(tmp_path, tmp_path, FRONT, [], NOON)
    assert not is_offlined(plain, read_offlined(tmp_path))


@pytest.mark.parametrize(
    ("what", "meant"),
    [
        ("drive7", SEVEN),
        ("uuid:f6", FRONT),
        ("/mnt/enclosure0/rear/drive6", REAR),
        ("/mnt/enclosure0/rear/../rear//drive6/", REAR),
        ("/dev/sdf1", FRONT),
        ("/dev/sdg", REAR),
        ("ZHZ0002", REAR),
    ],
)
def test_what_a_person_may_call_a_drive(what, meant):
    assert find(what, FARM, SERIALS, DISKS) is meant


@pytest.mark.parametrize("what", ["", "drive", "drive66", "Drive7", "6", "/", "/dev/sd", "zhz0001", "drive7\n", "*"])
def test_nothing_else_means_a_drive(what):
    with pytest.raises(PlotfarmError) as caught:
        find(what, FARM, SERIALS, DISKS)
    assert str(caught.value).endswith(": there are /mnt/enclosure0/front/drive6, /mnt/enclosure0/rear/drive6, drive7")
    assert "\n" not in str(caught.value)


def test_an_ambiguous_name_is_refused_with_the_choices():
    with pytest.raises(PlotfarmError) as caught:
        find("drive6", FARM, SERIALS, DISKS)
    choices = "/mnt/enclosure0/front/drive6 or /mnt/enclosure0/rear/drive6"
    assert str(caught.value) == f"'drive6' may be {choices}: name one of these"
    with pytest.raises(PlotfarmError, match="may be"):
        find("/dev/sdf", FARM, {}, dict.fromkeys(SERIALS, "/dev/sdf"))


def test_links_lead_to_a_device(tmp_path, monkeypatch):
    monkeypatch.setattr(os.path, "realpath", lambda path: "/dev/dm-4" if "seven" in path else path)
    assert find("/dev/disk/by-id/dm-name-seven", FARM, {}) is SEVEN
    assert find("/dev/dm-4", FARM, {}) is SEVEN


def test_the_device_of_a_drive_that_is_gone_may_be_another_ones_by_now():
    gone = replace(FRONT, device_number=0, device="/dev/sdg1")
    assert named("/dev/sdg1", [gone, REAR], SERIALS, {gone.identity: "/dev/sdg"}) == [REAR]
    assert named("/dev/sdg", [gone, REAR], SERIALS, {gone.identity: "/dev/sdg"}) == []
    assert find("ZHZ0001", [gone, REAR], SERIALS) is gone


def test_of_two_drives_in_one_place_the_one_that_is_there_is_meant():
    gone = replace(FRONT, device_number=0, identity="uuid:old")
    assert find("drive6", [gone, FRONT], {}) is FRONT
    older = replace(gone, identity="uuid:older")
    with pytest.raises(PlotfarmError, match="may be uuid:old or uuid:older: name one of these"):
        find("drive6", [gone, older], {})


def test_the_drives_in_words():
    assert listed([]) == "there is none"
    assert listed([SEVEN]) == "there is drive7"
    assert listed([replace(SEVEN, mountpoint="/mnt/\033[31mred")]) == r"there is \x1b[31mred"


def test_entries_that_mean_no_drive_are_drives_that_are_absent(tmp_path):
    (tmp_path / offlined.FILE_NAME).write_text(
        "drive7\n/mnt/hdd9\nuuid:0  # drive8 /mnt/drive8 2026-11-24 01:40\nuuid:1\n"
    )
    found = absent(read_entries(tmp_path), FARM)
    assert [(drive.name, drive.mountpoint, drive.identity) for drive in found] == [
        ("hdd9", "/mnt/hdd9", "/mnt/hdd9"),
        ("drive8", "/mnt/drive8", "uuid:0"),
        ("uuid:1", "uuid:1", "uuid:1"),
    ]


text = st.text(st.characters(exclude_characters="\0", exclude_categories=()), min_size=1, max_size=12)
file_names = st.one_of(text, st.binary(min_size=1, max_size=8).map(lambda raw: os.fsdecode(raw.replace(b"\0", b"a"))))


def can_be_a_path(name: str) -> bool:
    try:
        return os.fsdecode(os.fsencode(name)) == name and "/" not in name and name not in (".", "..")
    except UnicodeEncodeError:
        return False


@settings(max_examples=150, deadline=None)
@given(st.lists(file_names.filter(can_be_a_path), min_size=1, max_size=4, unique=True), st.booleans())
def test_any_name_can_be_taken_offline_and_back(names, has_uuid):
    """Whatever bytes a mountpoint has: one line a drive, that drive and no other, and nothing is left in the end."""
    drives = [
        Drive(f"/mnt/{name}", "/dev/x", f"uuid:{number}" if has_uuid else f"mount:/mnt/{name}", 1, "xfs")
        for number, name in enumerate(names)
    ]
    with tempfile.TemporaryDirectory() as directory:
        state, locks = Path(directory) / "state", Path(directory) / "locks"
        state.mkdir()
        (state / offlined.FILE_NAME).write_bytes(b"# m\xfcde\n")
        for drive in drives:
            assert offlined.take_offline(state, locks, drive, NOON)
            assert not offlined.take_offline(state, locks, drive, NOON)
        assert len((state / offlined.FILE_NAME).read_text().splitlines()) == len(drives) + 1
        assert [entry.place for entry in read_entries(state)] == [drive.mountpoint for drive in drives]
        first, *others = drives
        offlined.bring_online(state, locks, first, drives, NOON)
        entries = read_offlined(state)
        assert not is_offlined(first, entries)
        assert all(is_offlined(other, entries) for other in others)
        for other in others:
            offlined.bring_online(state, locks, other, drives, NOON)
        assert (state / offlined.FILE_NAME).read_text() == "# m\\374de\n"
