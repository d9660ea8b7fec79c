"""Farms and plots for the tests that run the scripts as cron starts them."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from testbed.farm import Farm
from testbed.mail_server import MailServer
from testbed.plots import PlotShop, copy_as


@pytest.fixture
def server() -> Iterator[MailServer]:
    """A mail server that keeps what it gets."""
    with MailServer() as running:
        yield running


@pytest.fixture
def new_farm() -> Iterator[Callable[..., Farm]]:
    """Make farms, with the arguments of Farm; each ends with the test."""
    with contextlib.ExitStack() as stack:

        def make(**settings: object) -> Farm:
            root = stack.enter_context(tempfile.TemporaryDirectory(prefix="end-to-end-", ignore_cleanup_errors=True))
            return stack.enter_context(Farm(Path(root) / "farm", **settings))  # type: ignore[arg-type]

        yield make


@pytest.fixture
def put_v1(shop: PlotShop, tmp_path: Path) -> Callable[[Path, str], Path]:
    """Put a whole v1 plot of a given seed into a directory, without plotting it anew."""
    whole = shop.v1(tmp_path)

    def put(directory: Path, seed: str) -> Path:
        return copy_as(whole, directory, seed)

    return put


@pytest.fixture(scope="module")
def shared_farm() -> Iterator[Farm]:
    """One farm for all tests of a file that leave nothing behind in it."""
    with (
        tempfile.TemporaryDirectory(prefix="end-to-end-", ignore_cleanup_errors=True) as root,
        Farm(Path(root) / "farm") as farm,
    ):
        yield farm
