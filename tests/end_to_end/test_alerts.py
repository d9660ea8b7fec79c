"""What the owner is told by mail while cron runs the scripts: each thing once, and once more when it is over."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from plotfarm.base.database import Database
from plotfarm.base.state import State, Transfer, TransferOutcome
from plotfarm.drives.model import MARKER
from testbed import smart_samples
from testbed.farm import Farm
from testbed.mail_server import MailServer
from testbed.plots import v1_name

LIMIT_SECONDS = 30.0


@pytest.fixture
def told(tmp_path: Path, server: MailServer) -> Iterator[Farm]:
    """A farm whose owner gets mails, at once, of everything but new plot drives."""
    settings = {
        **server.settings, "watch.trouble_minutes": 0, "watch.missing_minutes": 0,
        "watch.system_disk_free": "1 MiB", "nas.connect_timeout_seconds": 5,
    }  # fmt: skip
    with Farm(tmp_path / "farm", settings=settings) as farm:
        farm.remember_small_plots()
        yield farm


def subjects(server: MailServer, count: int) -> list[str]:
    """Return the subjects of all mails, once so many have arrived."""
    deadline = time.monotonic() + LIMIT_SECONDS
    while len(server.received) < count and time.monotonic() < deadline:
        time.sleep(0.02)
    return [received.mail["Subject"] for received in server.received]


def outbox_is_empty(side_state: Path) -> bool:
    database = Database(side_state)
    waiting = database.rows("SELECT count(*) FROM outbox WHERE ended IS NULL")
    database.close()
    return waiting == [(0,)]


def next_reading_is_due(farm: Farm) -> None:
    """Let the half hour between two SMART readings have passed: all that was remembered is an hour older."""
    database = Database(farm.nas.state)
    assert database.write("UPDATE health_round SET time = time - 3600")
    assert database.write(
        "UPDATE health_details SET failing_since = failing_since - 3600, last_failed = last_failed - 3600"
    )
    assert database.write("UPDATE conditions SET since = since - 3600, told = told - 3600")
    database.close()


def test_a_drive_that_disappears_is_told_once_with_its_plots_and_once_more_when_it_is_back(told, server):
    for number in range(3):
        (told.drives[0] / f"plot-k32-2026-11-23-18-47-{number:064x}.plot").write_bytes(b"x")
    told.drive_manager()
    (told.drives[0] / MARKER).unlink()
    for _ in range(3):
        told.drive_manager()
    assert len(subjects(server, 1)) == 1
    assert "drive1 disappeared" in server.received[0].mail["Subject"]
    for part in ("plain", "html"):
        assert "drive1" in server.received[0].part(part)
        assert "3 plots" in server.received[0].part(part)
    (told.drives[0] / MARKER).touch()
    for _ in range(3):
        told.drive_manager()
    assert len(subjects(server, 2)) == 2
    assert "drive1" in server.received[1].mail["Subject"]
    assert outbox_is_empty(told.nas.state)


def test_two_drives_that_go_together_are_one_mail(told, server):
    told.drive_manager()
    for drive in told.drives[:2]:
        (drive / MARKER).unlink()
    told.drive_manager()
    assert len(subjects(server, 1)) == 1
    assert "drive1" in server.received[0].part("plain")
    assert "drive2" in server.received[0].part("plain")


def test_heat_is_told_once_and_is_over_only_well_below_the_threshold(told, server):
    smartctl = told.give_smart()

    def at(celsius: int) -> None:
        smartctl.says("/dev/fake2", smart_samples.sata(serial="ZHOT", celsius=f"{celsius}"))
        next_reading_is_due(told)
        told.drive_manager()

    told.drive_manager()
    for celsius in (55, 56, 48, 51):  # the threshold is 50, and 47 with the hysteresis
        at(celsius)
    assert len(subjects(server, 1)) == 1
    assert "55" in server.received[0].part("plain")
    at(46)
    assert len(subjects(server, 2)) == 2
    assert outbox_is_empty(told.nas.state)


def test_a_drive_on_which_plots_arrive_slowly_is_told_of_once(told, server):
    state = State(told.nas.state)
    for drive, seconds in zip(told.drives, (5.0, 20.0, 5.1), strict=True):
        for number in range(3):
            name = v1_name(f"{drive.name} {number}", k=32)
            state.record_transfer(Transfer(
                time.time(), name, "v1", "/plots", str(drive / name), "plotter",
                bytes=10**9, seconds=seconds, digest="ab" * 32, segments="", outcome=TransferOutcome.STORED,
            ))  # fmt: skip
    state.close()
    told.drive_manager()
    next_reading_is_due(told)
    told.drive_manager()
    assert len(subjects(server, 1)) == 1
    assert "plots arrive slowly on drive2: 47.7 MiB/s" in server.received[0].mail["Subject"]
    assert outbox_is_empty(told.nas.state)


def test_a_failing_drive_is_told_and_the_second_reading_takes_it_offline_if_the_owner_wants_that(told, server):
    smartctl = told.give_smart()
    told.nas.change({"smart.smartctl": smartctl.program, "smart.offline_failing": True})
    smartctl.says("/dev/fake1", smart_samples.sata(serial="ZBAD", passed=False))
    told.drive_manager()
    assert "drive1" in subjects(server, 1)[0]
    assert "ZBAD" in server.received[0].part("html")
    assert "drive1" not in offline_now(told)

    next_reading_is_due(told)
    told.drive_manager()
    assert "drive1 is failing and was taken offline" in subjects(server, 2)[1]
    assert "drive_manager.py -on drive1" in server.received[1].part("plain")
    assert "offline_failing = False" in server.received[1].part("plain")
    assert "drive1" in offline_now(told)
    explained = told.drive_manager("--explain").stdout.splitlines()
    assert any("offline" in line for line in explained if "drive1" in line)

    told.nas.change({"smart.smartctl": smartctl.program, "smart.offline_failing": False})
    assert told.drive_manager("-on", "drive1").returncode == 0
    next_reading_is_due(told)
    told.drive_manager()
    assert "drive1 is no longer offline" in subjects(server, 3)[2]
    assert "drive1" not in offline_now(told)


def test_one_answer_without_a_verdict_is_no_alert_and_takes_nothing_offline(told, server):
    smartctl = told.give_smart()
    told.nas.change({"smart.smartctl": smartctl.program, "smart.offline_failing": True})
    unknown = smart_samples.sata(serial="ZHZ00001", passed=None, status=4)
    for answer in (unknown, smart_samples.sata(serial="ZHZ00001"), unknown, unknown):
        assert server.received == []
        smartctl.says("/dev/fake1", answer, 4 if answer is unknown else 0)
        told.drive_manager()
        next_reading_is_due(told)
    assert "SMART of drive1 does not say whether it is well" in subjects(server, 1)[0]
    assert "drive1" not in offline_now(told)


def offline_now(farm) -> str:
    return farm.drive_manager("--help").stdout.partition("Offline now:")[2]


def test_a_server_that_is_silent_is_told_by_the_plotter_and_again_when_it_answers(told, server, shop):
    shop.v1(told.plots)
    told.sshd.stop()
    for _ in range(2):
        assert told.plot_manager().returncode == 1
    assert len(subjects(server, 1)) == 1
    assert "127.0.0.1" in server.received[0].mail["Subject"]
    told.sshd.start()
    done = told.plot_manager()
    assert done.returncode == 0, done.stderr
    assert len(subjects(server, 2)) == 2
    assert outbox_is_empty(told.plotter.state)


def test_a_nas_that_ends_in_an_error_of_its_own_is_not_called_unreachable(told, server, shop):
    locks = told.root / "no directory"
    locks.touch()
    shop.v1(told.plots)
    told.nas.change({"paths.locks": locks})
    assert told.plot_manager().returncode == 1
    [subject] = subjects(server, 1)
    assert subject.endswith("127.0.0.1 takes no plots")
    assert "cannot be used" in server.received[0].part("plain")
    told.nas.change({"paths.locks": told.nas.locks})
    assert told.plot_manager().returncode == 0
    assert subjects(server, 2)[1].endswith("127.0.0.1 takes plots again")


def test_a_plot_that_can_never_be_sent_is_told_by_the_plotter(told, server, shop):
    damaged = shop.unfinished(told.plots)[0]
    for _ in range(2):
        told.plot_manager()
    assert len(subjects(server, 1)) == 1
    assert damaged.name in server.received[0].part("plain")
    damaged.unlink()
    told.plot_manager()
    assert len(subjects(server, 2)) == 2


def test_the_plotter_does_not_wait_for_a_mail_server_that_hangs(told, shop):
    import socket

    with socket.create_server(("127.0.0.1", 0)) as silent:  # it accepts, and never says a word
        told.plotter.change({
            "email.port": silent.getsockname()[1], "nas.ssh_options": " ".join(told.sshd.client_options()),
            "notifications.timeout_seconds": 60,
        })  # fmt: skip
        shop.unfinished(told.plots)
        begun = time.monotonic()
        told.plot_manager(timeout=20)
        assert time.monotonic() - begun < 20
