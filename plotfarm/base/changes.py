"""Hearing from the kernel that somebody has released a lock, instead of looking again and again."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from plotfarm.base import kernel


class Releases:
    """Something to wait for: readable when a lock file in a directory may have been released, however it was.

    A process that ends, also by SIGKILL, closes its files, and the kernel tells. Where it cannot (too many
    watches), nothing is ever readable, and whoever waits must have a limit anyway.
    """

    def __init__(self, directory: Path) -> None:
        self._descriptor = kernel.watch_closing(directory)
        self._spare = -1
        if self._descriptor is None:
            self._descriptor, self._spare = os.pipe()

    def clear(self) -> int:
        """Forget what has happened so far; returns the descriptor to wait for."""
        assert self._descriptor is not None
        if self._spare < 0:
            with contextlib.suppress(BlockingIOError):
                while os.read(self._descriptor, 65536):
                    pass
        return self._descriptor
