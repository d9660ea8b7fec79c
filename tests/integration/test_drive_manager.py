"""drive_manager.py as cron starts it, on directories that are declared to be drives."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from plotfarm.base.locks import Lock
from plotfarm.base.state import Room, State, Transfer, TransferOutcome
from plotfarm.drives.model import MARKER, Drive
from plotfarm.drives.offlined import FILE_NAME
from plotfarm.drives.reservations import Reservations

CHECKOUT = Path(__file__).parents[2]
PLOT_BYTES = 1_000_000


class Farm:
    """A NAS in a temporary directory with drive1, drive2 and drive10."""

    def __init__(self, base: Path) -> None:
        self.base, self.locks, self.state = base, base / "locks", base / "state"
        self.drives = [base / f"drive{number}" for number in (1, 2, 10)]
        for drive in self.drives:
            drive.mkdir()
            (drive / MARKER).touch()
        self.config = base / "config"
        self.write("")
        state = State(self.state)
        state.record_transfer(
            Transfer(time.time(), "a.plot", "plot", "/s", "/t", "rig", PLOT_BYTES, 1.0, "", "", TransferOutcome.STORED)
        )
        state.close()

    def write(self, current: str, more: str = "") -> None:
        declared = ", ".join(str(drive) for drive in reversed(self.drives))
        self.config.write_text(
            f"[plotting_drives]\n# the drive of the day\ncurrent_plotting_drive = {current}\n"
            f"[system_logging]\nlogging = True\nlog_level = DEBUG\n"
            f"[paths]\nlogs = {self.base}/logs\nstate = {self.state}\nlocks = {self.locks}\n"
            f"[drives]\ndirectories = {declared}\nmounts = {self.base}/enclosure*/**/drive*\n"
            f"minimum_free = 1 MB\n{more}\n"
        )

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, CHECKOUT / "drive_manager.py", *arguments, "--config", self.config],
            capture_output=True, text=True, timeout=60, cwd="/", check=False,
        )  # fmt: skip

    def log(self) -> str:
        return (self.base / "logs" / "drive_manager.log").read_text()

    def current(self) -> str:
        lines = self.config.read_text().splitlines()
        return next(line for line in lines if line.startswith("current_plotting_drive")).partition("= ")[2]

    def drive(self, index: int) -> Drive:
        place = str(self.drives[index])
        return Drive(place, "", f"directory:{place}", 0, "", directory_mode=True)


@pytest.fixture
def farm(tmp_path):
    return Farm(tmp_path)


def test_the_lowest_drive_is_chosen_written_back_and_kept(farm):
    first = farm.run()
    assert (first.returncode, first.stdout, first.stderr) == (0, "", "")
    assert farm.current() == str(farm.drives[0])
    assert "# the drive of the day" in farm.config.read_text()
    assert f"Plot Drive Updated: Was: (none),  Now: {farm.drives[0]}" in farm.log()
    written = farm.config.stat()
    assert farm.run().returncode == 0
    log = farm.log()
    assert f"Currently Configured Plot Drive: {farm.drives[0]}\n" in log
    assert f"System Selected Plot Drive:      {farm.drives[0]}\n" in log
    assert "Configured and Selected Drives Match!" in log
    assert "Plots left available on configured plotting drive: " in log
    assert farm.config.stat().st_ino == written.st_ino, "nothing to change, nothing written"


def test_an_offlined_drive_and_one_without_its_marker_are_passed_over(farm):
    farm.write(str(farm.drives[0]))
    (farm.state / FILE_NAME).write_text("drive1\n")
    (farm.drives[1] / MARKER).unlink()
    assert farm.run().returncode == 0
    assert farm.current() == str(farm.drives[2])
    facts = json.loads(farm.run("--explain", "--json").stdout)["data"]
    assert facts["arriving_plot_bytes"] == PLOT_BYTES
    assert {one["name"]: one["why"] for one in facts["drives"]} == {
        "drive1": "offlined",
        "drive2": f"not a drive: the marker file {MARKER} is not there",
        "drive10": f"taken: the lowest drive with room ({facts['drives'][2]['room_plots']} plots)",
    }


def test_explain_names_limits_that_are_too_low(farm):
    assert "Limit: " not in farm.run("--explain").stdout
    farm.config.write_text(farm.config.read_text() + "\n[transfer]\nports = 4040-4041\n")
    state = State(farm.state)
    instances = int(Path("/proc/sys/fs/inotify/max_user_instances").read_text())
    for plotter in range(instances // 16 + 1):
        state.record_room(Room(f"plotter{plotter}", "/plots", time.time(), 1, 0, None))
    state.close()
    said = [line for line in farm.run("--explain").stdout.splitlines() if line.startswith("Limit: ")]
    assert "2 plots arrive at once at most, although 3 could" in said[0]
    assert f"fs.inotify.max_user_instances is {instances}" in said[1]


def test_explain_changes_nothing(farm):
    before = farm.config.read_text()
    done = farm.run("--explain")
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines[:4]] == ["DRIVE", "=>", "drive2", "drive10"]
    assert f"The configured plot drive is (none); the next run of drive_manager.py makes it {farm.drives[0]}." in lines
    assert "\033" not in done.stdout
    assert farm.config.read_text() == before


def test_the_drive_stays_while_a_plot_arrives(farm):
    farm.write(str(farm.drives[2]))
    reservations = Reservations(farm.locks)
    lock = reservations.take(farm.drive(2), plot="b.plot", bytes=PLOT_BYTES, plotter="rig")
    assert farm.run().returncode == 0
    assert farm.current() == str(farm.drives[2])
    assert f"A plot is arriving on {farm.drives[2]}: the plot drive stays" in farm.log()
    lock.release()
    assert farm.run().returncode == 0
    assert farm.current() == str(farm.drives[0])


def test_no_drive_at_all_is_a_clear_error(farm):
    farm.write(str(farm.drives[0]), "")
    for drive in farm.drives[:2]:
        (drive / MARKER).unlink()
    (farm.state / FILE_NAME).write_text(f"{farm.drives[2]}\n")
    done = farm.run()
    assert done.returncode == 1
    assert "no drive can take a plot (2 not a drive, 1 offlined)" in done.stderr
    assert "ERROR no drive can take a plot" in farm.log()
    assert farm.current() == str(farm.drives[0]), "the configuration is left alone"
    assert farm.run("--explain").returncode == 0


def test_a_configured_or_known_drive_that_is_gone_is_listed_and_never_chosen(farm):
    gone, known = f"{farm.base}/enclosure0/drive5", f"{farm.base}/enclosure0/drive6"
    os.makedirs(gone)  # the empty directory under the mountpoint
    state = State(farm.state)
    state.know_drives({"uuid:6": (known, "/dev/sdx1")})
    state.close()
    farm.write(gone)
    facts = json.loads(farm.run("--explain", "--json").stdout)["data"]
    listed = {one["mountpoint"]: (one["why"], one["usable"]) for one in facts["drives"]}
    assert [one["name"] for one in facts["drives"]] == ["drive1", "drive2", "drive5", "drive6", "drive10"]
    assert {place: listed[place] for place in (gone, known)} == {
        gone: ("not mounted", False),
        known: ("not mounted", False),
    }
    assert farm.run().returncode == 0
    assert farm.current() == str(farm.drives[0])
    assert f"Plot Drive Updated: Was: {gone},  Now: {farm.drives[0]}" in farm.log()


def test_a_second_one_at_the_same_time_goes_away(farm):
    with Lock(farm.locks / "drive_manager.lock"):
        done = farm.run()
    assert (done.returncode, done.stderr) == (0, "")
    assert "drive_manager is running already" in farm.log()
    assert farm.current() == ""


def test_it_warns_when_the_plot_directory_of_the_plotter_fills_up(farm):
    now = time.time()
    state = State(farm.state)
    state.record_room(Room("rig1", "/mnt/ssdraid/array0", now - 60, 10**12, 0, 2.0))
    state.record_room(Room("rig1", "/mnt/ssdraid/array0", now, 120 * 2**30, 0, 3.5))
    state.record_room(Room("rig2", "/mnt/ssdraid/array0", now, 10**12, 0, None))
    state.record_room(Room("rig3", "/mnt/ssdraid/array0", now, 10**12, 0, 500.0))
    state.close()
    assert farm.run().returncode == 0
    warnings = [line for line in farm.log().splitlines() if "WARNING" in line]
    assert len(warnings) == 1
    assert warnings[0].endswith(
        "The plot directory /mnt/ssdraid/array0 on rig1 is full in about 3 h 30 min: 120.0 GiB are left"
    )


def test_a_broken_configuration_does_not_hide_the_help(farm):
    farm.config.write_text("[drives]\npolicy = pile\n")
    assert farm.run().returncode == 2
    for option in ("-h", "--help"):
        done = farm.run(option)
        assert done.returncode == 0
        assert "'normal' mode" in done.stdout
    assert farm.run("-v").stdout.startswith("drive_manager.py ")
    assert farm.run("--json").returncode == 2
