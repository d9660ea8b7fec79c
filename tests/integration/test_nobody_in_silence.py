"""Whatever stops for good is told once, and once more when it is over: by real scripts, to a real mail server."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from notify_host import CHECKOUT, BlockingMailServer, Host

from plotfarm.base.config import last_good
from plotfarm.base.runs import Moment, RunBook, RunOutcome
from plotfarm.jobs import run_records
from testbed.heartbeat_server import HeartbeatServer
from testbed.web_server import WebServer

LIMIT_SECONDS = 60.0
PASSWORD = "hunter2hunter2"
# A script as cron starts it: its job says that it has begun, and goes on when its input ends.
SCRIPT = """
import sys
from plotfarm.jobs import entry

def job(config):
    print("begun", flush=True)
    sys.stdin.read()
    return 0

sys.exit(entry.run(sys.argv[1], job, sys.argv[3], unattended=True))
"""


@pytest.fixture
def mail() -> Iterator[BlockingMailServer]:
    """A mail server that tells of each mail that arrives, and holds none back."""
    with BlockingMailServer() as server:
        server.go_on.set()
        yield server


@pytest.fixture
def host(tmp_path: Path, mail: BlockingMailServer) -> Host:
    host = Host(tmp_path)
    host.mails_go_to(mail)
    return host


def begin(host: Host, script: str) -> subprocess.Popen[str]:
    """A run in normal mode that goes on until its input ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, script, "--config", host.path],
        cwd=CHECKOUT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    return process


def run(host: Host, script: str) -> None:
    process = begin(host, script)
    process.communicate(timeout=60)
    assert process.returncode == 0


def a_minute_passes(host: Host) -> None:
    """Let all that is remembered be a minute older."""
    host.sql("UPDATE conditions SET since = since - 60, told = told - 60")
    host.sql("UPDATE runs SET begun = begun - 60, begun_clock = begun_clock - 60, ended = ended - 60")
    host.sql("UPDATE runs SET ended_clock = ended_clock - 60")


def subjects(host: Host, server: BlockingMailServer, count: int, ways: int = 1) -> list[str]:
    """The subjects of all mails, once so many have arrived by each of the ways; nothing else waits to be sent."""
    while len(server.received) < count:
        assert server.arrived.acquire(timeout=LIMIT_SECONDS), [one.mail["Subject"] for one in server.received]
    host.delivery_ended()
    assert [fate[-1] for fate in host.fates()] == ["sent"] * count * ways, host.fates()
    return [str(one.mail["Subject"]) for one in server.received]


def every_minute(host: Host, *scripts: str, count: int = 5) -> None:
    """Let scripts have run as by cron, so often that their interval is known; the last runs were a minute ago."""
    database = host.database()
    book = RunBook(database)
    for number in range(count, 0, -1):
        for script in scripts:
            one = run_records.begin(script, unattended=True)
            past = Moment(one.begun.time - number * 60, one.begun.clock - number * 60, one.begun.boot)
            book.end(replace(one, scheduled=True, begun=past, ended=past, outcome=RunOutcome.DONE, status=0))
    database.close()


# ---- Cron starts a script no more ----


def test_a_script_that_runs_no_more_is_told_by_another_and_again_when_it_does(host, mail):
    for _ in range(5):
        run(host, "drive_manager")
        a_minute_passes(host)
    # The runs above took a while too, so what was learnt is more than a minute, on a busy machine a good deal more.
    for _ in range(6):
        run(host, "coin_monitor")
        a_minute_passes(host)
    [subject] = subjects(host, mail, 1)
    assert "drive_manager.py has stopped" in subject
    text = mail.received[0].part("plain")
    assert "runs every 1 min" in text  # and some seconds
    assert "drive_manager: 0 in [watch]" in " ".join(text.split())
    for _ in range(3):
        run(host, "coin_monitor")
    run(host, "drive_manager")
    run(host, "coin_monitor")
    assert "drive_manager.py runs again" in subjects(host, mail, 2)[1]


def test_a_plotter_that_sends_plots_is_enough_to_notice_that_the_cron_of_its_nas_is_dead(host, mail):
    """receive_plot.sh is started by ssh; here without an address, so its session ends at once."""
    every_minute(host, "drive_manager")
    a_minute_passes(host)
    for _ in range(3):
        done = host.start("-m", "plotfarm.jobs.receive_plot", "receive")
        done.communicate(timeout=60)
        a_minute_passes(host)
    assert "drive_manager.py has stopped" in subjects(host, mail, 1)[0]


def test_a_script_that_is_not_used_any_more_is_missed_by_nobody(host, mail):
    every_minute(host, "drive_manager")
    host.write(watch={"intervals": "drive_manager: 0"})
    for _ in range(5):
        a_minute_passes(host)
        run(host, "coin_monitor")
    assert host.fates() == []


def test_after_a_time_in_which_nothing_ran_each_script_has_its_turn(host, mail):
    every_minute(host, "drive_manager", "plot_manager")
    for _ in range(60):
        a_minute_passes(host)
    run(host, "drive_manager")
    run(host, "plot_manager")
    run(host, "drive_manager")
    assert host.fates() == []


def test_a_run_that_was_killed_has_no_end_and_is_told_rightly(host, mail):
    every_minute(host, "drive_manager")
    process = begin(host, "drive_manager")
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert host.sql("SELECT outcome, ended, status FROM runs ORDER BY seq DESC LIMIT 1") == [("unended", None, None)]
    status, output = host.drive_manager("-pr")
    assert status == 0
    assert "last run of drive_manager.py: " in output
    assert "ended without a word: killed, or this host went down" in " ".join(output.split())
    for _ in range(3):
        a_minute_passes(host)
        run(host, "coin_monitor")
    assert len(subjects(host, mail, 1)) == 1
    assert "was killed" in mail.received[0].part("plain")
    run(host, "drive_manager")
    assert "drive_manager.py runs again" in subjects(host, mail, 2)[1]


def test_a_transfer_that_lasts_is_no_silence(host, mail):
    every_minute(host, "plot_manager")
    process = begin(host, "plot_manager")
    for _ in range(5):
        a_minute_passes(host)
        run(host, "coin_monitor")
    assert host.fates() == []
    process.communicate(timeout=60)


def test_every_run_is_recorded_with_its_version_and_status(host, mail):
    run(host, "drive_manager")
    assert host.drive_manager("-pr", "--json")[0] == 0
    rows = host.sql("SELECT script, mode, version, outcome, status, ended IS NOT NULL FROM runs ORDER BY seq")
    assert rows == [("drive_manager", "", "1.0.0", "done", 0, 1), ("drive_manager", "-pr", "1.0.0", "done", 0, 1)]


REPORTS = [
    ("drive_manager.py", "-pr"), ("drive_manager.py", "-ct"), ("drive_manager.py", "-dr"),
    ("drive_manager.py", "--explain"), ("drive_manager.py", "--status"), ("plot_manager.py", "--status"),
    ("coin_monitor.py", "--report"),
]  # fmt: skip


@pytest.mark.parametrize(("script", "report"), REPORTS)
def test_every_report_shows_when_each_script_ran_last_and_so_does_its_json(host, script, report):
    every_minute(host, "drive_manager", "move_local_plots")
    said = host.start(script, report).communicate(timeout=60)[0]
    for name in ("drive_manager", "move_local_plots"):
        assert f"last run of {name}.py: 1 min" in " ".join(said.split())
    process = subprocess.run(
        [sys.executable, script, report, "--json", "--config", host.path],
        cwd=CHECKOUT, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert process.returncode == 0, process.stderr
    runs = {run["script"]: run for run in json.loads(process.stdout)["data"]["last_runs"] if run["mode"] is None}
    assert set(runs) == {"drive_manager.py", "move_local_plots.py"}
    assert runs["drive_manager.py"]["exit_status"] == 0


# ---- The configuration cannot be used ----


def break_configuration(host: Host) -> str:
    text = host.path.read_text()
    host.path.write_text(text.replace("[email]", "[email"))
    return text


def test_a_broken_configuration_is_told_through_the_last_good_one(host, mail):
    host.write(email={"password": ""}, pushbullet={"access_tokens": PASSWORD})
    assert host.drive_manager()[0] == 0
    good = break_configuration(host)
    for _ in range(3):
        status, output = host.drive_manager()
        assert status == 2
        a_minute_passes(host)
    [subject] = subjects(host, mail, 1)
    assert "the configuration cannot be used" in subject
    assert PASSWORD not in output + mail.received[0].part("plain") + host.log("drive_manager")
    assert "mistake" in host.log("drive_manager")
    assert host.drive_manager()[0] == 2
    host.path.write_text(good)
    assert host.drive_manager()[0] == 0
    assert "The configuration can be used again" in subjects(host, mail, 2)[1]
    assert host.drive_manager()[0] == 0
    assert len(host.fates()) == 2


def test_a_login_that_stands_in_the_broken_file_is_used_from_there(tmp_path):
    with BlockingMailServer() as server:
        server.go_on.set()
        host = Host(tmp_path)
        host.mails_go_to(server)
        host.write(pushbullet={"access_tokens": PASSWORD})
        assert host.drive_manager()[0] == 0
        copies = "".join(path.read_text() for path in host.state.glob("last_good-*"))
        assert "recipients = " in copies
        assert PASSWORD not in copies
        break_configuration(host)
        found = last_good.find([host.path])
        assert found is not None
        assert [token.reveal() for token in found.pushbullet.access_tokens] == [PASSWORD]


def test_a_file_that_is_just_being_saved_is_told_to_nobody(host, mail):
    assert host.drive_manager()[0] == 0
    good = break_configuration(host)
    assert host.drive_manager()[0] == 2
    host.path.write_text(good)
    assert host.drive_manager()[0] == 0
    assert host.fates() == []


def test_a_script_that_needs_more_of_a_good_configuration_says_so_for_itself(host, mail):
    host.write(watch={"trouble_minutes": "1"})
    for _ in range(3):
        process = host.start("plot_manager.py")
        assert "nas.hosts" in process.communicate(timeout=60)[0].replace("[nas] hosts", "nas.hosts")
        assert process.returncode == 2
        assert host.drive_manager()[0] == 0
        a_minute_passes(host)
    assert "plot_manager fails" in subjects(host, mail, 1)[0]


# ---- The packages cannot be used ----


@pytest.fixture
def web() -> Iterator[WebServer]:
    with WebServer() as server:
        yield server


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout of its own, whose .venv is that of this one: it fits."""
    checkout = tmp_path / "checkout"
    shutil.copytree(
        CHECKOUT, checkout, symlinks=True,
        ignore=shutil.ignore_patterns(".*", "tests", "docs", "testbed", "benchmarks", "state", "logs", "locks"),
    )  # fmt: skip
    (checkout / ".venv").symlink_to((CHECKOUT / ".venv").resolve())
    shutil.copy((CHECKOUT / ".venv" / ".requirements-stamp").resolve(), checkout / "requirements.txt")
    return checkout


def start_of(checkout: Path, host: Host) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [checkout / "drive_manager.py", "--config", host.path],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False,
        env={"PATH": "/usr/bin:/bin", "HOME": str(host.base)},
    )  # fmt: skip


def runs_recorded(host: Host, count: int) -> None:
    """Wait until so many runs are recorded that could not start: that is done in the background."""
    deadline = time.monotonic() + LIMIT_SECONDS
    while host.sql("SELECT count(*) FROM runs WHERE outcome = 'not_installed'") != [(count,)]:
        assert time.monotonic() < deadline, host.sql("SELECT outcome FROM runs")
        time.sleep(0.02)
    # The condition is stored after the run is recorded.
    while host.sql("SELECT count(*) FROM conditions WHERE kind = 'cannot_start'") == [(0,)]:
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize("has_packages", [True, False])
def test_a_stale_venv_is_told_with_what_is_left_of_it(host, mail, checkout, web, has_packages):
    host.write(notifications={"services": f"json://{web.address}:{web.port}/notify"})
    assert start_of(checkout, host).returncode == 0
    wanted = (checkout / "requirements.txt").read_text()
    (checkout / "requirements.txt").write_text(f"{wanted}another==1.0\n")
    whole = (checkout / ".venv").readlink()
    if not has_packages:
        (checkout / ".venv").unlink()
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", checkout / ".venv"], check=True)
    for number in range(3):
        done = start_of(checkout, host)
        assert (done.returncode, done.stderr.count("\n")) == (1, 1)
        runs_recorded(host, number + 1)
        a_minute_passes(host)
    [subject] = subjects(host, mail, 1, ways=2)
    assert "no script can start" in subject
    assert len(web.notifications) == 1
    text = " ".join(mail.received[0].part("plain").split())
    assert "older than requirements.txt" in text
    assert f"in {checkout}" in text
    assert "older than requirements.txt" in host.log("drive_manager")

    if not has_packages:
        shutil.rmtree(checkout / ".venv")
        (checkout / ".venv").symlink_to(whole)
    (checkout / "requirements.txt").write_text(wanted)
    assert start_of(checkout, host).returncode == 0
    assert "scripts can start again" in subjects(host, mail, 2, ways=2)[1]
    assert len(web.notifications) == 2


# ---- A lock is held ----


@pytest.mark.root
def test_a_held_lock_stops_nothing_for_ever_and_is_told_once(host, mail):
    host.write(watch={"lock_seconds": "0.3"})
    assert host.drive_manager()[0] == 0
    lock = host.locks / "arrivals.lock"
    # As older versions left it, and a user without rights could open it.
    host.locks.chmod(0o755)
    lock.chmod(0o644)
    stranger = subprocess.Popen(
        [sys.executable, "-S", "-c", "import fcntl, os, sys; file = os.open('arrivals.lock', os.O_RDONLY); "
         "os.setuid(65534); fcntl.flock(file, fcntl.LOCK_SH); print('held', flush=True); sys.stdin.read()"],
        cwd=host.locks, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert stranger.stdout is not None
    assert stranger.stdout.readline() == "held\n"
    for _ in range(3):
        status, output = host.drive_manager()
        assert (status, f"process {stranger.pid}" in output) == (1, True)
        a_minute_passes(host)
    assert "a lock is held, and nothing goes on: arrivals.lock" in subjects(host, mail, 1)[0]
    assert f"Process {stranger.pid}" in mail.received[0].part("plain")
    session = subprocess.run(
        [sys.executable, "-m", "plotfarm.jobs.receive_plot", "--config", host.path, "receive"],
        cwd=CHECKOUT, env={**os.environ, "SSH_CONNECTION": "127.0.0.1 1 127.0.0.1 22"},
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (session.returncode, "has held the lock" in session.stderr) == (1, True), session.stderr
    stranger.communicate()
    assert host.drive_manager()[0] == 0
    assert "arrivals.lock is free again" in subjects(host, mail, 2)[1]
    assert lock.stat().st_mode & 0o777 == 0o600


def test_the_lock_of_a_script_that_somebody_else_holds_is_told_as_its_silence(host, mail):
    every_minute(host, "drive_manager")
    assert host.drive_manager()[0] == 0
    a_minute_passes(host)
    holder = subprocess.Popen(
        ["flock", host.locks / "drive_manager.lock", "cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert holder.stdin is not None and holder.stdout is not None
    holder.stdin.write(b"held\n")
    holder.stdin.flush()
    assert holder.stdout.readline() == b"held\n"
    for _ in range(4):
        assert host.drive_manager()[0] == 0
        a_minute_passes(host)
    assert "drive_manager.py has stopped" in subjects(host, mail, 1)[0]
    assert "another process holds its lock" in " ".join(mail.received[0].part("plain").split())
    holder.communicate()
    assert host.drive_manager()[0] == 0
    assert "drive_manager.py runs again" in subjects(host, mail, 2)[1]


# ---- Heartbeats ----


@pytest.fixture
def beats() -> Iterator[HeartbeatServer]:
    with HeartbeatServer() as server:
        yield server


def heard(beats: HeartbeatServer, count: int) -> list[str]:
    """What was heard, once so much was."""
    while len(beats.heard) < count:
        assert beats.arrived.acquire(timeout=LIMIT_SECONDS), beats.heard
    assert beats.refused == []
    return [one.what for one in beats.heard]


def test_a_run_tells_healthchecks_that_it_begins_and_how_it_ended(host, beats):
    host.write(heartbeat={"drive_manager": beats.healthchecks_url})
    run(host, "drive_manager")
    assert heard(beats, 2) == ["start", "success"]
    first, last = beats.heard
    assert first.run_id == last.run_id == host.sql("SELECT id FROM runs")[0][0]
    assert last.text.startswith("took ")


def test_a_run_that_fails_sends_its_exit_status_and_the_last_lines_of_its_log(host, beats):
    host.write(heartbeat={"drive_manager": beats.healthchecks_url}, drives={"directories": ""})
    assert host.drive_manager()[0] == 1
    assert heard(beats, 2) == ["start", "1"]
    assert beats.heard[1].text.startswith("exit status 1 after ")
    assert "no drive can take a plot" in beats.heard[1].text


def test_a_run_that_is_killed_is_told_at_once(host, beats):
    host.write(heartbeat={"drive_manager": beats.healthchecks_url})
    process = begin(host, "drive_manager")
    assert heard(beats, 1) == ["start"]
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert heard(beats, 2) == ["start", "fail"]
    assert beats.heard[0].run_id == beats.heard[1].run_id


def test_a_configuration_that_cannot_be_used_is_a_failure(host, mail, beats):
    host.write(heartbeat={"drive_manager": beats.healthchecks_url})
    assert host.drive_manager()[0] == 0
    assert heard(beats, 2) == ["start", "success"]
    break_configuration(host)
    assert host.drive_manager()[0] == 2
    assert heard(beats, 4)[2:] == ["start", "2"]
    assert "mistake" in beats.heard[3].text


def test_uptime_kuma_hears_up_and_down(host, beats):
    host.write(heartbeat={"drive_manager": beats.kuma_url})
    run(host, "drive_manager")
    assert heard(beats, 1) == ["up"]
    assert int(beats.heard[0].milliseconds) >= 0
    process = begin(host, "drive_manager")
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert heard(beats, 2) == ["up", "down"]


def test_any_other_url_is_asked_for_after_a_good_run(host, beats):
    host.write(heartbeat={"drive_manager": beats.plain_url})
    run(host, "drive_manager")
    assert heard(beats, 1) == ["plain"]


def test_a_long_run_keeps_its_check_up_through_those_that_find_it_at_it(host, beats):
    host.write(heartbeat={"plot_manager": beats.healthchecks_url}, nas={"hosts": "127.0.0.1"})
    host.write(plotter={"plot_directories": host.base})
    host.locks.mkdir(exist_ok=True)
    running = begin(host, "plot_manager")
    assert heard(beats, 1) == ["start"]
    lock = subprocess.Popen(
        ["flock", host.locks / "plot_manager.lock", "cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert lock.stdin is not None and lock.stdout is not None
    lock.stdin.write(b"held\n")
    lock.stdin.flush()
    lock.stdout.readline()
    second = host.start("plot_manager.py")
    second.communicate(timeout=60)
    assert second.returncode == 0
    deadline = time.monotonic() + LIMIT_SECONDS
    while [one.run_id for one in beats.heard].count(beats.heard[0].run_id) < 2:  # its clock has been started anew
        assert time.monotonic() < deadline, beats.heard
        time.sleep(0.02)
    whats = [one.what for one in beats.heard]
    assert whats[-2:] == ["success", "start"]
    # On a busy machine the second run may have said that it began; then it has said that it ended too.
    assert [one.run_id for one in beats.heard[1:-1]] in ([""], [beats.heard[1].run_id] * 2)
    running.communicate(timeout=60)
    lock.communicate()
    assert heard(beats, len(whats) + 1)[-1] == "success"


def test_no_run_waits_for_a_server_that_hangs_and_the_log_says_that_it_did(host, beats):
    beats.hangs = True
    host.write(heartbeat={"drive_manager": beats.healthchecks_url}, notifications={"timeout_seconds": "0.2"})
    run(host, "drive_manager")
    assert beats.reached.acquire(timeout=LIMIT_SECONDS)
    deadline = time.monotonic() + LIMIT_SECONDS
    while "The heartbeat (begun) was not sent" not in host.log("drive_manager"):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert beats.healthchecks_url not in host.log("drive_manager")


def test_the_url_shows_on_no_command_line(host, beats):
    host.write(heartbeat={"drive_manager": beats.healthchecks_url})
    process = begin(host, "drive_manager")
    heard(beats, 1)
    lines = [
        (Path("/proc") / name / "cmdline").read_bytes()
        for name in os.listdir("/proc")
        if name.isdigit() and (Path("/proc") / name / "cmdline").exists()
    ]
    assert any(b"heartbeat_sender" in line for line in lines)
    assert not any(beats.healthchecks_url.encode() in line for line in lines)
    process.communicate(timeout=60)
