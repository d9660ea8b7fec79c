"""Every report and message that is made of what a host remembers, at the moment of the samples in memory_samples.

The drives are values here: what is mounted on the host of a test has no part in it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path

import memory_samples
from memory_samples import NOW

from plotfarm.base.config.sections import Chia, Config, Paths, PlottingDrives, SystemSettings
from plotfarm.base.state import State
from plotfarm.chia.coin_book import CoinBook
from plotfarm.drives.choose import Choice, select
from plotfarm.drives.model import Drive, Reading, Verdict
from plotfarm.drives.reasons import Reason, Why
from plotfarm.drives.smart.records import HealthRecords
from plotfarm.jobs import coin_reports
from plotfarm.jobs.farm_facts import gather
from plotfarm.jobs.stock import Stock, newest_stored
from plotfarm.jobs.telling import Teller
from plotfarm.notify.message import Message
from plotfarm.reports import coins as coin_words
from plotfarm.reports import explain, mails, plot_report, temperatures
from plotfarm.reports.facts import FarmFacts, ReceivedPlot
from plotfarm.reports.terminal import Terminal

_TIB = 2**40
_K32 = 108_880_000_000


def config_of(directory: Path) -> Config:
    """Return the configuration of that host; no Chia lies there."""
    return Config(
        path=directory / "plot_manager_config",
        system_settings=SystemSettings(server_name="nas01"),
        paths=Paths(state=directory, logs=directory / "logs", locks=directory / "locks"),
        plotting_drives=PlottingDrives(current_plotting_drive="/mnt/enclosure1/drive1"),
        chia=Chia(home="/nowhere/.chia", log="/nowhere/debug.log"),
    )


def _drive(number: int) -> Drive:
    device = f"/dev/sd{'abcd'[number - 1]}1"
    return Drive(f"/mnt/enclosure1/drive{number}", device, f"uuid:{number}", 2048 + number, "xfs")


def _stock(size: int) -> Stock:
    """Return three drives: one with room, one that is full, one that is failing."""
    plots = {1: 60, 2: 110, 3: 4}
    whys = {1: Why(Reason.HAS_ROOM), 2: Why(Reason.FULL), 3: Why(Reason.FAILING, "SMART says FAILED")}
    verdicts, readings = [], {}
    for number, count in plots.items():
        is_full = whys[number].reason is Reason.FULL
        free = 2**30 if is_full else 12 * _TIB - count * _K32
        room = 0 if is_full else free - 2**30
        drive = _drive(number)
        verdicts.append(Verdict(drive, whys[number], free, room, room // size, 12 * _TIB))
        counts = {("v1", 32): count - 1, ("gplot", 28): 1}
        readings[drive.identity] = Reading(drive, counts=counts, plots=count, plot_bytes=count * _K32)
    current = "/mnt/enclosure1/drive1"
    chosen = select(verdicts, "fill", current, False)
    return Stock(Choice(current, chosen, tuple(verdicts), "fill", size, False), readings)


def every_report(state: State, directory: Path) -> dict[str, str]:
    """Return all of them by name; `time.time` must say NOW, and the time zone be UTC."""
    config = config_of(directory)
    size = max(one.bytes for one in newest_stored(state)[:20])
    stock = _stock(size)
    told = list(Teller(config, state.database).told().values())
    facts = gather(config, state, stock, HealthRecords(state.database).latest(), told)
    coins = coin_reports._facts(config, state)
    return {
        **memory_samples.reports(state),
        **_of_drives(facts, stock, config),
        "coin report": coin_words.as_text(coins),
        "coin report as JSON": _document(coin_words.data(coins)),
        "coin report as CSV": coin_words.as_csv(coins),
        **_all_of("coin summary", coin_words.summary(coins)),
        **_all_of("coin mail", _coin_mail(config, state)),
        **_all_of("mail of plots", mails.plots_received("nas01", _marks(state))),
        **_all_of("alert", mails.alert("nas01", told, [], NOW)),
        **_all_of("end of an alert", mails.alert("nas01", [], told, NOW)),
    }


def _of_drives(facts: FarmFacts, stock: Stock, config: Config) -> dict[str, str]:
    previous = facts.drives[1]
    return {
        "plot report": plot_report.as_text(facts),
        "plot report in colour": plot_report.as_text(facts, Terminal(colour=True)),
        "plot report as JSON": _document(plot_report.data(facts)),
        "temperatures": temperatures.as_text(facts, config.smart),
        "temperatures as JSON": _document(temperatures.data(facts, config.smart)),
        "explain": explain.as_text(stock.choice),
        "explain as JSON": _document(explain.data(stock.choice, ())),
        **_all_of("daily mail", mails.daily_update(facts)),
        **_all_of("new drive", mails.plot_drive_changed(facts, previous, previous.drive.mountpoint)),
    }


def _document(data: Mapping[str, object]) -> str:
    return json.dumps(data, indent=2)


def _coin_mail(config: Config, state: State) -> Message:
    book = CoinBook(state.database)
    return coin_words.received("nas01", book.received(), [], book.total(), config.coins)


def _marks(state: State) -> list[ReceivedPlot]:
    return [
        ReceivedPlot(one.finished, one.plot, one.target, one.bytes, one.plotter)
        for one in state.transfers(since=time.time() - 86400)
        if one.digest
    ]


def _all_of(name: str, message: Message) -> dict[str, str]:
    parts = {"subject": message.subject, "short": message.short, "text": message.text, "html": message.html}
    return {f"{name}, {part}": text for part, text in parts.items()}
