"""A sender that speaks the protocol word by word, so that it can say whatever it likes.

It writes its JSON lines itself: what the suite would never say can be said here, and nothing that it shares with the
suite can be wrong in both.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

import psutil
from blake3 import blake3

from testbed.farm import Farm

Message = dict[str, Any]
LIMIT_SECONDS = 20.0
SEGMENT_BYTES = 2**30
ADDRESS = "127.0.0.1"
HELLO: Message = {"type": "hello", "suite": "chia-plot-manager", "version": 3}
OFFER: Message = {
    "type": "offer",
    "name": "",
    "size": 0,
    "format": "unknown",
    "k": None,
    "id": "",
    "is_dry_run": False,
    "patience_seconds": 0.0,
    "streams": 1,
    "plot_directory": "/plots",
    "free_bytes": None,
    "waiting_bytes": 0,
    "hours_left": None,
}


def segments_of(content: bytes, segment_bytes: int = SEGMENT_BYTES) -> list[str]:
    """Return the hashes of the segments of a plot as the protocol wants them, from its description alone."""
    begins = range(0, len(content), segment_bytes)
    return [blake3(content[begin : begin + segment_bytes]).hexdigest() for begin in begins]


class FakeSender:
    """One session with the farm's NAS, from `address`, through ssh and the restricted key, or another `key`."""

    def __init__(
        self, farm: Farm, *, hello: Message | bytes | None = b"", key: Path | None = None, address: str = ADDRESS
    ) -> None:
        """Connect and say hello: the usual one, another one, or none (None)."""
        self._address = address
        options = farm.sshd.client_options(key) if key is not None else farm.sshd.client_options()
        self._process = subprocess.Popen(
            ["ssh", *options, "-o", "BatchMode=yes", "-b", address, ADDRESS, "receive"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
        )
        self.noise: list[bytes] = []
        self._unread = b""
        if hello == b"":
            hello = HELLO
        if isinstance(hello, dict):
            self.say(**hello)

    def __enter__(self) -> FakeSender:
        return self

    def __exit__(self, *ignored: object) -> None:
        self.close()

    def close(self) -> None:
        """Go away without a word."""
        with contextlib.suppress(OSError):
            self._process.kill()
        with contextlib.suppress(ValueError):
            self._process.communicate()

    # ---- Messages ----

    def say(self, **message: object) -> None:
        """Send one message."""
        self.say_raw(json.dumps(message).encode() + b"\n")

    def say_raw(self, data: bytes) -> int:
        """Send bytes, and return how many were taken; that the other end has had enough is no error here."""
        assert self._process.stdin is not None
        sent = 0
        with contextlib.suppress(BrokenPipeError):
            while sent < len(data):
                sent += os.write(self._process.stdin.fileno(), data[sent : sent + 65536])
        return sent

    def offer(self, name: str, size: object, kind: object = "unknown", **more: object) -> Message | None:
        """Offer a plot and return the answer, None if the session ended instead."""
        self.say(**{**OFFER, "name": name, "size": size, "format": kind, **more})
        return self.hear()

    def hear(self, limit_seconds: float = LIMIT_SECONDS) -> Message | None:
        """Return the next message but `hello` and `heartbeat`, or None at the end of the session."""
        while (line := self._line(limit_seconds)) is not None:
            try:
                message = json.loads(line)
            except ValueError:
                self.noise.append(line)
                continue
            if message["type"] not in ("hello", "heartbeat"):
                return dict(message)
        return None

    def _line(self, limit_seconds: float) -> bytes | None:
        assert self._process.stdout is not None
        descriptor = self._process.stdout.fileno()
        deadline = time.monotonic() + limit_seconds
        while b"\n" not in self._unread:
            if not select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))[0]:
                raise TimeoutError("the NAS says nothing")
            data = os.read(descriptor, 65536)
            if not data:
                return None
            self._unread += data
        line, _, self._unread = self._unread.partition(b"\n")
        return line

    # ---- The bytes ----

    def pour(self, ready: Message, content: bytes) -> None:
        """Send the token and the content to the port in `ready`, through a socket of its own."""
        with self.connect(ready) as data, contextlib.suppress(OSError):
            data.sendall(content)
            data.shutdown(socket.SHUT_WR)
            data.recv(1)  # until netcat has taken everything and closes

    def connect(self, ready: Message) -> socket.socket:
        """Return a data connection that the token was said on."""
        data = socket.create_connection((ADDRESS, ready["port"]), LIMIT_SECONDS, (self._address, 0))
        with contextlib.suppress(OSError):
            data.sendall(ready["token"].encode())
        return data

    def send(self, ready: Message, content: bytes) -> Message | None:
        """Pour the content, say that it is sent, and return the answer."""
        self.pour(ready, content)
        self.say(type="sent", attempt=ready["attempt"], size=len(content))
        return self.hear()

    def deliver(self, name: str, content: bytes, kind: str = "unknown", **more: object) -> Message | None:
        """Bring a plot as an honest plotter would, and return the last answer."""
        answer = self.offer(name, len(content), kind, **more)
        if answer is None or answer["type"] != "ready":
            return answer
        answer = self.send(answer, content)
        if answer is None or answer["type"] != "arrived":
            return answer
        self.say(type="commit")
        stored = self.hear()
        self.say(type="done")
        return stored

    # ---- The end ----

    def last_words(self, limit_seconds: float = LIMIT_SECONDS) -> tuple[int, str]:
        """Return the status and stderr of the session, once the NAS has ended it."""
        _, errors = self._process.communicate(timeout=limit_seconds)
        return self._process.returncode, errors.decode(errors="replace")

    def is_over(self) -> bool:
        """Tell whether the session has ended."""
        return self._process.poll() is not None


def receivers(farm: Farm) -> list[psutil.Process]:
    """Return the receivers of the farm's NAS: the processes that hold a session, not those that work on a drive."""
    mark = str(farm.nas.config)
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            is_receiver = "plotfarm.jobs.receive_plot" in process.cmdline()
            if is_receiver and process.environ().get("PLOT_MANAGER_CONFIG") == mark:
                found.append(process)
    return found
