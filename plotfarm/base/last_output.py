"""The end of what another program says: read as it comes, so that it never waits, and kept within a bound."""

from __future__ import annotations

import os
import threading
from typing import IO

from plotfarm.base.text import one_line

KEPT_BYTES = 8192
_READ_BYTES = 65536
_LINES = 4
_LONGEST_LINE = 300


class LastOutput:
    """The last 8 KiB of a stream, which a thread of its own drains until its end and then closes.

    Whatever the program says, it fills neither a disk nor the memory, and is never kept waiting.
    """

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._kept = b""  # only the thread writes it, and replaces it as a whole: no lock that a fork could leave held
        self._thread = threading.Thread(target=self._drain, name="last output", daemon=True)
        self._thread.start()

    def _drain(self) -> None:
        with self._stream:
            while data := os.read(self._stream.fileno(), _READ_BYTES):
                self._kept = (self._kept + data)[-KEPT_BYTES:]

    def wait_for_end(self, seconds: float) -> None:
        """Wait until everything was said, at most so long: a grandchild may hold the other end open."""
        self._thread.join(seconds)

    def lines(self) -> str:
        """Return the last four lines, each printable and cut to 300 characters, as one line; "" if there are none."""
        return last_lines(self._kept)


def last_lines(said: bytes) -> str:
    """Return the last four lines of a program's output as one printable line."""
    lines = [line.strip() for line in said.decode(errors="backslashreplace").splitlines()]
    return " | ".join(one_line(line[:_LONGEST_LINE]) for line in lines[-_LINES:] if line)
