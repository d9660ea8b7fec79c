"""The book of alerts: which conditions stand, so that each is told once, and once more when it is over."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from plotfarm.base.condition import AlertKind, Condition, Severity
from plotfarm.base.database import Database

Key = tuple[AlertKind, str]  # kind, about
_KINDS = {kind.value: kind for kind in AlertKind}

_COLUMNS = "kind, about, severity, facts, patience_seconds, repeat_seconds, since, told"


class Standing(NamedTuple):
    """A condition that was seen and is not over."""

    condition: Condition  # as it was seen last
    since: float  # Unix time
    told: float | None  # when it was told last; None: it has not stood for long enough


class Changes(NamedTuple):
    """What a run found to be different; false if nothing is."""

    raised: Sequence[Condition] = ()  # to be told: they begin, have become worse, or are told again
    cleared: Sequence[Condition] = ()  # to be told: they are over
    kept: Mapping[Key, Standing] = {}  # to be written, also what nobody is told
    gone: Collection[Key] = ()  # to be forgotten, also what nobody was told
    before: Mapping[Key, Standing] = {}  # all that stood before, which this was compared with

    def __bool__(self) -> bool:
        return bool(self.kept or self.gone)


class AlertBook:
    """The conditions that stand on this host, in the state database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def standing(self) -> dict[Key, Standing]:
        """Return all that was seen and is not over, by (kind, about); without what another version has raised."""
        rows = self._database.rows(f"SELECT {_COLUMNS} FROM conditions")  # noqa: S608
        standing = [_standing(*row) for row in rows if row[0] in _KINDS]
        return {(one.condition.kind, one.condition.about): one for one in standing}

    def apply(self, changes: Changes) -> bool:
        """Write what is different, inside the transaction of the caller, who tells of it only if this is True.

        False: another process wrote meanwhile, or nothing can be written. Two of them never tell the same.
        """
        if self.standing() != changes.before:
            return False
        gone = self._database.write_many(
            "DELETE FROM conditions WHERE kind = ? AND about = ?",
            [(kind, json.dumps(about)) for kind, about in changes.gone],
        )
        return gone and self._database.write_many(
            f"INSERT OR REPLACE INTO conditions ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608
            [_row(one) for one in changes.kept.values()],
        )


def _standing(
    kind: str, about: str, severity: str, facts: str, patience: float, repeat: float, since: float, told: float | None
) -> Standing:
    condition = Condition(_KINDS[kind], json.loads(about), Severity(severity), json.loads(facts), patience, repeat)
    return Standing(condition, since, told)


def _row(standing: Standing) -> tuple[str | float | None, ...]:
    one = standing.condition
    return (
        one.kind, json.dumps(one.about), one.severity.value, json.dumps(dict(one.facts)),
        one.patience_seconds, one.repeat_seconds, standing.since, standing.told,
    )  # fmt: skip


def compare(
    standing: Mapping[Key, Standing],
    conditions: Iterable[Condition],
    looked_at: Collection[AlertKind | Key],
    now: float,
    silently: Collection[Key] = (),
) -> Changes:
    """Return what is different from what stood before.

    `conditions` is all that is so now of what is in `looked_at`: kinds, or single (kind, about). What was not
    examined does not clear; of what is in `silently` nobody is told that it is over.
    A condition is told when it has stood for its patience, when it becomes more serious, and again after each
    `repeat_seconds`; its facts may change silently. If the clock was set back, the waiting begins anew.
    """
    raised: list[Condition] = []
    kept: dict[Key, Standing] = {}
    present = _worst_of_each(conditions)
    for key, condition in present.items():
        before = standing.get(key)
        after, is_due = _now(before, condition, now)
        if is_due:
            raised.append(condition)
        if after != before:
            kept[key] = after
    gone = [key for key in standing if key not in present and (key[0] in looked_at or key in looked_at)]
    cleared = [standing[key].condition for key in gone if standing[key].told is not None and key not in silently]
    return Changes(raised, cleared, kept, gone, standing)


def _now(before: Standing | None, condition: Condition, now: float) -> tuple[Standing, bool]:
    """Return what there is to remember of a condition, and whether it is to be told now."""
    since = now if before is None else min(before.since, now)
    told = None if before is None or before.told is None else min(before.told, now)
    if before is None or told is None:
        is_due = now - since >= condition.patience_seconds
    else:
        is_worse = condition.severity.rank > before.condition.severity.rank
        is_due = is_worse or 0 < condition.repeat_seconds <= now - told
    return Standing(condition, since, now if is_due else told), is_due


def _worst_of_each(conditions: Iterable[Condition]) -> dict[Key, Condition]:
    worst: dict[Key, Condition] = {}
    for condition in sorted(conditions, key=lambda one: one.severity.rank):
        worst[condition.kind, condition.about] = condition
    return worst
