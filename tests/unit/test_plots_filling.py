import random

import pytest

from plotfarm.plots.filling import hours_until_full

GB = 10**9
START = 1_800_000_000.0


def readings(free, minutes: float = 5.0, start: float = START) -> list[tuple[float, int]]:
    return [(start + 60 * minutes * index, int(value)) for index, value in enumerate(free)]


def test_a_steady_fall_gives_the_hours() -> None:
    # 12 GB in an hour, 48 GB left
    assert hours_until_full(readings(100 * GB - GB * i for i in range(53))) == pytest.approx(4.0)


@pytest.mark.parametrize("free", [[], [9 * GB], [9 * GB, 8 * GB], [5 * GB] * 40, range(GB, 50 * GB, GB)])
def test_too_little_known_or_not_filling(free) -> None:
    assert hours_until_full(readings(free)) is None


def test_ten_minutes_are_needed() -> None:
    assert hours_until_full(readings([9 * GB, 8 * GB, 7 * GB, 6 * GB], minutes=3)) is None
    assert hours_until_full(readings([9 * GB, 8 * GB, 7 * GB], minutes=5)) is not None


def test_plots_that_leave_in_steps_are_weighed_against_plots_that_come() -> None:
    emptied = [500 * GB - 2 * GB * (i % 12) for i in range(72)]
    hours = hours_until_full(readings(emptied))
    assert hours is None or hours > 100
    slower = [900 * GB - 10 * GB * i + 60 * GB * (i // 12) for i in range(72)]
    assert hours_until_full(readings(slower)) == pytest.approx(slower[-1] / (5 * GB * 12), rel=0.15)


def test_odd_readings_do_not_count() -> None:
    chance = random.Random(7)
    free = [100 * GB - GB * i for i in range(53)]
    for _ in range(6):
        free[chance.randrange(1, 52)] = chance.choice([0, 5000 * GB])
    assert hours_until_full(readings(free)) == pytest.approx(4.0, rel=0.1)


@pytest.mark.parametrize("jump", [-86400.0, 10 * 365 * 86400.0])
def test_what_was_read_before_a_jump_of_the_clock_is_left_out(jump: float) -> None:
    before = readings([3 * GB] * 30)
    after = readings((100 * GB - GB * i for i in range(53)), start=START + 9000 + jump)
    assert hours_until_full(before + after) == pytest.approx(4.0)
    assert hours_until_full(before + after[:2]) is None


def test_only_the_last_hours_count() -> None:
    long_ago = readings((1000 * GB - 50 * GB * i / 12 for i in range(120)), start=START)
    lately = readings((500 * GB for _ in range(90)), start=START + 120 * 300)
    assert hours_until_full(long_ago + lately) is None


def test_nothing_left_is_now_and_many_readings_are_quick() -> None:
    assert hours_until_full(readings([2 * GB, GB, 0])) == 0.0
    assert hours_until_full(readings((10**15 - GB * i for i in range(50_000)), minutes=0.1)) is not None
