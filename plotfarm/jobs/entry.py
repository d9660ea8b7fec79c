"""What every script does around its job: configuration, logging, telling of trouble, and an honest exit status."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Sequence

import system_logging
from plotfarm.base.config.loader import find_config, load
from plotfarm.base.config.sections import Config
from plotfarm.base.errors import PlotfarmError
from plotfarm.base.memory_trouble import Trouble, met
from plotfarm.base.streams import forgive_errors_of_complaints, forgive_errors_of_output
from plotfarm.plots.names import allow_suffixes

_LOG = logging.getLogger(__name__)


def run(
    script: str,
    job: Callable[[Config], int],
    config: str | None = None,
    demands: Sequence[str] = (),
    *,
    unattended: bool = False,
    tells: bool = True,
) -> int:
    """Load the configuration, set up logging for `script`, run `job`, and return the exit status.

    `config` is the path from the command line, if any; `demands` names the keys that the job cannot do
    without. An expected error becomes one line on stderr and in the log; anything else is a bug and leaves
    its traceback in the log. `unattended` jobs are those of cron: nobody looks, so an error that
    stays is told. What waits to be told is sent afterwards, unless the job `tells` nothing: it is the one that sends.
    """
    forgive_errors_of_complaints()
    if unattended:  # who reads a report is to learn that it was not written
        forgive_errors_of_output()
    try:
        settings = load(find_config(config), demands)
    except PlotfarmError as error:
        print(f"{script}: {error}", file=sys.stderr)  # noqa: T201
        return error.exit_status
    system_logging.configure(script, settings)
    allow_suffixes(settings.plots.other_suffixes)
    trouble = ""
    try:
        status = job(settings)
    except PlotfarmError as error:
        trouble, status = str(error), error.exit_status
        _LOG.error("%s", error)
        print(f"{script}: {error}", file=sys.stderr)  # noqa: T201
    except KeyboardInterrupt:
        _LOG.warning("Interrupted")
        return 130
    except Exception as error:  # a bug: never a silent stop
        trouble, status = f"unexpected {type(error).__name__}: {error}", 1
        _report_bug(error, script, settings)
        print(  # noqa: T201
            f"{script}: {trouble} (the log in {settings.paths.logs} has the details)",
            file=sys.stderr,
        )
    if not unattended:
        _say_what_is_missing(script)
    if tells:
        _tell(script if unattended else "", trouble, settings)
    return status


def _say_what_is_missing(script: str) -> None:
    """Tell the person who looks that this run knew nothing of the past; a later version's file was told of already."""
    for one in met():
        if one.trouble is not Trouble.NEWER:
            print(  # noqa: T201
                f"{script}: {one.path} cannot be used ({one.detail}): what this host remembers is missing here",
                file=sys.stderr,
            )


def _report_bug(error: Exception, script: str, config: Config) -> None:
    _LOG.exception("Unexpected error")
    if config.notifications.sentry_dsn:
        from plotfarm.notify import bugs

        bugs.report(error, script, config)


def _tell(script: str, trouble: str, config: Config) -> None:
    """Say that an unattended script is in trouble or out of it, and have what is in the outbox sent."""
    from plotfarm.jobs import after_run

    try:
        after_run.tell(script, trouble, config)
    except Exception:  # the job is done: who cannot be told of it does not undo that
        _LOG.exception("What this run had to tell could not be stored")
