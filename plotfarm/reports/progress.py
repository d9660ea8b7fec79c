"""What a person at a terminal sees of plots that move; under cron only complaints are printed (cron mails them)."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


class Screen:
    """The terminal, if there is one."""

    def __init__(self) -> None:
        self.is_terminal = sys.stdout.isatty()
        if isinstance(sys.stdout, io.TextIOWrapper):  # a NAS may name a path that this locale has no letters for
            sys.stdout.reconfigure(errors="backslashreplace")
        self._colour = self.is_terminal and not os.environ.get("NO_COLOR")

    def say(self, line: str) -> None:
        """Print a line of interest to a person who is watching, and to nobody else."""
        if self.is_terminal:
            print(line)  # noqa: T201

    def result(self, line: str) -> None:
        """Print what was asked for, also into a pipe or a file."""
        print(f"\033[32m{line}\033[0m" if self._colour else line)  # noqa: T201

    def complain(self, line: str) -> None:
        """Print a problem on stderr."""
        print(line, file=sys.stderr)  # noqa: T201

    @contextmanager
    def progress(self, name: str, size: int, host: str) -> Iterator[Callable[[int], None]]:
        """Show a progress bar for one plot; the function takes the bytes done so far."""
        with self.bars() as bars:
            bars.add(name, size, host)
            yield lambda done: bars.update(name, done)

    @contextmanager
    def bars(self) -> Iterator[Bars]:
        """Show progress bars for several plots, one below the other."""
        if not self.is_terminal:
            yield Bars(None)
            return
        from rich import progress as rich  # slow to import, and cron never needs it

        columns = (
            rich.TextColumn("{task.description}"), rich.BarColumn(), rich.DownloadColumn(binary_units=True),
            rich.TransferSpeedColumn(), rich.TimeRemainingColumn(),
        )  # fmt: skip
        with rich.Progress(*columns, transient=True) as progress:
            yield Bars(progress)


class Bars:
    """Progress bars by the names of plots; without a `progress` nothing is shown."""

    def __init__(self, progress: Progress | None) -> None:
        self._progress = progress
        self._tasks: dict[str, TaskID] = {}

    def add(self, name: str, size: int, target: str) -> None:
        """Show a bar for a plot of `size` bytes that goes to `target`."""
        if self._progress is not None:
            self._tasks[name] = self._progress.add_task(f"{name[:40]} -> {target}", total=size)

    def update(self, name: str, done: int) -> None:
        """Show how many bytes are done."""
        if self._progress is not None:
            self._progress.update(self._tasks[name], completed=done)

    def remove(self, name: str) -> None:
        """Show the bar of a plot no longer."""
        if self._progress is not None:
            self._progress.remove_task(self._tasks.pop(name))
