"""Every fault is tried with both pipes."""

from __future__ import annotations

import pytest

from testbed import farm

_WITHOUT_A_PIPE = ("test_local_moves", "test_local_kills", "test_auditor")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Let each test have both pipes, unless its file has none or it is about netcat itself."""
    module = metafunc.module.__name__.rpartition(".")[2]
    if module not in _WITHOUT_A_PIPE and "pipe" not in metafunc.fixturenames:
        metafunc.fixturenames.append("pipe")
    if "pipe" in metafunc.fixturenames:
        only = metafunc.definition.get_closest_marker("pipe")
        metafunc.parametrize("pipe", only.args if only else ("netcat", "direct"), indirect=True)


@pytest.fixture
def pipe(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Configure all farms of the test with one of the pipes; returns which."""
    monkeypatch.setitem(farm.SETTINGS, "transfer.pipe", request.param)
    return str(request.param)
