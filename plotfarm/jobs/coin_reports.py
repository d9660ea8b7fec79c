"""coin_monitor.py --report, --csv and --summary: what was received, made from what is remembered."""

from __future__ import annotations

import sys
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
from plotfarm.jobs.server import server_name
from plotfarm.jobs.telling import Teller, on_its_way
from plotfarm.reports import coins as words
from plotfarm.reports.coins import CoinFacts
from plotfarm.reports.explain import wants_colour

_TIB, _EIB = 2**40, 2**60


def report(config: Config, *, since: date | None = None, as_json: bool = False, csv: str | None = None) -> int:
    """Print totals by month and day; or write the coins as CSV into the file `csv` ("-": to standard output)."""
    state = State(config.paths.state)
    facts = _facts(config, state)
    state.close()
    facts = facts.since(since) if since else facts
    if csv is not None:
        _write(words.as_csv(facts), csv)
    else:
        print(words.as_json(facts) if as_json else words.as_text(facts, wants_colour(sys.stdout)))  # noqa: T201
    return 0


def summary(config: Config) -> int:
    """Send the summary of the day and print it; without alerting, say that it was not sent."""
    state = State(config.paths.state)
    message = words.summary(_facts(config, state))
    receivers = Teller(config, state.database).tell(message)
    state.close()
    print(message.text)  # noqa: T201
    not_sent = "It was not sent: set alerting and a way in [notifications] (try drive_manager.py --test_notifications)."
    print(on_its_way(receivers) or not_sent)  # noqa: T201
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
        sys.stdout.write(text)
        return
    try:
        Path(path).write_text(text, encoding="utf-8", newline="")
    except OSError as error:
        raise PlotfarmError(f"{path} cannot be written: {error.strerror}") from None
    print(f"{text.count(chr(10)) - 1} coins written to {path}")  # noqa: T201
