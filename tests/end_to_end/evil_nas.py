#!/usr/bin/env python3
"""A malicious NAS: it speaks the session's messages word by word, and misbehaves where its plan says.

It shares nothing with the product but the protocol. A plan is a JSON object:

    journey   what it answers an offer with where it behaves: ready, partial or have
    state     the answer that it spoils: hello, ask, offer, continue, pouring, sent, commit, recheck, lost, idle
    nth       which of these answers, 1 for the first; 0 for every one
    moment    the acts come `before`, `after` or `instead` of the right answer
    acts      what it does, see `EvilNas.act`
    then      how it goes on: `rightly`, `closing`, `silently` or `beating`
    data      what it does with the data connection: take, refuse, cut or hold
    bytes     of the plot, after which `pouring` is reached, and cut and hold begin
    truth     the true hashes of the plot's segments
    source    the directory of the plots: a NAS that is the plotter's own disk knows their times
    longest   seconds after which it goes by itself; 180 if it is not said

Strings in acts that begin with `$` stand for what is known only then: see `EvilNas.known`. As a program it takes the
place of receive_plot.sh: EVIL_PLANS is a file of plans, one a line, of which each session takes the next; EVIL_NOTES
the directory where each session notes what was said.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import select
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from evil_door import Door

Message = dict[str, Any]
Plan = dict[str, Any]
STORED_MTIME_NS = 1_600_000_000_123_456_789
ARRIVAL, TOKEN = "0123456789abcdef", "00112233445566778899aabbccddeeff"
_LONGEST_SECONDS = 180.0  # it ends by itself, whatever the plotter does
_HEARTBEAT_SECONDS = 0.1
_READ_BYTES = 65536
_NOTED_BYTES = 20_000


class Over(Exception):
    """The session is over."""


class EvilNas:
    """One session over the descriptors `read` and `write`; `note` hears everything that was said."""

    def __init__(self, read: int, write: int, errors: int, plan: Plan, note: Callable[[Message], None]) -> None:
        self._read, self._write, self._errors = read, write, errors
        self._plan, self._note = plan, note
        self._unread = b""
        self._deadline = time.monotonic() + plan.get("longest", _LONGEST_SECONDS)
        self._times: dict[str, int] = {}
        self._beaten = 0.0  # time.monotonic
        self._offer: Message = {}
        self._recheck = self._attempt = 1
        self._goes = "rightly"
        self._door = Door(plan["data"], plan["bytes"])

    def serve(self) -> None:
        """Speak until the plotter goes."""
        with contextlib.suppress(Over, OSError):
            self._reach("hello", [{"type": "hello", "suite": "chia-plot-manager", "version": 3}])
            while True:
                message = self._hear()
                self._answer(message)
        self._door.close()

    # ---- Behaving ----

    def _answer(self, message: Message) -> None:
        kind = message.get("type")
        if kind == "offer":
            self._offer = message
        if kind == "recheck":
            self._recheck = message["number"]
        if kind == "lost":
            self._attempt += 1
        if kind == "sent" and "pouring" not in self._times:  # on a busy machine all of it comes between two looks
            self._reach("pouring", [])
        right: dict[str, Callable[[], list[Message]]] = {
            "ask": lambda: [{"type": "capacity", "plots": 10, "streams": 10, "arriving_bytes": 0, "detail": ""}],
            "offer": lambda: [self._first()],
            "continue": lambda: [self._ready()],
            "lost": lambda: [self._ready()],
            "sent": self._arrived,
            "commit": lambda: [self._with_hashes("stored", arrival=ARRIVAL, path="/drive1/a.plot")],
            "recheck": lambda: [self._rechecked()],
            "reject": lambda: [{"type": "failed", "failure": "rejected", "detail": "", "is_resumable": True}],
            "done": lambda: [],
        }
        if kind in right:
            self._reach("idle" if kind == "done" else str(kind), right[str(kind)]())

    def _first(self) -> Message:
        match self._plan["journey"]:
            case "have":
                return self._with_hashes("have", path="/drive1/a.plot")
            case "partial":
                return {"type": "partial", "segments": self._plan["truth"][:2]}
        return self._ready()

    def _ready(self) -> Message:
        resumed = 2 if self._plan["journey"] == "partial" else 0
        return {
            **{"type": "ready", "port": self.known("$PORT"), "token": TOKEN, "drive": "drive1", "arrival": ARRIVAL},
            **{"segments": resumed, "attempt": self._attempt},
        }

    def _arrived(self) -> list[Message]:
        self._door.drain()
        return [self._with_hashes("arrived", size=self._offer["size"])]

    def _rechecked(self) -> Message:
        size, number = self._offer["size"], self._recheck
        return {"type": "rechecked", "number": number, "size": size, "mtime_ns": STORED_MTIME_NS}

    def _with_hashes(self, kind: str, **fields: object) -> Message:
        return {"type": kind, **fields, "segments": self._plan["truth"]}

    # ---- Misbehaving ----

    def _reach(self, state: str, right: list[Message]) -> None:
        """Answer, rightly or as the plan says."""
        self._times[state] = self._times.get(state, 0) + 1
        plan = self._plan
        is_spoiled = plan["state"] == state and plan["nth"] in (0, self._times[state])
        if not is_spoiled:
            if self._goes == "rightly":
                self._say_all(right)
            return
        if plan["moment"] == "after":
            self._say_all(right)
        for act in plan["acts"]:
            self.act(act, right)
        if plan["moment"] == "before":
            self._say_all(right)
        self._goes = plan["then"]
        match self._goes:
            case "closing":
                raise Over
            case "silently":
                self._wait_for_end(beating=False)
            case "beating":
                self._wait_for_end(beating=True)

    def act(self, act: Message, right: list[Message]) -> None:
        """Do one thing: exactly one of these keys says which."""
        match act:
            case {"say": message}:
                self._write_line(json.dumps(self._filled(message)).encode() + b"\n")
            case {"raw": text}:
                self._write_line(str(text).encode("latin-1"))
            case {"many": text, "times": times}:
                for _ in range(times):
                    self._write_line(str(text).encode("latin-1"))
            case {"again": times}:
                for _ in range(times):
                    self._say_all(right)
            case {"spoil": changes}:
                for message in right:
                    self._write_line(json.dumps({**message, **self._filled(changes)}).encode() + b"\n")
            case {"stderr": text, "times": times}:
                for _ in range(times):
                    _write_all(self._errors, str(text).encode("latin-1"))
            case {"close_data": _}:
                self._door.close_data()
            case {"last_part": _}:
                for message in right:
                    line = json.dumps(message).encode()
                    self._write_line(line[: len(line) // 2])
            case _:
                raise ValueError(f"an unknown act: {act}")

    def known(self, name: str) -> object:
        """Return what a name in an act stands for."""
        truth = self._plan["truth"]
        match name:
            case "$PORT":
                return self._door.port
            case "$TRUTH":
                return truth
            case "$WRONG":
                return [*truth[:-1], "f" * 64]
            case "$SHORT":
                return truth[:-1]
            case "$LONG":
                return [*truth, "0" * 64]
            case "$SIZE":
                return self._offer.get("size", 1)
            case "$RECHECK":
                return self._recheck
            case "$SOURCE_TIME":  # as if both were one file
                return self._source_time()
        return self._plan["known"][name]

    def _filled(self, value: Any) -> Any:
        if isinstance(value, str) and value.startswith("$"):
            return self.known(value)
        if isinstance(value, list):
            return [self._filled(each) for each in value]
        if isinstance(value, dict):
            return {key: self._filled(each) for key, each in value.items()}
        return value

    def _wait_for_end(self, *, beating: bool) -> None:
        """Hold the session without another step."""
        while True:
            if beating:
                self._beat()
            self._step(_HEARTBEAT_SECONDS)

    # ---- The session ----

    def _say_all(self, messages: list[Message]) -> None:
        for message in messages:
            self._write_line(json.dumps(message).encode() + b"\n")

    def _beat(self) -> None:
        if time.monotonic() - self._beaten < _HEARTBEAT_SECONDS:
            return
        self._beaten = time.monotonic()
        self._write_line(b'{"type": "heartbeat", "phase": "pouring"}\n', is_noted=False)

    def _write_line(self, line: bytes, *, is_noted: bool = True) -> None:
        if is_noted:
            said = line[:_NOTED_BYTES].decode("latin-1")
            self._note({"said": said, "source_time": self._source_time()})
        _write_all(self._write, line)

    def _source_time(self) -> int:
        """Return the modification time of the plot that was offered, 0 if there is none."""
        with contextlib.suppress(OSError, KeyError, TypeError):
            return os.stat(Path(self._plan["source"], self._offer["name"])).st_mtime_ns
        return 0

    def _hear(self) -> Message:
        """Return the next message but heartbeats; the data connection is served meanwhile."""
        while True:
            while b"\n" in self._unread:
                line, _, self._unread = self._unread.partition(b"\n")
                message: Message = json.loads(line)
                if message["type"] != "heartbeat":
                    self._note({"heard": message})
                    return message
            if self._goes == "rightly":
                self._beat()
            self._step(_HEARTBEAT_SECONDS)

    def _step(self, seconds: float) -> None:
        """Wait a moment for the plotter, and take what it says and sends."""
        if time.monotonic() > self._deadline:
            raise Over
        watched: list[Any] = [*self._door.watched()]
        ready, _, _ = select.select([self._read, *watched], [], [], seconds)
        if any(each in ready for each in watched) and self._door.take():
            self._reach("pouring", [])
        if self._read in ready:
            received = os.read(self._read, _READ_BYTES)
            if not received:
                raise Over
            self._unread += received


def _write_all(descriptor: int, data: bytes) -> None:
    """Write all of it, and wait for a plotter that does not read."""
    os.set_blocking(descriptor, True)
    while data:
        data = data[os.write(descriptor, data) :]


def main() -> None:
    """Be receive_plot.sh for one session."""
    if "receive" not in (os.environ.get("SSH_ORIGINAL_COMMAND", "") + " ".join(sys.argv[1:])).split()[-1:]:
        _end_listeners()
        return
    notes = Path(os.environ["EVIL_NOTES"])
    with open(os.environ["EVIL_PLANS"], "r+") as plans, open(notes / "next", "a+") as place:
        fcntl.flock(place, fcntl.LOCK_EX)
        place.seek(0)
        number = len(place.read())
        place.write(".")
        place.flush()
        lines = plans.readlines()
    plan = json.loads(lines[number % len(lines)])
    with open(notes / f"session-{number:04}", "a", buffering=1) as file:
        file.write(json.dumps({"plan": plan}) + "\n")
        EvilNas(0, 1, 2, plan, lambda said: print(json.dumps(said), file=file)).serve()


def _end_listeners() -> None:
    """Answer the one other request that a plotter has, with what nobody should see raw."""
    print("ended\x1b[2J\x1b]0;owned\x07\nforged line")


if __name__ == "__main__":
    main()
