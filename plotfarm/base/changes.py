"""Hearing from the kernel that somebody has released a lock, instead of looking again and again."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path

from plotfarm.base import kernel


class Releases:
    """Something to wait for: readable when one of some lock files may have been released, however it was.

    A process that ends, also by SIGKILL, closes its files, and the kernel tells. Where it cannot (too many
    watches), nothing is ever readable, and whoever waits must have a limit anyway.
    """

    def __init__(self) -> None:
        self._watch = kernel.new_watch()
        self._nothing = os.pipe() if self._watch is None else None
        self._watched: set[Path] = set()

    def of(self, locks: Iterable[Path]) -> int:
        """Forget what has happened so far, and return the descriptor to wait for. Lock files are never deleted."""
        if self._watch is None:
            assert self._nothing is not None
            return self._nothing[0]
        with contextlib.suppress(BlockingIOError):
            while os.read(self._watch, 65536):
                pass
        for lock in locks:
            if lock not in self._watched and kernel.watch_closing(self._watch, lock):
                self._watched.add(lock)
        return self._watch
