"""The coins of this host: in the state database, and in new_coins.log, which a person can read and keep."""

from __future__ import annotations

import ast
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from plotfarm.base.database import Database
from plotfarm.base.private import make_private
from plotfarm.chia.coins import Balance, Block
from plotfarm.chia.ledger import Entry, Status
from plotfarm.chia.log_reader import Place
from plotfarm.chia.rewards import MOJO_PER_XCH

FIRST_LINE = "[LEAVE THIS LINE HERE]"  # so begins the file of the system before, which goes on here

_WALLET = "wallet"  # stands among the logs once it was asked
_BY_PARTS = "ids by parts"  # its `tail`, once all ids in the book are computed, and none is a name of the wallet's
_COLUMNS = "id, parent, mojo, height, kind, status, time, told, in_wallet"


@dataclass(frozen=True)
class Holding:
    """What the wallet said that it holds."""

    mojo: int
    asked: float  # Unix time


@dataclass(frozen=True)
class Total:
    """What was received in all, which is not what is left of it: `holding`, where the wallet has ever said that.

    A balance that a log tells (up to version 1.1.7) stands for all that was received before it.
    """

    mojo: int
    coins: int
    holding: Holding | None = None


class CoinBook:
    """What is remembered of coins, balances and blocks, and where the log was read last."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def entry(self, identity: str) -> Entry | None:
        """Return what is known of a coin, or None."""
        rows = self._database.rows(f"SELECT {_COLUMNS} FROM coins WHERE id = ?", (identity,))  # noqa: S608
        return _entry(rows[0]) if rows else None

    def children(self, parent: str) -> list[Entry]:
        """Return the coins that came out of another one."""
        rows = self._database.rows(f"SELECT {_COLUMNS} FROM coins WHERE parent = ?", (parent,))  # noqa: S608
        return [_entry(row) for row in rows]

    def received(self) -> list[Entry]:
        """Return all coins received, oldest first; those without a date are from the oldest logs."""
        query = f"SELECT {_COLUMNS} FROM coins WHERE status = ? ORDER BY seq"  # noqa: S608
        found = [_entry(row) for row in self._database.rows(query, (Status.RECEIVED.value,))]
        return sorted(found, key=lambda one: one.time if "T" in one.time else "")

    def write(self, entries: Iterable[Entry], now: float) -> bool:
        """Write down coins as they are now; inside the transaction of the caller."""
        return self._database.write_many(
            f"INSERT INTO coins ({_COLUMNS}, found) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) "  # noqa: S608
            "ON CONFLICT (id) DO UPDATE SET parent = excluded.parent, height = excluded.height, "
            "kind = excluded.kind, status = excluded.status, time = excluded.time, told = excluded.told, "
            "in_wallet = excluded.in_wallet",
            [
                (one.id, one.parent, str(one.mojo), one.height, one.kind, one.status.value, one.time, one.told,
                 one.in_wallet, now)
                for one in entries
            ],
        )  # fmt: skip

    def knows_wallet(self) -> bool:
        """Tell whether the wallet was asked before."""
        return bool(self._database.rows("SELECT 1 FROM chia_logs WHERE path = ?", (_WALLET,)))

    def misnamed(self) -> list[Entry]:
        """Return the coins whose id may be a name that the wallet had made up; none once they were recognised."""
        if self._database.rows("SELECT 1 FROM chia_logs WHERE path = ? AND tail = ?", (_WALLET, _BY_PARTS)):
            return []
        return [one for one in self.received() if not one.parent]

    def rename(self, before: str, identity: str, parent: str) -> bool:
        """Give a coin its true id."""
        return self._database.write("UPDATE coins SET id = ?, parent = ? WHERE id = ?", (identity, parent, before))

    def meet_wallet(self, holding: Holding | None) -> bool:
        """Note that the wallet was asked, and what it holds, if it said so; no id in the book is a name of its now."""
        met = self._database.write("INSERT OR REPLACE INTO chia_logs VALUES (?, 0, 0, ?)", (_WALLET, _BY_PARTS))
        if not met or holding is None:
            return met
        row = (str(holding.mojo), holding.asked)
        return self._database.write("INSERT OR REPLACE INTO wallet_balance VALUES (1, ?, ?)", row)

    def note_key(self, identities: Iterable[str], fingerprint: int) -> bool:
        """Note of which key the wallet is that has confirmed these coins."""
        return self._database.write_many(
            "UPDATE coins SET wallet_key = ?1 WHERE id = ?2 AND wallet_key IS NOT ?1",
            [(fingerprint, identity) for identity in identities],
        )

    def has_read(self) -> bool:
        """Tell whether a log or the wallet was ever read: if not, nothing is known of coins."""
        return bool(self._database.rows("SELECT 1 FROM chia_logs LIMIT 1"))

    def of_wallet_above(self, height: int, fingerprint: int | None, *, with_unmarked: bool) -> list[Entry]:
        """Return the coins received that the wallet of a key has confirmed, above a height.

        `with_unmarked`: also those of which it is not noted which key's wallet it was.
        """
        query = f"SELECT {_COLUMNS}, wallet_key FROM coins WHERE status = ? AND in_wallet AND height > ?"  # noqa: S608
        rows = self._database.rows(query, (Status.RECEIVED.value, height))
        return [_entry(row) for *row, key in rows if (with_unmarked if key is None else key == fingerprint)]

    def knows_balance(self, balance: Balance) -> bool:
        """Tell whether this balance was taken in before."""
        row = (balance.time, str(balance.mojo))
        return bool(self._database.rows("SELECT 1 FROM balances WHERE time = ? AND mojo = ?", row))

    def last_balance(self) -> int | None:
        """Return the balance that was told last, in mojo, or None."""
        rows = self._database.rows("SELECT mojo FROM balances ORDER BY seq DESC LIMIT 1")
        return int(rows[0][0]) if rows else None

    def write_balance(self, balance: Balance) -> bool:
        """Let the total begin anew with this balance, after the coins that are known now."""
        return self._database.write(
            "INSERT OR IGNORE INTO balances (after, time, mojo) SELECT coalesce(max(seq), 0), ?, ? FROM coins",
            (balance.time, str(balance.mojo)),
        )

    def write_block(self, block: Block, now: float) -> bool:
        """Write down a block that was found."""
        return self._database.write("INSERT OR IGNORE INTO blocks VALUES (?, ?, ?)", (block.hash, block.time, now))

    def blocks(self) -> list[Block]:
        """Return the blocks found, in the order in which they were."""
        return [
            Block(time, hash_) for hash_, time in self._database.rows("SELECT hash, time FROM blocks ORDER BY rowid")
        ]

    def total(self) -> Total:
        """Return what there is in all."""
        last = self._database.rows("SELECT after, mojo FROM balances ORDER BY seq DESC LIMIT 1")
        after, mojo = (last[0][0], int(last[0][1])) if last else (0, 0)
        rows = self._database.rows("SELECT seq, mojo FROM coins WHERE status = ?", (Status.RECEIVED.value,))
        held = self._database.rows("SELECT mojo, asked FROM wallet_balance")
        holding = Holding(int(held[0][0]), held[0][1]) if held else None
        return Total(mojo + sum(int(one) for seq, one in rows if seq > after), len(rows), holding)

    def place(self, log: Path) -> Place | None:
        """Return where a log was read last, or None."""
        rows = self._database.rows("SELECT inode, offset, tail FROM chia_logs WHERE path = ?", (str(log),))
        return Place(*rows[0]) if rows else None

    def write_place(self, log: Path, place: Place) -> bool:
        """Note where to read on."""
        row = (str(log), place.inode, place.offset, place.tail)
        return self._database.write("INSERT OR REPLACE INTO chia_logs VALUES (?, ?, ?, ?)", row)


def _entry(row: Sequence[object]) -> Entry:
    identity, parent, mojo, height, kind, status, time, told, in_wallet = row
    return Entry(
        str(identity), str(parent), int(str(mojo)), height if isinstance(height, int) else None, str(kind),
        Status(str(status)), str(time), bool(told), bool(in_wallet),
    )  # fmt: skip


class CoinFile:
    """new_coins.log: a list on each line, time and mojo first. It is only ever added to."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def known(self) -> tuple[set[tuple[str, str]], set[str]]:
        """Return (time, mojo) of the lines of the system before, and the coin ids of ours; OSError if unreadable."""
        pairs, identities = set[tuple[str, str]](), set[str]()
        for fields in self._lines():
            if len(fields) > _ID:
                identities.add(fields[_ID])
            else:  # a line of the system before
                pairs.add((fields[0], fields[1]))
        return pairs, identities

    def _lines(self) -> Iterator[Sequence[str]]:
        if not self.path.exists():
            return
        for line in self.path.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                fields = ast.literal_eval(line) if line.startswith("['") else None
            except (ValueError, SyntaxError, MemoryError, RecursionError):
                continue  # the first line, or one that was cut off
            if isinstance(fields, list) and len(fields) >= 2 and all(isinstance(one, str) for one in fields):
                yield fields

    def append(self, coins: Iterable[Entry], total_mojo: int) -> None:
        """Add a line for each coin, and bring them to the disk; OSError if that fails.

        `total_mojo` is the total before them; each line says what it is after its coin.
        """
        lines = []
        for coin in coins:
            total_mojo += coin.mojo
            lines.append(repr(_fields(coin, total_mojo)))
        if not lines:
            return
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        is_new = not self.path.exists()
        make_private(self.path)
        with open(self.path, "ab+") as file:
            text = "".join(f"{line}\n" for line in ([FIRST_LINE] if is_new else []) + lines)
            if not is_new and file.seek(0, os.SEEK_END) and file.seek(-1, os.SEEK_END) and file.read(1) != b"\n":
                text = f"\n{text}"  # the line before was cut off
            file.write(text.encode())
            file.flush()
            os.fsync(file.fileno())


_ID = 5


def _fields(coin: Entry, total_mojo: int) -> list[str]:
    return [
        coin.time, str(coin.mojo), f"{in_xch(coin.mojo)} XCH", f"height {coin.height}", coin.kind, coin.id,
        f"total {in_xch(total_mojo)} XCH",
    ]  # fmt: skip


def in_xch(mojo: int) -> str:
    """Return an amount in XCH, exact, without zeros that say nothing: 1.75, 0.000000000001."""
    whole, rest = divmod(abs(mojo), MOJO_PER_XCH)
    digits = f"{rest:012}".rstrip("0")
    return f"{'-' if mojo < 0 else ''}{whole}{f'.{digits}' if digits else ''}"
