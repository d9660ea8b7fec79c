"""For whose answers a plot waits before it is known where it goes, by a clock that the test sets."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from plotfarm.base.config.sections import Config
from plotfarm.base.config.sections import Nas as NasSettings
from plotfarm.jobs import dispatch as dispatch_module
from plotfarm.jobs import nas as nas_module
from plotfarm.jobs.dispatch import Dispatch, Job
from plotfarm.jobs.nas import Link, close_links
from plotfarm.plots.plotfile import PlotFile
from plotfarm.transfer.messages import Capacity
from plotfarm.transfer.nas_rooms import RoomSaid

SIZE = 10**11


class Clock:
    now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return 1_700_000_000.0 + self.now


class Plot:
    size = SIZE
    name = "plot-k32-test.plot"


class AskedStream:
    """A stream that brings no answer until the test gives one to the NAS."""

    is_busy = False

    def ask(self, size: int) -> None:
        self.is_busy = True


class Farm:
    """Two NAS, each with a stream that can be asked, and a dispatch that chooses between them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, policy: str = "most_free") -> None:
        self.clock = Clock()
        monkeypatch.setattr(dispatch_module, "time", self.clock)
        monkeypatch.setattr(nas_module, "time", self.clock)
        settings = NasSettings(hosts=("large", "small"), policy=policy, answer_seconds=30.0)
        self.dispatch = Dispatch(Config(Path("config"), nas=settings))
        self.streams = {host: AskedStream() for host in self.dispatch.all}
        for host, nas in self.dispatch.all.items():
            link, stream = nas.links[0], cast(Any, self.streams[host])
            link.streams[stream] = cast(Any, None)
            link._up.append(cast(Any, None))
            monkeypatch.setattr(nas, "idle_stream", lambda link=link, stream=stream: (link, stream))

    def host(self) -> str | None:
        """Return the NAS that a plot goes to now, None if it has to wait."""
        berth = self.dispatch.berth(Job(cast(PlotFile, Plot())))
        return berth.nas.host if berth is not None else None

    def asked(self) -> set[str]:
        return {host for host, stream in self.streams.items() if stream.is_busy}

    def answers(self, host: str, plots: int) -> None:
        nas = self.dispatch.all[host]
        self.streams[host].is_busy = False
        nas.asking = None
        nas.answered(Capacity(plots, 10, 0, ""))

    def is_connecting(self, host: str) -> None:
        """Let no connection to a NAS stand yet."""
        nas = self.dispatch.all[host]
        nas.links[0]._up.clear()
        nas.links[0].streams.clear()
        cast(Any, nas).idle_stream = lambda: None
        cast(Any, nas).open_links = list


@pytest.fixture
def farm(monkeypatch: pytest.MonkeyPatch) -> Farm:
    return Farm(monkeypatch)


def test_the_first_to_answer_does_not_get_the_plot(farm: Farm) -> None:
    assert farm.host() is None
    assert farm.asked() == {"large", "small"}
    farm.answers("small", 100)
    assert farm.host() is None
    farm.answers("large", 20_000)
    assert farm.host() == "large"


def test_nor_does_it_in_any_later_round(farm: Farm) -> None:
    assert farm.host() is None
    farm.answers("small", 100)
    farm.answers("large", 20_000)
    assert farm.host() == "large"
    for _ in range(3):
        farm.clock.now += 2 * 3600
        assert farm.host() is None, "what they said is too old"
        assert farm.asked() == {"large", "small"}
        farm.answers("small", 100)
        assert farm.host() is None
        farm.clock.now += 2
        farm.answers("large", 20_000)
        assert farm.host() == "large"


def test_only_those_are_asked_again_that_may_get_the_plot(farm: Farm) -> None:
    assert farm.host() is None
    farm.answers("small", 100)
    farm.answers("large", 20_000)
    farm.clock.now += 300
    assert farm.host() is None
    assert farm.asked() == {"large"}
    farm.answers("large", 50)
    assert farm.host() is None, "it has become full meanwhile"
    assert farm.asked() == {"small"}
    farm.answers("small", 100)
    assert farm.host() == "small"


def test_what_was_said_in_an_earlier_run_tells_whom_to_ask(farm: Farm) -> None:
    now = farm.clock.time()
    farm.dispatch.expect_rooms([RoomSaid("large", 20_000 * SIZE, now - 60), RoomSaid("small", 100 * SIZE, now - 60)])
    assert farm.host() is None
    assert farm.asked() == {"large"}
    farm.answers("large", 19_000)
    assert farm.host() == "large"
    farm.dispatch.answered.add("large")
    farm.dispatch.taken(farm.dispatch.all["large"], SIZE)
    assert farm.dispatch.rooms() == [RoomSaid("large", 18_999 * SIZE, now)]


def test_but_one_that_was_silent_is_asked_again(farm: Farm) -> None:
    now = farm.clock.time()
    farm.dispatch.expect_rooms([RoomSaid("large", 20_000 * SIZE, now), RoomSaid("small", 100 * SIZE, now)])
    farm.dispatch.expect_silence(["small"])
    assert farm.host() is None
    assert farm.asked() == {"large", "small"}


def test_a_round_that_takes_longer_than_an_answer_counts_comes_to_an_end(farm: Farm) -> None:
    assert farm.host() is None
    farm.answers("small", 100)
    farm.clock.now += 9
    farm.dispatch._rounds.answer_seconds = 1.0
    assert farm.host() is None
    farm.answers("large", 20_000)
    assert farm.host() == "large"
    assert farm.asked() == set()


def test_a_nas_that_does_not_answer_is_waited_for_once(farm: Farm) -> None:
    assert farm.host() is None
    farm.answers("small", 100)
    farm.clock.now += 9
    assert farm.host() is None
    farm.clock.now += 2
    assert farm.host() == "small"
    farm.clock.now += 300
    assert farm.host() is None, "what the other one said is too old"
    farm.answers("small", 100)
    assert farm.host() == "small", "it still has not answered"
    farm.answers("large", 20_000)
    assert farm.host() == "large"


@pytest.mark.parametrize(
    ("slowest_handshake", "patience"),
    [(0.2, 0.9), (4.0, 7.9)],
    ids=["not as long as for an answer", "on a slow machine as long as greeting takes"],
)
def test_one_that_greets_much_later_than_others(farm: Farm, slowest_handshake: float, patience: float) -> None:
    farm.is_connecting("large")
    farm.dispatch._slowest_handshake = slowest_handshake
    assert farm.host() is None
    farm.answers("small", 100)
    farm.clock.now += patience
    assert farm.host() is None
    farm.clock.now += 0.2
    assert farm.host() == "small"


def test_one_that_was_silent_in_the_last_run_is_waited_for_shortly(farm: Farm) -> None:
    farm.dispatch.expect_silence(["large", "gone from the configuration"])
    farm.is_connecting("large")
    farm.dispatch._slowest_handshake = 0.1
    assert farm.host() is None
    farm.answers("small", 100)
    farm.clock.now += 0.4
    assert farm.host() == "small"


def test_in_order_the_first_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    farm = Farm(monkeypatch, "in_order")
    assert farm.host() is None
    farm.answers("large", 3)
    assert farm.host() == "large"


def test_a_plot_that_nobody_has_room_for_is_refused_when_all_have_said_so(farm: Farm) -> None:
    job = Job(cast(PlotFile, Plot()))
    assert farm.dispatch.berth(job) is None
    farm.answers("small", 0)
    assert farm.dispatch.berth(job) is None
    assert job.refusals == {}
    farm.answers("large", 0)
    assert farm.dispatch.berth(job) is None
    assert set(job.refusals) == {"small", "large"}


# ---- The end of a run ----


class Ending:
    """A stream or a connection of which is noted when it is told to end, and when it is waited for."""

    def __init__(self, noted: list[str]) -> None:
        self._noted = noted

    def let_go(self) -> None:
        self._noted.append("told")

    def end(self) -> None:
        self._noted.append("waited for")

    close = end


def test_links_are_closed_side_by_side() -> None:
    noted: list[str] = []
    links = [Link(f"nas{number}", f"nas{number}", Config(Path("config"))) for number in range(3)]
    for link in links:
        link.streams = cast(Any, {Ending(noted): None})
        link._up = cast(Any, [Ending(noted)])
    links[0].opening = cast(Any, Ending(noted))
    close_links(links)
    assert noted == ["told"] * 3 + ["waited for"] * 3 + ["told"] * 4 + ["waited for"] * 4
    assert not any(link.streams or link.connections() for link in links)
