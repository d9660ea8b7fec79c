"""How a long piece of work on a drive gets on: written by the thread that does it, read by the one that waits."""

from __future__ import annotations

import time


class OutOfTimeError(Exception):
    """The work has taken all the time that it was given."""


class Effort:
    """When something was done last (time.monotonic), what was done so far, and until when it may go on."""

    def __init__(self, until: float) -> None:
        self.until = until  # of time.monotonic
        self.moved = time.monotonic()
        self.files = 0  # gone through
        self.headers = 0  # read

    def step(self) -> None:
        """Note that something was done; OutOfTimeError if the time is up."""
        self.moved = time.monotonic()
        if self.moved >= self.until:
            raise OutOfTimeError
