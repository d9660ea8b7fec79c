"""Real file systems in a private mount namespace: found, passed over, unmounted under an open directory."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from testbed.mounts import why_no_mounts

pytestmark = pytest.mark.root
CHECKOUT = Path(__file__).parents[2]

# Every part starts with /.../enclosure0/front/drive2 (ext4) and .../rear/drive10 (ext4), mounted from images.
PREPARE = """
import os, subprocess, sys
from pathlib import Path
from plotfarm.base.config.sections import Drives
from plotfarm.drives.model import DriveUnusable
from plotfarm.drives.mounts import find_drives, survey
from plotfarm.drives.opening import is_still_mounted, open_mounted
from plotfarm.drives.probe import probe
from plotfarm.drives.reasons import Reason, Why

base = Path(sys.argv[1])
def run(*argv): subprocess.run([str(part) for part in argv], check=True, stdout=subprocess.DEVNULL)
def make(where, kind="ext4", size=16 * 2**20, *options):
    image = base / (where.replace("/", "-") + ".img")
    with image.open("wb") as file: file.truncate(size)
    run(f"mkfs.{kind}", "-q", image)
    place = base / "enclosure0" / where
    place.mkdir(parents=True)
    run("mount", "-o", ",".join(["loop", *options]), image, place)
    return place
settings = Drives(devices=("/dev/loop*",), mounts=(str(base / "enclosure*/**/drive*"),))
def reasons(**more): return {v.drive.mountpoint: str(v.why) for v in survey(settings, **more).passed_over}
def places(): return [Path(drive.mountpoint) for drive in find_drives(settings)]
ten = make("rear/drive10")
two = make("front/drive2")
"""

PARTS = {
    "found in natural order and asked": """
assert places() == [two, ten], places()
readings = probe(find_drives(settings), [], 20, base / "locks")
assert [r.problem for r in readings] == [None, None], readings
assert all(r.total_bytes < 17 * 2**20 for r in readings)
""",
    "an XFS drive": """
xfs = make("drive3", "xfs", 320 * 2**20)
assert places() == [two, xfs, ten]
os.close(open_mounted(find_drives(settings)[1]))
""",
    "devices and mounts must both fit": """
from dataclasses import replace
assert find_drives(replace(settings, devices=("/dev/sd*",))) == []
assert find_drives(replace(settings, mounts=("/mnt/other*",))) == []
""",
    "a directory of the system disk, mounted so that it looks like a drive": """
system = base / "enclosure0/drive1"
system.mkdir(); (base / "elsewhere").mkdir()
run("mount", "--bind", base / "elsewhere", system)
found = subprocess.run(["findmnt", "-no", "SOURCE", "-T", str(base)], capture_output=True, text=True)
source = found.stdout.split("[")[0].strip()
from dataclasses import replace
settings = replace(settings, devices=("/dev/loop*", source))
assert places() == [two, ten], places()
assert reasons()[str(system)] in ("on the system disk", "on the disk that holds this program"), reasons()
""",
    "one drive mounted twice": """
again = base / "enclosure0/drive1"
again.mkdir()
run("mount", "--bind", ten, again)
assert places() == [again, two]
assert reasons() == {str(ten): f"the same file system as {again}"}
""",
    "a drive that is mounted read-only": """
run("mount", "-o", "remount,ro", two)
assert places() == [two, ten], places()
assert reasons() == {}
readings = probe(find_drives(settings), [], 20, base / "locks")
assert [r.problem for r in readings] == [Why(Reason.READ_ONLY), None], readings
assert readings[0].total_bytes > 0
""",
    "a drive that fstab mounts read-only": """
table = base / "fstab"
table.write_text(f"/dev/loop99 {two} ext4 noatime,ro 0 0\\n")
run("mount", "--bind", table, "/etc/fstab")
assert [r.problem for r in probe(find_drives(settings), [], 20, base / "locks")] == [None, None]
run("mount", "-o", "remount,ro", two)
readings = probe(find_drives(settings), [], 20, base / "locks")
assert [r.problem for r in readings] == [Why(Reason.MEANT_READ_ONLY), None], readings
""",
    "something else mounted over a drive": """
drive = find_drives(settings)[0]
run("mount", "-t", "tmpfs", "tmpfs", two)
assert places() == [ten]
try: open_mounted(drive)
except DriveUnusable as error: assert error.why == Why(Reason.WRONG_DRIVE), error
else: raise AssertionError("opened")
""",
    "a known drive, one of fstab and the configured one that are not mounted": """
gone = find_drives(settings)[0]
run("umount", two)
assert places() == [ten]
assert reasons() == {}
assert reasons(current=str(two)) == {str(two): "not mounted"}
assert reasons(known={gone.identity: (gone.mountpoint, gone.device)}) == {str(two): "not mounted"}
table = base / "fstab"
table.write_text(f"UUID=abc {base}/enclosure0/drive7 xfs nofail 0 0\\nUUID=def /home ext4 defaults 0 0\\n")
run("mount", "--bind", table, "/etc/fstab")
assert reasons() == {f"{base}/enclosure0/drive7": "not mounted"}
for tried in (lambda: open_mounted(gone), lambda: probe([gone], [], 20, base / "locks")[0].problem):
    try: problem = tried()
    except DriveUnusable as error: problem = error.why
    assert problem == Why(Reason.NOT_MOUNTED), problem
""",
    "another drive at the same place": """
before = find_drives(settings)[0]
run("umount", two)
run("mount", "--bind", ten, two)
try: open_mounted(before)
except DriveUnusable as error: assert error.why == Why(Reason.WRONG_DRIVE), error
else: raise AssertionError("opened")
""",
    "taken away during a transfer with umount -l": """
drive = find_drives(settings)[0]
directory = open_mounted(drive)
assert is_still_mounted(drive, directory)
run("umount", "-l", two)
file = os.open("a.plot.part", os.O_CREAT | os.O_WRONLY, dir_fd=directory)  # still works: that is the trap
assert not is_still_mounted(drive, directory)
assert os.listdir(two) == []
""",
    "a blank in the mountpoint": """
blank = make("a b/drive 3")
assert set(places()) == {two, blank, ten}, places()
os.close(open_mounted(next(d for d in find_drives(settings) if d.mountpoint == str(blank))))
""",
}


def why_not() -> str:
    if os.geteuid() != 0:
        return "needs root to mount file systems"
    if not all(map(shutil.which, ("unshare", "mkfs.ext4", "mkfs.xfs", "findmnt"))):
        return "needs unshare, findmnt, mkfs.ext4 and mkfs.xfs"
    return why_no_mounts() or ""


@pytest.mark.parametrize("part", PARTS)
def test_mounts(part, tmp_path):
    if why_not():
        pytest.skip(why_not())
    script = PREPARE + PARTS[part] + "\nprint('proved')\n"
    done = subprocess.run(
        ["unshare", "--mount", "--propagation", "private", sys.executable, "-c", script, tmp_path],
        capture_output=True, text=True, timeout=100, cwd=CHECKOUT, check=False,
    )  # fmt: skip
    if "failed to setup loop device" in done.stderr:
        pytest.skip(f"no loop device to be had: {done.stderr.strip().splitlines()[0]}")
    assert done.stdout == "proved\n", done.stderr
