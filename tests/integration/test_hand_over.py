"""Scripts run from anywhere with no activation, and a `.venv` that does not fit is one clear line."""

from __future__ import annotations

import ast
import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
SYSTEM_PYTHON = os.path.realpath(sys.executable)
SCRIPT = f"""#!{SYSTEM_PYTHON}
from plotfarm.base.venv import hand_over

hand_over()

import json, os, sys

print(json.dumps([sys.prefix, [os.fsencode(word).hex() for word in sys.argv[1:]],
                  sorted(name for name in os.environ if name.startswith("PLOT_MANAGER")), os.getpid()]))
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout with one script, and a `.venv` as install.sh leaves it."""
    checkout = tmp_path / "check out"
    base = checkout / "plotfarm" / "base"
    base.mkdir(parents=True)
    for name in (
        "plotfarm/__init__.py",
        "plotfarm/base/__init__.py",
        "plotfarm/base/venv.py",
        "requirements.txt",
    ):
        shutil.copy(CHECKOUT / name, checkout / name)
    script = checkout / "script.py"
    script.write_text(SCRIPT)
    script.chmod(0o755)
    subprocess.run([SYSTEM_PYTHON, "-m", "venv", "--without-pip", checkout / ".venv"], check=True)
    shutil.copy(checkout / "requirements.txt", checkout / ".venv" / ".requirements-stamp")
    return checkout


def run(script: Path | str, *arguments: bytes | str, cwd: Path | str = "/") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [script, *arguments],
        cwd=cwd,
        env={"PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )


def assert_one_line(done: subprocess.CompletedProcess[str], checkout: Path, reason: str) -> None:
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr == f"script.py: {reason}: run ./install.sh plotter (or nas, or demo) in {checkout}\n"


def test_runs_in_the_venv_from_another_directory_with_the_same_arguments(checkout: Path, tmp_path: Path) -> None:
    words = [b"-h", b"two words", b"", b"$(id)", b"caf\xe9"]
    done = run(checkout / "script.py", *words, cwd=tmp_path)
    assert done.stderr == ""
    prefix, arguments, left_in_environment, _ = json.loads(done.stdout)
    assert prefix == str(checkout / ".venv")
    assert [bytes.fromhex(word) for word in arguments] == words
    assert left_in_environment == []


def test_runs_through_a_symlink_and_a_relative_path(checkout: Path, tmp_path: Path) -> None:
    link = tmp_path / "bin" / "link"
    link.parent.mkdir()
    link.symlink_to(checkout / "script.py")
    for script, directory in ((link, Path("/")), ("./link", link.parent), ("./script.py", checkout)):
        done = run(script, cwd=directory)
        assert done.stderr == ""
        assert json.loads(done.stdout)[0] == str(checkout / ".venv")


def test_keeps_the_process_id_so_that_cron_and_kill_meet_the_script(checkout: Path) -> None:
    process = subprocess.Popen([checkout / "script.py"], stdout=subprocess.PIPE, env={"PATH": "/usr/bin:/bin"})
    output, _ = process.communicate(timeout=20)
    assert json.loads(output)[3] == process.pid


@pytest.mark.parametrize("python", ["", ".venv/bin/python "])
def test_streams_that_are_closed_are_nobody_elses(checkout: Path, tmp_path: Path, python: str) -> None:
    """What is opened first would get their numbers: a lock, the database or a plot, and be printed into."""
    found = tmp_path / "found"
    (checkout / "script.py").write_text(
        f"#!{SYSTEM_PYTHON}\n"
        "from plotfarm.base.venv import hand_over\n"
        "hand_over()\n"
        "import os, subprocess, sys\n"
        f"lock = open({str(found)!r}, 'w+b', buffering=0)\n"
        "print('printed', flush=True); print('complained', file=sys.stderr); sys.stdout.isatty()\n"
        "subprocess.run(['sh', '-c', 'echo said; echo said >&2'], check=True)\n"
        "lock.write(b'held')\n"
    )
    command = f"cd {shlex.quote(str(checkout))} && exec {python}./script.py <&- >&- 2>&-"
    done = subprocess.run(["sh", "-c", command], env={"PATH": "/usr/bin:/bin"}, timeout=20, check=False)
    assert done.returncode == 0
    assert found.read_bytes() == b"held"


def test_a_missing_venv_is_one_line(checkout: Path) -> None:
    shutil.rmtree(checkout / ".venv")
    assert_one_line(run(checkout / "script.py"), checkout, "its Python packages are not installed yet")


def test_changed_requirements_are_one_line(checkout: Path) -> None:
    with open(checkout / "requirements.txt", "a") as file:
        file.write("another==1.0\n")
    reason = "the .venv is unfinished, or older than requirements.txt"
    assert_one_line(run(checkout / "script.py"), checkout, reason)


def test_an_unfinished_venv_is_one_line(checkout: Path) -> None:
    (checkout / ".venv" / ".requirements-stamp").unlink()
    reason = "the .venv is unfinished, or older than requirements.txt"
    assert_one_line(run(checkout / "script.py"), checkout, reason)


def test_a_python_that_is_gone_is_one_line(checkout: Path) -> None:
    python = checkout / ".venv" / "bin" / "python"
    python.unlink()
    python.symlink_to("/usr/bin/python3.4")
    assert_one_line(run(checkout / "script.py"), checkout, "the Python that the .venv was made with is gone")


def test_a_venv_of_another_python_is_one_line(checkout: Path) -> None:
    library = next((checkout / ".venv" / "lib").iterdir())
    library.rename(library.with_name("python3.10"))
    assert_one_line(run(checkout / "script.py"), checkout, "the .venv was made by another version of Python")


def test_a_broken_venv_ends_instead_of_starting_itself_for_ever(checkout: Path) -> None:
    (checkout / ".venv" / "pyvenv.cfg").unlink()
    assert_one_line(run(checkout / "script.py"), checkout, "the .venv is broken")


@pytest.mark.parametrize("name", ["plotfarm/__init__.py", "plotfarm/base/__init__.py", "plotfarm/base/venv.py"])
def test_an_old_python_can_read_it(name: str) -> None:
    ast.parse((CHECKOUT / name).read_text(), feature_version=(3, 6))
