"""What a person at a terminal sees while a million plots are counted for the first time."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from plotfarm.drives.probe import Progress
from plotfarm.reports.terminal import redraw, terminal_of

_SILENT_SECONDS = 1.0  # a count that is over sooner shows nothing
_EVERY_SECONDS = 0.5


@contextmanager
def shown() -> Iterator[Callable[[Progress], None] | None]:
    """Show on one line of the terminal how far a count is; None where there is no terminal."""
    if not terminal_of(sys.stderr, os.environ).is_watched:
        yield None
        return
    line = _Line()
    try:
        yield line.show
    finally:
        line.clear()


class _Line:
    def __init__(self) -> None:
        self._next = time.monotonic() + _SILENT_SECONDS
        self._is_shown = False

    def show(self, progress: Progress) -> None:
        """Say how far it is, now and then."""
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + _EVERY_SECONDS
            self._is_shown = True
            redraw(in_words(progress))

    def clear(self) -> None:
        """Leave the line as it was."""
        if self._is_shown:
            redraw("")


def in_words(progress: Progress) -> str:
    """Return how far a count is."""
    headers = f", {progress.headers:,} headers read" if progress.headers else ""
    return f"Counting plots: {progress.files:,} found{headers}, {progress.drives} of {progress.all_drives} drives done"
