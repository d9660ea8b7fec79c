"""Finding the configuration file and reading its bytes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from plotfarm.base.config import loader
from plotfarm.base.errors import ConfigurationError


def test_places_in_their_order() -> None:
    assert loader.places("/a/b", {loader.ENVIRONMENT: "/c"}) == [(Path("/a/b"), "--config")]
    assert loader.places(None, {loader.ENVIRONMENT: "~/c"}) == [(Path("~/c").expanduser(), "$PLOT_MANAGER_CONFIG")]
    assert [path for path, _ in loader.places(None, {loader.ENVIRONMENT: ""})] == [
        Path("/etc/plot_manager/plot_manager_config"),
        loader.CHECKOUT / "plot_manager_config",
    ]


def test_the_first_existing_place_is_taken(tmp_path: Path) -> None:
    there = tmp_path / "there"
    there.touch()
    missing = tmp_path / "missing"
    assert loader.first_existing([(missing, "a"), (there / "below a file", "b"), (there, "c")]) == there


def test_no_configuration_names_every_place_and_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"copy plot_manager_config .* --config") as caught:
        loader.first_existing([(tmp_path / "one", "this host"), (tmp_path / "two", "beside the scripts")])
    assert caught.value.mistakes == [
        f"{tmp_path / 'one'} (this host)",
        f"{tmp_path / 'two'} (beside the scripts)",
    ]


def test_a_named_configuration_is_never_replaced_by_another(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no configuration found"):
        loader.find_config(str(tmp_path / "missing"))


def test_reading_a_file(tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.write_bytes("\ufeff[nas]\r\nhosts = nas1\r\n".encode())
    assert loader.load(path, ["nas.hosts"]).nas.hosts == ("nas1",)
    path.write_bytes(b"[nas]\nhosts = \xff\n")
    with pytest.raises(ConfigurationError, match="not UTF-8 text: look at line 2"):
        loader.load(path)
    with pytest.raises(ConfigurationError, match="Is a directory"):
        loader.load(tmp_path)
    with pytest.raises(ConfigurationError, match="No such file"):
        loader.load(tmp_path / "missing")


def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may read every file")
    path = tmp_path / "config"
    path.touch(mode=0)
    with pytest.raises(ConfigurationError, match="may not be read by this user"):
        loader.load(path)


@pytest.mark.parametrize(
    "odd", [b"/nowhere/\xff\x1b[2J\r/x", b"~nobody\xff/x", b"", b"/tmp/\xe2\x80\xa8/c", b"/nowhere/" + b"x" * 5000]
)
def test_whatever_the_environment_holds_the_message_is_fit_to_be_shown(odd: bytes) -> None:
    environment = {b"PATH": b"/usr/bin:/bin", b"LANG": b"\xff", b"A\xff": b"\xfe"}
    done = subprocess.run(
        [sys.executable, loader.CHECKOUT / "plot_manager.py", "--dry-run"],
        env={**environment, b"PLOT_MANAGER_CONFIG": odd or b"/nowhere"},
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, b"")
    assert all(line.isprintable() for line in done.stderr.decode().splitlines())
    assert b"plot_manager: " in done.stderr
