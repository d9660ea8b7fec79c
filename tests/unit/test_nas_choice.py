"""Which NAS the next plot goes to: decisions on values, and a farm of ten plotters that play them out."""

from __future__ import annotations

import math
import random
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from plotfarm.transfer.messages import Capacity
from plotfarm.transfer.nas_choice import Answer, Lot, NasView, lots, next_nas, to_ask

SIZE = 10**11
A = NasView("a", plots=10, streams=2, active=0, limit=4, last_used=5.0)
B = NasView("b", plots=30, streams=2, active=0, limit=4, last_used=9.0)
LOT = lots("chiaplot01", "plot-k32-x.plot")
POLICIES = ("most_free", "in_order", "round_robin")


def awaited(view: NasView) -> NasView:
    """Return a NAS of which nothing is known, whose answer is to come."""
    return replace(view, plots=0, streams=0, is_awaited=True, is_unknown=True)


def expected(view: NasView) -> NasView:
    """Return a NAS whose answer is too old."""
    return replace(view, streams=0, is_awaited=True)


# ---- What the policies mean ----


@pytest.mark.parametrize(("policy", "host"), [("in_order", "a"), ("most_free", "b"), ("round_robin", "a")])
def test_policies(policy: str, host: str) -> None:
    assert next_nas([A, B], policy, LOT) == host


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("why_not", [{"plots": 0}, {"active": 4}, {"streams": 0, "active": 1}])
def test_a_nas_that_cannot_is_skipped(policy: str, why_not: dict[str, int]) -> None:
    assert next_nas([replace(A, **why_not), B], policy, LOT) == "b"
    assert next_nas([A, replace(B, **why_not)], policy, LOT) == "a"
    assert next_nas([replace(A, **why_not), replace(B, **why_not)], policy, LOT) is None


def test_one_stream_waits_for_its_turn_where_all_drives_are_busy() -> None:
    busy = replace(A, streams=0)
    assert next_nas([busy], "in_order", LOT) == "a"
    assert next_nas([busy, B], "in_order", LOT) == "b"
    assert next_nas([replace(busy, active=1)], "in_order", LOT) is None


# ---- Answers that are to come ----


@pytest.mark.parametrize(
    ("policy", "views", "host", "asked"),
    [
        ("most_free", [A, awaited(B)], None, ["b"]),
        ("most_free", [awaited(A), awaited(B)], None, ["a", "b"]),
        ("most_free", [A, replace(awaited(B), active=4)], "a", []),
        ("most_free", [A, expected(B)], None, ["b"]),
        ("most_free", [expected(A), B], "b", []),
        ("most_free", [expected(A), replace(B, plots=10)], None, ["a"]),
        ("most_free", [expected(A), expected(B)], None, ["b"]),
        ("most_free", [expected(A), awaited(B)], None, ["b", "a"]),
        ("most_free", [replace(expected(A), plots=0), replace(expected(B), plots=0)], None, ["a", "b"]),
        ("most_free", [expected(A), replace(B, streams=0)], None, ["a"]),
        ("in_order", [A, awaited(B)], "a", []),
        ("in_order", [awaited(A), B], None, ["a"]),
        ("in_order", [replace(A, plots=0), awaited(B)], None, ["b"]),
        ("in_order", [replace(A, streams=0), awaited(B)], None, ["b"]),
        ("round_robin", [A, awaited(B)], "a", []),
        ("round_robin", [awaited(A), B], None, ["a"]),
        ("round_robin", [awaited(B), A], "a", []),
    ],
)
def test_a_choice_waits_for_the_answers_that_it_depends_on(
    policy: str, views: list[NasView], host: str | None, asked: list[str]
) -> None:
    assert next_nas(views, policy, LOT) == host
    assert to_ask(views, policy, LOT) == asked


@pytest.mark.parametrize("policy", ["in_order", "round_robin"])
def test_where_room_does_not_matter_only_the_next_few_are_asked(policy: str) -> None:
    views = [awaited(replace(A, host=f"nas{number}")) for number in range(20)]
    asked = to_ask(views, policy, LOT)
    assert 1 <= len(asked) < 10
    full = [replace(view, is_awaited=False) if view.host in asked else view for view in views]
    assert not set(asked) & set(to_ask(full, policy, LOT))
    busy = [replace(view, plots=5, is_awaited=False) if view.host in asked else view for view in views]
    assert len(to_ask(busy, policy, LOT)) == len(asked), "nobody behind those that are busy would ever be asked"


def test_an_answer_is_corrected_by_what_was_sent_since() -> None:
    answer = Answer(Capacity(plots=2, streams=1, arriving_bytes=0, detail=""), SIZE, heard=100.0)
    sent = answer.after_sending()
    assert (sent.capacity.plots, sent.capacity.streams) == (1, 0)
    arrived = sent.after_arrival()
    assert (arrived.capacity.plots, arrived.capacity.streams) == (1, 1)
    none = sent.after_sending().after_sending()
    assert (none.capacity.plots, none.capacity.streams) == (0, 0)
    assert answer.holds(SIZE, oldest=100.0)
    assert not answer.holds(SIZE, oldest=100.1)
    assert not answer.holds(SIZE + 1, oldest=0.0)


# ---- NAS that are nearly equal ----


def equals(count: int = 20, **values: Any) -> list[NasView]:
    return [replace(A, host=f"nas{number}", plots=1000, last_used=-math.inf, **values) for number in range(count)]


def chosen(views: list[NasView], policy: str = "most_free", draws: int = 2000, plotter: str = "rig") -> Counter[str]:
    """Return how often each NAS is chosen for so many plots."""
    hosts = [next_nas(views, policy, lots(plotter, f"plot {number}")) for number in range(draws)]
    return Counter(str(host) for host in hosts)


@pytest.mark.parametrize("policy", ["most_free", "round_robin"])
def test_equals_are_taken_by_lot(policy: str) -> None:
    found = chosen(equals(), policy)
    assert len(found) == 20
    assert 50 < min(found.values()) <= max(found.values()) < 150, found  # 100 each, give or take five deviations


def test_the_lots_of_each_plotter_are_its_own_and_the_same_again() -> None:
    views = equals()
    drawn = [[next_nas(views, "most_free", lots(plotter, f"plot {n}")) for n in range(50)] for plotter in "xyx"]
    assert drawn[0] == drawn[2]
    assert sum(one == other for one, other in zip(drawn[0], drawn[1], strict=True)) < 20


def test_of_equals_those_with_little_on_its_way_come_first() -> None:
    views = [replace(view, arriving=20.0 if number < 10 else 0.0) for number, view in enumerate(equals())]
    found = chosen(views)
    heavy = sum(found[f"nas{number}"] for number in range(10))
    assert 0 < heavy < 700, "as old as the answers are, nobody may run after the one that had the least to do"
    own = [replace(view, active=1 if number else 0) for number, view in enumerate(equals())]
    assert chosen(own, draws=50) == {"nas0": 50}


@pytest.mark.parametrize(("less", "is_equal"), [(0, True), (10, True), (11, False), (500, False)])
def test_a_few_plots_of_room_make_no_difference(less: int, is_equal: bool) -> None:
    found = chosen([replace(A, plots=1000), replace(B, plots=1000 - less)], draws=200)
    assert (found["b"] > 0) is is_equal
    busy = chosen([replace(A, plots=1000, arriving=50.0), replace(B, plots=1000 - less)], draws=200)
    assert (busy["b"] > 0) is (less <= 60), "what others bring may have gone elsewhere by now"


def test_for_plots_that_wait_together_the_next_ones_are_asked_ahead() -> None:
    views = [expected(view) for view in equals()]
    first = to_ask(views, "most_free", LOT)
    asked = to_ask(views, "most_free", LOT, plots=4)
    assert len(asked) == 5
    assert asked[:2] == first
    views = [replace(view, streams=5, is_awaited=False) if view.host in asked else view for view in views]
    for _ in range(4):
        host = next_nas(views, "most_free", LOT)
        assert host in asked
        views = [replace(view, active=1) if view.host == host else view for view in views]
        asked.remove(host)
    assert next_nas(views, "most_free", LOT) is None


@pytest.mark.parametrize(("less", "is_enough"), [(15, True), (25, False)])
def test_when_all_have_become_fuller_not_all_are_asked(less: int, is_enough: bool) -> None:
    views = [replace(expected(view), plots=1000) for view in equals()]
    drawn = to_ask(views, "most_free", LOT)
    assert len(drawn) == 2
    answered = [
        replace(view, plots=1000 - less, streams=5, is_awaited=False) if view.host in drawn else view for view in views
    ]
    assert (next_nas(answered, "most_free", LOT) in drawn) is is_enough
    assert bool(to_ask(answered, "most_free", LOT)) is not is_enough


def test_little_room_is_never_as_good_as_much() -> None:
    assert chosen([replace(A, plots=8), replace(B, plots=9)], draws=200) == {"b": 200}
    assert chosen([replace(A, plots=89, arriving=1e9), replace(B, plots=100)], draws=200) == {"b": 200}


# ---- Ten plotters and twenty NAS ----


@dataclass
class ModelNas:
    room: int
    arriving: Counter[int] = field(default_factory=Counter)  # by plotter

    def answer(self, plotter: int, drives: int) -> Capacity:
        others = sum(self.arriving.values()) - self.arriving[plotter]
        return Capacity(self.room, max(0, drives - self.arriving.total()), others * SIZE, "")


@dataclass
class ModelFarm:
    """Plotters that send by answers which are as old as `lasts` when they ask again."""

    seed: int
    rooms: list[int]
    policy: str = "most_free"
    plotters: int = 10
    plots: int = 8  # of each plotter, all of which are on their way when the last one begins
    start_seconds: float = 2.0  # within so many seconds all begin
    between_seconds: float = 0.0
    lasts: float = 30.0
    remembers: bool = False  # what the NAS said before anything was sent; False: they ask all of them at first
    questions: int = 0
    sent: Counter[int] = field(default_factory=Counter)  # by NAS

    def run(self) -> Counter[int]:
        """Send all plots, and return how many each NAS got."""
        chance = random.Random(self.seed)
        nas = [ModelNas(room) for room in self.rooms]
        starts = [chance.uniform(0, self.start_seconds) for _ in range(self.plotters)]
        known = [[self._ask(each, plotter, 0.0) for each in nas] for plotter in range(self.plotters)]
        begins = [
            (start + number * (0.05 + self.between_seconds * chance.uniform(0.5, 1.5)), plotter, number)
            for plotter, start in enumerate(starts)
            for number in range(self.plots)
        ]
        for now, plotter, number in sorted(begins):
            if number == 0 and not self.remembers:
                known[plotter] = [self._ask(each, plotter, now) for each in nas]
            lot = lots(f"plotter {self.seed} {plotter}", f"plot {number}")
            while (host := self._next(nas, known[plotter], plotter, now, lot)) is None:
                pass
            known[plotter][host] = known[plotter][host].after_sending()
            nas[host].room -= 1
            nas[host].arriving[plotter] += 1
            self.sent[host] += 1
        return self.sent

    def _next(self, nas: list[ModelNas], known: list[Answer], plotter: int, now: float, lot: Lot) -> int | None:
        """Return the NAS for a plot; if answers are missing for that, hear them and return None."""
        oldest = now - self.lasts
        views = [self._view(index, known[index], each.arriving[plotter], oldest) for index, each in enumerate(nas)]
        host = next_nas(views, self.policy, lot)
        if host is not None:
            return int(host)
        asked = to_ask(views, self.policy, lot)
        assert asked, "it waits for nothing"
        self.questions += len(asked)
        for each in asked:
            known[int(each)] = self._ask(nas[int(each)], plotter, now)
        return None

    def _ask(self, nas: ModelNas, plotter: int, now: float) -> Answer:
        return Answer(nas.answer(plotter, 50), SIZE, now)

    def _view(self, index: int, answer: Answer, active: int, oldest: float) -> NasView:
        capacity = answer.capacity
        return NasView(
            host=str(index),
            plots=capacity.plots,
            streams=capacity.streams,
            active=active,
            limit=8,
            last_used=-math.inf,
            arriving=capacity.arriving_bytes / SIZE,
            is_awaited=not answer.holds(SIZE, oldest),
        )


@pytest.mark.parametrize("between_seconds", [0.0, 60.0])
@pytest.mark.parametrize("rooms", [[20_000] * 20, [20_000 - number for number in range(20)]], ids=["same", "similar"])
def test_plotters_do_not_run_after_each_other(rooms: list[int], between_seconds: float) -> None:
    fullest = []
    for seed in range(20):
        sent = ModelFarm(seed, list(rooms), between_seconds=between_seconds).run()
        assert sent.total() == 80
        fullest.append(max(sent.values()))
    assert max(fullest) <= 8, "twice the mean"
    assert sum(fullest) / len(fullest) < 7


def test_that_begin_in_the_same_moment_neither() -> None:
    """Nobody knows anything of the others: each does best to send to every NAS once before any gets its second."""
    fullest = [max(ModelFarm(seed, [20_000] * 20, start_seconds=0.0).run().values()) for seed in range(20)]
    assert sum(fullest) / len(fullest) <= 8
    assert max(fullest) <= 10


def test_nor_do_those_that_remember_what_was_said_before() -> None:
    """The answers of an hour ago say that all are equal: two are asked for each plot."""
    fullest = []
    for seed in range(20):
        farm = ModelFarm(seed, [20_000] * 20, between_seconds=60.0, start_seconds=60.0, remembers=True)
        farm.lasts = 1.0
        fullest.append(max(farm.run().values()))
        assert farm.questions < 80 * 4
    assert max(fullest) <= 8, "twice the mean"


def test_a_nas_with_far_more_room_gets_them_all() -> None:
    sent = ModelFarm(1, [20_000, 100], plotters=1, plots=4, between_seconds=60.0).run()
    assert sent == {0: 4}


def test_the_same_seed_gives_the_same_again() -> None:
    first, second = (ModelFarm(7, [20_000] * 20).run() for _ in range(2))
    assert first == second
    assert first != ModelFarm(8, [20_000] * 20).run()
