"""Which drive is next: properties that must hold for every farm, and the reasons in words."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plotfarm.drives.choose import DEFAULT_PLOT_BYTES, Taken, arriving_plot_bytes, in_order, judge, select
from plotfarm.drives.model import Arrival, Drive, Reading
from plotfarm.drives.quarantine import Quarantined, QuarantineReason
from plotfarm.drives.reasons import Reason, Why
from plotfarm.plots.parts import FoundPart, part_name
from plotfarm.reports.reasons import why as in_words
from plotfarm.reports.reasons import why_selected

PLOT = 100
MINIMUM = 7


def drive(number: int, device_number: int | None = None) -> Drive:
    place = f"/mnt/enclosure0/front/column{number // 6}/drive{number}"
    return Drive(place, f"/dev/sd{number}", f"uuid:{number}", device_number or 100 + number, "xfs")


def arrival(number: int, size: int = PLOT, written: int = 0, alive: bool = True, plot: str = "p.plot") -> Arrival:
    return Arrival(plot, size, written, f"uuid:{number}", "plotter", 0.0, alive)


def part(allocated: int, plot: str = "p.plot", arrival_id: str = "a" * 16, alive: bool = True) -> FoundPart:
    return FoundPart(part_name(plot, arrival_id), plot, arrival_id, None, allocated, allocated, 12, 1, alive, False)


def reading(number: int, free: int, problem: Reason | None = None, parts: tuple[FoundPart, ...] = ()) -> Reading:
    if problem is not None:
        return Reading(drive(number), Why(problem, "10 s"))
    return Reading(drive(number), None, 10_000, free, parts=parts)


def quarantined(number: int) -> Quarantined:
    reason = QuarantineReason.IO_ERROR
    return Quarantined(f"uuid:{number}", f"drive{number}", reason, "fsync", 5, "p.plot", 0.0, "sysfs:1", "boot")


@st.composite
def farms(draw: st.DrawFn) -> tuple[list[Reading], list[Arrival], set[str], str]:
    numbers = range(draw(st.integers(0, 8)))
    readings = [
        reading(number, draw(st.integers(0, 500)), draw(st.sampled_from([None, None, None, Reason.NOT_ANSWERING])))
        for number in numbers
    ]
    arrivals = [
        arrival(number, PLOT, draw(st.integers(0, PLOT)), draw(st.booleans()))
        for number in numbers
        if draw(st.integers(0, 3)) == 0
    ]
    ways = st.sampled_from(["identity", "name", "mountpoint", "device"])
    offlined = {getattr(drive(number), draw(ways)) for number in numbers if draw(st.integers(0, 4)) == 0}
    current = draw(st.sampled_from(["", "/mnt/gone", *(drive(number).mountpoint for number in numbers)]))
    return readings, arrivals, offlined, current


@given(farms(), st.sampled_from(["fill", "spread"]), st.booleans())
def test_nothing_unsafe_is_ever_offered(farm, policy, running):
    readings, arrivals, offlined, current = farm
    verdicts = judge(readings, arrivals, offlined, PLOT, MINIMUM)
    assert [verdict.drive for verdict in verdicts] == [one.drive for one in readings]
    offered = in_order(verdicts, policy, current)
    selected = select(verdicts, policy, current, running)
    chosen = selected.verdict if selected else None
    by_drive = {one.drive: one for one in readings}
    for verdict in [*offered, *([chosen] if chosen and not (running and chosen.drive.mountpoint == current) else [])]:
        read = by_drive[verdict.drive]
        to_come = sum(a.bytes - a.written_bytes for a in arrivals if a.identity == verdict.drive.identity)
        assert read.problem is None
        assert read.free_bytes - to_come >= PLOT + MINIMUM
        ways = {verdict.drive.identity, verdict.drive.name, verdict.drive.mountpoint, verdict.drive.device}
        assert not ways & offlined
        assert all(a.alive for a in arrivals if a.identity == verdict.drive.identity)
    busy = {a.identity for a in arrivals}
    assert not busy & {verdict.drive.identity for verdict in offered}
    assert sorted(v.drive.identity for v in offered) == sorted(
        v.drive.identity for v in verdicts if v.usable and v.drive.identity not in busy
    )


@given(farms())
def test_fill_takes_the_lowest_and_the_receiver_the_configured_first(farm):
    readings, arrivals, offlined, current = farm
    verdicts = judge(readings, arrivals, offlined, PLOT, MINIMUM)
    usable = [verdict.drive for verdict in verdicts if verdict.usable]
    selected = select(verdicts, "fill", current, False)
    assert (selected.verdict.drive if selected else None) == (usable[0] if usable else None)
    offered = [verdict.drive for verdict in in_order(verdicts, "fill", current)]
    rest = [one for one in offered if one.mountpoint != current]
    assert rest == sorted(rest, key=lambda one: int(one.identity.removeprefix("uuid:")))
    if current in [one.mountpoint for one in offered]:
        assert offered[0].mountpoint == current


@given(farms(), st.sampled_from(["fill", "spread"]))
def test_a_drive_with_a_running_transfer_is_never_changed_away_from(farm, policy):
    readings, arrivals, offlined, current = farm
    verdicts = judge(readings, arrivals, offlined, PLOT, MINIMUM)
    if current in [verdict.drive.mountpoint for verdict in verdicts]:
        selected = select(verdicts, policy, current, True)
        assert selected is not None
        assert selected.verdict.drive.mountpoint == current


@given(st.integers(0, 1000), st.integers(1, 400), st.integers(0, 400), st.integers(0, 400))
def test_room_is_never_counted_twice(free, size, on_drive, reported):
    """What the drive counts of the part file is gone from its free room already, whatever the lock says."""
    arriving = arrival(1, size, min(reported, size))
    known = reading(1, free, parts=(part(on_drive),))
    (verdict,) = judge([known], [arriving], (), PLOT, 0)
    assert verdict.room_bytes == free - max(0, size - on_drive)
    (unseen,) = judge([reading(1, free)], [arriving], (), PLOT, 0)
    assert unseen.room_bytes == free - (size - min(reported, size))


def test_the_part_of_an_arrival_is_known_by_its_id_and_else_by_being_alive():
    dead, others = part(10, arrival_id="d" * 16, alive=False), part(20, plot="q.plot", arrival_id="e" * 16)
    found = reading(1, 1000, parts=(dead, others, part(30)))
    (verdict,) = judge([found], [arrival(1)], (), PLOT, 0)
    assert verdict.room_bytes == 1000 - (PLOT - 30)
    (verdict,) = judge([found], [replace(arrival(1), arrival_id="d" * 16)], (), PLOT, 0)
    assert verdict.room_bytes == 1000 - (PLOT - 10)
    (verdict,) = judge([found], [replace(arrival(1, written=20), arrival_id="f" * 16)], (), PLOT, 0)
    assert verdict.room_bytes == 1000 - (PLOT - 20), "its part is not there yet"


def test_parts_without_an_arrival_hold_only_the_room_that_they_have_already():
    (verdict,) = judge([reading(1, 1000, parts=(part(50, alive=False), part(40)))], [], (), PLOT, 0)
    assert verdict.room_bytes == 1000


def test_a_drive_in_quarantine_gets_no_plots_whatever_else_is_so():
    left_out = Reading(drive(3), Why(Reason.NOT_ASKED), was_asked=False)
    readings = [reading(1, 5000), reading(2, 5000), left_out, reading(4, 5000)]
    entries = {f"uuid:{number}": quarantined(number) for number in (1, 3, 4)}
    verdicts = judge(readings, [arrival(1)], ["drive4"], PLOT, 0, {"uuid:1": Why(Reason.FAILING)}, entries)
    assert [verdict.usable for verdict in verdicts] == [False, True, False, False]
    assert [verdict.why.reason for verdict in verdicts] == [
        Reason.QUARANTINED,
        Reason.HAS_ROOM,
        Reason.QUARANTINED,
        Reason.OFFLINED,
    ]
    assert [verdict.quarantine for verdict in verdicts] == [quarantined(1), None, quarantined(3), quarantined(4)]
    assert [verdict.drive.name for verdict in in_order(verdicts, "fill", "")] == ["drive2"]
    assert verdicts[0].room_plots == 49, "what is on it is told all the same"


def test_a_drive_in_quarantine_that_does_not_answer_is_one_that_does_not_answer():
    (verdict,) = judge([reading(1, 0, Reason.NOT_ANSWERING)], [], [], PLOT, 0, {}, {"uuid:1": quarantined(1)})
    assert (verdict.why.reason, verdict.quarantine) == (Reason.NOT_ANSWERING, quarantined(1))


def test_spread_takes_the_most_room_and_keeps_the_configured_within_one_plot():
    verdicts = judge([reading(1, 300), reading(2, 900), reading(3, 810)], [], (), PLOT, 0)
    assert [v.drive.name for v in in_order(verdicts, "spread", "")] == ["drive2", "drive3", "drive1"]
    assert select(verdicts, "spread", drive(3).mountpoint, False).verdict.drive.name == "drive3"
    assert select(verdicts, "spread", drive(1).mountpoint, False).verdict.drive.name == "drive2"


def test_busy_drives_count_for_the_drive_manager_but_not_for_a_second_stream():
    verdicts = judge([reading(1, 900), reading(2, 900)], [arrival(1)], (), PLOT, 0)
    assert select(verdicts, "fill", "", False).verdict.drive.name == "drive1"
    assert [v.drive.name for v in in_order(verdicts, "fill", drive(1).mountpoint)] == ["drive2"]


def test_directories_on_one_file_system_share_its_room():
    one, other = (Reading(drive(number, device_number=5), None, 1000, 250) for number in (1, 2))
    verdicts = judge([one, other], [arrival(1)], (), PLOT, 0)
    assert [v.room_bytes for v in verdicts] == [150, 150]


@pytest.mark.parametrize(
    ("given_reading", "arrivals", "offlined", "why"),
    [
        (reading(1, 5907), [], [], "room for 59 plots"),
        (reading(1, 107), [], [], "room for 1 plot"),
        (reading(1, 106), [], [], "full: 99 B are left for plots, and one takes 100 B"),
        (replace(reading(1, 106), total_bytes=106), [], [], "too small: it has 106 B, and a plot takes 100 B"),
        (replace(reading(1, 100), total_bytes=107), [], [], "full: 93 B are left for plots, and one takes 100 B"),
        (reading(1, 5000, Reason.READ_ONLY), [], [], "mounted read-only"),
        (reading(1, 5000), [], ["drive1"], "offlined"),
        (reading(1, 5000), [], ["drive10"], "room for 49 plots"),
        (reading(1, 0, Reason.NOT_ANSWERING), [], [], "not answering within 10 s"),
        (reading(1, 1007), [arrival(1)], [], "room for 9 plots; a plot is arriving there now"),
        (reading(1, 157), [arrival(1)], [], "full: 50 B are left for plots, and one takes 100 B; "
                                            "a plot is arriving there now"),
        (reading(1, 5000), [arrival(1, alive=False)], [], "not answering (a writer that was ended still hangs there)"),
    ],
)  # fmt: skip
def test_the_reason_in_words(given_reading, arrivals, offlined, why):
    (verdict,) = judge([given_reading], arrivals, offlined, PLOT, MINIMUM)
    assert in_words(verdict, PLOT) == why
    assert verdict.usable == why.startswith("room for")


def test_the_chosen_one_says_what_took_it():
    verdicts = judge([reading(1, 5907), replace(reading(2, 6900))], [], (), PLOT, MINIMUM)
    lowest, most, arriving = (
        select(verdicts, "fill", "", False),
        select(verdicts, "spread", "", False),
        select(verdicts, "fill", drive(2).mountpoint, True),
    )
    assert (lowest.taken, why_selected(lowest)) == (Taken.LOWEST, "taken: the lowest drive with room (59 plots)")
    assert (most.taken, why_selected(most)) == (Taken.MOST_ROOM, "taken: the most room (68 plots)")
    assert arriving.taken is Taken.ARRIVING
    assert why_selected(arriving) == "taken: a plot is arriving there now (68 plots)"
    assert select([], "fill", "", False) is None
    assert select([], "spread", "", True) is None


def test_the_size_to_plan_with():
    assert arriving_plot_bytes([]) == DEFAULT_PLOT_BYTES == 108_995_911_228
    assert arriving_plot_bytes([5, 9, 7]) == 9
    assert arriving_plot_bytes([5] * 20 + [99]) == 5
