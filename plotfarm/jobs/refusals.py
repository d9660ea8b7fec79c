"""What cannot begin tells as well: of a configuration that cannot be used, and of packages that cannot.

Through the last configuration that was good. Only what the standard library has is needed for it: a message whose
template cannot be used is told in plain words.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Sequence
from pathlib import Path

from plotfarm.base.condition import AlertKind, Condition, Severity
from plotfarm.base.config import last_good
from plotfarm.base.config.loader import CHECKOUT, first_existing, load, places
from plotfarm.base.config.sections import Config
from plotfarm.base.errors import PlotfarmError
from plotfarm.base.runs import RunOutcome
from plotfarm.jobs import after_run, entry, run_records
from plotfarm.jobs.recording import Recording
from plotfarm.jobs.telling import Teller
from plotfarm.notify.channels import bare
from plotfarm.notify.checks import check
from plotfarm.notify.outbox import Outbox

_LOG = logging.getLogger(__name__)
# A file that is just being saved, or an upgrade that is under way, is well again at the next run but one.
_PATIENCE_SECONDS = 100.0
_LONGEST_REASON = 1000


def tell_of_configuration(script: str, explicit: str | None, error: PlotfarmError) -> None:
    """Tell that a script ended with `error` because of its configuration; `explicit`: the path that it was given."""
    candidates = [path for path, _ in places(explicit, os.environ)]
    whole = _usable(candidates)
    if whole is not None:  # only this script needs more of it
        _begin(script, whole, str(error))
        recording = _recorded(script, whole, RunOutcome.MISCONFIGURED, error.exit_status)
        after_run.tell(script, str(error), whole, recording.memory)
        recording.close()
        return
    config = last_good.find(candidates)
    if config is not None:
        condition = broken_configuration(config.path, script, str(error))
        _tell(script, config, condition, RunOutcome.MISCONFIGURED, error.exit_status)


def tell_of_packages(script: str, why: str, explicit: str | None) -> None:
    """Tell that no script can start because its Python packages do not fit; `why`: in words."""
    os.environ[bare.WITHOUT_PACKAGES] = "1"  # also for the process that sends it
    candidates = [path for path, _ in places(explicit, os.environ)]
    config = _usable(candidates) or last_good.find(candidates)
    if config is not None:
        _tell(script, config, unusable_packages(script, why), RunOutcome.NOT_INSTALLED, 1)


def broken_configuration(path: Path, script: str, why: str) -> Condition:
    """Return the alert that a configuration cannot be used; `script`: who found that."""
    on_one_line = "; ".join(line.strip() for line in why.splitlines()).replace(":; ", ": ")
    facts = {"path": str(path), "script": script, "why": on_one_line[:_LONGEST_REASON]}
    return Condition(AlertKind.CONFIG_BROKEN, str(path), Severity.CRITICAL, facts, _PATIENCE_SECONDS)


def unusable_packages(script: str, why: str) -> Condition:
    """Return the alert that nothing in this checkout can start; `script`: who found that."""
    facts = {"script": script, "why": why, "checkout": str(CHECKOUT)}
    return Condition(AlertKind.CANNOT_START, str(CHECKOUT), Severity.CRITICAL, facts, _PATIENCE_SECONDS)


def _usable(candidates: Sequence[Path]) -> Config | None:
    """Return the configuration if it can be used at all."""
    try:
        return load(first_existing([(path, "") for path in candidates]))
    except PlotfarmError:
        return None


def _begin(script: str, config: Config, why: str) -> None:
    entry.set_up(script, config)
    _LOG.error("%s", why)


def _recorded(script: str, config: Config, outcome: RunOutcome, status: int) -> Recording:
    recording = Recording(script, config, unattended=True)
    recording.end(outcome, status)
    return recording


def _tell(script: str, config: Config, condition: Condition, outcome: RunOutcome, status: int) -> None:
    """Record the run, tell of the condition, and have sent what is due."""
    _begin(script, config, str(condition.facts["why"]))
    recording = _recorded(script, config, outcome, status)
    memory = recording.memory or run_records.open_memory(config)
    look = condition.kind.look
    assert look is not None, "it is over some day"
    Teller(config, memory).evaluate([check(look, [condition], about=[condition.about])])
    if Outbox(memory).has_due(time.time()):
        after_run.start_delivery(config)
    memory.close()
