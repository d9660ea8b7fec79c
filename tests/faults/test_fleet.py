"""Several plotters, several NAS, many plots, and processes that are killed all the time."""

from __future__ import annotations

import contextlib
import random
import time
from collections import Counter
from pathlib import Path

import psutil
import pytest

from testbed.fleet import Fleet
from testbed.network import Switch, why_no_separate_host
from testbed.plots import v1_name
from tests.faults import auditor
from tests.faults.scene import LIMITS

PLOTS = 200
KILL_SECONDS = (0.0, 0.4)  # between two kills
MOST_KILLS = 300  # on a slow machine, where else more would be killed than can be done in between
LIMIT_SECONDS = 240.0


@pytest.mark.timeout(300)
def test_every_plot_arrives_once(tmp_path: Path) -> None:
    seed = random.SystemRandom().randrange(10**6)
    print(f"seed {seed}")
    chance = random.Random(seed)
    killed: Counter[str] = Counter()
    with contextlib.ExitStack() as opened:
        reason = why_no_separate_host()
        print(f"all hosts on loopback: {reason}" if reason else "each host is a network namespace")
        switch = None if reason else opened.enter_context(Switch())
        fleet = opened.enter_context(Fleet(tmp_path / "fleet", plotters=3, nas=2, settings=LIMITS, switch=switch))
        noted = auditor.manifest(_put_plots(fleet, chance))
        scope = _scope(fleet)
        runs = [fleet.start(number) for number in range(3)]
        deadline = time.monotonic() + LIMIT_SECONDS
        while any(True for directory in fleet.plots for _ in directory.iterdir()):
            assert time.monotonic() < deadline, fleet.logs()
            # As cron would: the next one begins when the one before has ended, however it did.
            runs = [run if run.poll() is None else fleet.start(number) for number, run in enumerate(runs)]
            pause = time.monotonic() + chance.uniform(*KILL_SECONDS)
            while time.monotonic() < pause:
                time.sleep(0.01)
            if killed.total() < MOST_KILLS:
                killed[_kill_one(scope, chance)] += 1
        for run in runs:
            run.wait(60)
        while busy := auditor.still_busy(scope):
            assert time.monotonic() < deadline, f"{busy}\n{fleet.logs()}"
            time.sleep(0.05)
        found = auditor.audit(noted, scope)
        parts = [path for drive in fleet.drives for path in drive.glob("*.part")]
        _clean_up(fleet)
        left = [path for path in parts if path.exists()]
    assert found == [], fleet.logs()
    assert left == [], "drive_manager.py leaves what killed arrivals left"
    print(f"{killed.total()} kills: {dict(killed)}; {len(parts)} parts were left and removed")


def _put_plots(fleet: Fleet, chance: random.Random) -> list[Path]:
    paths = []
    for number in range(PLOTS):
        path = fleet.plots[number % 3] / v1_name(f"fleet {number}", k=32)
        path.write_bytes(b"\x07" + chance.randbytes(chance.randrange(2**16, 3 * 2**20)))
        paths.append(path)
    return paths


def _scope(fleet: Fleet) -> auditor.Scope:
    locks = [side.locks for side in (*fleet.plotters, *(farm.nas for farm in fleet.farms))]
    daemons = [daemon for farm in fleet.farms if (daemon := farm.sshd.daemon) is not None]
    return auditor.Scope(fleet.plots, fleet.drives, locks, str(fleet.root), fleet.farms[0].ports, daemons)


def _kill_one(scope: auditor.Scope, chance: random.Random) -> str:
    """Kill a random process of the fleet, and say what it was."""
    pids = list(auditor.processes(scope))
    if pids:
        with contextlib.suppress(psutil.NoSuchProcess):
            process = psutil.Process(chance.choice(pids))
            name = process.name()
            process.kill()
            return str(name)
    return "nobody"


def _clean_up(fleet: Fleet) -> None:
    """Let every NAS remove what is unfinished, as its cron line does when that is old enough."""
    for farm in fleet.farms:
        farm.remember_small_plots()
        farm.nas.change({"receiving.part_age_hours": 0})
        assert farm.drive_manager().returncode == 0, farm.nas.log_text()
