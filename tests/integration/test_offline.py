"""`drive_manager.py -off` and `-on`, on directories that are declared to be drives and on real file systems."""

from __future__ import annotations

import json
import multiprocessing
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from plotfarm.base.config.loader import load
from plotfarm.base.database import Database
from plotfarm.base.errors import PlotfarmError
from plotfarm.base.locks import Lock
from plotfarm.base.state import State, Transfer, TransferOutcome
from plotfarm.drives import mounts, offlined
from plotfarm.drives.choose import judge
from plotfarm.drives.health import Health
from plotfarm.drives.model import MARKER
from plotfarm.drives.mounts import survey
from plotfarm.drives.offlined import FILE_NAME, read_offlined
from plotfarm.drives.probe import probe
from plotfarm.drives.reasons import Reason
from plotfarm.drives.reservations import Reservations
from plotfarm.jobs.offline import bring_online, offlined_names, take_offline, take_over
from testbed.mounts import LoopDrive, private_mounts, why_no_mounts

CHECKOUT = Path(__file__).parents[2]


class Nas:
    """A NAS in a temporary directory: front/drive1, front/drive6, rear/drive6, and whatever is mounted below it."""

    def __init__(self, base: Path) -> None:
        self.base, self.state, self.locks, self.file = base, base / "state", base / "locks", base / "state" / FILE_NAME
        self.drives = [base / "front/drive1", base / "front/drive6", base / "rear/drive6"]
        for drive in self.drives:
            drive.mkdir(parents=True)
            (drive / MARKER).touch()
        self.configure()

    def configure(self, current: str = "") -> None:
        self.path = self.base / "config"
        self.path.write_text(
            f"[plotting_drives]\ncurrent_plotting_drive = {current}\n"
            f"[system_logging]\nlogging = True\n"
            f"[paths]\nlogs = {self.base}/logs\nstate = {self.state}\nlocks = {self.locks}\n"
            f"[drives]\ndevices = /dev/loop*\nmounts = {self.base}/enclosure*/drive*\nminimum_free = 1 MB\n"
            f"directories = {', '.join(map(str, self.drives))}\n"
        )
        self.config = load(self.path)

    def know_small_plots(self) -> None:
        """Plan with plots that fit on any disk."""
        state = State(self.state)
        state.record_transfer(
            Transfer(time.time(), "a.plot", "v1", "/s", "/t", "rig", 10**6, 1.0, "", "", TransferOutcome.STORED)
        )
        state.close()

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, CHECKOUT / "drive_manager.py", *arguments, "--config", self.path],
            capture_output=True, text=True, timeout=60, cwd="/", check=False,
        )  # fmt: skip

    def offline(self) -> list[str]:
        """The drives that get no plots, as the drive choice sees them."""
        drives = survey(self.config.drives).drives
        readings = probe(drives, [], 20, self.locks)
        verdicts = judge(readings, [], read_offlined(self.state), 1, 0)
        return [verdict.drive.mountpoint for verdict in verdicts if verdict.why.reason is Reason.OFFLINED]


@pytest.fixture
def nas(tmp_path, monkeypatch):
    monkeypatch.setattr(offlined, "ORIGINAL", tmp_path / "checkout" / FILE_NAME)
    return Nas(tmp_path)


def said(capsys) -> str:
    return capsys.readouterr().out


def test_a_drive_goes_offline_and_comes_back(nas, capsys):
    one, _, rear = map(str, nas.drives)
    assert take_offline(nas.config, "drive1") == 0
    assert said(capsys) == f"drive1 ({one}) is offline: no more plots go there.\n"
    assert nas.offline() == [one]
    assert take_offline(nas.config, f"{rear}/") == 0
    assert nas.offline() == [one, rear]
    assert take_offline(nas.config, one) == 0
    assert said(capsys).endswith(f"drive1 ({one}) is offline already.\n")
    assert offlined_names(str(nas.path)) == [f"drive1 ({one})", f"drive6 ({rear})"]
    line = nas.file.read_text().splitlines()[0].split()
    assert line[:4] == [f"directory:{one}", "#", "drive1", one]
    assert bring_online(nas.config, "drive6") == 0, "of the two only one is offline"
    assert said(capsys) == f"drive6 ({rear}) is online again: plots may go there.\n"
    assert bring_online(nas.config, f"directory:{one}") == 0
    assert nas.offline() == [] and nas.file.read_text() == ""
    assert offlined_names(str(nas.path)) == []


def test_the_script_from_one_end_to_the_other(nas):
    one, front, rear = map(str, nas.drives)
    nas.know_small_plots()
    assert nas.run().returncode == 0
    nas.configure(one)
    done = nas.run("-off", "drive1")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == (
        f"drive1 ({one}) is offline: no more plots go there. drive_manager.py chooses another plot drive at its next "
        "run.\n"
    )
    assert nas.run().returncode == 0
    assert f"current_plotting_drive = {front}\n" in nas.path.read_text()
    assert f"drive1 ({one})" in nas.run("-h").stdout
    unknown = nas.run("--off", "drive9")
    assert (unknown.returncode, unknown.stdout) == (1, "")
    assert unknown.stderr == f"drive_manager: no plot drive is called 'drive9': there are drive1, {front}, {rear}\n"
    assert nas.run("-on", "drive1").returncode == 0
    assert nas.run().returncode == 0
    assert f"current_plotting_drive = {one}\n" in nas.path.read_text()
    assert "is offline: no more plots go there" in (nas.base / "logs/drive_manager.log").read_text()


def test_what_cannot_be_done_is_an_error_with_the_choices(nas, capsys):
    one, front, rear = map(str, nas.drives)
    with pytest.raises(PlotfarmError, match=f"'drive6' may be {front} or {rear}: name one of these"):
        take_offline(nas.config, "drive6")
    with pytest.raises(PlotfarmError, match=f"no plot drive is called 'x': there are drive1, {front}, {rear}"):
        take_offline(nas.config, "x")
    gone = f"{nas.base}/enclosure0/drive5"
    state = State(nas.state)
    state.know_drives({"uuid:5": (gone, "/dev/sde1")})
    state.close()
    for what in ("drive5", gone, "uuid:5"):
        with pytest.raises(PlotfarmError, match=f"'{what}' is not mounted: there are drive1"):
            take_offline(nas.config, what)
    assert not nas.file.exists()
    for what in ("drive5", "x"):
        with pytest.raises(PlotfarmError, match=f"^no drive is offline, and none is called '{what}'$"):
            bring_online(nas.config, what)
    assert bring_online(nas.config, "drive1") == 0
    assert said(capsys) == f"No drive is offline: drive1 ({one}) is online already.\n"
    take_offline(nas.config, front)
    take_offline(nas.config, rear)
    with pytest.raises(PlotfarmError, match=f"'drive6' may be {front} or {rear}: name one of these"):
        bring_online(nas.config, "drive6")
    with pytest.raises(PlotfarmError, match=f"no offline drive is called 'x': there are {front}, {rear}"):
        bring_online(nas.config, "x")
    assert bring_online(nas.config, "drive1") == 0
    assert said(capsys).endswith(f"Nothing to do: drive1 ({one}) is online already.\n")
    assert nas.offline() == [front, rear]


def test_a_drive_may_be_named_by_its_serial_number(nas, capsys):
    from plotfarm.drives.smart.records import HealthRecords

    identity = f"directory:{nas.drives[2]}"
    database = Database(nas.state)
    HealthRecords(database).record({identity: Health("/dev/sdf", time.time(), serial="ZHZ0001", assessment="PASS")})
    database.close()
    assert take_offline(nas.config, "ZHZ0001") == 0
    assert nas.offline() == [str(nas.drives[2])]
    assert bring_online(nas.config, "ZHZ0001") == 0
    assert nas.offline() == []


def test_a_running_arrival_finishes_and_keeps_the_plot_drive_until_then(nas, capsys):
    front = str(nas.drives[1])
    nas.know_small_plots()
    nas.configure(front)
    drive = next(drive for drive in survey(nas.config.drives).drives if drive.mountpoint == front)
    lock = Reservations(nas.locks).take(drive, plot="plot-k32-a.plot", bytes=10**6, written_bytes=5, plotter="rig")
    assert take_offline(nas.config, front) == 0
    assert said(capsys) == (
        f"drive6 ({front}) is offline: no more plots go there. The plot that is arriving there now finishes: "
        "plot-k32-a.plot. drive_manager.py chooses another plot drive once that plot is there.\n"
    )
    assert lock.held
    explained = json.loads(nas.run("--explain", "--json").stdout)["data"]
    assert explained["chosen_mountpoint"] == front and explained["arriving"]
    assert {one["mountpoint"]: one["usable"] for one in explained["drives"]}[front] is False
    lock.release()
    assert json.loads(nas.run("--explain", "--json").stdout)["data"]["chosen_mountpoint"] == str(nas.drives[0])


def test_what_people_wrote_into_the_file_stays(nas, capsys):
    one, front, rear = map(str, nas.drives)
    nas.state.mkdir()
    nas.file.write_bytes(b"\xef\xbb\xbf# bay 3 rattles\r\n\r\n  drive6   # both, M\xfcller\n/dev/sdz1\n# end")
    assert nas.offline() == [front, rear]
    assert take_offline(nas.config, front) == 0, "it is offline by its name already"
    assert take_offline(nas.config, "drive1") == 0
    assert bring_online(nas.config, front) == 0
    assert nas.offline() == [one, rear], "the other one that was meant stays offline"
    lines = nas.file.read_text().splitlines()
    assert lines[:4] == ["# bay 3 rattles", "", "/dev/sdz1", "# end"]
    assert [line.split()[0] for line in lines[4:]] == [f"directory:{one}", f"directory:{rear}"]
    assert bring_online(nas.config, "/dev/sdz1") == 0
    assert said(capsys).endswith("sdz1 (/dev/sdz1) is no longer offline; it is not mounted now.\n")
    assert "/dev/sdz1" not in nas.file.read_text()


def test_the_file_of_the_system_before_is_honoured_at_once_and_taken_over_once(nas, capsys, caplog):
    caplog.set_level("INFO")
    one, front, rear = map(str, nas.drives)
    offlined.ORIGINAL.parent.mkdir()
    offlined.ORIGINAL.write_text("drive1\ndrive6\ndrive9\n")
    assert nas.offline() == [one, front, rear]
    assert offlined_names(str(nas.path)) == ["drive1", "drive6", "drive9"]
    assert not nas.file.exists()
    take_over(nas.config, survey(nas.config.drives).drives)
    assert caplog.messages == [f"Taken over from {offlined.ORIGINAL} as offline: drive1 ({one}), drive6, drive9"]
    entries = [line.split()[0] for line in nas.file.read_text().splitlines() if not line.startswith("#")]
    assert entries == [f"directory:{one}", "drive6", "drive9"], "a name that is not clear stays a name"
    assert nas.offline() == [one, front, rear]
    for what in ("drive1", "drive9", front, rear):
        assert bring_online(nas.config, what) == 0
    take_over(nas.config, survey(nas.config.drives).drives)
    assert nas.offline() == [], "once"
    assert len([message for message in caplog.messages if message.startswith("Taken over")]) == 1
    assert offlined.ORIGINAL.read_text() == "drive1\ndrive6\ndrive9\n"


def test_bringing_online_what_only_the_system_before_had_offline(nas):
    offlined.ORIGINAL.parent.mkdir()
    offlined.ORIGINAL.write_text("drive1\n")
    assert bring_online(nas.config, "drive1") == 0
    assert nas.offline() == []


def test_a_file_that_cannot_be_written_is_said_and_one_of_before_is_honoured_anyway(nas, caplog):
    offlined.ORIGINAL.parent.mkdir()
    offlined.ORIGINAL.write_text("drive1\n")
    nas.locks.mkdir()
    (nas.locks / "offlined.lock").mkdir()
    take_over(nas.config, survey(nas.config.drives).drives)
    assert "cannot change which drives are offlined" in caplog.text
    assert nas.offline() == [str(nas.drives[0])]
    with pytest.raises(PlotfarmError, match=r"cannot change .*offlined\.lock: Is a directory"):
        take_offline(nas.config, str(nas.drives[1]))
    nas.file.mkdir()
    with pytest.raises(PlotfarmError, match="cannot read which drives are offlined"):
        bring_online(nas.config, "drive1")
    assert offlined_names(str(nas.path)) == []


def test_the_help_is_there_without_a_configuration(nas):
    nas.path.write_text("[drives]\npolicy = pile\n")
    assert offlined_names(str(nas.path)) == []
    assert offlined_names(str(nas.base / "nothing")) == []


def test_names_from_outside_cannot_steer_a_terminal(nas):
    nas.state.mkdir()
    nas.file.write_text("drive\033[31m\n")
    assert offlined_names(str(nas.path)) == [r"drive\x1b[31m"]
    with pytest.raises(PlotfarmError, match=r"no offline drive is called '\\n': there is drive\\x1b\["):
        bring_online(nas.config, "\n")


def offline_many(state, locks, places, start):
    start.wait()
    for place in places:
        assert offlined.take_offline(state, locks, mounts.Drive(place, "", f"uuid:{place}", 1, "xfs"), 0.0)


def test_many_at_the_same_time_lose_nothing(nas):
    context = multiprocessing.get_context("fork")
    start = context.Event()
    shares = [[f"/mnt/{process}/drive{number}" for number in range(5)] for process in range(4)]
    processes = [context.Process(target=offline_many, args=(nas.state, nas.locks, share, start)) for share in shares]
    for process in processes:
        process.start()
    start.set()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0] * 4
    assert {entry.place for entry in offlined.read_entries(nas.state)} == {place for share in shares for place in share}


def take_over_once(state, locks, start, results):
    start.wait()
    results.put(offlined.take_over(state, locks, [], 0.0))


def test_the_file_of_the_system_before_is_taken_over_by_one_of_many(nas):
    offlined.ORIGINAL.parent.mkdir()
    offlined.ORIGINAL.write_text("drive1\n")
    context = multiprocessing.get_context("fork")
    start, results = context.Event(), context.Queue()
    processes = [context.Process(target=take_over_once, args=(nas.state, nas.locks, start, results)) for _ in range(4)]
    for process in processes:
        process.start()
    lock = Lock(nas.locks / "offlined.lock")
    lock.acquire()
    start.set()
    wait_until_they_wait(processes, lock)
    lock.release()
    assert sorted(results.get(timeout=60) for _ in processes) == [[], [], [], ["drive1"]]
    for process in processes:
        process.join(60)
    comment, entry = nas.file.read_text().splitlines()
    assert comment.startswith(f"# taken over from {offlined.ORIGINAL} ") and entry == "drive1"


def test_a_change_waits_for_another_one(nas):
    context = multiprocessing.get_context("fork")
    start = context.Event()
    process = context.Process(target=offline_many, args=(nas.state, nas.locks, ["/mnt/drive1"], start))
    process.start()
    lock = Lock(nas.locks / "offlined.lock")
    lock.acquire()
    start.set()
    wait_until_they_wait([process], lock)
    assert not nas.file.exists()
    lock.release()
    process.join(60)
    assert [entry.text for entry in offlined.read_entries(nas.state)] == ["uuid:/mnt/drive1"]


def wait_until_they_wait(processes, lock: Lock) -> None:
    """Until each of them has the lock's file open: it does not hold it, so it asks for it again and again."""
    deadline = time.monotonic() + 15  # less than they wait for
    while not all(has_open(process.pid, lock.path) for process in processes):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def has_open(pid: int, path: Path) -> bool:
    descriptors = Path(f"/proc/{pid}/fd")
    return any(os.path.realpath(descriptors / name) == str(path) for name in os.listdir(descriptors))


@pytest.mark.root
def test_what_root_writes_belongs_to_the_user_of_the_state_directory(nas):
    nas.state.mkdir()
    os.chown(nas.state, 12345, 23456)
    assert take_offline(nas.config, "drive1") == 0
    status = nas.file.stat()
    assert (status.st_uid, status.st_gid, status.st_mode & 0o777) == (12345, 23456, 0o600)


@pytest.mark.root
def test_a_drive_stays_offline_wherever_it_is_plugged_in(nas, capsys, monkeypatch):
    """Two enclosures with a drive6 each, as ext4; /dev/disk is played, since there may be no udev here."""
    if reason := why_no_mounts():
        pytest.skip(reason)
    monkeypatch.setattr(mounts, "_DEVICE_NAMES", nas.base / "disk")
    (nas.base / "disk/by-uuid").mkdir(parents=True)
    nas.drives = []
    nas.configure()
    with private_mounts():
        zero, one = (
            LoopDrive(nas.base / f"{number}.img", nas.base / f"enclosure{number}/drive6", 16 << 20) for number in (0, 1)
        )
        know_uuids(nas)
        with pytest.raises(PlotfarmError, match=f"'drive6' may be {zero.place} or {one.place}"):
            take_offline(nas.config, "drive6")
        device = next(drive.device for drive in survey(nas.config.drives).drives if drive.mountpoint == str(zero.place))
        assert take_offline(nas.config, device) == 0
        assert nas.offline() == [str(zero.place)]
        assert nas.file.read_text().startswith(f"uuid:{uuid_of(zero)}  # drive6 {zero.place} 2")

        zero.unmount()
        assert bring_online(nas.config, str(one.place)) == 0
        assert said(capsys).endswith(f"Nothing to do: drive6 ({one.place}) is online already.\n")
        one.unmount()
        zero.place, one.place = one.place, zero.place
        zero.mount()
        one.mount()
        know_uuids(nas)
        assert nas.offline() == [str(zero.place)], "the drive and not the place is offline"

        zero.unmount()
        assert nas.offline() == []
        assert bring_online(nas.config, f"uuid:{uuid_of(zero)}") == 0
        assert said(capsys).endswith(f"drive6 ({one.place}) is no longer offline; it is not mounted now.\n")
        zero.mount()
        know_uuids(nas)
        assert nas.offline() == []
        one.unmount()
        zero.unmount()


@pytest.mark.root
def test_a_failing_drive_that_turned_read_only_can_be_taken_offline(nas, capsys):
    if reason := why_no_mounts():
        pytest.skip(reason)
    with private_mounts():
        drive = LoopDrive(nas.base / "0.img", nas.base / "enclosure0/drive5", 16 << 20)
        subprocess.run(["mount", "-o", "remount,ro", drive.place], check=True)
        assert take_offline(nas.config, "drive5") == 0
        subprocess.run(["mount", "-o", "remount,rw", drive.place], check=True)
        assert nas.offline() == [str(drive.place)]
        drive.unmount()


def uuid_of(drive: LoopDrive) -> str:
    done = subprocess.run(["blkid", "-p", "-s", "UUID", "-o", "value", drive.image], capture_output=True, text=True)
    return done.stdout.strip()


def know_uuids(nas: Nas) -> None:
    """Do what udev does: make the links in by-uuid."""
    links = nas.base / "disk/by-uuid"
    for link in links.iterdir():
        link.unlink()
    for mount in mounts.read_mount_table():
        if mount.mountpoint.startswith(f"{nas.base}/enclosure"):
            done = subprocess.run(
                ["blkid", "-p", "-s", "UUID", "-o", "value", mount.source], capture_output=True, text=True
            )
            (links / done.stdout.strip()).symlink_to(mount.source)
