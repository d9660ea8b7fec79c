"""Sends the heartbeats of one run: a process of its own, which lives as long as the run and a little longer.

The run writes a line of JSON to its standard input when it begins, and one when it ends. If the input ends without
that, the run was killed, and that is told. Standard library only, and what takes long to import only when the run may
have ended: it must not keep the run from its processor.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import sys
import time
from dataclasses import dataclass
from io import FileIO
from typing import Any

_SHORT_RUN_SECONDS = 0.5  # nothing is sent before: most runs have ended by then
_TRIES = 3
_PAUSE_SECONDS = 5.0
_LAST_LINES = 30
_LAST_BYTES = 8000


@dataclass(frozen=True)
class SenderTask:
    """What the first line says."""

    url: str
    run_id: str
    timeout_seconds: float
    log: str  # the path of the script's log; "": it has none


def main() -> int:
    """Read, send, and end; the exit status means nothing to anybody."""
    source = open(0, "rb", buffering=0)  # noqa: SIM115 (standard input; unbuffered, so that select knows what is left)
    task = SenderTask(**json.loads(source.readline()))
    has_more, _, _ = select.select([source], [], [], _SHORT_RUN_SECONDS)
    end = _read_end(source) if has_more else None
    if end is None or end["event"] != "busy":
        _send(task, "begun", tries=1)
    if not has_more:
        end = _read_end(source)
        if end is not None and end["event"] == "busy":
            end["own_id"] = task.run_id
    if end is None:
        _send(task, "killed")
    else:
        _send(task, **end)
    return 0


def _read_end(source: FileIO) -> dict[str, Any] | None:
    """Return what the run said in the end; None if it was killed."""
    line = source.readline()
    return json.loads(line) if line.endswith(b"\n") else None


def _send(task: SenderTask, event: str, tries: int = _TRIES, **facts: Any) -> None:
    """Send an event, and try again if it does not arrive; what became of it stands in the log if it failed."""
    from plotfarm.notify.heartbeat import Beat, Event, pings

    what = Event(event)
    run_id = facts.pop("run_id", task.run_id)
    is_trouble = what is Event.KILLED or facts.get("status", 0) != 0
    beat = Beat(what, run_id, **facts, log=last_lines(task.log) if is_trouble else "")
    for ping in pings(task.url, beat):
        why = ""
        for number in range(tries):
            if number:
                time.sleep(_PAUSE_SECONDS)
            why = _request(ping.url, ping.body, task.timeout_seconds)
            if not why:
                break
        if why:
            _log(task.log, f"The heartbeat ({event}) was not sent: {why}")


def _request(url: str, body: bytes | None, timeout_seconds: float) -> str:
    """Ask for a URL; returns why it failed, without the URL, which is a secret."""
    from urllib.error import HTTPError
    from urllib.request import Request, urlopen

    request = Request(url, data=body, headers={"User-Agent": "chia-plot-manager", "Content-Type": "text/plain"})  # noqa: S310
    try:
        with urlopen(request, timeout=timeout_seconds) as answer:  # noqa: S310 (the configuration takes http(s) only)
            said = answer.read(100)
    except HTTPError as error:
        return f"the service answered with HTTP {error.code}: is the URL in [heartbeat] still right?"
    except Exception as error:  # whatever a network does; its text may hold the URL
        return f"the service cannot be reached ({type(getattr(error, 'reason', error)).__name__})"
    return "the service does not know this URL" if said.startswith(b"OK (not found)") else ""


def last_lines(path: str) -> str:
    """Return the last lines of a log; "" if there is none."""
    try:
        with open(path, "rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _LAST_BYTES))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return ""
    return "\n".join(text.splitlines()[-_LAST_LINES:])


def _log(path: str, words: str) -> None:
    """Add a line to the script's log, in the form of logging.yaml."""
    now = time.time()
    stamp = f"{time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(now))},{int(now * 1000) % 1000:03}"
    line = f"{stamp} - heartbeat_sender:0 - _send: WARNING {words}\n"
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.write(descriptor, line.encode())
        finally:
            os.close(descriptor)


if __name__ == "__main__":
    sys.exit(main())
