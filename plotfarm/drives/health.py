"""What a disk says about itself: one reading of its SMART data."""

from __future__ import annotations

from dataclasses import dataclass


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
    assessment: str = ""  # PASS, WARN or FAIL
    celsius: int | None = None
    highest_celsius: int | None = None  # that was ever seen here
    reallocated: int | None = None  # sectors
    pending: int | None = None  # sectors
    uncorrectable: int | None = None  # sectors
    crc_errors: int | None = None
