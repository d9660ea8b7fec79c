"""Hearing that a lock was released, also by a process that was killed."""

from __future__ import annotations

import select
import subprocess
import sys
from pathlib import Path

from plotfarm.base.changes import Releases
from plotfarm.base.locks import Lock, holder


def is_heard(descriptor: int, seconds: float) -> bool:
    return bool(select.select([descriptor], [], [], seconds)[0])


def test_a_release_is_heard_and_looking_is_not(tmp_path: Path) -> None:
    path, releases = tmp_path / "drive-1.lock", Releases()
    lock = Lock(path)
    lock.acquire()
    descriptor = releases.of([path])
    lock.update(written_bytes=7)
    assert holder(path) is not None
    assert not is_heard(descriptor, 0)
    lock.release()
    assert is_heard(descriptor, 5)
    assert not is_heard(releases.of([path]), 0)


def test_a_killed_holder_is_heard(tmp_path: Path) -> None:
    path = tmp_path / "drive-1.lock"
    code = (
        "import sys\nfrom pathlib import Path\nfrom plotfarm.base.locks import Lock\n"
        f"lock = Lock(Path({str(path)!r}))\nlock.acquire()\nprint('held', flush=True)\nsys.stdin.read()\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdin is not None
    assert process.stdout.readline() == "held\n"
    descriptor = Releases().of([path, tmp_path / "not there.lock"])
    process.kill()
    assert is_heard(descriptor, 5)
    process.wait()
    process.stdin.close()
    process.stdout.close()
