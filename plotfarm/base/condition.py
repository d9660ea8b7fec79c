"""A state of affairs that somebody should know of: a hot drive, a missing drive, a disk that fills up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Severity(StrEnum):
    """How serious a message is; each may have channels of its own."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


@dataclass(frozen=True)
class Condition:
    """Something that is so now. It is told when it begins and once more when it ends.

    Values only: the words for each kind are in `templates/alerts.ini`.
    """

    kind: str  # hot, failing, missing, ...
    about: str  # what it is about, unique within its kind: a serial number, an identity, a path
    severity: Severity
    facts: Mapping[str, str | int | float | None] = field(default_factory=dict)  # what the words need
    patience_seconds: float = 0.0  # it has to stand for so long before it is told
    repeat_seconds: float = 0.0  # it is told again each time that so long has passed; 0: once
