"""A user mounts something under an odd name, as anybody can with fusermount: every script goes on, and escapes it.

The mounts are real: bindfs (FUSE), and an ext4 in an image that is a plot drive. Nobody else sees them.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import pytest

from plotfarm.base.locks import Lock, file_system_of
from plotfarm.drives.mount_table import read_mount_table, topmost
from testbed.mail_server import MailServer
from testbed.mounts import LoopDrive, private_mounts, why_no_mounts
from testbed.plots import CHECKOUT

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(not os.path.exists("/dev/fuse"), reason="needs FUSE in the kernel (/dev/fuse)"),
    pytest.mark.skipif(shutil.which("bindfs") is None, reason="needs the bindfs program"),
]

ODD = [b"a\vb", b"a\fb", b"a\rb", b"a\x1cb", "a\u0085b".encode(), "a\u2028b".encode(), b"a\xffb", b"a b\nc\\040#d",
       b"\x1b[2Jx", b"-"]  # fmt: skip
ODD_DRIVE = b"drive7\r\xff\x1b[2J\xe2\x80\xa8x"
ESCAPED = "drive7\\r\\xff\\x1b[2J\\u2028x"


@pytest.fixture(scope="module")
def odd(tmp_path_factory):
    """A host with odd mounts and one plot drive of an odd name; yields its configuration and the drive."""
    if trouble := why_no_mounts():
        pytest.skip(trouble)
    base = tmp_path_factory.mktemp("odd")
    for name in ("source", "places", "made", "sent"):
        (base / name).mkdir()
    with private_mounts():
        for name in ODD:
            place = os.path.join(os.fsencode(base), b"places", name)
            os.mkdir(place)
            subprocess.run([b"bindfs", os.fsencode(base / "source"), place], check=True)
        drive = LoopDrive(base / "image", base / "enclosure0" / os.fsdecode(ODD_DRIVE), 32 * 2**20)
        config = base / "config"
        config.write_text(
            f"[paths]\nlogs = {base}/logs\nstate = {base}/state\nlocks = {base}/locks\n"
            f"[drives]\ndevices = /dev/loop*\nmounts = {base}/enclosure*/**/drive*\nminimum_free = 1 MB\n"
            f"[plotter]\nplot_directories = {base}/made\n[nas]\nhosts = nas.invalid\n"
            f"[watch]\nmissing_minutes = 0\nsystem_disk_free = 1\n"
            f"[local_plots]\nplot_directories = {base}/sent\n[chia]\nhome = {base}/chia\nsilent_minutes = 0\n"
        )
        yield config, drive


@pytest.fixture
def odd_host(odd):
    return odd[0]


def run(config, script, *arguments):
    """What a script prints, as cron would start it."""
    environment = {"PATH": "/usr/bin:/bin", "PLOT_MANAGER_CONFIG": str(config)}
    return subprocess.run([CHECKOUT / script, *arguments], capture_output=True, env=environment, check=False)


def test_the_mounts_are_there_with_their_names(odd_host):
    seen = topmost(read_mount_table())
    for name in ODD:
        assert seen[os.fsdecode(os.path.join(os.fsencode(odd_host.parent), b"places", name))].file_system == "fuse"
    assert file_system_of(odd_host) not in ("", "fuse")


@pytest.mark.parametrize(
    "command",
    ["drive_manager.py", "drive_manager.py --explain", "drive_manager.py --status", "drive_manager.py -ct",
     "plot_manager.py", "plot_manager.py --status", "move_local_plots.py", "coin_monitor.py", "kill_nc.sh --dry-run"],
)  # fmt: skip
def test_no_script_is_stopped_and_none_prints_a_raw_name(odd_host, command):
    done = run(odd_host, *command.split())
    assert b"Traceback" not in done.stderr
    assert b"unexpected" not in done.stderr
    assert done.returncode in (0, 1)  # 1: the drive is small, the NAS is none; both in one line
    text = (done.stdout + done.stderr).decode()  # strictly
    assert not [character for character in text if not character.isprintable() and character != "\n"]


@pytest.mark.parametrize("option", ["-pr", "--explain", "-ct", "--status"])
def test_json_of_an_odd_name_is_valid_and_escaped(odd_host, option):
    done = run(odd_host, "drive_manager.py", option, "--json")
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.isascii()
    assert json.loads(done.stdout)


def test_the_drive_with_the_odd_name_is_shown_escaped(odd_host):
    assert ESCAPED in run(odd_host, "drive_manager.py", "--explain").stdout.decode()
    run(odd_host, "drive_manager.py")
    logged = b"".join(path.read_bytes() for path in (odd_host.parent / "logs").iterdir())
    assert ODD_DRIVE not in logged
    assert all(character.isprintable() or character == "\n" for character in logged.decode())


def test_a_mail_about_the_drive_shows_its_name_escaped(odd):
    config, drive = odd
    plain = config.read_text()
    with MailServer() as server:
        config.write_text(
            f"{plain}[notifications]\nalerting = True\nemail = True\n[email]\nsecurity = none\nhost = 127.0.0.1\n"
            f"port = {server.port}\nsender = nas@example.org\nrecipients = farmer@example.org\n"
        )
        run(config, "drive_manager.py")
        drive.unmount(lazily=True)
        run(config, "drive_manager.py")
        deliver = [sys.executable, "-m", "plotfarm.jobs.deliver", "--config", str(config)]
        subprocess.run(deliver, cwd=CHECKOUT, check=True)
        # Whichever process sends it: the one that the script has started, or this one.
        Lock(config.parent / "locks" / "outbox.lock").acquire(wait=True)
        texts = "".join(mail.part("plain") + mail.mail["Subject"] for mail in server.received)
    config.write_text(plain)
    drive.mount()
    assert ESCAPED in texts
    assert not [character for character in texts if not character.isprintable() and character != "\n"]
