"""What counts as a coin received: decisions on what log and wallet say, coin by coin. No disk and no clock here."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from enum import StrEnum

from plotfarm.chia.coins import CoinState, WalletCoin
from plotfarm.chia.rewards import MAINNET, REWARDS, SMALLEST_PAYMENT_MOJO, Network, block_rewards, farmed_height


class Status(StrEnum):
    """What a coin is to the one who farms."""

    RECEIVED = "received"
    CHANGE = "change"  # it came out of a coin that was spent here
    ASSET = "asset"  # of another wallet than that for XCH
    DUST = "dust"  # a payment too small to be one: spam, or another asset's coin
    REVERTED = "reverted"  # the block that brought it is no longer part of the chain
    SPENT = "spent"  # when it was seen first it was spent already
    DOUBLE = "double"  # it is another coin of the book, which the wallet had given a new name


@dataclass(frozen=True)
class Entry:
    """One coin, as it stands in the book."""

    id: str  # 64 hexadecimal digits
    parent: str  # "": not known (what the wallet told was once written down without it)
    mojo: int
    height: int | None
    kind: str  # pool, farmer, claim or payment
    status: Status
    time: str  # local time as in the log
    told: bool = False
    in_wallet: bool = False  # the wallet has confirmed it

    @property
    def fees_mojo(self) -> int:
        """How much of a farmer's reward are fees."""
        height = farmed_height(self.parent) if self.parent else self.height
        return max(0, self.mojo - block_rewards(height)[0]) if self.kind == "farmer" and height is not None else 0


class Ledger:
    """Takes in what is said, on top of a book that is only read; `changed` is what has to be written."""

    def __init__(
        self,
        entry: Callable[[str], Entry | None],
        children: Callable[[str], Collection[Entry]],
        network: Callable[[], Network] = lambda: MAINNET,
    ) -> None:
        self._entry = entry
        self._children = children
        self._network = network
        self.changed: dict[str, Entry] = {}

    def entry(self, identity: str) -> Entry | None:
        """Return what is known of a coin, or None."""
        return self.changed.get(identity) or self._entry(identity)

    def take(self, state: CoinState) -> None:
        """Take in what the log says of a coin."""
        before = self.entry(state.id)
        if state.spent is not None:
            self._came_from_here(state.id)
        if before is None:
            if state.spent is not None:
                self._write(self._new(state, Status.SPENT))
            elif state.created is not None:
                self._write(self._new(state, self._judge(state)))
        elif state.created is None and state.spent is None:
            if before.status is not Status.SPENT:
                self._write(replace(before, status=Status.REVERTED))
        elif state.wallet not in (None, 1):
            self._write(replace(before, status=Status.ASSET))
        elif before.status is Status.REVERTED:  # a block of the chain has it again
            self._write(replace(before, status=self._judge(state), height=state.created, time=state.time))
        elif before.status is Status.RECEIVED and state.created is not None:
            self._write(replace(before, height=state.created))

    def confirm(self, coin: WalletCoin) -> None:
        """Take in a coin that the wallet has received and confirmed: nobody knows better."""
        kind = coin.kind if coin.kind in REWARDS else self._network().kind_of(coin.parent, coin.mojo, coin.height)
        before = self.entry(coin.id)
        if before is None:
            before = Entry(coin.id, coin.parent, coin.mojo, coin.height, kind, Status.RECEIVED, coin.local_time)
        self._write(
            replace(before, parent=coin.parent, status=Status.RECEIVED, kind=kind, height=coin.height, in_wallet=True)
        )

    def lose(self, identity: str) -> None:
        """Take back a coin that the wallet had confirmed and has no more: its block left the chain."""
        before = self.entry(identity)
        if before is not None and before.status is Status.RECEIVED:
            self._write(replace(before, status=Status.REVERTED, in_wallet=False))

    def _new(self, state: CoinState, status: Status) -> Entry:
        kind = self._network().kind_of(state.parent, state.mojo, state.created or 0)
        return Entry(state.id, state.parent, state.mojo, state.created, kind, status, state.time)

    def _judge(self, state: CoinState) -> Status:
        if state.wallet not in (None, 1):
            return Status.ASSET
        if self.entry(state.parent) is not None:
            return Status.CHANGE
        is_reward = self._network().kind_of(state.parent, state.mojo, state.created or 0) in REWARDS
        return Status.DUST if state.mojo < SMALLEST_PAYMENT_MOJO and not is_reward else Status.RECEIVED

    def _came_from_here(self, parent: str) -> None:
        """Take what came out of a coin of one's own for change, also if it was seen first."""
        for child in {one.id: one for one in (*self._children(parent), *self._changed_children(parent))}.values():
            now = self.entry(child.id) or child
            if now.status is Status.RECEIVED and not now.in_wallet:
                self._write(replace(now, status=Status.CHANGE))

    def _changed_children(self, parent: str) -> list[Entry]:
        return [one for one in self.changed.values() if one.parent == parent]

    def _write(self, entry: Entry) -> None:
        if entry != self._entry(entry.id) or entry.id in self.changed:
            self.changed[entry.id] = entry
