"""Where coins are seen: Chia's log and its wallet, and what is told if one of them cannot be read."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from plotfarm.base.condition import Condition, Severity
from plotfarm.base.config.sections import Config
from plotfarm.chia.coin_book import CoinBook, in_xch
from plotfarm.chia.farm_log import REMEDY, Unreadable
from plotfarm.chia.log_reader import Read
from plotfarm.jobs.telling import Teller

if TYPE_CHECKING:
    from collections.abc import Sequence

    from plotfarm.chia.coins import Event
    from plotfarm.chia.wallet import WalletAddress, WalletCoin

_READABLE = {"INFO", "DEBUG"}
_DISAGREE_SECONDS = 15 * 60.0  # a wallet that is a little behind is no disagreement


def watch_log(log: Path, news: tuple[Sequence[Event], Read] | Unreadable, config: Config, teller: Teller) -> None:
    """Tell if the log cannot be read, says nothing that this program knows, or stands still although Chia runs."""
    problem = news if isinstance(news, Unreadable) else _unfit(log, news[1])
    has_lines = not isinstance(news, Unreadable) and news[1].lines > 0
    found = []
    looked_at: list[str] = ["coin_log_silent"]
    if problem is not None:
        facts = {"path": str(log), "why": problem.why, "remedy": problem.remedy}
        patience = config.watch.trouble_minutes * 60
        found.append(Condition("coin_log", str(log), Severity.CRITICAL, facts, patience))
    elif not has_lines and _chia_runs():
        minutes = config.coins.silent_minutes
        facts_of_silence: dict[str, str | int | float | None] = {"path": str(log), "minutes": minutes}
        found.append(
            Condition("coin_log_silent", str(log), Severity.WARNING, facts_of_silence, patience_seconds=minutes * 60)
        )
    if problem is not None or has_lines:
        looked_at.append("coin_log")
    teller.see(found, looked_at)


def _unfit(log: Path, read: Read) -> Unreadable | None:
    """Return why no coin could be seen in the new lines, if there are any."""
    if not read.lines or read.levels & _READABLE:
        return None
    if not read.levels:
        return Unreadable(f"{log} holds no line that this program knows", f"if Chia runs: {REMEDY}")
    return Unreadable(f"{log} has only lines of level {'/'.join(sorted(read.levels))}", REMEDY)


def _chia_runs() -> bool:
    """Tell whether a process of Chia's runs here."""
    import psutil  # slow to import, and seldom needed: a log grows every few seconds

    return any(str(process.info["name"] or "").startswith("chia") for process in psutil.process_iter(["name"]))


class _Confirmed:
    """The ids of the coins that the wallet has confirmed before."""

    def __init__(self, book: CoinBook) -> None:
        self._book = book

    def __contains__(self, identity: object) -> bool:
        entry = self._book.entry(str(identity))
        return entry is not None and entry.in_wallet


def _address(config: Config) -> WalletAddress:
    from plotfarm.chia.wallet import WalletAddress

    coins, ssl = config.coins, Path(config.chia.home).expanduser() / "config" / "ssl"
    certificate = Path(coins.wallet_certificate or ssl / "wallet" / "private_wallet.crt").expanduser()
    key = Path(coins.wallet_key or ssl / "wallet" / "private_wallet.key").expanduser()
    authority = certificate.parent.parent / "ca" / "private_ca.crt"
    return WalletAddress(
        coins.wallet_host, coins.wallet_port, certificate, key, authority=authority if authority.exists() else None
    )


def ask_wallet(config: Config, book: CoinBook, teller: Teller) -> list[WalletCoin] | None:
    """Return the newest coins that the wallet has confirmed, None if it is not asked or cannot tell.

    Tells of that, and of coins that the log has and the wallet has not.
    """
    if not config.coins.wallet_rpc:
        return None
    from plotfarm.chia.wallet import read_wallet  # slow to import, and off by default

    reading = read_wallet(_address(config), _Confirmed(book))
    if not isinstance(reading, Unreadable) and not reading.synced:
        reading = Unreadable("it is not synced", "wait until it is, or look at `chia wallet show`")
    if isinstance(reading, Unreadable):
        facts = {"why": reading.why, "remedy": reading.remedy}
        patience = config.watch.trouble_minutes * 60
        teller.see([Condition("wallet_unreadable", "wallet", Severity.WARNING, facts, patience)], ["wallet_unreadable"])
        return None
    coins = [coin for coin in reading.coins if coin.confirmed]
    confirmed = {coin.id for coin in coins}
    unknown = [one for one in book.received() if not one.in_wallet and one.id not in confirmed]
    facts_of_them: dict[str, str | int | float | None] = {
        "coins": len(unknown), "xch": in_xch(sum(one.mojo for one in unknown)),
    }  # fmt: skip
    disagreement = Condition("coins_disagree", "coins", Severity.WARNING, facts_of_them, _DISAGREE_SECONDS)
    teller.see([disagreement] if unknown else [], ["wallet_unreadable", "coins_disagree"])
    return coins
