"""What the owner of a plotter should know of: plots that stay there, and servers that do not answer."""

from __future__ import annotations

import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from plotfarm.base.condition import AlertKind, Condition, Look, Severity
from plotfarm.base.config.sections import Config
from plotfarm.base.database import Database
from plotfarm.base.state import State
from plotfarm.jobs.telling import Teller
from plotfarm.notify.alerts import AlertBook
from plotfarm.notify.checks import check
from plotfarm.transfer.outcomes import Failure

_WAITS_SECONDS = 3 * 3600.0  # for so long a plot waits for the NAS that may have it, before that is an alert
_MISMATCH_SECONDS = 7 * 86400.0


@dataclass
class Trouble:
    """What went wrong in one run of plot_manager.py."""

    stuck: dict[Path, int] = field(default_factory=dict)  # bytes of each plot that cannot be sent
    why: str = ""  # the newest reason
    reached: set[str] = field(default_factory=set)  # NAS that had something to say about a plot
    answered: set[str] = field(default_factory=set)  # NAS that said what they can take
    silent: dict[str, str] = field(default_factory=dict)  # NAS -> why it cannot be asked
    refusing: set[str] = field(default_factory=set)  # of those: they were reached, and ended in an error
    waiting_for: dict[str, list[float]] = field(default_factory=dict)  # NAS that may have plots -> since (Unix time)

    def hold(self, plot: Path, size: int, why: str) -> None:
        """Note a plot that cannot be sent, for a reason that is not the silence of a NAS."""
        self.stuck[plot] = size
        self.why = why


def tell_of_trouble(trouble: Trouble, config: Config, teller: Teller, plots: str = "plots") -> None:
    """Tell of what has lasted for `[watch] trouble_minutes`, and of what is over.

    A NAS that this run did not need is neither well nor ill. `plots`: which plots these are.
    """
    patience = config.watch.trouble_minutes * 60
    silent = [
        Condition(
            AlertKind.NAS_UNAVAILABLE,
            host,
            Severity.CRITICAL,
            {"nas": host, "why": why, "is_reached": int(host in trouble.refusing)},
            patience,
        )
        for host, why in trouble.silent.items()
    ]
    stuck = []
    if trouble.stuck:
        facts: Mapping[str, str | int] = {
            "host": socket.gethostname(), "why": trouble.why, "waiting": len(trouble.stuck),
            "bytes": sum(trouble.stuck.values()),
        }  # fmt: skip
        stuck.append(Condition(AlertKind.NOT_SENT, plots, Severity.WARNING, facts, patience))
    asked = {*trouble.reached, *trouble.silent}
    teller.evaluate(
        [
            check(Look.STUCK_PLOTS, stuck, about=[plots]),
            check(Look.NAS, silent, about=asked | trouble.answered),
            check(Look.WAITING_FOR_NAS, _waiting_for_nas(trouble), about=asked | set(trouble.waiting_for)),
        ]
    )


def silent_before(database: Database) -> set[str]:
    """Return the NAS that could not be reached when they were needed last, also those that nobody was told of yet."""
    return {about for kind, about in AlertBook(database).standing() if kind is AlertKind.NAS_UNAVAILABLE}


def _waiting_for_nas(trouble: Trouble) -> list[Condition]:
    """Return the NAS that may have plots of this host and have not been asked for hours."""
    now = time.time()
    return [
        Condition(
            AlertKind.WAITS_FOR_NAS, host, Severity.WARNING, {"nas": host, "waiting": len(since), "since": min(since)}
        )
        for host, since in trouble.waiting_for.items()
        if now - min(since) > _WAITS_SECONDS
    ]


def mismatch_conditions(state: State) -> list[Condition]:
    """Return an alert if other bytes than were sent have arrived twice within a week.

    Both ends hash the bytes in memory, before any drive has them: this host, the NAS, or what lies between is to blame.
    """
    rejected = [
        transfer
        for transfer in state.transfers(since=time.time() - _MISMATCH_SECONDS)
        if transfer.reason == Failure.REJECTED
    ]
    if len(rejected) < 2:
        return []
    hosts = sorted({transfer.target.partition(":")[0] for transfer in rejected})
    facts: Mapping[str, str | int] = {
        "host": socket.gethostname(),
        "nas": ", ".join(hosts),
        "count": len(rejected),
    }
    return [Condition(AlertKind.MISMATCHES, socket.gethostname(), Severity.CRITICAL, facts)]
