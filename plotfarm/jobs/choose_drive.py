"""`drive_manager.py` in normal mode: which drive the next plots go to."""

from __future__ import annotations

import logging
import shutil
import sys
import time
from collections.abc import Sequence

from plotfarm.base.config.sections import Config
from plotfarm.base.errors import PlotfarmError
from plotfarm.base.locks import Lock, LockBusy, refuse_network_directory
from plotfarm.base.state import Room, State
from plotfarm.base.units import format_bytes
from plotfarm.drives.choose import Choice, arriving_plot_bytes, judge, select
from plotfarm.drives.model import Arrival
from plotfarm.drives.mounts import Survey, as_mountpoint, natural_order, survey
from plotfarm.drives.offlined import read_offlined
from plotfarm.drives.probe import probe
from plotfarm.drives.reservations import Reservations
from plotfarm.jobs.leftovers import remove_leftovers
from plotfarm.reports import explain as words

_LOG = logging.getLogger(__name__)
_ROOM_AGE_SECONDS = 2 * 3600  # an older reading of a plot directory says nothing about now


def choose_drive(config: Config) -> int:
    """Choose the plot drive and write it back if it changed; PlotfarmError if no drive can take a plot."""
    refuse_network_directory(config.paths.locks)
    lock = Lock(config.paths.locks / "drive_manager.lock")
    try:
        lock.acquire()
    except LockBusy as busy:
        _LOG.info("drive_manager is running already (%s), Exiting", busy)
        return 0
    with lock:
        remove_leftovers(config)
        state = State(config.paths.state)
        choice = take_stock(config, state)
        for line in filling_up(state.rooms(since=time.time() - _ROOM_AGE_SECONDS), config.plotter.warn_hours_left):
            _LOG.warning("%s", line)
        state.close()
        _carry_out(choice, config)
    return 0


def explain(config: Config, json: bool = False) -> int:
    """Print for each drive why it would be taken or passed over; nothing is changed."""
    refuse_network_directory(config.paths.locks)
    state = State(config.paths.state)
    choice = take_stock(config, state)
    state.close()
    terminal = sys.stdout.isatty()
    width = shutil.get_terminal_size().columns if terminal else None
    text = words.as_json(choice) if json else words.as_text(choice, width, words.wants_colour(sys.stdout))
    print(text)  # noqa: T201
    return 0


def take_stock(config: Config, state: State) -> Choice:
    """Look at every drive once and decide which one comes next."""
    current = as_mountpoint(config.plotting_drives.current_plotting_drive)
    reservations = Reservations(config.paths.locks)
    with reservations.mutex():
        arrivals = reservations.arrivals()
    seen = _look_around(config, current, state)
    names = [arrival.plot for arrival in arrivals]
    readings = probe(seen.drives, names, config.drives.probe_seconds, config.paths.locks)
    for reading in readings:
        if reading.problem:
            _LOG.warning("Plot drive %s: %s", reading.drive.mountpoint, reading.problem)
    size = _plot_bytes(arrivals, state)
    verdicts = judge(readings, arrivals, read_offlined(config.paths.state), size, config.drives.minimum_free_bytes)
    on_current = {drive.identity for drive in seen.drives if drive.mountpoint == current}
    arriving = any(arrival.alive and arrival.identity in on_current for arrival in arrivals)
    chosen = select(verdicts, config.drives.policy, current, arriving)
    order = natural_order()
    every = sorted([*verdicts, *seen.passed_over], key=lambda verdict: order(verdict.drive))
    return Choice(current, chosen, tuple(every), config.drives.policy, size, arriving)


def _look_around(config: Config, current: str, state: State) -> Survey:
    """Find the drives, and remember those that were not here before."""
    known = state.known_drives()
    seen = survey(config.drives, current, known)
    here = {drive.identity: (drive.mountpoint, drive.device) for drive in seen.drives}
    if any(known.get(identity) != where for identity, where in here.items()):
        state.know_drives(here)
    return seen


def _plot_bytes(arrivals: Sequence[Arrival], state: State) -> int:
    """Return the plot size to plan with: from what arrives now and what arrived last."""
    stored = [transfer.bytes for transfer in state.transfers(limit=40) if transfer.result == "stored"]
    return arriving_plot_bytes([*(arrival.bytes for arrival in arrivals if arrival.bytes), *stored])


def _carry_out(choice: Choice, config: Config) -> None:
    _LOG.debug("Currently Configured Plot Drive: %s", choice.current)
    if choice.chosen is None:
        raise PlotfarmError(no_drive(choice))
    selected = choice.chosen.drive.mountpoint
    _LOG.debug("System Selected Plot Drive:      %s", selected)
    if choice.arriving:
        _LOG.debug("A plot is arriving on %s: the plot drive stays", selected)
    if selected == choice.current:
        _LOG.debug("Configured and Selected Drives Match!")
    else:
        from plotfarm.base.config.writer import write_values  # slow to import, seldom needed

        write_values(config.path, {("plotting_drives", "current_plotting_drive"): selected})
        _LOG.info("Plot Drive Updated: Was: %s,  Now: %s", choice.current or "(none)", selected)
    _LOG.debug("Plots left available on configured plotting drive: %d", choice.chosen.room_plots)


def no_drive(choice: Choice) -> str:
    """Return the message for the day when no drive can take a plot."""
    if not choice.verdicts:
        return words.NO_DRIVES
    reasons = words.reasons_in_short(choice.verdicts)
    return f"no drive can take a plot ({reasons}): add or empty a drive; drive_manager.py --explain shows each"


def filling_up(rooms: Sequence[Room], warn_hours_left: float) -> list[str]:
    """Return a warning for each plot directory that is nearly full by its newest (last) reading."""
    newest = {(room.host, room.directory): room for room in rooms}
    return [
        f"The plot directory {room.directory} of {room.host} fills up: {format_bytes(room.free_bytes)} free, "
        f"full in {room.hours_left:.1f} hours"
        for room in newest.values()
        if room.hours_left is not None and room.hours_left < warn_hours_left
    ]
