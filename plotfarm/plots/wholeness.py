"""Is a plot whole? The decision, from values: nothing here touches a disk or a clock."""

from __future__ import annotations

from dataclasses import dataclass

from plotfarm.base.units import format_bytes, format_duration
from plotfarm.plots.header import Header

_CLOCK_TOLERANCE_SECONDS = 2.0  # file systems and clocks round


@dataclass(frozen=True)
class Wholeness:
    """`whole`, `unfinished` (it may become whole) or `damaged` (it never will); and why, for a person."""

    state: str
    why: str
    is_abandoned: bool = False  # unfinished, and nobody works on it any more

    @property
    def is_whole(self) -> bool:
        """Whether the plot may travel."""
        return self.state == "whole"

    @property
    def needs_somebody(self) -> bool:
        """Whether the plot will not become whole by waiting."""
        return self.state == "damaged" or self.is_abandoned


@dataclass(frozen=True)
class Extent:
    """What header and content say about the size, in bytes: one of `exact`, or not less than `least`."""

    exact: tuple[int, ...] = ()
    least: int | None = None
    missing: str = ""
    problem: str = ""


@dataclass(frozen=True)
class Activity:
    """What is known about someone still working on the file.

    `open_for_writing` is None if nobody is seen but somebody could be hidden. `unchanged_seconds` is the
    age of the last change by the file's own time, negative if that lies in the future; then
    `observed_seconds` counts: for how long the file has been seen with the same size and time, on a clock
    that never jumps (CLOCK_BOOTTIME), None if it was not seen before.
    """

    open_for_writing: bool | None
    unchanged_seconds: float
    settle_seconds: float
    observed_seconds: float | None = None

    @property
    def is_settled(self) -> bool:
        """Whether nothing has changed for the settle time."""
        return self.quiet_seconds is not None and self.quiet_seconds >= self.settle_seconds

    @property
    def quiet_seconds(self) -> float | None:
        """For how long nothing has changed, or None if that cannot be said."""
        if self.unchanged_seconds < -_CLOCK_TOLERANCE_SECONDS:
            return self.observed_seconds
        return max(0.0, self.unchanged_seconds)


def held_back(header: Header, size: int, activity: Activity, minimum_bytes: int = 0) -> Wholeness | None:
    """Return why a plot cannot be whole, as far as that shows without reading its content, or None."""
    if size == 0:
        return _unfinished("the file is empty", activity)
    if size < minimum_bytes:
        return Wholeness(
            "unfinished", f"{format_bytes(size)}, but plots of less than {format_bytes(minimum_bytes)} stay"
        )
    if activity.open_for_writing:
        return Wholeness("unfinished", "a process still has it open for writing")
    if header.problem:
        return Wholeness("damaged", header.problem)
    # Testing mode (the only one with a minimum) also takes what `dd if=/dev/zero` makes.
    if header.missing and (header.is_recognised or not minimum_bytes):
        return _unfinished(header.missing, activity)
    return None


def judge(header: Header, size: int, extent: Extent, activity: Activity, minimum_bytes: int = 0) -> Wholeness:
    """Return whether a plot of `size` bytes is whole, and why.

    A file whose exact size is known needs no settle time, unless somebody could be writing to it unseen.
    Every other one must have its final suffix, be unchanged for the settle time and not open for writing.
    """
    if held := held_back(header, size, activity, minimum_bytes):
        return held
    if extent.problem:
        return Wholeness("damaged", extent.problem)
    if extent.missing:
        return _unfinished(extent.missing, activity)
    if extent.exact and size not in extent.exact:
        return _wrong_size(size, extent.exact, activity)
    if extent.least is not None and size < extent.least:
        return _unfinished(f"{size:,} of at least {extent.least:,} bytes are there", activity)
    if extent.exact and activity.open_for_writing is False:
        return Wholeness("whole", f"all {size:,} bytes are there")
    return _settled(activity)


def _wrong_size(size: int, exact: tuple[int, ...], activity: Activity) -> Wholeness:
    expected = max(exact)
    if size > expected:
        return Wholeness("damaged", f"longer than its header says: {size:,} bytes instead of {expected:,}")
    return _unfinished(f"{size:,} of {expected:,} bytes are there", activity)


def _settled(activity: Activity) -> Wholeness:
    quiet = activity.quiet_seconds
    if quiet is None:
        ahead = format_duration(-activity.unchanged_seconds)
        return Wholeness("unfinished", f"modified {ahead} in the future (did the clock jump?)")
    if not activity.is_settled:
        needed = format_duration(activity.settle_seconds)
        return Wholeness("unfinished", f"changed {format_duration(quiet)} ago; it must rest for {needed}")
    return Wholeness("whole", f"unchanged for {format_duration(quiet)} and no writer to be seen")


def _unfinished(why: str, activity: Activity) -> Wholeness:
    """Say also whether there is any hope: a file that rests and that nobody writes to will not grow."""
    abandoned = activity.is_settled and activity.open_for_writing is False
    if abandoned:
        why += ", and nobody is writing to it: damaged or interrupted"
    return Wholeness("unfinished", why, abandoned)
