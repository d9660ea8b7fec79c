"""`drive_manager.py` in normal mode: which drive the next plots go to, and what the owner should know of."""

from __future__ import annotations

import logging
import time

from plotfarm.base.config.sections import Config
from plotfarm.base.locks import refuse_network_directory, sole_run
from plotfarm.base.state import State
from plotfarm.drives.choose import Choice
from plotfarm.drives.inventory import Inventory
from plotfarm.drives.mounts import find_drives
from plotfarm.drives.offlined import ORIGINAL
from plotfarm.drives.probe import Counting
from plotfarm.drives.smart.records import HealthRecords
from plotfarm.jobs import look_after, offline
from plotfarm.jobs.run_records import newest_runs
from plotfarm.jobs.server import sender
from plotfarm.jobs.stale_parts import remove_stale_parts
from plotfarm.jobs.stock import take_stock
from plotfarm.jobs.telling import Teller
from plotfarm.reports import reasons
from plotfarm.reports.envelope import Report, Role, enveloped
from plotfarm.reports.terminal import complain, say, say_if_watched, standard_output

_LOG = logging.getLogger(__name__)


def choose_drive(config: Config) -> int:
    """Choose the plot drive and write it back if it changed; 1 if no drive can take a plot."""
    lock = sole_run(config.paths.locks / "drive_manager.lock")
    if lock is None:
        _LOG.info("drive_manager is running already, Exiting")
        say_if_watched("drive_manager.py is running already: nothing to do.")
        return 0
    with lock:
        state = State(config.paths.state)
        try:
            return _one_run(config, state)
        finally:
            state.close()


def _one_run(config: Config, state: State) -> int:
    """Choose first: whatever becomes of the rest, plots have a drive to go to."""
    if ORIGINAL.exists():
        offline.take_over(config, find_drives(config.drives))
    due = HealthRecords(state.database).is_due(time.time(), config.smart.smart_interval_minutes * 60)
    stock = take_stock(config, state, _counting(config, state) if due else None)
    changed = _carry_out(stock.choice, config)
    left = remove_stale_parts(list(stock.readings.values()), config, state)
    teller = Teller(config, state.database)
    look_after.tell_of_arrivals(config, state, teller)
    if changed:
        look_after.tell_of_change(config, state, stock, teller)
    look_after.look_after(config, state, stock, teller, left, with_health=due)
    if stock.choice.chosen is None:
        complain(f"drive_manager: {no_drive(stock.choice)}")
        return 1
    _say_outcome(stock.choice, changed, len(teller.told()))
    return 0


def _counting(config: Config, state: State) -> Counting:
    """Have the plots counted, but not for so long that the next runs would be missed: another one goes on with it."""
    return Counting(Inventory(state.database), config.drives.count_seconds)


def _say_outcome(choice: Choice, is_new: bool, alerts: int) -> None:
    """Tell a person who looks what was done."""
    if standard_output().is_watched:
        from plotfarm.reports.explain import outcome  # cron does not wait for it each minute

        say_if_watched(outcome(choice, is_new, alerts))


def explain(config: Config, as_json: bool = False, wide: bool = False) -> int:
    """Print for each drive why it would be chosen or skipped; nothing is changed."""
    from plotfarm.drives.candidates import candidates  # cron needs none of these, every minute
    from plotfarm.jobs.host_limits import read_limits
    from plotfarm.reports import explain as words
    from plotfarm.reports.host_limits import shortfalls

    refuse_network_directory(config.paths.locks)
    state = State(config.paths.state)
    choice = take_stock(config, state).choice
    limits = read_limits(config, state, len(choice.verdicts))
    runs = newest_runs(state.database)
    state.close()
    found = candidates(config.drives)
    too_low = shortfalls(limits)
    now = time.time()
    if as_json:
        say(enveloped(Report.EXPLAIN, sender(config, Role.NAS), words.data(choice, found, runs, too_low), now))
        return 0

    terminal = standard_output(wide=wide)
    text = words.as_text(choice, terminal, found, str(config.path))
    say(words.with_last_runs(text, runs, now, terminal))
    for shortfall in too_low:
        say("\n".join(terminal.lines(f"Limit: {shortfall}")))
    return 0


def _carry_out(choice: Choice, config: Config) -> bool:
    """Write the chosen drive to the configuration if it is another one; tells whether it is."""
    _LOG.debug("Currently Configured Plot Drive: %s", choice.current)
    if choice.chosen is None:
        _LOG.error("%s", no_drive(choice))
        return False
    selected = choice.chosen.drive.mountpoint
    _LOG.debug("System Selected Plot Drive:      %s", selected)
    if choice.arriving:
        _LOG.debug("A plot is arriving on %s: the plot drive stays", selected)
    if selected == choice.current:
        _LOG.debug("Configured and Selected Drives Match!")
    else:
        from plotfarm.base.config.writer import write_values  # slow to import, seldom needed

        write_values(config.path, {("plotting_drives", "current_plotting_drive"): selected})
        _LOG.info("Plot Drive Updated: Was: %s,  Now: %s", choice.current or "(none)", selected)
    _LOG.debug("Plots left available on configured plotting drive: %d", choice.chosen.room_plots)
    return selected != choice.current


def no_drive(choice: Choice) -> str:
    """Return the message for the day when no drive can take a plot."""
    if not choice.verdicts:
        return reasons.NO_DRIVES
    counted = reasons.counted(choice.verdicts)
    return f"no drive can take a plot ({counted}): add or empty a drive; drive_manager.py --explain shows each"
