"""The reports of drive_manager.py: -pr, -ct, -dr, and -ud, which takes the daily numbers."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping

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
from plotfarm.jobs.server import sender, server_name
from plotfarm.jobs.stock import Stock, decide_again, take_stock
from plotfarm.jobs.telling import Teller, on_its_way
from plotfarm.plots.formats import NO_PLOTS
from plotfarm.reports import count_progress
from plotfarm.reports import plot_report as plot_words
from plotfarm.reports import temperatures as temperature_words
from plotfarm.reports.envelope import Report, Role, enveloped
from plotfarm.reports.facts import FarmFacts
from plotfarm.reports.terminal import say, standard_output


def plot_report(config: Config, as_json: bool = False, wide: bool = False) -> int:
    """Print how many plots there are and how many more fit; of the drives only the current one's health is read."""
    state = State(config.paths.state)
    stock = _count(config, state)
    current = [identity for identity, reading in stock.readings.items()
               if reading.drive.mountpoint == stock.choice.current]  # fmt: skip
    healths = read_drives(config, state, stock, only=current)
    stock = decide_again(config, state, stock)
    facts = gather(config, state, stock, healths, standing(config, state, stock, Teller(config, state.database)))
    state.close()
    if as_json:
        say(_document(Report.PLOT_REPORT, config, plot_words.data(facts), facts.now))
    else:
        say(plot_words.as_text(facts, standard_output(wide=wide)))
    return 0


def temperature_report(config: Config, as_json: bool = False, wide: bool = False) -> int:
    """Print temperature and health of every plot drive, each of them read now."""
    state = State(config.paths.state)
    facts = _all_facts(config, state)
    state.close()
    if as_json:
        say(_document(Report.TEMPERATURES, config, temperature_words.data(facts, config.smart), facts.now))
    else:
        say(temperature_words.as_text(facts, config.smart, standard_output(wide=wide)))
    return 0


def daily_report(config: Config, as_json: bool = False, as_html: bool = False, wide: bool = False) -> int:
    """Send the daily mail and print it; if that message is switched off, say so."""
    from plotfarm.reports import mails
    from plotfarm.reports.mail_text import folded

    state = State(config.paths.state)
    facts = _all_facts(config, state)
    message = mails.daily_update(facts)
    recipients = Teller(config, state.database).tell(message)
    state.close()
    terminal = standard_output(wide=wide)
    if as_json:
        data = {**plot_words.data(facts), "recipients": recipients}
        say(_document(Report.DAILY_REPORT, config, data, facts.now))
    elif as_html:
        say(message.html)
    else:
        say(folded(message.text, terminal))
    said = on_its_way(recipients) or (
        "It was not sent: [notifications] alerting and daily_update must be True, and one of email, sms, pb or "
        "services set up (try drive_manager.py --test_notifications)."
    )
    say("\n".join(terminal.lines(said)), sys.stderr if as_json or as_html else sys.stdout)
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
    daily = Daily(now, plots, state.stored_since(since, without=NO_PLOTS)[0])
    made_in_a_day = state.stored_since(now - DAY_SECONDS, without=NO_PLOTS)[0]
    state.record_daily(daily)
    state.close()
    write_values(config.path, {
        ("plotting_information", "current_total_plots_midnight"): str(plots),
        ("plotting_information", "current_total_plots_daily"): str(made_in_a_day),
    })  # fmt: skip
    if as_json:
        data = {
            "plots": plots,
            "plots_last_24_hours": made_in_a_day,
            "plots_since_last_reading": daily.made,
            "seconds_since_last_reading": now - since if before else None,
        }
        say(_document(Report.DAILY_NUMBERS, config, data, now))
        return 0
    last = "this is the first reading"
    if before:
        last = f"{daily.made} since the reading {format_duration(now - since)} ago"
    words = f"{plots} plots on {server_name(config)}, {made_in_a_day} made in the last 24 hours, {last}"
    say("\n".join(standard_output().lines(words)))
    return 0


def _document(report: Report, config: Config, data: Mapping[str, object], now: float) -> str:
    return enveloped(report, sender(config, Role.NAS), data, now)


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
