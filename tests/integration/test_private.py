"""State, logs and locks are for the user of the scripts alone, also where they were made otherwise."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from notify_host import Host

from plotfarm.base.config.sections import Paths
from plotfarm.base.database import Database
from plotfarm.base.private import tighten

NOBODY = 65534


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    """Directories as they were made before."""
    paths = Paths(tmp_path / "logs", tmp_path / "state", tmp_path / "locks")
    for directory, names in (
        (paths.logs, ["debug.log", "drive_manager.log.1", "new_coins.log"]),
        (paths.state, ["state.sqlite", "state.sqlite-wal", "state.sqlite.version-3", "offlined_drives"]),
        (paths.locks, ["arrivals.lock", "drive-uuid%3A1.lock"]),
    ):
        directory.mkdir(mode=0o755)
        for name in names:
            (directory / name).touch(mode=0o644)
    return paths


def test_they_are_tightened_once_and_it_is_said(paths: Paths) -> None:
    said = tighten(paths)
    assert len(said) == 6
    for directory in (paths.logs, paths.state, paths.locks):
        assert mode(directory) == 0o700
        assert {mode(path) for path in directory.iterdir()} == {0o600}
        assert f"{directory} could be read by other users: its mode is 0700 now" in said
    assert tighten(paths) == []


def test_a_directory_that_holds_other_things_keeps_its_mode_and_so_do_they(paths: Paths) -> None:
    """As /var/log would, for a user who keeps the logs there."""
    (paths.logs / "syslog").touch(mode=0o644)
    tighten(paths)
    assert mode(paths.logs) == 0o755
    assert mode(paths.logs / "syslog") == 0o644
    assert mode(paths.logs / "debug.log") == 0o600


def test_a_planted_link_leads_nowhere(paths: Paths, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.touch(mode=0o644)
    (paths.locks / "port-4040.lock").symlink_to(victim)
    tighten(paths)
    assert mode(victim) == 0o644


@pytest.mark.root
def test_what_belongs_to_another_user_is_left_alone(paths: Paths) -> None:
    os.chown(paths.state, NOBODY, -1)
    os.chown(paths.locks / "arrivals.lock", NOBODY, -1)
    tighten(paths)
    assert mode(paths.state) == 0o755
    assert mode(paths.locks / "arrivals.lock") == 0o644


@pytest.mark.root
def test_what_root_makes_by_hand_belongs_to_the_user_of_the_directory(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    os.chown(tmp_path / "state", NOBODY, NOBODY)
    Database(tmp_path / "state").close()
    found = (tmp_path / "state" / "state.sqlite").stat()
    assert (found.st_uid, found.st_gid, found.st_mode & 0o777) == (NOBODY, NOBODY, 0o600)


def test_a_script_makes_them_for_its_user_alone_and_tightens_old_ones(tmp_path: Path) -> None:
    host = Host(tmp_path)
    host.state.chmod(0o755)
    (host.state / "state.sqlite").chmod(0o644)
    assert host.drive_manager()[0] == 0
    for directory in (host.state, host.locks, tmp_path / "logs"):
        assert mode(directory) == 0o700
        assert {mode(path) for path in directory.iterdir()} == {0o600}, directory
    assert host.log("drive_manager").count("could be read by other users") == 2
    assert host.drive_manager()[0] == 0
    assert host.log("drive_manager").count("could be read by other users") == 2
