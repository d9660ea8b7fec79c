"""The named states of a plot's journey, said aloud as they are reached.

For fault tests a process can be made to stop itself at one of them: with
`PLOT_MANAGER_STOP_AT=publish:renamed` in its environment it sends itself SIGSTOP there, and the test
decides what happens to it. Nothing else reads that variable, and it does not travel over ssh.
"""

from __future__ import annotations

import logging
import os
import signal

_LOG = logging.getLogger(__name__)
STOP_AT = "PLOT_MANAGER_STOP_AT"


def reached(state: str) -> None:
    """Say in the debug log that `state` is reached, and stop there if the environment asks for it."""
    _LOG.debug("State: %s", state)
    if os.environ.get(STOP_AT) == state:
        os.kill(os.getpid(), signal.SIGSTOP)
