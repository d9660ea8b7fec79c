"""Mail through a real mail server on loopback, and through a sendmail program."""

from __future__ import annotations

import base64
import email
import email.policy
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from plotfarm.base.condition import Severity
from plotfarm.base.config.sections import Email
from plotfarm.base.secret import Secret
from plotfarm.notify.channels.channel import SENT, Result
from plotfarm.notify.channels.email import EmailChannel
from plotfarm.notify.message import Message
from testbed.certificates import Authority
from testbed.mail_server import MailServer
from testbed.sshd import free_port

FARMER, PARTNER, NOBODY = "farmer@example.org", "partner@example.org", "nobody@example.org"
LOGIN = ("chianas01", "correct horse battery staple")
TEXT = "Previous drive ... drive17\nNew drive ........ drive18, 31\N{DEGREE SIGN}C\n"
MESSAGE = Message("new_plot_drive", Severity.INFO, "New plot drive", "drive18", TEXT, "<p>New drive <b>drive18</b></p>")

pytestmark = pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")  # of aiosmtpd, and meant so


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def context(authority):
    return authority.server_context()


@pytest.fixture
def plain():
    with MailServer() as server:
        yield server


@pytest.fixture
def starttls(context):
    with MailServer("starttls", context, LOGIN) as server:
        yield server


def channel(server, *, timeout_seconds=5.0, **settings):
    basic = {"sender": "nas@example.org", "recipients": (FARMER, PARTNER, NOBODY), "host": server.address}
    basic |= {"port": server.port, "security": server.security}
    return EmailChannel(Email(**(basic | settings)), timeout_seconds)


def encrypted(server, authority, **settings):
    settings = {"user": LOGIN[0], "password": Secret(LOGIN[1]), "certificates": str(authority.certificate)} | settings
    return channel(server, **settings)


def send(way, *recipients, message=MESSAGE):
    return dict(way.send(message, recipients))


def speak_with(greeting):
    """What becomes of a mail at a server that says only this, hears what is answered, and hangs up."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def greet():
            connection, _ = listening.accept()
            with connection:
                connection.sendall(greeting)
                connection.recv(100)

        thread = threading.Thread(target=greet)
        thread.start()
        port = listening.getsockname()[1]
        outcome = only(
            send(EmailChannel(Email("n@e.org", (FARMER,), host="127.0.0.1", port=port, security="none"), 5), FARMER)
        )
        thread.join()
    return outcome


def only(outcomes):
    """The one outcome that all recipients share."""
    [outcome] = set(outcomes.values())
    return outcome


# ---- What goes well ----


def test_one_mail_goes_to_all_recipients_in_one_conversation(plain):
    assert send(channel(plain), FARMER, PARTNER) == {FARMER: SENT, PARTNER: SENT}
    [received] = plain.received
    assert (received.sender, received.recipients) == ("nas@example.org", [FARMER, PARTNER])
    assert (plain.conversations, plain.goodbyes) == (1, 1)
    assert not received.encrypted


def test_the_mail_says_the_same_as_text_and_as_html_and_that_no_person_wrote_it(plain):
    send(channel(plain), FARMER)
    [received] = plain.received
    mail = received.mail
    assert mail.get_content_type() == "multipart/alternative"
    assert received.part("plain") == TEXT
    assert received.part("html").strip() == MESSAGE.html
    assert mail["Subject"] == "New plot drive"
    assert (mail["From"], mail["To"]) == ("nas@example.org", FARMER)
    assert mail["Auto-Submitted"] == "auto-generated"
    assert abs(mail["Date"].datetime.timestamp() - time.time()) < 60
    assert mail["Message-ID"].endswith("@example.org>")
    assert mail["X-Priority"] is None
    assert received.raw.isascii(), "a server that knows no 8BITMIME takes it too"
    assert max(len(line) for line in received.raw.splitlines()) < 998


def test_only_a_critical_mail_is_marked_as_urgent_and_a_mail_without_html_is_plain(plain):
    send(channel(plain), FARMER, message=Message("alert", Severity.CRITICAL, "Failing", "f", "drive6 is failing\n"))
    mail = plain.received[0].mail
    assert mail["X-Priority"] == "1"
    assert mail.get_content_type() == "text/plain"


def test_starttls_with_a_login(starttls, authority):
    assert only(send(encrypted(starttls, authority), FARMER)) == SENT
    [received] = starttls.received
    assert received.encrypted
    assert received.user == LOGIN[0]


def test_tls_from_the_first_byte_with_a_login(context, authority):
    with MailServer("tls", context, LOGIN) as server:
        assert only(send(encrypted(server, authority), FARMER)) == SENT
        assert server.received[0].encrypted
        assert server.received[0].user == LOGIN[0]


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs the openssl program, which names the files there")
def test_a_directory_of_certificates_is_trusted_as_well(starttls, authority, tmp_path):
    digest = subprocess.run(
        ["openssl", "x509", "-hash", "-noout", "-in", authority.certificate], capture_output=True, text=True, check=True
    )
    (tmp_path / f"{digest.stdout.strip()}.0").write_bytes(authority.certificate.read_bytes())
    assert only(send(encrypted(starttls, authority, certificates=str(tmp_path)), FARMER)) == SENT


def test_a_login_without_encryption_only_where_the_owner_asked_for_none():
    with MailServer(login=LOGIN) as server:
        way = channel(server, user=LOGIN[0], password=Secret(LOGIN[1]))
        assert only(send(way, FARMER)) == SENT
        assert server.received[0].user == LOGIN[0]


# ---- What does not ----


def test_one_refused_recipient_costs_the_others_nothing(plain):
    plain.replies = {NOBODY: "550 5.1.1 No such user here", PARTNER: "451 4.7.1 Greylisted, come back later"}
    outcomes = send(channel(plain), FARMER, NOBODY, PARTNER)
    assert outcomes[FARMER] == SENT
    assert plain.received[0].recipients == [FARMER]
    assert outcomes[NOBODY].result is Result.REFUSED
    assert "550 5.1.1 No such user here" in outcomes[NOBODY].why
    assert outcomes[PARTNER].result is Result.TRY_AGAIN
    assert "Greylisted" in outcomes[PARTNER].why


def test_each_recipient_has_its_own_fate_when_none_is_accepted(plain):
    plain.replies = {NOBODY: "550 5.1.1 No such user here", PARTNER: "450 4.2.1 Mailbox busy"}
    outcomes = send(channel(plain), NOBODY, PARTNER)
    assert [outcomes[to].result for to in (NOBODY, PARTNER)] == [Result.REFUSED, Result.TRY_AGAIN]
    assert plain.received == []


def test_recipients_that_were_not_asked_about_get_another_try_when_the_server_hangs_up(plain):
    plain.replies = {PARTNER: "421 4.3.2 Shutting down"}
    outcomes = send(channel(plain), FARMER, PARTNER, NOBODY)
    assert {outcome.result for outcome in outcomes.values()} == {Result.TRY_AGAIN}
    assert plain.received == []


@pytest.mark.parametrize(
    ("reply", "result"),
    [("451 4.3.0 Try later", Result.TRY_AGAIN), ("554 5.7.1 No spam here", Result.REFUSED)],
)
@pytest.mark.parametrize("step", ["reply_to_sender", "reply_to_mail"])
def test_a_5xx_reply_is_the_last_word_and_a_4xx_reply_is_for_now(plain, step, reply, result):
    setattr(plain, step, reply)
    outcome = only(send(channel(plain), FARMER, PARTNER))
    assert outcome.result is result
    assert reply in outcome.why
    assert plain.received == []


def test_a_wrong_password_is_refused_with_the_remedy_and_never_repeated(starttls, authority):
    wrong = "not the pass word"
    both = base64.b64encode(f"\0{LOGIN[0]}\0{wrong}".encode()).decode()
    alone = base64.b64encode(wrong.encode()).decode()
    starttls.reply_to_login = f"535 5.7.8 no: {wrong}, {both}, {alone}"
    outcome = only(send(encrypted(starttls, authority, password=Secret(wrong)), FARMER, PARTNER))
    assert outcome.result is Result.REFUSED
    assert "535 5.7.8 no: ***, ***, ***" in outcome.why
    assert "check [email] user and password" in outcome.why
    assert starttls.received == []


def test_a_login_that_fails_for_now_is_tried_again(starttls, authority):
    starttls.reply_to_login = "454 4.7.0 Temporary authentication failure"
    outcome = only(send(encrypted(starttls, authority, password=Secret("wrong")), FARMER))
    assert outcome.result is Result.TRY_AGAIN


def test_the_login_is_never_sent_when_the_server_does_not_offer_encryption():
    with MailServer(login=LOGIN) as server:
        way = channel(server, security="starttls", user=LOGIN[0], password=Secret(LOGIN[1]))
        outcome = only(send(way, FARMER))
        assert outcome.result is Result.TRY_AGAIN
        assert "STARTTLS extension not supported by server" in outcome.why
        assert "[email] security" in outcome.why
        assert server.received == []


def test_a_server_that_wants_a_login_which_is_not_configured_says_so(starttls, authority):
    outcome = only(send(encrypted(starttls, authority, user="", password=Secret()), FARMER))
    assert outcome.result is Result.REFUSED
    assert "530" in outcome.why
    assert "set [email] user and password" in outcome.why


def test_a_login_at_a_server_that_offers_none_says_what_to_check(starttls):
    way = channel(starttls, security="none", user=LOGIN[0], password=Secret(LOGIN[1]))
    outcome = only(send(way, FARMER))
    assert outcome.result is Result.TRY_AGAIN
    assert "SMTP AUTH extension not supported" in outcome.why
    assert "user if it wants no login" in outcome.why


def test_a_server_that_wants_nobody_at_the_moment_is_tried_again():
    outcome = speak_with(b"554 5.7.1 your host is blocked for today\r\n")
    assert outcome.result is Result.TRY_AGAIN
    assert "554 5.7.1 your host is blocked for today" in outcome.why


@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_a_certificate_of_an_unknown_authority_is_not_trusted(context, authority, security):
    with MailServer(security, context, LOGIN) as server:
        outcome = only(send(encrypted(server, authority, certificates=""), FARMER))
        assert server.received == []
    assert outcome.result is Result.TRY_AGAIN
    assert "is not trusted" in outcome.why
    assert "[email] certificates" in outcome.why


@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_a_certificate_of_another_host_is_not_trusted(authority, security):
    with MailServer(security, authority.server_context("elsewhere.example.org"), LOGIN) as server:
        assert only(send(encrypted(server, authority), FARMER)) == SENT  # 127.0.0.1 is in it
        outcome = only(send(encrypted(server, authority, host="localhost"), FARMER))
        assert outcome.result is Result.TRY_AGAIN
        assert "localhost" in outcome.why
        assert len(server.received) == 1


@pytest.mark.parametrize(("name", "content"), [("missing.pem", None), ("empty.pem", ""), ("empty", "directory")])
def test_unusable_certificates_are_named(starttls, authority, tmp_path, name, content):
    path = tmp_path / name
    if content == "directory":
        path.mkdir()
    elif content is not None:
        path.write_text(content)
    outcome = only(send(encrypted(starttls, authority, certificates=str(path)), FARMER))
    assert outcome.result is Result.TRY_AGAIN
    assert "[email] certificates" in outcome.why


def test_encryption_that_the_server_does_not_speak_says_what_to_check(plain):
    outcome = only(send(channel(plain, security="tls"), FARMER))
    assert outcome.result is Result.TRY_AGAIN
    assert "check [email] security and port" in outcome.why


def test_a_server_that_is_down_is_tried_again_and_reached_when_it_is_back(plain):
    way = channel(plain)
    plain.stop()
    outcome = only(send(way, FARMER, PARTNER))
    assert outcome.result is Result.TRY_AGAIN
    assert f"127.0.0.1:{plain.port} cannot be reached (Connection refused)" in outcome.why
    plain.start()
    assert only(send(way, FARMER, PARTNER)) == SENT


@pytest.mark.parametrize("security", ["none", "starttls", "tls"])
def test_a_server_that_never_answers_costs_no_more_than_the_time_limit(security):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        settings = Email(
            sender="n@example.org", recipients=(FARMER,), host="127.0.0.1",
            port=silent.getsockname()[1], security=security,
        )  # fmt: skip
        started = time.monotonic()
        outcome = only(send(EmailChannel(settings, 0.3), FARMER))
        assert time.monotonic() - started < 3
    assert outcome.result is Result.TRY_AGAIN
    assert "within 0.3 seconds" in outcome.why


def test_a_server_that_hangs_up_in_the_middle_is_tried_again():
    outcome = speak_with(b"220 hello\r\n")
    assert outcome.result is Result.TRY_AGAIN
    assert "ended the conversation" in outcome.why


def test_a_host_that_has_no_address_is_tried_again(plain):
    outcome = only(send(channel(plain, host="no-such-host.invalid"), FARMER))
    assert outcome.result is Result.TRY_AGAIN
    assert "no-such-host.invalid" in outcome.why


def test_a_password_that_is_not_where_it_should_be_is_tried_again(starttls, authority, tmp_path, monkeypatch):
    monkeypatch.delenv("MAIL_PASSWORD", raising=False)
    outcome = only(send(encrypted(starttls, authority, password=Secret("env:MAIL_PASSWORD")), FARMER, PARTNER))
    assert outcome.result is Result.TRY_AGAIN
    assert "environment variable MAIL_PASSWORD" in outcome.why
    (tmp_path / "password").write_text(LOGIN[1] + "\n")
    there = encrypted(starttls, authority, password=Secret(f"file:{tmp_path}/password"))
    assert only(send(there, FARMER)) == SENT


def test_a_password_that_no_login_can_carry_says_so(starttls, authority):
    outcome = only(
        send(encrypted(starttls, authority, password=Secret("g\N{LATIN SMALL LETTER U WITH DIAERESIS}n")), FARMER)
    )
    assert outcome.result is Result.TRY_AGAIN
    assert "ASCII" in outcome.why
    assert "g\N{LATIN SMALL LETTER U WITH DIAERESIS}n" not in outcome.why


def test_who_is_no_longer_in_the_configuration_gets_no_mail(plain):
    outcomes = send(channel(plain, recipients=(FARMER,)), FARMER, "former@example.org")
    assert outcomes[FARMER] == SENT
    assert outcomes["former@example.org"].result is Result.REFUSED
    assert plain.received[0].recipients == [FARMER]


def test_what_became_of_a_mail_is_told_before_the_server_is_told_goodbye(plain):
    fates = channel(plain).send(MESSAGE, [FARMER, PARTNER])
    assert next(fates) == (FARMER, SENT)
    assert (len(plain.received), plain.goodbyes) == (1, 0)
    assert list(fates) == [(PARTNER, SENT)]
    assert plain.goodbyes == 1


# ---- Names, and addresses in any script ----

UMLAUT = "f\N{LATIN SMALL LETTER A WITH DIAERESIS}rmer@example.org"
IDN = "jo@b\N{LATIN SMALL LETTER U WITH DIAERESIS}cher.example"
NAMED = '"Doe, Jo" <farmer@example.org>'
NAMED_UMLAUT = "J\N{LATIN SMALL LETTER O WITH DIAERESIS}rg, der B\N{LATIN SMALL LETTER A WITH DIAERESIS}r"


@pytest.fixture
def international():
    with MailServer(smtputf8=True) as server:
        yield server


def test_names_stand_in_the_headers_and_addresses_in_the_envelope(plain):
    recipients = (NAMED, f'"{NAMED_UMLAUT}" <partner@example.org>')
    way = channel(plain, sender="Farm NAS 1 <nas@example.org>", recipients=recipients)
    assert only(send(way, *recipients)) == SENT
    [received] = plain.received
    assert (received.sender, received.recipients) == ("nas@example.org", [FARMER, PARTNER])
    assert received.raw.isascii()
    [sender] = received.mail["From"].addresses
    assert (sender.display_name, sender.addr_spec) == ("Farm NAS 1", "nas@example.org")
    shown = [(one.display_name, one.addr_spec) for one in received.mail["To"].addresses]
    assert shown == [("Doe, Jo", FARMER), (NAMED_UMLAUT, PARTNER)]


def test_a_domain_in_another_script_is_written_as_every_mail_server_knows_it(plain):
    way = channel(plain, sender=IDN, recipients=(IDN, "jo@stra\N{LATIN SMALL LETTER SHARP S}e.example"))
    assert only(send(way, *way.recipients())) == SENT
    [received] = plain.received
    assert received.sender == "jo@xn--bcher-kva.example"
    # Not strasse.example, which is somebody else's.
    assert received.recipients == ["jo@xn--bcher-kva.example", "jo@xn--strae-oqa.example"]


def test_an_address_in_another_script_gets_its_mail_by_smtputf8_in_the_same_conversation(international):
    way = channel(international, recipients=(FARMER, UMLAUT, NAMED))
    assert only(send(way, *way.recipients())) == SENT
    assert [one.recipients for one in international.received] == [[FARMER, FARMER], [UMLAUT]]
    assert international.conversations == 1
    assert f"To: {UMLAUT}\r\n".encode() in international.received[1].raw
    assert international.received[1].part("plain") == TEXT


def test_where_the_server_cannot_take_such_an_address_the_others_get_their_mail(plain):
    way = channel(plain, recipients=(UMLAUT, FARMER))
    outcomes = send(way, UMLAUT, FARMER)
    assert outcomes[FARMER] == SENT
    assert outcomes[UMLAUT].result is Result.REFUSED
    assert "SMTPUTF8" in outcomes[UMLAUT].why
    assert [one.recipients for one in plain.received] == [[FARMER]]


def test_a_sender_in_another_script(international, plain):
    assert only(send(channel(international, sender=UMLAUT), FARMER)) == SENT
    assert international.received[0].sender == UMLAUT
    outcome = only(send(channel(plain, sender=UMLAUT), FARMER))
    assert (outcome.result, plain.received) == (Result.REFUSED, [])


def test_one_that_the_server_refuses_is_known_by_its_text_in_the_configuration(international):
    international.replies = {FARMER: "550 5.1.1 No such user", UMLAUT: "550 5.1.1 No such user either"}
    way = channel(international, recipients=(NAMED, UMLAUT, PARTNER))
    outcomes = send(way, *way.recipients())
    assert [outcomes[to].result for to in (NAMED, UMLAUT)] == [Result.REFUSED, Result.REFUSED]
    assert outcomes[PARTNER] == SENT


# ---- Hostile values ----


def test_no_header_can_be_smuggled_in(plain):
    subject = "drive6\r\nBcc: thief@example.org\n\n<b>\x1b[31m\udc80"
    send(channel(plain), FARMER, message=Message("alert", Severity.WARNING, subject, "s", "text\n"))
    [received] = plain.received
    assert received.recipients == [FARMER]
    assert received.mail["Bcc"] is None
    assert received.mail["Subject"] == "drive6 Bcc: thief@example.org <b>\\x1b[31m\\udc80"


@pytest.mark.parametrize(
    "address",
    [
        "farmer@example.org\r\nRCPT TO:<thief@example.org>",
        "farmer@example.org, thief@example.org",
        "<thief@example.org>",
        '"a b"@example.org',
        "f\N{LATIN SMALL LETTER A WITH DIAERESIS}rmer@example.org",
        "farmer",
        "",
    ],
)
def test_an_address_that_is_none_gets_nothing_and_the_others_do(plain, address):
    outcomes = send(channel(plain, recipients=(address, FARMER)), address, FARMER)
    assert outcomes[address].result is Result.REFUSED
    assert outcomes[FARMER] == SENT
    assert plain.received[0].recipients == [FARMER]


def test_a_text_of_anything_arrives(plain):
    text = ".\n..\nFrom here\n" + "x" * 5000 + "\n\N{SNOWMAN} \x00\x1b[2J \udc80 nbsp:\N{NO-BREAK SPACE}\ttab\n"
    assert only(send(channel(plain), FARMER, message=Message("t", Severity.INFO, "s" * 3000, "s", text, text))) == SENT
    [received] = plain.received
    expected = text.replace("\x00", "\\x00").replace("\x1b", "\\x1b").replace("\udc80", "\\udc80")
    assert received.part("plain") == expected
    assert received.part("html") == expected
    assert len(received.mail["Subject"]) == 200


def test_a_server_that_answers_with_escape_codes_steers_no_terminal(plain):
    plain.replies = {FARMER: "550 \x1b[2J" + "very " * 200 + "bad"}
    why = send(channel(plain), FARMER)[FARMER].why
    assert why.isprintable()
    assert len(why) < 400


# ---- The sendmail program ----


@pytest.fixture
def sendmail(tmp_path):
    """A sendmail that keeps its arguments and its input, and ends as the file `status` says."""
    program = tmp_path / "sendmail"
    program.write_text(
        f"#!/bin/sh\nprintf '%s\\n' \"$@\" >>{shlex.quote(str(tmp_path))}/arguments\n"
        f"cat >{shlex.quote(str(tmp_path))}/mail\n"
        f'for last; do :; done\necho "$last: what went wrong" >&2\n'
        f'exit "$(cat {shlex.quote(str(tmp_path))}/status."$last" 2>/dev/null || echo 0)"\n'
    )
    program.chmod(0o755)
    return program


def by_sendmail(program, **settings):
    settings = {"sender": "nas@example.org", "recipients": (FARMER, PARTNER, NOBODY)} | settings
    return EmailChannel(Email(method="sendmail", sendmail=str(program), **settings), 5)


def test_a_mail_is_handed_to_sendmail_with_its_recipient_as_an_argument(sendmail, tmp_path):
    assert send(by_sendmail(sendmail), FARMER) == {FARMER: SENT}
    assert (tmp_path / "arguments").read_text().split() == ["-i", "-f", "nas@example.org", "--", FARMER]
    raw = (tmp_path / "mail").read_bytes()
    assert b"\r" not in raw
    mail = email.message_from_bytes(raw, policy=email.policy.default)
    assert (mail["To"], mail["Subject"]) == (FARMER, "New plot drive")
    assert mail.get_body(("plain",)).get_content() == TEXT


@pytest.mark.parametrize(
    ("status", "result"),
    [
        (os.EX_NOUSER, Result.REFUSED),
        (os.EX_DATAERR, Result.REFUSED),
        (os.EX_NOPERM, Result.REFUSED),
        (os.EX_TEMPFAIL, Result.TRY_AGAIN),
        (os.EX_UNAVAILABLE, Result.TRY_AGAIN),
        (os.EX_CONFIG, Result.TRY_AGAIN),
        (1, Result.TRY_AGAIN),
    ],
)
def test_the_status_of_sendmail_is_the_fate_of_one_recipient(sendmail, tmp_path, status, result):
    (tmp_path / f"status.{PARTNER}").write_text(str(status))
    outcomes = send(by_sendmail(sendmail), FARMER, PARTNER, NOBODY)
    assert (outcomes[FARMER], outcomes[NOBODY]) == (SENT, SENT)
    assert outcomes[PARTNER].result is result
    assert outcomes[PARTNER].why == f"{sendmail} ended with status {status}: {PARTNER}: what went wrong"


def test_sendmail_gets_names_and_addresses_in_any_script(sendmail, tmp_path):
    named = f"{NAMED_UMLAUT.replace(',', '')} <{UMLAUT}>"
    assert send(by_sendmail(sendmail, sender=NAMED, recipients=(named, IDN)), named, IDN) == {named: SENT, IDN: SENT}
    words = (tmp_path / "arguments").read_text(encoding="utf-8").split()
    assert [words[2], words[4]] == [FARMER, UMLAUT]
    assert [words[7], words[9]] == [FARMER, "jo@xn--bcher-kva.example"]


def test_a_missing_sendmail_and_one_that_hangs_are_tried_again(tmp_path):
    outcome = only(send(by_sendmail(tmp_path / "nowhere"), FARMER))
    assert outcome.result is Result.TRY_AGAIN
    assert "is not installed" in outcome.why
    assert "check [email] sendmail" in outcome.why
    hanging = tmp_path / "hanging"
    hanging.write_text("#!/bin/sh\nexec sleep 60\n")
    hanging.chmod(0o755)
    way = EmailChannel(Email(method="sendmail", sendmail=str(hanging), recipients=(FARMER,)), 0.3)
    outcome = only(send(way, FARMER))
    assert outcome.result is Result.TRY_AGAIN
    assert "did not end within 0.3 seconds" in outcome.why


# ---- The mail server of the testbed, as a program ----


def test_the_mail_server_runs_by_hand_and_writes_each_mail_to_a_file(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-m", "testbed.mail_server", tmp_path / "mails", "--port", str(free_port())],
        stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    try:
        address, _, port = process.stdout.readline().strip().partition(":")
        way = EmailChannel(Email("n@example.org", (FARMER,), host=address, port=int(port), security="none"), 5)
        assert only(send(way, FARMER)) == SENT
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    assert b"New plot drive" in (tmp_path / "mails" / "0001.eml").read_bytes()
