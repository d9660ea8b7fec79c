"""Whatever goes well or wrong: no secret in an outcome, in the output, or in anything that is logged, even at DEBUG."""

from __future__ import annotations

import logging
from base64 import b64encode
from pathlib import Path
from urllib.parse import quote

import pytest

from plotfarm.base.condition import Severity
from plotfarm.base.config.sections import Config, Email, Notifications, Pushbullet, Sms
from plotfarm.base.secret import Secret, SecretUrl
from plotfarm.notify import bugs
from plotfarm.notify.channels import Result, configured_channels
from plotfarm.notify.channels.sms import SmsChannel
from plotfarm.notify.message import Message
from testbed.certificates import Authority
from testbed.mail_server import MailServer
from testbed.web_server import ACCOUNT_SID, SILENT, WebServer, twilio_client

PASSWORD, AUTH_TOKEN, ACCESS_TOKEN = "mail/pass word+1", "twilio/auth token+2", "o.push/access token+3"
URL_PASSWORD, URL_PATH = "service+pass word+4", "hook+path+5"
SECRETS = (PASSWORD, AUTH_TOKEN, ACCESS_TOKEN, URL_PASSWORD, URL_PATH)
PAIRS = (f"\0chianas01\0{PASSWORD}", f"{ACCOUNT_SID}:{AUTH_TOKEN}", f"{ACCESS_TOKEN}:", f"farm:{URL_PASSWORD}")
MESSAGE = Message(
    "alert", Severity.CRITICAL, "Failing drive", "drive6 is failing", "drive6 is failing\n", "<p>drive6</p>"
)

pytestmark = pytest.mark.filterwarnings("ignore:The send_default_pii option is deprecated")


class Listener(logging.Handler):
    """Formats every record as a log file would, with its traceback."""

    def __init__(self):
        super().__init__(logging.NOTSET)
        self.setFormatter(logging.Formatter("%(name)s %(levelname)s %(message)s"))
        self.lines = []

    def emit(self, record):
        if record.name != "mail.log":  # that is the test's own mail server
            self.lines.append(self.format(record))


@pytest.fixture
def heard():
    """Everything that gets as far as the handlers of our logs, at the lowest level that there is."""
    for name in ("apprise", "pushbullet", "requests", "sentry_sdk", "twilio", "urllib3"):
        library = logging.getLogger(name)  # as it is in a fresh process
        library.propagate, library.handlers = True, []
        library.setLevel(logging.NOTSET)
    root, listener = logging.getLogger(), Listener()
    level = root.level
    root.addHandler(listener)
    root.setLevel(1)
    yield listener.lines
    root.removeHandler(listener)
    root.setLevel(level)


@pytest.fixture
def servers(tmp_path, monkeypatch):
    import pushbullet

    authority = Authority(tmp_path)
    login = ("chianas01", PASSWORD)
    mail = MailServer("starttls", authority.server_context(), login)
    mail.certificates = str(authority.certificate)
    with mail, WebServer(auth_token=AUTH_TOKEN, access_tokens=[ACCESS_TOKEN]) as web:
        for name in ("ME_URL", "PUSH_URL"):
            url = getattr(pushbullet.Pushbullet, name).replace("https://api.pushbullet.com", web.url)
            monkeypatch.setattr(pushbullet.Pushbullet, name, url)
        yield mail, web


def config(mail, web, timeout_seconds=5.0):
    service = f"json://farm:{quote(URL_PASSWORD, safe='')}@{web.address}:{web.port}/notify/{quote(URL_PATH, safe='')}"
    return Config(
        path=Path("/etc/plot_manager/plot_manager_config"),
        notifications=Notifications(
            email=True, sms=True, pb=True, services=(SecretUrl(service), SecretUrl("discord://" + URL_PATH)),
            timeout_seconds=timeout_seconds, sentry_dsn=Secret(f"http://key@{web.address}:{web.port}/1"),
        ),
        email=Email(
            "nas@example.org", ("farmer@example.org",), host=mail.address, port=mail.port,
            certificates=mail.certificates, user="chianas01", password=Secret(PASSWORD),
        ),
        sms=Sms(ACCOUNT_SID, Secret(AUTH_TOKEN), "+12025550123", ("+12025550143",)),
        pushbullet=Pushbullet((Secret(ACCESS_TOKEN),)),
    )  # fmt: skip


def all_outcomes(settings, web):
    """Send by each channel; what becomes of the message for each recipient, and all that can be shown of it."""
    channels, problems = configured_channels(settings)
    assert problems == []
    client = twilio_client(web, settings.notifications.timeout_seconds)
    to_loopback = [
        SmsChannel(settings.sms, settings.notifications.timeout_seconds, client) if channel.name == "sms" else channel
        for channel in channels
    ]
    assert [channel.name for channel in to_loopback] == ["email", "sms", "pb", "services"]
    return {
        (channel.name, recipient): outcome
        for channel in to_loopback
        for recipient, outcome in channel.send(MESSAGE, channel.recipients())
    }


def refuse_the_logins(mail, web):
    mail.login = ("chianas01", "another")
    mail.reply_to_login = f"535 5.7.8 wrong: {PASSWORD} {b64encode(PAIRS[0].encode()).decode()}"
    web.auth_token = "another"
    web.access_tokens = []
    web.trouble, web.trouble_at = 401, "/notify"


def be_broken(mail, web):
    mail.reply_to_mail = "451 broken"
    web.trouble = 500


def be_silent(mail, web):
    web.trouble = SILENT


def be_down(mail, web):
    mail.stop()
    web.stop()


def be_well(mail, web):
    pass


@pytest.mark.parametrize("happen", [be_well, refuse_the_logins, be_broken, be_silent, be_down])
def test_no_secret_is_ever_shown_or_logged(servers, heard, capfd, happen):
    mail, web = servers
    happen(mail, web)
    settings = config(mail, web, timeout_seconds=0.3 if happen is be_silent else 5.0)
    outcomes = all_outcomes(settings, web)
    try:
        raise ValueError(f"with {SECRETS}")
    except ValueError as error:
        bugs.report(error, "drive_manager", settings)
    if happen is be_down:
        mail.start(), web.start()  # for the fixture to stop
    assert len(outcomes) == 5
    sent = {name for (name, _), outcome in outcomes.items() if outcome.result is Result.SENT}
    assert sent == {"email", "sms", "pb", "services"} if happen is be_well else sent <= {"email"}
    shown = "\n".join([*map(str, outcomes), *map(str, outcomes.values()), repr(settings), *heard, *capfd.readouterr()])
    assert {line.split()[0].split(".")[0] for line in heard} <= {"plotfarm", "asyncio"}, "no library logs in ours"
    assert "failing" not in "\n".join(heard), "the words of a message are not for the log either"
    for secret in (*SECRETS, *PAIRS):
        for form in (secret, quote(secret, safe=""), quote(secret), b64encode(secret.encode()).decode()):
            assert form not in shown


def test_the_libraries_would_have_told_it_all(servers, heard, monkeypatch):
    """So that the test above proves something: the same, with nobody who keeps the libraries quiet."""
    monkeypatch.setattr("plotfarm.notify.channels.channel.silence_libraries", lambda: None)
    mail, web = servers
    all_outcomes(config(mail, web), web)
    libraries = {line.split()[0].split(".")[0] for line in heard}
    assert {"apprise", "twilio", "urllib3"} <= libraries
    assert "failing" in "\n".join(heard)
    assert ACCOUNT_SID in "\n".join(heard)


def test_an_error_that_nobody_foresaw_costs_one_attempt_and_is_logged_without_its_text(servers, heard, monkeypatch):
    mail, web = servers

    def explode(*_, **__):
        raise RuntimeError(f"it holds {SECRETS}")

    monkeypatch.setattr("smtplib.SMTP.sendmail", explode)
    monkeypatch.setattr("twilio.rest.Client.__init__", explode)
    monkeypatch.setattr("pushbullet.Pushbullet.push_note", explode)
    monkeypatch.setattr("apprise.Apprise.instantiate", explode)
    outcomes = all_outcomes(config(mail, web), web)
    assert {outcome.result for outcome in outcomes.values()} == {Result.TRY_AGAIN}
    assert all("unexpected RuntimeError" in outcome.why for outcome in outcomes.values())
    logged = [line for line in heard if "unexpected RuntimeError" in line]
    assert [line.split()[4] for line in logged] == ["email:", "sms:", "pb:", "services:", "services:"]
    assert all("test_notify_secrets.py:" in line for line in logged), "where it happened"
    assert not any(secret in line for line in heard for secret in SECRETS)
