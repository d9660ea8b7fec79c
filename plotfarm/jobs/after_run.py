"""At the end of every run: trouble that stays is told, and what waits in the outbox is sent by another process."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

from plotfarm.base import lock_waits
from plotfarm.base.condition import AlertKind, Condition, Look, Severity
from plotfarm.base.config.exposure import exposed, files_with_secrets, is_within_reach
from plotfarm.base.config.loader import CHECKOUT
from plotfarm.base.config.sections import Config
from plotfarm.base.database import Database
from plotfarm.base.memory_trouble import met
from plotfarm.base.runs import RunBook
from plotfarm.jobs import run_records
from plotfarm.jobs.telling import Teller
from plotfarm.notify.alerts import Key
from plotfarm.notify.checks import Check, check
from plotfarm.notify.outbox import Outbox


def tell(script: str, trouble: str, config: Config, memory: Database | None = None) -> None:
    """Note whether `script` ("" for one that a person watches) ended in `trouble`, and start the delivery if due.

    `memory`: the state database, if it is open already; it stays open.
    """
    database = memory or run_records.open_memory(config)
    try:
        checks = [_check_locks(), run_records.check_runs(RunBook(database), config.watch)]
        teller = Teller(config, database)
        if script:
            checks += _checks_of_script(script, trouble, config, database)
            checks.append(_check_secrets(config, teller.told()))
        teller.evaluate(checks)
        if Outbox(database).has_due(time.time()):
            start_delivery(config)
    finally:
        if memory is None:
            database.close()


def _check_locks() -> Check:
    """Look at the locks that this run took, or waited for in vain."""
    in_vain = lock_waits.waited_in_vain()
    about = {str(path) for path in lock_waits.taken()} | {str(one.path) for one in in_vain}
    return check(Look.LOCKS, run_records.lock_conditions(in_vain), about=about)


def _checks_of_script(script: str, trouble: str, config: Config, database: Database) -> list[Check]:
    patience = run_records.grace_seconds(RunBook(database), script, config.watch) if trouble else 0.0
    facts = {"script": script, "why": trouble}
    failed = Condition(AlertKind.JOB_FAILED, script, Severity.CRITICAL, facts, patience)
    is_told_already = bool(lock_waits.waited_in_vain())
    path = str(config.path)
    return [
        check(Look.JOB, [failed] if trouble and not is_told_already else [], about=[script]),
        check(Look.MEMORY, memory_conditions(script), about=[script]),
        # It was started, and could read its configuration.
        check(Look.CONFIGURATION, [], about=[path]),
        check(Look.PACKAGES, [], about=[str(CHECKOUT)]),
    ]


def _check_secrets(config: Config, told: Iterable[Key]) -> Check:
    """Look who can read the secrets, also in files that were told of and are no longer named."""
    named = files_with_secrets(config)
    told_of = [Path(about) for kind, about in told if kind is AlertKind.CONFIG_READABLE]
    former = [path for path in told_of if path not in named]
    readable = [*exposed(config), *filter(is_within_reach, former)]
    return check(
        Look.PASSWORDS,
        [Condition(AlertKind.CONFIG_READABLE, str(path), Severity.WARNING, {"path": str(path)}) for path in readable],
        about=[str(path) for path in (*named, *former)],
    )


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
