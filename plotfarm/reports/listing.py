"""What concerns many drives, said once: lists of their names, and alerts of one kind put together."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from plotfarm.base.condition import Condition, Severity
from plotfarm.base.text import one_line

_MOST_ONE_BY_ONE = 2  # alerts of one kind and for one reason; more of them are said together
_SHORTEST_RUN = 3  # names with numbers that follow one another, to be written as drive0-drive21


@dataclass(frozen=True)
class Said:
    """One or several alerts of a kind, in words."""

    severity: Severity
    headline: str
    sentence: str
    place: str  # where the thing is, as a second line; "": nothing to add, or several things


def grouped(alerts: Iterable[Condition]) -> list[Said]:
    """Return what is said of alerts, in their order; many of one kind that have one reason become one sentence."""
    groups: dict[tuple[str, Severity, str], list[Condition]] = {}
    for alert in alerts:
        why = str(alert.facts.get("why") or "")
        groups.setdefault((alert.kind, alert.severity, why), []).append(alert)
    said = []
    for (_, _, why), group in groups.items():
        if len(group) > _MOST_ONE_BY_ONE:
            said.append(_together(group, one_line(why)))
        else:
            said += [_alone(one) for one in group]
    return said


def _alone(alert: Condition) -> Said:
    from plotfarm.reports import words  # the templates are slow to import, and most days nothing is said

    text = words.of_condition(alert)
    return Said(alert.severity, text.headline, text.sentence, text.place)


def _together(alerts: Sequence[Condition], why: str) -> Said:
    from plotfarm.reports import words  # as above

    text = words.of_kind(alerts)
    sentence = f"{text.headline}: {in_a_row(text.names)}"
    if why:
        sentence = f"{sentence} ({why})"
    return Said(alerts[0].severity, text.headline, sentence, "")


def in_a_row(names: Iterable[str]) -> str:
    """Return names in a row, those that are numbered one after the other as a range: `drive0-drive21, drive23`."""
    runs: list[list[str]] = []
    for name in names:
        if runs and _follows(runs[-1][-1], name):
            runs[-1].append(name)
        else:
            runs.append([name])
    return ", ".join(part for run in runs for part in _shown(run))


def _follows(before: str, name: str) -> bool:
    first, second = _numbered(before), _numbered(name)
    return first is not None and second is not None and second == (first[0], first[1] + 1)


def _numbered(name: str) -> tuple[str, int] | None:
    """Return a name as what stands before its number, and the number; None if it has none that can be counted on."""
    found = re.fullmatch(r"(.*?)(0|[1-9][0-9]{0,8})", name, re.ASCII | re.DOTALL)
    return (found[1], int(found[2])) if found else None


def _shown(run: Sequence[str]) -> list[str]:
    return [f"{run[0]}-{run[-1]}"] if len(run) >= _SHORTEST_RUN else list(run)
