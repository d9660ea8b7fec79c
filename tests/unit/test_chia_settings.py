"""Where Chia looks for plots, and which plot drives it does not know of."""

from __future__ import annotations

import pytest

from plotfarm.base.config.sections import Chia
from plotfarm.chia.farm_log import Unreadable
from plotfarm.chia.settings import PlotDirectories, log_path, not_listed, plot_directories


def configured(tmp_path, text):
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "config.yaml").write_bytes(text)
    return plot_directories(Chia(home=str(tmp_path)))


def test_the_directories_are_read_also_beside_anchors_and_unknown_tags(tmp_path):
    said = configured(
        tmp_path,
        b"logging: &id001\n  log_level: INFO\nother: !strange {a: 1}\nfarmer:\n  logging: *id001\n"
        b"harvester:\n  plot_directories:\n  - /mnt/drive1\n  - /mnt/drive2/plots\n  recursive_plot_scan: true\n",
    )
    assert said == PlotDirectories(("/mnt/drive1", "/mnt/drive2/plots"), True)


@pytest.mark.parametrize(
    "text", [b"", b"[]", b"harvester: 3", b"harvester: {plot_directories: x}", b"a: [", b"\xff\xfe\x00", b"[" * 5000]
)
def test_a_configuration_without_them_is_said(tmp_path, text):
    said = configured(tmp_path, text)
    assert isinstance(said, Unreadable)
    assert "config.yaml" in said.why
    assert said.remedy


def test_no_configuration_is_said(tmp_path):
    said = plot_directories(Chia(home=str(tmp_path)))
    assert isinstance(said, Unreadable)


def test_links_are_followed(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    said = configured(tmp_path, f"harvester: {{plot_directories: [{tmp_path}/link]}}".encode())
    assert isinstance(said, PlotDirectories)
    assert said.directories == (str(tmp_path / "real"),)


@pytest.mark.parametrize(
    ("place", "listed", "recursive", "known"),
    [
        ("/mnt/drive1", ["/mnt/drive1"], False, True),
        ("/mnt/drive1", ["/mnt/drive1/plots"], False, True),
        ("/mnt/drive1", ["/mnt/drive10"], False, False),
        ("/mnt/drive10", ["/mnt/drive1"], True, False),
        ("/mnt/drive1", ["/mnt"], False, False),
        ("/mnt/drive1", ["/mnt"], True, True),
        ("/mnt/drive1", ["/"], True, True),
        ("/mnt/drive1", [], True, False),
    ],
)
def test_a_drive_is_known_by_itself_or_a_directory_on_it(place, listed, recursive, known):
    assert not_listed([place], listed, recursive) == ([] if known else [place])


def test_the_log_lies_in_chias_directory_unless_it_is_named(monkeypatch):
    monkeypatch.setenv("HOME", "/home/chia")
    assert str(log_path(Chia())) == "/home/chia/.chia/mainnet/log/debug.log"
    assert str(log_path(Chia(log="~/debug.log"))) == "/home/chia/debug.log"
