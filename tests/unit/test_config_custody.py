"""A configuration that others can change is not used: it names commands that the suite runs."""

from __future__ import annotations

import grp
import os
import pwd
import subprocess
import sys

import pytest

from plotfarm.base.config import custody, loader
from plotfarm.base.errors import ConfigurationError, PlotfarmError
from plotfarm.base.secret import Secret

NOBODY = pwd.getpwnam("nobody").pw_uid


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "there" / "config"
    path.parent.mkdir()
    path.write_text("[smart]\nsmartctl = /usr/sbin/smartctl\n")
    return path


def refusal(path):
    with pytest.raises(ConfigurationError) as caught:
        loader.load(path)
    (line,) = caught.value.mistakes
    return line


def typed(line):
    """Do what a mistake says is to be typed."""
    subprocess.run(line.partition("Type: ")[2].split(" "), check=True)


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o644, 0o755])
def test_what_only_its_owner_can_write_is_used(config, mode):
    config.chmod(mode)
    assert loader.load(config).smart.smartctl


@pytest.mark.parametrize("mode", [0o602, 0o646, 0o666, 0o777])
def test_a_file_that_all_can_write_is_refused_until_the_remedy_is_typed(config, mode):
    config.chmod(mode)
    line = refusal(config)
    assert "can be written by every user of this host" in line
    assert line.endswith(f"Type: chmod o-w {config}")
    typed(line)
    assert loader.load(config).smart.smartctl


def test_so_is_one_in_a_directory_that_all_can_write_unless_that_is_sticky(config):
    config.parent.chmod(0o777)
    line = refusal(config)
    assert line.endswith(f"Type: chmod o-w {config.parent}")
    config.parent.chmod(0o1777)
    assert loader.load(config).smart.smartctl
    config.parent.chmod(0o777)
    typed(line)
    assert loader.load(config).smart.smartctl


def test_a_link_is_no_way_around_it(config, tmp_path):
    for name in ("open", "fine"):
        (tmp_path / name).mkdir()
    (tmp_path / "open" / "link").symlink_to(config)
    (tmp_path / "open").chmod(0o777)
    assert str(tmp_path / "open") in refusal(tmp_path / "open" / "link")
    (tmp_path / "fine" / "link").symlink_to(config)
    config.chmod(0o666)
    assert str(config) in refusal(tmp_path / "fine" / "link")


def test_a_group_may_write_in_which_nobody_else_is(config, monkeypatch):
    config.chmod(0o660)
    assert loader.load(config).smart.smartctl, "a group of one's own, as Debian gives to each user"
    real = grp.getgrgid(os.getegid())
    fake = grp.struct_group((real.gr_name, real.gr_passwd, real.gr_gid, ["nobody"]))
    monkeypatch.setattr(grp, "getgrgid", lambda number: fake)
    line = refusal(config)
    assert "can be written by nobody too" in line
    typed(line)
    assert loader.load(config).smart.smartctl


@pytest.mark.root
def test_what_belongs_to_another_user_is_refused_unless_the_scripts_are_his(config, monkeypatch):
    os.chown(config, NOBODY, -1)
    line = refusal(config)
    assert f"belongs to user {NOBODY}" in line
    monkeypatch.setattr(custody, "_trusted", lambda: {0, NOBODY})
    assert loader.load(config).smart.smartctl
    monkeypatch.undo()
    typed(line)
    assert loader.load(config).smart.smartctl


@pytest.mark.root
def test_a_group_counts_whose_members_have_it_as_their_own_group(config):
    os.chown(config, -1, pwd.getpwnam("nobody").pw_gid)
    config.chmod(0o664)
    assert "nobody" in refusal(config)


def test_all_that_is_wrong_is_said_together(config):
    config.write_text("[nas]\nstreams = 0\n")
    config.chmod(0o666)
    config.parent.chmod(0o777)
    with pytest.raises(ConfigurationError) as caught:
        loader.load(config)
    assert len(caught.value.mistakes) == 3


def test_a_file_that_is_gone_has_no_mistakes(tmp_path):
    assert custody.mistakes(tmp_path / "missing") == []


def test_a_secret_in_a_file_that_others_can_write_is_not_used_until_the_remedy_is_typed(tmp_path):
    path = tmp_path / "password"
    path.write_text("sesame-open\n")
    path.chmod(0o662)
    with pytest.raises(PlotfarmError, match="can be written by every user") as caught:
        Secret(f"file:{path}").reveal()
    assert "sesame" not in str(caught.value)
    typed(str(caught.value))
    assert Secret(f"file:{path}").reveal() == "sesame-open"


@pytest.mark.root
def test_what_the_host_mounted_into_a_container_is_no_strangers(tmp_path):
    """A user namespace that has one user: everything else of the host seems to be nobody's."""
    path = tmp_path / "config"
    path.touch()
    os.chown(path, 12345, 12345)
    code = f"from plotfarm.base.config import custody, loader; loader.load(loader.Path({str(path)!r}))"
    inside = ["unshare", "--user", "--map-root-user", sys.executable, "-c", code]
    done = subprocess.run(inside, cwd=loader.CHECKOUT, capture_output=True, text=True, check=False)
    if "unshare" in done.stderr:
        pytest.skip(f"no user namespaces here: {done.stderr.strip()}")
    assert (done.returncode, done.stderr) == (0, "")
    assert "belongs to user 12345" in refusal(path)
