"""Which limits of a NAS are too low for what it has."""

from __future__ import annotations

from dataclasses import replace

import pytest

from plotfarm.reports.host_limits import HostLimits, shortfalls

ENOUGH = HostLimits(ports=100, drives=100, arrivals=0, plotters=8, sessions=16, inotify_instances=128, startups=10)


def test_nothing_is_said_of_what_is_enough_or_cannot_be_read() -> None:
    assert shortfalls(ENOUGH) == []
    assert shortfalls(replace(ENOUGH, plotters=30, inotify_instances=None, startups=None)) == []
    assert shortfalls(replace(ENOUGH, drives=500, arrivals=50)) == []


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"drives": 500}, "[transfer] ports"),
        ({"drives": 500, "arrivals": 101}, "[transfer] ports"),
        ({"plotters": 9, "startups": None}, "fs.inotify.max_user_instances is 128"),
        ({"plotters": 11, "inotify_instances": None}, "MaxStartups begins with 10"),
    ],
)
def test_what_is_too_low_is_named(change: dict[str, int], named: str) -> None:
    (found,) = shortfalls(replace(ENOUGH, **change))  # type: ignore[arg-type]
    assert named in found
