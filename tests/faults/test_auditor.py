"""The auditor sees what it is there to see: one that never turns red proves nothing."""

from __future__ import annotations

import fcntl
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults import auditor

NAME = "plot-k32-1.plot"


@pytest.fixture
def scope(tmp_path: Path) -> auditor.Scope:
    """One plot on a plotter, two empty drives, no locks."""
    for name in ("plots", "drive1", "drive2", "locks"):
        (tmp_path / name).mkdir()
    (tmp_path / "plots" / NAME).write_bytes(b"whole")
    drives = [tmp_path / "drive1", tmp_path / "drive2"]
    return auditor.Scope([tmp_path / "plots"], drives, [tmp_path / "locks"], marker=str(tmp_path))


def stored(scope: auditor.Scope) -> None:
    (scope.sources[0] / NAME).rename(scope.drives[0] / NAME)


def unequal(scope: auditor.Scope) -> None:
    (scope.drives[0] / NAME).write_bytes(b"whOle")


def short(scope: auditor.Scope) -> None:
    (scope.drives[0] / NAME).write_bytes(b"who")


def twice(scope: auditor.Scope) -> None:
    stored(scope)
    (scope.drives[1] / NAME).write_bytes(b"whole")


def lost(scope: auditor.Scope) -> None:
    (scope.sources[0] / NAME).rename(scope.drives[0] / f"{NAME}.part")


def too_long(scope: auditor.Scope) -> None:
    (scope.drives[0] / f"{NAME}.part").write_bytes(b"whole and more")


def stranger(scope: auditor.Scope) -> None:
    (scope.drives[0] / "other.plot").write_bytes(b"whole")


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (unequal, "not whole and equal"),
        (short, "not whole and equal"),
        (twice, "stored twice"),
        (lost, "LOST"),
        (too_long, "longer than was offered"),
        (stranger, "not a plot that was sent"),
    ],
)
def test_a_fault_is_seen(fault: Callable[[auditor.Scope], None], words: str, scope: auditor.Scope) -> None:
    noted = auditor.manifest(scope.sources[0].iterdir())
    assert auditor.audit(noted, scope) == []
    fault(scope)
    assert words in " ".join(auditor.audit(noted, scope))


def test_what_is_finished(scope: auditor.Scope) -> None:
    noted = auditor.manifest(scope.sources[0].iterdir())
    (scope.drives[1] / f"{NAME}.part").write_bytes(b"wh")
    told = " ".join(auditor.audit(noted, scope, finished=True))
    assert "left behind" in told and "never arrived" in told and "still at its source" in told
    (scope.drives[1] / f"{NAME}.part").unlink()
    stored(scope)
    assert auditor.audit(noted, scope, finished=True) == []


def test_a_held_lock_is_seen(scope: auditor.Scope) -> None:
    path = scope.locks[0] / "drive.lock"
    with open(path, "w") as file:
        assert auditor.still_busy(scope) == []
        fcntl.flock(file, fcntl.LOCK_EX)
        assert auditor.held_locks(scope.locks[0]) == [path]


def test_a_process_and_its_port_are_seen(scope: auditor.Scope) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        assert port not in auditor.listening()
        listener.listen()
        assert port in auditor.listening()
    command = [sys.executable, "-c", "input()"]
    with subprocess.Popen(
        command, env={**os.environ, "HOME": scope.marker}, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL
    ) as process:
        assert process.pid in auditor.processes(scope)
        process.kill()


def test_from_the_command_line(scope: auditor.Scope, tmp_path: Path) -> None:
    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, auditor.__file__, *words], capture_output=True, text=True, check=False)

    plots = str(scope.sources[0])
    (tmp_path / "manifest").write_text(run("manifest", plots).stdout)
    asked = ["audit", "--manifest", str(tmp_path / "manifest"), "--source", plots, "--drive", str(scope.drives[0])]
    assert run(*asked).stdout == "nothing is wrong\n"
    lost(scope)
    assert (run(*asked).returncode, NAME in run(*asked).stdout) == (1, True)
