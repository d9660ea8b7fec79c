"""At the end of every run: trouble that stays is told, and what waits in the outbox is sent by another process."""

from __future__ import annotations

import subprocess
import sys
import time

from plotfarm.base.condition import AlertKind, Condition, Look, Severity
from plotfarm.base.config.exposure import is_exposed
from plotfarm.base.config.loader import CHECKOUT
from plotfarm.base.config.sections import Config
from plotfarm.base.memory_trouble import NewerMemoryError, met
from plotfarm.base.state import State
from plotfarm.jobs.telling import Teller
from plotfarm.notify.checks import check
from plotfarm.notify.outbox import Outbox


def tell(script: str, trouble: str, config: Config) -> None:
    """Note whether `script` ("" for one that a person watches) ended in `trouble`, and start the delivery if due."""
    state = _memory(config)
    try:
        if script:
            patience = config.watch.trouble_minutes * 60
            facts = {"script": script, "why": trouble}
            failed = Condition(AlertKind.JOB_FAILED, script, Severity.CRITICAL, facts, patience)
            exposed = Condition(
                AlertKind.CONFIG_READABLE, str(config.path), Severity.WARNING, {"path": str(config.path)}
            )
            memory = memory_conditions(script)
            Teller(config, state.database).evaluate(
                [
                    check(Look.JOB, [failed] if trouble else [], about=[script]),
                    check(Look.MEMORY, memory, about=[script]),
                    check(Look.PASSWORDS, [exposed] if is_exposed(config) else [], about=[str(config.path)]),
                ]
            )
        if Outbox(state.database).has_due(time.time()):
            start_delivery(config)
    finally:
        state.close()


def _memory(config: Config) -> State:
    """Return the state; if a later version of the suite made it, one in RAM, from which alerts go at once."""
    try:
        return State(config.paths.state)
    except NewerMemoryError:
        return State(None)


def memory_conditions(script: str) -> list[Condition]:
    """Return an alert if this process could not use the state database. Of each script: not all use the same of it."""
    return [
        Condition(
            AlertKind.MEMORY_UNUSABLE,
            script,
            Severity.CRITICAL,
            {"path": str(one.path), "trouble": one.trouble.value, "why": one.detail},
        )
        for one in met()[:1]
    ]


def start_delivery(config: Config) -> None:
    """Start a process that sends what waits: no script waits for a mail server, and it outlives the script."""
    subprocess.Popen(
        [sys.executable, "-m", "plotfarm.jobs.deliver", "--config", str(config.path)],
        cwd=CHECKOUT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
