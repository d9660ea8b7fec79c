"""What the owner of a NAS should know of: looked for in every run of drive_manager.py, health once in a while."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

from plotfarm.base.condition import AlertKind, Condition, Look, Severity
from plotfarm.base.config.sections import Config
from plotfarm.base.errors import PlotfarmError
from plotfarm.base.state import State
from plotfarm.chia.farm_log import Farmed, farmed
from plotfarm.chia.settings import log_path
from plotfarm.drives.conditions import (
    GROWTH_SECONDS,
    Facts,
    health_conditions,
    is_surely_failing,
    offline_conditions,
    speed_conditions,
)
from plotfarm.drives.inventory import Inventory
from plotfarm.drives.model import Drive
from plotfarm.drives.offlined import read_offlined, take_offline
from plotfarm.drives.probe import Counting
from plotfarm.drives.smart.records import HealthRecords
from plotfarm.drives.speed import JUDGED_ARRIVALS, speeds
from plotfarm.jobs.chia_checks import checks_of_chia
from plotfarm.jobs.drive_checks import checks_of_drives
from plotfarm.jobs.farming import Heard, end_of_log, hear, watch_farming
from plotfarm.jobs.plot_formats import tell_of_lost_formats
from plotfarm.jobs.plot_room import filling_check
from plotfarm.jobs.server import server_name
from plotfarm.jobs.stock import Stock, decide_again, take_stock
from plotfarm.jobs.telling import Teller
from plotfarm.notify.checks import check
from plotfarm.plots.formats import NO_PLOTS
from plotfarm.plots.parts import FoundPart

_LOG = logging.getLogger(__name__)
_ROOM_AGE_SECONDS = 2 * 3600.0  # an older reading of a plot directory says nothing about now


def look_after(
    config: Config,
    state: State,
    stock: Stock,
    teller: Teller,
    left: Sequence[tuple[Drive, FoundPart]],
    *,
    with_health: bool,
) -> None:
    """Tell of what is wrong; `with_health` also reads the drives' health and what Chia says.

    `left`: see stale_parts.complete_parts_left.
    """
    heard = _hear(config, state, thoroughly=with_health)
    checks = []
    if with_health:
        ill = _illnesses(config, state, stock, teller)
        checks.append(check(Look.HEALTH, ill, well=_whose_health_is_known(state, stock)))
        checks += checks_of_chia(config, stock, heard)
        stock = decide_again(config, state, stock)  # so that all speak of the same health
    checks += [
        *checks_of_drives(config, state, stock, left),
        filling_check(state.rooms(since=time.time() - _ROOM_AGE_SECONDS), config.plotter.warn_hours_left),
        check(Look.SYSTEM_DISK, _full_system_disks(config)),
    ]
    teller.evaluate(checks)
    watch_farming(config.chia, teller, heard)


def _hear(config: Config, state: State, *, thoroughly: bool) -> Heard:
    """Find out what Chia farms; in most runs a short look at the end of its log is enough."""
    if thoroughly:
        return hear(config.chia, state.database, farmed(log_path(config.chia)))
    said = end_of_log(config.chia)
    return hear(config.chia, state.database, said if isinstance(said, Farmed) else None)


def tell_of_arrivals(config: Config, state: State, teller: Teller) -> None:
    """Tell of the plots that arrived since the last run, in one message and exactly once."""
    with state.database.transaction():
        arrived = state.newly_stored()
        tell_of_lost_formats(arrived, config, state, teller)
        if arrived and teller.wants("per_plot"):
            from plotfarm.reports import mails
            from plotfarm.reports.facts import ReceivedPlot

            marks = [
                ReceivedPlot(one.finished, one.plot, one.target, one.bytes, one.plotter, one.kind in NO_PLOTS)
                for one in arrived
            ]
            teller.tell(mails.plots_received(server_name(config), marks))


def tell_of_change(config: Config, state: State, stock: Stock, teller: Teller) -> None:
    """Tell that another drive is filled from now on; of the drives only that one's health is read."""
    if not teller.wants("new_plot_drive") or stock.choice.chosen is None:
        return
    from plotfarm.jobs.drive_health import read_drives
    from plotfarm.jobs.farm_facts import gather
    from plotfarm.reports import mails

    if all(reading.counts is None for reading in stock.readings.values()):
        stock = take_stock(config, state, Counting(Inventory(state.database), config.drives.count_seconds))
    chosen = stock.choice.chosen
    if chosen is None:
        return
    healths = read_drives(config, state, stock, only=[chosen.drive.identity])
    facts = gather(config, state, stock, healths, current=chosen.drive.mountpoint)
    previous = next((drive for drive in facts.drives if drive.drive.mountpoint == stock.choice.current), None)
    teller.tell(mails.plot_drive_changed(facts, previous, stock.choice.current))


def _full_system_disks(config: Config) -> list[Condition]:
    """Return the file systems of this host that are nearly full: plots never fill them, but something may."""
    found: dict[int, Condition] = {}
    for path in (Path("/"), config.paths.state, config.paths.logs):
        try:
            device, free = path.stat().st_dev, shutil.disk_usage(path).free
        except OSError:
            continue  # who needs it says so
        if free < config.watch.system_disk_free_bytes:
            facts: Facts = {"path": str(path), "free_bytes": free}
            found.setdefault(device, Condition(AlertKind.SYSTEM_DISK, str(path), Severity.CRITICAL, facts))
    return list(found.values())


def _illnesses(config: Config, state: State, stock: Stock, teller: Teller) -> list[Condition]:
    """Read the health of every drive and return what is wrong; take failing ones offline if that is wanted."""
    from plotfarm.jobs.drive_health import read_drives

    healths = read_drives(config, state, stock)
    drives = [reading.drive for reading in stock.readings.values()]
    dated = HealthRecords(state.database).since(time.time() - GROWTH_SECONDS)
    standing = {key: condition.severity for key, condition in teller.told().items()}
    found = health_conditions(drives, healths, dated, standing, config.smart)
    found += speed_conditions(drives, speeds(state.transfers(limit=JUDGED_ARRIVALS)), healths)
    if config.smart.offline_failing:
        _take_offline(
            config, [drive for drive in drives if is_surely_failing(healths.get(drive.identity), config.smart)]
        )
    found += offline_conditions(drives, healths, read_offlined(config.paths.state), standing, config.smart)
    return found


def _take_offline(config: Config, drives: Sequence[Drive]) -> None:
    for drive in drives:
        try:
            if take_offline(config.paths.state, config.paths.locks, drive, time.time()):
                undo = f"to undo it: offline_failing = False, then drive_manager.py -on {drive.name}"
                _LOG.warning(
                    "%s is failing and was taken offline ([smart] offline_failing); %s", drive.mountpoint, undo
                )
        except PlotfarmError as error:
            _LOG.error("%s is failing and cannot be taken offline: %s", drive.mountpoint, error)


def _whose_health_is_known(state: State, stock: Stock) -> set[str]:
    """Return the drives that are here and whose SMART data could be read, or never was there."""
    healths = HealthRecords(state.database).latest()
    return {identity for identity in stock.readings if (health := healths.get(identity)) is None or not health.problem}
