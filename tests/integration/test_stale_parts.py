"""Which parts of interrupted arrivals are removed, and when: on real files, with clocks that jump."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from plotfarm.base import state as state_module
from plotfarm.base.condition import AlertKind
from plotfarm.base.config import loader
from plotfarm.base.config.sections import Config, Receiving
from plotfarm.base.state import State
from plotfarm.drives.choose import Choice
from plotfarm.drives.model import MARKER, Drive, Reading, Verdict
from plotfarm.drives.probe import probe
from plotfarm.drives.reasons import Reason, Why
from plotfarm.jobs.drive_checks import checks_of_drives
from plotfarm.jobs.stale_parts import complete_parts_left, remove_stale_parts
from plotfarm.jobs.stock import Stock
from plotfarm.jobs.telling import Teller
from plotfarm.plots.parts import PartFacts, lock_part, mark_committed, part_name, write_facts

PLOT = "plot-k32-left.plot"
NAME = part_name(PLOT, "00000000000000ab")
HOUR = 3600.0


class Host:
    """A NAS with one drive, whose clocks go as the test wants."""

    def __init__(self, directory: Path, patch: pytest.MonkeyPatch) -> None:
        self.place = directory / "drive1"
        self.place.mkdir()
        (self.place / MARKER).touch()
        real = os.path.realpath(self.place)
        self.drive = Drive(real, "", f"directory:{real}", os.stat(real).st_dev, "", directory_mode=True)
        text = f"[paths]\nlocks = {directory / 'locks'}\nstate = {directory / 'state'}\n"
        self.config: Config = loader.from_text(text, directory / "plot_manager_config")
        self.config.paths.locks.mkdir()
        self.state = State(self.config.paths.state)
        self.wall = 1_700_000_000.0
        self.running = 1_000.0
        patch.setattr(state_module.time, "time", lambda: self.wall)
        patch.setattr(state_module.time, "clock_gettime", lambda which: self.running)

    def look_after(self) -> list[str]:
        """Do what cron does every minute; returns the names that lie on the drive afterwards."""
        left = remove_stale_parts(self.readings(), self.config, self.state)
        assert [part.name for _, part in left] == self.told_of(), "the owner is told of what a run leaves"
        return sorted(path.name for path in self.place.iterdir() if path.name != MARKER)

    def told_of(self) -> list[str]:
        """Return the names of the complete parts that the owner is told of."""
        return [part.name for _, part in complete_parts_left(self.readings(), self.config, self.state)]

    def readings(self) -> list[Reading]:
        return probe([self.drive], (), 30.0, self.config.paths.locks)

    def leave(self, name: str = NAME, content: bytes = b"bytes") -> Path:
        path = self.place / name
        path.write_bytes(content)
        with open(path, "r+b") as file:
            write_facts(file.fileno(), PartFacts("chiaplot01", 100, ""))
        return path


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    return Host(tmp_path, monkeypatch)


@contextlib.contextmanager
def held(path: Path) -> Iterator[None]:
    with open(path, "r+b") as file:
        assert lock_part(file.fileno())
        yield


def test_a_part_goes_when_nobody_has_gone_on_with_it_for_so_long(host: Host) -> None:
    host.leave()
    assert host.look_after() == [NAME]
    host.running += 23.9 * HOUR
    assert host.look_after() == [NAME]
    host.running += 0.2 * HOUR
    assert host.look_after() == []


def test_a_jump_of_the_clock_changes_nothing(host: Host) -> None:
    path = host.leave()
    assert host.look_after() == [NAME]
    host.wall += 10 * 365 * 24 * HOUR
    os.utime(path, (0, 0))
    assert host.look_after() == [NAME]
    host.wall -= 20 * 365 * 24 * HOUR
    assert host.look_after() == [NAME]
    host.running += 25 * HOUR
    assert host.look_after() == []


def test_one_that_grows_is_not_old(host: Host) -> None:
    path = host.leave()
    host.look_after()
    host.running += 23 * HOUR
    path.write_bytes(b"more bytes")
    assert host.look_after() == [NAME]
    host.running += 23 * HOUR
    assert host.look_after() == [NAME]
    host.running += 2 * HOUR
    assert host.look_after() == []


def test_another_file_of_that_name_is_not_old(host: Host) -> None:
    path = host.leave()
    host.look_after()
    host.running += 23 * HOUR
    path.rename(path.with_name("moved"))
    host.leave()
    host.running += 2 * HOUR
    assert host.look_after() == ["moved", NAME]


def test_one_that_somebody_works_on_stays_however_old(host: Host) -> None:
    path = host.leave()
    host.look_after()
    host.running += 100 * HOUR
    with held(path):
        assert host.look_after() == [NAME]


def test_one_that_somebody_takes_in_the_last_moment_stays(host: Host) -> None:
    """The drive was asked a moment ago, and the part was free then."""
    path = host.leave()
    host.look_after()
    host.running += 25 * HOUR
    readings = host.readings()
    assert [part.is_alive for part in readings[0].parts] == [False]
    with held(path):
        remove_stale_parts(readings, host.config, host.state)
    assert path.exists()


def test_foreign_files_stay_for_ever(host: Host) -> None:
    foreign = [f"{PLOT}.part", "film.mkv.part", f"{PLOT}.0123.part", f"notes.txt.{'0' * 16}.part"]
    for name in foreign:
        (host.place / name).write_bytes(b"somebody's")
    host.look_after()
    host.running += 1000 * HOUR
    assert host.look_after() == sorted(foreign)


def test_a_complete_one_stays_unless_its_plot_is_stored_too(host: Host) -> None:
    """Both ends agreed on it: it may be all that there is of its plot."""
    path = host.leave()
    with open(path, "r+b") as file:
        mark_committed(file.fileno())
    host.look_after()
    assert host.told_of() == [], "somebody may go on with it yet"
    host.running += 1000 * HOUR
    assert host.look_after() == [NAME]
    assert host.told_of() == [NAME], "its plot may have gone elsewhere, and nobody else would ever give this room back"

    (host.place / PLOT).write_bytes(b"other")
    (host.place / PLOT).write_bytes(b"of another size")
    assert host.look_after() == [PLOT, NAME]
    (host.place / PLOT).write_bytes(b"x" * 100)
    assert host.told_of() == [], "it is removed in this run"
    assert host.look_after() == [PLOT]


def test_a_drive_that_is_gone_keeps_its_parts(host: Host) -> None:
    host.leave()
    host.look_after()
    host.running += 25 * HOUR
    readings = host.readings()
    (host.place / MARKER).unlink()
    remove_stale_parts(readings, host.config, host.state)
    assert (host.place / NAME).exists()


def test_its_age_can_be_set(host: Host) -> None:
    host.config = replace(host.config, receiving=replace(host.config.receiving, part_age_hours=1.0))
    host.leave()
    host.look_after()
    host.running += 1.1 * HOUR
    assert host.look_after() == []


def test_what_was_told_of_a_drive_stands_while_its_parts_cannot_be_listed(host: Host) -> None:
    path = host.leave()
    with open(path, "r+b") as file:
        mark_committed(file.fileno())
    config = replace(host.config, receiving=Receiving(part_age_hours=0))
    teller = Teller(config, host.state.database)

    def told(reading: Reading, reason: Reason) -> list[str]:
        choice = Choice("", None, (Verdict(host.drive, Why(reason)),), "fill", 1, arriving=False)
        left = complete_parts_left([reading], config, host.state)
        checks = checks_of_drives(config, host.state, Stock(choice, {host.drive.identity: reading}), left)
        teller.evaluate([one for one in checks if AlertKind.PART_LEFT in one.kinds])
        return [about for kind, about in teller.told() if kind is AlertKind.PART_LEFT]

    left = [f"{host.drive.identity}/{NAME}"]
    assert told(host.readings()[0], Reason.FULL) == left
    assert told(Reading(host.drive, Why(Reason.READ_ONLY)), Reason.READ_ONLY) == left
    assert told(Reading(host.drive, Why(Reason.NOT_ASKED), was_asked=False), Reason.OFFLINED) == left
    assert told(host.readings()[0], Reason.FULL) == left
    path.unlink()
    assert told(host.readings()[0], Reason.FULL) == []
