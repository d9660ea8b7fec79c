"""benchmarks/surroundings.py: a benchmark's directory is removed when nobody works in it any more, and always."""

import contextlib
import subprocess
import sys

from benchmarks import surroundings
from benchmarks.surroundings import workplace

_WRITES = """
import sys
from pathlib import Path
for number in range(500):
    Path(sys.argv[1], str(number)).write_text("still at work")
"""
_NEVER_ENDS = """
import signal
import sys
print("at work", flush=True)
signal.pause()
"""


def _started(code, directory):
    argv = [sys.executable, "-c", code, str(directory)]
    return subprocess.Popen(argv, stdout=subprocess.PIPE, start_new_session=True)


def test_who_outlives_a_command_is_waited_for(tmp_path):
    with workplace(tmp_path) as directory:
        process = _started(_WRITES, directory)
    assert process.wait(10) == 0  # each of its files found the directory
    assert not directory.exists()


def test_who_never_ends_is_killed(tmp_path, monkeypatch):
    monkeypatch.setattr(surroundings, "_FINISH_SECONDS", 0.1)
    with workplace(tmp_path) as directory:
        process = _started(_NEVER_ENDS, directory)
        assert process.stdout.readline() == b"at work\n"
    assert process.wait(10) < 0
    assert not directory.exists()


def test_what_goes_wrong_leaves_nothing_behind(tmp_path):
    with contextlib.suppress(SystemExit), workplace(tmp_path) as directory:
        (directory / "file").write_text("x")
        raise SystemExit("this proves nothing")
    assert list(tmp_path.iterdir()) == []
