"""Drives that are gone, or cannot be used as they are: what the owner is told of, and why not of the rest.

The facts of every condition here are those of drives.conditions, and besides: reason (a value of Reason), why (its
words), and plots (how many files were on the drive when it was last counted; None: it never was).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import assert_never

from plotfarm.base.condition import AlertKind, Condition, Severity
from plotfarm.base.config.sections import Watch
from plotfarm.base.text import one_line
from plotfarm.drives.conditions import drive_facts
from plotfarm.drives.health import Health
from plotfarm.drives.model import Verdict
from plotfarm.drives.offlined import is_offlined
from plotfarm.drives.reasons import Reason


class Silence(Enum):
    """Why a reason raises no alert of its own."""

    IN_ORDER = "nothing is wrong with the drive"
    TOGETHER = "one drive without room is no news; that none has any is an alert of its own"
    WANTED = "the owner, or the way the host is set up, wants it so"
    ANOTHER_CHECK = "another check tells of it: health or quarantine"
    NOT_DRIVES = "it is about a single look at a drive, not about the drive"


@dataclass(frozen=True)
class Alert:
    """What a reason raises."""

    kind: AlertKind
    severity: Severity
    is_at_once: bool  # False: only when it has lasted for [watch] missing_minutes
    is_absence: bool = False  # the drive is not there: no news of one that was never mounted here


def response(reason: Reason) -> Alert | Silence:
    """Return what is to be done about a drive that gets plots, or none, for this reason."""
    match reason:
        case Reason.NOT_MOUNTED | Reason.NO_MARKER:
            return Alert(AlertKind.MISSING, Severity.CRITICAL, is_at_once=False, is_absence=True)
        case Reason.WRONG_DRIVE:
            return Alert(AlertKind.WRONG_DRIVE, Severity.CRITICAL, is_at_once=True, is_absence=True)
        case Reason.NOT_ANSWERING | Reason.PROBE_HANGS | Reason.WRITER_HANGS:
            return Alert(AlertKind.NOT_ANSWERING, Severity.CRITICAL, is_at_once=False)
        case Reason.READ_ONLY:
            return Alert(AlertKind.READ_ONLY, Severity.CRITICAL, is_at_once=True)
        case Reason.IO_ERROR:
            return Alert(AlertKind.IO_ERROR, Severity.CRITICAL, is_at_once=True)
        case Reason.NO_PERMISSION:
            return Alert(AlertKind.NO_PERMISSION, Severity.WARNING, is_at_once=True)
        case Reason.PROBE_BROKEN:
            return Alert(AlertKind.PROBE_BROKEN, Severity.WARNING, is_at_once=False)
        case Reason.HAS_ROOM:
            return Silence.IN_ORDER
        case Reason.FULL | Reason.TOO_SMALL:
            return Silence.TOGETHER
        case Reason.OFFLINED | Reason.SYSTEM_DISK | Reason.PROGRAM_DISK | Reason.DUPLICATE | Reason.MEANT_READ_ONLY:
            return Silence.WANTED
        case Reason.QUARANTINED | Reason.FAILING | Reason.WORN | Reason.HOT:
            return Silence.ANOTHER_CHECK
        case Reason.NOT_ASKED | Reason.NOT_COUNTED_IN_TIME | Reason.COUNT_UNDER_WAY:
            return Silence.NOT_DRIVES
        case _:
            assert_never(reason)


def drives_in_order(verdicts: Sequence[Verdict]) -> set[str]:
    """Return the identities of the drives that answer and can be written to, whether plots go there or not."""
    return {
        verdict.drive.identity
        for verdict in verdicts
        if response(verdict.why.reason) in (Silence.IN_ORDER, Silence.TOGETHER, Silence.ANOTHER_CHECK)
    }


def presence_conditions(
    verdicts: Sequence[Verdict],
    known: Collection[str],
    plots: Mapping[str, int],
    healths: Mapping[str, Health],
    offlined: Collection[str],
    settings: Watch,
) -> list[Condition]:
    """Return which drives are gone or cannot be used as they are; offlined ones are left out.

    `known`: identities of drives that were ever mounted here; `plots`: how many plot files were on a drive when it
    was last counted, by identity; `offlined`: entries as drives.offlined reads them.
    """
    found: list[Condition] = []
    for verdict in verdicts:
        drive, raised = verdict.drive, response(verdict.why.reason)
        if isinstance(raised, Silence) or is_offlined(drive, offlined):
            continue
        if raised.is_absence and drive.identity not in known:
            continue

        count = plots.get(drive.identity)
        is_empty = raised.is_absence and count == 0
        facts = {
            **drive_facts(drive, healths.get(drive.identity)),
            "reason": verdict.why.reason.value,
            "why": one_line(str(verdict.why)),
            "plots": count,
        }
        found.append(
            Condition(
                raised.kind,
                drive.identity,
                Severity.WARNING if is_empty else raised.severity,
                facts,
                0.0 if raised.is_at_once else settings.missing_minutes * 60,
            )
        )
    return found
