"""Bugs as they arrive at a Sentry endpoint on loopback, sent by the real sentry_sdk."""

from __future__ import annotations

import json
import logging
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from plotfarm.base.config.sections import Config, Email, Notifications, Pushbullet, Sms, SystemSettings
from plotfarm.base.secret import Secret, SecretUrl
from plotfarm.notify import bugs
from testbed.web_server import SILENT, WebServer

MEMO = bytes(range(128))
PASSWORD, TOKEN, URL = "mail-pass-word", "o.pushbulletToken", "json://me:my-way-in@farm.example.org/hook"

pytestmark = pytest.mark.filterwarnings("ignore:The send_default_pii option is deprecated")


@pytest.fixture
def server():
    with WebServer() as server:
        yield server


def config(dsn, **notifications):
    return Config(
        path=Path("/etc/plot_manager/plot_manager_config"),
        system_settings=SystemSettings(server_name="chianas01"),
        notifications=Notifications(sentry_dsn=Secret(dsn), services=(SecretUrl(URL),), **notifications),
        email=Email(password=Secret(PASSWORD)),
        sms=Sms(auth_token=Secret("env:NO_SUCH_VARIABLE")),
        pushbullet=Pushbullet((Secret(TOKEN),)),
    )


def dsn_of(server):
    return f"http://the-public-key@{server.address}:{server.port}/7"


def read_plot(memo):
    """A bug as it may be: secrets and a memo in local variables and in the text of the error."""
    password = PASSWORD
    digits = memo.hex()
    try:
        raise KeyError(f"memo {memo!r} or {digits} with {password}")
    except KeyError as error:
        raise ValueError(f"cannot use {digits.upper()} and {memo!r} by {URL} and {TOKEN}\nsecond line") from error


def caught(memo=MEMO):
    try:
        read_plot(memo)
    except ValueError as error:
        return error


def test_a_bug_arrives_with_its_traceback_and_without_anything_of_the_farm(server, caplog):
    logging.getLogger("urllib3").propagate = True  # as it is in a fresh process
    logging.getLogger("urllib3").setLevel(logging.NOTSET)
    caplog.set_level(1)
    bugs.report(caught(), "drive_manager", config(dsn_of(server)))
    [event] = server.events
    cause, last = event["exception"]["values"]
    assert (cause["type"], last["type"]) == ("KeyError", "ValueError")
    assert last["value"].startswith("cannot use (left out) and (left out) by *** and ***")
    assert [frame["function"] for frame in last["stacktrace"]["frames"]] == ["caught", "read_plot"]
    assert last["stacktrace"]["frames"][-1]["lineno"] > 0
    assert event["tags"] == {"script": "drive_manager"}
    assert event["server_name"] == "chianas01"
    assert "vars" not in last["stacktrace"]["frames"][-1]
    sent = json.dumps(event)
    for secret in (PASSWORD, TOKEN, URL, "my-way-in", MEMO.hex(), MEMO.hex().upper(), repr(MEMO)[2:40], "argv"):
        assert secret not in sent
    assert len(event["event_id"]) == 32
    assert caplog.records == []
    assert {"modules", "extra", "user", "request", "breadcrumbs"}.isdisjoint(event)


def test_a_hanging_endpoint_holds_nobody_up(server):
    server.trouble = SILENT
    started = time.monotonic()
    bugs.report(caught(), "drive_manager", config(dsn_of(server), timeout_seconds=0.3))
    assert time.monotonic() - started < 2
    assert server.heard.wait(10)


@pytest.mark.parametrize("status", [400, 413, 429, 500])
def test_an_endpoint_that_refuses_is_no_error(server, status):
    server.trouble = status
    bugs.report(caught(), "drive_manager", config(dsn_of(server)))
    assert server.events == []
    assert len(server.requests) == 1


def test_nobody_there_is_no_error():
    with socket.create_server(("127.0.0.1", 0)) as gone:
        dsn = f"http://key@127.0.0.1:{gone.getsockname()[1]}/1"
    bugs.report(caught(), "drive_manager", config(dsn, timeout_seconds=1))


@pytest.mark.parametrize(
    "dsn", ["nonsense", "http://127.0.0.1/without-a-key", "env:NO_SUCH_VARIABLE", "file:/no/such/file"]
)
def test_a_dsn_that_is_none_is_one_line_in_the_log(dsn, caplog):
    bugs.report(caught(), "drive_manager", config(dsn))
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "could not be reported" in caplog.text
    assert "nonsense" not in caplog.text
    assert "without-a-key" not in caplog.text


def test_without_a_dsn_sentry_is_not_even_imported():
    code = (
        "import sys\n"
        "from tests.integration.test_notify_bugs import bugs, caught, config\n"
        "bugs.report(caught(), 'drive_manager', config(''))\n"
        "assert 'sentry_sdk' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2], timeout=20, check=True)


def test_an_error_that_cannot_even_be_shown_is_no_error(server):
    class Hostile(Exception):
        def __str__(self):
            raise RuntimeError("no text")

    bugs.report(Hostile(), "drive_manager", config(dsn_of(server)))
    [event] = server.events
    assert event["exception"]["values"][0]["type"].endswith("Hostile")


def test_a_script_that_reports_a_bug_to_a_hanging_endpoint_ends(server):
    server.trouble = SILENT
    code = (
        "import sys\n"
        "from tests.integration.test_notify_bugs import bugs, caught, config\n"
        "bugs.report(caught(), 'drive_manager', config(sys.argv[1], timeout_seconds=1.0))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, dsn_of(server)],
        cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=20, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert server.heard.is_set()
