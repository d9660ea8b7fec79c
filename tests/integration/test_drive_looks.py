"""Which drives a session asks: few for what is known, all for the plot itself, and none while others come first."""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import pytest

from plotfarm.base.config.sections import Config, Drives, Paths, Receiving
from plotfarm.base.meanwhile import Meanwhile
from plotfarm.base.state import State
from plotfarm.drives.inventory import Inventory
from plotfarm.drives.model import MARKER, Drive, Reading
from plotfarm.drives.offlined import take_offline
from plotfarm.drives.probe import Counting, probe
from plotfarm.drives.reservations import Reservations
from plotfarm.drives.sessions import Sessions
from plotfarm.jobs import drive_looks, stock
from plotfarm.jobs.drive_storage import DriveStorage
from plotfarm.jobs.farm_facts import gather
from plotfarm.plots.parts import PartFacts, lock_part, part_name, write_facts
from plotfarm.reports.values import farm_values
from plotfarm.transfer.effects import RefusedPlacement, ReservedPlacement, StoredPlacement
from plotfarm.transfer.messages import Offer
from plotfarm.transfer.outcomes import Refusal
from plotfarm.transfer.storage import Assignment

SIZE = 5_000_000
ID = "ab" * 32


def offer(name: str = "plot-k18-new.plot", size: int = SIZE) -> Offer:
    return Offer(
        name=name,
        size=size,
        format="v1",
        k=18,
        id=ID,
        is_dry_run=False,
        patience_seconds=60.0,
        streams=1,
        plot_directory="/plots",
        free_bytes=None,
        waiting_bytes=0,
        hours_left=None,
    )


class Nas:
    """A NAS with drives, whose questions to them are taken down."""

    def __init__(self, directory: Path, drives: int) -> None:
        self.directory = directory
        self.places = [directory / f"drive{number}" for number in range(1, drives + 1)]
        for place in self.places:
            place.mkdir()
            (place / MARKER).touch()
        self.config = Config(
            directory / "plot_manager_config",
            paths=Paths(locks=directory / "locks", state=directory / "state", logs=directory / "logs"),
            drives=Drives(mounts=(), directories=tuple(self.places), minimum_free_bytes=0, probe_seconds=30.0),
            receiving=Receiving(arrivals=0),
        )
        self.state = State(directory / "state")
        self.reservations = Reservations(self.config.paths.locks)
        self.asked: list[set[str]] = []  # names of the drives that were asked for everything, probe by probe
        self.named: list[set[str]] = []  # likewise of those that were asked only for the plot's name

    def probe(
        self,
        drives: Sequence[Drive],
        names: Collection[str],
        *arguments: Any,
        leave_out: Collection[str] = (),
        only_names: Collection[str] = (),
        meanwhile: Meanwhile | None = None,
    ) -> list[Reading]:
        """Ask the drives, and take down which."""
        asked = [drive for drive in drives if drive.identity not in leave_out]
        self.asked.append({drive.name for drive in asked if drive.identity not in only_names})
        self.named.append({drive.name for drive in asked if drive.identity in only_names})
        return probe(drives, names, *arguments, leave_out=leave_out, only_names=only_names, meanwhile=meanwhile)

    def look(self) -> None:
        """Be the minutely run."""
        stock.take_stock(self.config, self.state)

    def session(self, plotter: str = "rig1") -> DriveStorage:
        """Begin a session with a plotter."""
        with self.reservations.mutex():
            session = Sessions(self.config.paths.locks).begin(plotter, 100)
        return DriveStorage(self.config, self.state, plotter, session)

    def forget_questions(self) -> None:
        """Begin a new list."""
        self.asked.clear()
        self.named.clear()

    def drive(self, number: int) -> Drive:
        """Return a drive by its number."""
        place = str(self.places[number - 1])
        return Drive(place, "", f"directory:{place}", os.stat(place).st_dev, "", directory_mode=True)


def names(numbers: Collection[int]) -> set[str]:
    return {f"drive{number}" for number in numbers}


@pytest.fixture
def nas(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Nas:
    made = Nas(tmp_path, 12)
    monkeypatch.setattr(drive_looks, "probe", made.probe)
    return made


def reserved(assignment: Assignment) -> ReservedPlacement:
    assert isinstance(assignment.placement, ReservedPlacement), assignment
    return assignment.placement


def refusal(assignment: Assignment) -> Refusal:
    assert isinstance(assignment.placement, RefusedPlacement), assignment
    return assignment.placement.refusal


def make_older(nas: Nas, seconds: float) -> None:
    """Let all that was learnt of the drives be older."""
    nas.state.database.write("UPDATE drive_readings SET since_boot = since_boot - ?", (seconds,))


# ---- Asking for room --------------------------------------------------------------------------------


def test_how_much_fits_is_told_without_asking_any_drive(nas: Nas) -> None:
    nas.look()
    capacity = nas.session().capacity(SIZE)
    assert capacity.plots > 0
    assert nas.asked == [set()]


def test_what_is_too_old_is_asked_and_then_known(nas: Nas) -> None:
    nas.look()
    make_older(nas, 100.0)
    nas.session().capacity(SIZE)
    nas.session().capacity(SIZE)
    assert nas.asked == [names(range(1, 13)), set()]


def test_nobody_is_turned_away_by_memory(nas: Nas) -> None:
    larger = 10**18  # than any drive
    nas.look()
    assert nas.session().capacity(larger).plots == 0
    assert nas.asked == [set(), names(range(1, 13))]
    nas.forget_questions()
    assert refusal(nas.session().place(offer(size=larger), frozenset())) is Refusal.NO_DRIVE
    assert nas.asked == [set(), names(range(1, 13))]


def test_what_is_of_another_start_of_the_host_is_not_known(nas: Nas) -> None:
    nas.look()
    nas.state.database.write("UPDATE drive_readings SET boot = 'another'")
    nas.session().capacity(SIZE)
    assert nas.asked == [names(range(1, 13))]


def test_a_drive_that_a_plot_comes_to_or_came_to_since_is_asked(nas: Nas) -> None:
    nas.look()
    with nas.reservations.mutex():
        lock = nas.reservations.take(nas.drive(3), plot="a.plot", bytes=SIZE, plotter="rig2")
    nas.session().capacity(SIZE)
    lock.release()
    nas.session().capacity(SIZE)
    assert nas.asked == [{"drive3"}, {"drive3"}]


def test_a_drive_with_a_part_that_somebody_wrote_is_asked(nas: Nas) -> None:
    with (nas.places[4] / part_name("a.plot", "a" * 16)).open("w+b") as part:
        assert lock_part(part.fileno())
        nas.look()
    nas.session().capacity(SIZE)
    assert nas.asked == [{"drive5"}]


def test_a_drive_in_trouble_is_asked_each_time(nas: Nas) -> None:
    (nas.places[1] / MARKER).unlink()
    nas.look()
    nas.session().capacity(SIZE)
    (nas.places[1] / MARKER).touch()
    nas.session().capacity(SIZE)
    nas.session().capacity(SIZE)
    assert nas.asked == [{"drive2"}, {"drive2"}, set()]


def test_an_offlined_drive_is_never_touched(nas: Nas) -> None:
    nas.look()
    take_offline(nas.config.paths.state, nas.config.paths.locks, nas.drive(4), 0.0)
    (nas.places[3] / MARKER).unlink()  # who looks there finds that it is no drive any more
    make_older(nas, 100.0)
    nas.look()
    session = nas.session()
    session.capacity(SIZE)
    session.place(offer(), frozenset())
    assert all("drive4" not in asked for asked in [*nas.asked, *nas.named])
    taken = stock.take_stock(nas.config, nas.state)
    reading = taken.readings[nas.drive(4).identity]
    assert not reading.was_asked and reading.total_bytes > 0, "its size is the last one that is known"


def test_reports_tell_what_an_offlined_drive_held_last(nas: Nas) -> None:
    (nas.places[3] / "plot-k32-a.plot").write_bytes(b"x" * 1000)
    count = Counting(Inventory(nas.state.database))
    before = time.time()
    stock.take_stock(nas.config, nas.state, count)
    take_offline(nas.config.paths.state, nas.config.paths.locks, nas.drive(4), 0.0)
    (nas.places[3] / "plot-k32-b.plot").write_bytes(b"x" * 1000)
    taken = stock.take_stock(nas.config, nas.state, count)
    reading = taken.readings[nas.drive(4).identity]
    assert (reading.counts, reading.plot_bytes, reading.was_asked) == ({("unknown", 32): 1}, 1000, False)
    assert before <= reading.counted <= time.time()
    said = farm_values(gather(nas.config, nas.state, taken, {})).plots
    when = time.strftime("%Y-%m-%d %H:%M", time.localtime(reading.counted))
    assert (said.text, said.why) == ("1", f"offlined drives are not asked: plots of drive4 as of {when}")


def test_of_an_offlined_drive_that_was_never_counted_nothing_is_told(nas: Nas) -> None:
    take_offline(nas.config.paths.state, nas.config.paths.locks, nas.drive(4), 0.0)
    taken = stock.take_stock(nas.config, nas.state, Counting(Inventory(nas.state.database)))
    reading = taken.readings[nas.drive(4).identity]
    assert (reading.counts, reading.total_bytes) == (None, 0)
    assert farm_values(gather(nas.config, nas.state, taken, {})).plots.why == "not counted: drive4 (offlined)"


# ---- Placing a plot ---------------------------------------------------------------------------------


def test_an_offer_asks_the_drives_that_it_might_take_and_the_others_for_the_plot(nas: Nas) -> None:
    with (nas.places[10] / part_name("other.plot", "b" * 16)).open("w+b") as part:
        write_facts(part.fileno(), PartFacts("rig2", SIZE, ID))
    nas.look()
    placement = reserved(nas.session().place(offer(), frozenset()))
    assert placement.drive == "drive1"
    assert nas.asked == [names([*range(1, 9), 11])]
    assert nas.named == [names([9, 10, 12])]


def test_a_plot_is_found_on_a_drive_that_is_asked_for_nothing_else(nas: Nas) -> None:
    nas.look()
    (nas.places[11] / offer().name).write_bytes(bytes(SIZE))
    assignment = nas.session().place(offer(), frozenset())
    assert isinstance(assignment.placement, StoredPlacement)
    assert assignment.placement.drive == "drive12"
    assert nas.named == [names(range(9, 13))]


def test_what_is_remembered_is_never_enough_for_a_plot(nas: Nas) -> None:
    nas.look()
    for place in nas.places[:9]:
        (place / MARKER).unlink()  # they were in order a moment ago
    placement = reserved(nas.session().place(offer(), frozenset()))
    assert placement.drive == "drive10"
    assert nas.asked == [names(range(1, 9)), names(range(1, 13))]
    for place in nas.places:
        (place / MARKER).unlink(missing_ok=True)
    assert refusal(nas.session().place(offer("plot-k18-other.plot"), frozenset())) is Refusal.NO_DRIVE


def test_a_plot_s_own_part_is_gone_on_with_wherever_it_lies(nas: Nas) -> None:
    with (nas.places[11] / part_name(offer().name, "c" * 16)).open("w+b") as part:
        if not write_facts(part.fileno(), PartFacts("rig1", SIZE, ID)):
            pytest.skip("this file system keeps no extended attributes")
        os.posix_fallocate(part.fileno(), 0, 1 << 20)
    nas.look()
    placement = reserved(nas.session().place(offer(), frozenset()))
    assert (placement.drive, placement.arrival) == ("drive12", "c" * 16)


# ---- Waiting for a turn -----------------------------------------------------------------------------


def test_of_sessions_that_wait_only_the_next_one_asks_the_drives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nas = Nas(tmp_path, 3)
    monkeypatch.setattr(drive_looks, "probe", nas.probe)
    nas.look()
    arriving = [nas.session(f"rig{number}").place(offer(f"plot-k18-{number}.plot"), frozenset()) for number in range(3)]
    assert {reserved(each).drive for each in arriving} == names([1, 2, 3])

    offers = [offer(f"plot-k18-waiting-{number}.plot") for number in range(10)]
    sessions = [nas.session(f"waiting{number}") for number in range(10)]
    for session, wish in zip(sessions, offers, strict=True):
        assert refusal(session.place(wish, frozenset())) is Refusal.BUSY
        session.is_waiting(True)

    for released in arriving:
        nas.forget_questions()
        assert released.lock is not None
        released.lock.release()
        woken = [session.place(wish, frozenset()) for session, wish in zip(sessions, offers, strict=True)]
        taken = [number for number, each in enumerate(woken) if not isinstance(each.placement, RefusedPlacement)]
        assert taken == [0], "who has waited longest"
        assert len(nas.asked) == 1, "nobody else asked any drive"
        sessions[0].is_waiting(False)
        del sessions[0], offers[0]

    nas.forget_questions()
    assert {refusal(session.place(wish, frozenset())) for session, wish in zip(sessions, offers, strict=True)} == {
        Refusal.BUSY
    }
    assert nas.asked == []


def test_who_waits_hears_of_a_drive_that_comes_without_an_arrival_that_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nas = Nas(tmp_path, 2)
    monkeypatch.setattr(drive_looks, "probe", nas.probe)
    monkeypatch.setattr("plotfarm.jobs.drive_storage._RENEW_SECONDS", 0.0)
    (nas.places[1] / MARKER).unlink()
    nas.look()
    reserved(nas.session("rig1").place(offer("plot-k18-1.plot"), frozenset()))
    session, wish = nas.session("rig2"), offer("plot-k18-2.plot")
    for _ in range(2):
        assert refusal(session.place(wish, frozenset())) is Refusal.BUSY
        session.is_waiting(True)
    (nas.places[1] / MARKER).touch()
    assert reserved(session.place(wish, frozenset())).drive == "drive2"
