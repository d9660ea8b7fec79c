"""coin_monitor.py: what is new in Chia's log, and what the wallet says, becomes coins, each of them told once."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

from plotfarm.base.checkpoints import reached
from plotfarm.base.config.sections import Config
from plotfarm.base.database import Database
from plotfarm.base.errors import PlotfarmError
from plotfarm.base.locks import sole_run
from plotfarm.base.state import State
from plotfarm.chia.coin_book import CoinBook, CoinFile, Holding, in_xch
from plotfarm.chia.coins import Balance, Block, CoinState, Event
from plotfarm.chia.farm_log import Unreadable
from plotfarm.chia.ledger import Entry, Ledger, Status
from plotfarm.chia.log_reader import Read, read_new
from plotfarm.chia.renamed import recognise
from plotfarm.chia.settings import log_path, network
from plotfarm.jobs.coin_sources import ask_wallet, watch_log
from plotfarm.jobs.farming import hear, watch_farming
from plotfarm.jobs.server import server_name
from plotfarm.jobs.telling import Teller
from plotfarm.notify.policy import PER_COIN
from plotfarm.reports.terminal import say_if_watched

if TYPE_CHECKING:
    from plotfarm.chia.wallet import WalletReading

_LOG = logging.getLogger(__name__)


def watch(config: Config, *, test_log: Path | None = None, tell_past: bool = False) -> int:
    """Take in what is new; 0 unless the log cannot be read or nothing can be remembered.

    `test_log`: another log, from its begin on, with a state of its own. `tell_past`: tell also of the coins that the
    first run finds in the logs that are there.
    """
    lock = sole_run(config.paths.locks / "coin_monitor.lock")
    if lock is None:
        _LOG.info("coin_monitor is running already, Exiting")
        say_if_watched("coin_monitor.py is running already: nothing to do.")
        return 0
    with lock:
        state = State(config.paths.state)
        directory = config.paths.state / "coin_test"
        memory = Database(directory) if test_log else state.database
        file = CoinFile((directory if test_log else config.paths.logs) / "new_coins.log")
        try:
            return CoinWatch(config, memory, file, Teller(config, state.database)).run(test_log, tell_past)
        finally:
            memory.close()
            state.close()


class CoinWatch:
    """One run."""

    def __init__(self, config: Config, memory: Database, file: CoinFile, teller: Teller) -> None:
        self._config = config
        self._memory = memory
        self._file = file
        self._teller = teller
        self._book = CoinBook(memory)
        self._ledger = Ledger(self._book.entry, self._book.children, cache(partial(network, config.chia)))

    def run(self, test_log: Path | None, tell_past: bool) -> int:
        """Read, take in, tell."""
        if not self._memory.is_lasting:
            raise PlotfarmError(f"{self._memory.path} cannot be used, and without it each coin were told in every run")
        log = test_log or log_path(self._config.chia)
        last = None if test_log else self._book.place(log)
        news = read_new(log, last)
        if test_log and isinstance(news, Unreadable):
            raise PlotfarmError(f"{news.why}: {news.remedy}")
        events, read = ([], None) if isinstance(news, Unreadable) else news
        if read is not None:
            _say_what_was_lost(log, read, is_first=last is None)
        wallet = None if test_log else ask_wallet(self._config, self._book, self._teller)
        problem = None
        if not test_log:
            problem = watch_log(log, news, self._config, self._teller, wallet_answers=wallet is not None)
            heard = hear(self._config.chia, self._memory, read.farming if read else None)
            watch_farming(self._config.chia, self._teller, heard)
        if problem is not None:
            _LOG.warning("No coin can be seen: %s (%s)", problem.why, problem.remedy)
        is_past = last is None and test_log is None and not tell_past
        done = self._memory.carried_out(
            lambda: (
                self._take_in(events, wallet, is_past=is_past, tell_past=tell_past, problem=problem)
                and (read is None or self._book.write_place(log, read.place))
            )
        )
        if not done:
            raise PlotfarmError("what was found could not be written down: it is found again in the next run")
        reached("coins:stored")
        return 1 if isinstance(news, Unreadable) and wallet is None else 0

    def _take_in(
        self,
        events: Sequence[Event],
        wallet: WalletReading | None,
        *,
        is_past: bool,
        tell_past: bool,
        problem: Unreadable | None,
    ) -> bool:
        """Write down what is new, and what is told of it; False if that cannot be done."""
        total_before = self._book.total().mojo
        self._post(events)
        in_log = {event.id for event in events if isinstance(event, CoinState)}
        is_wallets_past = wallet is not None and not self._book.knows_wallet() and not tell_past
        doubles: tuple[Entry, ...] = ()
        if wallet is not None:
            doubles = self._recognise(wallet)
            self._confirm(wallet)
        changes = [(self._book.entry(one.id), one) for one in self._ledger.changed.values()]
        arrived = [now for before, now in changes if _has_arrived(before, now)]
        back = [now for before, now in changes if before and before.told and now.status is not Status.RECEIVED]
        # Where the wallet answers, it decides what has arrived.
        settled = [one for one in arrived if wallet is None or one.in_wallet]
        of_wallet_alone = {now.id for before, now in changes if before is None} - in_log
        quiet = {one.id for one in settled if (is_wallets_past if one.id in of_wallet_alone else is_past)}
        entries = {one.id: one for one in self._ledger.changed.values()}
        entries |= {one.id: replace(one, told=True) for one in settled}
        entries |= {one.id: replace(one, told=False) for one in back}
        if not self._book.write(entries.values(), time.time()) or not self._meet(wallet):
            return False
        known = self._note_in_file(settled, total_before)
        if known is None:
            return False
        reached("coins:noted")
        told = [one for one in settled if one.id not in quiet and (one.time, str(one.mojo)) not in known]
        self._tell(told, [*back, *doubles], len(quiet), problem)
        return True

    def _recognise(self, wallet: WalletReading) -> tuple[Entry, ...]:
        """Give the coins that the wallet had named their ids; returns those that stand in the book once more."""
        misnamed = self._book.misnamed()
        if not misnamed:
            return ()
        found = recognise(misnamed, wallet.confirmed, lambda identity: self._book.entry(identity) is not None)
        for before, coin in found.renamed:
            self._book.rename(before, coin.id, coin.parent)
        doubles = tuple(replace(one, status=Status.DOUBLE, told=False) for one in found.doubles)
        self._book.write(doubles, time.time())
        for one in doubles:
            _LOG.warning("Counted twice, and now once: %s XCH, height %s, %s", in_xch(one.mojo), one.height, one.id)
        return doubles

    def _confirm(self, wallet: WalletReading) -> None:
        """Take in what the wallet has, and what it has no more although it knows the chain beyond it.

        Only what the wallet of this key had is taken back. Where it was not noted whose it was, a wallet that knows
        none of the coins from before is another key's.
        """
        confirmed = wallet.confirmed
        there = {coin.id for coin in confirmed}
        has_known = any((known := self._book.entry(one)) is not None and known.in_wallet for one in there)
        for coin in confirmed:
            self._ledger.confirm(coin)
        for entry in self._book.of_wallet_above(wallet.complete_above, wallet.fingerprint, with_unmarked=has_known):
            if entry.id not in there and entry.parent and (entry.height or 0) <= wallet.height:
                self._ledger.lose(entry.id)

    def _meet(self, wallet: WalletReading | None) -> bool:
        if wallet is None:
            return True
        confirmed = [coin.id for coin in wallet.confirmed]
        if wallet.fingerprint is not None and not self._book.note_key(confirmed, wallet.fingerprint):
            return False
        holding = None if wallet.balance_mojo is None else Holding(wallet.balance_mojo, time.time())
        return self._book.meet_wallet(holding)

    def _post(self, events: Sequence[Event]) -> None:
        """Take in what the log says, in its order."""
        for event in events:
            if isinstance(event, CoinState):
                known = self._book.entry(event.id)
                if known is not None and known.status is Status.RECEIVED and event.spent is None and event.created:
                    _already_known(event)
                self._ledger.take(event)
            elif isinstance(event, Block):
                self._book.write_block(event, time.time())
            elif self._book.knows_balance(event):
                _already_known(event)
            elif self._book.last_balance() != event.mojo:
                self._book.write(self._ledger.changed.values(), time.time())  # those before it are part of it
                self._book.write_balance(event)
                _LOG.info("Confirmed balance: %s XCH", in_xch(event.mojo))

    def _note_in_file(self, coins: Sequence[Entry], total_mojo: int) -> set[tuple[str, str]] | None:
        """Add coins to new_coins.log; returns what the system before has noted there, None if it cannot be written."""
        if not coins:
            return set()
        try:
            pairs, identities = self._file.known()
            new = [one for one in coins if one.id not in identities and (one.time, str(one.mojo)) not in pairs]
            self._file.append(new, total_mojo)
        except OSError as error:
            _LOG.error("%s cannot be written: %s", self._file.path, error.strerror)
            return None
        return pairs

    def _tell(self, told: Sequence[Entry], back: Sequence[Entry], quiet: int, problem: Unreadable | None) -> None:
        for coin in told:
            _LOG.info("New coin: %s XCH, %s, height %s, %s", in_xch(coin.mojo), coin.kind, coin.height, coin.id)
        for coin in back:
            _LOG.warning("Not received after all (%s): %s XCH, %s", coin.status, in_xch(coin.mojo), coin.id)
        total = self._book.total()
        if quiet:
            _LOG.info("The first run takes %d coins for the past; those to come are told", quiet)
        if problem is not None:
            say_if_watched(f"No coin can be seen: {problem.why}.\n{problem.remedy}.")
        if problem is None or told:
            say_if_watched(f"New coins: {len(told)}, of the past: {quiet}; {in_xch(total.mojo)} XCH received in all")
        if (told or back) and self._teller.wants(PER_COIN):
            from plotfarm.reports import coins as mails  # templates are slow to import, and seldom needed

            self._teller.tell(mails.received(server_name(self._config), told, back, total, self._config.coins))


def _say_what_was_lost(log: Path, read: Read, *, is_first: bool) -> None:
    if not read.was_found and not is_first:
        _LOG.warning("%s does not go on where it ended: all of it is read again", log)
    for broken in read.broken:
        said = f"A part of the log cannot be read, and no coin in it is found: {broken.path}: {broken.why}"
        _LOG.warning("%s", said)
        say_if_watched(said)


def _has_arrived(before: Entry | None, now: Entry) -> bool:
    return now.status is Status.RECEIVED and not (before and before.told and before.status is Status.RECEIVED)


def _already_known(event: CoinState | Balance) -> None:
    _LOG.debug("Found coins that were already accounted for in the log!: %s", [event.time, str(event.mojo)])
