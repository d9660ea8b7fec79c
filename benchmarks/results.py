"""What a run of benchmarks/transfer.py found: values, ratios against the reference, the table and the stored record."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Sequence
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
    "netcat-readback": "the same, `verify = readback`",
    "netcat-traditional": "Chia Plot Manager, `nc` (traditional)",
    "direct": "Chia Plot Manager, `pipe = direct`",
    "direct-readback": "the same, `verify = readback`, `pipe = direct`",
}


class UnreadableRecord(Exception):
    """A stored run that this benchmark has not written, or not in this form."""


@dataclass(frozen=True)
class Run:
    """One transfer of all files: seconds from first offer to last stored, of the whole command, and of CPU."""

    journey: float
    process: float
    cpu: float


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
    """All rounds of one contender in one setting."""

    contender: str
    setting: Setting
    runs: tuple[Run, ...]


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
    setting, runs = fields["setting"], fields["runs"]
    if not isinstance(setting, dict) or not isinstance(runs, list) or not runs:
        raise ValueError("a contender without runs")
    return Measured(str(fields["contender"]), Setting(**setting), tuple(Run(**run) for run in runs))


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
    by_contender = {each.contender: each.runs for each in measured}
    lines = [
        "| | GB/s | min-max | ratio | CPU s/GB | CPU ratio | process GB/s |",
        "|---|---|---|---|---|---|---|",
    ]
    for contender, runs in by_contender.items():
        journeys = [run.journey for run in runs]
        against = ratios(runs, by_contender[REFERENCE])
        cells = [
            TITLES[contender],
            f"{gigabytes / statistics.median(journeys):.2f}",
            f"{gigabytes / max(journeys):.2f}-{gigabytes / min(journeys):.2f}",
            str(against.throughput),
            f"{statistics.median(run.cpu for run in runs) / gigabytes:.2f}",
            str(against.cpu),
            f"{gigabytes / statistics.median(run.process for run in runs):.2f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)
