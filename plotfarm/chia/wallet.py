"""What Chia's wallet has received, as its RPC tells it: the authority on coins, where it may be asked.

HTTPS with a client certificate. The wallet's own certificate is signed by Chia's private authority and names no host,
so it is checked against that authority and the name is not.
"""

from __future__ import annotations

import http.client
import json
import logging
import re
import ssl
import time
from collections.abc import Container, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plotfarm.base.text import one_line
from plotfarm.chia.farm_log import Unreadable

_LOG = logging.getLogger(__name__)
_PAGE = 50  # transactions in one question
_MOST_PAGES = 400
_MOST_BYTES = 16 * 2**20  # of one answer
_TYPES = {0: "payment", 2: "pool", 3: "farmer"}
_WALLET_ID = 1  # the one for XCH
_ID = re.compile(r"(?:0x)?([0-9a-f]{64})")
_LATEST_TIME = 2**40  # Unix time; beyond that it is none


@dataclass(frozen=True)
class WalletAddress:
    """Where a wallet answers, and to whom; `authority`: the certificate that signed its own, None: not checked."""

    host: str
    port: int
    certificate: Path
    key: Path
    authority: Path | None
    timeout_seconds: float = 10.0  # for all questions together


@dataclass(frozen=True)
class WalletCoin:
    """One coin that the wallet has received."""

    id: str  # 64 hexadecimal digits
    mojo: int
    height: int
    time: float  # Unix time
    kind: str  # payment, pool or farmer
    confirmed: bool


@dataclass(frozen=True)
class WalletReading:
    """What the wallet said; `coins` newest first, at least those that were not known before."""

    synced: bool
    balance_mojo: int | None
    coins: tuple[WalletCoin, ...]


class _Refused(Exception):
    """The wallet did not answer as it should; the message says what it did."""


def read_wallet(address: WalletAddress, known: Container[str] = ()) -> WalletReading | Unreadable:
    """Return what the wallet has received, page by page until one holds only `known` coins."""
    try:
        wallet = _Connection(address)
        synced = wallet.ask("get_sync_status", {}).get("synced") is True
        balance = wallet.ask("get_wallet_balance", {"wallet_id": _WALLET_ID}).get("wallet_balance")
        coins: list[WalletCoin] = []
        for page in range(_MOST_PAGES):
            asked = {"wallet_id": _WALLET_ID, "start": page * _PAGE, "end": (page + 1) * _PAGE, "reverse": True,
                     "type_filter": {"mode": 1, "values": list(_TYPES)}}  # fmt: skip
            rows = wallet.ask("get_transactions", asked).get("transactions")
            if not isinstance(rows, list):
                raise _Refused("its answer holds no transactions")
            new = [coin for row in rows if (coin := _coin(row)) is not None]
            coins += new
            if len(rows) < _PAGE or all(coin.id in known for coin in new):
                break
        mojo = balance.get("confirmed_wallet_balance") if isinstance(balance, dict) else None
        return WalletReading(synced, mojo if _is_amount(mojo) else None, tuple(coins))
    except _Refused as error:
        return Unreadable(str(error), "does it run, and is it Chia's wallet? See wallet_host and wallet_port")
    except ssl.SSLError as error:
        return Unreadable(f"no encrypted connection with it: {one_line(error.reason or 'refused')}", _CERTIFICATE)
    except (OSError, http.client.HTTPException, ValueError) as error:
        if isinstance(error, FileNotFoundError | PermissionError):
            return Unreadable(f"{error.filename or 'the certificate'}: {error.strerror}", _CERTIFICATE)
        where = f"{address.host}:{address.port}"
        return Unreadable(f"{where} cannot be asked: {_reason(error)}", "is the wallet running? See wallet_host")


_CERTIFICATE = "set wallet_certificate and wallet_key in [coins]; this user must be able to read both"


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "it did not answer in time"
    return one_line((error.strerror if isinstance(error, OSError) else None) or type(error).__name__)


class _Connection:
    """A way to ask the wallet, with one limit in time for all questions."""

    def __init__(self, address: WalletAddress) -> None:
        self._address = address
        self._deadline = time.monotonic() + address.timeout_seconds
        for file in (address.certificate, address.key):
            file.open("rb").close()  # its own error does not say which of them it is
        self._context = ssl.create_default_context(cafile=address.authority)
        self._context.check_hostname = False
        self._context.verify_flags &= ~ssl.VERIFY_X509_STRICT  # Chia's authority does not say what its key is for
        if address.authority is None:
            self._context.verify_mode = ssl.CERT_NONE
        self._context.load_cert_chain(address.certificate, address.key)

    def ask(self, what: str, parameters: Mapping[str, object]) -> dict[str, Any]:
        """Return the answer to one question; _Refused, OSError or HTTPException if there is none."""
        connection = http.client.HTTPSConnection(
            self._address.host, self._address.port, timeout=self._left(), context=self._context
        )
        try:
            connection.request("POST", f"/{what}", json.dumps(parameters), {"Content-Type": "application/json"})
            answer = connection.getresponse()
            data = b""
            while piece := answer.read1(65536):
                data += piece
                if len(data) > _MOST_BYTES:
                    raise _Refused(f"its answer to {what} has no end")
                self._left()
        finally:
            connection.close()
        if answer.status != http.HTTPStatus.OK:
            raise _Refused(f"it answers {what} with status {answer.status}")
        return _checked(what, data)

    def _left(self) -> float:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left


def _checked(what: str, data: bytes) -> dict[str, Any]:
    try:
        said = json.loads(data)
    except (ValueError, RecursionError):
        raise _Refused(f"its answer to {what} is no JSON") from None
    if not isinstance(said, dict):
        raise _Refused(f"its answer to {what} is none of a wallet's")
    if said.get("success") is not True:
        raise _Refused(f"it refuses {what}: {one_line(str(said.get('error', 'no reason given')))[:200]}")
    return said


def _coin(row: object) -> WalletCoin | None:
    """Return the coin of a transaction, or None if no sense can be made of it."""
    values: dict[str, Any] = row if isinstance(row, dict) else {}
    identity = _ID.fullmatch(str(values.get("name", "")).lower())
    mojo: Any = values.get("amount")
    height: Any = values.get("confirmed_at_height")
    when: Any = values.get("created_at_time")
    kind: Any = values.get("type")
    sensible = _is_amount(mojo) and _is_amount(height) and isinstance(when, int | float) and 0 <= when < _LATEST_TIME
    if identity is None or not sensible or not isinstance(kind, int) or kind not in _TYPES:
        _LOG.warning("The wallet tells of a transaction that makes no sense: it is left out")
        return None
    return WalletCoin(identity[1], mojo, height, float(when), _TYPES[kind], values.get("confirmed") is True)


def _is_amount(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**64
