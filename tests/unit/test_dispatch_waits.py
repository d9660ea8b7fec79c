"""Which NAS a plot is offered to next, after it has waited for its turn in vain."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from plotfarm.base.config.sections import Config, Nas
from plotfarm.jobs.dispatch import Dispatch, Job
from plotfarm.plots.plotfile import PlotFile
from plotfarm.transfer.messages import Capacity


class _Plot:
    name = "plot-k32-test.plot"
    size = 10**11


@pytest.fixture
def dispatch(monkeypatch: pytest.MonkeyPatch) -> Dispatch:
    """Two NAS that have answered, of which one promises more than there is, each with an idle stream."""
    made = Dispatch(Config(Path("config"), nas=Nas(hosts=("boasting", "honest"))))
    for host, plots in (("boasting", 10**9), ("honest", 3)):
        nas = made.all[host]
        nas.size = _Plot.size
        nas.answered(Capacity(plots, plots, 0, ""))
        monkeypatch.setattr(nas, "idle_stream", lambda: (None, None))
    return made


def _host(dispatch: Dispatch, job: Job) -> str:
    berth: Any = dispatch.berth(job)
    return str(berth.nas.host)


def test_a_wait_in_vain_makes_it_the_turn_of_the_others(dispatch: Dispatch) -> None:
    job = Job(cast(PlotFile, _Plot()))
    assert _host(dispatch, job) == "boasting"
    job.waits = {"boasting": 1}
    assert _host(dispatch, job) == "honest"
    job.waits = {"boasting": 1, "honest": 1}
    assert _host(dispatch, job) == "boasting"


def test_a_nas_that_refuses_is_no_longer_waited_for(dispatch: Dispatch) -> None:
    job = Job(cast(PlotFile, _Plot()), refusals={"honest": "it is full"}, waits={"boasting": 7})
    assert _host(dispatch, job) == "boasting"
