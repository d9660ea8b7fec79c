"""One session between the plotter's own stream and the malicious NAS, judged from outside.

The stream is the process that plot_manager.py starts, with its real session, channel, data connection and source; the
NAS is another process at the other end of its pipes, where ssh would be. Every process that is started, every
connection and every file that is opened for writing is noted by an audit hook.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import IO, Any, cast

import evil_plans
from evil_judge import OLD_MTIME_NS, SEGMENT_BYTES, Verdict, content, may_go, may_happen
from evil_nas import EvilNas, Message, Plan

from plotfarm.base.config.sections import Config, Nas, TransferSettings
from plotfarm.base.ssh import Connection, Session
from plotfarm.jobs.nas_session import end_stale_listeners, open_session
from plotfarm.plots.identity import FileIdentity
from plotfarm.transfer.messages import Capacity, Offer
from plotfarm.transfer.outcomes import Delivered, Failed, NotTaken, Removal
from plotfarm.transfer.send import Wanted
from plotfarm.transfer.stream import Log, OnTheWay, Stream, StreamGone, TimeNote

SETTINGS = {"beat_seconds": 0.1, "silence_seconds": 0.4, "stall_seconds": 0.4}
LONGEST_SECONDS = 90.0  # for one request, however busy the machine; alone it takes some seconds at most
LONGEST_SHOWN = 4000


# ---- What the plotter's processes do is noted ----------------------------------------------------------

_HARNESS = os.getpid()
_notes = ""  # the file where it is noted, of the session whose process this is
_watched = ("socket.connect", "socket.bind", "subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork")


def _hook(event: str, arguments: tuple[object, ...]) -> None:
    global _notes
    if not _notes or os.getpid() == _HARNESS:
        return
    is_writing = event == "open" and bool(cast(int, arguments[2]) & (os.O_WRONLY | os.O_RDWR))
    if is_writing and isinstance(arguments[0], int):  # a descriptor that is there already
        return
    if event not in (*_watched, "os.remove", "os.rename", "os.truncate") and not is_writing:
        return
    notes, _notes = _notes, ""
    shown = [event, str(arguments[1:2] if event == "socket.connect" else arguments[:2])]
    with open(notes, "a") as file:
        file.write(json.dumps(shown) + "\n")
    _notes = notes


def watch() -> None:
    """Have all that the processes of streams do noted from now on."""
    sys.addaudithook(_hook)


class ForkedNas:
    """The process at the other end of an `ssh`: has what ssh.Session wants of a subprocess.Popen."""

    def __init__(self, directory: Path, plan: Plan) -> None:
        global _notes
        to_nas, to_plotter, errors = os.pipe(), os.pipe(), os.pipe()
        notes, _notes = _notes, ""
        self.pid = os.fork()
        if self.pid == 0:
            _be_nas(to_nas[0], to_plotter[1], errors[1], directory, plan)
        _notes = notes
        for descriptor in (to_nas[0], to_plotter[1], errors[1]):
            os.close(descriptor)
        self.stdin: IO[bytes] = open(to_nas[1], "wb", buffering=0)  # noqa: SIM115
        self.stdout: IO[bytes] = open(to_plotter[0], "rb", buffering=0)  # noqa: SIM115
        self.stderr: IO[bytes] = open(errors[0], "rb", buffering=0)  # noqa: SIM115
        self.returncode: int | None = None

    def poll(self) -> int | None:
        if self.returncode is None and os.waitpid(self.pid, os.WNOHANG)[0]:
            self.returncode = 0
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        deadline = time.monotonic() + (timeout if timeout is not None else LONGEST_SECONDS)
        while self.poll() is None:
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired("the malicious NAS", timeout or 0)
            time.sleep(0.005)
        return 0

    def terminate(self) -> None:
        os.kill(self.pid, signal.SIGTERM)

    kill = terminate


def _be_nas(read: int, write: int, errors: int, directory: Path, plan: Plan) -> None:
    try:
        for name in os.listdir("/proc/self/fd"):
            if int(name) not in (read, write, errors) and int(name) > 2:
                with contextlib.suppress(OSError):
                    os.close(int(name))
        with open(directory / f"session-{os.getpid()}", "w", buffering=1) as file:
            EvilNas(read, write, errors, plan, lambda said: print(json.dumps(said), file=file)).serve()
    finally:
        os._exit(0)


class ForkingConnection:
    """A connection to the malicious NAS, in the place of ssh's."""

    host = "nas"

    def __init__(self, directory: Path, plan: Plan) -> None:
        self._directory, self._plan = directory, plan

    def address(self) -> str:
        return "127.0.0.1"

    def session(self, argv: object) -> Session:
        return Session(cast(Any, ForkedNas(self._directory, self._plan)))

    def run(self, argv: object, timeout_seconds: float) -> str:
        return evil_plans.ESCAPES


# ---- One session -----------------------------------------------------------------------------------


class Running:
    """One session, from outside: the run's side of a stream, as plot_manager.py has it."""

    def __init__(self, directory: Path, plan: Plan, netcat: Path) -> None:
        global _notes
        directory.mkdir()
        self._directory, self._plan = directory, plan
        self.verdict = Verdict(plan["seed"])
        self._plot = directory / "plot-k32-evil.plot"
        self._content = content(plan["is_large"])
        self._plot.write_bytes(self._content)
        os.utime(self._plot, ns=(OLD_MTIME_NS, OLD_MTIME_NS))
        self._identity = FileIdentity.of(os.stat(self._plot))
        self._pending = ["ask", "deliver", "ask"]
        self._is_marked = False
        transfer = TransferSettings(pipe=plan["pipe"], netcat=str(netcat), **cast(Any, SETTINGS))
        config = Config(Path("/nonexistent"), nas=Nas(hosts=("nas",)), transfer=transfer)
        connection = cast(Connection, ForkingConnection(directory, {**plan, "source": str(directory)}))
        _notes = str(directory / "noted")
        self.stream = Stream(
            partial(open_session, connection, "", config),
            partial(end_stale_listeners, connection, config),
        )
        _notes = ""
        self.began = self._asked = time.monotonic()
        self._next()

    def fileno(self) -> int:
        return self.stream.fileno()

    @property
    def is_late(self) -> bool:
        return time.monotonic() - self._asked > LONGEST_SECONDS

    def _next(self) -> None:
        self._asked = time.monotonic()
        if self._pending.pop(0) == "ask":
            return self.stream.ask(len(self._content))
        offer = Offer(
            *(self._plot.name, len(self._content), "unknown", 32, "ab" * 32, False, 0.2, 1, "/plots", None, 0, None)
        )
        source = os.open(self._plot, os.O_RDONLY)
        wanted = Wanted(self._identity, keep_source=False, segment_bytes=SEGMENT_BYTES)
        self.stream.deliver(offer, source, self._plot, wanted)
        os.close(source)

    def hear(self) -> bool:
        """Take one word of the stream; True when the session is over."""
        said = self.stream.receive()
        if isinstance(said, TimeNote):
            self._is_marked = said.new is not None
            self.stream.noted()
        if isinstance(said, Log) and ("Unexpected" in said.text or "Traceback" in said.text):
            self.verdict.wrong.append(said.text)
        self._judge_text(said)
        if isinstance(said, OnTheWay):
            return False
        self.verdict.ends.append(type(said).__name__ + _which(said))
        if isinstance(said, StreamGone):
            self.verdict.wrong.append("the process of the stream ended")
        if isinstance(said, Delivered) and said.removal is Removal.REMOVED:
            self.verdict.is_removed = True
        if not self._pending or not isinstance(said, Capacity | Delivered | Failed | NotTaken):
            return True
        self._next()
        return False

    def _judge_text(self, said: object) -> None:
        """Whatever a stream says may be shown: it has to be one printable line."""
        for value in asdict(cast(Any, said)).values():
            if isinstance(value, str) and not (value.isprintable() and len(value) <= LONGEST_SHOWN):
                self.verdict.wrong.append(f"not one printable line: {value[:200]!r} ({len(value)} characters)")

    def finish(self) -> Verdict:
        """End the stream and judge what is left."""
        verdict = self.verdict
        if self.is_late:
            verdict.wrong.append(f"it does not end: {LONGEST_SECONDS} seconds for one request")
        verdict.seconds = time.monotonic() - self.began
        self.stream.end()
        self._judge_source()
        self._judge_deeds()
        shutil.rmtree(self._directory)
        return verdict

    def _judge_source(self) -> None:
        wrong = self.verdict.wrong
        if self._plot.exists():
            if self._plot.read_bytes() != self._content:
                wrong.append("the source has changed")
            if os.stat(self._plot).st_mtime_ns != OLD_MTIME_NS:
                wrong.append("the source has another time")
            if self._is_marked:
                wrong.append("the changed time is still on record")
            if self.verdict.is_removed:
                wrong.append("the source is said to be removed, and is there")
            return
        if not any(may_go(said, self._plan["truth"], len(self._content)) for said in self.transcripts()):
            wrong.append("the source is gone, and no NAS answered consistently")
        if not self.verdict.is_removed:
            wrong.append("the source is gone, and nobody says so")

    def transcripts(self) -> list[list[Message]]:
        """Return what was said in each session."""
        return [
            [json.loads(line) for line in path.read_text().splitlines()] for path in self._directory.glob("session-*")
        ]

    def _judge_deeds(self) -> None:
        """Look at what the plotter's processes did."""
        notes = self._directory / "noted"
        for line in notes.read_text().splitlines() if notes.exists() else ():
            event, shown = json.loads(line)
            if not may_happen(event, shown, str(self._plot), self._plan["pipe"]):
                self.verdict.wrong.append(f"{event}: {shown}")


def _which(end: object) -> str:
    for name in ("removal", "failure", "refusal"):
        if hasattr(end, name):
            return f" {getattr(end, name).value}"
    return ""
