"""A plot of more than 4 GiB, and what a person at a terminal sees on the way."""

from __future__ import annotations

import os
import pty
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from farm_help import audit, big_plot, logs, names_and_digests

from plotfarm.base.state import State
from testbed.farm import Farm
from testbed.plots import CHECKOUT

MEMORY = Path("/dev/shm")
SIZE = 4 * 2**30 + 300 * 2**20
ROOM = 8 * 2**30


@pytest.fixture
def farm_in_memory() -> Iterator[Farm]:
    """A farm whose drives are in memory: 4 GiB of real zeros would take a disk minutes."""
    free = min(shutil.disk_usage(MEMORY).free, psutil.virtual_memory().available) if MEMORY.is_dir() else 0
    if free < ROOM:
        pytest.skip(f"{MEMORY} has {free / 2**30:.1f} GiB of free memory, this takes 8")
    with (
        tempfile.TemporaryDirectory(prefix="end-to-end-", dir=MEMORY, ignore_cleanup_errors=True) as root,
        Farm(Path(root) / "farm", nas_settings={"transfer.verify": "readback"}) as farm,
    ):
        yield farm


@pytest.mark.timeout(300)
def test_a_plot_of_more_than_four_gib(farm_in_memory: Farm) -> None:
    farm = farm_in_memory
    farm.plotter.change({"plotter.keep_source": True})
    plot = big_plot(farm.plots, "large", SIZE)
    with open(plot, "r+b") as file:  # something other than zeros beyond 4 GiB, and at the very end
        for place in (4 * 2**30 - 3, SIZE - 5):
            file.seek(place)
            file.write(b"hello")
    run = farm.plot_manager(timeout=240)
    assert (run.returncode, run.stderr) == (0, ""), logs(farm)
    stored = farm.drives[0] / plot.name
    assert stored.stat().st_size == SIZE
    assert subprocess.run(["cmp", plot, stored], check=False).returncode == 0
    (transfer,) = State(farm.nas.state).transfers()
    assert transfer.bytes == SIZE
    assert len(transfer.segments.split()) == 5
    assert farm.parts() == []


def test_a_progress_bar_at_a_terminal(farm: Farm, put_v1: Callable[[Path, str], Path]) -> None:
    plot = big_plot(farm.plots, "watched")
    manifest = names_and_digests(farm)
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [CHECKOUT / "plot_manager.py", "--config", farm.plotter.config],
        env=farm.cron_environment({"TERM": "xterm", "COLUMNS": "120"}), stdin=theirs, stdout=theirs, stderr=theirs,
    )  # fmt: skip
    os.close(theirs)
    shown = b""
    try:
        while data := os.read(ours, 65536):
            shown += data
    except OSError:  # how Linux says that nobody has the other end any more
        pass
    os.close(ours)
    assert process.wait(timeout=30) == 0, logs(farm)
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.decode())
    assert re.search(rf"{re.escape(plot.name[:20])}\S*\.plot -> 127\.0\.0\.1", text)
    assert "\u2501" in text, "no bar"
    assert "/64.0 MiB" in text
    assert "hashes equal" in text
    audit(farm, manifest)
