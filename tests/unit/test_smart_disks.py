"""Which disk is behind a drive: on a /sys of its own."""

from __future__ import annotations

import os

import pytest

from plotfarm.drives.model import Drive
from plotfarm.drives.smart.disks import disk_of, type_of


class Sys:
    """A /sys with the block devices of a test."""

    def __init__(self, root):
        self.root = root
        (root / "class" / "block").mkdir(parents=True)
        (root / "dev" / "block").mkdir(parents=True)

    def add(self, name, *, partition_of="", slaves=(), number=None, uuid=""):
        parent = self.root / "devices" / "block"
        block = parent / partition_of / name if partition_of else parent / name
        (block / "slaves").mkdir(parents=True)
        if partition_of:
            (block / "partition").write_text("1\n")
        if uuid:
            (block / "dm").mkdir()
            (block / "dm" / "uuid").write_text(f"{uuid}\n")
        for slave in slaves:
            (block / "slaves" / slave).symlink_to((self.root / "class" / "block" / slave).resolve())
        (self.root / "class" / "block" / name).symlink_to(block)
        if number:
            (self.root / "dev" / "block" / number).symlink_to(block)


@pytest.fixture
def sys(tmp_path):
    made = Sys(tmp_path / "sys")
    for disk, partition in (("sda", "sda1"), ("sdb", "sdb2"), ("nvme0n1", "nvme0n1p1"), ("mmcblk0", "mmcblk0p2")):
        made.add(disk)
        made.add(partition, partition_of=disk)
    return made


def behind(device, sys, *, named="", number=0, directory=False):
    return disk_of(Drive("/mnt/drive6", device, "", number, "ext4", directory), named, sys.root)


@pytest.mark.parametrize(
    ("device", "disk"),
    [
        ("/dev/sda1", "/dev/sda"),
        ("/dev/sdb2", "/dev/sdb"),
        ("/dev/sda", "/dev/sda"),  # a file system without a partition
        ("/dev/nvme0n1p1", "/dev/nvme0n1"),
        ("/dev/mmcblk0p2", "/dev/mmcblk0"),
    ],
)
def test_a_partition_leads_to_its_disk(sys, device, disk):
    assert behind(device, sys) == disk


def test_encryption_and_volumes_lead_to_their_disk(sys):
    sys.add("dm-0", slaves=["sda1"], uuid="CRYPT-LUKS2-0123-plots")
    sys.add("dm-1", slaves=["dm-0"], uuid="LVM-abc")
    assert behind("/dev/dm-1", sys) == "/dev/sda"


def test_a_volume_on_two_partitions_of_one_disk_has_one_disk(sys):
    sys.add("sda2", partition_of="sda")
    sys.add("dm-0", slaves=["sda1", "sda2"], uuid="LVM-abc")
    assert behind("/dev/dm-0", sys) == "/dev/sda"


def test_an_array_of_several_disks_has_no_single_one(sys):
    sys.add("md0", slaves=["sda1", "sdb2"])
    sys.add("md0p1", partition_of="md0")
    assert behind("/dev/md0", sys) == ""
    assert behind("/dev/md0p1", sys) == ""


def test_an_array_of_one_disk_has_that_one(sys):
    sys.add("md1", slaves=["sdb2"])
    assert behind("/dev/md1", sys) == "/dev/sdb"


def test_both_cables_of_a_multipath_disk_lead_to_one_disk(sys):
    sys.add("dm-0", slaves=["sdb", "sda"], uuid="mpath-35000c500a1b2c3d7")
    sys.add("dm-1", slaves=["dm-0"], uuid="part1-mpath-35000c500a1b2c3d7")
    assert behind("/dev/dm-1", sys) == "/dev/sda"


def test_a_loop_device_is_a_disk_by_itself(sys):
    sys.add("loop3")
    sys.add("loop3p1", partition_of="loop3")
    assert behind("/dev/loop3p1", sys) == "/dev/loop3"


def test_a_slash_in_a_device_name_is_kept(sys):
    sys.add("cciss!c0d1")
    sys.add("cciss!c0d1p1", partition_of="cciss!c0d1", number="104:17")
    assert behind("/dev/cciss/c0d1p1", sys, number=os.makedev(104, 17)) == "/dev/cciss/c0d1"


def test_the_number_of_the_file_system_counts_before_the_name_of_its_source(sys):
    sys.add("sdq")
    sys.add("sdq1", partition_of="sdq", number="65:1")
    assert behind("/dev/root", sys, number=os.makedev(65, 1)) == "/dev/sdq"


def test_a_file_system_with_a_number_of_its_own_is_found_by_its_source(sys):
    assert behind("/dev/sda1", sys, number=os.makedev(0, 44)) == "/dev/sda"  # btrfs


@pytest.mark.parametrize("source", ["pool/plots", "nas:/plots", "overlay", "", "/dev/gone1", "/dev/", "/dev/.."])
def test_where_there_is_no_block_device_there_is_no_disk(sys, source):
    assert behind(source, sys) == ""


def test_the_device_that_a_marker_names_counts_before_the_one_below_the_directory(sys):
    assert behind("/dev/sda1", sys, named="/dev/sdb2", directory=True) == "/dev/sdb"
    assert behind("/dev/sda1", sys, named="/dev/fake7", directory=True) == "/dev/fake7"
    assert behind("/dev/sda1", sys, directory=True) == "/dev/sda"


def test_a_link_that_a_marker_names_is_followed(sys, tmp_path):
    link = tmp_path / "ata-TESTDISK_ZL2TEST1-part1"
    link.symlink_to("/dev/sda1")
    assert behind("", sys, named=str(link), directory=True) == "/dev/sda"


def test_the_first_line_of_types_that_fits_counts():
    lines = ["/dev/sd[a-p] megaraid,7", "/dev/disk/by-id/usb-* sntjmicron", "/dev/** sat"]
    assert type_of(["/dev/sdc"], lines) == "megaraid,7"
    assert type_of(["/dev/sdx", "/dev/disk/by-id/usb-TEST_1"], lines) == "sntjmicron"
    assert type_of(["/dev/cciss/c0d0"], lines) == "sat"
    assert type_of(["/dev/sdaa"], lines[:2]) == ""
