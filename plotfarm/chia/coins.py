"""What the lines of Chia's log say of coins, in the formats of version 1.0 to 2.7: from lines to values.

A record is a line with a time and a logger and, up to version 1.6, further lines that continue it.
From 2.7.4 on coins are named at level DEBUG alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256

from plotfarm.chia.log_lines import PREFIX, whole_lines

_MOST_RECORD_BYTES = 8 * 1024  # longer ones are none of Chia's
_MOST_RECORD_LINES = 16

_BEGINS = (b"Adding coin: ", b"Adding record to state manager coin: ", b"request coin: ", b"Add coin state: ")
_STATES = (b"request coin: ", b"Add coin state: ")  # the others tell of a coin that was added
_HEX = rb"(?:0x)?([0-9a-f]{64})"
_FIELDS = {
    "amount": re.compile(rb"\bamount'?\s{0,8}:\s{0,8}(\d{1,20})\b"),
    "parent": re.compile(rb"\bparent_coin_info'?\s{0,8}:\s{0,8}'?" + _HEX),
    "puzzle_hash": re.compile(rb"\bpuzzle_hash'?\s{0,8}:\s{0,8}'?" + _HEX),
}
_CREATED = re.compile(rb"\bcreated_height'?\s{0,8}:\s{0,8}(?:(None)|(?:Some\()?(\d{1,10})\)?)")
_SPENT = re.compile(rb"\bspent_height'?\s{0,8}:\s{0,8}(?:(None)|(?:Some\()?(\d{1,10})\)?)")
_ADDED = re.compile(rb"\}\s{1,8}at (\d{1,10})(?: wallet_id: ?(\d{1,6}))?(?: and type: \S{1,64})?\s{0,8}$")
_BALANCE = re.compile(rb"Confirmed balance amount is (\d{1,20})\s{0,8}$")
_BLOCK = re.compile(rb"Farmed unfinished_block ([0-9a-f]{64})")
_INTERESTING = (b"coin: ", b"coin state: ", b"Confirmed balance amount", b"Farmed unfinished_block")
_ELIGIBLE = b" plots were eligible for farming"


@dataclass(frozen=True)
class CoinState:
    """What the log says of one coin at one moment."""

    time: str  # as in the log: local time; without a date before version 1.1
    id: str  # 64 hexadecimal digits
    parent: str
    mojo: int
    created: int | None  # height; None: it does not exist (any more)
    spent: int | None  # height
    wallet: int | None  # id of the wallet that it belongs to, where the line says so; 1 is the one for XCH


@dataclass(frozen=True)
class Balance:
    """The wallet's balance at one moment (version 1.0 to 1.1.7): not an event, it is printed again and again."""

    time: str
    mojo: int


@dataclass(frozen=True)
class Block:
    """A block that was found; its reward is yet to come."""

    time: str
    hash: str


@dataclass(frozen=True)
class WalletCoin:
    """One coin that the wallet has received."""

    id: str  # 64 hexadecimal digits
    parent: str
    mojo: int
    height: int
    time: float  # Unix time
    kind: str  # payment, pool or farmer
    confirmed: bool

    @property
    def local_time(self) -> str:
        """When it came, as a log would write it."""
        return datetime.fromtimestamp(self.time).isoformat(timespec="milliseconds")


Event = CoinState | Balance | Block


class Reader:
    """Takes complete lines in order and gives events; what it saw of the log's form is in `levels` and `lines`.

    After each line `open_bytes` says how many bytes, up to and including that line, belong to a record that is not
    complete: whoever stops here has to begin there again.
    """

    def __init__(self) -> None:
        self._levels: set[bytes] = set()
        self.lines = 0
        self.open_bytes = 0
        self.farming = b""  # the newest line in which a harvester says that it looked for proofs
        self._record: list[bytes] = []

    @property
    def levels(self) -> set[str]:
        """The levels that its lines have."""
        return {level.decode() for level in self._levels}

    def read(self, lines: Iterable[bytes]) -> Iterator[Event]:
        """Yield what the lines say; each ends with a line feed, or is the last of its file."""
        for line in lines:
            self.lines += 1
            if b"\0" not in line and line[:1].isdigit():  # nearly all are like this
                if (event := self._read_one(line, len(line))) is not None:
                    yield event
                continue
            parts = whole_lines(line)
            for number, part in enumerate(parts, 1):
                event = self._read_one(part, len(line) if number == len(parts) else 0)
                if event is not None:
                    yield event

    def _read_one(self, line: bytes, size: int) -> Event | None:
        """Return what a line completes; `size`: how many bytes it takes in the file."""
        prefix = PREFIX.match(line)
        if prefix is None:
            # It continues a record, or is none of Chia's.
            return self._continued(line, size) if self._record else None

        self._levels.add(prefix["level"])
        if self._record:
            self._close()
        if _ELIGIBLE in line:
            self.farming = line
            return None
        if not any(word in line for word in _INTERESTING):
            return None
        if any(word in line for word in _BEGINS):
            return self._continued(line, size)
        return _single(line, prefix["time"])

    def _continued(self, line: bytes, size: int) -> Event | None:
        """Add a line to the record that is open; return what it says once it is complete."""
        self._record.append(line)
        self.open_bytes += size
        text = b"".join(self._record)
        event = _coin(text)
        if event is not None or len(text) > _MOST_RECORD_BYTES or len(self._record) > _MOST_RECORD_LINES:
            self._close()
        return event

    def _close(self) -> None:
        self._record, self.open_bytes = [], 0


def _single(line: bytes, time: bytes) -> Event | None:
    if match := _BALANCE.search(line):
        return Balance(time.decode(), int(match[1]))
    if match := _BLOCK.search(line):
        return Block(time.decode(), match[1].decode())
    return None


def _coin(record: bytes) -> CoinState | None:
    """Return what a record says of a coin, or None if it is not complete, or no sense can be made of it."""
    found = {name: pattern.search(record) for name, pattern in _FIELDS.items()}
    prefix = PREFIX.match(record)
    if prefix is None or not all(found.values()):
        return None
    mojo, parent, puzzle_hash = (match[1].decode() for match in found.values() if match)
    state = _state(record)
    if state is None or int(mojo) >= 2**64:
        return None
    created, spent, wallet = state
    identity = coin_id(parent, puzzle_hash, int(mojo))
    return CoinState(prefix["time"].decode(), identity, parent, int(mojo), created, spent, wallet)


def _state(record: bytes) -> tuple[int | None, int | None, int | None] | None:
    """Return the heights of creation and spending, and the wallet's id where it is said."""
    if any(word in record for word in _STATES):
        created, spent = _CREATED.search(record), _SPENT.search(record)
        if created is None or spent is None:
            return None
        return _height(created), _height(spent), None
    added = _ADDED.search(record)
    if added is None:
        return None
    return int(added[1]), None, int(added[2]) if added[2] else None


def _height(match: re.Match[bytes]) -> int | None:
    return int(match[2]) if match[2] else None


def coin_id(parent: str, puzzle_hash: str, mojo: int) -> str:
    """Return a coin's id: SHA-256 of its parent, its puzzle hash and its amount as CLVM writes numbers."""
    size = (mojo.bit_length() // 8 + 1) if mojo else 0
    return sha256(bytes.fromhex(parent) + bytes.fromhex(puzzle_hash) + mojo.to_bytes(size, "big")).hexdigest()
