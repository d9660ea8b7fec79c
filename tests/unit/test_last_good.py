"""The last configuration that was good: kept without secrets, found again with those that still stand in the file."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from test_config_secrets import Broken

from plotfarm.base.config import last_good, loader
from plotfarm.base.errors import ConfigurationError

PASSWORD, TOKEN, URL = "hunter2hunter2", "o.sesame-open", "discord://4174216298/JHMHI8qBe7bk2ZwO5U711o3dV"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A configuration that is good, and kept."""
    path = tmp_path / "plot_manager_config"
    path.write_text(
        f"""# mine
[paths]
state = {tmp_path / "state"}
logs = {tmp_path / "logs"}
locks = {tmp_path / "locks"}

[notifications]
alerting = True
email = True
services = {URL}
    env:OTHER_URL

[email]
host = mail.example.org
user = farmer
password = {PASSWORD}  # of the provider
recipients = farmer@example.org,
    partner@example.org

[pushbullet]
access_tokens = {TOKEN}

[heartbeat]
drive_manager = file:/etc/heartbeat
"""
    )
    last_good.keep(loader.load(path))
    return path


def kept(path: Path) -> str:
    [copy] = (path.parent / "state").glob("last_good-*")
    return copy.read_text()


def test_no_secret_is_copied_and_where_one_is_to_be_found_is(path: Path) -> None:
    text = kept(path)
    for secret in (PASSWORD, TOKEN, URL, "JHMHI8qBe7bk2ZwO5U711o3dV"):
        assert secret not in text
    assert "host = mail.example.org" in text
    assert "drive_manager = file:/etc/heartbeat" in text
    [copy] = (path.parent / "state").glob("last_good-*")
    assert copy.stat().st_mode & 0o777 == 0o600


def test_it_is_the_configuration_that_was_good(path: Path) -> None:
    assert last_good.find([path]) == loader.load(path)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("alerting = True", "alertin = True"),
        ("[email]", "[email"),
        ("[email]", "[mail]"),
        ("[email]", ""),
        ("[notifications]", "[notifications\ngarbage"),
        ("host = mail.example.org", "host mail.example.org"),
        ("[paths]", "[paths]\nnonsense"),
        ("logs = ", "log = "),
        ("user = farmer", "user = farmer\nuser = farmer"),
    ],
)
def test_with_a_mistake_in_the_file_it_is_found_with_its_secrets(path: Path, old: str, new: str) -> None:
    good = loader.load(path)
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(ConfigurationError):
        loader.load(path)
    found = last_good.find([path])
    assert found == good
    assert found.email.password.reveal() == PASSWORD
    assert [one.is_literal for one in found.notifications.services] == [True, False]


def test_a_file_that_is_no_text_any_more_still_has_its_secrets(path: Path) -> None:
    good = loader.load(path)
    path.write_bytes(b"\xff\xfe broken\n" + path.read_bytes())
    assert last_good.find([path]) == good


def test_a_secret_that_was_changed_with_the_mistake_is_the_changed_one(path: Path) -> None:
    path.write_text(path.read_text().replace(PASSWORD, "new-password").replace("[email]", "[email"))
    found = last_good.find([path])
    assert found is not None
    assert found.email.password.reveal() == "new-password"


def test_one_that_is_gone_is_empty_and_the_rest_is_there(path: Path) -> None:
    path.write_text(path.read_text().replace(f"password = {PASSWORD}", "pasword = x"))
    found = last_good.find([path])
    assert found is not None
    assert not found.email.password
    assert found.email.host == "mail.example.org"


def test_where_nothing_was_ever_good_there_is_nothing(tmp_path: Path) -> None:
    path = tmp_path / "plot_manager_config"
    path.write_text(f"[paths]\nstate = {tmp_path}\n[nas]\nhots = x\n")
    assert last_good.find([path]) is None
    assert last_good.find([tmp_path / "nowhere"]) is None


def test_it_is_written_only_when_the_file_changed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    [copy] = (path.parent / "state").glob("last_good-*")
    before = copy.stat()
    last_good.keep(loader.load(path))
    assert copy.stat().st_ino == before.st_ino
    path.write_text(path.read_text().replace("mail.example.org", "other.example.org"))
    os.utime(path, ns=(before.st_mtime_ns + 1, before.st_mtime_ns + 1))
    last_good.keep(loader.load(path))
    assert "other.example.org" in kept(path)


def test_a_state_directory_that_cannot_be_written_is_nobodys_trouble(path: Path) -> None:
    good = loader.load(path)
    state = path.parent / "state"
    for copy in state.iterdir():
        copy.unlink()
    state.rmdir()
    state.write_text("a file in its place")
    last_good.keep(good)


def test_of_no_file_that_can_be_used_a_secret_is_copied_however_odd_it_is(tmp_path: Path) -> None:
    path = tmp_path / "plot_manager_config"
    paths = "".join(f"{name} = {tmp_path / name}\n" for name in ("state", "logs", "locks"))
    kept_files = 0
    for seed in range(500):
        file = Broken(seed)
        path.write_text(f"[paths]\n{paths}{file.text}\n")
        try:
            config = loader.load(path)
        except ConfigurationError:
            continue
        if "sender" in file.line:  # whose value is none
            continue
        os.utime(path, ns=(seed, seed))
        last_good.keep(config)
        kept_files += 1
        assert file.core not in kept(path).lower(), seed
    assert kept_files > 30
