"""`drive_manager.py --test_notifications`: a test by each way, and what came of it."""

from __future__ import annotations

import json

import pytest
from notify_host import FARMER, NOBODY, PARTNER, Host

from plotfarm.jobs import try_channels
from plotfarm.notify.channels import configured_channels
from testbed.mail_server import MailServer
from testbed.web_server import WebServer


@pytest.fixture
def host(tmp_path):
    return Host(tmp_path)


@pytest.fixture
def mail(host):
    with MailServer() as server:
        host.mails_go_to(server, recipients=f"{FARMER}, {PARTNER}")
        yield server


@pytest.fixture
def web(host):
    with WebServer() as server:
        host.write(notifications={"services": f"json://nas:sesame-open@{server.address}:{server.port}/notify/farm"})
        yield server


def run(host, capsys, **options):
    status = try_channels.run(host.config, **options)
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def test_a_test_goes_to_everybody_by_each_way(host, mail, web, capsys):
    host.write(notifications={"info_channels": "pb"})
    [label] = next(one for one in configured_channels(host.config)[0] if one.name == "services").recipients()
    status, output, progress = run(host, capsys)
    assert status == 0
    assert output.splitlines() == [
        f"email     {FARMER}  sent",
        f"email     {PARTNER}  sent",
        f"services  {label}  sent",
        "Note: nobody gets messages of severity info: see info_channels and services.",
    ]
    assert progress.splitlines() == ["email: sending to 2 ...", "services: sending to 1 ..."]
    [received] = mail.received
    assert received.recipients == [FARMER, PARTNER]
    assert "nas" in received.mail["Subject"]
    assert len(web.notifications) == 1
    assert "sesame-open" not in output + progress


def test_a_severity_that_nobody_gets_is_said(host, mail, web, capsys):
    host.write(
        notifications={"info_channels": "services", "services": f"critical json://{web.address}:{web.port}/notify"}
    )
    _, output, _ = run(host, capsys)
    assert output.splitlines()[-1] == "Note: nobody gets messages of severity info: see info_channels and services."


def test_one_that_is_refused_is_said_with_the_reason_and_costs_no_other(host, mail, web, capsys):
    host.mails_go_to(mail, recipients=f"{NOBODY}, {FARMER}")
    mail.replies = {NOBODY: "550 5.1.1 No such user \x1b[2J here"}
    status, output, _ = run(host, capsys)
    assert status == 1
    refused, sent, service = output.splitlines()
    assert refused.startswith(f"email     {NOBODY}  NOT SENT: ")
    assert "550 5.1.1 No such user" in refused
    assert sent == f"email     {FARMER}  sent"
    assert service.endswith("  sent")
    assert "\x1b" not in output


def test_a_way_that_is_not_set_up_is_said_and_the_others_are_tried(host, mail, capsys):
    host.write(notifications={"sms": "True"})
    status, output, _ = run(host, capsys)
    assert status == 1
    assert output.splitlines()[0].startswith("sms       -  NOT SENT: [sms] ")
    assert len(mail.received) == 1


def test_a_server_that_is_down_is_said(host, mail, capsys):
    mail.stop()
    status, output, _ = run(host, capsys)
    mail.start()
    assert status == 1
    assert output.count("NOT SENT: the mail server 127.0.0.1") == 2


def test_where_nothing_is_switched_on_it_says_what_to_do(host, capsys):
    status, output, progress = run(host, capsys)
    assert (status, progress) == (1, "")
    assert "No way is switched on" in output
    assert "[notifications]" in output
    assert run(host, capsys, as_json=True)[0] == 1


def test_with_alerting_off_the_test_is_sent_and_the_rest_is_said(host, mail, capsys):
    host.write(notifications={"alerting": "False"})
    status, output, _ = run(host, capsys)
    assert status == 0
    assert len(mail.received) == 1
    assert output.splitlines()[-1] == "Note: [notifications] alerting is False, so nothing but this test is ever sent."


def test_passwords_that_all_users_can_read_are_said(host, mail, capsys):
    host.write(email={"user": "nas", "password": "sesame-open"})
    assert "Note: all users" not in run(host, capsys)[1]
    host.path.chmod(0o644)
    output = run(host, capsys)[1]
    assert f"can read the passwords in {host.path}: chmod 600 it" in output
    assert "sesame-open" not in output


def test_the_same_as_json(host, mail, capsys):
    mail.replies = {PARTNER: "550 5.1.1 No such user"}
    host.write(notifications={"sms": "True"})
    status, output, progress = run(host, capsys, as_json=True)
    assert (status, progress) == (1, "")
    facts = json.loads(output)["data"]
    assert facts["alerting"] is True
    assert [(one["channel"], one["recipient"], one["result"]) for one in facts["tests"]] == [
        ("sms", None, "refused"), ("email", FARMER, "sent"), ("email", PARTNER, "refused"),
    ]  # fmt: skip
    assert [bool(one["why"]) for one in facts["tests"]] == [True, False, True]


def test_by_the_script_itself(host, mail):
    process = host.start("drive_manager.py", "--test_notifications", "--json")
    output = process.communicate(timeout=60)[0]
    assert process.returncode == 0
    facts = json.loads(output)["data"]
    assert {one["result"] for one in facts["tests"]} == {"sent"}
    assert len(mail.received) == 1
    assert host.fates() == [], "a test is sent at once: nothing waits for a second try"
