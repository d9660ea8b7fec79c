"""What Chia's wallet has received, as its RPC tells it: the authority on coins, where it may be asked.

The id of a coin is computed from its parts. What the wallet calls `name` is the id only of a coin that it first saw
unspent; of any other it is random, and another one after each resync.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Container
from dataclasses import dataclass
from functools import partial
from typing import Any

from plotfarm.chia.coins import WalletCoin, coin_id
from plotfarm.chia.farm_log import Unreadable
from plotfarm.chia.rpc import Connection, Refused, Remedies, ServiceAddress, answered

_LOG = logging.getLogger(__name__)
_PAGE = 50  # transactions in one question
_MOST_PAGES = 400
_TYPES = {0: "payment", 2: "pool", 3: "farmer"}
_WALLET_ID = 1  # the one for XCH
_HASH = re.compile(r"(?:0x)?([0-9a-f]{64})")
_LATEST_TIME = 2**37  # Unix time; beyond that it is none
_HIGHEST = 2**32
_REMEDIES = Remedies(
    refused="does it run, and is it Chia's wallet? See wallet_host and wallet_port",
    silent="is the wallet running? See wallet_host",
    certificate=(
        "set wallet_certificate, wallet_key and wallet_authority in [coins] (Chia's config/ssl/ca/private_ca.crt); "
        "this user must be able to read all three"
    ),
)


@dataclass(frozen=True)
class WalletReading:
    """What the wallet said."""

    synced: bool
    height: int  # up to which it knows the chain
    balance_mojo: int | None  # what it holds now
    coins: tuple[WalletCoin, ...]  # newest first, at least those that were not known before
    complete_above: int  # `coins` are all that it has above this height; -1: all that it has
    fingerprint: int | None = None  # of the key that it is about; None: it does not say

    @property
    def confirmed(self) -> list[WalletCoin]:
        """The coins that it has for certain, oldest first."""
        return sorted((coin for coin in self.coins if coin.confirmed), key=lambda coin: (coin.height, coin.time))


def read_wallet(address: ServiceAddress, known: Container[str] = ()) -> WalletReading | Unreadable:
    """Return what the wallet has received, page by page until one holds only `known` coins."""
    return answered(address, partial(_read, known), _REMEDIES)


def _read(known: Container[str], wallet: Connection) -> WalletReading:
    coins, complete_above = _coins(wallet, known)
    # Asked last, so that a wallet that began anew meanwhile is not taken for one that has lost its coins.
    balance = wallet.ask("get_wallet_balance", {"wallet_id": _WALLET_ID}).get("wallet_balance")
    mojo: Any = balance.get("confirmed_wallet_balance") if isinstance(balance, dict) else None
    height: Any = wallet.ask("get_height_info", {}).get("height")
    synced = wallet.ask("get_sync_status", {}).get("synced") is True
    return WalletReading(
        synced,
        height if _is_height(height) else 0,
        mojo if _is_balance(mojo) else None,
        tuple(coins),
        complete_above,
        _fingerprint(wallet),
    )


def _fingerprint(wallet: Connection) -> int | None:
    try:
        said: Any = wallet.ask("get_logged_in_fingerprint", {}).get("fingerprint")
    except Refused:
        return None
    return said if isinstance(said, int) and not isinstance(said, bool) and 0 < said < _HIGHEST else None


def _coins(wallet: Connection, known: Container[str]) -> tuple[list[WalletCoin], int]:
    """Return what it has received, newest first, and the height above which that is all."""
    coins: list[WalletCoin] = []
    for page in range(_MOST_PAGES):
        asked = {"wallet_id": _WALLET_ID, "start": page * _PAGE, "end": (page + 1) * _PAGE, "reverse": True,
                 "type_filter": {"mode": 1, "values": list(_TYPES)}}  # fmt: skip
        rows = wallet.ask("get_transactions", asked).get("transactions")
        if not isinstance(rows, list):
            raise Refused("its answer holds no transactions")
        new = [coin for row in rows if (coin := coin_of(row)) is not None]
        coins += new
        if len(rows) < _PAGE:
            return coins, -1
        if all(coin.id in known for coin in new):
            return coins, min((coin.height for coin in coins if coin.confirmed), default=_HIGHEST)
    return coins, _HIGHEST  # it goes on for ever: nothing is said of what is not there


def coin_of(row: object) -> WalletCoin | None:
    """Return the coin of a transaction, or None if no sense can be made of it."""
    values: dict[str, Any] = row if isinstance(row, dict) else {}
    added = values.get("additions")
    coin = added[0] if isinstance(added, list) and len(added) == 1 and isinstance(added[0], dict) else {}
    parent = _HASH.fullmatch(str(coin.get("parent_coin_info", "")).lower())
    puzzle_hash = _HASH.fullmatch(str(coin.get("puzzle_hash", "")).lower())
    mojo: Any = coin.get("amount")
    height: Any = values.get("confirmed_at_height")
    when: Any = values.get("created_at_time")
    kind: Any = values.get("type")
    is_kind = isinstance(kind, int) and not isinstance(kind, bool) and kind in _TYPES
    is_time = isinstance(when, int | float) and 0 <= when < _LATEST_TIME
    if parent is None or puzzle_hash is None or not (is_kind and is_time and _is_amount(mojo) and _is_height(height)):
        _LOG.warning("The wallet tells of a transaction that makes no sense: it is left out")
        return None
    identity = coin_id(parent[1], puzzle_hash[1], mojo)
    return WalletCoin(identity, parent[1], mojo, height, float(when), _TYPES[kind], values.get("confirmed") is True)


def _is_amount(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**64


def _is_balance(value: object) -> bool:
    """Tell whether it is an amount; that of many coins may be more than one coin can hold."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**80


def _is_height(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _HIGHEST
