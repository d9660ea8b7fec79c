"""Many plots at once: streams, plotters, NAS, links, turns and quotas."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import psutil
import pytest
from farm_help import POURING, audit, big_plot, logs, names_and_digests, processes_of, wait_for

from plotfarm.base.locks import last_content
from plotfarm.base.state import State
from testbed.farm import Farm
from testbed.fleet import Fleet
from testbed.plots import v1_name
from testbed.ports import take_port_range

NewFarm = Callable[..., Farm]
MIB = 2**20


def put(directory: Path, seed: str, size: int = MIB) -> Path:
    path = directory / v1_name(seed, k=32)
    path.write_bytes(b"\x07" + random.Random(seed).randbytes(size - 1))
    return path


def arriving(farm: Farm) -> int:
    """Return on how many drives a plot is arriving now, without touching a lock: looking must not be in the way."""
    held = {int(line.split()[5].rpartition(":")[2]) for line in Path("/proc/locks").read_text().splitlines()
            if "FLOCK" in line and "->" not in line}  # fmt: skip
    return sum(path.stat().st_ino in held for path in farm.nas.locks.glob("drive-*.lock"))


def most_at_once(farm: Farm) -> int:
    """Let plot_manager.py send all there is, and return how many plots arrived at the same time."""
    most, run = 0, farm.start_plot_manager()
    while run.poll() is None:
        most = max(most, arriving(farm))
        time.sleep(0.01)
    assert run.returncode == 0, logs(farm)
    return most


@pytest.fixture
def new_fleet(tmp_path: Path) -> Iterator[Callable[..., Fleet]]:
    fleets: list[Fleet] = []

    def make(plotters: int = 1, nas: int = 2, drives: int = 2, **settings: object) -> Fleet:
        fleet = Fleet(tmp_path / "fleet", plotters, nas, drives, settings)
        fleets.append(fleet)
        return fleet.__enter__()

    yield make
    for fleet in fleets:
        fleet.__exit__(None, None, None)


def send(fleet: Fleet, number: int = 0) -> int:
    return fleet.start(number).wait(60)


@pytest.mark.parametrize("pipe", ["netcat", "direct"])
def test_each_stream_has_a_drive_of_its_own(new_farm: NewFarm, pipe: str) -> None:
    slow = {"transfer.pipe": pipe, "transfer.max_mb_per_second": 6}
    farm = new_farm(drives=4, settings=slow)
    for number in range(4):
        big_plot(farm.plots, f"stream {number}", 32 * MIB)
    manifest = names_and_digests(farm)
    run = farm.start_plot_manager()
    wait_for(lambda: arriving(farm) == 4, "four arrivals at once")
    assert run.wait(60) == 0, logs(farm)
    assert {path.parent for path in farm.stored()} == set(farm.drives)
    audit(farm, manifest)


def test_a_drive_that_stands_still_holds_up_its_own_stream_only(new_farm: NewFarm) -> None:
    farm = new_farm(drives=2, nas_settings={"transfer.stall_seconds": 30, "transfer.max_mb_per_second": 20},
                    plotter_settings={"transfer.stall_seconds": 30})  # fmt: skip
    for number in range(6):
        big_plot(farm.plots, f"stream {number}", 8 * MIB)
    manifest = names_and_digests(farm)
    run = farm.start_plot_manager()
    writer = wait_for(lambda: _writer(farm), "a writer")
    writer.send_signal(signal.SIGSTOP)
    wait_for(lambda: len(farm.stored()) == 5, "the others' arrival")
    writer.send_signal(signal.SIGCONT)
    assert run.wait(60) == 0, logs(farm)
    audit(farm, manifest)


def test_a_stream_that_is_killed_costs_its_own_plot_a_run(new_farm: NewFarm) -> None:
    farm = new_farm(drives=2, nas_settings={"transfer.max_mb_per_second": 16})
    for number in range(6):
        big_plot(farm.plots, f"stream {number}", 8 * MIB)
    manifest = names_and_digests(farm)
    run = farm.start_plot_manager()
    wait_for(lambda: arriving(farm) == 2, "two arrivals")
    stream = next(child for child in psutil.Process(run.pid).children() if child.name().startswith("python"))
    stream.kill()
    assert run.wait(60) == 1, logs(farm)
    assert len(farm.waiting()) == 1
    assert farm.plot_manager().returncode == 0, logs(farm)
    audit(farm, manifest)


def _writer(farm: Farm) -> psutil.Process | None:
    for process in processes_of(farm):
        try:
            parent = process.parent()
            if parent and all("plotfarm.jobs.receive_plot" in each.cmdline() for each in (process, parent)):
                return process
        except psutil.Error:
            continue
    return None


def test_it_goes_on_with_what_finishes_while_others_are_on_their_way(new_farm: NewFarm) -> None:
    farm = new_farm(drives=2, nas_settings={"transfer.max_mb_per_second": 2})
    first = big_plot(farm.plots, "first", 60 * MIB)
    run = farm.start_plot_manager()
    wait_for(lambda: arriving(farm) == 1, "the first arrival")
    second = put(farm.plots, "second")
    wait_for(lambda: not second.exists(), "the second's arrival")
    assert first.exists()
    run.terminate()
    run.wait(10)
    assert [path.name for path in farm.stored()] == [second.name]


def test_after_its_time_a_run_begins_nothing_new(new_farm: NewFarm) -> None:
    farm = new_farm(drives=1, settings={"plotter.longest_run_minutes": 0.1, "transfer.max_mb_per_second": 2})
    for number in range(3):
        put(farm.plots, f"plot {number}", 20 * MIB)
    assert farm.plot_manager().returncode == 0
    assert len(farm.stored()) == 1  # the drive takes one after the other
    assert len(farm.waiting()) == 2


# ---- Several plotters ----


def test_the_order_is_fair(new_fleet: Callable[..., Fleet]) -> None:
    """One drive, one plotter with many plots, and one with a single plot that comes later."""
    fleet = new_fleet(2, 1, 1, **{"nas.streams": 4, "transfer.max_mb_per_second": 2})
    many = [put(fleet.plots[0], f"many {number}") for number in range(12)]
    one = put(fleet.plots[1], "one")
    first = fleet.start(0)
    wait_for(lambda: len(list(fleet.drives[0].glob("*.plot"))) >= 2, "the first plots")
    second = fleet.start(1)
    assert second.wait(60) == 0, fleet.logs()
    assert first.wait(60) == 0, fleet.logs()
    order = [transfer.plot for transfer in reversed(State(fleet.farms[0].nas.state).transfers())]
    assert sorted(order) == sorted(path.name for path in (*many, one))
    assert order.index(one.name) < len(many) - 4, order


def test_the_nas_limits_its_arrivals(new_farm: NewFarm) -> None:
    farm = new_farm(drives=4, nas_settings={"receiving.arrivals": 2, "transfer.max_mb_per_second": 4})
    for number in range(6):
        put(farm.plots, f"plot {number}", 2 * MIB)
    most = most_at_once(farm)
    assert most == 2
    assert len(farm.stored()) == 6


def test_a_plotter_may_have_so_many_sessions(new_farm: NewFarm) -> None:
    farm = new_farm(drives=4, nas_settings={"receiving.sessions_per_plotter": 2})
    for number in range(8):
        put(farm.plots, f"plot {number}")
    farm.plot_manager()
    assert len(list(farm.nas.locks.glob("session-*.lock"))) == 2
    assert list(farm.nas.locks.glob("refused-*.lock")) != [], "no session was turned away"
    assert farm.plot_manager().returncode == 0, logs(farm)
    assert len(farm.stored()) == 8
    audit(farm, {path.name: digest for path, digest in farm.stored().items()})


def test_a_plotter_may_have_so_much_unfinished(new_farm: NewFarm) -> None:
    quota = {"receiving.unfinished_quota": "3 MiB", "transfer.max_mb_per_second": 4}
    farm = new_farm(drives=4, nas_settings=quota)
    for number in range(4):
        put(farm.plots, f"plot {number}", 2 * MIB)
    most = most_at_once(farm)
    assert most == 1
    assert len(farm.stored()) == 4


@pytest.mark.timeout(300)
def test_a_hundred_arrivals_at_once(new_farm: NewFarm) -> None:
    """Each session stops itself when its data connection stands, so that all of them are there at the same time."""
    patient = {"transfer.silence_seconds": 60, "transfer.stall_seconds": 90, "drives.probe_seconds": 30}
    start, lock = _free_ports(160)
    farm = new_farm(
        drives=100,
        settings={**patient, "transfer.ports": f"{start}-{start + 159}"},
        plotter_settings={"plotter.streams": 100, "nas.streams": 100},
        nas_settings={"receiving.sessions_per_plotter": 200},
        nas_environment={"PLOT_MANAGER_STOP_AT": POURING},
    )
    for number in range(100):
        put(farm.plots, f"plot {number}")
    manifest = names_and_digests(farm)
    run = farm.start_plot_manager()
    try:
        wait_for(lambda: len(_stopped(farm)) == 100, "a hundred arrivals", 80)
        assert arriving(farm) == 100
    finally:
        farm.set_nas_environment({})
        while run.poll() is None and (stopped := _stopped(farm)):
            for process in stopped:
                process.resume()
    assert run.wait(100) == 0, logs(farm)
    lock.close()
    audit(farm, manifest)


def _free_ports(count: int) -> tuple[int, IO[str]]:
    """Return the first of so many ports that nobody listens on, and something to close when they are given back."""
    while True:
        ports, lock = take_port_range()
        listening = {int(line.split()[1].rpartition(":")[2], 16) for line in _tcp_lines()}
        if not listening & set(range(ports.start, ports.start + count)) and ports.start + count < 32768:
            return ports.start, lock


def _tcp_lines() -> list[str]:
    return Path("/proc/net/tcp").read_text().splitlines()[1:]


def _stopped(farm: Farm) -> list[psutil.Process]:
    found = []
    for process in processes_of(farm):
        with contextlib.suppress(psutil.Error):
            if process.status() == psutil.STATUS_STOPPED:
                found.append(process)
    return found


# ---- Several NAS, several links ----


@pytest.mark.parametrize(
    ("policy", "expected"),
    [("in_order", {"nas1": 4}), ("most_free", {"nas2": 4}), ("round_robin", {"nas1": 2, "nas2": 2})],
)
def test_policies(new_fleet: Callable[..., Fleet], policy: str, expected: dict[str, int]) -> None:
    fleet = new_fleet(1, 2, 2, **{"nas.policy": policy, "plotter.streams": 1})
    fleet.farms[0].nas.change({"drives.minimum_free": "1 GiB"})  # the other has more room
    for number in range(4):
        put(fleet.plots[0], f"plot {number}")
    assert send(fleet) == 0, fleet.logs()
    found = {f"nas{number}": len(farm.stored()) for number, farm in enumerate(fleet.farms, 1)}
    assert {name: count for name, count in found.items() if count} == expected


def test_a_nas_that_does_not_answer_is_left_out_and_taken_back(new_fleet: Callable[..., Fleet]) -> None:
    fleet = new_fleet(1, 2, 2, **{"nas.policy": "in_order"})
    first, second = fleet.farms
    first.sshd.stop()
    for number in range(3):
        put(fleet.plots[0], f"plot {number}")
    assert send(fleet) == 0, fleet.logs()
    assert (len(first.stored()), len(second.stored())) == (0, 3)
    assert "cannot reach nas1 by ssh" in fleet.logs()
    first.sshd.start()
    put(fleet.plots[0], "later")
    assert send(fleet) == 0, fleet.logs()
    assert (len(first.stored()), len(second.stored())) == (1, 3)


def test_a_full_nas_passes_plots_on_to_the_next(new_fleet: Callable[..., Fleet]) -> None:
    fleet = new_fleet(1, 2, 2, **{"nas.policy": "in_order"})
    fleet.farms[0].nas.change({"drives.minimum_free": "900 TiB"})
    put(fleet.plots[0], "plot")
    assert send(fleet) == 0, fleet.logs()
    assert [len(farm.stored()) for farm in fleet.farms] == [0, 1]


def test_streams_are_spread_over_the_links_and_a_dead_one_is_left_out(new_farm: NewFarm) -> None:
    farm = new_farm(drives=4, settings={"transfer.max_mb_per_second": 8})
    farm.sshd.stop()
    farm.sshd.more_addresses = ("127.0.0.2",)
    farm.sshd.start()
    farm.plotter.change({"nas.links": "127.0.0.1: 127.0.0.1, 127.0.0.2, 127.0.0.9"})
    for number in range(6):
        put(farm.plots, f"plot {number}", 4 * MIB)
    manifest = names_and_digests(farm)
    used: set[str] = set()
    run = farm.start_plot_manager()
    while run.poll() is None:
        streams = last_content(farm.plotter.locks / "plot_manager.lock").get("streams", [])
        used |= {stream["address"] for stream in streams}
        time.sleep(0.02)
    assert run.returncode == 0, logs(farm)
    assert used == {"127.0.0.1", "127.0.0.2"}
    assert "127.0.0.9" in farm.plotter.log_text()
    audit(farm, manifest)


def test_priorities_and_speed_limit(new_farm: NewFarm) -> None:
    calm = {"transfer.niceness": 7, "transfer.io_priority": "idle", "transfer.max_mb_per_second": 4}
    farm = new_farm(settings=calm)
    big_plot(farm.plots, "calm", 16 * MIB)
    begun = time.monotonic()
    run = farm.start_plot_manager()
    writer = wait_for(lambda: _writer(farm), "a writer")
    processes = [psutil.Process(run.pid), writer]
    assert {os.getpriority(os.PRIO_PROCESS, process.pid) for process in processes} == {7}
    assert {process.ionice().ioclass for process in processes} == {psutil.IOPRIO_CLASS_IDLE}
    assert run.wait(60) == 0, logs(farm)
    assert time.monotonic() - begun > 16 * MIB / 4e6 - 1  # a second of credit
