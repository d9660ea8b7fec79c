"""What plot_manager.py shows a person at a terminal; under cron only complaints are printed (cron mails them)."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Screen:
    """The terminal, if there is one."""

    def __init__(self) -> None:
        self.is_terminal = sys.stdout.isatty()
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
        if not self.is_terminal:
            yield lambda done: None
            return
        from rich import progress as rich  # slow to import, and cron never needs it

        columns = (
            rich.TextColumn("{task.description}"), rich.BarColumn(), rich.DownloadColumn(binary_units=True),
            rich.TransferSpeedColumn(), rich.TimeRemainingColumn(),
        )  # fmt: skip
        with rich.Progress(*columns, transient=True) as bar:
            task = bar.add_task(f"{name[:40]} -> {host}", total=size)
            yield lambda done: bar.update(task, completed=done)
