"""Judging a run of benchmarks/transfer.py: against a run of another day, and against what is promised.

Ratios to the bare pipe in the same run are judged, never speeds: those say more about the machine and its day.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.results import AGAINST_BEFORE, Record, Setting, Spread, ratios

_PROMISED_AT = Setting(streams=1, network="loopback", busy=False)
_MANY_STREAMS = 4
_LEAST_CHANGE = 0.005  # less cannot be seen in two decimals


@dataclass(frozen=True)
class Limit:
    """What a contender promises, as ratios to the reference."""

    contender: str
    least_throughput: float
    most_cpu: float


LIMITS = (Limit("direct", 1.6, 0.6), Limit("netcat", 0.9, 1.3))
_LEAST_OF_BEFORE = 0.97  # of the speed of the version before
_MOST_CPU_OF_BEFORE = 1.03
_MOST_CPU_OF_BEFORE_ON_DRIVES = 0.85  # past the page cache


@dataclass(frozen=True)
class Change:
    """One ratio of one contender in one setting, in both runs."""

    contender: str
    setting: Setting
    what: str  # "throughput" or "CPU"
    then: Spread
    now: Spread

    @property
    def gain(self) -> float:
        """How much better it is now; negative: worse."""
        difference = self.now.median - self.then.median
        return difference if self.what == "throughput" else -difference

    @property
    def verdict(self) -> str:
        """Say `better` or `worse` if it changed by more than each run's own spread, else `same`."""
        if abs(self.gain) <= max(self.then.width, self.now.width, _LEAST_CHANGE):
            return "same"
        return "better" if self.gain > 0 else "worse"

    def __str__(self) -> str:
        ratios = f"{self.now.median:.2f} of the reference now, {self.then.median:.2f} then"
        spreads = f"spread {self.now.width:.2f} now, {self.then.width:.2f} then"
        change = "" if self.verdict == "same" else f": {self.verdict} by {abs(self.gain):.2f}"
        return f"{self.contender}, {self.setting}: {self.what} {ratios}{change} ({spreads})"


@dataclass(frozen=True)
class Comparison:
    """Two runs side by side."""

    changes: tuple[Change, ...]
    missing: tuple[str, ...]  # measured then, not now
    added: tuple[str, ...]  # measured now, not then
    sizes_differ: bool

    def those(self, verdict: str) -> list[Change]:
        """Return the changes with this verdict."""
        return [change for change in self.changes if change.verdict == verdict]

    def __str__(self) -> str:
        return "\n".join(_lines(self))


def compare(then: Record, now: Record) -> Comparison:
    """Put every combination of contender, streams, network and load that both runs have measured side by side."""
    before, after = then.ratios(), now.ratios()
    both = [key for key in after if key in before]
    changes = []
    for contender, setting in both:
        old, new = before[contender, setting], after[contender, setting]
        changes += [
            Change(contender, setting, "throughput", old.throughput, new.throughput),
            Change(contender, setting, "CPU", old.cpu, new.cpu),
        ]
    return Comparison(
        changes=tuple(changes),
        missing=tuple(f"{contender}, {setting}" for contender, setting in before if (contender, setting) not in after),
        added=tuple(f"{contender}, {setting}" for contender, setting in after if (contender, setting) not in before),
        sizes_differ=then.bytes != now.bytes,
    )


def _lines(comparison: Comparison) -> Iterator[str]:
    if comparison.sizes_differ:
        yield "Note: the runs sent files of different sizes, and what is fixed counts more with small ones."
    if not comparison.changes:
        yield "Nothing was measured in both runs."
    titles = {
        "worse": "Worse by more than the spread of either run:",
        "better": "Better by more than the spread of either run:",
        "same": "The same, within the spread of one of the runs:",
    }
    for verdict, title in titles.items():
        if changes := comparison.those(verdict):
            yield from (title, *(f"  {change}" for change in changes))
    if comparison.missing:
        yield from ("Missing, measured only then:", *(f"  {each}" for each in comparison.missing))
    if comparison.added:
        yield from ("New, measured only now:", *(f"  {each}" for each in comparison.added))


def broken_promises(record: Record) -> list[str]:
    """Say in words what this run shows not to be as promised; what had to be measured and was not counts too."""
    return [*_broken_limits(record), *_slower_than_plot_sink(record)]


def _broken_limits(record: Record) -> Iterator[str]:
    found = record.ratios()
    for limit in LIMITS:
        ratios = found.get((limit.contender, _PROMISED_AT))
        if ratios is None:
            yield f"{limit.contender}, {_PROMISED_AT}: not measured"
            continue
        if ratios.throughput.median < limit.least_throughput:
            yield _broken(limit.contender, "throughput", ratios.throughput, f"at least {limit.least_throughput:g}")
        if ratios.cpu.median > limit.most_cpu:
            yield _broken(limit.contender, "CPU", ratios.cpu, f"at most {limit.most_cpu:g}")


def broken_against_before(record: Record, *, on_drives: bool) -> list[str]:
    """Say in words where the version before is better than it may be; its fixed costs are taken off."""
    most_cpu = _MOST_CPU_OF_BEFORE_ON_DRIVES if on_drives else _MOST_CPU_OF_BEFORE
    by_key = {(each.contender, each.setting): each for each in record.measured}
    found = []
    for (contender, setting), now in by_key.items():
        before = by_key.get((AGAINST_BEFORE.get(contender, ""), setting))
        if before is None:
            continue
        against = ratios(now.net, before.net)
        if not on_drives and against.throughput.median < _LEAST_OF_BEFORE:
            found.append(
                f"{contender}, {setting}: {against.throughput.median:.2f} of the speed of the version before, "
                f"promised is at least {_LEAST_OF_BEFORE:g}"
            )
        if against.cpu.median > most_cpu:
            found.append(
                f"{contender}, {setting}: {against.cpu.median:.2f} of the CPU of the version before, "
                f"promised is at most {most_cpu:g}"
            )
    return found


def _broken(contender: str, what: str, ratio: Spread, promised: str) -> str:
    return f"{contender}, {_PROMISED_AT}: {what} is {ratio.median:.2f} of the reference, promised is {promised}"


def _slower_than_plot_sink(record: Record) -> Iterator[str]:
    found = record.ratios()
    for (contender, setting), theirs in found.items():
        if contender != "plot-sink" or setting.streams < _MANY_STREAMS or setting.busy:
            continue
        ours = found.get(("direct", setting))
        if ours is None:
            yield f"direct, {setting}: not measured, but plot-sink was"
        elif ours.throughput.median < theirs.throughput.median:
            yield (
                f"direct, {setting}: throughput is {ours.throughput.median:.2f} of the reference, "
                f"that of plot-sink {theirs.throughput.median:.2f}"
            )
