"""A plot that a killed run may have stored goes nowhere else as long as nobody can say whether it has."""

from __future__ import annotations

import fcntl
from pathlib import Path

import pytest

from testbed.plots import PlotShop
from tests.faults.scene import one_plot


@pytest.mark.pipe("direct")
@pytest.mark.parametrize("state", ["after:LinkPart", "after:SyncDirectory"])
def test_killed_before_it_is_recorded_and_then_the_drive_is_silent(state: str, tmp_path: Path, shop: PlotShop) -> None:
    with one_plot(tmp_path, shop, drives__probe_seconds=2) as made:
        (plot,) = made.manifest
        receiver = made.start_and_stop_at("nas", state)
        for process in made.roles()["disk worker"]:
            process.kill()
        receiver.kill()
        assert made.status() == 1
        made.rest()
        (stored,) = made.farm.stored()

        # Somebody who asks the drive gets no answer, so that nobody else does either: one at a time asks a drive.
        (lock,) = [path for path in made.farm.nas.locks.glob("probe-*.lock") if stored.parent.name in path.name]
        with open(lock) as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            assert made.run_again().returncode == 1
            assert list(made.farm.stored()) == [stored], made.logs()
        made.finish()
        assert [path.name for path in made.farm.stored()] == [plot]
