import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from plotfarm.plots.writers import is_open_for_writing

CHECKOUT = Path(__file__).resolve().parents[2]


def ask(path: Path) -> bool | None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return is_open_for_writing(descriptor, path)
    finally:
        os.close(descriptor)


@pytest.mark.parametrize("mode", ["r+b", "ab"])
def test_a_writer_is_seen_as_long_as_it_has_the_file_open(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "a.plot"
    path.write_bytes(b"x")
    assert ask(path) is False
    code = f"import sys; file = open(sys.argv[1], {mode!r}); print('open', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", code, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"open\n"
        assert ask(path) is True
    assert ask(path) is False


def test_readers_do_not_count(tmp_path: Path) -> None:
    path = tmp_path / "a.plot"
    path.write_bytes(b"x")
    with open(path, "rb"):
        assert ask(path) is False


STRANGER = """
import os, sys
from pathlib import Path
from plotfarm.plots.writers import is_open_for_writing
path = Path(sys.argv[1])
reader = os.open(path, os.O_RDONLY)
writer = os.open(path, os.O_WRONLY) if sys.argv[2] == "write" else None
print(is_open_for_writing(reader, path))
"""


@pytest.mark.root
def test_who_may_take_no_lease_looks_through_the_processes(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root, to be another user than the owner of the file")
    python = Path("/usr/bin/python3")  # the one of this test may lie where other users cannot go
    if not python.exists():
        pytest.skip(f"needs {python}")
    with tempfile.TemporaryDirectory() as name:  # tmp_path is closed to other users
        directory = Path(name)
        directory.chmod(0o755)
        shutil.copytree(CHECKOUT / "plotfarm", directory / "plotfarm")
        path = directory / "a.plot"
        path.write_bytes(b"x")
        path.chmod(0o666)

        def answer(what: str) -> str:
            command = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "--"]
            done = subprocess.run(
                [*command, str(python), "-c", STRANGER, str(path), what],
                cwd=directory,
                env={"PYTHONPATH": str(directory)},
                capture_output=True,
                text=True,
                check=True,
            )
            return done.stdout.strip()

        assert answer("write") == "True"
        assert answer("read") == "None"  # root's processes are hidden from it


ASK_OFTEN = """
import os, sys
from pathlib import Path
from plotfarm.plots.writers import is_open_for_writing
path = Path(sys.argv[1])
reader = os.open(path, os.O_RDONLY)
print("asking", flush=True)
answers = [is_open_for_writing(reader, path) for _ in range(20000)]
print(answers.count(True), answers.count(False))
"""


def test_a_writer_that_opens_in_the_moment_of_asking_kills_nobody(tmp_path: Path) -> None:
    path = tmp_path / "a.plot"
    path.write_bytes(b"x")
    command = [sys.executable, "-c", ASK_OFTEN, str(path)]
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as asking:
        assert asking.stdout is not None
        assert asking.stdout.readline() == b"asking\n"
        while asking.poll() is None:
            os.close(os.open(path, os.O_WRONLY))
        seen, unseen = map(int, asking.stdout.read().split())
    assert asking.returncode == 0
    assert seen + unseen == 20_000
    assert unseen > 0
