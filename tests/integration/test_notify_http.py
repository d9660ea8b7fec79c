"""SMS, Pushbullet and Apprise services: the real client libraries, against a web server on loopback."""

from __future__ import annotations

import json
import socket
import time
from base64 import b64encode
from pathlib import Path
from urllib.parse import parse_qsl

import pytest

from plotfarm.base.condition import Severity
from plotfarm.base.config import loader
from plotfarm.base.config.sections import Pushbullet, Sms
from plotfarm.base.secret import Secret, SecretUrl
from plotfarm.notify.channels.channel import SENT, Result
from plotfarm.notify.channels.pushbullet import PushbulletChannel
from plotfarm.notify.channels.services import ServicesChannel
from plotfarm.notify.channels.sms import SmsChannel
from plotfarm.notify.message import Message
from testbed.web_server import ACCOUNT_SID, SILENT, WebServer, twilio_client

FARMER, PARTNER = "+12025550143", "+12025550172"
SHORT = "Plot Drive Updated: Was: drive17,  Now: drive18"
MESSAGE = Message("new_plot_drive", Severity.WARNING, "nas: new plot drive", SHORT, "The whole story\nof drive18\n")
TOKENS = ("o.firstAccessToken", "o.secondAccessToken")


@pytest.fixture
def server():
    with WebServer(access_tokens=list(TOKENS)) as server:
        yield server


@pytest.fixture
def pushbullet_here(server, monkeypatch):
    """Let pushbullet.py speak with the server."""
    import pushbullet

    for name in ("DEVICES_URL", "CHATS_URL", "CHANNELS_URL", "ME_URL", "PUSH_URL"):
        real = getattr(pushbullet.Pushbullet, name)
        monkeypatch.setattr(pushbullet.Pushbullet, name, real.replace("https://api.pushbullet.com", server.url))


def sms(server, *, timeout_seconds=5.0, **settings):
    basic = {"account_sid": ACCOUNT_SID, "auth_token": Secret(server.auth_token), "sender": "+12025550123"}
    basic |= {"recipients": (FARMER, PARTNER)}
    return SmsChannel(Sms(**(basic | settings)), timeout_seconds, twilio_client(server, timeout_seconds))


def push(*tokens, timeout_seconds=5.0):
    return PushbulletChannel(Pushbullet(tuple(Secret(token) for token in tokens)), timeout_seconds)


def services(*urls, timeout_seconds=5.0):
    return ServicesChannel([SecretUrl(url) for url in urls], timeout_seconds)


def json_url(server, path="notify/farm"):
    return f"json://user:sesame-open@{server.address}:{server.port}/{path}"


def send(way, *recipients, message=MESSAGE):
    return dict(way.send(message, recipients or way.recipients()))


def only(outcomes):
    """The one outcome that all recipients share."""
    [outcome] = set(outcomes.values())
    return outcome


# ---- SMS by Twilio ----


def test_an_sms_goes_to_each_number(server):
    assert send(sms(server)) == {FARMER: SENT, PARTNER: SENT}
    assert server.texts == [{"To": to, "From": "+12025550123", "Body": SHORT} for to in (FARMER, PARTNER)]


def test_an_sms_by_a_messaging_service_names_that_instead_of_a_number(server):
    send(sms(server, sender="MG" + "1" * 32), FARMER)
    assert server.texts == [{"To": FARMER, "MessagingServiceSid": "MG" + "1" * 32, "Body": SHORT}]


def test_an_sms_is_never_longer_than_twilio_takes_and_holds_no_control_characters(server):
    send(sms(server), FARMER, message=Message("t", Severity.INFO, "s", "\x1b[2Jdrive\udc80" + "x" * 5000, "t"))
    assert server.texts[0]["Body"] == ("\\x1b[2Jdrive\\udc80" + "x" * 5000)[:1600]


def test_a_bad_number_is_refused_with_the_remedy_and_the_others_go_on(server):
    server.bad_numbers = [FARMER]
    outcomes = send(sms(server))
    assert outcomes[FARMER].result is Result.REFUSED
    assert "error 21211" in outcomes[FARMER].why
    assert f"The 'To' number {FARMER} is not a valid phone number." in outcomes[FARMER].why
    assert "check the number in [sms] recipients" in outcomes[FARMER].why
    assert outcomes[PARTNER] == SENT


def test_a_wrong_auth_token_is_refused_with_the_remedy(server):
    outcome = only(send(sms(server, auth_token=Secret("wrong-token"))))
    assert outcome.result is Result.REFUSED
    assert "check [sms] account_sid and auth_token" in outcome.why
    assert "wrong-token" not in outcome.why
    assert server.texts == []


@pytest.mark.parametrize("status", [408, 429, 500, 503])
def test_twilio_in_trouble_is_tried_again(server, status):
    server.trouble = status
    outcome = only(send(sms(server)))
    assert outcome.result is Result.TRY_AGAIN
    assert f"HTTP {status}" in outcome.why
    server.trouble = 0
    assert only(send(sms(server))) == SENT


def test_an_sms_to_a_number_that_is_no_longer_configured_is_not_sent(server):
    assert send(sms(server), "+12025550199")["+12025550199"].result is Result.REFUSED
    assert server.requests == []


def test_twilio_is_asked_with_a_time_limit_where_no_other_client_is_given(monkeypatch):
    """The client of its own, without the test's: it has to reach the limit, so it is let loose on a silent port."""
    from twilio.http.http_client import TwilioHttpClient

    limits = []
    real = TwilioHttpClient.__init__

    def watched(self, *args, **more):
        limits.append(more.get("timeout"))
        real(self, *args, **more)

    monkeypatch.setattr(TwilioHttpClient, "__init__", watched)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{silent.getsockname()[1]}")
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        settings = Sms(ACCOUNT_SID, Secret("token"), "+12025550123", (FARMER,))
        started = time.monotonic()
        outcome = only(send(SmsChannel(settings, 0.3)))
    assert time.monotonic() - started < 5
    assert outcome.result is Result.TRY_AGAIN
    assert limits == [0.3]


# ---- Pushbullet ----


@pytest.mark.usefixtures("pushbullet_here")
def test_a_note_goes_to_each_account(server):
    way = push(*TOKENS)
    assert only(send(way)) == SENT
    assert len(way.recipients()) == 2
    notes = [{"token": token, "type": "note", "title": MESSAGE.subject, "body": SHORT} for token in TOKENS]
    assert server.notes == notes


@pytest.mark.usefixtures("pushbullet_here")
def test_a_wrong_access_token_is_refused_and_the_other_account_is_told(server):
    way = push("o.wrongToken", TOKENS[0])
    outcomes = list(send(way).values())
    assert outcomes[0].result is Result.REFUSED
    assert "check [pushbullet] access_tokens" in outcomes[0].why
    assert outcomes[1] == SENT


@pytest.mark.usefixtures("pushbullet_here")
@pytest.mark.parametrize("status", [400, 429, 500, 502])
@pytest.mark.parametrize("at", ["/v2/users", "/v2/pushes"])
def test_pushbullet_in_trouble_is_tried_again_and_repeats_no_token(server, status, at):
    server.trouble, server.trouble_at = status, at
    outcome = only(send(push(TOKENS[0])))
    assert outcome.result is Result.TRY_AGAIN
    assert TOKENS[0] not in outcome.why
    assert server.notes == []
    server.trouble = 0
    assert only(send(push(TOKENS[0]))) == SENT


@pytest.mark.usefixtures("pushbullet_here")
def test_a_token_that_is_not_where_it_should_be_costs_only_its_own_account(server, tmp_path):
    way = push(f"file:{tmp_path}/token", TOKENS[0])
    label = way.recipients()[0]
    outcomes = list(send(way).values())
    assert outcomes[0].result is Result.TRY_AGAIN
    assert f"cannot read the secret in {tmp_path}/token" in outcomes[0].why
    assert outcomes[1] == SENT
    (tmp_path / "token").write_text(TOKENS[1] + "\n")
    assert send(way, label) == {label: SENT}, "it has the same label when its file is back"
    assert server.notes[-1]["token"] == TOKENS[1]


# ---- Any other service, by Apprise ----


@pytest.mark.parametrize(
    ("severity", "kind"), [(Severity.INFO, "info"), (Severity.WARNING, "warning"), (Severity.CRITICAL, "failure")]
)
def test_a_service_gets_subject_and_text_and_how_serious_it_is(server, severity, kind):
    way = services(json_url(server))
    assert (
        only(send(way, message=Message("alert", severity, "Hot drives", "h", "drive6: 61 degrees\ndrive7: 62\n")))
        == SENT
    )
    [notification] = server.notifications
    assert notification["path"] == "/notify/farm"
    assert (notification["title"], notification["type"]) == ("Hot drives", kind)
    assert notification["message"].splitlines() == ["drive6: 61 degrees", "drive7: 62"]
    assert (server.requests[0].user, server.requests[0].password) == ("user", "sesame-open")


def test_markup_and_escapes_in_a_text_arrive_as_they_are(server):
    text = "<b>&amp; *drive* \\n :smile: \x1b[2J"
    send(services(json_url(server)), message=Message("t", Severity.INFO, "<i>s</i>", "s", text))
    assert server.notifications[0]["message"] == text.replace("\x1b", "\\x1b")
    assert server.notifications[0]["title"] == "<i>s</i>"


def test_a_service_that_wants_html_shows_markup_in_a_text_as_it_is(server):
    way = services(f"{json_url(server)}?format=html")
    send(way, message=Message("t", Severity.INFO, "s", "s", "first <b>drive</b>\nsecond\n"))
    body = server.notifications[0]["message"]
    assert "&lt;b&gt;drive&lt;/b&gt;" in body
    assert "<br" in body


@pytest.mark.parametrize(
    ("status", "result", "words"),
    [
        (400, Result.REFUSED, "how the URL is written"),
        (401, Result.REFUSED, "[notifications] services"),
        (403, Result.REFUSED, "[notifications] services"),
        (404, Result.REFUSED, "[notifications] services"),
        (410, Result.REFUSED, ""),
        (408, Result.TRY_AGAIN, ""),
        (429, Result.TRY_AGAIN, "too many"),
        (500, Result.TRY_AGAIN, ""),
        (503, Result.TRY_AGAIN, ""),
    ],
)
def test_a_service_that_does_not_take_it_says_with_which_status_and_for_good_or_for_now(server, status, result, words):
    way = services(json_url(server), json_url(server, "notify/second"))
    server.trouble, server.trouble_at = status, "/notify/farm"
    outcomes = list(send(way).values())
    assert outcomes[0].result is result
    assert f"HTTP {status}" in outcomes[0].why
    assert words in outcomes[0].why
    assert outcomes[1] == SENT


def test_what_is_refused_in_part_and_down_in_part_is_tried_again(server, monkeypatch):
    from apprise.plugins.custom_json import NotifyJSON

    monkeypatch.setattr(NotifyJSON, "body_maxlen", 100)
    answers = iter([500, 401])
    monkeypatch.setattr(server, "answer", lambda request: (next(answers, 401), {}))
    long = Message("daily_update", Severity.INFO, "Daily", "d", "\n".join(["a line of some length"] * 12))
    assert only(send(services(json_url(server)), message=long)).result is Result.TRY_AGAIN


def at(server, scheme, rest):
    return f"{scheme}://{server.address}:{server.port}/{rest}"


def test_the_number_that_ntfy_gives_for_a_wrong_token_is_understood(server, monkeypatch):
    said = {"code": 40101, "http": 401, "error": "unauthorized", "link": "https://ntfy.sh/docs/publish/#authentication"}
    monkeypatch.setattr(server, "answer", lambda request: (401, said))
    outcome = only(send(services(at(server, "ntfy", "farm?auth=token&token=tk_secret"))))
    assert outcome.result is Result.REFUSED
    assert "HTTP 401" in outcome.why
    busy = {"code": 42908, "http": 429, "error": "limit reached: daily message quota reached"}
    monkeypatch.setattr(server, "answer", lambda request: (429, busy))
    assert only(send(services(at(server, "ntfy", "farm")))).result is Result.TRY_AGAIN


@pytest.fixture
def asked(server, monkeypatch):
    """What a service is asked, which takes everything."""
    requests = []

    def answer(request):
        requests.append(request)
        return 200, {"id": 1, "status": 1}

    monkeypatch.setattr(server, "answer", answer)
    return requests


def priority_of(request):
    headers = {name.lower(): value for name, value in request.headers.items()}
    if "x-priority" in headers:
        return headers["x-priority"]
    try:
        return json.loads(request.body).get("priority")
    except ValueError:
        return dict(parse_qsl(request.body.decode())).get("priority")


@pytest.mark.parametrize(
    ("scheme", "rest", "priorities"),
    [
        ("ntfy", "farm", [None, "high", "max"]),
        ("ntfy", "farm?priority=low", ["low"] * 3),
        ("gotify", "AbCdEfGhIjKlMnO", [5, 8, 10]),
        ("gotify", "AbCdEfGhIjKlMnO?priority=high", [8, 8, 8]),
        ("json", "notify/farm", [None] * 3),
    ],
)
def test_a_service_that_knows_priorities_gets_that_of_the_severity_unless_its_url_has_one(
    server, asked, scheme, rest, priorities
):
    way = services(at(server, scheme, rest))
    for severity in Severity:
        assert only(send(way, message=Message("alert", severity, "s", "s", "t"))) == SENT
    assert [priority_of(request) for request in asked] == priorities


def test_pushover_gets_the_priority_too(server, asked, monkeypatch):
    from apprise.plugins.pushover import NotifyPushover

    monkeypatch.setattr(NotifyPushover, "notify_url", f"{server.url}/1/messages.json")
    way = services(f"pover://{'u' * 30}@{'t' * 30}")
    for severity in Severity:
        assert only(send(way, message=Message("alert", severity, "s", "s", "t"))) == SENT
    assert [priority_of(request) for request in asked] == ["0", "0", "1"]


def test_each_url_gets_the_severities_that_stand_before_it(server):
    text = (
        "[notifications]\nservices =\n"
        f"  {json_url(server, 'notify/all')}\n  critical {json_url(server, 'notify/alarm')}\n"
        f"  Info, warning: {json_url(server, 'notify/news')}\n"
    )
    settings = loader.from_text(text, Path("/c")).notifications
    way = ServicesChannel(settings.services, 5)
    for severity in Severity:
        send(way, *way.recipients(severity), message=Message("alert", severity, "s", "s", "t"))
    told = [(note["path"].removeprefix("/notify/"), note["type"]) for note in server.notifications]
    assert sorted(told) == [
        ("alarm", "failure"), ("all", "failure"), ("all", "info"), ("all", "warning"), ("news", "info"),
        ("news", "warning"),
    ]  # fmt: skip
    assert len(way.recipients()) == 3


def test_what_apprise_does_not_understand_is_refused_with_the_remedy(server):
    way = services("no-url-at-all-but-a-secret", "unheard-of://a-secret", "discord://too-few-parts", json_url(server))
    outcomes = list(send(way).values())
    for outcome in outcomes[:3]:
        assert outcome.result is Result.REFUSED
        assert "https://github.com/caronc/apprise" in outcome.why
        assert "secret" not in outcome.why
    assert outcomes[3] == SENT


def test_a_url_in_a_file_is_read_when_it_is_needed(server, tmp_path):
    way = services(f"file:{tmp_path}/url")
    assert only(send(way)).result is Result.TRY_AGAIN
    (tmp_path / "url").write_text(json_url(server) + "\n")
    assert only(send(way)) == SENT


def test_a_long_text_is_sent_in_parts_where_the_service_takes_no_more(server, monkeypatch):
    from apprise.plugins.custom_json import NotifyJSON

    monkeypatch.setattr(NotifyJSON, "body_maxlen", 100)
    lines = [f"drive{number} {'.' * 20} room for {number} plots" for number in range(10)]
    long = Message("daily_update", Severity.INFO, "Daily", "d", "\n".join(lines))
    assert only(send(services(json_url(server)), message=long)) == SENT
    assert len(server.notifications) > 1
    arrived = "".join(notification["message"] for notification in server.notifications)
    assert all(f"room for {number} plots" in arrived for number in range(10))


def test_the_time_limit_in_a_url_goes_before_that_of_the_configuration(server):
    server.trouble = SILENT
    started = time.monotonic()
    outcome = only(send(services(f"{json_url(server)}?rto=0.3", timeout_seconds=60)))
    assert outcome.result is Result.TRY_AGAIN
    assert time.monotonic() - started < 5


def test_apprise_leaves_no_thread_that_the_end_of_the_process_would_wait_for(server):
    import threading

    before = set(threading.enumerate())
    send(services(json_url(server)))
    mine = [thread for thread in set(threading.enumerate()) - before if not thread.daemon]
    assert mine == []


# ---- All three ----


@pytest.fixture(params=["sms", "pushbullet", "services"])
def ways(request, server, pushbullet_here):
    """A function that makes one channel with two recipients."""

    def make(timeout_seconds=5.0):
        if request.param == "sms":
            return sms(server, timeout_seconds=timeout_seconds)
        if request.param == "pushbullet":
            return push(*TOKENS, timeout_seconds=timeout_seconds)
        return services(json_url(server), json_url(server, "notify/second"), timeout_seconds=timeout_seconds)

    return make


def test_a_service_that_never_answers_costs_no_more_than_the_time_limit(ways, server):
    server.trouble = SILENT
    way = ways(timeout_seconds=0.3)
    started = time.monotonic()
    outcome = only(send(way))
    assert 0.6 < time.monotonic() - started < 5, "the limit, for each of two recipients"
    assert outcome.result is Result.TRY_AGAIN
    assert "answer" in outcome.why


def test_a_service_that_cannot_be_reached_is_tried_again_and_reached_when_it_is_back(ways, server):
    server.stop()
    way = ways()
    outcome = only(send(way))
    assert outcome.result is Result.TRY_AGAIN
    assert "cannot be reached" in outcome.why
    server.start()
    assert only(send(way)) == SENT


def test_an_answer_that_makes_no_sense_costs_one_attempt(ways, server, monkeypatch, caplog):
    monkeypatch.setattr(server, "answer", lambda request: (200, ["what", "is", "this"]))
    outcomes = send(ways())
    assert len(outcomes) == 2
    assert all(outcome.result in (Result.SENT, Result.TRY_AGAIN) for outcome in outcomes.values())
    assert b64encode(b"user:sesame-open").decode() not in caplog.text


def test_whoever_is_told_first_is_known_before_the_second_is_asked(ways, server):
    way = ways()
    fates = way.send(MESSAGE, way.recipients())
    assert next(fates) == (way.recipients()[0], SENT)
    asked = len(server.requests)
    assert next(fates) == (way.recipients()[1], SENT)
    assert len(server.requests) == 2 * asked
