"""The demo ends well, and leaves nothing behind however it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil

CHECKOUT = Path(__file__).resolve().parents[2]


def start_demo(temporary: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "testbed.demo"],
        cwd=CHECKOUT,
        env={**os.environ, "TMPDIR": str(temporary)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        # What a shell starts in the background ignores Ctrl-C, and so does everything below it.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


def assert_nothing_left(temporary: Path) -> None:
    assert list(temporary.glob("plot-farm-*")) == []
    left = [process.info for process in psutil.process_iter(["pid", "cmdline"])]  # a zombie has no cmdline
    assert [info for info in left if str(temporary) in " ".join(info["cmdline"] or [])] == []


def test_the_demo_shows_the_main_job_and_cleans_up(tmp_path: Path) -> None:
    demo = start_demo(tmp_path)
    output, _ = demo.communicate(timeout=110)
    assert demo.returncode == 0, output
    words = " ".join(output.split())
    assert "drive2 nas/drive2" in words
    assert words.count("equal (") == 3
    assert "ok the unfinished plots were left alone" in words
    assert "ok nothing to do, and nothing was done" in words
    assert_nothing_left(tmp_path)


def test_ctrl_c_in_the_middle_leaves_nothing_behind(tmp_path: Path) -> None:
    demo = start_demo(tmp_path)
    assert demo.stdout is not None
    seen = []
    for line in demo.stdout:
        seen.append(line)
        if line.startswith("$ ./plot_manager.py"):
            demo.send_signal(signal.SIGINT)
            break
    rest, _ = demo.communicate(timeout=60)
    assert demo.returncode == 130, "".join(seen) + rest
    assert rest.endswith("Stopped. The farm is removed again.\n")
    assert_nothing_left(tmp_path)
