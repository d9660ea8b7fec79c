"""What every script does around its job: configuration, logging, and an honest exit status."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Sequence

import system_logging
from plotfarm.base.config.loader import find_config, load
from plotfarm.base.config.sections import Config
from plotfarm.base.errors import PlotfarmError

_LOG = logging.getLogger(__name__)


def run(script: str, job: Callable[[Config], int], config: str | None = None, demands: Sequence[str] = ()) -> int:
    """Load the configuration, set up logging for `script`, run `job`, and return the exit status.

    `config` is the path from the command line, if any; `demands` names the keys that the job cannot do
    without. An expected error becomes one line on stderr and in the log; anything else is a bug and leaves
    its traceback in the log.
    """
    try:
        settings = load(find_config(config), demands)
    except PlotfarmError as error:
        print(f"{script}: {error}", file=sys.stderr)  # noqa: T201
        return error.exit_status
    system_logging.configure(script, settings)
    try:
        return job(settings)
    except PlotfarmError as error:
        _LOG.error("%s", error)
        print(f"{script}: {error}", file=sys.stderr)  # noqa: T201
        return error.exit_status
    except KeyboardInterrupt:
        _LOG.warning("Interrupted")
        return 130
    except Exception as error:  # a bug: never a silent stop
        _LOG.exception("Unexpected error")
        print(  # noqa: T201
            f"{script}: unexpected {type(error).__name__}: {error} (the log in {settings.paths.logs} has the details)",
            file=sys.stderr,
        )
        return 1
