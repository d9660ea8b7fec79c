"""Whether Chia farms what lies on the drives, by its log and its configuration."""

from __future__ import annotations

import time

from plotfarm.base.condition import AlertKind, Condition, Look, Severity
from plotfarm.base.config.sections import Config
from plotfarm.base.units import DAY_SECONDS
from plotfarm.chia.farm_log import Farmed, Unreadable
from plotfarm.jobs.farming import Heard, is_silent
from plotfarm.jobs.stock import Stock
from plotfarm.notify.checks import Check, check


def checks_of_chia(config: Config, stock: Stock, heard: Heard) -> list[Check]:
    """Compare the drives with what Chia farms. A host without Chia has nothing to compare."""
    from plotfarm.chia.settings import log_path

    if isinstance(heard.now, Unreadable) and not log_path(config.chia).exists():
        return [check(Look.FARMED_PLOTS, [])]
    return [*_by_its_word(config, stock, heard.now), *_by_its_configuration(config, stock)]


def _by_its_word(config: Config, stock: Stock, said: Farmed | Unreadable | None) -> list[Check]:
    """Compare the plots on the drives with those that Chia farms.

    What it said before it fell silent is no news: a difference is then neither raised nor over.
    """
    if said is None:
        return []
    if isinstance(said, Unreadable):
        facts = {"why": said.why, "remedy": said.remedy}
        unreadable = Condition(AlertKind.CHIA_UNREADABLE, "chia", Severity.WARNING, facts)
        return [check(Look.FARMED_PLOTS, [unreadable], kinds=[AlertKind.CHIA_UNREADABLE])]

    readable = check(Look.FARMED_PLOTS, [], kinds=[AlertKind.CHIA_UNREADABLE])
    counts = [reading.plot_files for reading in stock.readings.values()]
    if None in counts or is_silent(said, config.chia, time.time()):
        return [readable]

    on_drives = sum(count or 0 for count in counts)
    found = []
    if abs(on_drives - said.plots) > config.watch.chia_difference:
        numbers = {"on_drives": on_drives, "farmed": said.plots}
        found.append(
            Condition(AlertKind.CHIA_DIFFERENCE, "plots", Severity.WARNING, numbers, repeat_seconds=DAY_SECONDS)
        )
    return [readable, check(Look.FARMED_PLOTS, found, kinds=[AlertKind.CHIA_DIFFERENCE])]


def _by_its_configuration(config: Config, stock: Stock) -> list[Check]:
    """Look whether Chia lists every drive that plots lie on."""
    from plotfarm.chia.settings import not_listed, plot_directories

    listed = plot_directories(config.chia)
    if isinstance(listed, Unreadable):
        return []
    places = [reading.drive.mountpoint for reading in stock.readings.values() if reading.plot_files]
    found = []
    if missing := not_listed(places, listed.directories, listed.recursive):
        about = {"mountpoints": ", ".join(missing)}
        found.append(
            Condition(AlertKind.CHIA_NOT_LISTED, "drives", Severity.WARNING, about, repeat_seconds=DAY_SECONDS)
        )
    return [check(Look.FARMED_PLOTS, found, kinds=[AlertKind.CHIA_NOT_LISTED])]
