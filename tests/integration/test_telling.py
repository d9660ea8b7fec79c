"""From what a job sees to the mail that arrives: each trouble is told once, and once more when it is over."""

from __future__ import annotations

import functools
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from notify_host import CHECKOUT, FARMER, BlockingMailServer, Host, message

from plotfarm.base import memory_trouble
from plotfarm.base.condition import AlertKind, Condition, Look, Severity
from plotfarm.base.database import SCHEMA_VERSION, Database
from plotfarm.base.locks import Lock
from plotfarm.base.memory_trouble import Trouble
from plotfarm.drives.model import MARKER
from plotfarm.jobs import after_run
from plotfarm.jobs.telling import Teller
from plotfarm.notify.checks import check
from plotfarm.notify.hourly import _name_of_host
from plotfarm.notify.outbox import Outbox
from testbed.mounts import private_mounts

MINUTE = 60.0
FULL_HOUR = 500_000 * 3600.0  # a Unix time


@pytest.fixture
def host(tmp_path):
    host = Host(tmp_path)
    host.write(notifications={"email": "True"})
    return host


@pytest.fixture
def mail(host):
    """A mail server that tells of each mail that arrives, and holds none back."""
    with BlockingMailServer() as server:
        server.go_on.set()
        host.mails_go_to(server)
        yield server


@pytest.fixture
def database(host):
    database = Database(host.state)
    yield database
    database.close()


@pytest.fixture
def teller(host, database):
    return Teller(host.config, database)


def missing(number, severity=Severity.CRITICAL):
    facts = {"drive": f"drive{number}", "plots": 100, "serial": "Z1"}
    return Condition(AlertKind.MISSING, f"uuid:{number}", severity, facts)


def hot(number):
    return Condition(AlertKind.HOT, f"uuid:{number}", Severity.WARNING, {"drive": f"drive{number}", "celsius": 55})


def arrived(host, server, count=1):
    """The mails, when so many more have arrived and are noted."""
    for _ in range(count):
        assert server.arrived.acquire(timeout=30)
    host.delivery_ended()
    return [received.mail["Subject"] for received in server.received]


# ---- What goes into the outbox ----


def test_sixteen_drives_that_are_gone_are_one_message(teller, host, database):
    teller.see([missing(number) for number in range(16)], Look.PRESENCE)
    [(subject, channel, recipient, result)] = host.fates()
    assert "16 plot drives disappeared" in subject
    assert (channel, recipient, result) == ("email", FARMER, "waiting")
    [(text, severity)] = database.rows("SELECT text, severity FROM messages")
    assert all(f"drive{number} " in text for number in range(16))
    assert severity == "critical"
    teller.see([], Look.PRESENCE)
    assert len(host.fates()) == 2
    assert database.rows("SELECT severity FROM messages ORDER BY id DESC LIMIT 1") == [("info",)]


def test_each_kind_has_a_message_of_its_own(teller, host):
    teller.evaluate([check(Look.PRESENCE, [missing(1), missing(3)]), check(Look.HEALTH, [hot(2)])])
    assert len(host.fates()) == 2
    assert sorted("hot" in subject for subject, *_ in host.fates()) == [False, True]


def test_a_condition_is_told_once_over_many_runs_and_once_more_when_it_is_over(host, caplog):
    caplog.set_level(logging.INFO)
    for present in ([], [missing(6)], [missing(6)], [missing(6)], [], []):
        database = Database(host.state)
        Teller(host.config, database).see(present, Look.PRESENCE)
        database.close()
    assert len(host.fates()) == 2
    assert caplog.text.count("drive6 disappeared") == 1
    assert caplog.text.count("drive6 is back") == 1


def test_what_is_told_can_be_asked_for(teller):
    patient = Condition(AlertKind.MISSING, "uuid:7", Severity.CRITICAL, {"drive": "drive7"}, patience_seconds=120)
    teller.see([missing(6), patient], Look.PRESENCE)
    assert teller.told() == {("missing", "uuid:6"): missing(6)}


def test_with_alerting_off_nothing_is_sent_and_all_is_logged_once(host, database, caplog):
    host.write(notifications={"alerting": "False"})
    caplog.set_level(logging.INFO)
    teller = Teller(host.config, database)
    for present in ([missing(6)], [missing(6)], [], []):
        teller.see(present, Look.PRESENCE)
    assert host.fates() == []
    assert caplog.text.count("drive6 disappeared") == 1
    assert caplog.text.count("drive6 is back") == 1
    assert teller.tell(message()) == 0
    assert not teller.wants("alert")


def test_telling_says_for_how_many_it_is_and_leaves_out_what_is_switched_off(host, database):
    host.write(email={"recipients": f"{FARMER}, partner@example.org"}, notifications={"per_plot": "True"})
    teller = Teller(host.config, database)
    assert teller.wants("per_plot") and not teller.wants("daily_update")
    assert teller.tell(message(kind="per_plot"), message(kind="daily_update")) == 2
    assert len(host.fates()) == 2


def test_a_way_that_is_not_set_up_is_said_and_keeps_nobody_from_being_told(host, database, caplog):
    host.write(notifications={"sms": "True"})
    Teller(host.config, database).see([missing(6)], Look.PRESENCE)
    assert "No messages by sms: " in caplog.text
    assert [fate[1] for fate in host.fates()] == ["email"]


def test_any_bytes_in_the_facts_are_told(teller, host):
    odd = b"dri\xffve\n6\x1b[2J".decode("utf-8", "surrogateescape")
    teller.see([Condition(AlertKind.MISSING, odd, Severity.CRITICAL, {"drive": odd})], Look.PRESENCE)
    [(subject, *_)] = host.fates()
    assert subject.isprintable()
    teller.see([], Look.PRESENCE)
    assert len(host.fates()) == 2


# ---- Two at once ----


def test_who_was_overtaken_between_looking_and_writing_tells_nothing_a_second_time(host, teller, monkeypatch):
    other = Teller(host.config, Database(host.state))
    real = Teller._in_words

    def overtaken(self, changes):
        if self is teller:
            other.see([missing(6)], Look.PRESENCE)
        return real(self, changes)

    monkeypatch.setattr(Teller, "_in_words", overtaken)
    teller.see([missing(6), missing(7)], Look.PRESENCE)
    first, second = (subject for subject, *_ in host.fates())
    assert "drive6 disappeared" in first
    assert "drive7 disappeared" in second


SEER = """
import sys
from pathlib import Path
from plotfarm.base.condition import AlertKind, Condition, Look, Severity
from plotfarm.base.config.loader import load
from plotfarm.base.database import Database
from plotfarm.drives.model import MARKER
from plotfarm.jobs.telling import Teller
from plotfarm.notify.checks import check
from plotfarm.notify.outbox import Outbox
from plotfarm.reports import mails
config = load(Path(sys.argv[1]))
teller = Teller(config, Database(config.paths.state))
print("ready", flush=True)
sys.stdin.readline()
for number in range(10):
    found = [Condition(AlertKind.MISSING, f"uuid:{number}", Severity.CRITICAL, {"drive": f"drive{number}"})]
    teller.evaluate([check(Look.PRESENCE, found, about=[f"uuid:{number}"])])
"""


def test_processes_at_once_tell_once(host):
    argv = [sys.executable, "-c", SEER, host.path]
    seers = [
        subprocess.Popen(argv, cwd=CHECKOUT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(3)
    ]
    assert [seer.stdout.readline() for seer in seers] == ["ready\n"] * 3
    for seer in seers:
        seer.stdin.write("go\n")
        seer.stdin.flush()
    assert [seer.wait(60) for seer in seers] == [0, 0, 0]
    told = [subject.partition(": ")[2].split()[0] for subject, *_ in host.fates()]
    assert sorted(told) == [f"drive{number}" for number in range(10)]


def test_what_could_not_be_put_into_the_outbox_does_not_count_as_told(host, teller, database, monkeypatch):
    monkeypatch.setattr(time, "time", lambda: FULL_HOUR + 90)
    with monkeypatch.context() as full:
        full.setattr(Outbox, "put", lambda *_: False)
        teller.see([missing(6)], Look.PRESENCE)
    assert teller.told() == {}
    again = Teller(host.config, database)
    again.see([missing(6)], Look.PRESENCE)
    assert set(again.told()) == {("missing", "uuid:6")}
    assert len(host.fates()) == 1


# ---- Without memory ----


def without_state(host):
    host.state.rename(host.base / "moved")
    host.state.write_text("a file where the directory should be")


def minutes_with_mail(host, mail, database):
    """The minutes of three hours in which a run that sees a drive missing sends a mail by itself."""
    minutes = []
    memory_trouble.forget()
    for minute in [17, 18, 19, 47, 60, 76, 77, 78, 120, 136, 137, 138]:
        before = len(mail.received)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(time, "time", lambda minute=minute: FULL_HOUR + minute * MINUTE + 7)
            Teller(host.config, database or Database(host.state)).see([missing(6)], Look.PRESENCE)
        minutes += [minute] * (len(mail.received) - before)
    return minutes


def test_without_a_state_directory_alerts_go_directly_and_at_most_once_an_hour(host, mail):
    without_state(host)
    assert minutes_with_mail(host, mail, None) == [17, 77, 137]
    assert all("drive6 disappeared" in received.mail["Subject"] for received in mail.received)


def test_the_same_with_a_database_that_can_be_read_but_not_written(host, mail, database):
    Teller(host.config, database)
    database.write("PRAGMA query_only = ON")
    assert minutes_with_mail(host, mail, database) == [17, 77, 137]


@pytest.mark.root
def test_without_memory_and_without_locks_alerts_go_once_an_hour_too(host, mail):
    with private_mounts():
        for place in (host.state, host.locks):
            place.mkdir(exist_ok=True)
            subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "none", str(place)], check=True)
        assert minutes_with_mail(host, mail, None) == [17, 77, 137]
    shutil.rmtree(f"/dev/shm/plotfarm-{os.geteuid()}-{_name_of_host(host.config)}")


def test_without_memory_each_alert_is_told_by_one_script_alone(host, mail):
    without_state(host)
    for drive in (6, 6, 7, 6, 7):
        Teller(host.config, Database(host.state)).see([missing(drive)], Look.PRESENCE)
    assert len(list(host.locks.glob("told-*"))) == 2
    assert ["drive6" in one.mail["Subject"] for one in mail.received] == [True, False]


def test_what_another_process_keeps_from_being_written_is_told_by_the_next_run(host, mail, database, monkeypatch):
    monkeypatch.setattr(time, "time", lambda: FULL_HOUR + 90)
    memory_trouble.forget()
    memory_trouble.note(host.state / "state.sqlite", Trouble.LOCKED, "database is locked")
    monkeypatch.setattr(Database, "carried_out", lambda *_: False)
    Teller(host.config, database).see([missing(6)], Look.PRESENCE)
    assert mail.received == []
    memory_trouble.forget()


def test_without_memory_no_other_process_is_waited_for(host, mail, monkeypatch):
    without_state(host)
    monkeypatch.setattr(time, "time", lambda: FULL_HOUR + 7)
    with Lock(host.locks / "outbox.lock"):
        Teller(host.config, Database(host.state)).see([missing(6)], Look.PRESENCE)
    assert len(mail.received) == 1


def test_without_memory_and_with_alerting_off_nothing_is_sent_and_nothing_fails(host, mail, monkeypatch):
    without_state(host)
    host.write(notifications={"alerting": "False"})
    monkeypatch.setattr(time, "time", lambda: FULL_HOUR + 7)
    Teller(host.config, Database(host.state)).see([missing(6)], Look.PRESENCE)
    assert mail.received == []


# ---- What a script does at its end ----


SCRIPT = """
import sys
from plotfarm.base.errors import PlotfarmError
from plotfarm.base.state import State
from plotfarm.jobs import entry

def job(config):
    if sys.argv[1] == "fails":
        raise PlotfarmError("the NAS is away")
    if sys.argv[1] == "crashes":
        raise KeyError("nonsense")
    if sys.argv[1] == "asks nonsense":
        State(config.paths.state).database.rows("SELECT nonsense FROM transfers")
    return 0

sys.exit(entry.run("plot_manager", job, sys.argv[3], unattended=True))
"""


OPENING = """
import sys
from plotfarm.base.state import State
from plotfarm.jobs import entry

sys.exit(entry.run("drive_manager", lambda config: State(config.paths.state).close() or 0, sys.argv[2]))
"""


@pytest.fixture
def script(host):
    def run(what):
        process = host.start("-c", SCRIPT, what)
        output = process.communicate(timeout=60)[0]
        return process.returncode, output

    return run


def spoil(host):
    """Leave the first page of the database, so that it can be opened, and nothing of the others."""
    file = host.state / "state.sqlite"
    content = file.read_bytes()
    file.write_bytes(content[:4096] + b"\xff" * (len(content) - 4096))
    return content


def in_the_first_minute(host, monkeypatch, script):
    """Let a script end as if it were the first minute of an hour, when alerts go that nobody remembers."""
    monkeypatch.setattr(time, "time", lambda: FULL_HOUR + 7)
    memory_trouble.forget()
    after_run.tell(script, "", host.config)
    memory_trouble.forget()


def test_a_memory_that_cannot_be_used_is_told_and_resolved(host, mail, monkeypatch):
    sound = spoil(host)
    in_the_first_minute(host, monkeypatch, "plot_manager")
    (first,) = mail.received
    assert first.mail["Subject"].strip() == "nas: the memory of this host cannot be used: the file is damaged"
    assert "malformed" in first.part("plain")

    (host.state / "state.sqlite").write_bytes(sound)
    in_the_first_minute(host, monkeypatch, "plot_manager")
    assert len(mail.received) == 1
    assert host.fates() == []


def test_a_memory_that_fails_for_a_moment_is_told_and_resolved(host, mail, monkeypatch):
    memory_trouble.note(host.state / "state.sqlite", Trouble.LOCKED, "database is locked")
    after_run.tell("plot_manager", "", host.config)
    assert mail.arrived.acquire(timeout=60)
    memory_trouble.forget()
    after_run.tell("drive_manager", "", host.config)
    after_run.tell("plot_manager", "", host.config)
    assert mail.arrived.acquire(timeout=60)
    assert [each.mail["Subject"].strip() for each in mail.received] == [
        "nas: the memory of this host cannot be used: another process keeps it locked",
        "nas: plot_manager can use the memory of this host again",
    ]


def test_a_memory_of_a_later_version_ends_the_script_and_is_told(host, mail, monkeypatch):
    host.sql(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    in_the_first_minute(host, monkeypatch, "plot_manager")
    (told,) = mail.received
    assert told.mail["Subject"].strip() == "nas: the memory of this host cannot be used: it is of a later version"

    process = host.start("-c", OPENING)
    assert process.communicate(timeout=60)[0].count("\n") == 1
    assert process.returncode == 1


def test_a_statement_that_makes_no_sense_is_told_as_a_bug(host, mail, script):
    host.write(watch={"trouble_minutes": "0"})
    status, output = script("asks nonsense")
    assert (status, output.startswith("plot_manager: unexpected OperationalError: no such column")) == (1, True)
    [subject] = arrived(host, mail)
    assert "plot_manager fails" in subject


@pytest.mark.parametrize(
    ("what", "why"), [("fails", "the NAS is away"), ("crashes", "unexpected KeyError: 'nonsense'")]
)
def test_a_script_that_fails_for_long_is_told_once_and_once_more_when_it_works(host, mail, script, what, why):
    host.write(watch={"trouble_minutes": "15"})
    assert script(what)[0] == script(what)[0] == 1
    assert host.fates() == [], "that may pass"
    host.sql("UPDATE conditions SET since = since - ?", 16 * MINUTE)
    status, output = script(what)
    assert (status, output.startswith(f"plot_manager: {why}")) == (1, True)
    [subject] = arrived(host, mail)
    assert "plot_manager fails" in subject
    assert why in mail.received[0].part("plain")
    assert mail.received[0].mail["X-Priority"] == "1"
    assert script(what)[0] == 1
    assert len(host.fates()) == 1
    assert script("works") == (0, "")
    assert "plot_manager works again" in arrived(host, mail)[1]
    assert script("works") == (0, "")
    assert len(host.fates()) == 2


def test_trouble_that_passes_is_told_to_nobody(host, mail, script):
    host.write(watch={"trouble_minutes": "15"})
    script("fails")
    assert host.sql("SELECT kind FROM conditions") == [("job_failed",)]
    script("works")
    assert host.sql("SELECT kind FROM conditions") == []
    host.sql("UPDATE conditions SET since = since - ?", 16 * MINUTE)
    script("fails")
    assert host.fates() == []


def test_passwords_that_all_users_can_read_are_told_of_until_they_no_longer_can(host, mail, script):
    host.write(pushbullet={"access_tokens": "o.sesame"})
    host.path.chmod(0o644)
    script("works")
    script("works")
    assert [subject.partition(": ")[2] for subject, *_ in host.fates()] == [
        f"other users can read the secrets in {host.path}"
    ]
    host.path.chmod(0o600)
    script("works")
    assert len(host.fates()) == 2
    assert "sesame" not in str(host.sql("SELECT subject, short, text, html FROM messages"))


def test_a_state_directory_that_cannot_be_used_does_not_change_how_a_script_ends(host, mail, script):
    without_state(host)
    assert script("works") == (0, "")
    status, output = script("fails")
    assert (status, output) == (1, "plot_manager: the NAS is away\n")


@pytest.mark.parametrize("is_due", [True, False])
def test_a_process_that_sends_is_started_only_when_something_is_due_and_if_it_cannot_be_the_job_is_done(host, is_due):
    """A mail server that is down is not asked by every run."""
    host.put(message())
    host.sql("UPDATE outbox SET next_try = ?", time.time() + (0 if is_due else 3000))
    without_python = SCRIPT.replace("def job", "sys.executable = '/nowhere/python'\ndef job")
    process = host.start("-c", without_python, "works")
    assert (process.communicate(timeout=60)[0], process.returncode) == ("", 0)
    assert ("/nowhere/python" in host.log("plot_manager")) == is_due


# ---- drive_manager.py ----


def test_a_mail_server_that_hangs_does_not_make_drive_manager_wait(host):
    with BlockingMailServer() as mail:
        host.mails_go_to(mail)
        host.put(message())
        status, output = host.drive_manager()
        assert (status, output) == (0, "")
        assert mail.received == []
        assert mail.reached.wait(30), "another process sends it"
        assert host.drive_manager() == (0, ""), "nor does the next run"
        assert [fate[3] for fate in host.fates()] == ["waiting"]
        mail.go_on.set()
        assert arrived(host, mail) == ["drive6 is hot"]
    assert [fate[3] for fate in host.fates()] == ["sent"]


def test_what_drive_manager_sees_arrives_as_a_mail_once_and_once_more_when_it_is_over(host, mail):
    assert host.drive_manager() == (0, "")
    marker = host.drive / MARKER
    marker.rename(host.base / "away")
    assert host.drive_manager()[0] == 1
    [subject] = arrived(host, mail)
    assert host.drive_manager()[0] == 1
    (host.base / "away").rename(marker)
    assert host.drive_manager()[0] == 0
    assert len(arrived(host, mail)) == 2
    assert host.drive_manager() == (0, "")
    assert len(host.fates()) == 2
    assert mail.received[0].mail["X-Priority"] == "1"
    assert subject.startswith("nas: ")


def test_a_report_that_a_person_asked_for_sends_what_waits_and_tells_nothing_of_its_own(host, mail):
    host.put(message())
    status, _ = host.drive_manager("--explain")
    assert status == 0
    assert arrived(host, mail) == ["drive6 is hot"]
    without_state(host)
    assert host.drive_manager("--offline_hdd", "drive99")[0] == 1
    host.state.unlink()
    (host.base / "moved").rename(host.state)
    assert host.drive_manager("--offline_hdd", "drive99")[0] == 1
    assert host.sql("SELECT kind FROM conditions") == []


def test_the_same_words_are_not_made_for_nothing(teller, host, monkeypatch):
    """A run in which nothing changes makes no message: templates are slow to import."""
    teller.see([missing(6)], Look.PRESENCE)
    monkeypatch.setattr(Teller, "_in_words", functools.partial(pytest.fail, "nothing has changed"))
    teller.see([missing(6)], Look.PRESENCE)
    assert len(host.fates()) == 1


def test_a_file_with_a_secret_that_others_can_read_is_told_and_resolved(host, database):
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o755)
        secret = Path(name) / "mail_password"
        secret.write_text("hunter2")
        secret.chmod(0o644)
        host.write(email={"password": f"file:{secret}", "host": "127.0.0.1"})
        for _ in range(2):
            after_run.tell("plot_manager", "", host.config, database)
        assert set(Teller(host.config, database).told()) == {(AlertKind.CONFIG_READABLE, str(secret))}

        host.write(email={"password": "env:MAIL_PASSWORD"})
        after_run.tell("plot_manager", "", host.config, database)
        assert Teller(host.config, database).told(), "whoever can read it has the secret all the same"
        secret.unlink()
        after_run.tell("plot_manager", "", host.config, database)
        assert Teller(host.config, database).told() == {}
