"""What a story is told with at a terminal: lines, tables, logs, and claims that have to hold."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from rich.console import Console
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

_LOG_LINE = re.compile(r"^\S+ (?P<time>[0-9:]+),\d+ - \S+ - \S+: (?P<level>[A-Z]+) (?P<words>.*)$")


class DemoError(Exception):
    """Something is not as it should be; the message says what."""


class Stage:
    """A console, and the directory `root` whose name is left out of all that is shown."""

    def __init__(self, console: Console, root: Path) -> None:
        self.console, self.root = console, root

    def expect_success(self, done: subprocess.CompletedProcess[str]) -> None:
        """Raise DemoError with its output if a script failed."""
        if done.returncode:
            raise DemoError(f"status {done.returncode}: {done.stdout}{done.stderr}")

    def check(self, claim: str, holds: bool) -> None:
        """Say that a claim holds; DemoError if it does not."""
        if not holds:
            raise DemoError(f"this does not hold: {claim}")
        self.console.print(Text.assemble(("  ok  ", "bold green"), claim))

    def act(self, title: str) -> None:
        """Begin the next part of the story."""
        self.say("")
        self.console.print(Rule(Text(title, "bold cyan"), align="left", style="cyan", characters="-"))

    def command(self, line: str) -> None:
        """Show what is started."""
        self.say(f"$ ./{line}", "bold")

    def show_log(self, log: Path, offset: int = 0) -> None:
        """Show what a script logged from INFO on, after the first `offset` bytes."""
        text = log.read_bytes()[offset:].decode(errors="replace") if log.exists() else ""
        lines = Table.grid(padding=(0, 1))
        for line in text.splitlines():
            match = _LOG_LINE.match(line)
            if match and match["level"] != "DEBUG":
                style = "dim" if match["level"] == "INFO" else "yellow"
                lines.add_row(f"  {match['time']}", match["level"], Text(self.short(match["words"])), style=style)
        self.console.print(lines)

    def table(self, first: str, *others: str) -> Table:
        """Make a table in which only the first column gives way; titles with > stand over numbers."""
        table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
        table.add_column(first, overflow="fold")
        for title in others:
            table.add_column(title.lstrip(">"), justify="right" if title[0] == ">" else "left", no_wrap=True)
        return table

    def say(self, words: str, style: str = "") -> None:
        """Print a line as it is: plot names are no markup."""
        self.console.print(Text(words, style))

    def short(self, text: str) -> str:
        """Leave the farm's directory and most of each 64-digit id out of a text."""
        place = f"{self.root}/"
        # The table of --explain keeps its columns when its head shrinks by as much.
        text = text.replace("MOUNTPOINT" + " " * len(place), "MOUNTPOINT").replace(place, "")
        return re.sub(r"([0-9a-f]{4})[0-9a-f]{60}", "\\1\u2026", text)
