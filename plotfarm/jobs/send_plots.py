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
from plotfarm.jobs.dry_runs import document, say_busy
from plotfarm.jobs.finished_plots import FinishedPlots
from plotfarm.jobs.restored_times import restore_times
from plotfarm.jobs.sending_trouble import mismatch_conditions, tell_of_trouble
from plotfarm.jobs.telling import Teller
from plotfarm.reports import dry_run as words
from plotfarm.reports.dry_run import NasAnswer
from plotfarm.reports.envelope import Role
from plotfarm.reports.progress import Screen
from plotfarm.reports.terminal import say

_LOG = logging.getLogger(__name__)
_BUSY = "A transfer is already running: nothing to do."


def run(config: Config, *, dry_run: bool, as_json: bool = False) -> int:
    """Send what is finished; 0 if all went well or another run is at it, 1 if a plot or a NAS failed."""
    name = "plot_manager_testing.lock" if config.testing.testing else "plot_manager.lock"
    lock = sole_run(config.paths.locks / name)
    if lock is None:
        _LOG.info("Checkfile Exists, We are currently Running a Transfer, Exiting")
        return say_busy(_BUSY, config, Role.PLOTTER, dry_run=dry_run, as_json=as_json)
    with lock:
        _LOG.debug("Checkfile Does Not Exist")
        run_as_batch(config.transfer.niceness, config.transfer.io_priority)
        remove_leftovers(config.paths.locks)
        state = State(config.paths.state)
        try:
            restore_times(state)
            return _dry_run(config, lock, state, as_json) if dry_run else _send(config, lock, state)
        finally:
            state.close()


def _send(config: Config, lock: Lock, state: State) -> int:
    screen = Screen()
    plots = _plots(config, state, screen)
    teller = Teller(config, state.database)
    candidates = plots.begin(teller)

    sent = 0
    if candidates:
        from plotfarm.jobs.sending_run import SendingRun  # most runs have nothing to send, and do not wait for it

        sent = SendingRun(config, lock, state, plots, screen, dry_run=False).send(candidates)
    tell_of_trouble(plots.trouble, config, teller)
    teller.see(mismatch_conditions(state), Look.MISMATCHES)
    return plots.finish("send", is_quiet=bool(sent))


def _dry_run(config: Config, lock: Lock, state: State, as_json: bool) -> int:
    """Say what would go where. Where nothing would, the NAS are asked all the same: a dry run is a trial of the way."""
    from plotfarm.jobs.sending_run import SendingRun

    screen = Screen(is_silent=as_json)
    plots = _plots(config, state, screen)
    run = SendingRun(config, lock, state, plots, screen, dry_run=True)
    run.send(plots.begin(None))
    answers: list[NasAnswer] = []
    if not run.planned and not plots.failed:
        screen.result(words.nothing("sent", plots.waiting))
        answers = ask_every_nas(config)
        for answer in answers:
            screen.result(words.answered(answer))
    if as_json:
        say(document(config, Role.PLOTTER, words.data(run.planned, plots.not_taken, plots.failures, answers)))
    return 1 if plots.failed or any(answer.problem for answer in answers) else 0


def ask_every_nas(config: Config) -> list[NasAnswer]:
    """Return what each NAS can take of k32 plots, or why it cannot be asked."""
    from plotfarm.drives.choose import DEFAULT_PLOT_BYTES  # only a person's dry run needs these
    from plotfarm.jobs.dispatch import Dispatch

    dispatch = Dispatch(config)
    try:
        dispatch.ask_all(DEFAULT_PLOT_BYTES, config.transfer.silence_seconds)
        return [
            NasAnswer(
                host,
                plots=nas.said.plots if nas.said is not None else 0,
                bytes_each=DEFAULT_PLOT_BYTES,
                detail=nas.why,
                problem=dispatch.silent.get(host, "" if nas.said is not None else "it has not answered in time"),
            )
            for host, nas in dispatch.all.items()
        ]
    finally:
        dispatch.close()


def _plots(config: Config, state: State, screen: Screen) -> FinishedPlots:
    testing = config.testing
    directories = (testing.plot_directory,) if testing.testing else config.plotter.plot_directories
    if not directories:
        raise ConfigurationError(
            f"{config.path}: [plotter] plot_directories is empty: name the directories of your finished plots"
        )
    minimum_bytes = testing.minimum_size_bytes if testing.testing else 0
    return FinishedPlots(directories, config, state, screen, minimum_bytes)


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
