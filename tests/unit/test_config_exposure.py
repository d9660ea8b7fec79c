import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from plotfarm.base.config.exposure import exposed
from plotfarm.base.config.loader import load


@pytest.mark.parametrize(
    ("line", "mode", "is_exposed"),
    [
        ("[email]\npassword = hunter2", 0o644, True),
        ("[email]\npassword = hunter2", 0o600, False),
        ("[email]\npassword = hunter2", 0o640, False),
        ("[email]\npassword = env:MAIL_PASSWORD", 0o644, False),
        ("[email]\npassword = file:/etc/mail_password", 0o644, False),
        ("[notifications]\nservices = tgram://123/abc", 0o644, True),
        ("[pushbullet]\naccess_tokens = env:ONE, o.abcdef", 0o644, True),
        ("[system_settings]\ndebug = True", 0o644, False),
    ],
)
def test_a_secret_that_all_users_can_read_is_noticed(tmp_path, line, mode, is_exposed):
    file = tmp_path / "config"
    file.write_text(line + "\n")
    file.chmod(mode)
    assert exposed(load(file)) == [file] * is_exposed


def test_a_configuration_that_is_gone_exposes_nothing(tmp_path):
    file = tmp_path / "config"
    file.write_text("[email]\npassword = hunter2\n")
    config = load(file)
    file.unlink()
    assert exposed(config) == []


@pytest.fixture
def reachable() -> Iterator[Path]:
    """A directory that every user can go into."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.mark.parametrize(
    ("directory_mode", "mode", "is_exposed"),
    [(0o755, 0o644, True), (0o755, 0o640, False), (0o700, 0o644, False), (0o711, 0o644, True)],
)
def test_a_file_with_a_secret_that_all_users_can_read_is_noticed(reachable, directory_mode, mode, is_exposed):
    home = reachable / "home"
    home.mkdir()
    secret = home / "mail_password"
    secret.write_text("hunter2")
    secret.chmod(mode)
    file = reachable / "config"
    file.write_text(f"[email]\npassword = file:{secret}\n")
    file.chmod(0o644)
    home.chmod(directory_mode)
    assert exposed(load(file)) == [secret] * is_exposed
