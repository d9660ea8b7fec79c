"""Where coins are seen: Chia's log and its wallet, and what is told if one of them cannot be read."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from plotfarm.base.condition import AlertKind, Condition, Look, Severity
from plotfarm.base.config.sections import Config
from plotfarm.chia.coin_book import CoinBook, in_xch
from plotfarm.chia.farm_log import REMEDY, Unreadable, rotated
from plotfarm.chia.log_form import form_of
from plotfarm.chia.log_reader import Read
from plotfarm.chia.settings import authority_of, certificate_and_key
from plotfarm.jobs.telling import Teller

if TYPE_CHECKING:
    from collections.abc import Sequence

    from plotfarm.chia.coins import Event
    from plotfarm.chia.rpc import ServiceAddress
    from plotfarm.chia.wallet import WalletReading

_READABLE = {"INFO", "DEBUG"}
_DISAGREE_SECONDS = 15 * 60.0  # a wallet that is a little behind is no disagreement


def watch_log(
    log: Path, news: tuple[Sequence[Event], Read] | Unreadable, config: Config, teller: Teller, *, wallet_answers: bool
) -> Unreadable | None:
    """Tell if no coin can be seen in the log, or if it stands still although Chia runs; returns why none can.

    While the wallet answers it is the wallet that sees them, and nothing of that is wrong.
    """
    if wallet_answers:
        teller.see([], Look.COIN_LOG)
        return None
    problem = news if isinstance(news, Unreadable) else _unfit(log, news[1])
    has_lines = not isinstance(news, Unreadable) and news[1].lines > 0
    minutes = config.chia.silent_minutes
    found: list[Condition] = []
    looked_at = [AlertKind.COIN_LOG_SILENT]
    names_coins = None if isinstance(news, Unreadable) else _names_coins(log, news[1])
    if names_coins is False:
        found.append(Condition(AlertKind.COINS_NOT_NAMED, str(log), Severity.CRITICAL, {"path": str(log)}))
        problem = Unreadable(f"{log} names no coin at its level", "ask the wallet, or let Chia log at level DEBUG")
        looked_at += [AlertKind.COINS_NOT_NAMED, AlertKind.COIN_LOG]
    elif problem is not None:
        facts = {"path": str(log), "why": problem.why, "remedy": problem.remedy}
        patience = config.watch.trouble_minutes * 60
        found.append(Condition(AlertKind.COIN_LOG, str(log), Severity.CRITICAL, facts, patience))
        looked_at.append(AlertKind.COIN_LOG)
    elif has_lines:
        looked_at += [AlertKind.COIN_LOG, *([AlertKind.COINS_NOT_NAMED] if names_coins else [])]
    elif minutes and _chia_runs():
        facts_of_silence: dict[str, str | int | float | None] = {"path": str(log), "minutes": minutes}
        found.append(
            Condition(
                AlertKind.COIN_LOG_SILENT, str(log), Severity.WARNING, facts_of_silence, patience_seconds=minutes * 60
            )
        )
    found += _broken(log, news, teller)
    teller.see(found, Look.COIN_LOG, [*looked_at, AlertKind.COIN_LOG_BROKEN])
    return problem


def _broken(log: Path, news: tuple[Sequence[Event], Read] | Unreadable, teller: Teller) -> list[Condition]:
    """Return the rotated files that could not be read to their end: those of this run, and those that still lie there.

    Each is read once, so only its inode tells later whether it is still there, under whatever number.
    """
    found: list[Condition] = []
    for one in () if isinstance(news, Unreadable) else news[1].broken:
        facts: dict[str, str | int | float | None] = {"path": str(one.path), "inode": one.inode, "why": one.why}
        found.append(Condition(AlertKind.COIN_LOG_BROKEN, str(one.inode), Severity.WARNING, facts))
    there = {str(path.stat().st_ino) for path in rotated(log)}
    told = [one for (kind, _), one in teller.told().items() if kind is AlertKind.COIN_LOG_BROKEN]
    return found + [one for one in told if one.about in there - {new.about for new in found}]


def _names_coins(log: Path, read: Read) -> bool | None:
    """Tell whether the log is of a version that names coins at the level that it has; None: not known."""
    if not read.lines:
        return None
    if "DEBUG" in read.levels:
        return True
    try:
        return form_of(log).names_coins
    except OSError:
        return None  # it was there a moment ago: the next run says what is wrong


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


def _files(config: Config) -> tuple[Path, Path]:
    """Return the certificate and the key with which the wallet is asked."""
    certificate, key = certificate_and_key(config.chia, "wallet")
    certificate = Path(config.coins.wallet_certificate or certificate).expanduser()
    return certificate, Path(config.coins.wallet_key or key).expanduser()


def _address(config: Config) -> ServiceAddress:
    from plotfarm.chia.rpc import ServiceAddress

    certificate, key = _files(config)
    return ServiceAddress(config.coins.wallet_host, config.coins.wallet_port, certificate, key, _authority(config))


def _authority(config: Config) -> Path:
    """Return the certificate that says whether it is the wallet that answers; without it nobody is asked."""
    certificate, _ = _files(config)
    return Path(config.coins.wallet_authority or authority_of(certificate)).expanduser()


def ask_wallet(config: Config, book: CoinBook, teller: Teller) -> WalletReading | None:
    """Return what the wallet says, None if it is not asked or cannot tell.

    Tells of that, and of coins that the log has and the wallet has not. A wallet that is asked only if it is there
    (`auto`) may be away as long as it never answered.
    """
    is_there = config.coins.wallet == "auto" and all(os.access(file, os.R_OK) for file in _files(config))
    # Whoever gave this user the certificate, but not the authority, wants the wallet to be asked.
    is_half_there = is_there and not os.access(_authority(config), os.R_OK)
    is_known = config.coins.wallet == "auto" and book.knows_wallet()
    is_expected = config.coins.wallet == "always" or is_known or is_half_there
    if not is_expected and not is_there:
        teller.see([], Look.WALLET)
        return None
    from plotfarm.chia.wallet import read_wallet  # slow to import, and not on every host

    reading = read_wallet(_address(config), () if book.misnamed() else _Confirmed(book))
    if not isinstance(reading, Unreadable) and not reading.synced:
        reading = Unreadable("it is not synced", "wait until it is, or look at `chia wallet show`")
    if isinstance(reading, Unreadable):
        if is_expected:
            facts = {"why": reading.why, "remedy": reading.remedy}
            patience = config.watch.trouble_minutes * 60
            condition = Condition(AlertKind.WALLET_UNREADABLE, "wallet", Severity.WARNING, facts, patience)
            teller.see([condition], Look.WALLET, [AlertKind.WALLET_UNREADABLE])
        return None
    _compare(book, reading, teller)
    return reading


def _compare(book: CoinBook, reading: WalletReading, teller: Teller) -> None:
    """Tell of the coins that the log has and the wallet has not."""
    confirmed = {coin.id for coin in reading.confirmed}
    unknown = [one for one in book.received() if not one.in_wallet and one.id not in confirmed]
    facts: dict[str, str | int | float | None] = {
        "coins": len(unknown), "xch": in_xch(sum(one.mojo for one in unknown)),
    }  # fmt: skip
    disagreement = Condition(AlertKind.COINS_DISAGREE, "coins", Severity.WARNING, facts, _DISAGREE_SECONDS)
    teller.see([disagreement] if unknown else [], Look.WALLET)
