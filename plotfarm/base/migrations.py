"""Bringing a state database to the present version: copied first, then step by step, each step whole or not at all.

Loaded only when there is something to do: nearly no run needs it.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import sqlite3
from pathlib import Path

from plotfarm.base.checkpoints import reached
from plotfarm.base.files import fsync_directory
from plotfarm.base.history import MIGRATIONS, Migration

_LOG = logging.getLogger(__name__)
_WAIT_MILLISECONDS = 300_000  # another process may be copying a large file


def migrate(connection: sqlite3.Connection, file: Path | None, busy_seconds: float) -> None:
    """Carry out the steps that a database lacks. sqlite3.Error or OSError: it is as it was before the failed one.

    `file`: where it lies, to be copied to `<name>.version-<number>` before the first step; None: it is in RAM.
    """
    connection.execute(f"PRAGMA busy_timeout = {_WAIT_MILLISECONDS}")
    begun_at = _version(connection)
    for number, step in enumerate(MIGRATIONS, start=1):
        if number > begun_at:
            _carry_out(connection, number, step, file if number == begun_at + 1 else None)
    connection.execute(f"PRAGMA busy_timeout = {int(busy_seconds * 1000)}")


def _carry_out(connection: sqlite3.Connection, number: int, step: Migration, to_copy: Path | None) -> None:
    """Carry out one step, unless another process was faster."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        version = _version(connection)
        if version >= number:
            connection.execute("ROLLBACK")
            return

        is_new = not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        if to_copy is not None and not is_new:
            _copy(to_copy, version)
        for statement in step.statements:
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {number}")
        reached(f"memory:version-{number}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    if not is_new:
        _LOG.info("The state database is brought to version %d: %s", number, step.what)


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _copy(file: Path, version: int) -> None:
    """Keep the file as it is now, durably, in place of older copies; other processes are kept from writing meanwhile.

    Read by a connection of its own: one that is writing cannot be copied.
    """
    target = file.with_name(f"{file.name}.version-{version}")
    part = file.with_name(f"{target.name}.part")
    part.unlink(missing_ok=True)
    try:
        with contextlib.closing(sqlite3.connect(file)) as source, contextlib.closing(sqlite3.connect(part)) as copy:
            source.backup(copy)
        _give_to_owner_of(file, part)
        os.rename(part, target)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    fsync_directory(file.parent)
    reached("memory:copied")
    for older in file.parent.glob(f"{file.name}.version-*"):
        if older != target:
            older.unlink()
    _LOG.info("The state database, as it was in version %d, is kept as %s", version, target)


def _give_to_owner_of(file: Path, copy: Path) -> None:
    owner = file.stat()
    shutil.copymode(file, copy)
    if (owner.st_uid, owner.st_gid) != (os.geteuid(), os.getegid()):
        os.chown(copy, owner.st_uid, owner.st_gid)
