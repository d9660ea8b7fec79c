"""What is wrong with the drives by what was read of them in this run: the same for alerts and for reports."""

from __future__ import annotations

from collections.abc import Sequence

from plotfarm.base.condition import AlertKind, Condition, Look, Severity
from plotfarm.base.config.sections import Config
from plotfarm.base.state import State
from plotfarm.drives.choose import Choice
from plotfarm.drives.conditions import Facts, quarantine_conditions
from plotfarm.drives.inventory import Inventory
from plotfarm.drives.model import Drive
from plotfarm.drives.offlined import read_offlined
from plotfarm.drives.presence import drives_in_order, presence_conditions
from plotfarm.drives.smart.records import HealthRecords
from plotfarm.jobs.fitness import quarantined_drives
from plotfarm.jobs.stale_parts import complete_parts_left
from plotfarm.jobs.stock import Stock
from plotfarm.jobs.telling import Teller
from plotfarm.notify.alerts import AlertBook
from plotfarm.notify.checks import Check, check
from plotfarm.plots.parts import FoundPart
from plotfarm.reports import reasons


def standing(config: Config, state: State, stock: Stock, teller: Teller) -> list[Condition]:
    """Return what the owner should know of now, for reports: of the drives as they are in `stock`."""
    left = complete_parts_left(list(stock.readings.values()), config, state)
    checks, told = checks_of_drives(config, state, stock, left), teller.told()
    elsewhere = [condition for key, condition in told.items() if not any(one.covers(key) for one in checks)]
    here = [condition for one in checks for condition in one.found]
    here = [one for one in here if (one.kind, one.about) in told or not one.patience_seconds]
    return sorted(elsewhere + here, key=lambda one: (one.kind, one.about))


def checks_of_drives(
    config: Config, state: State, stock: Stock, left: Sequence[tuple[Drive, FoundPart]]
) -> list[Check]:
    """Look at what was read of the drives: nothing is asked again.

    `left`: see stale_parts.complete_parts_left.
    """
    return [
        _presence(config, state, stock),
        check(Look.QUARANTINE, _lost_data(state, stock)),
        _no_drive(stock.choice),
        _complete_parts(state, stock, left),
    ]


def _presence(config: Config, state: State, stock: Stock) -> Check:
    """Look which drives are gone or cannot be used.

    That one is back is said only of a drive that is there: not of one that was taken offline, or has other trouble now.
    """
    verdicts, offlined = stock.choice.verdicts, read_offlined(config.paths.state)
    plots = {identity: count.plots for identity, count in Inventory(state.database).last_counts().items()}
    healths = HealthRecords(state.database).latest()
    found = presence_conditions(verdicts, state.known_drives(), plots, healths, offlined, config.watch)
    return check(Look.PRESENCE, found, well=drives_in_order(verdicts))


def _lost_data(state: State, stock: Stock) -> list[Condition]:
    """Return the drives in quarantine, also one that has turned read-only since."""
    drives = [verdict.drive for verdict in stock.choice.verdicts]
    healths = HealthRecords(state.database).latest()
    return quarantine_conditions(drives, quarantined_drives(state, drives), healths)


def _complete_parts(state: State, stock: Stock, left: Sequence[tuple[Drive, FoundPart]]) -> Check:
    """Look which complete parts nobody publishes: each takes the room of a plot, and never goes by its age.

    Of a drive whose parts could not be listed, as one that turned read-only, nothing is over.
    """
    readings = stock.readings.values()
    found = [part_left(drive, part) for drive, part in left]

    listed = {reading.drive.identity for reading in readings if reading.problem is None and reading.was_asked}
    expected = {verdict.drive.identity for verdict in stock.choice.verdicts}
    not_listed = tuple(f"{identity}/" for identity in expected - listed)
    known = {about for kind, about in AlertBook(state.database).standing() if kind is AlertKind.PART_LEFT}
    over = {about for about in known if not about.startswith(not_listed)}
    return check(Look.PARTS, found, about=over | {one.about for one in found})


def part_left(drive: Drive, part: FoundPart) -> Condition:
    """Return the alert that a complete part lies on a drive and its plot is not stored here."""
    facts: Facts = {"path": f"{drive.mountpoint}/{part.name}", "plot": part.plot, "bytes": part.size}
    return Condition(AlertKind.PART_LEFT, f"{drive.identity}/{part.name}", Severity.WARNING, facts)


def _no_drive(choice: Choice) -> Check:
    """Look whether any drive can take a plot."""
    if choice.chosen is not None:
        return check(Look.NO_DRIVE, [])
    counted = reasons.counted(choice.verdicts) if choice.verdicts else "no plot drive was found"
    return check(Look.NO_DRIVE, [Condition(AlertKind.NO_DRIVE, "drives", Severity.CRITICAL, {"reasons": counted})])
