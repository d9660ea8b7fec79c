"""Emptying the outbox: real processes, a real mail server, a real web server; nothing is lost, nothing comes twice."""

from __future__ import annotations

import logging
import signal
import socket
import threading
import time
from datetime import datetime, timedelta

import pytest
from notify_host import FARMER, NOBODY, PARTNER, BlockingMailServer, Host, message, port_of_nobody

from plotfarm.base.condition import Severity
from plotfarm.base.database import Database
from plotfarm.base.locks import Lock
from plotfarm.jobs.deliver import send_waiting
from plotfarm.notify.channels import Result, configured_channels
from plotfarm.notify.delivery import deliver
from plotfarm.notify.outbox import Outbox
from testbed.mail_server import MailServer
from testbed.web_server import SILENT, WebServer

LOGIN = ("nas", "correct horse")
SERVICE = "json://{web.address}:{web.port}/notify/farm"
HOUR = 3600.0

pytestmark = pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")  # of aiosmtpd, and meant so


@pytest.fixture
def host(tmp_path):
    return Host(tmp_path)


@pytest.fixture
def mail(host):
    with MailServer() as server:
        host.mails_go_to(server)
        yield server


@pytest.fixture
def web(host):
    with WebServer() as server:
        host.write(notifications={"services": SERVICE.format(web=server)})
        yield server


def service(host):
    """The target that the web server is."""
    [channel] = [one for one in configured_channels(host.config)[0] if one.name == "services"]
    return "services", channel.recipients()[0]


def send(host):
    """Send in this process; returns what became of it."""
    database = Database(host.state)
    delivered = deliver(host.config, database)
    database.close()
    return [(one.row.subject, one.row.channel, one.row.recipient, one.outcome.result) for one in delivered]


def results(host):
    return [result for *_, result in host.fates()]


def subjects(server):
    return [received.mail["Subject"] for received in server.received]


# ---- What goes well ----


def test_what_waits_is_sent_once_by_each_way_and_a_second_run_sends_nothing(host, mail, web):
    host.put(message(), targets=[("email", FARMER), service(host)])
    assert {(channel, result) for _, channel, _, result in send(host)} == {
        ("email", Result.SENT), ("services", Result.SENT),
    }  # fmt: skip
    assert send(host) == []
    host.pass_time()
    assert send(host) == []
    assert subjects(mail) == [note["title"] for note in web.notifications] == ["drive6 is hot"]
    assert mail.received[0].part("plain") == "text: drive6 is hot\n"
    assert results(host) == ["sent", "sent"]


@pytest.mark.parametrize("is_state_usable", [True, False])
def test_messages_go_out_where_there_can_be_no_lock_among_the_others(host, mail, is_state_usable):
    host.put(message())
    locks = host.base / "no directory"
    locks.touch()
    host.write(paths={"locks": locks})
    if not is_state_usable:
        (host.state / "outbox.lock").symlink_to(locks)
    assert [result for *_, result in send(host)] == [Result.SENT]
    assert send(host) == []
    assert subjects(mail) == ["drive6 is hot"]


def test_one_process_alone_sends_also_where_there_can_be_no_lock_among_the_others(host, mail):
    host.put(message())
    locks = host.base / "no directory"
    locks.touch()
    host.write(paths={"locks": locks})
    with Lock(host.state / "outbox.lock"):
        assert send(host) == []
    assert [result for *_, result in send(host)] == [Result.SENT]


def test_all_recipients_of_a_message_get_one_mail_together(host, mail):
    host.mails_go_to(mail, recipients=f"{FARMER}, {PARTNER}")
    both = [("email", FARMER), ("email", PARTNER)]
    host.put(message("first"), message("second"), targets=both)
    send(host)
    assert [(received.mail["Subject"], received.recipients) for received in mail.received] == [
        ("first", [FARMER, PARTNER]), ("second", [FARMER, PARTNER]),
    ]  # fmt: skip


def test_one_recipient_of_several_who_is_refused_costs_the_others_nothing(host, mail, caplog):
    mail.replies = {NOBODY: "550 5.1.1 No such user here", PARTNER: "451 4.7.1 Greylisted"}
    host.mails_go_to(mail, recipients=f"{FARMER}, {PARTNER}, {NOBODY}")
    host.put(message(), targets=[("email", to) for to in (FARMER, PARTNER, NOBODY)])
    send(host)
    assert results(host) == ["sent", "waiting", "refused"]
    assert f"Refused by email for {NOBODY}" in caplog.text
    assert send(host) == [], "the pause"
    mail.replies = {}
    host.pass_time()
    send(host)
    assert results(host) == ["sent", "sent", "refused"]
    assert [received.recipients for received in mail.received] == [[FARMER], [PARTNER]]


def test_a_wrong_token_of_a_service_is_refused_for_good_and_told_at_once_by_another_way(host, mail, web):
    web.trouble = 401
    host.mails_go_to(mail, recipients=FARMER)
    host.put(message(), targets=[service(host)])
    send_waiting(host.config)
    assert results(host)[0] == "refused"
    [told] = mail.received
    assert service(host)[1] in told.part("plain")
    assert "HTTP 401" in told.part("plain")
    asked = len(web.requests)
    host.pass_time()
    send_waiting(host.config)
    assert (len(web.requests), len(mail.received)) == (asked, 1), "once"
    web.trouble = 0
    host.put(message("drive7 is hot"), targets=[service(host)])
    send_waiting(host.config)
    assert len(mail.received) == 2, "and that it is over"


# ---- Channels that are down ----


def test_a_channel_that_is_down_delays_no_other_and_loses_nothing(host, web, caplog):
    server = MailServer()
    with socket.socket() as closed:
        server.port = port_of_nobody(closed)
        host.mails_go_to(server)
        host.put(message("first"), message("second"), targets=[("email", FARMER), service(host)])
        delivered = send(host)
    assert {(channel, result) for _, channel, _, result in delivered} == {
        ("email", Result.TRY_AGAIN), ("services", Result.SENT),
    }  # fmt: skip
    assert len(web.notifications) == 2
    assert caplog.text.count("Not yet sent by email") == 2
    rows = host.sql("SELECT next_try, attempts FROM outbox WHERE ended IS NULL")
    assert [attempts for _, attempts in rows] == [1, 1]
    assert all(0 < next_try - time.time() <= 60 for next_try, _ in rows)
    with server:
        assert send(host) == [], "the pause is not over"
        host.pass_time()
        send(host)
        assert subjects(server) == ["first", "second"]
    assert len(web.notifications) == 2
    assert set(results(host)) == {"sent"}


def test_the_pauses_grow_with_each_attempt(host):
    with socket.socket() as closed:
        host.mails_go_to(MailServer(port=port_of_nobody(closed)))
        host.put(message())
        pauses = []
        for _ in range(3):
            send(host)
            [(next_try,)] = host.sql("SELECT next_try FROM outbox")
            pauses.append(round((next_try - time.time()) / 60))
            host.pass_time()
    assert pauses == [1, 2, 5]


def test_a_server_that_never_answers_is_limited_and_the_others_get_theirs_at_once(host, web):
    with socket.create_server(("127.0.0.1", 0)) as silent:  # the kernel takes the connection, and nobody reads it
        host.write(notifications={"email": "True", "timeout_seconds": "1.5"}, email={"port": silent.getsockname()[1]})
        host.put(message("first"), message("second"), message("third"), targets=[("email", FARMER), service(host)])
        done = threading.Event()
        threading.Thread(target=lambda: (send(host), done.set())).start()
        assert web.heard.wait(10)
        assert not done.is_set(), "it still waits for the mail server"
        started = time.monotonic()
        assert done.wait(10)
        assert time.monotonic() - started < 4, "the third mail does not wait for that server again"
    assert len(web.notifications) == 3
    assert sorted(results(host)) == ["sent"] * 3 + ["waiting"] * 3


def test_a_channel_that_takes_longer_than_all_its_limits_is_left_behind(host, mail, web, monkeypatch):
    monkeypatch.setattr("plotfarm.notify.delivery._SHORTEST_LIMIT_SECONDS", 0.5)
    monkeypatch.setattr("plotfarm.notify.delivery._TIMEOUTS", 0)
    web.trouble = SILENT
    host.put(message(), targets=[("email", FARMER), service(host)])
    outcomes = {channel: result for _, channel, _, result in send(host)}
    assert outcomes == {"email": Result.SENT, "services": Result.TRY_AGAIN}
    assert host.sql("SELECT why FROM outbox WHERE ended IS NULL") == [("it did not end within 0.5 seconds",)]


def test_a_channel_with_a_bug_costs_the_others_nothing(host, mail, web, monkeypatch, caplog):
    def broken(self, message, recipients):
        yield recipients[0], message.nonsense

    monkeypatch.setattr("plotfarm.notify.channels.services.ServicesChannel.send", broken)
    host.put(message("first"), message("second"), targets=[service(host), ("email", FARMER)])
    send(host)
    assert subjects(mail) == ["first", "second"]
    assert sorted(results(host)) == ["sent", "sent", "waiting", "waiting"]
    assert "The channel services broke down: AttributeError" in caplog.text


# ---- What is refused ----


def test_a_wrong_login_is_told_once_by_the_others_and_cleared_when_it_works_again(host, web):
    with MailServer(login=LOGIN) as mail:
        host.mails_go_to(mail, user=LOGIN[0], password="sesame-open")
        host.put(message("first"), targets=[("email", FARMER), service(host)])
        assert send_waiting(host.config) == 0
        told = [note["title"] for note in web.notifications]
        assert len(told) == 2
        assert told[0] == "first"
        assert f"messages to {FARMER} (email) are refused" in told[1]
        assert "sesame-open" not in str(web.notifications)
        assert [fate for fate in host.fates() if fate[1:] == ("email", FARMER, "waiting")] == [], "refused is the end"
        host.put(message("second"))
        send_waiting(host.config)
        assert len(web.notifications) == 2, "it was told already"
        assert results(host).count("refused") == 3
        host.mails_go_to(mail, password=LOGIN[1])
        host.put(message("third"))
        send_waiting(host.config)
        assert [subject for subject in subjects(mail) if "third" in subject] == ["third"]
        assert len(web.notifications) == 3
        assert len(mail.received) == 2, "this way hears of it as well"
        send_waiting(host.config)
        assert (len(web.notifications), len(mail.received)) == (3, 2)
    assert host.sql("SELECT * FROM conditions") == []


def test_a_refused_recipient_who_was_corrected_is_no_trouble_any_more(host, mail):
    mail.replies = {NOBODY: "550 5.1.1 No such user here"}
    host.mails_go_to(mail, recipients=f"{FARMER}, {NOBODY}")
    both = [("email", FARMER), ("email", NOBODY)]
    host.put(message(), targets=both)
    send_waiting(host.config)
    assert host.sql("SELECT kind, about FROM conditions") == [("channel_refuses", f'"email: {NOBODY}"')]
    host.mails_go_to(mail, recipients="")
    send_waiting(host.config)
    assert len(host.sql("SELECT * FROM conditions")) == 1, "with a channel that is not set up nothing is known"
    host.mails_go_to(mail, recipients=FARMER)
    host.put(message("later"), targets=both)
    send_waiting(host.config)
    assert host.sql("SELECT * FROM conditions") == []
    assert [fate[3] for fate in host.fates() if fate[0] == "later"] == ["sent", "dropped"]


# ---- What is switched off, not set up, or has time ----


def test_what_is_switched_off_is_dropped(host, mail, web, caplog):
    caplog.set_level(logging.INFO)
    host.put(message("new", kind="new_plot_drive"), message("alert"), targets=[("email", FARMER), service(host)])
    host.put(message("sms"), targets=[("sms", "+12025550143")])
    host.write(notifications={"email": "False"})
    send(host)
    assert [note["title"] for note in web.notifications] == ["alert"]
    assert results(host) == ["dropped", "dropped", "dropped", "sent", "dropped"]
    assert f"Not sent by email to {FARMER}, which is switched off: alert" in caplog.text
    host.write(notifications={"email": "True", "alerting": "False"})
    host.put(message("late"))
    host.put(message("test", kind="test", severity=Severity.INFO))
    send(host)
    assert subjects(mail) == ["test"]


def test_what_is_switched_on_but_not_set_up_waits(host, mail):
    host.put(message())
    host.mails_go_to(mail, recipients="")
    assert [result for *_, result in send(host)] == [Result.TRY_AGAIN]
    assert host.sql("SELECT result, why FROM outbox") == [("waiting", "[email] recipients is empty")]
    host.mails_go_to(mail, recipients=FARMER)
    host.pass_time()
    send(host)
    assert subjects(mail) == ["drive6 is hot"]


def quiet(start_in, end_in):
    """Quiet hours that begin and end so many hours from now."""
    now = datetime.now()
    start, end = (f"{now + timedelta(hours=hours):%H:%M}" for hours in (start_in, end_in))
    return {"quiet_hours": f"{start}-{end}"}


def test_in_quiet_hours_news_wait_and_what_is_serious_does_not(host, mail):
    host.write(notifications=quiet(-1, 5))
    for severity in Severity:
        host.put(message(severity.value, severity))
    send(host)
    assert subjects(mail) == ["critical", "warning"]
    [(next_try, attempts)] = host.sql("SELECT next_try, attempts FROM outbox WHERE ended IS NULL")
    assert attempts == 0
    assert 0 < next_try - time.time() <= HOUR, "longer, and it would count as the mistake of a clock"
    assert send(host) == []
    host.pass_time()
    assert send(host) == []
    host.write(notifications=quiet(-5, -1))
    host.pass_time()
    send(host)
    assert subjects(mail) == ["critical", "warning", "info"]


def test_it_is_given_up_after_the_configured_age_and_the_log_says_so(host, caplog):
    with socket.socket() as closed:
        host.mails_go_to(MailServer(port=port_of_nobody(closed)))
        host.write(notifications={"give_up_hours": "2"})
        host.put(message("old"), message("young"), now=time.time() - 3 * HOUR)
        host.sql("UPDATE outbox SET attempts = 7 WHERE id = 1")
        send(host)
    assert results(host) == ["given up", "waiting"], "the other one was not tried for long enough"
    assert f"Given up after 8 attempts by email to {FARMER}" in caplog.text
    assert caplog.text.count("Given up") == 1


# ---- Several processes ----


def test_processes_at_once_send_each_mail_exactly_once(host, mail):
    host.put(*(message(f"{number}") for number in range(12)))
    deliveries = [host.start_delivery() for _ in range(3)]
    assert [delivery.communicate(timeout=60)[0] for delivery in deliveries] == ["", "", ""]
    assert [delivery.returncode for delivery in deliveries] == [0, 0, 0]
    assert sorted(subjects(mail), key=int) == [str(number) for number in range(12)]


def test_a_second_process_leaves_it_to_the_first_which_also_sends_what_came_later(host):
    with BlockingMailServer() as mail:
        host.mails_go_to(mail)
        host.put(message("first"))
        first = host.start_delivery()
        assert mail.reached.wait(30)
        host.put(message("later"))
        second = host.start_delivery()
        assert second.wait(8) == 0, "it does not wait for the mail server"
        assert first.poll() is None
        mail.go_on.set()
        assert first.wait(30) == 0
        assert subjects(mail) == ["first", "later"]
    assert "Another process sends the messages" in host.log("deliver")


def test_what_is_put_while_others_are_sent_is_sent_as_well(host):
    with BlockingMailServer() as mail:
        host.mails_go_to(mail)
        host.put(message("first"))
        sender = threading.Thread(target=send, args=(host,))
        sender.start()
        assert mail.reached.wait(30)
        host.put(message("later"))
        mail.go_on.set()
        sender.join(30)
        assert subjects(mail) == ["first", "later"]


def test_a_process_that_is_killed_while_it_sends_loses_nothing(host):
    with BlockingMailServer() as mail:
        host.mails_go_to(mail)
        host.put(message("first"), message("second"))
        killed = host.start_delivery()
        assert mail.reached.wait(30)
        killed.send_signal(signal.SIGKILL)
        assert killed.wait(10) == -9
        assert results(host) == ["waiting", "waiting"]
        mail.go_on.set()
        again = host.start_delivery()
        assert again.wait(30) == 0
        assert "second" not in subjects(mail), "what it had begun to send has its pause"
        host.pass_time()
        assert host.start_delivery().wait(30) == 0
        # Nobody can know whether the first one had arrived; it may have come twice, and never not at all.
        assert set(subjects(mail)) == {"first", "second"}
        assert subjects(mail).count("second") == 1
    assert results(host) == ["sent", "sent"]


def test_what_is_noted_as_sent_is_sent_before_the_next_is_begun(host):
    """A process that is killed at the second message has noted the first: it does not come twice."""
    with BlockingMailServer() as mail:
        mail.go_on.set()
        host.mails_go_to(mail)
        host.put(message("first"), message("second"), message("third"))
        blocked = threading.Event()
        real = mail.keep

        def keep(session, envelope):
            if b"Subject: second" in envelope.original_content:
                blocked.set()
                mail.go_on.clear()
            real(session, envelope)

        mail.keep = keep
        killed = host.start_delivery()
        assert blocked.wait(30)
        while host.fates()[0][3] != "sent":  # its note is a matter of milliseconds, the killer waits for it
            assert killed.poll() is None
        killed.kill()
        killed.wait(10)
        mail.keep = real
        mail.go_on.set()
        host.pass_time()
        assert host.start_delivery().wait(30) == 0
        assert subjects(mail).count("first") == 1
        assert set(subjects(mail)) == {"first", "second", "third"}


def test_what_lives_in_ram_waits_for_no_other_process(host, mail):
    (host.locks).mkdir()
    outbox = Outbox(memory := Database(None))
    outbox.put(message(), [("email", FARMER)], time.time())
    with Lock(host.locks / "outbox.lock"):
        deliver(host.config, memory)
    assert subjects(mail) == ["drive6 is hot"]


def test_a_disk_that_cannot_be_written_sends_nothing_again_and_again(host, mail):
    host.put(message())
    database = Database(host.state)
    outbox_is_there = Outbox(database).has_due(time.time())
    database.write("PRAGMA query_only = ON")
    assert outbox_is_there
    assert deliver(host.config, database) == []
    assert mail.received == []
    database.write("PRAGMA query_only = OFF")
    deliver(host.config, database)
    assert subjects(mail) == ["drive6 is hot"]
