"""Reading the limits of this NAS that many plotters would meet."""

from __future__ import annotations

import contextlib
import re
import time
from pathlib import Path

from plotfarm.base.config.sections import Config
from plotfarm.base.errors import CommandFailed
from plotfarm.base.processes import find_program, run
from plotfarm.base.state import State
from plotfarm.reports.host_limits import HostLimits

_INOTIFY = Path("/proc/sys/fs/inotify/max_user_instances")
_LATELY_SECONDS = 7 * 86400.0
_SSHD_SECONDS = 5.0
_STARTUPS = re.compile(r"^maxstartups (\d+)", re.MULTILINE | re.IGNORECASE)


def read_limits(config: Config, state: State, drives: int) -> HostLimits:
    """Return the limits of this host, which has so many drives."""
    rooms = state.rooms(since=time.time() - _LATELY_SECONDS)
    return HostLimits(
        ports=len(config.transfer.ports),
        drives=drives,
        arrivals=config.receiving.arrivals,
        plotters=len({room.host for room in rooms}),
        sessions=config.receiving.sessions_per_plotter,
        inotify_instances=_inotify_instances(),
        startups=_startups(),
    )


def _inotify_instances() -> int | None:
    with contextlib.suppress(OSError, ValueError):
        return int(_INOTIFY.read_text())
    return None


def _startups() -> int | None:
    """Return how many connections sshd lets in before they log in; None if it does not say, or only root may ask."""
    sshd = find_program("sshd")
    if sshd is None:
        return None
    try:
        said = run([sshd, "-T"], timeout_seconds=_SSHD_SECONDS)
    except CommandFailed:
        return None
    match = _STARTUPS.search(said.output)
    return int(match.group(1)) if match and said.status == 0 else None
