"""How long one waits for the other end: the limits of the steps, and of the one who takes a plot's bytes."""

from __future__ import annotations

import pytest

from plotfarm.transfer import limits
from plotfarm.transfer.limits import LOWEST_TAKEN_BYTES_PER_SECOND, Taking

STALL_SECONDS = 10.0


class Clock:
    """The time, which a test lets pass."""

    now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(limits, "time", made)
    return made


def _complaints(clock: Clock, bytes_a_second: int, seconds: int) -> list[str]:
    """Let somebody take bytes once a second, and return why it should be left."""
    taking = Taking(STALL_SECONDS)
    complaints = []
    for _ in range(seconds):
        taking.begin()
        clock.now += 1
        taking.took(bytes_a_second)
        complaints.append(taking.complaint())
    return [each for each in complaints if each]


def test_one_who_takes_few_bytes_is_left(clock: Clock) -> None:
    assert _complaints(clock, 1000, 1000)
    assert _complaints(clock, LOWEST_TAKEN_BYTES_PER_SECOND - 1, 1000)


def test_one_who_takes_enough_is_not_left(clock: Clock) -> None:
    assert _complaints(clock, LOWEST_TAKEN_BYTES_PER_SECOND, 100_000) == []


def test_one_who_takes_nothing_is_left_after_a_stall(clock: Clock) -> None:
    taking = Taking(STALL_SECONDS)
    taking.begin()
    for _ in range(int(STALL_SECONDS)):
        clock.now += 1
        taking.took(0)
        assert taking.complaint() == ""
    clock.now += 1
    taking.took(0)
    assert "no byte" in taking.complaint()


def test_only_the_time_of_waiting_counts(clock: Clock) -> None:
    """A plotter that sends slowly itself, as its configuration or its disk wants it, blames nobody."""
    taking = Taking(STALL_SECONDS)
    for _ in range(1000):
        clock.now += 60  # reading the source, or resting
        taking.begin()
        clock.now += 0.001
        taking.took(1000)
        assert taking.complaint() == ""
