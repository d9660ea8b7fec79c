"""The database: all or nothing, several at once, and never a reason to stop."""

from __future__ import annotations

import contextlib
import sqlite3
import subprocess
import sys
import threading

import pytest

from plotfarm.base.database import Database

TABLE = "CREATE TABLE things (name TEXT)"


@pytest.fixture
def database(tmp_path):
    database = Database(tmp_path)
    database.write(TABLE)
    yield database
    database.close()


def names(database):
    return [name for (name,) in database.rows("SELECT name FROM things ORDER BY name")]


def test_what_is_written_is_there_for_others(database, tmp_path):
    assert database.write("INSERT INTO things VALUES (?)", ("one",))
    assert database.write_many("INSERT INTO things VALUES (?)", [("two",), ("three",)])
    assert names(Database(tmp_path)) == ["one", "three", "two"]


def test_a_transaction_that_fails_leaves_nothing(database):
    with contextlib.suppress(RuntimeError), database.transaction():
        database.write("INSERT INTO things VALUES ('one')")
        raise RuntimeError
    assert names(database) == []


def test_a_transaction_within_another_is_part_of_it(database):
    with contextlib.suppress(RuntimeError), database.transaction():
        database.write_many("INSERT INTO things VALUES (?)", [("one",)])
        raise RuntimeError
    assert names(database) == []


def test_a_process_that_is_killed_in_a_transaction_leaves_nothing(database, tmp_path):
    code = (
        "import os, signal, sys; from pathlib import Path; from plotfarm.base.database import Database\n"
        "database = Database(Path(sys.argv[1]))\n"
        "with database.transaction():\n"
        "    database.write(\"INSERT INTO things VALUES ('one')\")\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False, timeout=30)
    assert done.returncode == -9
    assert names(database) == []
    assert database.write("INSERT INTO things VALUES ('two')")


def test_another_process_waits_for_a_transaction(database, tmp_path):
    other_done = threading.Event()

    def write_elsewhere():
        Database(tmp_path).write("INSERT INTO things VALUES ('other')")
        other_done.set()

    with database.transaction():
        database.write("INSERT INTO things VALUES ('one')")
        thread = threading.Thread(target=write_elsewhere)
        thread.start()
        assert not other_done.wait(0.2)
    thread.join(10)
    assert names(database) == ["one", "other"]


def test_a_value_that_cannot_be_kept_is_said_and_no_more(database, caplog):
    assert not database.write("INSERT INTO things VALUES (?)", ("\ud800",))
    assert not database.write("INSERT INTO things VALUES (?)", (10**30,))
    assert caplog.text.count("cannot be used") == 2


def test_a_directory_that_cannot_be_made_costs_the_memory_only(tmp_path, caplog):
    (tmp_path / "file").touch()
    database = Database(tmp_path / "file" / "state")
    database.write(TABLE)
    assert not database.is_lasting
    assert database.write("INSERT INTO things VALUES ('one')")
    assert names(database) == ["one"]
    assert "remembers nothing" in caplog.text


def test_a_file_that_is_no_database_is_left_alone(tmp_path):
    (tmp_path / "state.sqlite").write_bytes(b"precious" * 1000)
    database = Database(tmp_path)
    assert not database.is_lasting
    assert (tmp_path / "state.sqlite").read_bytes() == b"precious" * 1000
    with pytest.raises(sqlite3.DatabaseError):
        sqlite3.connect(tmp_path / "state.sqlite").execute("PRAGMA journal_mode = WAL")
