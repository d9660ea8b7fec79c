"""The state database through the versions: migrated whole or not at all, refused if newer, told of if unusable."""

from __future__ import annotations

import difflib
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import memory_samples
import pytest
import report_scene

from plotfarm.base import database as database_module
from plotfarm.base import history, memory_trouble
from plotfarm.base.checkpoints import STOP_AT
from plotfarm.base.database import SCHEMA_VERSION, Database
from plotfarm.base.memory_trouble import NewerMemoryError, Trouble, forget, met, trouble_of
from plotfarm.base.state import State, TransferOutcome
from plotfarm.transfer.outcomes import Failure, How
from testbed.plots import CHECKOUT

SAMPLES = CHECKOUT / "tests" / "data" / "state"
OPEN = "import sys; from pathlib import Path; from plotfarm.base.state import State; State(Path(sys.argv[1])).close()"


@pytest.fixture(autouse=True)
def _nothing_met():
    forget()
    yield
    forget()


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A state directory as the version before versions were counted left it."""
    directory = tmp_path / "state"
    directory.mkdir()
    shutil.copy(SAMPLES / "version_0.sqlite", directory / "state.sqlite")
    return directory


@pytest.fixture
def at_the_moment_of_the_samples(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(time, "time", lambda: memory_samples.NOW)
    with monkeypatch.context() as changed:
        changed.setenv("TZ", "UTC")
        time.tzset()
        yield
    time.tzset()


def version_of(file: Path) -> int:
    with closing(sqlite3.connect(file)) as connection:
        return int(connection.execute("PRAGMA user_version").fetchone()[0])


def schema_of(file: Path) -> list[tuple[str, str, str, str]]:
    with closing(sqlite3.connect(file)) as connection:
        names = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return sorted(
            (table, name, kind, str(default))
            for table in names
            for _, name, kind, _, default, _ in connection.execute(f"PRAGMA table_info({table})")
        )


def rows_of(file: Path) -> dict[str, list[tuple[object, ...]]]:
    with closing(sqlite3.connect(file)) as connection:
        names = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {name: connection.execute(f"SELECT * FROM {name}").fetchall() for name in names}


# ---- Migrations ----


def test_the_number_of_the_version_is_that_of_the_last_migration() -> None:
    assert len(history.MIGRATIONS) == SCHEMA_VERSION


def test_the_sample_has_rows_in_every_table() -> None:
    rows = rows_of(SAMPLES / "version_0.sqlite")
    assert len(rows) == 26
    assert all(rows.values()), [name for name, each in rows.items() if not each]


@pytest.mark.usefixtures("at_the_moment_of_the_samples")
def test_all_that_is_read_of_a_migrated_file_is_what_was_written(old: Path, tmp_path: Path) -> None:
    migrated, fresh = State(old), State(tmp_path / "fresh")
    memory_samples.fill(fresh)
    assert fresh.database.is_lasting and migrated.database.is_lasting

    there, expected = memory_samples.readings(migrated), memory_samples.readings(fresh)
    migrated.close()
    fresh.close()

    assert {name: value for name, value in there.items() if not value} == {}
    assert there == expected
    assert schema_of(old / "state.sqlite") == schema_of(tmp_path / "fresh" / "state.sqlite")


@pytest.mark.usefixtures("at_the_moment_of_the_samples")
def test_every_report_is_the_one_that_the_version_before_made(old: Path, tmp_path: Path) -> None:
    """What that version printed and mailed is kept; what is meant to be another now is kept as its difference."""
    state = State(old)
    now = report_scene.every_report(state, old)
    state.close()
    before = json.loads((SAMPLES / "version_0_reports.json").read_text(encoding="utf-8"))
    assert now.keys() == before.keys()
    meant = SAMPLES / "version_0_reports.diff"
    changes = tmp_path / meant.name
    changes.write_text("".join(_difference(name, before[name], now[name]) for name in before), encoding="utf-8")
    done = subprocess.run(["diff", "-u", str(meant), str(changes)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"not as before; if it is meant: cp {changes} {meant}\n{done.stdout}"


def _difference(name: str, before: str, now: str) -> str:
    lines = difflib.unified_diff(before.splitlines(), now.splitlines(), name, f"{name}, now", n=0, lineterm="")
    return "".join(f"{line.rstrip()}\n" for line in lines)


def test_every_ending_of_the_sample_is_typed_after_the_migration(old: Path) -> None:
    state = State(old)
    endings = {(one.outcome, one.reason) for one in state.transfers()}
    state.close()
    assert endings == {(outcome, reason) for outcome, reason, _ in memory_samples.ENDINGS}
    assert {reason for _, reason in endings if reason} <= {failure.value for failure in Failure}
    assert {TransferOutcome(how) for how in How} == {TransferOutcome.STORED, TransferOutcome.HAVE}


def test_the_file_before_is_kept_as_it_was(old: Path) -> None:
    before = rows_of(old / "state.sqlite")
    (old / "state.sqlite").chmod(0o640)
    State(old).close()
    assert version_of(old / "state.sqlite") == SCHEMA_VERSION
    copy = old / "state.sqlite.version-0"
    assert sorted(path.name for path in old.iterdir()) == ["state.sqlite", "state.sqlite.version-0"]
    assert rows_of(copy) == before
    assert version_of(copy) == 0
    assert copy.stat().st_mode & 0o777 == 0o640


def test_a_file_that_lacks_the_tables_of_rooms_that_were_never_used_gets_them(old: Path) -> None:
    with closing(sqlite3.connect(old / "state.sqlite")) as connection:
        for table in ("coins", "health", "quarantined_drives", "plot_headers"):
            connection.execute(f"DROP TABLE {table}")
        connection.commit()
    state = State(old)
    assert state.database.rows("SELECT * FROM coins") == []
    state.close()
    assert met() == []


def test_a_new_file_is_not_copied(tmp_path: Path) -> None:
    State(tmp_path).close()
    assert [path.name for path in tmp_path.iterdir()] == ["state.sqlite"]
    assert version_of(tmp_path / "state.sqlite") == SCHEMA_VERSION


@pytest.mark.parametrize("moment", ["memory:copied", *(f"memory:version-{n + 1}" for n in range(SCHEMA_VERSION))])
def test_a_process_that_is_killed_in_a_migration_leaves_the_file_as_it_was(old: Path, moment: str) -> None:
    before = rows_of(old / "state.sqlite")
    environment = {**os.environ, STOP_AT: moment}
    process = subprocess.Popen([sys.executable, "-c", OPEN, str(old)], cwd=CHECKOUT, env=environment)
    _, status = os.waitpid(process.pid, os.WUNTRACED)
    assert os.WIFSTOPPED(status), "it did not come that far"
    process.send_signal(signal.SIGKILL)
    process.wait(30)

    done = 0 if moment == "memory:copied" else int(moment.rpartition("-")[2]) - 1
    assert version_of(old / "state.sqlite") == done
    if done < 2:  # the second step is the first to change rows
        assert rows_of(old / "state.sqlite") == before

    State(old).close()
    assert version_of(old / "state.sqlite") == SCHEMA_VERSION
    assert len(rows_of(old / "state.sqlite")["transfers"]) == len(before["transfers"])
    assert not list(old.glob("*.part"))


def test_a_step_that_fails_leaves_nothing_of_itself(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = history.Migration("nonsense", "DELETE FROM transfers;\nDELETE FROM nowhere;\n")
    monkeypatch.setattr("plotfarm.base.migrations.MIGRATIONS", (history.MIGRATIONS[0], wrong))
    before = rows_of(old / "state.sqlite")
    with pytest.raises(sqlite3.OperationalError, match="nowhere"):
        State(old)
    assert rows_of(old / "state.sqlite") == before


def test_several_processes_at_once_migrate_once(old: Path) -> None:
    processes = [subprocess.Popen([sys.executable, "-c", OPEN, str(old)], cwd=CHECKOUT) for _ in range(4)]
    assert [process.wait(60) for process in processes] == [0] * 4
    assert version_of(old / "state.sqlite") == SCHEMA_VERSION
    assert version_of(old / "state.sqlite.version-0") == 0
    assert len(rows_of(old / "state.sqlite")["transfers"]) == 37


def test_no_room_for_the_copy_leaves_the_file_in_its_version(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("plotfarm.base.migrations.os.rename", full)
    state = State(old)
    assert not state.database.is_lasting
    assert state.transfers() == []
    state.close()
    assert version_of(old / "state.sqlite") == 0
    assert [path.name for path in old.iterdir()] == ["state.sqlite"]
    assert [each.trouble for each in met()] == [Trouble.FULL]


# ---- A file from the future ----


def test_a_newer_file_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    State(tmp_path).close()
    file = tmp_path / "state.sqlite"
    with closing(sqlite3.connect(file)) as connection:
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
        connection.commit()
    before = file.read_bytes(), file.stat().st_mtime_ns
    with pytest.raises(NewerMemoryError) as refused:
        State(tmp_path)
    assert "\n" not in str(refused.value)
    assert f"version {SCHEMA_VERSION + 1}" in str(refused.value)
    assert (file.read_bytes(), file.stat().st_mtime_ns) == before
    assert [path.name for path in tmp_path.iterdir()] == ["state.sqlite"]


# ---- What is tolerated, and what is a bug ----


@pytest.mark.parametrize(
    "statement", ["SELECT nothing FROM transfers", "SELECT * FROM nowhere", "SELEC 1", "INSERT INTO told VALUES (1)"]
)
def test_a_statement_that_makes_no_sense_is_a_bug(tmp_path: Path, statement: str) -> None:
    state = State(tmp_path)
    with pytest.raises(sqlite3.Error):
        state.database.rows(statement)
    with pytest.raises(sqlite3.Error):
        state.database.write(statement)
    state.close()
    assert met() == []


def test_too_few_values_are_a_bug(tmp_path: Path) -> None:
    with pytest.raises(sqlite3.ProgrammingError):
        State(tmp_path).database.rows("SELECT ?")


def test_every_code_of_sqlite_is_a_trouble_or_a_bug() -> None:
    assert {trouble_of(_sqlite_error(code)) for code in memory_trouble._BY_CODE} <= set(Trouble)
    assert trouble_of(_sqlite_error(sqlite3.SQLITE_IOERR_WRITE)) is Trouble.IO_ERROR
    assert trouble_of(_sqlite_error(sqlite3.SQLITE_CONSTRAINT_NOTNULL)) is None
    assert trouble_of(_sqlite_error(sqlite3.SQLITE_ERROR)) is None


def _sqlite_error(code: int) -> sqlite3.Error:
    error = sqlite3.OperationalError("made up")
    error.sqlite_errorcode = code
    return error


def test_a_locked_file_is_tolerated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database_module, "_BUSY_SECONDS", 0.05)
    database = Database(tmp_path)
    with closing(sqlite3.connect(tmp_path / "state.sqlite", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert not database.write("INSERT INTO told VALUES ('x', 1)")
    assert [each.trouble for each in met()] == [Trouble.LOCKED]
    assert database.write("INSERT INTO told VALUES ('x', 1)")


def test_who_keeps_a_file_locked_is_not_waited_for_again_and_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A session that waits at each of its statements is silent for so long that the other end gives it up."""
    monkeypatch.setattr(database_module, "_BUSY_SECONDS", 0.25)
    with closing(Database(tmp_path)) as database:
        database.write("CREATE TABLE things (name TEXT)")
        with closing(sqlite3.connect(tmp_path / "state.sqlite", isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            assert database.rows("PRAGMA busy_timeout") == [(250,)]
            assert not database.write("INSERT INTO things VALUES ('first')")
            assert database.rows("PRAGMA busy_timeout") == [(50,)]
        assert database.write("INSERT INTO things VALUES ('free')")

        monkeypatch.setattr(database, "_patient_again", time.monotonic() - 1)
        assert database.rows("PRAGMA busy_timeout") == [(250,)]


def test_a_full_one_is_tolerated(tmp_path: Path) -> None:
    database = Database(tmp_path)
    pages = database.rows("PRAGMA page_count")[0][0]
    database.rows(f"PRAGMA max_page_count = {pages}")
    assert not database.write("INSERT INTO kept VALUES ('x', ?, 1.0)", ("f" * 100_000,))
    assert [each.trouble for each in met()] == [Trouble.FULL]
    assert database.write("INSERT INTO told VALUES ('x', 1)")


def test_a_corrupt_one_is_tolerated(tmp_path: Path) -> None:
    State(tmp_path).close()
    file = tmp_path / "state.sqlite"
    damaged = bytearray(file.read_bytes())
    damaged[4096:] = b"\xff" * (len(damaged) - 4096)
    file.write_bytes(damaged)
    state = State(tmp_path)
    assert state.transfers() == []
    state.record_daily(memory_samples.Daily(1.0, 2, 3))
    assert [each.trouble for each in met()] == [Trouble.CORRUPT]


def test_one_that_is_no_database_is_tolerated(tmp_path: Path) -> None:
    (tmp_path / "state.sqlite").write_bytes(b"precious" * 1000)
    assert not State(tmp_path).database.is_lasting
    assert [each.trouble for each in met()] == [Trouble.CORRUPT]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere; as root a read-only mount is tried below")
def test_a_directory_that_may_not_be_written_is_tolerated(old: Path) -> None:
    (old / "state.sqlite").chmod(0o444)
    old.chmod(0o555)
    try:
        assert not State(old).database.is_lasting
        assert [each.trouble in (Trouble.READ_ONLY, Trouble.CANNOT_OPEN) for each in met()] == [True]
    finally:
        old.chmod(0o755)


@pytest.mark.root
def test_a_read_only_file_system_is_tolerated(old: Path) -> None:
    subprocess.run(["mount", "--bind", old, old], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", old], check=True)
        before = (old / "state.sqlite").read_bytes()
        assert not State(old).database.is_lasting
        assert [each.trouble in (Trouble.READ_ONLY, Trouble.CANNOT_OPEN) for each in met()] == [True]
        assert (old / "state.sqlite").read_bytes() == before
    finally:
        subprocess.run(["umount", old], check=True)
