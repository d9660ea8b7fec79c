"""What a person at a terminal sees of plots that move; under cron only complaints are printed (cron mails them)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from plotfarm.reports.terminal import Terminal, complain, say, shortened, standard_output, width_of

if TYPE_CHECKING:
    from rich.progress import Progress, ProgressColumn, TaskID

_WIDE = 110  # cells: with less the bars leave out what is least important
_BAR = 20  # cells
_BESIDE_DESCRIPTION = 70  # cells of a bar and all that is beside it
_BESIDE_NARROW = 36  # the same where that is as little as possible


class Screen:
    """The terminal, if there is one."""

    def __init__(self, *, is_silent: bool = False) -> None:
        """`is_silent`: what is printed is a JSON document, and nothing else."""
        self._terminal = standard_output()
        self._is_silent = is_silent

    @property
    def is_terminal(self) -> bool:
        """Whether somebody looks."""
        return self._terminal.is_watched and not self._is_silent

    def say(self, line: str) -> None:
        """Print a line of interest to a person who is watching, and to nobody else."""
        if self.is_terminal:
            say("\n".join(self._terminal.lines(line, "  ")))

    def result(self, line: str) -> None:
        """Print what was asked for, also into a pipe or a file."""
        if self._is_silent:
            return
        say("\n".join(self._terminal.lines(line, "  ", "good")))

    def complain(self, line: str) -> None:
        """Print a problem on stderr."""
        complain(line)

    @contextmanager
    def bars(self) -> Iterator[Bars]:
        """Show progress bars for several plots, one below the other."""
        if not self.is_terminal:
            yield Bars(None)
            return
        from rich import progress as rich  # slow to import, and cron never needs it
        from rich.console import Console

        console = Console(no_color=not self._terminal.colour, width=self._terminal.width)
        with rich.Progress(*_columns(self._terminal), console=console, transient=True) as progress:
            yield Bars(progress, self._terminal)


def _columns(terminal: Terminal) -> list[ProgressColumn]:
    """Return what stands in a line of progress: a bar that can be read, and as much beside it as there is room for."""
    from rich import progress as rich

    columns: list[ProgressColumn] = [
        rich.TextColumn("{task.description}", markup=False),
        rich.BarColumn(bar_width=_BAR),
        rich.TaskProgressColumn(),
        rich.TimeRemainingColumn(compact=True),
    ]
    if terminal.width is None or terminal.width >= _WIDE:
        columns[3:3] = [rich.DownloadColumn(binary_units=True), rich.TransferSpeedColumn()]
    return columns


class Bars:
    """Progress bars by the names of plots; without a `progress` nothing is shown."""

    def __init__(self, progress: Progress | None, terminal: Terminal | None = None) -> None:
        self._progress = progress
        self._terminal = terminal or Terminal()
        self._tasks: dict[str, TaskID] = {}

    def add(self, name: str, size: int, target: str) -> None:
        """Show a bar for a plot of `size` bytes that goes to `target`."""
        if self._progress is not None:
            description = _description(name, target, self._terminal)
            self._tasks[name] = self._progress.add_task(description, total=size)

    def update(self, name: str, done: int) -> None:
        """Show how many bytes are done."""
        if self._progress is not None:
            self._progress.update(self._tasks[name], completed=done)

    def remove(self, name: str) -> None:
        """Show the bar of a plot no longer."""
        if self._progress is not None:
            self._progress.remove_task(self._tasks.pop(name))


def _description(name: str, target: str, terminal: Terminal) -> str:
    """Return what a bar is about, in the room that is left beside the bar."""
    width = terminal.width or _WIDE
    beside = _BESIDE_DESCRIPTION if width >= _WIDE else _BESIDE_NARROW
    room = max(16, width - beside)
    place = shortened(terminal.shown(target), room // 3)
    return f"{shortened(terminal.shown(name), room - width_of(place) - 4)} -> {place}"
