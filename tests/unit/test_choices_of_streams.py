"""Whose turn, how fast: decisions on values."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plotfarm.base.config.links import parse_links
from plotfarm.base.state import Transfer, TransferOutcome
from plotfarm.drives.model import Arrival
from plotfarm.drives.reservations import arriving_bytes
from plotfarm.drives.speed import speeds
from plotfarm.drives.turns import Ticket, next_turns, yields
from plotfarm.transfer import pace


def test_the_plotter_with_the_fewest_comes_first_then_who_waits_longest() -> None:
    tickets = [Ticket("1", "many", 1.0), Ticket("2", "many", 2.0), Ticket("3", "few", 3.0), Ticket("4", "few", 4.0)]
    arriving = {"many": 3, "few": 1}
    assert next_turns(0, arriving, tickets) == set()
    assert next_turns(1, arriving, tickets) == {"3"}
    assert next_turns(2, arriving, tickets) == {"3", "4"}
    assert next_turns(3, arriving, tickets) == {"3", "4", "1"}
    assert next_turns(1, {}, tickets) == {"1"}


@given(st.integers(0, 9), st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 5)), max_size=9))
def test_every_free_drive_is_given_to_somebody_who_waits(free: int, waiting: list[tuple[str, int]]) -> None:
    tickets = [Ticket(str(number), plotter, since) for number, (plotter, since) in enumerate(waiting)]
    assert len(next_turns(free, {"a": 2}, tickets)) == min(free, len(tickets))


def test_of_plotters_with_as_many_the_one_comes_first_that_was_served_longest_ago() -> None:
    tickets = [Ticket("1", "lately", 1.0), Ticket("2", "lately", 2.0), Ticket("3", "long ago", 9.0)]
    assert next_turns(1, {}, tickets, {"lately": 50.0, "long ago": 20.0}) == {"3"}
    assert next_turns(1, {}, tickets, {"lately": 50.0}) == {"3"}, "one that was never served"
    assert next_turns(1, {"long ago": 1}, tickets, {"lately": 50.0}) == {"1"}, "the number on their way counts first"


def under_way(plotter: str, since: float, drive: str) -> Arrival:
    return Arrival("p.plot", 100, 50, drive, plotter, since, alive=True)


MANY = [under_way("many", 10.0, "d1"), under_way("many", 30.0, "d2"), under_way("many", 20.0, "d3")]
HUNGRY = Ticket("1", "hungry", 100.0)


def yielding(arrivals: list[Arrival], tickets: list[Ticket], since: float, long_since: float = 0.0) -> list[str]:
    """Return the drives whose arrivals make room."""
    drives = [arrival.identity for arrival in arrivals]
    return [drive for drive in drives if yields(drive, arrivals, tickets, since, long_since)]


def test_a_plotter_with_nothing_gets_the_drive_of_the_arrival_that_has_the_least_to_lose() -> None:
    assert yielding(MANY, [HUNGRY], since=100.0) == ["d2"]
    assert yielding([*MANY, under_way("few", 99.0, "d4")], [HUNGRY], since=100.0) == ["d2"]


@pytest.mark.parametrize(
    ("tickets", "since"),
    [([], 100.0), ([HUNGRY], 99.9), ([Ticket("1", "many", 0.0)], 100.0)],
    ids=["nobody waits", "it has not waited long enough", "it has a drive already"],
)
def test_otherwise_nobody_yields(tickets: list[Ticket], since: float) -> None:
    assert yielding(MANY, tickets, since) == []


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 99)), max_size=8),
    st.lists(st.tuples(st.sampled_from("abcd"), st.integers(0, 99)), max_size=4),
)
def test_never_more_than_one_yields(arriving: list[tuple[str, int]], waiting: list[tuple[str, int]]) -> None:
    arrivals = [under_way(plotter, since, f"d{number}") for number, (plotter, since) in enumerate(arriving)]
    tickets = [Ticket(str(number), plotter, since) for number, (plotter, since) in enumerate(waiting)]
    assert len(yielding(arrivals, tickets, since=50.0, long_since=20.0)) <= 1


def test_what_others_bring_is_counted_while_they_do() -> None:
    own = under_way("me", 10.0, "d3")
    abandoned = replace(MANY[0], alive=False)
    assert arriving_bytes([*MANY, own], "me") == 300
    assert arriving_bytes([abandoned, own], "me") == 0
    assert arriving_bytes([*MANY, own], "many") == 100


def test_links() -> None:
    assert parse_links(["root@nas1: 10.0.1.5, 10.0.2.5", "nas2: fe80::1"]) == {
        "root@nas1": ("10.0.1.5", "10.0.2.5"),
        "nas2": ("fe80::1",),
    }
    for wrong in ("nas1", "nas1:", ": 10.0.0.1", "nas1: ,"):
        with pytest.raises(ValueError, match=wrong):
            parse_links([wrong])


def arrival(
    drive: str, seconds: float, size: int = 100 * 10**9, outcome: TransferOutcome = TransferOutcome.STORED
) -> Transfer:
    return Transfer(1.0, "p.plot", "v1", "/plots", f"/mnt/{drive}/p.plot", "me", size, seconds, "d", "", outcome)


def test_a_slow_drive_stands_out() -> None:
    past = [arrival(drive, 500) for drive in ("a", "b", "c") for _ in range(30)]
    past += [arrival("sick", 1200)] * 3 + [arrival("new", 9000)] * 2
    past += [arrival("small", 9000, 10**6), arrival("failed", 9000, outcome=TransferOutcome.FAILED)]
    past += [replace(arrival("tried", 9000), kind="testing")] * 9
    found = speeds(past)
    assert {drive: speed.is_slow for drive, speed in found.items()} == {
        "/mnt/a": False, "/mnt/b": False, "/mnt/c": False, "/mnt/sick": True, "/mnt/new": False,
    }  # fmt: skip
    assert found["/mnt/a"].bytes_per_second == 2e8
    assert (found["/mnt/a"].arrivals, found["/mnt/sick"].arrivals) == (20, 3)


def test_one_drive_alone_is_never_slow() -> None:
    assert not speeds([arrival("a", 1e6)] * 9)["/mnt/a"].is_slow
    assert speeds([]) == {}


class Clock:
    now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr(pace.time, "monotonic", found.monotonic)
    return found


def test_pace_keeps_the_speed_and_gives_a_second_of_credit(clock: Clock) -> None:
    limit = pace.Pace(100.0)
    assert limit.rest(50) == pytest.approx(0.5)
    clock.now += 0.5
    assert limit.rest(100) == pytest.approx(1.0)
    clock.now += 50  # slow for a while: that is not made up for
    assert limit.rest(200) == pytest.approx(1.0)
    assert pace.Pace(0).rest(10**12) == 0


def stat(path: Path, reads: int, milliseconds: int) -> None:
    path.write_text(f"   {reads} 0 0 {milliseconds} 9 0 0 9 0 0 0\n")


def test_a_drive_whose_reads_are_slow_is_let_alone(clock: Clock, tmp_path: Path) -> None:
    file, step = tmp_path / "stat", 16 * 2**20
    stat(file, 100, 1000)
    lookups = pace.Lookups(0, 50, file)
    clock.now += 1
    stat(file, 110, 1200)  # 20 ms each
    assert lookups.rest(step) == 0
    clock.now += 1
    stat(file, 120, 2200)  # 100 ms each
    assert lookups.rest(step) > 0
    assert lookups.rest(step // 2) == 0  # it goes on slowly: never a stall
    clock.now += 1
    assert lookups.rest(step) > 0  # no read since: nothing new is known
    clock.now += 1
    stat(file, 130, 2300)
    assert lookups.rest(step) == 0
    clock.now += 1
    file.unlink()  # the device is gone
    assert lookups.rest(step) == 0


def test_without_a_limit_or_a_block_device_nothing_is_let_alone(tmp_path: Path) -> None:
    assert pace.Lookups(0, 0).rest(2**30) == 0
    assert pace.Lookups(0, 50, tmp_path / "none").rest(2**30) == 0
