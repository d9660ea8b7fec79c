"""What the owner of a plotter should know of: plots that stay there, and servers that do not answer."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from plotfarm.base.condition import Condition, Severity
from plotfarm.base.config.sections import Config
from plotfarm.jobs.telling import Teller


@dataclass
class Trouble:
    """What went wrong in one run of plot_manager.py."""

    stuck: dict[Path, int] = field(default_factory=dict)  # bytes of each plot that cannot be sent
    why: str = ""  # the newest reason
    reached: set[str] = field(default_factory=set)  # NAS
    silent: dict[str, str] = field(default_factory=dict)  # NAS -> why it cannot be reached

    def hold(self, plot: Path, size: int, why: str) -> None:
        """Note a plot that cannot be sent, for a reason that is not the silence of a NAS."""
        self.stuck[plot] = size
        self.why = why


def tell_of_trouble(trouble: Trouble, config: Config, teller: Teller, plots: str = "plots") -> None:
    """Tell of what has lasted for `[watch] trouble_minutes`, and of what is over.

    A NAS that this run did not need is neither well nor ill. `plots`: which plots these are.
    """
    patience = config.watch.trouble_minutes * 60
    conditions = [
        Condition("nas_unavailable", host, Severity.CRITICAL, {"nas": host, "why": why}, patience)
        for host, why in trouble.silent.items()
    ]
    if trouble.stuck:
        facts: Mapping[str, str | int] = {
            "host": socket.gethostname(), "why": trouble.why, "waiting": len(trouble.stuck),
            "bytes": sum(trouble.stuck.values()),
        }  # fmt: skip
        conditions.append(Condition("not_sent", plots, Severity.WARNING, facts, patience))
    asked = {*trouble.reached, *trouble.silent}
    teller.see(conditions, [("not_sent", plots), *(("nas_unavailable", host) for host in asked)])
