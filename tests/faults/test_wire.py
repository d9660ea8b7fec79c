"""What may happen to bytes on their way: none of it is published, and none of it costs a plot."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from plotfarm.transfer.outcomes import Failure
from testbed.farm import Side
from testbed.plots import PlotShop
from tests.faults import bad_netcat
from tests.faults.scene import LIMITS, Scene, one_plot


def install(made: Scene, where: str, fault: str) -> None:
    """Configure a netcat with a fault on one side, `plotter` or `nas`; an empty fault: the real one again.

    The other side keeps its pipe: the two need not have the same.
    """
    side: Side = getattr(made.farm, where)
    netcat = shutil.which("nc.openbsd") or shutil.which("nc.traditional")
    script = made.farm.root / "netcat"
    script.write_text(f'#!/bin/sh\nexec {sys.executable} {bad_netcat.__file__} {fault} {netcat} "$@"\n')
    script.chmod(0o755)
    side.change({"transfer.netcat": script if fault else "", "transfer.pipe": "netcat"})


@pytest.mark.parametrize("where", ["plotter", "nas"])
@pytest.mark.parametrize(
    ("fault", "failure"),
    [
        ("flip", Failure.REJECTED),
        ("truncate", Failure.INTERRUPTED),
        ("early", Failure.INTERRUPTED),
        ("stall", Failure.STALLED),
    ],
)
def test_bytes_that_do_not_arrive(fault: str, failure: Failure, where: str, tmp_path: Path, shop: PlotShop) -> None:
    with one_plot(tmp_path, shop) as made:
        install(made, where, fault)
        done = made.run_again()
        assert done.returncode == 1
        made.rest()
        assert made.result(made.farm.nas) == failure, made.logs()
        assert made.farm.stored() == {} and made.farm.parts() == []
        made.audit()
        install(made, where, "")
        made.finish()


@pytest.mark.parametrize("where", ["plotter", "nas"])
def test_more_bytes_than_were_offered(where: str, tmp_path: Path, shop: PlotShop) -> None:
    with one_plot(tmp_path, shop) as made:
        install(made, where, "append")
        done = made.run_again()
        if where == "nas":  # the plotter's netcat may find its connection closed before all was taken
            assert done.returncode == 0, made.logs()
        made.rest()
        made.audit()  # the size under the final name too
        install(made, where, "")
        made.finish()


def test_a_stall_is_noticed_by_its_own_bytes(tmp_path: Path, shop: PlotShop) -> None:
    # The session is alive all the time, and would be for ever: only the bytes stand still.
    with one_plot(tmp_path, shop, transfer__silence_seconds=60) as made:
        install(made, "nas", "stall")
        done = made.farm.plot_manager(timeout=LIMITS["transfer.stall_seconds"] + 15)
        assert done.returncode == 1
        assert made.result(made.farm.nas) == Failure.STALLED, made.logs()
        made.rest()
        made.audit()
        install(made, "nas", "")
        made.finish()
