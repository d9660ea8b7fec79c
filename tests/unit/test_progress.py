"""The bars of plots that are on their way: they can be read at every width."""

from __future__ import annotations

import io

import pytest
from rich.cells import cell_len
from rich.console import Console
from rich.progress import Progress

from plotfarm.reports.progress import Bars, _columns
from plotfarm.reports.terminal import Terminal

PLOT = "plot-k32-2026-11-23-18-47-" + "ab" * 32 + ".plot"


@pytest.mark.parametrize("encoding", ["ascii", "utf-8"])
@pytest.mark.parametrize("width", [60, 80, 130, 200])
def test_a_bar_takes_one_line_with_its_plot_its_nas_and_its_share(width: int, encoding: str) -> None:
    terminal = Terminal(width=width, encoding=encoding, is_watched=True)
    file = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    console = Console(file=file, width=width, force_terminal=True, no_color=True)
    progress = Progress(*_columns(terminal), console=console, auto_refresh=False)
    bars = Bars(progress, terminal)
    bars.add(PLOT, 108_836_000_000, "chianas01-internal:/mnt/enclosure0/front/column0/drive5")
    bars.add("[bold]odd[/]\u00e9.plot", 10, "nas2")
    bars.update(PLOT, 65_000_000_000)
    console.print(progress.get_renderable())
    file.flush()
    lines = file.buffer.getvalue().decode(encoding).splitlines()  # type: ignore[attr-defined]
    first, second = (line for line in lines if line.strip())
    assert max(cell_len(first), cell_len(second)) <= width
    assert first.startswith("plot-")
    assert "chia" in first and "60%" in first
    assert second.startswith("[bold]odd") and "nas2" in second
    letters = "-" if encoding == "ascii" else "\u2501\u2578\u257a"
    bar = first.rpartition("...")[2]
    assert sum(bar.count(letter) for letter in letters) >= 12, "no bar of 20 cells that is 60 % full"
