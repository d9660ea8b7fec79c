"""What counts for the quotas of a plotter: all that lies on the drives for it, whatever became of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from plotfarm.base.config.sections import Config, Paths, Receiving
from plotfarm.base.state import State
from plotfarm.drives.model import Arrival, Drive, Reading
from plotfarm.jobs.arrival_limits import ArrivalLimits
from plotfarm.plots.parts import FoundPart, PartFacts, part_name
from plotfarm.transfer.messages import Offer
from plotfarm.transfer.outcomes import Refusal

PLOTTER = "chiaplot01"
SIZE = 100
OFFER = Offer(
    name="plot-k32-new.plot",
    size=SIZE,
    format="v1",
    k=32,
    id="ab",
    is_dry_run=False,
    patience_seconds=0.0,
    streams=1,
    plot_directory="/plots",
    free_bytes=None,
    waiting_bytes=0,
    hours_left=None,
)
DRIVE = Drive("/mnt/drive1", "/dev/sdb1", "uuid:1", 2065, "ext4")


class Nas:
    """The limits of one NAS, and what lies on its only drive."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.state = State(directory)
        self.arrivals: list[Arrival] = []
        self.parts: list[FoundPart] = []

    def refusal(self, receiving: Receiving, offer: Offer = OFFER) -> Refusal | None:
        config = Config(self.directory / "plot_manager_config", paths=Paths(locks=self.directory), receiving=receiving)
        limits = ArrivalLimits(config, self.state, PLOTTER)
        readings: Sequence[Reading] = [Reading(DRIVE, parts=tuple(self.parts))]
        refused = limits.over_quota(offer, self.arrivals, readings)
        return refused.refusal if refused is not None else None

    def arrive(self, plotter: str = PLOTTER, arrival: str = "0" * 16) -> None:
        each = Arrival("plot-k32-x.plot", SIZE, 10, DRIVE.identity, plotter, 0.0, alive=True, arrival_id=arrival)
        self.arrivals.append(each)

    def keep(self, plot: str, plotter: str = PLOTTER, arrival: str = "1" * 16, *, is_alive: bool = False) -> None:
        part = FoundPart(
            name=part_name(plot, arrival),
            plot=plot,
            arrival=arrival,
            facts=PartFacts(plotter, SIZE, OFFER.id),
            size=60,
            allocated_bytes=60,
            inode=5,
            links=1,
            is_alive=is_alive,
            is_committed=False,
        )
        self.parts.append(part)


@pytest.fixture
def nas(tmp_path: Path) -> Nas:
    return Nas(tmp_path)


def daily(quota: int) -> Receiving:
    return Receiving(daily_quota_bytes=quota)


def unfinished(quota: int) -> Receiving:
    return Receiving(unfinished_quota_bytes=quota)


def test_without_a_quota_nothing_is_refused(nas: Nas) -> None:
    nas.state.count_received(PLOTTER, 10**15)
    nas.arrive()
    assert nas.refusal(Receiving()) is None


def test_what_was_stored_what_arrives_and_what_was_left_count_together(nas: Nas) -> None:
    nas.state.count_received(PLOTTER, 1000)
    nas.arrive()
    nas.keep("plot-k32-left.plot")
    assert nas.refusal(daily(1000 + 100 + 60 + SIZE)) is None
    assert nas.refusal(daily(1000 + 100 + 60 + SIZE - 1)) is Refusal.DAILY_QUOTA


def test_what_is_stored_is_not_unfinished(nas: Nas) -> None:
    nas.state.count_received(PLOTTER, 1000)
    nas.arrive()
    nas.keep("plot-k32-left.plot")
    assert nas.refusal(unfinished(100 + 60 + SIZE)) is None
    assert nas.refusal(unfinished(100 + 60 + SIZE - 1)) is Refusal.UNFINISHED_QUOTA


@pytest.mark.parametrize("limit", [daily, unfinished])
def test_what_others_have_here_does_not_count(nas: Nas, limit: type[Receiving]) -> None:
    nas.state.count_received("other", 1000)
    nas.arrive("other")
    nas.keep("plot-k32-left.plot", "other")
    assert nas.refusal(limit(SIZE)) is None


def test_the_part_that_an_arrival_writes_to_counts_once(nas: Nas) -> None:
    nas.arrive(arrival="2" * 16)
    nas.keep("plot-k32-x.plot", arrival="2" * 16, is_alive=True)
    assert nas.refusal(unfinished(100 + SIZE)) is None


def test_what_the_offered_plot_has_here_already_is_among_its_own_bytes(nas: Nas) -> None:
    nas.keep(OFFER.name)
    assert nas.refusal(unfinished(SIZE)) is None
    nas.keep(OFFER.name, arrival="3" * 16)
    assert nas.refusal(unfinished(SIZE)) is Refusal.UNFINISHED_QUOTA, "only one of them is resumed"
    assert nas.refusal(unfinished(60 + SIZE)) is None


def test_a_part_of_that_name_for_another_plot_is_not_resumed(nas: Nas) -> None:
    nas.keep(OFFER.name)
    assert nas.refusal(unfinished(SIZE), replace(OFFER, id="cd")) is Refusal.UNFINISHED_QUOTA


def test_where_nobody_can_count_a_quota_refuses(tmp_path: Path) -> None:
    directory = tmp_path / "state"
    directory.write_text("in the way")
    nas = Nas(directory)
    assert nas.refusal(daily(10**15)) is Refusal.DAILY_QUOTA
    assert nas.refusal(unfinished(10**15)) is None
