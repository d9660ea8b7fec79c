"""Looking at every plot drive once, and deciding which one comes next: what normal mode and the reports start from."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from plotfarm.base.config.sections import Config
from plotfarm.base.state import State, Transfer
from plotfarm.drives.choose import NEWEST_ARRIVALS, Choice, arriving_plot_bytes, judge, select
from plotfarm.drives.file_systems import FileSystems
from plotfarm.drives.model import Arrival, Drive, Reading, Verdict
from plotfarm.drives.mounts import Survey, as_mountpoint, natural_order, survey
from plotfarm.drives.offlined import is_offlined, read_offlined
from plotfarm.drives.probe import probe
from plotfarm.drives.reasons import Reason
from plotfarm.drives.remembered import LastReadings, as_last_known
from plotfarm.drives.reservations import Reservations
from plotfarm.jobs.fitness import quarantined_drives, unfit_drives
from plotfarm.plots.formats import NO_PLOTS

if TYPE_CHECKING:
    from plotfarm.drives.probe import Counting

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class DrivesSeen:
    """What was seen of the drives at one moment, before anything was decided."""

    survey: Survey
    readings: tuple[Reading, ...]
    arrivals: tuple[Arrival, ...]
    current: str  # mountpoint of the configured plot drive; "" if none is
    plot_bytes: int


@dataclass(frozen=True)
class Stock:
    """What was found at one moment: every drive's answer, and the choice that was made from them."""

    choice: Choice
    readings: Mapping[str, Reading]  # by identity; only of drives that are mounted
    view: DrivesSeen | None = None  # None: it was made of values


def take_stock(config: Config, state: State, counting: Counting | None = None) -> Stock:
    """Look at every drive once and decide which one comes next; with `counting` also count the plots on them.

    Offlined drives are not touched: of them is told what they answered last.
    """
    return _decide(config, state, _look(config, state, counting))


def decide_again(config: Config, state: State, stock: Stock) -> Stock:
    """Return the same with what is known by now of the drives' health and of what is offline; none is asked again."""
    return _decide(config, state, stock.view) if stock.view is not None else stock


def _look(config: Config, state: State, counting: Counting | None) -> DrivesSeen:
    current = as_mountpoint(config.plotting_drives.current_plotting_drive)
    reservations = Reservations(config.paths.locks)
    with reservations.mutex():
        arrivals = reservations.arrivals()
    seen = _look_around(config, current, state)
    names = [arrival.plot for arrival in arrivals]
    readings = _ask(config, state, seen.drives, names, counting)
    seen = _with_replaced(config, current, state, seen, readings)
    for reading in readings:
        if reading.problem and reading.was_asked:
            _LOG.warning("Plot drive %s: %s", reading.drive.mountpoint, reading.problem)
    size = arriving_plot_bytes(
        [
            *(arrival.bytes for arrival in arrivals if arrival.bytes and arrival.format not in NO_PLOTS),
            *(transfer.bytes for transfer in newest_stored(state)),
        ]
    )
    return DrivesSeen(seen, tuple(readings), tuple(arrivals), current, size)


def _ask(
    config: Config, state: State, drives: Sequence[Drive], names: Sequence[str], counting: Counting | None
) -> list[Reading]:
    """Ask every drive but the offlined ones, and remember what they answered."""
    offlined = read_offlined(config.paths.state)
    left_alone = [drive for drive in drives if is_offlined(drive, offlined)]
    last = LastReadings(state.database)
    begun = time.clock_gettime(time.CLOCK_BOOTTIME)
    readings = probe(
        drives,
        names,
        config.drives.probe_seconds,
        config.paths.locks,
        counting,
        leave_out={drive.identity for drive in left_alone},
        no_parts={
            identity: answer.reading.no_parts
            for identity, answer in last.of(drives).items()
            if answer.reading.no_parts is not None
        },
    )
    last.remember(readings, begun)
    return as_last_known(readings, left_alone, state.database)


def _decide(config: Config, state: State, view: DrivesSeen) -> Stock:
    drives, current = view.survey.drives, view.current
    offlined = read_offlined(config.paths.state)
    verdicts = judge(
        view.readings,
        view.arrivals,
        offlined,
        view.plot_bytes,
        config.drives.minimum_free_bytes,
        unfit_drives(config, state),
        quarantined_drives(state, drives),
    )
    on_current = {drive.identity for drive in drives if drive.mountpoint == current}
    arriving = any(arrival.alive and arrival.identity in on_current for arrival in view.arrivals)
    selected = select(verdicts, config.drives.policy, current, arriving)
    passed_over = [verdict for verdict in view.survey.passed_over if not _is_given_up(verdict, offlined)]
    order = natural_order()
    every = sorted([*verdicts, *passed_over], key=lambda verdict: order(verdict.drive))
    choice = Choice(current, selected, tuple(every), config.drives.policy, view.plot_bytes, arriving)
    return Stock(choice, {reading.drive.identity: reading for reading in view.readings}, view)


def _is_given_up(verdict: Verdict, offlined: Collection[str]) -> bool:
    """Tell whether the owner has said that a drive was replaced on purpose."""
    return verdict.why.reason is Reason.WRONG_DRIVE and verdict.drive.identity in offlined


def newest_stored(state: State) -> list[Transfer]:
    """Return the plots that arrived last, newest first."""
    return state.newest_stored(NEWEST_ARRIVALS, without=NO_PLOTS)


def _look_around(config: Config, current: str, state: State) -> Survey:
    """Find the drives, and remember those that were not here before."""
    known = state.known_drives()
    seen = survey(config.drives, current, known, FileSystems(state.database).at_places())
    here = {drive.identity: (drive.mountpoint, drive.device) for drive in seen.drives}
    if any(known.get(identity) != where for identity, where in here.items()):
        state.know_drives(here)
    return seen


def _with_replaced(config: Config, current: str, state: State, seen: Survey, readings: Sequence[Reading]) -> Survey:
    """Add the drives whose place another file system has taken, as far as only reading the drives shows it."""
    file_systems = FileSystems(state.database)
    gone = file_systems.learn(readings, file_systems.at_places())
    if not gone:
        return seen
    devices = {drive.mountpoint: drive.device for drive in seen.drives}
    state.know_drives({f"uuid:{uuid}": (place, devices[place]) for place, uuid in gone.items()})
    again = survey(config.drives, current, state.known_drives(), file_systems.at_places())
    return Survey(seen.drives, again.passed_over)
