"""Whose turn it is, who makes room, and how much haste a plotter gets whose wishes lead to nothing."""

from __future__ import annotations

from plotfarm.drives.model import Arrival
from plotfarm.drives.turns import Ticket, next_turns, yields
from plotfarm.jobs.arrival_limits import Allowance


def arrival(drive: str, plotter: str, since: float) -> Arrival:
    return Arrival(
        plot=f"{drive}.plot",
        bytes=100,
        written_bytes=0,
        identity=drive,
        plotter=plotter,
        since=since,
        alive=True,
    )


def test_many_old_tickets_get_no_second_turn_before_the_other_plotters_first() -> None:
    greedy = [Ticket(f"greedy {number}", "greedy", since=1.0 + number) for number in range(15)]
    modest = Ticket("modest", "modest", since=900.0)
    assert next_turns(1, {}, [*greedy, modest]) == {"greedy 0"}
    assert next_turns(1, {}, [*greedy, modest], {"greedy": 1000.0}) == {"modest"}
    assert next_turns(1, {}, [*greedy, modest], {"greedy": 1000.0, "modest": 1001.0}) == {"greedy 0"}
    assert next_turns(2, {}, [*greedy, modest], {"greedy": 1000.0}) == {"modest", "greedy 0"}


def test_the_only_plot_of_a_plotter_makes_room_when_it_has_had_long_enough() -> None:
    waiting = [Ticket("1", "modest", since=50.0)]
    arrivals = [arrival("a", "slow", 10.0)]
    assert not yields("a", arrivals, waiting, since=60.0, long_since=9.0)
    assert yields("a", arrivals, waiting, since=60.0, long_since=10.0)
    assert not yields("a", arrivals, [], since=60.0, long_since=10.0), "nobody waits"
    assert not yields("a", arrivals, waiting, since=49.0, long_since=10.0), "not for long enough"
    assert not yields("a", arrivals, [Ticket("1", "slow", 1.0)], since=60.0, long_since=10.0), "its own plot"


def test_of_several_only_plots_the_oldest_makes_room() -> None:
    waiting = [Ticket("1", "modest", since=50.0)]
    arrivals = [arrival("a", "slow", 10.0), arrival("b", "slower", 5.0)]
    assert [yields(drive, arrivals, waiting, 60.0, 20.0) for drive in "ab"] == [False, True]


def test_of_a_plotter_with_several_the_newest_makes_room() -> None:
    waiting = [Ticket("1", "modest", since=50.0)]
    arrivals = [arrival("a", "greedy", 10.0), arrival("b", "greedy", 20.0), arrival("c", "other", 1.0)]
    assert [yields(drive, arrivals, waiting, 60.0) for drive in "abc"] == [False, True, False]
    assert not yields("a", [], waiting, 60.0, 60.0)


def test_an_allowance_runs_out_and_comes_back() -> None:
    allowance = Allowance(3, per_second=2.0)
    assert [allowance.take(10.0) for _ in range(5)] == [0, 0, 0, 0.5, 1.0]
    assert [allowance.take(10.0) for _ in range(9)][-1] == 2.0, "no wait is longer than the other end's patience"
    assert allowance.take(12.5) == 0.0


def test_what_led_to_something_is_not_counted() -> None:
    allowance = Allowance(2, per_second=1.0)
    for _ in range(100):
        assert allowance.take(5.0) == 0.0
        allowance.give_back()
    assert [allowance.take(5.0) for _ in range(3)] == [0.0, 0.0, 1.0]
