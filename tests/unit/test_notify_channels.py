from __future__ import annotations

import subprocess
import sys
from base64 import b64encode
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from plotfarm.base.condition import Severity
from plotfarm.base.config import loader
from plotfarm.base.config.mailboxes import Mailbox, is_mailbox, parse_mailbox
from plotfarm.base.config.sections import Config, Email, Notifications, Pushbullet, Sms
from plotfarm.base.secret import Secret, SecretUrl
from plotfarm.notify.channels import Problem, Result, configured_channels
from plotfarm.notify.channels.channel import SENT, as_text, label, one_by_one, said, without
from plotfarm.notify.channels.email import EmailChannel, compose, default_sender
from plotfarm.notify.message import Message

FARMER = "farmer@example.org"
EVERYTHING = Config(
    path=Path("/etc/plot_manager/plot_manager_config"),
    notifications=Notifications(
        email=True, sms=True, pb=True, services=(SecretUrl("discord://1/2"), SecretUrl("ntfy://x"))
    ),
    email=Email(recipients=(FARMER, "partner@example.org")),
    sms=Sms("AC1", Secret("token"), "+12025550123", ("+12025550143",)),
    pushbullet=Pushbullet((Secret("o.one"), Secret("env:PUSHBULLET"))),
)


# ---- Which channels there are ----


def test_every_channel_that_is_switched_on_and_set_up_is_there_with_its_recipients():
    channels, problems = configured_channels(EVERYTHING)
    assert problems == []
    recipients = {channel.name: list(channel.recipients()) for channel in channels}
    assert list(recipients) == ["email", "sms", "pb", "services"]
    assert recipients["email"] == [FARMER, "partner@example.org"]
    assert recipients["sms"] == ["+12025550143"]
    assert [name.split()[0] for name in recipients["pb"]] == ["pushbullet", "pushbullet"]
    assert [name.split()[0] for name in recipients["services"]] == ["discord", "ntfy"]


@pytest.mark.parametrize("name", ["email", "sms", "pb"])
def test_a_channel_that_is_switched_off_is_not_there_whatever_is_set_up(name):
    off = replace(EVERYTHING, notifications=replace(EVERYTHING.notifications, **{name: False}))
    assert name not in [channel.name for channel in configured_channels(off)[0]]


def test_nothing_is_configured_in_a_fresh_configuration():
    assert configured_channels(Config(path=Path("/c"))) == ([], [])


@pytest.mark.parametrize(
    ("settings", "name", "why"),
    [
        ({"email": Email()}, "email", "[email] recipients is empty"),
        ({"email": Email(recipients=(FARMER,), host="")}, "email", "[email] host is empty"),
        (
            {"email": Email(recipients=(FARMER,), user="me")},
            "email",
            "[email] user and password belong together: one of them is empty",
        ),
        (
            {"email": Email(recipients=(FARMER,), password=Secret("p"))},
            "email",
            "[email] user and password belong together: one of them is empty",
        ),
        (
            {"email": Email(recipients=(FARMER,), sender="me@home\n")},
            "email",
            "[email] sender: me@home\\n is no address",
        ),
        ({"sms": Sms()}, "sms", "[sms] account_sid and auth_token and sender and recipients are empty"),
        ({"sms": Sms("AC1", Secret("t"), "", ("+1",))}, "sms", "[sms] sender is empty"),
        ({"pushbullet": Pushbullet()}, "pb", "[pushbullet] access_tokens is empty"),
    ],
)
def test_a_channel_that_is_not_set_up_is_a_problem_and_the_others_are_there(settings, name, why):
    channels, problems = configured_channels(replace(EVERYTHING, **settings))
    assert problems == [Problem(name, why)]
    assert len(channels) == 3
    assert name not in [channel.name for channel in channels]


def test_sendmail_needs_no_host_and_no_login():
    settings = replace(EVERYTHING, email=Email(recipients=(FARMER,), method="sendmail", host="", user="unused"))
    assert configured_channels(settings)[1] == []


def test_asking_which_channels_there_are_imports_no_library_of_any():
    code = (
        "import sys\n"
        "from tests.unit.test_notify_channels import EVERYTHING, configured_channels\n"
        "before = set(sys.modules)\n"
        "channels, _ = configured_channels(EVERYTHING)\n"
        "assert [list(channel.recipients()) for channel in channels]\n"
        "heavy = {'smtplib', 'ssl', 'twilio', 'pushbullet', 'apprise', 'sentry_sdk', 'requests', 'email.message'}\n"
        "print(*sorted(heavy & (set(sys.modules) - before)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=Path(__file__).parents[2], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == ""


def test_importing_the_channels_imports_no_library_of_any():
    code = "import sys, plotfarm.notify.channels, plotfarm.notify.bugs; print(*sys.modules, sep='\\n')"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=Path(__file__).parents[2], capture_output=True, text=True, check=True
    )
    heavy = {"smtplib", "ssl", "twilio", "pushbullet", "apprise", "sentry_sdk", "requests", "email.message"}
    assert not heavy & set(done.stdout.split("\n"))


# ---- Labels ----


def test_a_label_is_the_same_every_time_and_tells_secrets_apart():
    first, second = label("pushbullet", Secret("o.one")), label("pushbullet", Secret("o.two"))
    assert first == label("pushbullet", Secret("o.one"))
    assert first != second
    assert len(first) == len("pushbullet 01234567")
    assert int(first.split()[1], 16) >= 0


def test_a_label_needs_no_look_at_the_file_or_variable_that_holds_the_secret(monkeypatch):
    monkeypatch.delenv("PUSHBULLET", raising=False)
    before = configured_channels(EVERYTHING)[0][2].recipients()
    monkeypatch.setenv("PUSHBULLET", "o.new")
    assert configured_channels(EVERYTHING)[0][2].recipients() == before


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("discord://4174216298/JHMHI8qBe7bk2ZwO5U711o3dV_js", "discord"),
        ("jsons://user:pass@host/path", "jsons"),
        ("https://discord.com/api/webhooks/1/2", "https"),
        ("123456:AAFtoken", "url"),
        ("a-token-and-no-url", "url"),
        ("user:pass@host://x", "url"),
        ("env:DISCORD", "url"),
        ("file:/etc/discord://url", "url"),
        ("x" * 50 + "://", "url"),
    ],
)
def test_the_label_of_a_url_names_its_kind_and_no_more(url, kind):
    settings = replace(EVERYTHING, notifications=Notifications(services=(SecretUrl(url),)))
    [channel], _ = configured_channels(settings)
    [name] = channel.recipients()
    assert name.split()[0] == kind
    assert len(name) == len(kind) + 9


def test_the_same_url_twice_is_told_once():
    twice = replace(EVERYTHING, notifications=Notifications(services=(SecretUrl("ntfy://x"), SecretUrl("ntfy://x"))))
    assert len(configured_channels(twice)[0][0].recipients()) == 1


# ---- What may be said ----


@given(st.text(min_size=1), st.text(), st.text())
def test_a_secret_is_taken_out_in_every_form_that_a_server_may_send_back(secret, before, after):
    for form in (secret, quote(secret, safe=""), b64encode(secret.encode()).decode()):
        if "***" not in form and form not in "***":
            assert form not in without(f"{before}{form}{after}", [secret]).replace("***", "")


def test_a_secret_that_is_no_utf8_is_taken_out_too():
    secret = b"pass\xffword".decode("utf-8", "surrogateescape")
    assert without(f"<{secret}>", [secret, ""]) == "<***>"


@given(st.binary())
def test_what_a_server_said_is_one_short_printable_line(answer):
    line = said(answer)
    assert line.isprintable()
    assert len(line) <= 243


@given(st.text())
def test_a_text_can_be_encoded_and_steers_no_terminal(text):
    clean = as_text(text)
    clean.encode()
    assert not any(character < " " and character not in "\t\n" for character in clean)


def test_a_text_keeps_its_lines_and_its_letters():
    text = "a\tb\r\n\N{SNOWMAN}\N{NO-BREAK SPACE}\N{GRINNING FACE}\n"
    assert as_text(text) == text.replace("\r\n", "\n")


# ---- One recipient after the other ----


def test_whatever_one_recipient_raises_the_others_go_on():
    def attempt(recipient):
        if recipient == "bad":
            raise MemoryError
        return SENT

    outcomes = dict(one_by_one("sms", ["a", "bad", "gone", "b"], {"a", "bad", "b"}, attempt))
    assert (outcomes["a"], outcomes["b"]) == (SENT, SENT)
    assert outcomes["bad"].result is Result.TRY_AGAIN
    assert outcomes["gone"].result is Result.REFUSED


def test_the_end_of_the_process_is_no_outcome():
    def attempt(recipient):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(one_by_one("sms", ["a"], {"a"}, attempt))


# ---- Mails ----


def test_the_sender_is_the_user_at_this_host_where_none_is_configured(monkeypatch):
    monkeypatch.setattr("socket.gethostname", lambda: "chianas01")
    user, _, host = default_sender().partition("@")
    assert (bool(user), host) == (True, "chianas01")
    monkeypatch.setattr("os.geteuid", lambda: 987_654)
    assert default_sender() == "987654@chianas01"


@given(st.text(), st.text(), st.text())
def test_any_message_makes_a_mail_with_the_headers_that_it_should_have(subject, text, html):
    message = Message("alert", Severity.CRITICAL, subject, "s", text, html)
    raw = compose(message, Mailbox("nas", "example.org"), [parse_mailbox(FARMER)]).as_bytes()
    head = raw.partition(b"\r\n\r\n")[0]
    names = [line.partition(b":")[0] for line in head.split(b"\r\n") if not line.startswith((b" ", b"\t"))]
    expected = {b"From", b"To", b"Subject", b"Date", b"Message-ID", b"Auto-Submitted", b"X-Priority", b"MIME-Version"}
    assert expected <= set(names)
    assert set(names) - expected <= {b"Content-Type", b"Content-Transfer-Encoding"}
    assert len(names) == len(set(names))
    assert raw.isascii()


def test_nothing_is_sent_to_nobody():
    assert list(EmailChannel(Email(recipients=(FARMER,), host="no-such-host.invalid"), 1.0).send(
        Message("test", Severity.INFO, "s", "s", "t"), []
    )) == []  # fmt: skip


# ---- Addresses: what the configuration accepts can be sent to ----

_ADDRESSES = st.one_of(
    st.text(max_size=30),
    st.builds(
        lambda name, local, domain: f"{name}{local}@{domain}",
        st.sampled_from(["", "Jo ", '"a, b" ', "\N{LATIN SMALL LETTER O WITH DIAERESIS} <", "<", "Jo <"]),
        st.text(max_size=8),
        st.one_of(st.text(max_size=8), st.sampled_from(["e.org", "e.org>", "[127.0.0.1]", "b\xfccher.example>"])),
    ),
)


@given(_ADDRESSES)
@example("a\N{LATIN SMALL LETTER A WITH DIAERESIS}@example.org")
@example('"Doe, Jo" <jo@example.org>')
@example("Jo <jo@b\N{LATIN SMALL LETTER U WITH DIAERESIS}cher.example>")
def test_what_the_configuration_accepts_as_an_address_is_one_when_a_mail_is_sent(text):
    if not is_mailbox(text):
        return
    mailbox = parse_mailbox(text)
    assert mailbox.domain.isascii()
    assert text.isprintable()
    mail = compose(Message("test", Severity.INFO, "s", "s", "t"), mailbox, [mailbox])
    head = mail.as_bytes().partition(b"\r\n\r\n")[0]
    assert head.count(b"\r\nTo: ") == 1
    assert head.isascii() is not mailbox.needs_smtputf8
    settings = replace(EVERYTHING, email=Email(sender=text, recipients=(text,)))
    assert "email" in [channel.name for channel in configured_channels(settings)[0]]


def test_a_list_of_recipients_may_hold_names_with_a_comma():
    text = '[email]\nrecipients = "Doe, Jo" <jo@example.org>, b@example.org,\n  J\xf6rg <c@b\xfccher.example>\n'
    config = loader.from_text(text, Path("/c"))
    assert config.email.recipients == ('"Doe, Jo" <jo@example.org>', "b@example.org", "J\xf6rg <c@b\xfccher.example>")
