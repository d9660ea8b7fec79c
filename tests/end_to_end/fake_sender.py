"""A sender that speaks the protocol word by word, so that it can say whatever it likes."""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import subprocess
import time
from typing import Any

from blake3 import blake3

from testbed.farm import Farm

Message = dict[str, Any]
LIMIT_SECONDS = 20.0
SEGMENT_BYTES = 2**30


def digest_of(content: bytes) -> str:
    """Digest one segment's worth of bytes as the protocol wants it, from its description alone."""
    assert len(content) <= SEGMENT_BYTES
    return blake3(blake3(content).digest()).hexdigest()


class FakeSender:
    """One conversation with the farm's NAS, through ssh and the restricted key."""

    def __init__(self, farm: Farm, *, hello: Message | bytes | None = b"") -> None:
        """Connect and say hello: the usual one, another one, or none (None)."""
        self._process = subprocess.Popen(
            ["ssh", *farm.sshd.client_options(), "-o", "BatchMode=yes", "127.0.0.1", "receive"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0,
        )  # fmt: skip
        self.noise: list[bytes] = []
        self._unread = b""
        if hello == b"":
            hello = {"type": "hello", "lowest": 1, "highest": 1}
        if isinstance(hello, dict):
            self.say(**hello)

    def __enter__(self) -> FakeSender:
        return self

    def __exit__(self, *ignored: object) -> None:
        with contextlib.suppress(OSError):
            self._process.kill()
        self._process.communicate()

    def say(self, **message: object) -> None:
        """Send one message."""
        self.say_raw(json.dumps(message).encode() + b"\n")

    def say_raw(self, data: bytes) -> None:
        """Send bytes; that the other end has had enough is no error here."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            while data:
                data = data[os.write(self._process.stdin.fileno(), data) :]

    def offer(self, name: str, size: object, kind: object = "unknown", **more: object) -> Message | None:
        """Offer a plot and return the answer, None if the conversation ended instead."""
        self.say(type="offer", name=name, size=size, kind=kind, **more)
        return self.hear()

    def hear(self) -> Message | None:
        """Return the next message but `hello` and `beat`, or None at the end of the conversation."""
        while (line := self._line()) is not None:
            try:
                message = json.loads(line)
            except ValueError:
                self.noise.append(line)
                continue
            if message["type"] not in ("hello", "beat"):
                return dict(message)
        return None

    def _line(self) -> bytes | None:
        assert self._process.stdout is not None
        descriptor = self._process.stdout.fileno()
        deadline = time.monotonic() + LIMIT_SECONDS
        while b"\n" not in self._unread:
            if not select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))[0]:
                raise TimeoutError("the NAS says nothing")
            data = os.read(descriptor, 65536)
            if not data:
                return None
            self._unread += data
        line, _, self._unread = self._unread.partition(b"\n")
        return line

    def pour(self, ready: Message, content: bytes) -> None:
        """Send the token and the content to where `ready` says, through a socket of its own."""
        with socket.create_connection((ready["address"], ready["port"])) as data, contextlib.suppress(OSError):
            data.sendall(ready["token"].encode() + content)
            data.shutdown(socket.SHUT_WR)
            data.recv(1)  # until netcat has taken everything and closes

    def last_words(self) -> tuple[int, str]:
        """Return the status and stderr of the ended conversation."""
        _, errors = self._process.communicate(timeout=LIMIT_SECONDS)
        return self._process.returncode, errors.decode(errors="replace")
