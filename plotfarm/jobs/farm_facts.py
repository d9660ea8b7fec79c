"""All that the reports and messages are made of, gathered in one place: each fact is read once."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import replace

from plotfarm.base.condition import Condition
from plotfarm.base.config.sections import Config
from plotfarm.base.state import State, Transfer
from plotfarm.base.units import DAY_SECONDS, format_bytes
from plotfarm.chia.farm_log import Unreadable, farmed
from plotfarm.chia.settings import log_path
from plotfarm.drives.health import Health
from plotfarm.drives.model import Verdict
from plotfarm.drives.speed import JUDGED_ARRIVALS, Speed, speeds
from plotfarm.jobs.farming import hear, is_silent
from plotfarm.jobs.run_records import newest_runs
from plotfarm.jobs.server import server_name
from plotfarm.jobs.stock import Stock, newest_stored
from plotfarm.plots import formats
from plotfarm.reports.facts import ChiaSaid, DriveFacts, FarmFacts, Unknown


def gather(
    config: Config,
    state: State,
    stock: Stock,
    healths: Mapping[str, Health],
    standing: Iterable[Condition] = (),
    current: str | None = None,
) -> FarmFacts:
    """Return the facts of this moment; `stock` was taken with the plots counted, `healths` are by identity.

    `current`: the mountpoint of the plot drive, if it is not the one that was configured then.
    """
    now = time.time()
    fast = speeds(state.transfers(limit=JUDGED_ARRIVALS))
    drives = tuple(_drive_facts(verdict, stock, healths, fast) for verdict in stock.choice.verdicts)
    place = stock.choice.current if current is None else current
    plot_drive = next((drive for drive in drives if drive.drive.mountpoint == place), None)
    made_plots, made_bytes = state.stored_since(now - DAY_SECONDS, without=formats.NO_PLOTS)
    newest = newest_stored(state)
    facts = FarmFacts(
        server=server_name(config),
        now=now,
        drives=drives,
        current=plot_drive,
        plot_bytes=stock.choice.plot_bytes,
        plot_label=plot_label(newest[0]) if newest else "k32",
        chia_plots=Unknown(""),
        chia_bytes=Unknown(""),
        made_plots=made_plots,
        made_bytes=made_bytes,
        made_since=state.first_stored(without=formats.NO_PLOTS),
        standing=tuple(standing),
        last_runs=newest_runs(state.database),
    )
    return _with_chia(facts, config, state)


def _drive_facts(
    verdict: Verdict, stock: Stock, healths: Mapping[str, Health], fast: Mapping[str, Speed]
) -> DriveFacts:
    identity = verdict.drive.identity
    reading = stock.readings.get(identity)
    counts = reading.counts if reading else None
    size, uncounted = (reading.plot_bytes, reading.uncounted) if reading else (0, None)
    speed = fast.get(verdict.drive.mountpoint)
    counted = reading.counted if reading else 0.0
    return DriveFacts(verdict, healths.get(identity), counts, size, uncounted, speed, counted)


def _with_chia(facts: FarmFacts, config: Config, state: State) -> FarmFacts:
    """Add what Chia says; the size of what it farms stands in its log only up to version 1.2.3."""
    heard = hear(config.chia, state.database, farmed(log_path(config.chia)))
    said = heard.newest
    if said is None:
        unknown = _unknown(heard.now) if isinstance(heard.now, Unreadable) else Unknown("")
        return replace(facts, chia_plots=unknown, chia_bytes=unknown)
    counted = [drive for drive in facts.drives if drive.counts is not None]
    size: int | Unknown = sum(drive.plot_bytes for drive in counted)
    if said.bytes is not None:
        size = said.bytes
    elif said.plots and not size:
        where = "no plots were found on the plot drives" if counted else "no plot drive could be counted"
        size = Unknown(f"Chia's log does not say it, and {where}")
    when = ChiaSaid(said.source.value, said.said, is_silent(said, config.chia, facts.now))
    return replace(facts, chia_plots=said.plots, chia_bytes=size, chia_said=when)


def _unknown(found: Unreadable) -> Unknown:
    return Unknown(f"{found.why}: {found.remedy}" if found.remedy else found.why)


def plot_label(transfer: Transfer) -> str:
    """Return what the plots are called that arrive: k32, k28 .gplot; their size if nobody knows their k."""
    if not transfer.k:
        return format_bytes(transfer.bytes)
    suffix = formats.named(transfer.kind).entry.suffix
    return f"k{transfer.k}" if suffix in ("", ".plot") else f"k{transfer.k} {suffix}"
