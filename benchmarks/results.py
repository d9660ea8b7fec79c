"""What a run of benchmarks/transfer.py found: values, ratios against the reference, the table and the stored record."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass

REFERENCE = "pv-openbsd"
TITLES = {
    REFERENCE: "`pv` into `nc` (OpenBSD)",
    "pv-traditional": "`pv` into `nc` (traditional)",
    "socat": "`socat -b 1M`",
    "mbuffer": "`mbuffer`",
    "rsync-daemon": "`rsync` to a daemon",
    "rsync-ssh": "`rsync` over ssh",
    "scp": "`scp`",
    "plot-sink": "`chia_plot_copy` to `chia_plot_sink`",
    "netcat": "Chia Plot Manager, `nc` (OpenBSD)",
    "netcat-sample": "the same, `verify = sample`",
    "netcat-readback": "the same, `verify = readback`",
    "netcat-traditional": "Chia Plot Manager, `nc` (traditional)",
    "direct": "Chia Plot Manager, `pipe = direct`",
    "direct-sample": "the same, `verify = sample`, `pipe = direct`",
    "direct-readback": "the same, `verify = readback`, `pipe = direct`",
    "before-netcat": "the version before, `nc` (OpenBSD)",
    "before-direct": "the version before, `pipe = direct`",
}
# What is set beside what: the contender and what it is measured by.
AGAINST_BEFORE = {"netcat": "before-netcat", "direct": "before-direct"}
VERIFYING = {
    "netcat-sample": "netcat",
    "netcat-readback": "netcat",
    "direct-sample": "direct",
    "direct-readback": "direct",
}


_LEAST_SECONDS = 1e-3


class UnreadableRecord(Exception):
    """A stored run that this benchmark has not written, or not in this form."""


@dataclass(frozen=True)
class Run:
    """One transfer of all files: seconds from first offer to last stored, of the whole command, and of CPU.

    `machine` are the CPU seconds of the whole machine, the kernel's own threads included.
    """

    journey: float
    process: float
    cpu: float
    machine: float = 0.0

    def without(self, fixed: Run) -> Run:
        """Return what is left when the cost of a run with next to no bytes is taken off."""
        return Run(
            max(self.journey - fixed.journey, _LEAST_SECONDS),
            max(self.process - fixed.process, _LEAST_SECONDS),
            max(self.cpu - fixed.cpu, _LEAST_SECONDS),
            max(self.machine - fixed.machine, _LEAST_SECONDS),
        )


@dataclass(frozen=True, order=True)
class Setting:
    """What the contenders had to do it under."""

    streams: int
    network: str
    busy: bool

    def __str__(self) -> str:
        streams = "1 stream" if self.streams == 1 else f"{self.streams} streams"
        return f"{streams}, {self.network}, {'all cores busy' if self.busy else 'idle'}"


@dataclass(frozen=True)
class Measured:
    """All rounds of one contender in one setting; `fixed` are those with next to no bytes, if there were any."""

    contender: str
    setting: Setting
    runs: tuple[Run, ...]
    fixed: tuple[Run, ...] = ()

    @property
    def fixed_cost(self) -> Run:
        """The median of what a run costs however small the plots are."""
        if not self.fixed:
            return Run(0.0, 0.0, 0.0)
        return Run(
            statistics.median(run.journey for run in self.fixed),
            statistics.median(run.process for run in self.fixed),
            statistics.median(run.cpu for run in self.fixed),
            statistics.median(run.machine for run in self.fixed),
        )

    @property
    def net(self) -> tuple[Run, ...]:
        """The rounds without the fixed cost."""
        return tuple(run.without(self.fixed_cost) for run in self.runs)


@dataclass(frozen=True)
class Spread:
    """A median and where the middle half of the rounds lies."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Return that of one value or more."""
        if len(values) == 1:
            return cls(values[0], values[0], values[0])
        low, _, high = statistics.quantiles(values, n=4, method="inclusive")
        return cls(statistics.median(values), low, high)

    @property
    def width(self) -> float:
        """How far apart the rounds are."""
        return self.high - self.low

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.low:.2f}-{self.high:.2f})"


@dataclass(frozen=True)
class Ratios:
    """A contender against the reference, round by round, so that what disturbs a round disturbs both."""

    throughput: Spread  # above 1: faster
    cpu: Spread  # below 1: cheaper


@dataclass(frozen=True)
class Record:
    """One run of the benchmark, as it is stored."""

    head: str
    bytes: int  # of all files together
    measured: tuple[Measured, ...]

    def ratios(self) -> dict[tuple[str, Setting], Ratios]:
        """Return the ratios of every contender but the reference, in each setting where the reference ran too."""
        references = {each.setting: each.runs for each in self.measured if each.contender == REFERENCE}
        return {
            (each.contender, each.setting): ratios(each.runs, references[each.setting])
            for each in self.measured
            if each.contender != REFERENCE and each.setting in references
        }

    def to_json(self) -> str:
        """Return it as JSON, with every single run."""
        return json.dumps(asdict(self), indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Record:
        """Read what `to_json` wrote; UnreadableRecord if it is something else."""
        try:
            fields = json.loads(text)
            return cls(fields["head"], fields["bytes"], tuple(_measured(each) for each in fields["measured"]))
        except (ValueError, KeyError, TypeError) as error:
            raise UnreadableRecord(f"no record of this benchmark: {error!r}") from None


def _measured(fields: dict[str, object]) -> Measured:
    setting = fields["setting"]
    runs = fields["runs"]
    fixed = fields.get("fixed", [])
    if not isinstance(setting, dict) or not isinstance(runs, list) or not runs or not isinstance(fixed, list):
        raise ValueError("a contender without runs")
    return Measured(
        str(fields["contender"]),
        Setting(**setting),
        tuple(Run(**run) for run in runs),
        tuple(Run(**run) for run in fixed),
    )


def ratios(runs: Sequence[Run], reference: Sequence[Run]) -> Ratios:
    """Compare each round with the same round of the reference."""
    pairs = list(zip(runs, reference, strict=True))
    return Ratios(
        throughput=Spread.of([theirs.journey / ours.journey for ours, theirs in pairs]),
        cpu=Spread.of([ours.cpu / max(theirs.cpu, 1e-9) for ours, theirs in pairs]),
    )


def table(measured: Iterable[Measured], size: int) -> str:
    """Return the results of one setting, which the reference has run in, as a Markdown table."""
    gigabytes = size / 1e9
    by_contender = {each.contender: each for each in measured}
    lines = [
        "| | GB/s | min-max | ratio | CPU s/GB | CPU ratio | process GB/s | machine s/GB | fixed s, CPU s |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for contender, each in by_contender.items():
        journeys = [run.journey for run in each.runs]
        against = ratios(each.runs, by_contender[REFERENCE].runs)
        fixed = each.fixed_cost
        cells = [
            TITLES[contender],
            f"{gigabytes / statistics.median(journeys):.2f}",
            f"{gigabytes / max(journeys):.2f}-{gigabytes / min(journeys):.2f}",
            str(against.throughput),
            f"{statistics.median(run.cpu for run in each.runs) / gigabytes:.2f}",
            str(against.cpu),
            f"{gigabytes / statistics.median(run.process for run in each.runs):.2f}",
            f"{statistics.median(run.machine for run in each.runs) / gigabytes:.2f}",
            f"{fixed.process:.2f}, {fixed.cpu:.2f}" if each.fixed else "",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def pairs_table(measured: Iterable[Measured], pairs: Mapping[str, str], size: int) -> str:
    """Return how each contender is against another one, round by round, as a Markdown table; "" if there is none.

    `pairs`: contender -> what it is measured by. The columns behind `net` are without the fixed cost of a run.
    """
    by_contender = {each.contender: each for each in measured}
    lines = [
        "| | by | MB/s | ratio | CPU s/GB | CPU ratio | machine ratio | net MB/s | net ratio | net CPU s/GB "
        "| net CPU ratio |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for contender, other in pairs.items():
        if contender in by_contender and other in by_contender:
            lines.append(_pair(by_contender[contender], by_contender[other], size))
    return "\n".join(lines) if len(lines) > 2 else ""


def _pair(ours: Measured, theirs: Measured, size: int) -> str:
    whole = ratios(ours.runs, theirs.runs)
    net = ratios(ours.net, theirs.net)
    machine = Spread.of(
        [now.machine / max(then.machine, 1e-9) for now, then in zip(ours.runs, theirs.runs, strict=True)]
    )
    cells = [
        TITLES[ours.contender],
        TITLES[theirs.contender],
        *_speed_and_cpu(theirs.runs, ours.runs, size, whole),
        str(machine),
        *_speed_and_cpu(theirs.net, ours.net, size, net),
    ]
    return f"| {' | '.join(cells)} |"


def _speed_and_cpu(then: Sequence[Run], now: Sequence[Run], size: int, found: Ratios) -> list[str]:
    """Return the cells of speed and CPU: medians of the other and of ours, and the ratio."""
    speeds = [size / 1e6 / statistics.median(run.journey for run in runs) for runs in (then, now)]
    costs = [statistics.median(run.cpu for run in runs) / size * 1e9 for runs in (then, now)]
    return [
        f"{speeds[0]:.0f} -> {speeds[1]:.0f}",
        f"**{found.throughput}**",
        f"{costs[0]:.2f} -> {costs[1]:.2f}",
        f"**{found.cpu}**",
    ]
