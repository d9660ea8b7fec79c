"""The sections of notifications, SMART and alerts: what they accept, and that no secret shows in a mistake."""

from __future__ import annotations

from pathlib import Path

import pytest

from plotfarm.base.config import loader
from plotfarm.base.errors import ConfigurationError

PATH = Path("/etc/plot_manager/plot_manager_config")


def mistakes_of(text):
    with pytest.raises(ConfigurationError) as caught:
        loader.from_text(text, PATH)
    return caught.value.mistakes


def test_the_sections_are_read():
    config = loader.from_text(
        "[email]\nrecipients = a@example.org, b@example.org\npassword = file:/etc/secret\nport = 2525\n"
        "[notifications]\nservices =\n  json://one/path\n  ntfy://two\ncritical_channels = SMS, pb\n"
        "quiet_hours = 22:00-07:00\n"
        "[sms]\nrecipients = +12025550123\n"
        "[smart]\ndevice_types =\n  /dev/sd[a-p] megaraid,7\n  /dev/disk/by-id/usb-* sntjmicron\n"
        "smartctl = sudo -n /usr/sbin/smartctl\n"
        "[watch]\nsystem_disk_free = 2 GiB\n",
        PATH,
    )
    assert config.email.recipients == ("a@example.org", "b@example.org")
    assert [url.reveal() for url in config.notifications.services] == ["json://one/path", "ntfy://two"]
    assert config.notifications.critical_channels == ("sms", "pb")
    assert config.smart.device_types == ("/dev/sd[a-p] megaraid,7", "/dev/disk/by-id/usb-* sntjmicron")
    assert config.smart.smartctl == ("sudo", "-n", "/usr/sbin/smartctl")
    assert config.watch.system_disk_free_bytes == 2 * 2**30


@pytest.mark.parametrize(
    "host", ["", "localhost", "::1", "[::1]", "10.0.0.5", "mail.example.org", "mail.b\xfccher.example"]
)
def test_any_name_of_a_host_may_be_that_of_the_mail_server(host):
    assert loader.from_text(f"[email]\nhost = {host}\n", PATH).email.host == host


@pytest.mark.parametrize(
    "text",
    [
        "[email]\nhost = me@mail.example.org",
        "[email]\nhost = -x",
        "[email]\nhost = mail.example.org password",
        "[coins]\nwallet_host = https://x",
        "[email]\nrecipients = nobody",
        "[email]\nrecipients = a@b>\\r",
        "[email]\nsender = a b@example.org",
        "[email]\nport = 70000",
        "[email]\nsecurity = ssl3",
        "[sms]\nrecipients = 2025550123",
        "[notifications]\nquiet_hours = 25:00-07:00",
        "[notifications]\nquiet_hours = 22:00-22:00",
        "[notifications]\ninfo_channels = email, fax",
        "[smart]\ndevice_types = megaraid,7",
        "[smart]\nwarning_celsius = 60\ncritical_celsius = 50",
        "[smart]\nsmart_interval_minutes = 0",
        "[chia]\nhome = chia",
    ],
)
def test_one_mistake_is_named(text):
    (line,) = mistakes_of(text)
    assert "allowed" in line


@pytest.mark.parametrize(
    "text",
    [
        "[email]\npasword = hunter2",
        "[email]\npassword = hunter2\npassword = hunter2",
        "[email]\nhost = localhost\nhunter2",
        "[email]\npassword = one\n\x07hunter2",
        "[pushbullet]\naccess_tokens = one\nhunter2 hunter2",
        "[notifications]\nservices = json://x\nhunter2://token@host",
        "[emial]\npassword = hunter2",
        "[emial]\nhunter2",
        "[sms]\nauth_token = hun\x01ter2 hunter2",
    ],
)
def test_no_secret_shows_in_a_mistake(text):
    assert "hunter2" not in "\n".join(mistakes_of(text))


def test_other_values_are_still_shown():
    assert "sevnty" in mistakes_of("[smart]\nwarning_celsius = sevnty")[0]


def test_a_printed_configuration_holds_no_secret():
    config = loader.from_text("[email]\npassword = hunter2\n[notifications]\nsentry_dsn = https://hunter2@x/1\n", PATH)
    assert "hunter2" not in repr(config)
