"""coin_monitor.py --report, --csv and --summary: what was received, made from what is remembered."""

from __future__ import annotations

import time
from datetime import date
from pathlib import Path

from plotfarm.base.config.sections import Config
from plotfarm.base.errors import PlotfarmError
from plotfarm.base.state import State
from plotfarm.chia.coin_book import CoinBook
from plotfarm.chia.farm_log import Unreadable, farmed
from plotfarm.chia.rewards import expected_days
from plotfarm.chia.settings import log_path
from plotfarm.drives.choose import DEFAULT_PLOT_BYTES
from plotfarm.jobs.run_records import newest_runs
from plotfarm.jobs.server import sender, server_name
from plotfarm.jobs.telling import Teller, on_its_way
from plotfarm.reports import coins as words
from plotfarm.reports.coins import CoinFacts
from plotfarm.reports.envelope import Report, Role, enveloped
from plotfarm.reports.mail_text import folded
from plotfarm.reports.terminal import say, standard_output

_TIB, _EIB = 2**40, 2**60


def report(
    config: Config,
    *,
    since: date | None = None,
    as_json: bool = False,
    csv: str | None = None,
    wide: bool = False,
) -> int:
    """Print totals by month and day; or write the coins as CSV into the file `csv` ("-": to standard output)."""
    state = State(config.paths.state)
    facts = _facts(config, state)
    state.close()
    facts = facts.since(since) if since else facts
    if csv is not None:
        _write(words.as_csv(facts), csv)
    elif as_json:
        say(enveloped(Report.COINS, sender(config, Role.FARMER), words.data(facts), facts.now))
    else:
        say(words.as_text(facts, standard_output(wide=wide)))
    return 0


def summary(config: Config, *, as_json: bool = False) -> int:
    """Send the summary of the day and print it; without alerting, say that it was not sent."""
    state = State(config.paths.state)
    facts = _facts(config, state)
    message = words.summary(facts)
    recipients = Teller(config, state.database).tell(message)
    state.close()
    if as_json:
        data = words.summary_data(facts, recipients)
        say(enveloped(Report.COIN_SUMMARY, sender(config, Role.FARMER), data, facts.now))
        return 0
    terminal = standard_output()
    say(folded(message.text, terminal))
    not_sent = "It was not sent: set alerting and a way in [notifications] (try drive_manager.py --test_notifications)."
    say("\n".join(terminal.lines(on_its_way(recipients) or not_sent)))
    return 0


def _facts(config: Config, state: State) -> CoinFacts:
    book = CoinBook(state.database)
    coins = book.received()
    is_asked = book.knows_wallet() and config.coins.wallet != "never"
    unconfirmed = [one for one in coins if not one.in_wallet] if is_asked else []
    return CoinFacts(
        server_name(config),
        time.time(),
        coins,
        book.blocks(),
        book.total(),
        config.coins,
        _expected(config),
        unconfirmed,
        has_read=book.has_read(),
        last_runs=newest_runs(state.database),
    )


def _expected(config: Config) -> float | None:
    """Return in how many days a block is to be expected; the size of a plot that nobody tells is that of a k32."""
    netspace = config.coins.netspace_eib * _EIB
    size = config.coins.farm_size_tib * _TIB
    if netspace and not size:
        said = farmed(log_path(config.chia))
        if not isinstance(said, Unreadable):
            size = said.bytes if said.bytes is not None else said.plots * DEFAULT_PLOT_BYTES
    return expected_days(size, netspace)


def _write(text: str, path: str) -> None:
    if path == "-":
        say(text.removesuffix("\n"))
        return
    try:
        Path(path).write_text(text, encoding="utf-8", newline="")
    except OSError as error:
        raise PlotfarmError(f"{path} cannot be written: {error.strerror}") from None
    say("\n".join(standard_output().lines(f"{text.count(chr(10)) - 1} coins written to {path}")))
