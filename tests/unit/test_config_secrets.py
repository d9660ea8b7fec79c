"""No message about a configuration shows a secret, however the file is broken."""

from __future__ import annotations

import logging
import random
import subprocess

import pytest

from plotfarm.base.config import loader
from plotfarm.base.errors import ConfigurationError
from plotfarm.notify.channels import configured_channels

FILES = 10_000
# What must not be seen of each secret, and the secret. Letters alone, as people choose them; tokens; URLs.
SECRETS = {
    "hunter2hunter2": "hunter2hunter2",
    "correcthorse": "correcthorsebattery",
    "lazydog": "quick lazydog jumps",
    "aafqx9": "tgram://123456789:AAFqx9ZZtopsecretbottoken/42",
    "zk7w2": "https://zk7w2b8c0ffee@sentry.example.org/17",
    "s3same": "json://nas:s3same-open@host.example/notify",
    "jhmhi8": "discord://4174216298/JHMHI8qBe7bk2ZwO5U711o3dV_js",
    "pässwörd": "Pässwörd!",
    "x%(y)s": "a=b:x%(y)s;$HOME",
}
PLACES = [
    ("email", "password"), ("sms", "auth_token"), ("pushbullet", "access_tokens"), ("notifications", "services"),
    ("notifications", "sentry_dsn"),
]  # fmt: skip
FILL = {
    "nas": ["hosts = nas1, plots@nas2", "streams = 4", "links =\n  nas1: 10.0.1.5, 10.0.2.5"],
    "plotter": ["plot_directories = /mnt/ssd0", "settle_seconds = 120", "keep_source = False"],
    "transfer": ["ports = 4040-4139", "pipe = direct", "verify = sample"],
    "drives": ["devices = /dev/sd*", "mounts = /mnt/hdd*", "minimum_free = 2 GiB"],
    "email": ["host = smtp.example.org", "port = 587", "recipients = a@example.org", "user = me"],
    "notifications": ["alerting = True", "email = True", "info_channels = email"],
    "sms": ["account_sid = AC1", "recipients = +12025550123"],
    "pushbullet": ["# the phone"],
    "watch": ["trouble_minutes = 15"],
}


class Broken:
    """One configuration with a secret in it, and what befell it."""

    def __init__(self, seed):
        self.chance = chance = random.Random(seed)
        self.core, self.secret = chance.choice(list(SECRETS.items()))
        self.section, self.key = chance.choice(PLACES)
        names = chance.sample(list(FILL), chance.randint(1, 6))
        self.sections = {name: chance.sample(FILL[name], chance.randint(0, len(FILL[name]))) for name in names}
        self.line = f"{self.key} = {self.secret}"
        self.headers = {name: f"[{name}]" for name in [*self.sections, self.section]}
        home = self.section
        for befall in chance.sample(DAMAGES, chance.randint(1, 3)):
            home = befall(self) or home
        lines = self.sections.setdefault(home, [])
        lines.insert(chance.randint(0, len(lines)), self.line)
        self.text = "\n".join(
            line for name, lines in self.sections.items() for line in (self.headers.get(name, f"[{name}]"), *lines)
        )
        if chance.random() < 0.05:
            self.text = self.text.replace("\n", "\r\n")


def misspell(file):
    letters = list(file.key)
    letters.pop(file.chance.randrange(len(letters)))
    file.line = file.line.replace(file.key, "".join(letters), 1)


def break_header(file):
    name = file.section
    odd = [f"[{name}", f"{name}]", f"({name})", name, f"[{name} ", f"[[{name}]", f"[{name}] x", f" [{name}]", "[]", "[",
           f"[{name[:-1]}", f"{{{name}}}", f"[{name}:", f"{name}:", f"[ {name} ]", f"# [{name}]", ""]  # fmt: skip
    file.headers[name] = file.chance.choice(odd)


def move(file):
    return file.chance.choice(list(FILL))


def indent(file):
    file.line = file.chance.choice(["  ", "\t", "\xa0 "]) + file.line


def forget_sign(file):
    file.line = file.line.replace(" = ", file.chance.choice([" ", "  ", ""]), 1)


def forget_key(file):
    file.line = file.line.replace(f"{file.key} = ", file.chance.choice(["", "= ", ": ", "  ", "-"]), 1)


def other_sign(file):
    file.line = file.line.replace(" = ", file.chance.choice([":", ": ", "=", " := ", " -> ", " == "]), 1)


def twice(file):
    file.line = f"{file.line}\n{file.line}"


def on_next_line(file):
    file.line = file.line.replace(" = ", file.chance.choice([" =\n", " =\n  ", "\n= ", "\n"]), 1)


def behind_another(file):
    other = file.chance.choice(["host = smtp.example.org", "port = 587", "hosts = nas1", "streams = 4", "log = /x"])
    file.line = f"{other}{file.chance.choice([' ', ', ', ' ; ', chr(9)])}{file.line}"


def in_the_header(file):
    header = file.headers[file.section]
    file.headers[file.section] = file.chance.choice([f"{header} {file.line}", f"[{file.section} {file.line}]"])


def with_control_characters(file):
    at = file.chance.randrange(len(file.line))
    file.line = (
        file.line[:at] + file.chance.choice(["\x00", "\x07", "\x1b[2J", "\x85", "\u2028", "\r"]) + file.line[at:]
    )


def shout(file):
    file.line = file.line.replace(file.key, file.key.upper(), 1)


def in_quotes(file):
    file.line = file.line.replace(file.secret, f'"{file.secret}"', 1)


def as_user_information(file):
    file.line = file.chance.choice(["hosts = root:{}@nas1", "host = me:{}@smtp.example.org", "sender = {}"]).format(
        file.secret
    )


def unknown_section(file):
    return file.chance.choice(["emial", "mail", "DEFAULT", "secrets", "notification"])


DAMAGES = [
    misspell, break_header, move, indent, forget_sign, forget_key, other_sign, twice, on_next_line, behind_another,
    in_the_header, with_control_characters, shout, in_quotes, as_user_information, unknown_section,
]  # fmt: skip


def said_of(text, path):
    """All that the suite says of a configuration, whether it can be used or not."""
    try:
        config = loader.from_text(text, path)
    except ConfigurationError as error:
        return str(error), False
    channels, problems = configured_channels(config)
    labels = [recipient for channel in channels for recipient in channel.recipients() if channel.name != "email"]
    return f"{[one.why for one in problems]} {labels} {config.notifications} {config.email.password}", True


def test_ten_thousand_broken_files_show_no_secret(tmp_path, caplog):
    caplog.set_level(logging.DEBUG)
    seen, fine = [], 0
    for seed in range(FILES):
        file = Broken(seed)
        said, is_fine = said_of(file.text, tmp_path / "config")
        fine += is_fine
        if file.core in (said + caplog.text).casefold():
            seen.append(f"seed {seed}:\n{file.text}\n--\n{said}")
    assert seen[:3] == []
    assert len(seen) == 0
    assert FILES // 20 < fine < FILES // 2, "most of them are broken, and some are not"


# ---- Each way by which it was seen ----


def mistakes_of(text, *beside):
    with pytest.raises(ConfigurationError) as caught:
        loader.from_text(text, loader.CHECKOUT / "config", beside=beside)
    return caught.value.mistakes


@pytest.mark.parametrize(
    "text",
    [
        "[nas]\nhosts = a\n[email\npassword = hunter2hunter2",
        "[nas]\npassword = hunter2hunter2",
        "[nas]\nhosts = a\n password = hunter2hunter2",
        "[nas]\nhosts = a\n [email]\n password = hunter2hunter2\n port = x",
        "[nas]\nhosts = a password: hunter2hunter2",
        "[nas]\nhosts = root:hunter2@nas1",
        "[nas]\nhunter2hunter2 = x",
        "[nas]\nhunter2hunter2",
        "hunter2hunter2",
        "[hunter2hunter2]\nx = y",
        "[email password = hunter2hunter2]",
        "[email] password = hunter2hunter2",
        "[email]\nhost = smtp.example.org password = hunter2hunter2",
        "[email]\nport = 587\n  hunter2hunter2",
        "[email]\nrecipients = a@example.org\n  hunter2hunter2",
        "[plotter]\nplot_directories = /a\n  token=hunter2hunter2",
        "[transfer]\nports = hunter2hunter2",
        "[plotter\nkeep_source = hunter2hunter2",
        "[e-mail]]\nkeep_source = hunter2hunter2",
    ],
)
def test_no_secret_shows_and_the_mistake_is_named(text):
    lines = mistakes_of(text)
    assert "hunter2" not in "\n".join(lines)
    assert all(line.isprintable() for line in lines)


def test_a_missing_bracket_is_one_mistake_and_the_section_is_read_all_the_same():
    text = "[nas]\nhosts = a\n[email\npassword = hunter2\nport = 99999\n[watch]\nchia_difference = x"
    assert mistakes_of(text) == [
        "line 3: a section begins with its name in brackets, alone on its line: [name]",
        "[watch] chia_difference = x: a whole number of at least 0 is allowed",
        "[email] port = (not shown): a port up to 65535 is allowed, or 0 for the usual one",
    ]


def test_an_indented_key_or_section_is_named_instead_of_being_part_of_the_value_above():
    assert mistakes_of("[nas]\nhosts = a\n streams = 0\n [email]\n port = -1") == [
        "line 3: this key is indented, so it continues the value above: take the spaces away",
        "line 4: this [section] is indented, so it continues the value above: take the spaces away",
        "[email] port = (not shown): a whole number of at least 0 is allowed",
        "[nas] streams = 0: a whole number of at least 1 is allowed",
    ]


def test_what_stands_behind_a_header_is_not_passed_over():
    assert "line 1: something stands behind the [section]" in mistakes_of("[nas] hosts = a")[0]


def test_a_list_names_every_entry_that_is_wrong():
    (line,) = mistakes_of("[nas]\nhosts = a, -b, c d, e")
    assert line.endswith("and '-b', 'c d' are not that")
    (line,) = mistakes_of("[plotter]\nplot_directories = a, b, c, d, e, f, g")
    assert line.endswith("and 'a', 'b', 'c', 'd', 'e' (and 2 more) are none")


def test_all_mistakes_are_shown_at_once_whatever_they_are():
    text = "".join(f"[nas]\nhosts = -{number}\nstreams = 0\nnothing\n" for number in range(10))
    text += "[drvies]\nx = 1\n[transfer]\nverify = maybe\nbeat_seconds = 30\n"
    text += "[email]\nsecurity = none\npassword = x\nhost = h"
    lines = mistakes_of(text, "the file can be written by everybody")
    for piece in ("can be written", "section [nas] comes twice", "hosts comes twice", "neither",
                  "[drvies]", "verify", "more than twice", "clear text", "'-0'"):  # fmt: skip
        assert [line for line in lines if piece in line], piece
    assert len([line for line in lines if "neither" in line]) == 10


@pytest.mark.parametrize(
    ("section", "key", "hint"),
    [
        ("nas", "host", "did you mean hosts?"),
        ("coins", "host", "did you mean wallet_host?"),
        ("sms", "token", "did you mean auth_token?"),
        ("pushbullet", "auth_token", "it belongs in [sms]"),
        ("plotter", "minimum_free", "it belongs in [drives]"),
        ("watch", "password", "it belongs in [email]"),
        ("email", "streams", "it belongs in [plotter] or [nas]"),
        ("email", "zzz", "known are sender, recipients"),
    ],
)
def test_a_hint_goes_to_the_nearest_key_of_the_same_section_first(section, key, hint):
    (line,) = mistakes_of(f"[{section}]\n{key} = 1")
    assert hint in line


@pytest.mark.parametrize("script", ["drive_manager.py", "plot_manager.py", "coin_monitor.py", "move_local_plots.py"])
def test_no_script_says_it_to_cron_or_leaves_it_in_a_file(script, tmp_path):
    config = tmp_path / "config"
    config.write_text(
        f"[paths]\nlogs = {tmp_path}/logs\nstate = {tmp_path}/state\nlocks = {tmp_path}/locks\n"
        "[nas]\nhosts = a\n[email\npassword = hunter2hunter2\nrecipients = x\n"
    )
    config.chmod(0o600)
    command = [loader.CHECKOUT / script, "--config", str(config)]
    done = subprocess.run(command, capture_output=True, text=True, env={"PATH": "/usr/bin:/bin"}, check=False)
    assert done.returncode == 2
    assert "line 7: a section begins with its name in brackets" in done.stderr
    config.unlink()
    left = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert "hunter2" not in done.stdout + done.stderr
    assert b"hunter2" not in left


# ---- A password that goes as clear text ----


@pytest.mark.parametrize("host", ["smtp.example.org", "10.0.0.5", "localhost.example.org", "2001:db8::1", "0.0.0.0"])
def test_a_password_goes_as_clear_text_to_another_host_only_if_the_owner_says_so(host):
    text = f"[email]\nhost = {host}\nsecurity = none\nuser = me\npassword = x\n"
    (line,) = mistakes_of(text)
    assert "allow_plain = True" in line
    assert loader.from_text(text + "allow_plain = True\n", loader.CHECKOUT).email.allow_plain
    assert loader.from_text(text.replace("= none", "= starttls"), loader.CHECKOUT).email.password
    assert loader.from_text(text.replace("password = x\n", ""), loader.CHECKOUT).email.user
    assert loader.from_text(text + "method = sendmail\n", loader.CHECKOUT).email.password


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST.", "127.0.0.1", "127.9.9.9", "::1"])
def test_a_password_may_go_as_clear_text_within_this_host(host):
    text = f"[email]\nhost = {host}\nsecurity = none\nuser = me\npassword = x\n"
    assert (loader.from_text(text, loader.CHECKOUT).email.host == host) is True
