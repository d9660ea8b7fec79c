"""What a farmer reads of coins: the report, the same as JSON and CSV, and the messages."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta

from plotfarm.base.condition import Severity
from plotfarm.base.config.sections import Coins
from plotfarm.base.text import one_line
from plotfarm.base.units import DAY_SECONDS, format_duration
from plotfarm.chia.coin_book import Holding, Total, in_xch
from plotfarm.chia.coins import Block
from plotfarm.chia.ledger import Entry, Status
from plotfarm.chia.rewards import MOJO_PER_XCH
from plotfarm.notify.message import Message
from plotfarm.reports import last_runs
from plotfarm.reports.compose import compose
from plotfarm.reports.frame import Remark, Value, remarks, report
from plotfarm.reports.last_runs import LastRun
from plotfarm.reports.tables import Cell, Column, TableStyle, table
from plotfarm.reports.terminal import PLAIN, Terminal

_COLUMNS = (Column("Date", align="^"), Column("Coins", align="^"), Column("XCH", align="^"))
_WIDEST_REMARK = 200  # cells
_MOST_ITEMS = 40
_MOST_DAYS = 31
_KINDS = {"farmer": "farmer reward", "pool": "pool reward", "claim": "plotNFT claim", "payment": "payment"}
_NOTHING_READ = "not known: neither Chia's log nor its wallet was ever read"
_WHY = {
    Status.REVERTED: "its block is no longer part of the chain",
    Status.CHANGE: "it came out of a coin of your own",
    Status.ASSET: "it is not XCH",
    Status.DOUBLE: "it was counted twice: the wallet had given it another name",
}


@dataclass(frozen=True)
class CoinFacts:
    """All that the report is made of."""

    server: str
    now: float  # Unix time
    coins: Sequence[Entry]  # received, oldest first
    blocks: Sequence[Block]
    total: Total
    settings: Coins
    expected_days: float | None = None
    unconfirmed: Sequence[Entry] = field(default=())  # received by the log, not known to the wallet that is asked
    has_read: bool = True  # a log or the wallet, ever; if not, nothing is known
    last_runs: Sequence[LastRun] = field(default=())  # of each script

    def since(self, first: date) -> CoinFacts:
        """Return the same with the coins and blocks from a day on; the total stays that of all."""
        coins = [coin for coin in self.coins if (day := day_of(coin.time)) is not None and day >= first]
        blocks = [block for block in self.blocks if (day := day_of(block.time)) is not None and day >= first]
        return replace(self, coins=coins, blocks=blocks)


def day_of(time: str) -> date | None:
    """Return the local day of a time in a log, or None: before version 1.1 a log had no dates."""
    try:
        return datetime.fromisoformat(time).date() if "T" in time else None
    except ValueError:
        return None


def as_text(facts: CoinFacts, terminal: Terminal = PLAIN) -> str:
    """Return the report for a terminal."""
    lines = report(f"{one_line(facts.server)} Coin Report", _rows(facts), terminal)
    for title, key, most in (("By Month", "%Y-%m", None), ("By Day", "%Y-%m-%d", _MOST_DAYS)):
        sums = _sums(facts.coins, key)
        if sums:
            shown = list(sums.items())[-most:] if most else list(sums.items())
            rows = [[Cell(name), Cell(str(coins)), Cell(in_xch(mojo))] for name, (coins, mojo) in shown]
            lines += ["", *table(_COLUMNS, rows, terminal, TableStyle.FRAMED, title).lines]
    unknown = [
        Remark("!", f"not known to the wallet: {in_xch(coin.mojo)} XCH, {_KINDS[coin.kind]}, {coin.time}, {coin.id}")
        for coin in facts.unconfirmed[:_MOST_ITEMS]
    ]
    lines += remarks(unknown, _WIDEST_REMARK, terminal)
    if facts.last_runs:
        lines += ["", *remarks(last_runs.remarks(facts.last_runs, facts.now), _WIDEST_REMARK, terminal)]
    return "\n".join(lines)


def _rows(facts: CoinFacts) -> list[tuple[str, Value]]:
    if not facts.has_read:
        return [("Coins received:", Value(_NOTHING_READ, "warning"))]
    rows = [("Received in all (XCH):", in_xch(facts.total.mojo))]
    if facts.total.holding:
        rows.append((f"In the wallet {_asked(facts.total.holding)} (XCH):", in_xch(facts.total.holding.mojo)))
    rows.append(("Coins received:", str(len(facts.coins))))
    for kind, words in _KINDS.items():
        coins = [coin for coin in facts.coins if coin.kind == kind]
        if coins:
            rows.append((f"  of these {words}s:", f"{len(coins)}, {in_xch(sum(coin.mojo for coin in coins))} XCH"))
    fees = sum(coin.fees_mojo for coin in facts.coins)
    if fees:
        rows.append(("  fees in farmer rewards (XCH):", in_xch(fees)))
    if worth := fiat(_present(facts.total), facts.settings):
        rows.append(("Worth:", worth))
    rows.append(("Blocks found:", str(len(facts.blocks))))
    expected = "n/a" if facts.expected_days is None else format_duration(facts.expected_days * DAY_SECONDS)
    rows.append(("Expected time to win:", expected))
    return [(label, Value(value)) for label, value in rows]


def _asked(holding: Holding) -> str:
    return f"on {datetime.fromtimestamp(holding.asked):%Y-%m-%d %H:%M}"


def _present(total: Total) -> int:
    """Return what is there to be worth something: what the wallet holds, or all that was received."""
    return total.holding.mojo if total.holding else total.mojo


def _sums(coins: Iterable[Entry], form: str) -> dict[str, tuple[int, int]]:
    """Return period -> (coins, mojo), in the order of time."""
    sums: dict[str, tuple[int, int]] = {}
    for coin in coins:
        day = day_of(coin.time)
        name = day.strftime(form) if day else "unknown"
        count, mojo = sums.get(name, (0, 0))
        sums[name] = (count + 1, mojo + coin.mojo)
    return dict(sorted(sums.items()))


def data(facts: CoinFacts) -> dict[str, object]:
    """Return the report for a program; amounts in mojo are text, since they may not fit into its numbers."""
    return {
        **_totals(facts),
        "currency": facts.settings.currency if facts.settings.price else None,
        "price": facts.settings.price or None,
        "coins": [_coin(coin) for coin in facts.coins],
        "blocks": [{"local_time": block.time, "hash": block.hash} for block in facts.blocks],
        "by_month": _periods(facts, "%Y-%m"),
        "by_day": _periods(facts, "%Y-%m-%d"),
        "last_runs": last_runs.data(facts.last_runs),
    }


def summary_data(facts: CoinFacts, recipients: int) -> dict[str, object]:
    """Return the summary of the day for a program; `recipients`: how many it goes to."""
    today = datetime.fromtimestamp(facts.now)
    day = [coin for coin in facts.coins if _is_after(coin.time, today - timedelta(days=1))]
    return {
        **_totals(facts),
        "coins_last_24_hours": len(day),
        "xch_last_24_hours": in_xch(sum(coin.mojo for coin in day)),
        "recipients": recipients,
    }


def _totals(facts: CoinFacts) -> dict[str, object]:
    return {
        "received_mojo": str(facts.total.mojo) if facts.has_read else None,
        "received_xch": in_xch(facts.total.mojo) if facts.has_read else None,
        "wallet": _holding_as_json(facts.total.holding),
        "expected_days_to_win": facts.expected_days,
    }


def _coin(coin: Entry) -> dict[str, object]:
    return {
        "id": coin.id,
        "kind": coin.kind,
        "mojo": str(coin.mojo),
        "xch": in_xch(coin.mojo),
        "height": coin.height,
        "time": _utc(coin.time) or None,
        "local_time": coin.time,
        "in_wallet": coin.in_wallet,
    }


def _periods(facts: CoinFacts, form: str) -> list[dict[str, object]]:
    return [
        {"period": name, "coins": count, "mojo": str(mojo), "xch": in_xch(mojo)}
        for name, (count, mojo) in _sums(facts.coins, form).items()
    ]


def _holding_as_json(holding: Holding | None) -> dict[str, str] | None:
    if holding is None:
        return None
    asked = datetime.fromtimestamp(holding.asked, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {"mojo": str(holding.mojo), "xch": in_xch(holding.mojo), "asked": asked}


def as_csv(facts: CoinFacts) -> str:
    """Return the coins for a spreadsheet. No field begins with what a spreadsheet takes for a formula."""
    rows = [_csv_row(coin) for coin in facts.coins]
    text = io.StringIO()
    writer = csv.DictWriter(text, ("time_utc", "amount_xch", "amount_mojo", "kind", "coin_id", "height"))
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _csv_row(coin: Entry) -> dict[str, str]:
    return {
        "time_utc": _utc(coin.time), "amount_xch": in_xch(coin.mojo), "amount_mojo": str(coin.mojo),
        "kind": coin.kind, "coin_id": coin.id, "height": "" if coin.height is None else str(coin.height),
    }  # fmt: skip


def _utc(time: str) -> str:
    """Return the local time of a log as UTC; "" if it has no date."""
    try:
        return datetime.fromisoformat(time).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if "T" in time else ""
    except (ValueError, OverflowError):
        return ""


def fiat(mojo: int, settings: Coins) -> str:
    """Return what an amount is worth at the price that the owner has set, "" if there is none."""
    return f"{mojo / MOJO_PER_XCH * settings.price:,.2f} {one_line(settings.currency)}" if settings.price else ""


def received(
    server: str, coins: Sequence[Entry], taken_back: Sequence[Entry], total: Total, settings: Coins
) -> Message:
    """Return the message about coins that were received, and about those told before that were not."""
    context = {
        "server": one_line(server), "count": len(coins), "sum_xch": in_xch(sum(coin.mojo for coin in coins)),
        "coins": [_shown(coin, settings) for coin in coins[:_MOST_ITEMS]],
        "taken_back": [_shown(coin, settings) for coin in taken_back[:_MOST_ITEMS]],
        **_total(total, settings),
    }  # fmt: skip
    plain = "\n".join(f"{in_xch(coin.mojo)} XCH, {coin.kind}, {coin.time}, {coin.id}" for coin in coins[:_MOST_ITEMS])
    severity = Severity.INFO if not taken_back else Severity.WARNING
    return compose("per_coin", severity, context, _plainly(server, len(coins), plain))


def summary(facts: CoinFacts) -> Message:
    """Return the daily summary."""
    today = datetime.fromtimestamp(facts.now)
    day = [coin for coin in facts.coins if _is_after(coin.time, today - timedelta(days=1))]
    month = [coin for coin in facts.coins if _is_after(coin.time, datetime(today.year, today.month, 1))]
    days = facts.expected_days
    context = {
        "server": one_line(facts.server), "now": facts.now, "blocks": len(facts.blocks), "day_coins": len(day),
        "day_xch": in_xch(sum(coin.mojo for coin in day)), "month_xch": in_xch(sum(coin.mojo for coin in month)),
        "expected": "" if days is None else format_duration(days * DAY_SECONDS),
        "last_runs": last_runs.lines(facts.last_runs, facts.now),
        "not_read": "" if facts.has_read else _NOTHING_READ,
        **_total(facts.total, facts.settings),
    }  # fmt: skip
    plain = f"{in_xch(facts.total.mojo)} XCH in all" if facts.has_read else _NOTHING_READ
    return compose("coin_summary", Severity.INFO, context, _plainly(facts.server, len(day), plain))


def _plainly(server: str, count: int, text: str) -> Callable[[], tuple[str, str]]:
    return lambda: (f"{one_line(server)}: {count} coins", text)


def _is_after(time: str, moment: datetime) -> bool:
    try:
        return "T" in time and datetime.fromisoformat(time).replace(tzinfo=None) >= moment
    except ValueError:
        return False


def _total(total: Total, settings: Coins) -> dict[str, object]:
    holding = total.holding
    return {
        "total_xch": in_xch(total.mojo), "total_coins": total.coins, "total_fiat": fiat(_present(total), settings),
        "wallet_xch": in_xch(holding.mojo) if holding else "", "wallet_asked": holding.asked if holding else None,
    }  # fmt: skip


def _shown(coin: Entry, settings: Coins) -> dict[str, str]:
    fees = f", {in_xch(coin.fees_mojo)} of it fees" if coin.fees_mojo else ""
    return {
        "xch": in_xch(coin.mojo), "mojo": str(coin.mojo), "kind": f"{_KINDS[coin.kind]}{fees}",
        "height": "unknown" if coin.height is None else str(coin.height), "time": coin.time.replace("T", " "),
        "id": coin.id, "fiat": fiat(coin.mojo, settings), "why": _WHY.get(coin.status, "it is none of yours"),
    }  # fmt: skip
