"""Drives in quarantine: remembered durably, through the scripts, and recognised by real mounts of real file systems."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from plotfarm.base.boot import boot_id
from plotfarm.base.config.loader import load
from plotfarm.base.database import Database
from plotfarm.base.disk_error import Call
from plotfarm.base.state import State, Transfer, TransferOutcome
from plotfarm.drives import mount_identity as identities
from plotfarm.drives import quarantine as quarantine_module
from plotfarm.drives.model import MARKER, Drive
from plotfarm.drives.mount_identity import is_mounted_anew, mount_identity
from plotfarm.drives.mounts import survey
from plotfarm.drives.quarantine import Quarantine, QuarantineReason
from plotfarm.jobs.offline import bring_online, take_offline
from testbed.mounts import why_no_mounts

CHECKOUT = Path(__file__).parents[2]
DRIVE = Drive("/mnt/hdd7", "/dev/sdz9", "uuid:7", os.makedev(8, 999), "ext4")
OTHER = Drive("/mnt/hdd8", "/dev/sdz8", "uuid:8", os.makedev(8, 998), "ext4")
DIRECTORY = Drive("/srv/plots", "", "directory:/srv/plots", 5, "ext4", directory_mode=True)


@pytest.fixture
def mounts(monkeypatch):
    """The mount identity of each drive, by its identity, in place of the kernel's."""
    known = {"uuid:7": "sysfs:100", "uuid:8": "sysfs:200"}
    monkeypatch.setattr(quarantine_module, "mount_identity", lambda drive: known.get(drive.identity, ""))
    return known


@pytest.fixture
def database(tmp_path):
    database = Database(tmp_path / "state")
    yield database
    database.close()


# ---- What is remembered ----


def test_a_drive_in_quarantine_is_so_for_every_process(database, mounts, tmp_path):
    assert Quarantine(database).active([DRIVE, OTHER]) == {}
    begun = time.time()
    assert Quarantine(database).add(DRIVE, QuarantineReason.IO_ERROR, call=Call.FSYNC, errno=5, plot="a.plot")
    elsewhere = Database(tmp_path / "state")
    found = Quarantine(elsewhere).active([OTHER, DRIVE])
    elsewhere.close()
    assert set(found) == {"uuid:7"}
    entry = found["uuid:7"]
    assert begun <= entry.since <= time.time()
    assert (entry.reason, entry.call, entry.errno, entry.plot) == (QuarantineReason.IO_ERROR, "fsync", 5, "a.plot")
    assert (entry.drive_name, entry.mount, entry.boot) == ("hdd7", "sysfs:100", boot_id())


def test_it_ends_when_the_drive_is_mounted_anew(database, mounts):
    quarantine = Quarantine(database)
    quarantine.add(DRIVE, QuarantineReason.HOLES)
    mounts["uuid:7"] = "sysfs:101"
    assert quarantine.active([DRIVE]) == {}
    assert quarantine.add(DRIVE, QuarantineReason.SAMPLE_DIFFERED, plot="b.plot"), "and may begin anew"
    assert quarantine.active([DRIVE])["uuid:7"].reason is QuarantineReason.SAMPLE_DIFFERED
    assert quarantine.active([replace(DRIVE, device_number=0)]) == {}, "it is not mounted"


@pytest.mark.parametrize("now", ["", "unique:101", "sysfs:100"])
def test_it_lasts_while_nothing_says_that_the_drive_was_mounted_anew(database, mounts, now):
    quarantine = Quarantine(database)
    quarantine.add(DRIVE, QuarantineReason.HOLES)
    mounts["uuid:7"] = now
    assert set(quarantine.active([DRIVE])) == {"uuid:7"}


def test_it_ends_with_a_restart_of_the_host_also_for_a_directory(database, mounts, monkeypatch):
    quarantine = Quarantine(database)
    for drive in (DRIVE, DIRECTORY):
        assert quarantine.add(drive, QuarantineReason.HOLES)
    assert set(quarantine.active([DRIVE, OTHER, DIRECTORY])) == {"uuid:7", DIRECTORY.identity}
    monkeypatch.setattr(quarantine_module, "boot_id", lambda: "another")
    assert quarantine.active([DRIVE, OTHER, DIRECTORY]) == {}


def test_it_holds_for_the_file_system_when_its_uuid_is_no_longer_known(database, mounts):
    quarantine = Quarantine(database)
    quarantine.add(DRIVE, QuarantineReason.HOLES)
    by_place = replace(DRIVE, identity="mount:/mnt/hdd7")
    mounts["mount:/mnt/hdd7"] = "sysfs:100"
    found = quarantine.active([by_place])
    assert found["mount:/mnt/hdd7"].identity == "uuid:7", "which is what lifts it"


def test_the_first_reason_stays(database, mounts):
    quarantine = Quarantine(database)
    quarantine.add(DRIVE, QuarantineReason.IO_ERROR, call="fsync", errno=5)
    assert quarantine.add(DRIVE, QuarantineReason.HOLES)
    assert quarantine.active([DRIVE])["uuid:7"].reason is QuarantineReason.IO_ERROR


def test_it_is_lifted(database, mounts):
    quarantine = Quarantine(database)
    for drive in (DRIVE, OTHER):
        quarantine.add(drive, QuarantineReason.HOLES)
    assert quarantine.lift("uuid:7")
    assert set(quarantine.active([DRIVE, OTHER])) == {"uuid:8"}


def test_names_that_are_no_text(database, mounts):
    strange = replace(DRIVE, identity="mount:/mnt/\udcff", mountpoint="/mnt/\udcff")
    quarantine = Quarantine(database)
    assert quarantine.add(strange, QuarantineReason.HOLES)
    assert quarantine.active([strange])[strange.identity].drive_name == "\udcff"
    assert quarantine.lift(strange.identity)
    assert quarantine.active([strange]) == {}


def test_what_cannot_be_written_is_said(database, mounts, tmp_path):
    quarantine = Quarantine(database)
    database.rows("PRAGMA query_only = ON")
    assert not quarantine.add(DRIVE, QuarantineReason.HOLES)
    assert not quarantine.lift("uuid:7")
    in_ram = Database(None)
    assert not Quarantine(in_ram).add(DRIVE, QuarantineReason.HOLES)
    assert set(Quarantine(in_ram).active([DRIVE])) == {"uuid:7"}, "for this process it holds"
    assert not Quarantine(in_ram).add(DRIVE, QuarantineReason.HOLES), "nor is that durable the second time"
    in_ram.close()


# ---- Mount identities ----


@pytest.mark.parametrize(
    ("before", "now", "is_new"),
    [
        ("sysfs:1", "sysfs:2", True),
        ("sysfs:1", "sysfs:1", False),
        ("sysfs:1", "unique:2", False),
        ("", "sysfs:2", False),
        ("sysfs:1", "", False),
        ("id:1", "id:2", True),
    ],
)
def test_what_counts_as_mounted_anew(before, now, is_new):
    assert is_mounted_anew(before, now) is is_new


def test_a_directory_and_what_is_not_mounted_have_no_mount_identity():
    assert mount_identity(DIRECTORY) == mount_identity(replace(DRIVE, device_number=0)) == ""


def test_the_root_of_this_host_has_a_mount_identity(monkeypatch):
    root = Drive("/", "", "mount:/", 1, "no such file system")
    ways = [mount_identity(root)]
    monkeypatch.setattr(identities, "_unique_mount_id", lambda path: None)
    ways.append(mount_identity(root))
    assert ways[1].startswith("id:") and ways[1].removeprefix("id:").isdecimal()
    kind, _, value = ways[0].partition(":")
    assert kind in ("unique", "id") and value.isdecimal()


# Every part has image(name, kind), which makes a file system in a file, and mount(image, place) -> the drive.
PREPARE = """
import atexit, contextlib, fcntl, os, subprocess, sys
from pathlib import Path
from plotfarm.base.database import Database
from plotfarm.drives import mount_identity as identities
from plotfarm.drives.file_system_uuid import read_uuid
from plotfarm.drives.model import Drive, DriveUnusable
from plotfarm.drives.mount_identity import mount_identity
from plotfarm.drives.mount_table import read_mount_table, topmost
from plotfarm.drives.opening import is_still_mounted, open_mounted
from plotfarm.drives.reasons import Reason
from plotfarm.drives.quarantine import Quarantine, QuarantineReason

base = Path(sys.argv[1])
# A number of its own: the kernel gives the lowest free one to whoever asks, and others do meanwhile.
number = 1000 + os.getpid() % 100_000
LOOP_CTL_ADD, LOOP_CTL_REMOVE = 0x4C80, 0x4C81
control = open("/dev/loop-control")
fcntl.ioctl(control, LOOP_CTL_ADD, number)
@atexit.register
def remove_loop():
    with contextlib.suppress(OSError): fcntl.ioctl(control, LOOP_CTL_REMOVE, number)
LOOP = f"/dev/loop{number}"
def run(*argv):
    return subprocess.run([str(part) for part in argv], check=True, capture_output=True, text=True).stdout.strip()
def image(name, kind):
    path = base / name
    with path.open("wb") as file: file.truncate({"ext4": 16, "xfs": 320, "btrfs": 128}[kind] << 20)
    run(f"mkfs.{kind}", "-q", path)
    return path
def mount(what, place, *options):
    place.mkdir(exist_ok=True)
    run("mount", "-o", ",".join([f"loop={LOOP}", *options]), what, place)
    found = topmost(read_mount_table())[str(place)]
    uuid = run("blkid", "-p", "-s", "UUID", "-o", "value", what)
    return Drive(str(place), found.source, f"uuid:{uuid}", found.device_number, found.file_system)
place = base / "drive7"
"""

REMOUNTS = """
for kind in sys.argv[2].split(","):
    what = image(kind + ".img", kind)
    seen = []
    for _ in range(4):
        drive = mount(what, place)
        seen.append((mount_identity(drive), drive.device_number))
        assert seen[-1][0].startswith("sysfs:"), seen
        assert mount_identity(drive) == seen[-1][0]
        code = "import sys; exec(sys.argv[1]); print(mount_identity(eval(sys.argv[2])))"
        imports = "from plotfarm.drives.mount_identity import mount_identity; from plotfarm.drives.model import Drive"
        there = run("unshare", "-m", sys.executable, "-c", code, imports, repr(drive))
        assert there == seen[-1][0], "in another mount namespace it is the same: " + there
        held = open_mounted(drive)
        assert f"uuid:{read_uuid(held, kind)}" == drive.identity or kind != "btrfs"
        os.close(held)
        run("mount", "-o", "remount,ro", place)
        assert mount_identity(drive) == seen[-1][0], "the same file system with other options"
        run("umount", place)
    assert len({identity for identity, _ in seen}) == 4, seen
    assert len({number for _, number in seen}) == 1 or kind == "btrfs", "the device number is used again"

    unique = []
    for _ in range(3):
        mount(what, place)
        unique.append(identities._unique_mount_id(str(place)))
        run("umount", place)
    assert unique == [None] * 3 or len(set(unique)) == 3, unique
"""

PARTS = {
    "a quarantine ends when the drive is mounted anew, and not before": """
what = image("a.img", "ext4")
drive = mount(what, place)
quarantine = Quarantine(Database(base / "state"))
assert quarantine.add(drive, QuarantineReason.IO_ERROR, call="fsync", errno=5)
run("mount", "-o", "remount,ro", place)
run("mount", "-o", "remount,rw", place)
assert set(quarantine.active([drive])) == {drive.identity}
held = os.open(place, os.O_RDONLY)
run("umount", "-l", place)
run("mount", drive.device, place)
assert set(quarantine.active([drive])) == {drive.identity}, "the kernel's cache of it was never given up"
os.close(held)
run("umount", place)
drive = mount(what, place)
assert quarantine.active([drive]) == {}
""",
    "what the kernel shows in no directory is known by its mount": """
place.mkdir()
seen = []
for _ in range(3):
    run("mount", "-t", "tmpfs", "none", place)
    found = topmost(read_mount_table())[str(place)]
    seen.append(mount_identity(Drive(str(place), "none", f"mount:{place}", found.device_number, "tmpfs")))
    run("umount", place)
kinds = {identity.split(":")[0] for identity in seen}
assert kinds == {"id"} or kinds == {"unique"} and len(set(seen)) == 3, seen
""",
    "a drive that hangs keeps nobody waiting who asks how it is mounted": """
import ctypes
if not os.access("/dev/fuse", os.R_OK | os.W_OK):
    print("no /dev/fuse"); raise SystemExit
place.mkdir()
server = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
options = f"fd={server},rootmode=40000,user_id=0,group_id=0".encode()
assert ctypes.CDLL(None).mount(b"dead", os.fsencode(place), b"fuse", 0, options) == 0
found = topmost(read_mount_table())[str(place)]
assert mount_identity(Drive(str(place), "dead", f"mount:{place}", found.device_number, "fuse"))
os.close(server)
""",
    "another drive under the same mountpoint, with the same device number": """
for kind in sys.argv[2].split(","):
    first, second = image("1" + kind, kind), image("2" + kind, kind)
    drive = mount(first, place)
    os.close(open_mounted(drive))
    run("umount", place)
    other = mount(second, place)
    assert (other.device_number, other.device) == (drive.device_number, drive.device), (drive, other)
    try: open_mounted(drive)
    except DriveUnusable as error: assert error.why.reason is Reason.WRONG_DRIVE, error
    else: raise AssertionError(f"{kind}: opened")
    os.close(open_mounted(other))
    run("umount", place)
""",
    "the same where only udev knows the UUID": """
from plotfarm.drives import file_system_uuid
file_system_uuid.read_uuid = lambda directory, kind: ""
file_system_uuid._BY_UUID = str(base / "by-uuid")
(base / "by-uuid").mkdir()
for kind in sys.argv[2].split(","):
    drive = mount(image(kind, kind), place)
    os.close(open_mounted(drive))
    link = base / "by-uuid" / drive.identity.removeprefix("uuid:")
    link.symlink_to(drive.device)
    os.close(open_mounted(drive))
    link.unlink()
    link.symlink_to("/dev/loop-control")
    link.unlink()
    free = run("losetup", "--find", "--show", base / kind)
    link.symlink_to(free)
    try: open_mounted(drive)
    except DriveUnusable as error: assert error.why.reason is Reason.WRONG_DRIVE, error
    else: raise AssertionError(f"{kind}: opened")
    finally: run("losetup", "-d", free)
    run("umount", place)
""",
    "a drive that is swapped under an open directory": """
drive = mount(image("a.img", "ext4"), place)
directory = open_mounted(drive)
assert is_still_mounted(drive, directory)
again = base / "again"
again.mkdir()
run("mount", "--bind", place, again)
run("umount", "-l", place)
run("mount", "--bind", again, place)
assert os.lstat(place).st_ino == os.fstat(directory).st_ino == 2
assert os.lstat(place).st_dev == os.fstat(directory).st_dev
assert not is_still_mounted(drive, directory), "device and inode are the same, the mount is another one"
os.close(directory)
""",
}


def why_not() -> str:
    if not all(map(shutil.which, ("unshare", "blkid", "losetup", "mkfs.ext4"))):
        return "needs unshare, blkid, losetup and mkfs.ext4"
    return why_no_mounts() or ""


def in_private_mounts(script: str, directory: Path) -> None:
    if reason := why_not():
        pytest.skip(reason)
    known = Path("/proc/filesystems").read_text().split()
    kinds = [kind for kind in ("ext4", "xfs", "btrfs") if shutil.which(f"mkfs.{kind}") and kind in known]
    done = subprocess.run(
        ["unshare", "--mount", "--propagation", "private", sys.executable, "-c",
         f"{PREPARE}{script}\nprint('proved')\n", directory, ",".join(kinds)],
        capture_output=True, text=True, timeout=100, cwd=CHECKOUT, check=False,
    )  # fmt: skip
    if done.stdout == "no /dev/fuse\n":
        pytest.skip("needs /dev/fuse to mount a file system that never answers")
    if "failed to setup loop device" in done.stderr:
        pytest.skip(f"no loop device to be had: {done.stderr.strip().splitlines()[0]}")
    assert done.stdout == "proved\n", done.stderr


@pytest.mark.root
def test_each_mounting_of_a_real_file_system_has_an_identity_of_its_own(tmp_path):
    in_private_mounts(REMOUNTS, tmp_path)


@pytest.mark.root
@pytest.mark.parametrize("part", PARTS)
def test_on_real_file_systems(part, tmp_path):
    in_private_mounts(PARTS[part], tmp_path)


# ---- The scripts ----


class Nas:
    """A NAS with two drives, drive1 and drive2, that are declared directories."""

    def __init__(self, base: Path) -> None:
        self.state = base / "state"
        self.places = [base / "drive1", base / "drive2"]
        for place in self.places:
            place.mkdir()
            (place / MARKER).touch()
        self.path = base / "config"
        self.path.write_text(
            f"[system_logging]\nlogging = True\n"
            f"[paths]\nlogs = {base}/logs\nstate = {self.state}\nlocks = {base}/locks\n"
            f"[drives]\ndevices = /dev/none*\nmounts = {base}/none*\nminimum_free = 1 MB\n"
            f"directories = {self.places[0]}, {self.places[1]}\n"
        )
        self.config = load(self.path)
        state = State(self.state)
        state.record_transfer(
            Transfer(time.time(), "a.plot", "v1", "/s", "/t", "rig", 10**6, 1.0, "", "", TransferOutcome.STORED)
        )
        state.close()

    def drive(self, number: int) -> Drive:
        return next(drive for drive in survey(self.config.drives).drives if drive.name == f"drive{number}")

    def quarantine(self, number: int) -> None:
        database = Database(self.state)
        reason = QuarantineReason.IO_ERROR
        assert Quarantine(database).add(self.drive(number), reason, call=Call.FSYNC, errno=5, plot="a.plot")
        database.close()

    def is_quarantined(self, number: int) -> bool:
        database = Database(self.state)
        active = Quarantine(database).active([self.drive(number)])
        database.close()
        return bool(active)

    def alerts(self) -> list[str]:
        database = sqlite3.connect(self.state / "state.sqlite")
        rows = database.execute("SELECT severity FROM conditions WHERE kind = 'quarantined'").fetchall()
        database.close()
        return [severity for (severity,) in rows]

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, CHECKOUT / "drive_manager.py", *arguments, "--config", self.path],
            capture_output=True, text=True, timeout=60, cwd="/", check=False,
        )  # fmt: skip


@pytest.fixture
def nas(tmp_path):
    return Nas(tmp_path)


def test_the_scripts_from_one_end_to_the_other(nas):
    assert nas.run().returncode == 0
    assert f"current_plotting_drive = {nas.places[0]}\n" in nas.path.read_text()
    nas.quarantine(1)
    explained = json.loads(nas.run("--explain", "--json").stdout)["data"]
    first, second = explained["drives"]
    assert explained["chosen_mountpoint"] == str(nas.places[1])
    assert (first["usable"], first["quarantine"]["error"], second["usable"]) == (False, "Input/output error", True)
    assert "Input/output error on fsync while a.plot was written" in nas.run("--explain").stdout

    assert nas.run().returncode == 0
    assert f"current_plotting_drive = {nas.places[1]}\n" in nas.path.read_text()
    assert nas.alerts() == ["critical"]
    log = Path(nas.config.paths.logs, "drive_manager.log")
    assert "I/O error on drive1" in log.read_text()

    done = nas.run("-on", "drive1")
    assert done.stdout == f"drive1 ({nas.places[0]}) is no longer in quarantine: plots may go there.\n"
    assert nas.run().returncode == 0
    assert nas.alerts() == []
    assert json.loads(nas.run("--explain", "--json").stdout)["data"]["drives"][0]["usable"] is True


def test_online_lifts_what_keeps_plots_away_and_leaves_the_other_drive_alone(nas, capsys):
    nas.quarantine(1)
    nas.quarantine(2)
    take_offline(nas.config, "drive1")
    capsys.readouterr()
    assert bring_online(nas.config, "drive1") == 0
    where = nas.places[0]
    said = f"drive1 ({where}) is online again and is no longer in quarantine: plots may go there.\n"
    assert capsys.readouterr().out == said
    assert [nas.is_quarantined(number) for number in (1, 2)] == [False, True]
    assert bring_online(nas.config, "drive1") == 0
    assert capsys.readouterr().out == f"No drive is offline: drive1 ({where}) is online already.\n"
