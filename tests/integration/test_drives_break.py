"""Real drives that break while nobody looks: the next run raises the alert, and every report says the same of them."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import struct
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from plotfarm.base.database import Database
from plotfarm.base.processes import find_program
from plotfarm.base.state import State, Transfer, TransferOutcome
from plotfarm.drives.file_system_uuid import _superblock_uuid, read_uuid
from plotfarm.drives.mount_table import read_mount_table, topmost
from plotfarm.drives.reasons import Reason
from testbed import smart_samples
from testbed.broken_drives import ImageDrive, Kind
from testbed.fake_smartctl import FakeSmartctl
from testbed.farm import Farm
from testbed.mounts import LoopDrive, played_udev, private_mounts, why_no_mounts
from testbed.plots import v1_name

pytestmark = pytest.mark.root
NO_MOUNTS = why_no_mounts()
DRIVE_BYTES = 32 * 2**20
_SHUTDOWN = 0x8004587D  # EXT4_IOC_SHUTDOWN, _IOR('X', 125, __u32)


@dataclass
class Host:
    """A NAS with two ext4 drives, each with one plot, after a first run of drive_manager.py."""

    farm: Farm
    drives: list[LoopDrive]
    smartctl: FakeSmartctl
    base: Path
    know_uuids: Callable[[], None]

    def run(self, *arguments: str) -> str:
        done = self.farm.drive_manager(*arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def alerts(self) -> list[tuple[str, str, str]]:
        """Return of all mails that were ever put into the outbox: severity, subject and text."""
        database = Database(self.farm.nas.state)
        rows = database.rows("SELECT kind, severity, subject, text FROM messages ORDER BY id")
        database.close()
        return [(severity, subject, text) for kind, severity, subject, text in rows if kind == "alert"]

    def smart_is_due(self) -> None:
        database = Database(self.farm.nas.state)
        assert database.write("UPDATE health_round SET time = time - 3600")
        database.close()

    def explained(self, mountpoint: Path) -> list[dict[str, object]]:
        drives = json.loads(self.run("--explain", "--json"))["data"]["drives"]
        return [each for each in drives if each["mountpoint"] == str(mountpoint)]

    def reported(self, mountpoint: Path) -> list[dict[str, object]]:
        drives = json.loads(self.run("-pr", "--json"))["data"]["drives"]
        return [each for each in drives if each["mountpoint"] == str(mountpoint)]


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    with made_host(tmp_path, with_udev=True) as made:
        yield made


@pytest.fixture
def host_without_udev(tmp_path: Path) -> Iterator[Host]:
    with made_host(tmp_path, with_udev=False) as made:
        yield made


@contextlib.contextmanager
def made_host(tmp_path: Path, *, with_udev: bool) -> Iterator[Host]:
    if NO_MOUNTS:
        pytest.skip(NO_MOUNTS)
    with private_mounts(), contextlib.ExitStack() as stack:
        know_uuids = stack.enter_context(played_udev())
        places = [tmp_path / "enclosure0" / f"drive{number}" for number in (1, 2)]
        drives = [LoopDrive(tmp_path / f"image{number}", place, DRIVE_BYTES) for number, place in enumerate(places)]
        if with_udev:
            know_uuids()
        settings = {
            "drives.devices": "/dev/loop*", "drives.mounts": tmp_path / "enclosure*/drive*",
            "drives.minimum_free": "1 MiB", "notifications.alerting": True, "notifications.email": True,
            "email.host": "127.0.0.1", "email.port": 9, "email.sender": "farm@example.org",
            "email.recipients": "farmer@example.org", "watch.system_disk_free": "1 MiB",
        }  # fmt: skip
        farm = stack.enter_context(Farm(tmp_path / "farm", drives=0, nas_settings=settings))
        smartctl = farm.give_smart()
        smartctl.otherwise(smart_samples.sata())
        _remember_a_small_plot(farm, places[0])
        for place in places:
            (place / v1_name(place.name, k=32)).write_bytes(b"no header")
        made = Host(farm, drives, smartctl, tmp_path, know_uuids)
        made.run()
        assert made.alerts() == []
        yield made
        for place in places:
            subprocess.run(["umount", "-l", str(place)], check=False, capture_output=True)


def _remember_a_small_plot(farm: Farm, place: Path) -> None:
    state = State(farm.nas.state)
    state.record_transfer(
        Transfer(
            time.time() - 86400, v1_name("yesterday"), "v1", "/plots", str(place), "plotter",
            bytes=5_000_000, seconds=1.0, digest="", segments="", outcome=TransferOutcome.STORED,
        )
    )  # fmt: skip
    state.close()


# ---- How a drive breaks ----


def remounted_read_only(drive: LoopDrive) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(drive.place)], check=True)


def made_read_only_by_an_error(drive: LoopDrive) -> None:
    """Let ext4 find an error, as on a dying disk: errors=remount-ro is what most distributions set."""
    subprocess.run(["mount", "-o", "remount,errors=remount-ro", str(drive.place)], check=True)
    device = subprocess.run(
        ["findmnt", "-no", "SOURCE", str(drive.place)], check=True, capture_output=True, text=True
    ).stdout.strip()
    Path(f"/sys/fs/ext4/{os.path.basename(device)}/trigger_fs_error").write_text("1")


def shut_down(drive: LoopDrive) -> None:
    """Let every call that reaches the drive fail with EIO."""
    directory = os.open(drive.place, os.O_RDONLY)
    try:
        fcntl.ioctl(directory, _SHUTDOWN, struct.pack("I", 2))
    finally:
        os.close(directory)
    with pytest.raises(OSError, match="Input/output error"):
        (drive.place / "new").touch()


@pytest.mark.parametrize(
    ("breaks", "reason", "subject"),
    [
        (remounted_read_only, Reason.READ_ONLY, "drive1 has become read-only"),
        (made_read_only_by_an_error, Reason.READ_ONLY, "drive1 has become read-only"),
        (shut_down, Reason.IO_ERROR, "drive1 answers with an error"),
    ],
)
def test_a_drive_that_breaks_is_told_of_in_the_next_run(
    host: Host, breaks: Callable[[LoopDrive], None], reason: Reason, subject: str
) -> None:
    drive = host.drives[0]
    breaks(drive)
    before = len(host.smartctl.calls())
    host.smart_is_due()
    host.run()
    ((severity, told, text),) = host.alerts()
    assert (severity, subject in told) == ("critical", True), told

    device = subprocess.run(["findmnt", "-no", "SOURCE", str(drive.place)], capture_output=True, text=True).stdout
    assert [call for call in host.smartctl.calls()[before:] if call.endswith(device.strip())], "its SMART was not read"
    (explained,), (reported,) = host.explained(drive.place), host.reported(drive.place)
    assert explained["reason"] == reported["reason"] == reason.value
    assert explained["usable"] is False
    assert explained["why"] == reported["why"]
    assert str(explained["why"]) in " ".join(text.split()), "the mail says something else than --explain"
    assert str(explained["why"]) in " ".join(host.run("-pr").split())

    host.run()
    assert len(host.alerts()) == 1, "told twice"


@pytest.fixture
def with_a_bad_directory(host: Host) -> LoopDrive:
    """The first drive, in whose directory `plots` the disk has lost an inode: its root is well."""
    if find_program("debugfs") is None:
        pytest.skip("this test needs debugfs (e2fsprogs)")
    drive = host.drives[0]
    below = drive.place / "plots" / "og"
    below.mkdir(parents=True)
    (below / v1_name("below", k=32)).write_bytes(b"no header")
    drive.unmount()
    subprocess.run(["debugfs", "-w", "-R", "clri plots/og", str(drive.image)], check=True, capture_output=True)
    drive.mount()
    with pytest.raises(OSError, match=r"Structure needs cleaning|Input/output error|Bad message"):
        os.listdir(below)
    os.statvfs(drive.place)
    (drive.place / "writable").touch()
    return drive


def test_an_error_below_the_root_of_a_drive_is_told_of_once_its_plots_are_counted(
    host: Host, with_a_bad_directory: LoopDrive
) -> None:
    drive = with_a_bad_directory
    host.smart_is_due()
    host.run()
    ((severity, told, text),) = host.alerts()
    assert (severity, "drive1 answers with an error" in told) == ("critical", True), told
    assert "in plots/og" in " ".join(text.split())

    host.run()  # this run counts nothing, and knows of it all the same
    (explained,), (reported,) = host.explained(drive.place), host.reported(drive.place)
    assert explained["reason"] == reported["reason"] == Reason.IO_ERROR.value
    assert explained["usable"] is False
    assert explained["why"] == reported["why"]
    assert str(explained["why"]) in " ".join(text.split())
    assert reported["plots"] is None
    host.smart_is_due()
    host.run()
    assert len(host.alerts()) == 1, "told twice"

    drive.unmount()
    subprocess.run(["e2fsck", "-fy", str(drive.image)], check=False, capture_output=True)
    drive.mount()
    host.know_uuids()
    host.smart_is_due()
    host.run()
    assert ["drive1 answers without errors again" in subject for _, subject, _ in host.alerts()[1:]] == [True]
    (explained,) = host.explained(drive.place)
    assert explained["usable"] is True


def test_a_drive_that_is_writable_again_is_resolved(host: Host) -> None:
    remounted_read_only(host.drives[0])
    host.run()
    subprocess.run(["mount", "-o", "remount,rw", str(host.drives[0].place)], check=True)
    host.run()
    (_, raised, _), (severity, resolved, _) = host.alerts()
    assert "read-only" in raised
    assert (severity, "drive1 can be written to again" in resolved) == ("info", True), resolved


def test_a_drive_whose_place_another_file_system_has_taken_is_told_of(host: Host) -> None:
    drive = host.drives[0]
    (before,) = host.explained(drive.place)
    drive.unmount()
    other = LoopDrive(host.base / "other", drive.place, DRIVE_BYTES)
    host.know_uuids()
    calls = len(host.smartctl.calls())
    host.smart_is_due()
    host.run()
    ((severity, told, text),) = host.alerts()
    assert severity == "critical"
    assert "drive1 was replaced, with 1 plot on it" in told
    assert len(host.smartctl.calls()) > calls
    new, old = sorted(host.explained(other.place), key=lambda each: str(each["reason"]) == Reason.WRONG_DRIVE.value)
    assert (new["usable"], old["usable"]) == (True, False)
    assert old["identity"] == before["identity"] != new["identity"]
    assert str(old["why"]) in " ".join(text.split())
    assert old["why"] in [each["why"] for each in host.reported(other.place)]

    # As the mail says: it was meant.
    host.run("-off", str(before["identity"]))
    host.run()
    assert [each["identity"] for each in host.explained(other.place)] == [new["identity"]]
    assert len(host.alerts()) == 1, "that it is no longer looked for does not mean that it is back"


def test_a_host_without_udev_sees_that_another_file_system_has_taken_the_place(host_without_udev: Host) -> None:
    host = host_without_udev
    drive = host.drives[0]
    (before,) = host.explained(drive.place)
    assert before["identity"] == f"mount:{drive.place}"
    was = uuid_of(drive)
    drive.unmount()
    drive.mount()
    host.run()
    assert host.alerts() == [], "it is the same one"

    drive.unmount()
    other = LoopDrive(host.base / "other", drive.place, DRIVE_BYTES)
    host.run()
    ((severity, told, text),) = host.alerts()
    assert (severity, "drive1 was replaced" in told) == ("critical", True), told
    new, old = sorted(host.explained(other.place), key=lambda each: str(each["reason"]) == Reason.WRONG_DRIVE.value)
    assert (new["usable"], old["usable"]) == (True, False)
    assert (old["identity"], new["identity"]) == (f"uuid:{was}", before["identity"])
    assert uuid_of(other) in str(old["why"])
    assert str(old["why"]) in " ".join(text.split())
    assert old["why"] in [each["why"] for each in host.reported(other.place)]
    host.run()
    assert len(host.alerts()) == 1, "told twice"

    host.run("-off", str(old["identity"]))
    host.run()
    assert [each["identity"] for each in host.explained(other.place)] == [new["identity"]]


def uuid_of(drive: LoopDrive) -> str:
    done = subprocess.run(["blkid", "-p", "-s", "UUID", "-o", "value", drive.image], check=True, capture_output=True)
    return done.stdout.decode().strip()


@pytest.mark.parametrize("kind", ["ext4", "xfs", "btrfs"])
def test_a_uuid_is_the_same_by_the_kernel_and_by_the_drive(kind: str, tmp_path: Path) -> None:
    if NO_MOUNTS:
        pytest.skip(NO_MOUNTS)
    if find_program(f"mkfs.{kind}") is None:
        pytest.skip(f"mkfs.{kind} is not installed")
    with private_mounts():
        drive = ImageDrive(Kind(kind), tmp_path / "image", tmp_path / "place")
        mount = topmost(read_mount_table())[str(drive.place)]
        by_drive = _superblock_uuid(mount.source, kind)
        directory = os.open(drive.place, os.O_RDONLY)
        try:
            by_kernel = read_uuid(directory, kind)
        finally:
            os.close(directory)
        drive.unmount()
    blkid = subprocess.run(["blkid", "-p", "-s", "UUID", "-o", "value", drive.image], check=True, capture_output=True)
    assert by_drive == blkid.stdout.decode().strip()
    assert by_kernel in (by_drive, ""), "kernels before 6.9 do not say it"
    assert _superblock_uuid(str(drive.image), kind) == "", "no device"
    assert _superblock_uuid(mount.source, "vfat") == ""


def test_a_failing_drive_that_goes_is_not_said_to_fail_no_more(host: Host) -> None:
    host.farm.nas.change({"watch.missing_minutes": 0})
    host.smartctl.otherwise(smart_samples.sata(passed=False))
    host.smart_is_due()
    host.farm.drive_manager()
    before = len(host.alerts())
    for drive in host.drives:
        drive.unmount()
    host.smart_is_due()
    host.farm.drive_manager()
    subjects = [subject for _, subject, _ in host.alerts()]
    assert any("2 plot drives are failing" in subject for subject in subjects[:before]), subjects
    assert ["2 plot drives disappeared" in subject for subject in subjects[before:]] == [True], subjects


def test_a_drive_that_goes_after_it_was_read_only_is_not_said_to_be_writable(host: Host) -> None:
    host.farm.nas.change({"watch.missing_minutes": 0})
    remounted_read_only(host.drives[0])
    host.run()
    host.drives[0].unmount()
    host.run()
    first, second = (subject for _, subject, _ in host.alerts())
    assert "read-only" in first
    assert "drive1 disappeared" in second
    assert "again" not in second
