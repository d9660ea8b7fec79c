"""What the owner of a NAS should know of the formats of the plots that arrive."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from plotfarm.base.condition import AlertKind, Condition, Severity
from plotfarm.base.config.sections import Config
from plotfarm.base.state import State, Transfer
from plotfarm.jobs.server import server_name
from plotfarm.jobs.telling import Teller
from plotfarm.plots import formats

_LOG = logging.getLogger(__name__)


def tell_of_lost_formats(arrived: Iterable[Transfer], config: Config, state: State, teller: Teller) -> None:
    """Say once for each format, ever, that what arrives will not be farmed by any release of Chia."""
    for transfer in arrived:
        form = formats.named(transfer.kind)
        if form.entry.is_farmed or not form.entry.is_plot or not state.is_said_first(f"{form} is not farmed"):
            continue
        from plotfarm.reports import mails

        condition = not_farmed(form, transfer)
        _LOG.warning("%s", mails.sentence(condition))
        teller.tell(mails.alert(server_name(config), [condition], []))


def not_farmed(form: formats.PlotFormat, transfer: Transfer) -> Condition:
    """Return what there is to say of a format when the first plot of it has arrived."""
    facts = {"format": form.entry.label, "plot": transfer.plot, "plotter": transfer.plotter}
    return Condition(AlertKind.NOT_FARMED, form.value, Severity.WARNING, facts)
