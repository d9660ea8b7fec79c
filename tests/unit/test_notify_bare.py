"""Messages to services without Apprise: the same requests that it would make, as far as they are known here."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from plotfarm.base.condition import Severity
from plotfarm.base.config.sections import Pushbullet, Sms
from plotfarm.base.secret import Secret
from plotfarm.notify.channels import bare
from plotfarm.notify.channels.bare import push, request_of, text_message
from plotfarm.notify.channels.channel import SENT, Channel
from plotfarm.notify.channels.pushbullet import PushbulletChannel
from plotfarm.notify.channels.sms import SmsChannel
from plotfarm.notify.message import Message

MESSAGE = Message("alert", Severity.CRITICAL, "nas: no script can start", "short: it is stale", "The whole story\n")


@pytest.mark.parametrize(
    ("url", "posted", "headers"),
    [
        ("ntfy://my-Farm", "https://ntfy.sh/my-Farm", {"Priority": "5"}),
        ("ntfy://ntfy.example.org/my-farm", "http://ntfy.example.org/my-farm", {"Priority": "5"}),
        (
            "ntfys://tk_secret@ntfy.example.org:8443/my-farm?priority=max", "https://ntfy.example.org:8443/my-farm",
            {"Priority": "5", "Authorization": "Bearer tk_secret"},
        ),
        (
            "ntfys://me:pass@ntfy.example.org/my-farm", "https://ntfy.example.org/my-farm",
            {"Priority": "5", "Authorization": "Basic bWU6cGFzcw=="},
        ),
        (
            "gotifys://push.example.org/below/Atoken", "https://push.example.org/below/message",
            {"X-Gotify-Key": "Atoken"},
        ),
        ("discord://4174216298/JHMHI8qBe7_k", "https://discord.com/api/webhooks/4174216298/JHMHI8qBe7_k", {}),
        ("tgram://123456:ABCdef/987", "https://api.telegram.org/bot123456:ABCdef/sendMessage", {}),
        ("json://user:pass@127.0.0.1:8080/notify/farm", "http://127.0.0.1:8080/notify/farm",
         {"Authorization": "Basic dXNlcjpwYXNz"}),
    ],
)  # fmt: skip
def test_what_is_posted_where(url: str, posted: str, headers: dict[str, str]) -> None:
    request = request_of(url, MESSAGE)
    assert request is not None
    assert request.url == posted
    assert {name: value for name, value in request.headers.items() if name in headers} == headers
    assert "no script can start" in request.body.decode()


def test_telegram_is_told_which_chat() -> None:
    request = request_of("tgram://123456:ABCdef/987", MESSAGE)
    assert request is not None
    assert json.loads(request.body)["chat_id"] == "987"


@pytest.mark.parametrize(
    "url", ["slack://a/b/c", "matrix://x", "nonsense", "", "ntfy://[broken/x", "discord://only-one"]
)
def test_what_is_not_known_waits_for_apprise(url: str) -> None:
    assert request_of(url, MESSAGE) is None


def test_pushbullet_gets_a_note_with_the_token_in_a_header() -> None:
    posted = push("o.sesame", MESSAGE)
    assert posted.url == "https://api.pushbullet.com/v2/pushes"
    assert posted.headers["Access-Token"] == "o.sesame"
    assert json.loads(posted.body) == {"type": "note", "title": MESSAGE.subject, "body": MESSAGE.short}


def test_twilio_gets_a_form_and_a_login() -> None:
    posted = text_message("AC1", "token", {"From": "+12025550123"}, "+12025550143", "it is stale & old")
    assert posted.url == "https://api.twilio.com/2010-04-01/Accounts/AC1/Messages.json"
    assert posted.headers["Authorization"] == "Basic QUMxOnRva2Vu"
    assert posted.body == b"To=%2B12025550143&From=%2B12025550123&Body=it+is+stale+%26+old"


@pytest.mark.parametrize(
    ("severity", "priority", "kind"), [(Severity.INFO, 5, "info"), (Severity.CRITICAL, 10, "failure")]
)
def test_a_message_is_as_urgent_as_by_apprise(severity: Severity, priority: int, kind: str) -> None:
    message = replace(MESSAGE, severity=severity)
    gotify = request_of("gotifys://push.example.org/Atoken", message)
    posted = request_of("json://127.0.0.1:8080/", message)
    assert gotify is not None
    assert posted is not None
    assert json.loads(gotify.body)["priority"] == priority
    assert json.loads(posted.body)["type"] == kind


SMS = SmsChannel(Sms("AC1", Secret("token"), "+12025550123", ("+12025550143",)), 5.0)
PUSH = PushbulletChannel(Pushbullet((Secret("o.sesame"),)), 5.0)


@pytest.mark.parametrize(("way", "host"), [(SMS, "api.twilio.com"), (PUSH, "api.pushbullet.com")])
def test_libraries_that_may_be_too_old_are_left_alone(way: Channel, host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    posted: list[str] = []
    monkeypatch.setenv(bare.WITHOUT_PACKAGES, "1")
    monkeypatch.setattr(bare, "post", lambda request, _seconds: posted.append(request.url) or SENT)
    assert [outcome for _, outcome in way.send(MESSAGE, way.recipients())] == [SENT]
    assert [url.split("/")[2] for url in posted] == [host]
