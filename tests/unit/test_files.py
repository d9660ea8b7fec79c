"""Writing a file whole or not at all, by several processes, some of which are killed in the midst of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from plotfarm.base.files import write_atomically

KILLED = """
import os, signal, sys
from plotfarm.base.files import write_atomically
os.fsync = lambda descriptor: os.kill(os.getpid(), signal.SIGKILL)
write_atomically(sys.argv[1], "never seen")
"""
WRITER = """
import sys
from plotfarm.base.files import write_atomically
for number in range(60):
    write_atomically(sys.argv[1], f"{sys.argv[2]} {number}\\n" * 200)
"""


def killed_in_the_midst(target: Path) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, target], check=False)
    assert done.returncode == -signal.SIGKILL


def test_what_a_killed_writer_has_left_is_gone_with_the_next_one(tmp_path: Path) -> None:
    target = tmp_path / "plot_manager_config"
    target.write_text("before")
    target.chmod(0o640)
    for _ in range(3):
        killed_in_the_midst(target)
    assert target.read_text() == "before"
    assert len(list(tmp_path.iterdir())) == 2, "one is left, however many were killed"

    write_atomically(target, "after")
    assert target.read_text() == "after"
    assert target.stat().st_mode & 0o777 == 0o640
    assert list(tmp_path.iterdir()) == [target]


def test_a_file_is_whole_whoever_writes_it_at_the_same_time(tmp_path: Path) -> None:
    target = tmp_path / "offlined_drives"
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, target, name]) for name in "abc"]
    while any(writer.poll() is None for writer in writers):
        if target.exists():
            lines = target.read_text().splitlines()
            assert len(lines) == 200
            assert len(set(lines)) == 1
    assert [writer.returncode for writer in writers] == [0, 0, 0]
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("what", ["link", "hard link"])
def test_nothing_else_is_written_to_that_has_the_name(tmp_path: Path, what: str) -> None:
    target = tmp_path / "offlined_drives"
    other = tmp_path / "other"
    other.write_text("somebody's")
    if what == "link":
        (tmp_path / ".offlined_drives.new").symlink_to(other)
    else:
        os.link(other, tmp_path / ".offlined_drives.new")
    write_atomically(target, "new")
    assert target.read_text() == "new"
    assert not target.is_symlink()
    assert other.read_text() == "somebody's"


@pytest.mark.root
def test_what_root_has_left_by_hand_stops_no_other_user_for_ever(tmp_path: Path) -> None:
    """In a directory of his."""
    if os.geteuid() != 0:
        pytest.skip("only root can be root")
    target = tmp_path / "offlined_drives"
    killed_in_the_midst(target)
    left = tmp_path / ".offlined_drives.new"
    os.utime(left, (0, 0))
    os.chmod(left, 0o600)
    for directory in (tmp_path, *tmp_path.parents):
        if "pytest-of-" in str(directory):  # what pytest has made, and not /tmp itself
            os.chmod(directory, 0o755)
    os.chown(tmp_path, 65534, 65534)
    os.seteuid(65534)
    try:
        write_atomically(target, "new")
    finally:
        os.seteuid(0)
    assert list(tmp_path.iterdir()) == [target]
