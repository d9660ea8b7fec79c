import pytest

from plotfarm.base.config.exposure import is_exposed
from plotfarm.base.config.loader import load


@pytest.mark.parametrize(
    ("line", "mode", "exposed"),
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
def test_a_secret_that_all_users_can_read_is_noticed(tmp_path, line, mode, exposed):
    file = tmp_path / "config"
    file.write_text(line + "\n")
    file.chmod(mode)
    assert is_exposed(load(file)) is exposed


def test_a_configuration_that_is_gone_exposes_nothing(tmp_path):
    file = tmp_path / "config"
    file.write_text("[email]\npassword = hunter2\n")
    config = load(file)
    file.unlink()
    assert not is_exposed(config)
