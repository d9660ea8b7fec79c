"""--status: what is on its way, from locks that real processes hold."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from plotfarm.base.locks import Lock
from plotfarm.base.state import State, Transfer, TransferOutcome
from plotfarm.drives.model import lock_name
from plotfarm.reports.status import Running, Status, as_text, with_speeds_since
from testbed.farm import Farm

NAME = "plot-k32-2026-11-23-18-47-" + "ab" * 32 + ".plot"


@pytest.fixture
def farm(tmp_path: Path) -> Farm:
    return Farm(tmp_path / "farm", drives=2)


def stream(**more: object) -> dict[str, object]:
    now = time.time()
    return {
        "plot": NAME, "nas": "nas1", "address": "10.0.1.5", "drive": "drive7", "bytes": 1000, "done": 600,
        "offset": 100, "since": now - 10, "progress": now, **more,
    }  # fmt: skip


def test_nothing_is_on_its_way(farm: Farm) -> None:
    assert "no plot is on its way, and none ever was" in farm.plot_manager("--status").stdout
    facts = json.loads(farm.drive_manager("--status", "--json").stdout)["data"]
    assert (facts["running"], facts["last"], facts["waiting_plots"], facts["drives"]) == ([], [], None, [])


def test_what_is_on_its_way_from_a_plotter(farm: Farm) -> None:
    with Lock(farm.plotter.locks / "plot_manager.lock") as lock:
        lock.update(streams=[stream()], waiting=3, waiting_bytes=3 * 2**30)
        shown = farm.plot_manager("--status").stdout
        facts = json.loads(farm.plot_manager("--status", "--json").stdout)["data"]
    assert " 60 %" in shown
    assert "nas1:drive7 by 10.0.1.5" in shown
    assert "8.0 s left, 1000 B, 50 B/s (went on at 100 B)" in shown
    assert "3 plots wait, 3.0 GiB" in shown
    assert facts["running"][0]["bytes_per_second"] == pytest.approx(50)
    assert facts["running"][0]["plot"] == NAME
    assert facts["waiting_plots"] == 3
    assert "no plot is on its way" in farm.plot_manager("--status").stdout  # the lock is free again


def test_a_plot_that_stands_still(farm: Farm) -> None:
    with Lock(farm.plotter.locks / "plot_manager.lock") as lock:
        lock.update(streams=[stream(progress=time.time() - 3600)])
        assert "stands still for 1 h" in farm.plot_manager("--status").stdout


@pytest.mark.parametrize(
    "content",
    [
        {"streams": 7}, {"streams": [7, None, {}]}, {"streams": [{"bytes": "x", "done": -1, "since": True}]},
        {"streams": [stream(plot="\x1b[31mred\nnext", nas=["x"])], "waiting": "many"},
    ],
)  # fmt: skip
def test_a_lock_that_holds_nonsense(farm: Farm, content: dict[str, object]) -> None:
    with Lock(farm.plotter.locks / "plot_manager.lock") as lock:
        lock.update(**content)
        run = farm.plot_manager("--status")
        json.loads(farm.plot_manager("--status", "--json").stdout)["data"]
    assert (run.returncode, run.stderr) == (0, "")
    assert "\x1b" not in run.stdout
    assert "\nnext" not in run.stdout


@pytest.fixture
def arrival(farm: Farm) -> Iterator[subprocess.Popen[str]]:
    """A process that holds a drive's lock, and a child of it that holds it too, as a receiver and its writer do."""
    identity = f"directory:{farm.drives[0]}"
    code = (
        "import os, sys, time\nfrom pathlib import Path\nfrom plotfarm.base.locks import Lock\n"
        f"lock = Lock(Path({str(farm.nas.locks / lock_name('drive', identity))!r}))\n"
        f"lock.acquire(identity={identity!r}, plot={NAME!r}, bytes=1000, written_bytes=400, plotter='p1')\n"
        "lock.update(progress=time.time())\n"
        "if os.fork() == 0:\n    sys.stdin.read()\n    os._exit(0)\n"
        "print('held', flush=True)\nsys.stdin.read()\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdin is not None
    assert process.stdout.readline() == "held\n"
    yield process
    process.stdin.close()
    process.wait(10)
    process.stdout.close()


def test_what_arrives_on_a_nas(farm: Farm, arrival: subprocess.Popen[str]) -> None:
    shown = farm.drive_manager("--status").stdout
    assert " 40 %" in shown
    assert f"p1 -> {farm.drives[0]}" in shown
    arrival.send_signal(signal.SIGKILL)
    arrival.wait(10)
    assert "ended without a word" in farm.drive_manager("--status").stdout


def test_the_last_ones_and_how_fast_drives_are(farm: Farm) -> None:
    state = State(farm.nas.state)
    size = 2 * 10**9
    for number in range(12):
        drive, seconds = (farm.drives[0], 10.0) if number % 2 else (farm.drives[1], 40.0)
        target = str(drive / f"{number}.plot")
        state.record_transfer(
            Transfer(
                time.time() - 60,
                f"{number}.plot",
                "v1",
                "/p",
                target,
                "p1",
                size,
                seconds,
                "d" * 64,
                "",
                TransferOutcome.STORED,
            )
        )
    state.record_transfer(
        Transfer(time.time(), NAME, "v1", "/p", "", "p1", 5, 1.0, "", "", TransferOutcome.FAILED, "it broke\x1b[31m")
    )
    state.close()
    shown = farm.drive_manager("--status").stdout
    assert shown.count("dddddddddddddddd") == 9  # ten in all
    assert "it broke" in shown
    assert "\x1b" not in shown
    assert f"{farm.drives[0]}  190.7 MiB/s (6)\n" in shown
    facts = json.loads(farm.drive_manager("--status", "--json").stdout)["data"]
    assert facts["last"][0]["reason"].startswith("it broke")
    assert {one["mountpoint"]: one["arrival_bytes_per_second"] for one in facts["drives"]}[str(farm.drives[1])] == 5e7


def test_watching_takes_the_speed_from_two_looks() -> None:
    def look(now: float, done: int) -> Status:
        return Status("h", now, 120, [Running(NAME, "h", "nas1", 1000, done, 0, 1.0, now, True, 1.0)], [])

    later = with_speeds_since(look(100, 200), look(102, 600))
    assert later.running[0].bytes_per_second == 200
    assert "2.0 s left, 1000 B, 200 B/s" in as_text(later)


def test_wrong_uses_have_a_remedy(farm: Farm) -> None:
    for script, arguments in ((farm.plot_manager, ["--watch"]), (farm.plot_manager, ["--json"])):
        assert script(*arguments).returncode == 2
    watched = farm.drive_manager("--status", "--watch")
    assert watched.returncode == 1
    assert "leave it out, or use --json" in watched.stderr
