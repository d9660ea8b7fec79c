"""What a run of benchmarks/fleet.py is about, and what it found: values and the rows of the table."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.fleet_watch import Peak


@dataclass(frozen=True)
class Case:
    """What a fleet is made of, and what is wrong with it."""

    nas: int
    drives: int
    plotters: int
    plots: int  # of each plotter
    refusing: int = 0
    hanging: int = 0


@dataclass(frozen=True)
class Found:
    """What one run of all plotters took."""

    case: Case
    is_first: bool  # run of these plotters
    first_byte_seconds: float
    gap_seconds: float
    end_seconds: float
    plotter_cpu_seconds: float  # a plot
    nas_cpu_seconds: float  # a plot
    plotters: Peak
    nas: Peak
    by_nas: list[int]

    def row(self) -> str:
        """Return the row of the table."""
        case = self.case
        reached = len(self.by_nas) - case.refusing - case.hanging
        silent = f"{case.refusing} refuse, {case.hanging} hang" if case.refusing or case.hanging else ""
        return (
            f"| {case.nas} | {case.drives} | {case.plotters} | {silent} | {'first' if self.is_first else 'next'} "
            f"| {self.first_byte_seconds:.2f} | {self.gap_seconds:.2f} | {self.end_seconds:.2f} "
            f"| {self.plotter_cpu_seconds:.2f} | {self.nas_cpu_seconds:.2f} "
            f"| {self.plotters.processes}, {self.plotters.memory_bytes / 1e6:.0f} MB "
            f"| {self.nas.processes}, {self.nas.memory_bytes / 1e6:.0f} MB "
            f"| {max(self.by_nas)}, {sum(self.by_nas) / reached:.1f} |"
        )


HEAD = (
    "| NAS | drives | plotters | silent | run | first byte s | gap s | end s | plotter CPU s | NAS CPU s "
    "| at the plotters | at the NAS | fullest, mean |\n|---|---|---|---|---|---|---|---|---|---|---|---|---|"
)
