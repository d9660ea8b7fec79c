"""The one SQLite file (WAL) in which a host remembers; each room keeps its own tables there.

The farm never depends on it. If it cannot be opened or written, that is logged and what this run has to
remember lives in RAM: plots still move.
"""

from __future__ import annotations

import contextlib
import logging
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

_LOG = logging.getLogger(__name__)
_BUSY_SECONDS = 5.0
_FILE_NAME = "state.sqlite"


class Database:
    """The database in a state directory, or in RAM without one. No method raises for what a disk may do."""

    def __init__(self, directory: Path | None) -> None:
        self.path = directory / _FILE_NAME if directory else Path(":memory:")
        self.is_lasting = directory is not None  # False: this run remembers only in RAM
        if directory is None:
            self._connection = self._open(":memory:")
            return
        try:
            directory.mkdir(parents=True, exist_ok=True)
            self._connection = self._open(str(self.path))
        except (OSError, sqlite3.Error) as error:
            _LOG.error("Cannot use the state database %s (%s): this run remembers nothing", self.path, error)
            self.is_lasting = False
            self._connection = self._open(":memory:")

    @staticmethod
    def _open(path: str) -> sqlite3.Connection:
        connection = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        return connection

    def prepare(self, tables: str) -> None:
        """Make a room's tables if they are not there: `CREATE ... IF NOT EXISTS` statements."""
        with self._tolerant():
            self._connection.executescript(tables)

    def rows(self, query: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """Return what a query finds; nothing if the database cannot be used."""
        with self._tolerant():
            return self._connection.execute(query, values).fetchall()
        return []

    def write(self, statement: str, values: Sequence[object] = ()) -> bool:
        """Carry out one statement; tells whether that worked."""
        with self._tolerant():
            self._connection.execute(statement, values)
            return True
        return False

    def write_many(self, statement: str, rows: Iterable[Sequence[object]]) -> bool:
        """Carry out a statement for each row, all or none; tells whether that worked."""
        with self._tolerant(), self.transaction():
            self._connection.executemany(statement, rows)
            return True
        return False

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """Carry out all that is written inside, or nothing of it; other processes wait meanwhile.

        Inside another transaction it is part of that one.
        """
        if self._connection.in_transaction:
            yield
            return
        with self._tolerant():
            self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise
        with self._tolerant():
            if self._connection.in_transaction:
                self._connection.execute("COMMIT")

    def carried_out(self, action: Callable[[], bool]) -> bool:
        """Carry out all that an action writes, or nothing of it; tells whether it is done.

        Nothing: the action returns False, or its writing fails, be it only at the end.
        """
        with self._tolerant():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                if action():
                    self._connection.execute("COMMIT")
                    return True
            finally:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
        return False

    @contextlib.contextmanager
    def durably(self) -> Iterator[None]:
        """Let what is written inside survive a power cut as soon as it is written."""
        with self._tolerant():
            self._connection.execute("PRAGMA synchronous = FULL")
        try:
            yield
        finally:
            with self._tolerant():
                self._connection.execute("PRAGMA synchronous = NORMAL")

    def close(self) -> None:
        """Close the database."""
        with self._tolerant():
            self._connection.close()

    @contextlib.contextmanager
    def _tolerant(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, UnicodeError, OverflowError) as error:  # the latter two: what SQLite cannot hold
            _LOG.error("The state database %s cannot be used: %s", self.path, error)
