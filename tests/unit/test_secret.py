"""Secrets come from the configuration, the environment or a file, and never show by accident."""

from __future__ import annotations

import pytest

from plotfarm.base.errors import PlotfarmError
from plotfarm.base.secret import Secret


def test_a_secret_shows_nowhere_but_where_it_is_asked_for():
    secret = Secret("hunter2")
    assert "hunter2" not in f"{secret} {secret!r} {[secret]}"
    assert secret.reveal() == "hunter2"
    assert secret.is_literal and secret


def test_the_environment_holds_it(monkeypatch):
    monkeypatch.setenv("MAIL_PASSWORD", "hunter2")
    secret = Secret("env:MAIL_PASSWORD")
    assert secret.reveal() == "hunter2"
    assert not secret.is_literal


def test_a_file_holds_it_without_its_last_newline(tmp_path):
    (tmp_path / "password").write_text("hunter2\n")
    assert Secret(f"file:{tmp_path}/password").reveal() == "hunter2"


@pytest.mark.parametrize("place", ["env:NOT_SET_ANYWHERE", "file:/nonexistent/password"])
def test_what_is_not_there_is_an_error_that_names_the_place(place):
    with pytest.raises(PlotfarmError, match=place.partition(":")[2]):
        Secret(place).reveal()


def test_a_file_that_is_no_text_does_not_show(tmp_path):
    (tmp_path / "password").write_bytes(b"\xff\xfehunter2")
    with pytest.raises(PlotfarmError) as caught:
        Secret(f"file:{tmp_path}/password").reveal()
    assert "hunter2" not in str(caught.value)


def test_nothing_is_no_secret():
    assert not Secret()
    assert Secret().reveal() == ""
    assert not Secret().is_literal
