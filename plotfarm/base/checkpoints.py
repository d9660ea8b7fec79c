"""The named states of a plot's journey, said aloud as they are reached.

For fault tests a process can be made to stop itself at one of them: with
`PLOT_MANAGER_STOP_AT=before:LinkPart` in its environment it sends itself SIGSTOP there, with `before:Send#2` when that
state comes for the second time, and the test decides what happens to it. Nothing else reads that variable, and it does
not travel over ssh.
"""

from __future__ import annotations

import logging
import os
import signal

_LOG = logging.getLogger(__name__)
STOP_AT = "PLOT_MANAGER_STOP_AT"
_times: dict[str, int] = {}  # state -> how often it was reached, where a process is to stop itself


def reached(state: str) -> None:
    """Say in the debug log that `state` is reached, and stop there if the environment asks for it."""
    _LOG.debug("State: %s", state)
    wanted, _, number = os.environ.get(STOP_AT, "").partition("#")
    if wanted != state:
        return
    _times[state] = _times.get(state, 0) + 1
    if not number or int(number) == _times[state]:
        os.kill(os.getpid(), signal.SIGSTOP)
