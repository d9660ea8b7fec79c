"""What is around the facts of every command's --json; docs/json.md says what stands in it, field by field."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from plotfarm import __version__

SCHEMA = 1  # becomes 2 when a field goes, or means something else; new fields may come at any time


class Role(StrEnum):
    """What a host is for, by the command that was asked."""

    PLOTTER = "plotter"
    NAS = "nas"
    FARMER = "farmer"


class Report(StrEnum):
    """Which command it was."""

    PLOT_REPORT = "plot_report"
    TEMPERATURES = "check_temps"
    DAILY_REPORT = "daily_report"
    DAILY_NUMBERS = "update_daily"
    EXPLAIN = "explain"
    STATUS = "status"
    DRY_RUN = "dry_run"
    COINS = "coin_report"
    COIN_SUMMARY = "coin_summary"
    NOTIFICATION_TEST = "test_notifications"
    LISTENERS = "kill_nc"


@dataclass(frozen=True)
class Sender:
    """Who says it."""

    host: str  # as the configuration calls it
    role: Role


def enveloped(report: Report, sender: Sender, data: Mapping[str, object], now: float) -> str:
    """Return a JSON document in ASCII, whatever the facts hold. `now`: Unix time at which they were so."""
    return json.dumps(
        {
            "schema": SCHEMA,
            "report": report.value,
            "host": sender.host,
            "role": sender.role.value,
            "version": __version__,
            "time": iso(now),
            "data": data,
        },
        indent=2,
    )


def iso(time: float | None) -> str | None:
    """Return a Unix time as ISO 8601 in UTC, to the second."""
    return None if time is None else datetime.fromtimestamp(round(time), UTC).isoformat().replace("+00:00", "Z")
