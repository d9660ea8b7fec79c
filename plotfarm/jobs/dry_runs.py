"""What plot_manager.py and move_local_plots.py say alike: the JSON of a dry run, and that another run is at it."""

from __future__ import annotations

import time

from plotfarm.base.config.sections import Config
from plotfarm.jobs.server import sender
from plotfarm.reports import dry_run as words
from plotfarm.reports.envelope import Report, Role, enveloped
from plotfarm.reports.progress import Screen
from plotfarm.reports.terminal import say


def say_busy(message: str, config: Config, role: Role, *, dry_run: bool, as_json: bool) -> int:
    """Say that another run is at it: to a person who looks, and whoever has asked for a report. Returns 0."""
    screen = Screen(is_silent=as_json)
    if dry_run:
        screen.result(message)
    else:
        screen.say(message)
    if as_json:
        say(document(config, role, words.data([], [], [], is_busy=True)))
    return 0


def document(config: Config, role: Role, data: dict[str, object]) -> str:
    """Return the JSON of a dry run."""
    return enveloped(Report.DRY_RUN, sender(config, role), data, time.time())
