"""The reports of drive_manager.py: -pr, -ct, -dr, and -ud, which takes the daily numbers."""

from __future__ import annotations

import json
import sys
import time

from plotfarm.base.config.sections import Config
from plotfarm.base.config.writer import write_values
from plotfarm.base.locks import refuse_network_directory
from plotfarm.base.state import Daily, State
from plotfarm.base.units import DAY_SECONDS, format_duration
from plotfarm.drives.inventory import Inventory
from plotfarm.drives.probe import Counting
from plotfarm.jobs.drive_checks import standing
from plotfarm.jobs.drive_health import read_drives
from plotfarm.jobs.farm_facts import gather
from plotfarm.jobs.server import server_name
from plotfarm.jobs.stock import Stock, decide_again, take_stock
from plotfarm.jobs.telling import Teller, on_its_way
from plotfarm.reports import count_progress
from plotfarm.reports import plot_report as plot_words
from plotfarm.reports import temperatures as temperature_words
from plotfarm.reports.explain import wants_colour
from plotfarm.reports.facts import FarmFacts


def plot_report(config: Config, as_json: bool = False) -> int:
    """Print how many plots there are and how many more fit; of the drives only the current one's health is read."""
    state = State(config.paths.state)
    stock = _count(config, state)
    current = [identity for identity, reading in stock.readings.items()
               if reading.drive.mountpoint == stock.choice.current]  # fmt: skip
    healths = read_drives(config, state, stock, only=current)
    stock = decide_again(config, state, stock)
    facts = gather(config, state, stock, healths, standing(config, state, stock, Teller(config, state.database)))
    state.close()
    print(plot_words.as_json(facts) if as_json else plot_words.as_text(facts, wants_colour(sys.stdout)))  # noqa: T201
    return 0


def temperature_report(config: Config, as_json: bool = False) -> int:
    """Print temperature and health of every plot drive, each of them read now."""
    state = State(config.paths.state)
    facts = _all_facts(config, state)
    state.close()
    colour = wants_colour(sys.stdout)
    report = temperature_words.as_json(facts, config.smart) if as_json else (
        temperature_words.as_text(facts, config.smart, colour)
    )  # fmt: skip
    print(report)  # noqa: T201
    return 0


def daily_report(config: Config, as_json: bool = False, as_html: bool = False) -> int:
    """Print the daily mail and send it; if that message is switched off, say so."""
    from plotfarm.reports import mails

    state = State(config.paths.state)
    facts = _all_facts(config, state)
    message = mails.daily_update(facts)
    print(plot_words.as_json(facts) if as_json else message.html if as_html else message.text)  # noqa: T201
    receivers = Teller(config, state.database).tell(message)
    state.close()
    said = on_its_way(receivers) or (
        "It was not sent: [notifications] alerting and daily_update must be True, and one of email, sms, pb or "
        "services set up (try drive_manager.py --test_notifications)."
    )
    print(said, file=sys.stderr if as_json or as_html else sys.stdout)
    return 0


def update_daily(config: Config, as_json: bool = False) -> int:
    """Take a dated reading of how many plots there are and were made, and write both to the configuration.

    The reports do not depend on it: they count the arrivals of the last 24 hours. So nothing goes wrong when it
    is taken twice, or not at all.
    """
    refuse_network_directory(config.paths.locks)
    state = State(config.paths.state)
    stock, before, now = _count(config, state), state.last_daily(), time.time()
    since = before.time if before and before.time <= now else now - DAY_SECONDS
    plots = sum(reading.plot_files or 0 for reading in stock.readings.values())
    daily = Daily(now, plots, state.stored_since(since)[0])
    made_in_a_day = state.stored_since(now - DAY_SECONDS)[0]
    state.record_daily(daily)
    state.close()
    write_values(config.path, {
        ("plotting_information", "current_total_plots_midnight"): str(plots),
        ("plotting_information", "current_total_plots_daily"): str(made_in_a_day),
    })  # fmt: skip
    facts = {
        "server": server_name(config),
        "plots": plots,
        "plots_last_24_hours": made_in_a_day,
        "plots_since_last_reading": daily.made,
        "seconds_since_last_reading": now - since if before else None,
    }
    last = (
        f"{daily.made} since the reading {format_duration(now - since)} ago" if before else "this is the first reading"
    )
    words = f"{plots} plots on {facts['server']}, {made_in_a_day} made in the last 24 hours, {last}"
    print(json.dumps(facts, indent=2) if as_json else words)  # noqa: T201
    return 0


def _count(config: Config, state: State) -> Stock:
    refuse_network_directory(config.paths.locks)
    with count_progress.shown() as show:
        return take_stock(config, state, Counting(Inventory(state.database), on_progress=show))


def _all_facts(config: Config, state: State) -> FarmFacts:
    """Return everything, with the health of every drive read now."""
    stock = _count(config, state)
    healths = read_drives(config, state, stock)
    stock = decide_again(config, state, stock)
    return gather(config, state, stock, healths, standing(config, state, stock, Teller(config, state.database)))
