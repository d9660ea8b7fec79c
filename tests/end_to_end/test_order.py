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

CALLS = "fsync,fdatasync,rename,renameat,renameat2,link,linkat,unlink,unlinkat,write"
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


@pytest.mark.parametrize("verify", ["wire", "readback"])
def test_sync_rename_sync_stored_unlink_sync(
    farm: Farm, put_v1: Callable[[Path, str], Path], tmp_path: Path, verify: str
) -> None:
    there, here = tmp_path / "nas.trace", tmp_path / "plotter.trace"
    script = farm.root / "receive_plot.sh"
    script.write_text(script.read_text().replace("exec ", f"exec {' '.join(strace(there))} "))
    farm.nas.change({"transfer.verify": verify})
    plot = put_v1(farm.plots, "ordered")
    manifest = names_and_digests(farm)
    run = subprocess.run(
        [*strace(here), CHECKOUT / "plot_manager.py", "--config", farm.plotter.config],
        env=farm.cron_environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr + logs(farm)
    nas, plotter = read(there), read(here)
    name, drive = re.escape(plot.name), re.escape(str(farm.drives[0]))
    steps = [
        first(plotter, r'write\(.*"type\\": \\"sent\\"'),
        first(nas, rf"fsync\(\d+<{drive}/{name}\.part>\)"),
        first(nas, rf'renameat2\(\d+<{drive}>, "{name}\.part", \d+<{drive}>, "{name}", RENAME_NOREPLACE\)'),
        first(nas, rf"fsync\(\d+<{drive}>\)"),
        first(nas, r'write\(1<.*"type\\": \\"stored\\"'),
        first(plotter, rf'unlinkat\(\d+<{re.escape(str(farm.plots))}>, "{name}"'),
        first(plotter, rf"fsync\(\d+<{re.escape(str(farm.plots))}>\)"),
    ]
    for before, after in itertools.pairwise(steps):
        assert before.began < after.began, f"{after.text}\ncame before\n{before.text}"
        if not before.text.startswith("write"):  # its reader may be faster than its return
            assert before.returned <= after.began + ROUNDING, f"{after.text}\nbegan before the end of\n{before.text}"
    renames = [call for call in nas if re.search(rf'(rename|link)\w*\(.*"{name}"', call.text)]
    assert len(renames) == 1
    audit(farm, manifest)
