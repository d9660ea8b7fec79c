"""install.sh on copies of the checkout whose package lists are empty, so that nothing needs the network."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
NOBODY = 65534
ALL_INSTALLED = "python3 python3-venv util-linux openssh-client openssh-server netcat-openbsd smartmontools"


@pytest.fixture
def checkout() -> Iterator[Path]:
    """A copy with empty package lists, where another user may read and write too."""
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o777)
        checkout = Path(directory)
        shutil.copy(CHECKOUT / "install.sh", checkout)
        for name in ("requirements.txt", "requirements-development.txt"):
            (checkout / name).write_text("# no packages\n")
        (checkout / "bin").mkdir()
        fake(checkout, "dpkg-query", f"printf 'installed %s\\n' {ALL_INSTALLED}")
        yield checkout


def fake(checkout: Path, name: str, script: str) -> None:
    """Put a program in front of the real one."""
    program = checkout / "bin" / name
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)


def environment(checkout: Path) -> Mapping[str, str]:
    return {"PATH": f"{checkout / 'bin'}:/usr/bin:/bin", "HOME": str(checkout), "PIP_NO_INDEX": "1"}


def install(
    checkout: Path, *arguments: str, before: tuple[str, ...] = (), cwd: Path | str = "/"
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*before, checkout / "install.sh", *arguments],
        env=environment(checkout),
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def snapshot(directory: Path) -> dict[str, tuple[int, int]]:
    """Every file below a directory with its inode and the time of its last change."""
    paths = [directory, *directory.rglob("*")]
    return {str(path): (path.lstat().st_ino, path.lstat().st_mtime_ns) for path in paths}


@pytest.mark.parametrize("arguments", [(), ("nonsense",), ("farm",)])
def test_what_is_not_understood_shows_the_usage(checkout: Path, arguments: tuple[str, ...]) -> None:
    done = install(checkout, *arguments)
    assert done.returncode == 2
    assert done.stderr.startswith("Usage: ./install.sh COMMAND")
    assert done.stdout == ""
    assert not (checkout / ".venv").exists()


def test_help(checkout: Path) -> None:
    done = install(checkout, "--help")
    assert done.returncode == 0
    commands = {line.split()[0] for line in done.stdout.splitlines() if line}
    assert {"demo", "test", "plotter", "nas", "farmer"} <= commands


def test_a_second_run_changes_nothing_and_says_the_next_steps_again(checkout: Path) -> None:
    first = install(checkout, "nas")
    assert first.returncode == 0, first.stderr
    assert f'restrict,from="PLOTTER",command="{checkout}/receive_plot.sh" ssh-ed25519' in first.stdout
    before = snapshot(checkout)
    second = install(checkout, "nas")
    assert second.returncode == 0, second.stderr
    assert second.stdout == first.stdout.partition("\n")[2]  # without "Installing the Python packages"
    assert snapshot(checkout) == before


def test_an_interrupted_run_is_made_good_by_the_next(checkout: Path) -> None:
    (checkout / ".venv" / "bin").mkdir(parents=True)
    (checkout / ".venv" / "bin" / "python").symlink_to("/usr/bin/python3")
    (checkout / ".venv" / "left_over").touch()
    done = install(checkout, "plotter")
    assert done.returncode == 0, done.stderr
    assert not (checkout / ".venv" / "left_over").exists()
    assert (checkout / ".venv" / ".requirements-stamp").read_text() == "# no packages\n"


def test_a_failure_of_pip_leaves_a_venv_that_no_script_takes_for_whole(checkout: Path) -> None:
    assert install(checkout, "plotter").returncode == 0
    (checkout / "requirements.txt").write_text("psutil==7.2.2 --hash=sha256:" + "0" * 64 + "\n")
    done = install(checkout, "plotter")
    assert done.returncode == 1
    assert "pip failed" in done.stderr
    assert not (checkout / ".venv" / ".requirements-stamp").exists()
    (checkout / "requirements.txt").write_text("# no packages\n")
    assert install(checkout, "plotter").returncode == 0


def test_two_at_once_both_end_well(checkout: Path) -> None:
    both = [
        subprocess.Popen(
            [checkout / "install.sh", "plotter"],
            env=environment(checkout),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for _ in range(2)
    ]
    outputs = [process.communicate(timeout=100)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], outputs
    assert sum("Installing the Python packages" in output for output in outputs) == 1


def test_without_root_it_says_what_is_missing_and_the_command(checkout: Path) -> None:
    fake(checkout, "dpkg-query", "printf 'installed %s\\n' python3 python3-venv util-linux netcat-traditional")
    fake(checkout, "sudo", "exit 1")
    fake(checkout, "apt-get", f"touch {checkout}/apt-get-was-run")
    nobody = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")
    done = install(checkout, "plotter", before=nobody if os.geteuid() == 0 else ())
    assert done.returncode == 1
    assert "packages that are missing: openssh-client\n" in done.stdout
    assert "sudo apt-get update && sudo apt-get install -y openssh-client\n" in done.stderr
    assert not (checkout / "apt-get-was-run").exists()
    assert not (checkout / ".venv").exists()


def test_as_root_it_installs_only_what_is_missing_and_updates_only_when_needed(checkout: Path) -> None:
    if os.geteuid() != 0:
        fake(checkout, "sudo", 'while [ "$1" = -n ]; do shift; done; exec "$@"')
    fake(checkout, "dpkg-query", "printf 'installed %s\\n' python3 python3-venv util-linux netcat-openbsd")
    calls = checkout / "calls"
    # The first installation fails, as it does where the package lists are missing.
    fake(
        checkout,
        "apt-get",
        f'test -e {calls}; known=$?; echo "$@" >>{calls}; [ $known = 0 ] || exit 100',
    )
    done = install(checkout, "nas")
    assert done.returncode == 0, done.stderr
    assert "openssh-server comes with a service" in done.stdout
    words = [line.split("Lock::Timeout=300 ")[1] for line in calls.read_text().splitlines()]
    wanted = "install --no-install-recommends openssh-server smartmontools"
    assert words == [wanted, "update", wanted]


def test_a_failure_of_apt_get_shows_its_last_words(checkout: Path) -> None:
    if os.geteuid() != 0:
        fake(checkout, "sudo", 'while [ "$1" = -n ]; do shift; done; exec "$@"')
    fake(checkout, "dpkg-query", "printf 'installed %s\\n' python3 python3-venv util-linux netcat-openbsd")
    fake(checkout, "apt-get", "echo 'E: no such network'; exit 100")
    done = install(checkout, "nas")
    assert done.returncode == 1
    assert "E: no such network" in done.stderr
    assert "sudo apt-get install -y openssh-server smartmontools" in done.stderr
