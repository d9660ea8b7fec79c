"""Sizes and durations, as people write and read them."""

from __future__ import annotations

import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plotfarm.base.ssh import quote
from plotfarm.base.units import format_ago, format_bytes, format_duration, format_speed, parse_bytes


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", 0), ("108995911228", 108995911228), ("1.5 GiB", 3 * 2**29), ("200MB", 200_000_000), (" 2 tib ", 2**41),
        ("1k", 1000), ("7 B", 7), ("1.5", 1), ("9007199254740993", 9007199254740993), ("3PB", 3 * 10**15),
    ],
)  # fmt: skip
def test_sizes_that_are_read(text: str, expected: int) -> None:
    assert parse_bytes(text) == expected


@pytest.mark.parametrize("text", ["", "-1", "1,5 GB", "GB", "1 GB 2", "1e9", "0x10", "1 XB", "nan", "1..5", "\u0661"])
def test_sizes_that_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a size"):
        parse_bytes(text)


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (108995911228, "101.5 GiB"),
        (2**50, "1.0 PiB"),
        (-2048, "-2.0 KiB"),
    ],
)
def test_sizes_that_are_written(count: int, expected: str) -> None:
    assert format_bytes(count) == expected


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0, "0.0 s"), (9.94, "9.9 s"), (45, "45 s"), (59.7, "1 min"), (12000, "3 h 20 min"), (86400, "1 d"),
        (90000, "1 d 1 h"), (3601, "1 h"),
    ],
)  # fmt: skip
def test_durations(seconds: float, expected: str) -> None:
    assert format_duration(seconds) == expected


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(45, "45 s ago"), (-2, "0.0 s ago"), (-7200, "2 h ahead of this clock"), (12000, "3 h 20 min ago")],
)
def test_what_was_noted_before_the_clock_was_set_back_lies_ahead(seconds: float, expected: str) -> None:
    assert format_ago(seconds) == expected


@given(st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])), min_size=1))
def test_quoting_for_ssh(words: list[str]) -> None:
    """What the remote shell makes of it are the same words again: nothing is expanded, nothing begins a command."""
    assert shlex.split(quote(words)) == words


def test_speeds() -> None:
    assert format_speed(2**30, 4) == "256.0 MiB/s"
    assert format_speed(2**20) == "1.0 MiB/s"
    assert format_speed(0, 0) == "0 B/s"
