"""Coins that stand in the book under a name which the wallet had made up, and what they are.

The wallet gives a coin that was spent before it saw it a random name, and another one after each resync. Earlier
versions of this program took that name for the coin's id, without writing down its parent.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from plotfarm.chia.coins import WalletCoin
from plotfarm.chia.ledger import Entry


@dataclass(frozen=True)
class Recognised:
    """What the entries without a parent turned out to be."""

    renamed: tuple[tuple[str, WalletCoin], ...]  # the id in the book, and the coin that it is
    doubles: tuple[Entry, ...]  # each is a coin that stands in the book once more


def recognise(named: Sequence[Entry], coins: Iterable[WalletCoin], is_known: Callable[[str], bool]) -> Recognised:
    """Compare the entries without a parent with all that the wallet has, by amount and height.

    `is_known`: whether an id stands in the book. An entry whose amount and height no coin has stays as it is.
    """
    alike: dict[tuple[int, int | None], list[WalletCoin]] = defaultdict(list)
    for coin in coins:
        alike[coin.mojo, coin.height].append(coin)
    groups: dict[tuple[int, int | None], list[Entry]] = defaultdict(list)
    for entry in named:
        groups[entry.mojo, entry.height].append(entry)

    renamed: list[tuple[str, WalletCoin]] = []
    doubles: list[Entry] = []
    for key, entries in groups.items():
        real = alike[key]
        true_ids = {coin.id for coin in real}
        misnamed = [entry for entry in entries if entry.id not in true_ids]
        unknown = [coin for coin in real if not is_known(coin.id)]
        renamed += [(entry.id, coin) for entry, coin in zip(misnamed, unknown, strict=False)]
        if real:
            doubles += misnamed[len(unknown) :]
    return Recognised(tuple(renamed), tuple(doubles))
