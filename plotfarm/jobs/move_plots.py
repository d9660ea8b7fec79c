"""move_local_plots.py: takes plots that were made on this NAS to its drives, several at once, each to another drive."""

from __future__ import annotations

import logging
import os

from plotfarm.base.condition import AlertKind, Condition, Look, Severity
from plotfarm.base.config.sections import Config
from plotfarm.base.errors import ConfigurationError
from plotfarm.base.locks import Lock, sole_run
from plotfarm.base.processes import run_as_batch
from plotfarm.base.state import State
from plotfarm.drives.model import Drive
from plotfarm.drives.mounts import find_drives
from plotfarm.drives.offlined import is_offlined, read_offlined
from plotfarm.jobs.dry_runs import document, say_busy
from plotfarm.jobs.finished_plots import FinishedPlots
from plotfarm.jobs.restored_times import restore_times
from plotfarm.jobs.sending_trouble import tell_of_trouble
from plotfarm.jobs.telling import Teller
from plotfarm.reports import dry_run as words
from plotfarm.reports.envelope import Role
from plotfarm.reports.progress import Screen
from plotfarm.reports.terminal import say

_LOG = logging.getLogger(__name__)
_BUSY = "Plots are being moved already: nothing to do."


def run(config: Config, *, dry_run: bool, as_json: bool = False) -> int:
    """Move what is finished; 0 if all went well or another run is at it, 1 if a plot stays that could move."""
    lock = sole_run(config.paths.locks / "move_local_plots.lock")
    if lock is None:
        _LOG.info("Checkfile Exists, We are currently Running a Transfer, Exiting")
        return say_busy(_BUSY, config, Role.NAS, dry_run=dry_run, as_json=as_json)
    with lock:
        run_as_batch(io_priority=config.local_plots.io_priority)
        state = State(config.paths.state)
        try:
            restore_times(state)
            return _dry_run(config, lock, state, as_json) if dry_run else _move(config, lock, state)
        finally:
            state.close()


def _move(config: Config, lock: Lock, state: State) -> int:
    screen = Screen()
    plots = FinishedPlots(config.local_plots.plot_directories, config, state, screen)
    teller = Teller(config, state.database)
    online = _warn_of_directories(config, screen)
    candidates = plots.begin(teller)

    moved = 0
    if candidates:
        from plotfarm.jobs.moving_run import MovingRun  # most runs have nothing to move, and do not wait for it

        moved = MovingRun(config, lock, state, plots, screen, dry_run=False).move(candidates)
    teller.see(online, Look.LOCAL_DIRECTORY)
    tell_of_trouble(plots.trouble, config, teller, "local plots")
    return plots.finish("move", is_quiet=bool(moved))


def _dry_run(config: Config, lock: Lock, state: State, as_json: bool) -> int:
    """Say what would go where."""
    from plotfarm.jobs.moving_run import MovingRun

    screen = Screen(is_silent=as_json)
    plots = FinishedPlots(config.local_plots.plot_directories, config, state, screen)
    _warn_of_directories(config, screen)
    run = MovingRun(config, lock, state, plots, screen, dry_run=True)
    run.move(plots.begin(None))
    if not run.planned and not plots.failed:
        screen.result(words.nothing("moved", plots.waiting))
    if as_json:
        say(document(config, Role.NAS, words.data(run.planned, plots.not_taken, plots.failures)))
    return 1 if plots.failed else 0


def _warn_of_directories(config: Config, screen: Screen) -> list[Condition]:
    """Say which plot directories lie on drives that get plots, and return them."""
    online = directories_on_drives(config)
    for condition in online:
        warning = "{directory} is on the plot drive {drive}, which gets plots too: drive_manager.py -off {drive}"
        message = warning.format(**condition.facts)
        _LOG.warning("%s", message)
        screen.complain(message)
    return online


def directories_on_drives(config: Config) -> list[Condition]:
    """Return a condition for each plot directory on a drive that gets plots; ConfigurationError if it is a drive."""
    offlined, found = read_offlined(config.paths.state), []
    places = [(drive, _real_place(drive)) for drive in find_drives(config.drives)]
    for directory in config.local_plots.plot_directories:
        real = os.path.realpath(directory)
        for drive, place in places:
            if real == place:
                raise ConfigurationError(
                    f"[local_plots] plot_directories: {directory} is a plot drive itself; name a directory that is none"
                )
            if real.startswith(f"{place}/") and not is_offlined(drive, offlined):
                facts = {"directory": str(directory), "drive": drive.name, "mountpoint": drive.mountpoint}
                found.append(Condition(AlertKind.LOCAL_DIRECTORY, str(directory), Severity.WARNING, facts))
    return found


def _real_place(drive: Drive) -> str:
    """Return the drive's path without symbolic links; the drive itself, which is no link, is not touched for that."""
    above, name = os.path.split(drive.mountpoint)
    return os.path.join(os.path.realpath(above), name)
