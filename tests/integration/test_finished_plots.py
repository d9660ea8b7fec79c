"""Plots that may not travel: what of them is an alert, since under cron nobody looks."""

from __future__ import annotations

from pathlib import Path

from plotfarm.base.config.sections import Config
from plotfarm.base.state import State
from plotfarm.jobs.finished_plots import FinishedPlots
from plotfarm.reports.progress import Screen


def test_a_plot_that_may_not_travel_under_its_name_is_told_of(tmp_path: Path) -> None:
    """A browser, a file manager or a person called it so, and it would lie there for ever."""
    misnamed = tmp_path / "plot-k32-x (1).plot"
    misnamed.write_bytes(b"12345")
    (tmp_path / ".plot-k32-y.plot").write_bytes(b"somebody works on it")
    plots = FinishedPlots([tmp_path], Config(tmp_path / "plot_manager_config"), State(None), Screen())
    assert plots.begin(None) == []
    assert plots.trouble.stuck == {misnamed: 5}
    assert plots.trouble.why == "plot-k32-x (1).plot is not touched: the name contains a space"
