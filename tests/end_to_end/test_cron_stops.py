"""Cron dies on a NAS: the plotter's next session notices, and says so once; so it does when cron is back."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from farm_help import logs, wait_for
from test_cron import PRIVATE, _may_mount

from plotfarm.base.database import Database
from plotfarm.base.processes import find_program
from testbed.farm import Farm
from testbed.mail_server import MailServer
from testbed.plots import CHECKOUT

INTERVAL_SECONDS = 1.2


@pytest.fixture
def told(tmp_path: Path, server: MailServer) -> Iterator[Farm]:
    """A farm whose owner gets mails; drive_manager.py is said to run every 1.2 seconds, for cron knows no seconds."""
    settings = {
        **server.settings,
        "watch.system_disk_free": "1 MiB",
        "watch.intervals": f"drive_manager: {INTERVAL_SECONDS / 60}",
    }
    with Farm(tmp_path / "farm", settings=settings) as farm:
        farm.remember_small_plots()
        yield farm


def runs(farm: Farm) -> int:
    database = Database(farm.nas.state)
    [(count,)] = database.rows("SELECT count(*) FROM runs WHERE script = 'drive_manager' AND ended IS NOT NULL")
    database.close()
    return int(count)


def start_cron(cron: str, farm: Farm, crontab: Path) -> subprocess.Popen[str]:
    """Start a cron that starts drive_manager.py at once, by the same way as every minute; returns when it has ended."""
    before = runs(farm)
    crontab.write_text(f'MAILTO=""\n@reboot root {CHECKOUT}/drive_manager.py --config {farm.nas.config}\n')
    crontab.chmod(0o644)
    process = subprocess.Popen(
        ["unshare", "-m", "sh", "-c", PRIVATE, "sh", str(crontab), cron],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, text=True,
        start_new_session=True,
    )  # fmt: skip
    wait_for(lambda: runs(farm) > before, "the end of cron's job", 60)
    return process


def stop(process: subprocess.Popen[str]) -> None:
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def plotter_asks(farm: Farm) -> None:
    """Let the plotter begin a session with the NAS, over ssh as always: it has something to send, or looks."""
    farm.plot_manager()


@pytest.mark.root
def test_a_dead_cron_is_told_once_and_once_more_when_it_is_back(told, server, tmp_path, put_v1):
    cron = find_program("cron")
    if cron is None:
        pytest.skip("cron is not installed")
    if not Path("/etc/crontab").exists() or not _may_mount():
        pytest.skip("no mount namespace can be made here")
    crontab = tmp_path / "crontab"
    first = start_cron(cron, told, crontab)
    stop(first)

    deadline = time.monotonic() + 60
    number = 0
    while not server.received:
        assert time.monotonic() < deadline, logs(told)
        number += 1
        put_v1(told.plots, f"while cron is dead {number}")
        plotter_asks(told)
    plotter_asks(told)
    assert len(server.received) == 1
    assert "drive_manager.py has stopped" in server.received[0].mail["Subject"]
    assert len(told.stored()) >= number - 1

    second = start_cron(cron, told, crontab)
    stop(second)
    wait_for(lambda: len(server.received) == 2, "the mail that it is over", 60)
    assert "drive_manager.py runs again" in server.received[1].mail["Subject"]
