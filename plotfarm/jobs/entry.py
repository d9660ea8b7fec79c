"""What every script does around its job: configuration, logging, the record of the run, telling of trouble.

Its exit status is honest, and whatever ends it is told: a job that fails here, and what cannot even begin through
plotfarm/jobs/refusals.py and plotfarm/jobs/cannot_start.py.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import system_logging
from plotfarm.base.config import last_good
from plotfarm.base.config.loader import find_config, load
from plotfarm.base.config.sections import Config
from plotfarm.base.database import Database
from plotfarm.base.errors import PlotfarmError
from plotfarm.base.lock_waits import limit_waits, was_busy
from plotfarm.base.private import tighten
from plotfarm.base.runs import RunOutcome
from plotfarm.jobs.recording import Recording
from plotfarm.plots.names import allow_suffixes
from plotfarm.reports.terminal import complain, prepare

_LOG = logging.getLogger(__name__)
_INTERRUPTED = 130


@dataclass(frozen=True)
class _Ending:
    """How a job ended."""

    outcome: RunOutcome
    status: int  # exit status
    trouble: str = ""  # what ended it, in words; "": it came to its end


def run(
    script: str,
    job: Callable[[Config], int],
    config: str | None = None,
    demands: Sequence[str] = (),
    *,
    unattended: bool = False,
    tells: bool = True,
    logs_late: bool = False,
) -> int:
    """Load the configuration, set up logging for `script`, run `job`, and return the exit status.

    `config` is the path from the command line, if any; `demands` names the keys that the job cannot do
    without. An expected error becomes one line on stderr and in the log; anything else is a bug and leaves
    its traceback in the log. `unattended` jobs are those of cron: nobody looks, so an error that
    stays is told. What waits to be told is sent afterwards, unless the job `tells` nothing. With `logs_late` logging is
    set up only when there is something to log.
    """
    prepare(is_watched=not unattended)
    try:
        settings = load(find_config(config), demands)
    except PlotfarmError as error:
        complain(f"{script}: {error}")
        if unattended:
            _tell_of_refusal(script, config, error)
        return error.exit_status
    set_up(script, settings, logs_late=logs_late)
    last_good.keep(settings)
    if not tells:
        return _carried_out(script, job, settings).status

    recording = Recording(script, settings, unattended=unattended)
    ending = _carried_out(script, job, settings)
    recording.end(ending.outcome, ending.status)
    if ending.outcome is not RunOutcome.INTERRUPTED:
        if not unattended:
            _say_what_is_missing(script)
        _tell(script if unattended else "", ending.trouble, settings, recording.memory)
    recording.close()
    return ending.status


def set_up(script: str, settings: Config, *, logs_late: bool = False) -> None:
    """Do what a script needs before anything else: logging, limits, and nobody else in its directories."""
    tightened = tighten(settings.paths)
    configure = system_logging.configure_late if logs_late else system_logging.configure
    configure(script, settings)
    for line in tightened:
        _LOG.warning("%s", line)
    limit_waits(settings.watch.lock_seconds)
    allow_suffixes(settings.plots.other_suffixes)


def _carried_out(script: str, job: Callable[[Config], int], settings: Config) -> _Ending:
    """Run the job, and say on stderr and in the log what ended it."""
    try:
        status = job(settings)
    except PlotfarmError as error:
        _LOG.error("%s", error)
        complain(f"{script}: {error}")
        return _Ending(RunOutcome.FAILED, error.exit_status, str(error))
    except KeyboardInterrupt:
        _LOG.warning("Interrupted")
        return _Ending(RunOutcome.INTERRUPTED, _INTERRUPTED)
    except Exception as error:  # a bug: never a silent stop
        trouble = f"unexpected {type(error).__name__}: {error}"
        _report_bug(error, script, settings)
        complain(f"{script}: {trouble} (the log in {settings.paths.logs} has the details)")
        return _Ending(RunOutcome.FAILED, 1, trouble)
    return _Ending(RunOutcome.BUSY if was_busy() else RunOutcome.DONE, status)


def _say_what_is_missing(script: str) -> None:
    """Tell the person who looks that this run knew nothing of the past; a later version's file was told of already."""
    from plotfarm.base.memory_trouble import Trouble, met  # with SQLite, which not everything here needs at once

    for one in met():
        if one.trouble is not Trouble.NEWER:
            detail = f"({one.detail}): what this host remembers is missing here"
            complain(f"{script}: {one.path} cannot be used {detail}")


def _report_bug(error: Exception, script: str, config: Config) -> None:
    _LOG.exception("Unexpected error")
    if config.notifications.sentry_dsn:
        from plotfarm.notify import bugs

        bugs.report(error, script, config)


def _tell(script: str, trouble: str, config: Config, memory: Database | None = None) -> None:
    """Say that an unattended script is in trouble or out of it, and have what is in the outbox sent."""
    from plotfarm.jobs import after_run

    try:
        after_run.tell(script, trouble, config, memory)
    except Exception:  # the job is done: who cannot be told of it does not undo that
        _LOG.exception("What this run had to tell could not be stored")


def _tell_of_refusal(script: str, config: str | None, error: PlotfarmError) -> None:
    """Tell of a configuration that cannot be used through the last one that could."""
    from plotfarm.jobs import refusals

    try:
        refusals.tell_of_configuration(script, config, error)
    except Exception:  # stderr has said what is wrong
        _LOG.exception("A configuration that cannot be used could not be told of")
