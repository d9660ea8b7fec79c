"""Writing back to the configuration: only the value changes."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plotfarm.base.config import custody, loader, structure
from plotfarm.base.config.writer import with_values, write_values
from plotfarm.base.errors import ConfigurationError

DRIVE = ("plotting_drives", "current_plotting_drive")
MIDNIGHT = ("plotting_information", "current_total_plots_midnight")
SHIPPED = (loader.CHECKOUT / "plot_manager_config").read_text()


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "plot_manager_config"
    head = f"# mine\n[paths]\nlocks = {tmp_path}/locks\n\n"
    path.write_text(head + "[plotting_drives]\ncurrent_plotting_drive = /mnt/a  # keep\n")
    return path


def test_only_the_lines_of_the_values_change() -> None:
    after = with_values(SHIPPED, {DRIVE: "/mnt/enclosure0/front/column3/drive18", MIDNIGHT: "2943"})
    changed = [(a, b) for a, b in zip(SHIPPED.splitlines(), after.splitlines(), strict=True) if a != b]
    assert changed == [
        ("current_plotting_drive =", "current_plotting_drive = /mnt/enclosure0/front/column3/drive18"),
        ("current_total_plots_midnight = 0", "current_total_plots_midnight = 2943"),
    ]


HEAD = "[plotting_drives]\n"
KEY = "current_plotting_drive"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", f"{HEAD}{KEY} = /mnt/b\n"),
        (f"{HEAD}# here\n", f"{HEAD}{KEY} = /mnt/b\n# here\n"),
        (f"{HEAD}{KEY} = /mnt/a  # why\n", f"{HEAD}{KEY} = /mnt/b  # why\n"),
        (f"{HEAD}{KEY} = # why\n", f"{HEAD}{KEY} = /mnt/b  # why\n"),
        (f"{HEAD}CURRENT_plotting_drive=/mnt/a\n", f"{HEAD}CURRENT_plotting_drive = /mnt/b\n"),
        (f"{HEAD}{KEY} = /mnt/a\r\n[nas]\r\n", f"{HEAD}{KEY} = /mnt/b\n[nas]\r\n"),
        ("[nas]\n# last", f"[nas]\n# last\n{HEAD}{KEY} = /mnt/b\n"),
    ],
)
def test_values_are_set_or_added(before: str, after: str) -> None:
    assert with_values(before, {DRIVE: "/mnt/b"}) == after


def test_a_new_key_stands_behind_the_last_one_of_its_section() -> None:
    text = "[plotting_information]\ncurrent_total_plots_midnight = 1\n\n# about the next\n[nas]\nhosts = a\n"
    after = with_values(text, {("plotting_information", "current_total_plots_daily"): "7"})
    assert after == text.replace("= 1\n", "= 1\ncurrent_total_plots_daily = 7\n")


def test_nothing_to_change_is_not_written(config: Path) -> None:
    before = config.stat()
    write_values(config, {DRIVE: "/mnt/a"})
    after = config.stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


def test_mode_and_symlink_stay(config: Path, tmp_path: Path) -> None:
    config.chmod(0o640)
    link = tmp_path / "link"
    link.symlink_to(config.name)
    write_values(link, {DRIVE: "/mnt/b"})
    assert link.is_symlink()
    assert stat.S_IMODE(config.stat().st_mode) == 0o640
    assert config.read_text().endswith("current_plotting_drive = /mnt/b  # keep\n")
    assert sorted(os.listdir(tmp_path)) == ["link", "locks", "plot_manager_config"]


@pytest.mark.root
def test_the_owner_stays(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(custody, "_trusted", lambda: {0, 12345})  # as if the scripts were that user's
    os.chown(config, 12345, 23456)
    write_values(config, {DRIVE: "/mnt/b"})
    assert (config.stat().st_uid, config.stat().st_gid) == (12345, 23456)


@pytest.mark.parametrize(
    "value",
    ["/mnt/a\n[nas]\nhosts = evil", "/mnt/a\r", "/mnt/a\x1b", "/mnt/a # b", " /mnt/a", "mnt", "\udcff"],
)
def test_a_value_that_could_not_be_read_back_is_refused(config: Path, value: str) -> None:
    before = config.read_bytes()
    with pytest.raises(ConfigurationError):
        write_values(config, {DRIVE: value})
    assert config.read_bytes() == before


def test_a_configuration_with_mistakes_is_left_alone(config: Path) -> None:
    config.write_text("[plotting_drives]\nno = yes\n")
    with pytest.raises(ConfigurationError, match="unknown key"):
        write_values(config, {DRIVE: "/mnt/b"})
    assert config.read_text() == "[plotting_drives]\nno = yes\n"


def test_a_lock_directory_that_cannot_be_made_is_one_clear_line(config: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    config.write_text(f"[paths]\nlocks = {tmp_path}/file/locks\n")
    with pytest.raises(ConfigurationError, match=r"cannot write to .*Not a directory"):
        write_values(config, {DRIVE: "/mnt/b"})


_VALUE = st.text(st.characters(categories=["L", "N", "P", "S", "Zs"]), max_size=20)


@settings(deadline=None, max_examples=100)
@given(_VALUE, _VALUE)
def test_what_is_written_is_read_back_and_the_rest_stays(first: str, second: str) -> None:
    try:
        after = with_values(with_values(SHIPPED, {DRIVE: first}), {DRIVE: second})
    except ConfigurationError:
        return
    before, found = structure.parse(SHIPPED), structure.parse(after)
    assert found.mistakes == []
    assert found.values["plotting_drives"]["current_plotting_drive"].text == second
    assert {name: keys for name, keys in found.values.items() if name != "plotting_drives"} == {
        name: keys for name, keys in before.values.items() if name != "plotting_drives"
    }
