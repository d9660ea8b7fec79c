"""The bounds of a message's fields, one by one: the last value that is read and the first that is refused."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import pytest

from plotfarm.transfer.bounds import Bound, Flag, Hashes, OneOf, OrNull, Pattern, Seconds, Text, Whole


class Colour(StrEnum):
    RED = "red"
    DARK_BLUE = "dark blue"


HASH = "0123456789abcdef" * 4

READ: list[tuple[Bound, Any, Any]] = [
    (Whole(), 0, 0),
    (Whole(), 2**63 - 1, 2**63 - 1),
    (Whole(-5, 5), -5, -5),
    (Whole(1, 5), 5, 5),
    (Seconds(10), 0, 0.0),
    (Seconds(10), 10, 10.0),
    (Seconds(10), 0.25, 0.25),
    (Text(3), "abc", "abc"),
    (Text(3), "", ""),
    (Text(3), "a\nb", "a\\nb"),
    (Text(3), "\x1b\udcff\\", "\\x1b\\xff\\\\"),
    (Pattern("[a-f]+", 3), "abc", "abc"),
    (Flag(), False, False),
    (Hashes(1), [], ()),
    (Hashes(1), [HASH], (HASH,)),
    (OneOf(Colour), "dark blue", Colour.DARK_BLUE),
    (OrNull(Whole(1, 5)), None, None),
    (OrNull(Whole(1, 5)), 5, 5),
]

NO_HASHES: list[Any] = [[HASH, HASH], [HASH[1:]], [HASH.upper()], [HASH + "\n"], [1], HASH, None, {}]
REFUSED: list[tuple[Bound, Any]] = [
    *((Whole(1, 5), value) for value in (0, 6, -1, 1.0, True, "1", None, [1], 10**4000)),
    *((Seconds(10), value) for value in (-1, -0.1, 10.1, True, "1", None, float("nan"), float("inf"), 10**4000)),
    *((Text(3), value) for value in ("abcd", 1, None, b"a", ["a"])),
    *((Pattern("[a-f]+", 3), value) for value in ("", "abcd", "xyz", "ab\n", 1, None)),
    *((Flag(), value) for value in (0, 1, "true", None)),
    *((Hashes(1), value) for value in NO_HASHES),
    *((OneOf(Colour), value) for value in ("RED", "", 1, None, ["red"])),
    *((OrNull(Whole(1, 5)), value) for value in (0, 6, "", False)),
]


@pytest.mark.parametrize(("bound", "value", "expected"), READ)
def test_within_its_bounds(bound: Bound, value: Any, expected: Any) -> None:
    read = bound.read(value)
    assert read == expected
    assert type(read) is type(expected)


@pytest.mark.parametrize(("bound", "value"), REFUSED)
def test_out_of_its_bounds(bound: Bound, value: Any) -> None:
    with pytest.raises(ValueError):
        bound.read(value)


@pytest.mark.parametrize("bound", {type(each[0]): each[0] for each in READ}.values(), ids=lambda b: type(b).__name__)
def test_each_describes_itself_on_one_line_of_a_table(bound: Bound) -> None:
    assert bound.describe()
    assert "|" not in bound.describe()
    assert bound.describe().isprintable()
