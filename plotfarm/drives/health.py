"""What a disk says about itself: one reading of its SMART data."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Assessment(StrEnum):
    """What a disk says of its own health, by the code that is stored and reported."""

    PASSED = "PASS"
    FAILED = "FAIL"
    NOT_SAID = ""  # UNKNOWN, or nothing: neither good nor bad

    @classmethod
    def of_stored(cls, code: str) -> Assessment:
        """Return what a code means; one that is not known here says nothing."""
        try:
            return cls(code)
        except ValueError:
            return cls.NOT_SAID


@dataclass(frozen=True)
class Health:
    """The SMART data of one disk. What it did not say is None or "", never 0."""

    disk: str  # the whole disk: /dev/sda
    time: float  # Unix time of the reading
    problem: str = ""  # why there is no SMART data; "": there is
    asleep: bool = False  # it was in standby and was left so: nothing new is known
    last_read: float | None = None  # Unix time of the last reading that brought SMART data; None: none ever did
    serial: str = ""
    model: str = ""
    assessment: Assessment = Assessment.NOT_SAID
    celsius: int | None = None
    highest_celsius: int | None = None  # that was ever seen here
    says_hot: bool = False  # by its own limit it is too hot now
    reallocated: int | None = None  # sectors
    pending: int | None = None  # sectors
    uncorrectable: int | None = None  # sectors
    crc_errors: int | None = None
    reported_uncorrectable: int | None = None  # errors that the host was told of
    command_timeouts: int | None = None
    worn: str = ""  # what has reached the end of its life by the maker's limit: names, separated by ", "
    power_on_hours: int | None = None
    start_stop_count: int | None = None
    failing_since: float | None = None  # Unix time of the first reading that said FAILED; None: the last one did not
    last_failed: float | None = None  # Unix time of the last reading that said FAILED itself

    @property
    def failing_seconds(self) -> float | None:
        """For how long readings have said FAILED: 0 after the first one; None: they do not."""
        if self.failing_since is None or self.last_failed is None:
            return None
        return self.last_failed - self.failing_since
