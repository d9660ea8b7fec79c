"""Which mounts are drives: patterns, the kernel's mount table, fstab, order and what is passed over."""

from __future__ import annotations

import os
import random

import pytest

from plotfarm.drives.model import Drive, Verdict, lock_name
from plotfarm.drives.mount_table import Mount, covering, decode, parse_mount_table, topmost
from plotfarm.drives.mounts import natural_order, not_mounted, parse_fstab, sort_out
from plotfarm.drives.offlined import is_offlined, parse_offlined
from plotfarm.drives.patterns import matches
from plotfarm.drives.reasons import Reason, Why

DEFAULT = "/mnt/enclosure*/**/drive*"


@pytest.mark.parametrize(
    ("pattern", "path", "fits"),
    [
        (DEFAULT, "/mnt/enclosure0/front/column3/drive18", True),
        (DEFAULT, "/mnt/enclosure12/drive0", True),
        (DEFAULT, "/mnt/enclosure0/front/column3/drive18/plots", False),
        (DEFAULT, "/mnt/enclosure0/drive", True),
        (DEFAULT, "/mnt/enclosure0", False),
        (DEFAULT, "/srv/mnt/enclosure0/drive1", False),
        (DEFAULT, "/mnt/enclosure0/nodrive1", False),
        ("/mnt/hdd*", "/mnt/hdd12", True),
        ("/mnt/hdd*", "/mnt/hdd12/sub", False),
        ("/mnt/hdd[0-9]", "/mnt/hdd12", False),
        ("/mnt/**", "/mnt/a/b/c", True),
        ("**/drive?", "/a/drive1", True),
        ("/dev/sd*", "/dev/sdaa1", True),
        ("/dev/sd*", "/dev/nvme0n1p1", False),
        ("/dev/disk/by-id/wwn-*-part1", "/dev/disk/by-id/wwn-0x5000c500-part1", True),
        ("tank/plots*", "tank/plots1", True),
        ("/mnt/hdd*/", "/mnt/hdd1", True),
    ],
)
def test_patterns(pattern, path, fits):
    assert matches(pattern, path) is fits


MOUNTINFO = r"""
22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard
40 27 8:17 / /mnt/enclosure0/my\040drive1 rw,noatime shared:1 master:2 - xfs /dev/sdb1 rw,attr2
41 27 8:33 / /mnt/hdd2 rw - ext4 /dev/sdc1 ro,errors=remount-ro
42 27 0:44 / /mnt/hdd2 rw - tmpfs tmpfs rw
44 27 8:49 / /mnt/hdd4 rw - ext4 /dev/sdd1 rw,errors=remount-ro,emergency_ro
45 27 8:65 / /mnt/hdd5 rw - ext4 /dev/sde1 rw,shutdown
43 27 254:0 /srv /mnt/hdd3 ro - ext4 /dev/vda rw
"""


def test_the_mount_table():
    table = parse_mount_table(MOUNTINFO.encode())
    assert len(table) == 8
    assert table[2] == Mount(40, os.makedev(8, 17), "/", "/mnt/enclosure0/my drive1", False, "xfs", "/dev/sdb1")
    assert table[3].read_only, "a file system that gave up says so only in its own options"
    assert table[5].read_only, "and from Linux 6.15 on in other words"
    assert [mount.is_shut_down for mount in table] == [False] * 6 + [True, False]
    assert table[7].read_only
    assert table[7].root == "/srv"
    assert topmost(table)["/mnt/hdd2"].file_system == "tmpfs", "the last mount on a mountpoint is the one seen"
    assert covering("/mnt/enclosure0/my drive1/x/y", table) == table[2]
    assert covering("/mnt/enclosure0", table) == table[1]


def test_only_a_line_feed_ends_a_line_of_the_mount_table():
    place = "/mnt/a\vb\fc\x1cd\x85e\u2028f\rg"
    (mounted,) = parse_mount_table(f"40 27 8:17 / {place} rw - xfs /dev/sdb1 rw\n".encode())
    assert mounted.mountpoint == place


def test_octal_escapes_also_of_bytes_that_are_not_utf8():
    assert decode(r"a\040b\134c\011") == "a b\\c\t"
    assert decode(r"\303\244") == "ä"
    assert os.fsencode(decode(r"\377")) == b"\xff"


def mount(place: str, number: int, **other: object) -> Mount:
    fields = {"root": "/", "read_only": False, "file_system": "xfs", "source": f"/dev/sd{number}"} | other
    return Mount(mount_id=number, device_number=number, mountpoint=place, **fields)  # type: ignore[arg-type]


def test_lowest_drive_first_wherever_it_is_mounted():
    places = [f"/mnt/enclosure{n // 36}/front/column{n // 6 % 6}/drive{n}" for n in range(110)]
    mounts = [mount(place, number) for number, place in enumerate(places, start=1)]
    random.Random(1).shuffle(mounts)
    drives, passed_over = sort_out(mounts, {}, {})
    assert [one.mountpoint for one in sorted(drives, key=natural_order())] == places
    assert passed_over == []


def test_what_is_passed_over():
    mounts = [
        mount("/mnt/hdd1", 1, root="/part"),
        mount("/mnt/hdd2", 2, read_only=True),
        mount("/mnt/hdd3", 3, root="/srv"),
        mount("/mnt/hdd9", 1),
    ]
    drives, passed_over = sort_out(mounts, {3: Reason.SYSTEM_DISK}, {})
    assert [one.mountpoint for one in drives] == ["/mnt/hdd9", "/mnt/hdd2"], "the whole, not a bind mount of a part"
    assert {verdict.drive.mountpoint: verdict.why for verdict in passed_over} == {
        "/mnt/hdd1": Why(Reason.DUPLICATE, "/mnt/hdd9"),
        "/mnt/hdd3": Why(Reason.SYSTEM_DISK),
    }
    assert not any(verdict.usable for verdict in passed_over)


def test_a_second_mount_that_is_read_only_gives_way_to_the_one_that_is_not():
    (drive,), (second,) = sort_out([mount("/mnt/hdd1", 1, read_only=True), mount("/mnt/hdd2", 1)], {}, {})
    assert (drive.mountpoint, second.drive.mountpoint) == ("/mnt/hdd2", "/mnt/hdd1")
    assert second.why == Why(Reason.DUPLICATE, "/mnt/hdd2")


def test_identity_is_the_uuid_where_udev_knows_it():
    names = {"/dev/sd1": ["/dev/disk/by-id/wwn-1", "/dev/disk/by-uuid/1234-ab"]}
    (first, second), _ = sort_out([mount("/mnt/hdd1", 1), mount("/mnt/hdd2", 2)], {}, names)
    assert first.identity == "uuid:1234-ab"
    assert second.identity == "mount:/mnt/hdd2"


def test_expected_drives_that_are_not_here():
    here = [Drive("/mnt/hdd1", "/dev/sda1", "uuid:1", 1, "xfs"), Drive("/mnt/hdd2", "/dev/sdb1", "uuid:2", 2, "xfs")]
    expected = [
        Drive("/mnt/hdd1", "/dev/sdz", "uuid:old", 0, ""),  # replaced: another drive is at its place
        Drive("/mnt/hdd7", "/dev/sdb1", "uuid:2", 0, ""),  # moved: it is mounted elsewhere
        Drive("/mnt/hdd5", "/dev/sde1", "uuid:5", 0, ""),
        Drive("/mnt/hdd5", "UUID=5", "mount:/mnt/hdd5", 0, "xfs"),  # the same once more, from fstab
    ]
    assert not_mounted(here, expected) == [
        Verdict(expected[0], Why(Reason.WRONG_DRIVE, "uuid:1")),
        Verdict(expected[2], Why(Reason.NOT_MOUNTED)),
    ]


@pytest.mark.parametrize(("before", "now"), [("mount:/mnt/hdd1", "uuid:1"), ("uuid:1", "mount:/mnt/hdd1")])
def test_a_drive_whose_uuid_is_not_known_was_not_replaced(before, now):
    here = Drive("/mnt/hdd1", "/dev/sda1", now, 1, "xfs")
    assert not_mounted([here], [Drive("/mnt/hdd1", "/dev/sda1", before, 0, "")]) == []


def test_fstab():
    text = """
# a comment line
UUID=1234-ab  /mnt/enclosure0/drive\\0401  xfs  defaults,nofail 0 0
/dev/sdb1 /mnt/hdd2/ ext4 noatime 0 0
/dev/sdc1 /mnt/hdd3 ext4 noatime,ro 0 0
/dev/sdd1 /mnt/hdd4 ext4 errors=remount-ro
broken
"""
    assert parse_fstab(text) == [
        Drive("/mnt/enclosure0/drive 1", "UUID=1234-ab", "uuid:1234-ab", 0, "xfs"),
        Drive("/mnt/hdd2", "/dev/sdb1", "mount:/mnt/hdd2", 0, "ext4"),
        Drive("/mnt/hdd3", "/dev/sdc1", "mount:/mnt/hdd3", 0, "ext4", is_meant_read_only=True),
        Drive("/mnt/hdd4", "/dev/sdd1", "mount:/mnt/hdd4", 0, "ext4"),
    ]


def test_offlined_entries():
    entries = parse_offlined("# bay 3 rattles\n\n drive6 \nuuid:77\n/mnt/hdd9\n/dev/sdz1\n")
    assert entries == {"drive6", "uuid:77", "/mnt/hdd9", "/dev/sdz1"}
    plain = Drive("/mnt/enclosure0/drive60", "/dev/sda1", "uuid:1", 1, "xfs")
    assert not is_offlined(plain, entries)
    assert is_offlined(Drive("/mnt/enclosure1/drive6", "/dev/sda1", "uuid:1", 1, "xfs"), entries)
    assert is_offlined(Drive("/mnt/a", "/dev/sda1", "uuid:77", 1, "xfs"), entries)
    assert is_offlined(Drive("/mnt/hdd9", "/dev/sda1", "uuid:1", 1, "xfs"), entries)
    assert is_offlined(Drive("/mnt/a", "/dev/sdz1", "uuid:1", 1, "xfs"), entries)


def test_lock_names_are_safe_short_and_different():
    names = [lock_name("drive", identity) for identity in ("uuid:1", "mount:/a/b", "mount:/a_b", "mount:/a%2Fb")]
    long = [lock_name("drive", "directory:/" + "x" * 400 + end) for end in "ab"]
    undecodable = lock_name("drive", os.fsdecode(b"mount:/\xff"))
    assert len({*names, *long, undecodable}) == 7
    assert all("/" not in name and len(name.encode()) <= 255 for name in [*names, *long, undecodable])
