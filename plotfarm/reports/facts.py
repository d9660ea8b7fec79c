"""What the reports and messages are made of: values that were read once, and what follows from them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from plotfarm.base.condition import Condition
from plotfarm.base.units import DAY_SECONDS
from plotfarm.drives.choose import room_in_all
from plotfarm.drives.health import Health
from plotfarm.drives.model import Drive, Verdict
from plotfarm.drives.reasons import Why
from plotfarm.drives.speed import Speed
from plotfarm.plots.formats import plots_in, testing_in
from plotfarm.reports.last_runs import LastRun

SHORTEST_PACE_SECONDS = 3600.0  # a shorter time says nothing about how many plots come in a day


@dataclass(frozen=True)
class Unknown:
    """A value that is not known, and why (with the remedy, where there is one)."""

    why: str


@dataclass(frozen=True)
class ChiaSaid:
    """Where from and when the number of plots that Chia farms is, and whether that is too long ago."""

    source: str  # log, harvester RPC
    time: float  # Unix time at which it was seen to farm last
    is_silent: bool  # since then, for so long that it does not farm


@dataclass(frozen=True)
class DriveFacts:
    """One plot drive, mounted or not."""

    verdict: Verdict  # the drive, its room, and why it is chosen or skipped
    health: Health | None = None  # None: nothing was ever read
    counts: Mapping[tuple[str, int], int] | None = None  # (kind, k) -> files; None: it did not answer
    plot_bytes: int = 0  # of all plot files on it, without testing plots
    uncounted: Why | None = None  # why there are no counts although it answered
    speed: Speed | None = None  # how fast plots arrive there; None: not known
    counted: float = 0.0  # Unix time of the counts, if they are of an earlier look: the drive was not asked

    @property
    def drive(self) -> Drive:
        """The drive itself."""
        return self.verdict.drive

    @property
    def plots(self) -> int | None:
        """How many plot files lie on it, without testing plots; None: it did not answer."""
        return None if self.counts is None else plots_in(self.counts)

    @property
    def testing_plots(self) -> int:
        """How many testing plots were found on it."""
        return testing_in(self.counts or {})

    @property
    def is_mounted(self) -> bool:
        """Whether it is mounted; it may still not answer."""
        return self.drive.device_number != 0 or self.is_here

    @property
    def is_here(self) -> bool:
        """Whether it answered."""
        return bool(self.verdict.total_bytes) or self.counts is not None

    @property
    def used_bytes(self) -> int:
        """How much of it is used: no more than it has, whatever its file system says; 0 if it did not answer."""
        total = self.verdict.total_bytes
        return min(total, max(0, total - self.verdict.free_bytes))

    @property
    def used_percent(self) -> int | None:
        """How much of it is used, from 0 to 100; None: it did not answer."""
        total = self.verdict.total_bytes
        return self.used_bytes * 100 // total if total > 0 else None


@dataclass(frozen=True)
class ReceivedPlot:
    """One plot that has arrived."""

    time: float  # Unix time
    plot: str  # file name
    path: str  # where it lies now
    bytes: int
    plotter: str  # who sent it; "": not known
    is_testing: bool = False


@dataclass(frozen=True)
class FarmFacts:
    """All that is known of this server's plots and drives at one moment."""

    server: str
    now: float  # Unix time
    drives: tuple[DriveFacts, ...]  # in natural order; also those that should be here and are not
    current: DriveFacts | None  # the plot drive
    plot_bytes: int  # size of the plots that arrive, which room is counted for
    plot_label: str  # what these plots are: k32, k28 .gplot, ...
    chia_plots: int | Unknown  # that Chia farms, or did when it was heard of last
    chia_bytes: int | Unknown
    made_plots: int  # arrived in the last 24 hours
    made_bytes: int
    made_since: float | None  # Unix time of the first arrival that is recorded; None: none ever was
    standing: tuple[Condition, ...] = field(default=())  # what the owner should know of
    chia_said: ChiaSaid | None = None  # None: it said nothing
    last_runs: tuple[LastRun, ...] = ()  # of each script

    @property
    def mounted(self) -> tuple[DriveFacts, ...]:
        """The drives that are here."""
        return tuple(drive for drive in self.drives if drive.is_here)

    @property
    def counts(self) -> Mapping[tuple[str, int], int]:
        """(kind, k) -> files on all drives that answered, testing plots too."""
        total: Counter[tuple[str, int]] = Counter()
        for drive in self.drives:
            total.update(drive.counts or {})
        return total

    @property
    def plots(self) -> int:
        """How many plot files lie on the drives that answered, without testing plots."""
        return plots_in(self.counts)

    @property
    def testing_plots(self) -> int:
        """How many testing plots were found on them."""
        return testing_in(self.counts)

    @property
    def room_plots(self) -> int:
        """How many plots of the arriving size still fit on the drives that take plots."""
        return room_in_all([drive.verdict for drive in self.drives])

    @property
    def recorded_seconds(self) -> float:
        """For how long arrivals have been recorded; 0 if none was, or the clock was set back since."""
        return max(0.0, self.now - self.made_since) if self.made_since is not None else 0.0

    @property
    def plots_per_day(self) -> float | Unknown:
        """The pace of the last 24 hours, or of as many of them as are recorded."""
        return self._per_day(self.made_plots)

    @property
    def bytes_per_day(self) -> float | Unknown:
        """The same in bytes."""
        return self._per_day(self.made_bytes)

    @property
    def days_to_fill(self) -> float | Unknown:
        """In how many days the drives are full at the pace of the last 24 hours."""
        pace = self.plots_per_day
        if isinstance(pace, Unknown):
            return pace
        if not pace:
            return Unknown("no plots arrived in the last 24 hours")
        return self.room_plots / pace

    def _per_day(self, made: int) -> float | Unknown:
        if self.made_since is None:
            return Unknown("no plot that arrived is recorded yet")
        recorded = min(self.recorded_seconds, DAY_SECONDS)
        if recorded < SHORTEST_PACE_SECONDS:
            return Unknown("arrivals are recorded for less than an hour: too short to tell a pace")
        return made * DAY_SECONDS / recorded
