"""The one SQLite file (WAL) in which a host remembers; each room keeps its own tables there.

The farm never depends on it. If a disk does not let it be opened or written, that is logged and told, and what this
run has to remember lives in RAM: plots still move. A statement that SQLite does not understand is a mistake in the
program, and is told as one. The tables and their history are in `base/history.py`.
"""

from __future__ import annotations

import contextlib
import logging
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from plotfarm.base.memory_trouble import NewerMemoryError, Trouble, note, trouble_of
from plotfarm.base.private import make_private

SCHEMA_VERSION = 12  # how many entries `base/history.py` has

_LOG = logging.getLogger(__name__)
_BUSY_SECONDS = 5.0
# Who has not let go of it for so long does not soon. While a host waits it says nothing to the other end of a session.
_BUSY_SECONDS_AGAIN = 0.05
_PATIENT_AGAIN_SECONDS = 60.0
_FILE_NAME = "state.sqlite"


class Database:
    """The database in a state directory, or in RAM without one. No method raises for what a disk may do.

    NewerMemoryError if the file was made by a later version; other errors of SQLite are bugs.
    """

    def __init__(self, directory: Path | None) -> None:
        self.path = directory / _FILE_NAME if directory else Path(":memory:")
        self._patient_again = 0.0  # time.monotonic: until then nobody is waited for; 0: that is not so
        connection = self._opened(directory) if directory else None
        self.is_lasting = connection is not None  # False: this run remembers only in RAM
        self._connection = connection or _connected(":memory:", None)

    def _opened(self, directory: Path) -> sqlite3.Connection | None:
        """Return a connection to the file, at the present version; None if it cannot be used."""
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            make_private(self.path)  # its -wal and -shm get the mode that it has
            return _connected(str(self.path), self.path)
        except NewerMemoryError as error:
            note(self.path, Trouble.NEWER, str(error))
            raise
        except (OSError, sqlite3.Error) as error:
            self._tolerate(error, ": this run remembers nothing")
            return None

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
            if self._patient_again and time.monotonic() > self._patient_again:
                self._wait_for_others(_BUSY_SECONDS)
                self._patient_again = 0.0
            yield
        except (sqlite3.Error, UnicodeError, OverflowError) as error:  # the latter two: what SQLite cannot hold
            self._tolerate(error)
            if trouble_of(error) is Trouble.LOCKED:
                self._wait_for_others(_BUSY_SECONDS_AGAIN)
                self._patient_again = time.monotonic() + _PATIENT_AGAIN_SECONDS

    def _wait_for_others(self, seconds: float) -> None:
        self._connection.execute(f"PRAGMA busy_timeout = {int(seconds * 1000)}")

    def _tolerate(self, error: Exception, so: str = "") -> None:
        """Take down what a disk did; what no disk can have done goes on as the bug that it is."""
        trouble = trouble_of(error)
        if trouble is None:
            raise error
        note(self.path, trouble, str(error))
        _LOG.error("The state database %s cannot be used: %s%s", self.path, error, so)


def _connected(name: str, file: Path | None) -> sqlite3.Connection:
    """Return a connection to a database of the present version; a newer one is not touched."""
    connection = sqlite3.connect(name, timeout=_BUSY_SECONDS, isolation_level=None)
    try:
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version > SCHEMA_VERSION:
            raise NewerMemoryError(
                f"{name} was made by a later version of this suite (its tables are of version {version}, this one "
                f"knows {SCHEMA_VERSION}): bring this checkout up to date"
            )
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        if version < SCHEMA_VERSION:
            from plotfarm.base.migrations import migrate

            migrate(connection, file, _BUSY_SECONDS)
    except BaseException:
        connection.close()
        raise
    return connection
