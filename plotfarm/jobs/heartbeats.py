"""The heartbeat of a run: a process of its own is told that the run begins and how it ended, and sends that.

The run itself only writes two lines into a pipe, so no service can slow it down. If it is killed the pipe ends without
the second line, and the other process tells that too.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import subprocess
import sys
from typing import IO, TYPE_CHECKING

from plotfarm.base.config.loader import CHECKOUT
from plotfarm.base.config.sections import Config
from plotfarm.base.errors import PlotfarmError
from plotfarm.base.runs import Run, RunOutcome

if TYPE_CHECKING:
    from collections.abc import Mapping

_LOG = logging.getLogger(__name__)
_LONGEST_TIMEOUT_SECONDS = 10.0
_NICENESS = 10


class RunHeartbeat:
    """The process that tells of one run."""

    def __init__(self, run: Run, url: str, config: Config) -> None:
        self._sender = _start()
        has_log = config.system_logging.logging
        self._write(
            {
                "url": url,
                "run_id": run.id,
                "timeout_seconds": min(_LONGEST_TIMEOUT_SECONDS, config.notifications.timeout_seconds),
                "log": str(config.paths.logs / f"{run.script}.log") if has_log else "",
            }
        )

    def end(self, run: Run, holder: Run | None = None) -> None:
        """Tell how the run ended; `holder`: the run that is at it, if this one found another."""
        if run.outcome is RunOutcome.BUSY and holder is not None:
            self._write({"event": "busy", "run_id": holder.id})
        elif run.outcome is RunOutcome.BUSY:  # nobody of this suite is at it: no reason to call that success
            self._write({"event": "ended", "status": 1, "seconds": run.seconds})
        else:
            self._write({"event": "ended", "status": run.status, "seconds": run.seconds})
        with contextlib.suppress(OSError):
            self._pipe.close()

    @property
    def _pipe(self) -> IO[bytes]:
        assert self._sender.stdin is not None, "it was started with a pipe"
        return self._sender.stdin

    def _write(self, facts: Mapping[str, object]) -> None:
        with contextlib.suppress(OSError):  # it has died, and the run goes on
            self._pipe.write(json.dumps(facts).encode() + b"\n")
            self._pipe.flush()


def heartbeat_of(run: Run, config: Config) -> RunHeartbeat | None:
    """Begin the heartbeat of a run; None if its script has none, or nothing can send it."""
    url = _url(run.script, config)
    if not url:
        return None
    try:
        return RunHeartbeat(run, url, config)
    except OSError as error:
        _LOG.error("No heartbeat of this run can be sent: %s", error.strerror)
        return None


def _url(script: str, config: Config) -> str:
    secret = getattr(config.heartbeat, script, None)
    try:
        return secret.reveal() if secret else ""
    except PlotfarmError as error:
        _LOG.error("No heartbeat of this run can be sent: %s", error)
        return ""


def _start() -> subprocess.Popen[bytes]:
    # Without the packages of `.venv` (-S), which it does not need: it starts in a third of the time.
    sender = subprocess.Popen(
        [sys.executable, "-S", "-m", "plotfarm.notify.heartbeat_sender"],
        cwd=CHECKOUT,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    os.setpriority(os.PRIO_PROCESS, sender.pid, _NICENESS)  # at once: it must not keep the run from a processor
    return sender
