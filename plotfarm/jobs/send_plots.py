"""plot_manager.py: sends every finished plot to a NAS, several at once, and removes what is safely there."""

from __future__ import annotations

import logging

from plotfarm.base.condition import Look
from plotfarm.base.config.sections import Config
from plotfarm.base.errors import ConfigurationError
from plotfarm.base.locks import Lock, sole_run
from plotfarm.base.processes import run_as_batch
from plotfarm.base.ssh import remove_leftovers
from plotfarm.base.state import State
from plotfarm.jobs.finished_plots import FinishedPlots
from plotfarm.jobs.restored_times import restore_times
from plotfarm.jobs.sending_trouble import mismatch_conditions, tell_of_trouble
from plotfarm.jobs.telling import Teller
from plotfarm.reports.progress import Screen

_LOG = logging.getLogger(__name__)


def run(config: Config, *, dry_run: bool) -> int:
    """Send what is finished; 0 if all went well or another run is at it, 1 if a plot or a NAS failed."""
    name = "plot_manager_testing.lock" if config.testing.testing else "plot_manager.lock"
    lock = sole_run(config.paths.locks / name)
    if lock is None:
        _LOG.info("Checkfile Exists, We are currently Running a Transfer, Exiting")
        Screen().say("A transfer is already running: nothing to do.")
        return 0
    with lock:
        _LOG.debug("Checkfile Does Not Exist")
        run_as_batch(config.transfer.niceness, config.transfer.io_priority)
        remove_leftovers(config.paths.locks)
        state = State(config.paths.state)
        try:
            restore_times(state)
            return _send(config, lock, state, dry_run)
        finally:
            state.close()


def _send(config: Config, lock: Lock, state: State, dry_run: bool) -> int:
    testing = config.testing
    directories = (testing.plot_directory,) if testing.testing else config.plotter.plot_directories
    if not directories:
        raise ConfigurationError(
            f"{config.path}: [plotter] plot_directories is empty: name the directories of your finished plots"
        )
    screen = Screen()
    minimum_bytes = testing.minimum_size_bytes if testing.testing else 0
    plots = FinishedPlots(directories, config, state, screen, minimum_bytes)
    teller = None if dry_run else Teller(config, state.database)
    candidates = plots.begin(teller)

    sent = 0
    if candidates:
        from plotfarm.jobs.sending_run import SendingRun  # most runs have nothing to send, and do not wait for it

        sent = SendingRun(config, lock, state, plots, screen, dry_run).send(candidates)
    if teller is not None:
        tell_of_trouble(plots.trouble, config, teller)
        teller.see(mismatch_conditions(state), Look.MISMATCHES)
    return plots.finish("send", is_quiet=bool(sent) or dry_run)


def let_go(config: Config, host: str) -> int:
    """Let the plots that a NAS may have already go to others: for one that stays away. 1 if there are none."""
    state = State(config.paths.state)
    try:
        count = state.journal_release(host)
    finally:
        state.close()
    screen = Screen()
    if not count:
        screen.complain(f"No plot waits for {host}.")
        return 1
    plots = "1 plot" if count == 1 else f"{count} plots"
    screen.result(f"{plots} may go to other NAS now. If {host} has one of them after all, it is stored twice.")
    return 0
