"""What every test may ask for: plots that are made once, a farm of its own, and the longer modes with --long."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from testbed.farm import Farm
from testbed.plots import PlotShop


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="also run the longer modes, marked `long`")


def pytest_configure(config: pytest.Config) -> None:
    # A red check has to be about the change: property tests try the same examples each time, and others with --long.
    # None has a limit in time: the machine may be busy.
    settings.register_profile("steady", deadline=None, derandomize=True)
    settings.register_profile("searching", deadline=None)
    settings.load_profile("searching" if config.getoption("--long") else "steady")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    without_long = pytest.mark.skip(reason="a longer mode: run it with --long")
    without_root = pytest.mark.skip(reason="needs root: mounts and network namespaces")
    for item in items:
        if "long" in item.keywords and not config.getoption("--long"):
            item.add_marker(without_long)
        if "root" in item.keywords and os.geteuid() != 0:
            item.add_marker(without_root)


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> PlotShop:
    """Real plots, each made once a session."""
    return PlotShop(tmp_path_factory.mktemp("plots"))


@pytest.fixture
def farm(tmp_path: Path) -> Iterator[Farm]:
    """A plotter and a NAS with three drives, its sshd running."""
    with Farm(tmp_path / "farm") as farm:
        yield farm
