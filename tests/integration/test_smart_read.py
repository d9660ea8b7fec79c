"""Reading SMART data through an executable that stands for smartctl: real processes, locks and threads."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from plotfarm.base.config.sections import Smart
from plotfarm.base.locks import Lock, holder
from plotfarm.base.processes import find_program
from plotfarm.drives.model import lock_name
from plotfarm.drives.smart.read import read_health
from testbed import smart_samples as samples
from testbed.fake_smartctl import FakeSmartctl
from testbed.mounts import LoopDrive, private_mounts, why_no_mounts
from tests.integration.real_drives import threads_now, wait_for_threads

CHECKOUT = Path(__file__).parents[2]
NOW = 1_700_000_000.0
NO_MOUNTS = why_no_mounts()


class Host:
    """A host with a smartctl of its own."""

    def __init__(self, base, delay_seconds=0.0):
        self.base, self.locks = base, base / "locks"
        self.smartctl = FakeSmartctl(base / "bin", delay_seconds)

    def settings(self, **changes):
        return Smart(**{"smartctl": (str(self.smartctl.program),), "timeout_seconds": 30.0, **changes})

    def read(self, *disks, **changes):
        return read_health(disks, self.settings(**changes), NOW, self.locks)

    def lock(self, disk):
        return self.locks / lock_name("smart", disk)


@pytest.fixture
def host(tmp_path):
    return Host(tmp_path)


def test_each_disk_is_asked_once_whatever_it_is(host):
    host.smartctl.says("/dev/sda", samples.sata())
    host.smartctl.says("/dev/sdb", samples.sas())
    host.smartctl.says("/dev/nvme0n1", samples.nvme())
    said = host.read("/dev/sda", "/dev/sdb", "/dev/nvme0n1")
    assert {disk: (health.disk, health.celsius, health.time) for disk, health in said.items()} == {
        "/dev/sda": ("/dev/sda", 34, NOW),
        "/dev/sdb": ("/dev/sdb", 41, NOW),
        "/dev/nvme0n1": ("/dev/nvme0n1", 47, NOW),
    }
    assert sorted(host.smartctl.calls()) == [
        "-n standby --json=o --all /dev/nvme0n1",
        "-n standby --json=o --all /dev/sda",
        "-n standby --json=o --all /dev/sdb",
    ]


def test_nothing_is_started_for_no_disks(host):
    assert host.read() == {}
    assert host.smartctl.calls() == []


def test_every_disk_that_says_nothing_costs_its_own_row(host):
    fake = host.smartctl
    fake.says("/dev/good", samples.sata())
    fake.says("/dev/hot", samples.sata(celsius="62 (Min/Max 20/63)"))
    fake.says("/dev/failing", samples.sata(passed=False), 8)
    fake.says("/dev/virtual-volume", samples.volume(), 4)
    fake.says("/dev/garbage", bytes(range(1, 256)) * 200, 0)
    fake.says("/dev/mute", "", 0)
    fake.says("/dev/huge", samples.sata() + "x" * 1_000_000, 0)
    fake.refuses("/dev/locked")
    fake.is_virtual("/dev/vda")
    fake.needs_type("/dev/usb", "sat", samples.sata())
    fake.talks_for_ever("/dev/talker")
    fake.runs("/dev/killed", "kill -SEGV $$\n")
    said = host.read(
        "/dev/good", "/dev/hot", "/dev/failing", "/dev/virtual-volume", "/dev/garbage", "/dev/mute", "/dev/huge",
        "/dev/locked", "/dev/vda", "/dev/usb", "/dev/talker", "/dev/killed", "/dev/gone",
    )  # fmt: skip
    read = {disk: (health.assessment, health.celsius) for disk, health in said.items() if not health.problem}
    assert read == {
        "/dev/good": ("PASS", 34), "/dev/hot": ("PASS", 62), "/dev/failing": ("FAIL", 34), "/dev/huge": ("PASS", 34),
    }  # fmt: skip
    expected = {
        "/dev/virtual-volume": "a volume of a RAID card", "/dev/garbage": "no SMART: ", "/dev/mute": "said nothing",
        "/dev/locked": "no permission", "/dev/vda": "virtual disk", "/dev/usb": "USB bridge",
        "/dev/talker": "went on talking for ever", "/dev/killed": "status -11", "/dev/gone": "there is no /dev/gone",
    }  # fmt: skip
    assert set(said) == set(read) | set(expected)
    for disk, words in expected.items():
        assert words in said[disk].problem
        assert said[disk].problem.isprintable()
        assert said[disk].last_read is None


def test_a_sleeping_disk_is_woken_only_if_the_owner_allows_it(host):
    host.smartctl.sleeps("/dev/sda", samples.sata())
    assert host.read("/dev/sda")["/dev/sda"].asleep
    woken = host.read("/dev/sda", wake_drives=True)["/dev/sda"]
    assert (woken.asleep, woken.celsius) == (False, 34)


def test_a_usb_bridge_is_read_once_its_type_is_configured(host):
    host.smartctl.needs_type("/dev/sdc", "sntjmicron", samples.nvme())
    said = host.read("/dev/sdc", device_types=("/dev/sd[ab] sat", "/dev/sd? sntjmicron"))
    assert (said["/dev/sdc"].problem, said["/dev/sdc"].celsius) == ("", 47)
    assert host.smartctl.calls() == ["-n standby -d sntjmicron --json=o --all /dev/sdc"]


def test_without_smartctl_every_disk_says_so(host):
    said = host.read("/dev/sda", "/dev/sdb", smartctl=(str(host.base / "no-smartctl"),))
    assert [health.problem for health in said.values()] == [
        f"no SMART: {host.base}/no-smartctl of [smart] smartctl is not there or not executable"
    ] * 2


def test_a_smartctl_that_cannot_be_executed_is_a_row_and_no_crash(host):
    broken = host.base / "smartctl"
    broken.write_text("#!/no/such/interpreter\n")
    broken.chmod(0o755)
    said = host.read("/dev/sda", smartctl=(str(broken),))
    assert said["/dev/sda"].problem == f"no SMART: {broken}: No such file or directory"


def test_a_lock_directory_that_cannot_be_made_is_a_row_and_no_crash(host):
    host.locks.write_text("a file")
    assert "locks: File exists" in host.read("/dev/sda")["/dev/sda"].problem


def test_sudo_is_started_with_the_configured_words(host):
    sudo = host.base / "sudo"
    sudo.write_text('#!/bin/sh\n[ "$1" = -n ] || exit 9\nshift\nexec "$@"\n')
    sudo.chmod(0o755)
    host.smartctl.says("/dev/sda", samples.sata())
    said = host.read("/dev/sda", smartctl=(str(sudo), "-n", str(host.smartctl.program)))
    assert said["/dev/sda"].celsius == 34


def test_many_disks_are_read_side_by_side(tmp_path):
    host = Host(tmp_path, delay_seconds=0.2)
    host.smartctl.otherwise(samples.sata())
    disks = [f"/dev/fake{number}" for number in range(100)]
    begun = time.monotonic()
    said = host.read(*disks)
    assert time.monotonic() - begun < 10  # one after the other they take 20 seconds
    assert {health.celsius for health in said.values()} == {34}
    assert set(said) == set(disks)
    assert len(host.smartctl.calls()) == 100
    assert host.smartctl.most_at_once() >= 16


def test_many_disks_that_need_pysmart_are_read_side_by_side(host):
    host.smartctl.otherwise(samples.sas(is_old=True))
    said = host.read(*(f"/dev/fake{number}" for number in range(64)))
    assert {(health.problem, health.start_stop_count, health.celsius) for health in said.values()} == {("", 71, 41)}


# ---- Disks that hang ----


def ended(pid_file):
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        os.kill(int(pid_file.read_text()), 0)
        return False
    return True


@pytest.mark.parametrize("stubbornly", [False, True])
def test_a_hanging_smartctl_is_ended_and_leaves_no_lock(host, stubbornly):
    pid_file = host.base / "pid"
    trap = "trap '' TERM; " if stubbornly else ""
    host.smartctl.runs("/dev/sda", f"{trap}echo $$ > {pid_file}; exec sleep 300\n")
    host.smartctl.says("/dev/sdb", samples.sata())
    said = host.read("/dev/sda", "/dev/sdb", timeout_seconds=0.4)
    assert said["/dev/sda"].problem.startswith("no SMART: no answer within 0.4 seconds: the drive may be dying")
    assert said["/dev/sdb"].celsius == 34
    assert pid_file.exists()
    assert ended(pid_file)
    assert holder(host.lock("/dev/sda")) is None
    host.smartctl.says("/dev/sda", samples.sata())
    assert host.read("/dev/sda")["/dev/sda"].celsius == 34  # it is asked again as soon as it answers


def test_disks_that_hang_do_not_keep_the_others_waiting(host):
    host.smartctl.otherwise(samples.sata())
    hanging = [f"/dev/a{number}" for number in range(40)]
    for disk in hanging:
        host.smartctl.hangs(disk)
    good = [f"/dev/b{number}" for number in range(10)]
    said = host.read(*hanging, *good, timeout_seconds=2.0)
    assert {said[disk].celsius for disk in good} == {34}
    assert all("no answer within 2 seconds" in said[disk].problem for disk in hanging)
    calls = host.smartctl.calls()
    assert len(calls) == 50
    assert host.smartctl.most_at_once() > 40  # the good ones were asked while all others hung


def left_behind(host):
    """A smartctl that nothing ends: only its copy of the lock shows that it is there."""
    host.smartctl.says("/dev/sda", samples.sata())
    host.locks.mkdir()
    lock = Lock(host.lock("/dev/sda"))
    lock.acquire(left_behind=True)
    return lock


def test_a_disk_that_an_earlier_smartctl_hangs_on_is_not_asked_again(host):
    lock = left_behind(host)
    said = host.read("/dev/sda", "/dev/gone")
    assert said["/dev/sda"].problem.startswith("no SMART: an earlier smartctl still hangs there")
    assert host.smartctl.calls() == ["-n standby --json=o --all /dev/gone"]
    lock.release()
    assert host.read("/dev/sda")["/dev/sda"].celsius == 34


def test_what_ends_only_its_parent_is_left_behind_once(host):
    # As sudo does it when it is killed: its smartctl goes on, with the standard input that it got.
    leave = f"exec 3<&0; sleep 300 <&3 3<&- >&- 2>&- & echo $! > {host.base}/pid; exec sleep 300\n"
    host.smartctl.runs("/dev/sda", leave)
    try:
        assert "no answer within" in host.read("/dev/sda", timeout_seconds=0.4)["/dev/sda"].problem
        assert not ended(host.base / "pid")
        for _ in range(3):
            assert "an earlier smartctl still hangs" in host.read("/dev/sda")["/dev/sda"].problem
        assert len(host.smartctl.calls()) == 1
    finally:
        os.kill(int((host.base / "pid").read_text()), 9)


@pytest.mark.root
def test_a_smartctl_that_cannot_be_killed_is_left_and_not_joined_by_another(host):
    if NO_MOUNTS:
        pytest.skip(NO_MOUNTS)
    before = threads_now()
    with private_mounts():
        drive = LoopDrive(host.base / "image", host.base / "frozen", 4 * 2**20)
        host.smartctl.runs("/dev/sda", f": > {drive.place}/hangs\n")
        host.smartctl.says("/dev/sdb", samples.sata())
        drive.freeze()
        try:
            begun = time.monotonic()
            said = host.read("/dev/sda", "/dev/sdb", timeout_seconds=0.4)
            assert time.monotonic() - begun < 10
            assert "no answer within 0.4 seconds" in said["/dev/sda"].problem
            assert said["/dev/sdb"].celsius == 34
            assert "an earlier smartctl still hangs" in host.read("/dev/sda")["/dev/sda"].problem
            assert len([call for call in host.smartctl.calls() if call.endswith("sda")]) == 1
        finally:
            drive.thaw()
        lock = Lock(host.lock("/dev/sda"))
        lock.acquire(wait=True)  # until it has ended, as soon as it can
        lock.release()
        host.smartctl.says("/dev/sda", samples.sata())
        assert host.read("/dev/sda")["/dev/sda"].celsius == 34
        wait_for_threads(before)


# ---- Two at once ----


def test_two_readers_ask_a_disk_one_after_the_other_and_both_are_told(tmp_path):
    host = Host(tmp_path, delay_seconds=0.2)
    host.smartctl.says("/dev/sda", samples.sata())
    said = []
    threads = [threading.Thread(target=lambda: said.append(host.read("/dev/sda")["/dev/sda"])) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [health.celsius for health in said] == [34, 34]
    assert len(host.smartctl.calls()) == 2
    assert host.smartctl.most_at_once() == 1


READER = """
import sys
from pathlib import Path
from plotfarm.base.config.sections import Smart
from plotfarm.drives.smart.read import read_health
settings = Smart(smartctl=(sys.argv[1],), timeout_seconds=0.2)
print(read_health(["/dev/sda"], settings, 0.0, Path(sys.argv[2]))["/dev/sda"].problem)
"""


def test_a_reader_that_waits_for_another_one_gives_up_and_ends(host):
    host.locks.mkdir()
    with Lock(host.lock("/dev/sda")):
        done = subprocess.run(
            [sys.executable, "-c", READER, host.smartctl.program, host.locks],
            capture_output=True, text=True, timeout=30, cwd=CHECKOUT, check=False,
        )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("no SMART: another process has been asking it for ")
    assert host.smartctl.calls() == []


def test_nothing_heavy_is_imported_before_something_is_read():
    code = (
        "import sys, plotfarm.drives.smart.read, plotfarm.drives.smart.records, plotfarm.drives.conditions\n"
        "print(sorted({'pySMART', 'chardet', 'psutil', 'natsort'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=CHECKOUT, check=True)
    assert done.stdout == "[]\n"


# ---- The real program ----


def test_the_real_smartctl_has_something_to_say_about_the_disk_below_this_checkout(tmp_path):
    if find_program("smartctl") is None:
        pytest.skip("smartctl is not installed (apt-get install smartmontools)")
    from plotfarm.drives.model import Drive
    from plotfarm.drives.smart.disks import disk_of

    disk = disk_of(Drive("/", "", "", os.stat(CHECKOUT).st_dev, ""))
    if not disk:
        pytest.skip("there is no single disk below this checkout")
    said = read_health([disk], Smart(), NOW, tmp_path / "locks")[disk]
    assert said.disk == disk
    assert said.problem.startswith("no SMART: ") or said.asleep or said.assessment or said.celsius
