"""The order that protects a plot from power cuts, as the kernel saw it."""

from __future__ import annotations

import itertools
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from farm_help import audit, logs, names_and_digests

from testbed.farm import Farm
from testbed.plots import CHECKOUT

CALLS = (
    "fsync,fdatasync,lseek,openat,pread64,preadv,preadv2,rename,renameat,renameat2,link,linkat,unlink,unlinkat,"
    "utimensat,write,sendto,sendmsg"
)
ROUNDING = 5e-6
LINE = re.compile(r"(?P<pid>\d+) +(?P<time>\d+\.\d+) (?P<text>.*)")
DURATION = re.compile(r"<(\d+\.\d+)>$")


@dataclass(frozen=True)
class Call:
    """A system call: when it began and when it had returned (Unix time), and its text."""

    began: float
    returned: float
    text: str


def strace(log: Path) -> list[str]:
    """Return the words that trace a command, or skip the test if this machine does not allow that."""
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    trial = subprocess.run(["strace", "-o", "/dev/null", "true"], capture_output=True, text=True, check=False)
    if trial.returncode:
        pytest.skip(f"strace cannot trace here: {trial.stderr.strip()}")
    return ["strace", "-f", "-ttt", "-T", "-y", "-s", "400", "-e", f"trace={CALLS}", "-o", str(log)]


def read(log: Path) -> list[Call]:
    """Return the calls that succeeded, with those that strace shows in two lines put together."""
    calls, unfinished = [], {}
    for line in log.read_text(errors="replace").splitlines():
        match = LINE.fullmatch(line)
        if match is None:
            continue
        pid, time, text = match["pid"], float(match["time"]), match["text"]
        began = time
        if text.endswith("<unfinished ...>"):
            unfinished[pid] = (time, text.removesuffix("<unfinished ...>"))
            continue
        if " resumed>" in text and pid in unfinished:
            began, beginning = unfinished.pop(pid)
            text = beginning.rstrip() + text.partition(" resumed>")[2]
        duration = DURATION.search(text)
        if duration and not re.search(r"= -1 E", text):
            calls.append(Call(began, began + float(duration[1]), text))
    return calls


def first(calls: list[Call], pattern: str) -> Call:
    found = [call for call in calls if re.search(pattern, call.text)]
    assert found, f"no {pattern} in\n" + "\n".join(call.text[:300] for call in calls if "<pipe:" not in call.text)
    return min(found, key=lambda call: call.began)


@pytest.mark.parametrize("verify", ["wire", "sample", "readback"])
def test_the_steps_that_protect_a_plot(
    farm: Farm, put_v1: Callable[[Path, str], Path], tmp_path: Path, verify: str
) -> None:
    there = tmp_path / "nas.trace"
    here = tmp_path / "plotter.trace"
    script = farm.root / "receive_plot.sh"
    script.write_text(script.read_text().replace("exec ", f"exec {' '.join(strace(there))} "))
    farm.nas.change({"transfer.verify": verify})
    plot = put_v1(farm.plots, "ordered")
    manifest = names_and_digests(farm)
    run = subprocess.run(
        [*strace(here), CHECKOUT / "plot_manager.py", "--config", farm.plotter.config],
        env=farm.cron_environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert run.returncode == 0, run.stderr + logs(farm)

    steps = in_order(read(there), read(here), plot, farm.drives[0], verify)
    for before, after in itertools.pairwise(steps):
        assert before.began < after.began, f"{after.text}\ncame before\n{before.text}"
        if not before.text.startswith("write"):  # its reader may be faster than its return
            assert before.returned <= after.began + ROUNDING, f"{after.text}\nbegan before the end of\n{before.text}"
    audit(farm, manifest)


def in_order(nas: list[Call], plotter: list[Call], plot: Path, drive: Path, verify: str) -> list[Call]:
    """Return the calls that matter, in the order in which they have to be."""
    name = re.escape(plot.name)
    part = rf"\d+<{re.escape(str(drive))}/{name}\.[0-9a-f]{{16}}\.part>"
    directory = rf"\d+<{re.escape(str(drive))}>"
    plots = re.escape(str(plot.parent))

    steps = [
        first(plotter, r'write\(.*"type\\": \\"sent\\"'),
        first(nas, r'write\(1<.*"type\\": \\"arrived\\"'),
        first(plotter, r'write\(.*"type\\": \\"commit\\"'),
    ]
    synced = first(nas, rf"fsync\({part}\)")
    hole = first(nas, rf"lseek\({part}, 0, SEEK_HOLE\) = {drive.joinpath(plot.name).stat().st_size}")
    steps += [synced, hole]
    if verify != "wire":
        # Read past every cache, through another description of the same file.
        again = first(after(hole, nas), rf"openat\(.*O_DIRECT.*\) = {part}")
        steps += [again, first(after(again, nas), rf"pread\w*\({part}")]
    linked = first(nas, rf'linkat\(AT_FDCWD<.*>, "/proc/self/fd/\d+", {directory}, "{name}", AT_SYMLINK_FOLLOW\)')
    unlinked = first(nas, rf'unlinkat\({directory}, "{name}\.[0-9a-f]{{16}}\.part", 0\)')
    steps += [linked, unlinked, first(after(unlinked, nas), rf"fsync\({directory}\)")]
    assert len([call for call in nas if re.search(rf'(rename|link)\w*\(.*"{name}"', call.text)]) == 1

    steps.append(first(nas, r'write\(1<.*"type\\": \\"stored\\"'))
    looked = first(nas, r'write\(1<.*"type\\": \\"rechecked\\"')
    marked = first(plotter, rf"utimensat\(.*{name}")
    steps += [looked, marked, first(after(marked, nas), r'write\(1<.*"type\\": \\"rechecked\\"')]
    removed = first(plotter, rf'unlinkat\(\d+<{plots}>, "{name}"')
    return [*steps, removed, first(after(removed, plotter), rf"fsync\(\d+<{plots}>\)")]


def after(call: Call, calls: list[Call]) -> list[Call]:
    """Return the calls that began later than this one."""
    return [each for each in calls if each.began > call.began]
