"""Which drives should get no plots although they answer: by SMART, by what cannot be read, because they lost data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from plotfarm.base.condition import AlertKind, Severity
from plotfarm.base.config.sections import Config
from plotfarm.base.state import State
from plotfarm.drives.conditions import unfit
from plotfarm.drives.inventory import Inventory
from plotfarm.drives.model import Drive
from plotfarm.drives.quarantine import Quarantine, Quarantined
from plotfarm.drives.reasons import Why
from plotfarm.drives.smart.records import HealthRecords
from plotfarm.notify.alerts import AlertBook


def unfit_drives(config: Config, state: State) -> dict[str, Why]:
    """Return identity -> reason for each drive that is failing, much too hot, or could not be read to its end."""
    told = AlertBook(state.database).standing().values()
    hot = [one.condition for one in told if one.condition.kind is AlertKind.HOT and one.told is not None]
    too_hot = {condition.about for condition in hot if condition.severity is Severity.CRITICAL}
    ill = unfit(HealthRecords(state.database).latest(), config.smart, too_hot)
    return {**ill, **Inventory(state.database).read_errors()}


def quarantined_drives(state: State, drives: Iterable[Drive]) -> Mapping[str, Quarantined]:
    """Return which of the drives are in quarantine, by identity; no drive is touched."""
    return Quarantine(state.database).active(drives)
