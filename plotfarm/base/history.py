"""How the tables of the state database came to be: every change to them, in order, the oldest first.

A change is added at the end, with its number in `database.SCHEMA_VERSION`, and no entry is ever altered afterwards:
the files of farmers have it behind them. Who reads and writes a table is in the room that it is about.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Migration:
    """One step to the next version: SQL statements, each ended by `;` at the end of a line."""

    what: str  # for the log
    sql: str

    @property
    def statements(self) -> list[str]:
        """The statements, one by one: carried out together they would end the transaction."""
        return [statement for statement in self.sql.split(";\n") if statement.strip()]


# Files without a number have these tables, but those of rooms that were never used on their host.
_UNNUMBERED = """
CREATE TABLE IF NOT EXISTS transfers (
    id INTEGER PRIMARY KEY, finished REAL NOT NULL, plot TEXT NOT NULL, kind TEXT NOT NULL,
    source TEXT NOT NULL, target TEXT NOT NULL, plotter TEXT NOT NULL, bytes INTEGER NOT NULL,
    seconds REAL NOT NULL, digest TEXT NOT NULL, segments TEXT NOT NULL, result TEXT NOT NULL,
    k INTEGER NOT NULL, detail TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS transfers_by_plot ON transfers (plot, finished);
CREATE INDEX IF NOT EXISTS transfers_by_plotter ON transfers (plotter, id);
CREATE INDEX IF NOT EXISTS transfers_by_time ON transfers (finished);
CREATE TABLE IF NOT EXISTS journal (source TEXT PRIMARY KEY, nas TEXT NOT NULL, since REAL NOT NULL);
CREATE TABLE IF NOT EXISTS rooms (
    host TEXT NOT NULL, directory TEXT NOT NULL, time REAL NOT NULL, free_bytes INTEGER NOT NULL,
    waiting_bytes INTEGER NOT NULL, hours_left REAL
);
CREATE INDEX IF NOT EXISTS rooms_by_directory ON rooms (host, directory, time);
CREATE TABLE IF NOT EXISTS observations (
    path TEXT PRIMARY KEY, facts TEXT NOT NULL, boot TEXT NOT NULL, since REAL NOT NULL
);
CREATE TABLE IF NOT EXISTS kept (path TEXT PRIMARY KEY, facts TEXT NOT NULL, time REAL NOT NULL);
CREATE TABLE IF NOT EXISTS unremovable (
    path TEXT PRIMARY KEY, facts TEXT NOT NULL, why TEXT NOT NULL, time REAL NOT NULL
);
CREATE TABLE IF NOT EXISTS known_drives (
    identity TEXT PRIMARY KEY, mountpoint TEXT NOT NULL, device TEXT NOT NULL, seen REAL NOT NULL
);
CREATE TABLE IF NOT EXISTS told (what TEXT PRIMARY KEY, up_to INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS received (
    plotter TEXT NOT NULL, hour INTEGER NOT NULL, bytes INTEGER NOT NULL, PRIMARY KEY (plotter, hour)
);
CREATE TABLE IF NOT EXISTS publishing (
    plot TEXT NOT NULL, identity BLOB NOT NULL, since REAL NOT NULL, PRIMARY KEY (plot, identity)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS changed_times (path TEXT PRIMARY KEY, old INTEGER NOT NULL, new INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS failures (
    path TEXT PRIMARY KEY, facts TEXT NOT NULL, count INTEGER NOT NULL, time REAL NOT NULL
);
CREATE TABLE IF NOT EXISTS daily (time REAL PRIMARY KEY, plots INTEGER NOT NULL, made INTEGER NOT NULL);
-- A row of the outbox waits until `ended` says when its fate was sealed, `result` then says what it was.
CREATE TABLE IF NOT EXISTS messages (
    id INTEGER PRIMARY KEY, put REAL NOT NULL, kind TEXT NOT NULL, severity TEXT NOT NULL, subject TEXT NOT NULL,
    short TEXT NOT NULL, text TEXT NOT NULL, html TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS outbox (
    id INTEGER PRIMARY KEY, message INTEGER NOT NULL, channel TEXT NOT NULL, recipient TEXT NOT NULL,
    gravity INTEGER NOT NULL, next_try REAL NOT NULL, attempts INTEGER NOT NULL DEFAULT 0, ended REAL,
    result TEXT NOT NULL DEFAULT 'waiting', why TEXT NOT NULL DEFAULT ''
);
CREATE INDEX IF NOT EXISTS outbox_waiting ON outbox (next_try) WHERE ended IS NULL;
CREATE INDEX IF NOT EXISTS outbox_waiting_for ON outbox (channel, recipient, gravity, id) WHERE ended IS NULL;
CREATE INDEX IF NOT EXISTS outbox_by_message ON outbox (message);
-- `about` and `facts` are JSON: an identity may hold bytes that are no text.
CREATE TABLE IF NOT EXISTS conditions (
    kind TEXT NOT NULL, about TEXT NOT NULL, severity TEXT NOT NULL, facts TEXT NOT NULL,
    patience_seconds REAL NOT NULL, repeat_seconds REAL NOT NULL, since REAL NOT NULL, told REAL,
    PRIMARY KEY (kind, about)
) WITHOUT ROWID;
-- Identities are bytes: a mountpoint may be no text.
CREATE TABLE IF NOT EXISTS quarantined_drives (
    identity BLOB PRIMARY KEY, drive_name BLOB NOT NULL, reason TEXT NOT NULL, call TEXT NOT NULL,
    errno INTEGER NOT NULL, plot TEXT NOT NULL, since REAL NOT NULL, mount TEXT NOT NULL, boot TEXT NOT NULL
) WITHOUT ROWID;
-- `file` is the number that drives.counting knows a file by, `said` is what its header said.
CREATE TABLE IF NOT EXISTS counted_drives (
    drive INTEGER PRIMARY KEY, identity TEXT NOT NULL UNIQUE, plots INTEGER NOT NULL, bytes INTEGER NOT NULL,
    time REAL NOT NULL
);
CREATE TABLE IF NOT EXISTS plot_headers (
    drive INTEGER NOT NULL, file INTEGER NOT NULL, said INTEGER NOT NULL, PRIMARY KEY (drive, file)
) WITHOUT ROWID;
-- `health` has a row for each drive: what was found when it was looked at last, and the values of its last real
-- reading. `health_readings` has dated values: a row when one of them changed, and one a day. `health_round` says
-- when all drives were looked at.
CREATE TABLE IF NOT EXISTS health (
    identity TEXT PRIMARY KEY, disk TEXT NOT NULL, time REAL NOT NULL, problem TEXT NOT NULL, asleep INTEGER NOT NULL,
    last_read REAL, serial TEXT NOT NULL, model TEXT NOT NULL, assessment TEXT NOT NULL, celsius INTEGER,
    highest_celsius INTEGER, reallocated INTEGER, pending INTEGER, uncorrectable INTEGER, crc_errors INTEGER
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS health_readings (
    id INTEGER PRIMARY KEY, identity TEXT NOT NULL, time REAL NOT NULL, serial TEXT NOT NULL,
    assessment TEXT NOT NULL, celsius INTEGER, reallocated INTEGER, pending INTEGER, uncorrectable INTEGER,
    crc_errors INTEGER
);
CREATE INDEX IF NOT EXISTS health_readings_by_drive ON health_readings (identity, id);
CREATE TABLE IF NOT EXISTS health_round (number INTEGER PRIMARY KEY CHECK (number = 1), time REAL NOT NULL);
-- Amounts are text: a coin may hold more mojo than SQLite's numbers.
CREATE TABLE IF NOT EXISTS coins (
    seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, parent TEXT NOT NULL, mojo TEXT NOT NULL, height INTEGER,
    kind TEXT NOT NULL, status TEXT NOT NULL, time TEXT NOT NULL, told INTEGER NOT NULL, in_wallet INTEGER NOT NULL,
    found REAL NOT NULL
);
CREATE INDEX IF NOT EXISTS coins_by_parent ON coins (parent);
CREATE TABLE IF NOT EXISTS balances (
    seq INTEGER PRIMARY KEY, after INTEGER NOT NULL, time TEXT NOT NULL, mojo TEXT NOT NULL, UNIQUE (time, mojo)
);
CREATE TABLE IF NOT EXISTS blocks (hash TEXT PRIMARY KEY, time TEXT NOT NULL, found REAL NOT NULL);
CREATE TABLE IF NOT EXISTS chia_logs (
    path TEXT PRIMARY KEY, inode INTEGER NOT NULL, offset INTEGER NOT NULL, tail TEXT NOT NULL
);
"""

# One column said both how a transfer ended and why it failed: it becomes two. An older process that still runs fails to
# write into them, and what it has to say is lost instead of being misunderstood for good.
_TYPED_OUTCOMES = """
ALTER TABLE transfers ADD COLUMN outcome TEXT NOT NULL DEFAULT 'failed'
    CHECK (outcome IN ('stored', 'have', 'failed'));
ALTER TABLE transfers RENAME COLUMN result TO reason;
UPDATE transfers SET outcome = reason, reason = '' WHERE reason IN ('stored', 'have');
"""

# What else a disk says and counts, and since when it says FAILED: a row for each one of `health`.
_HEALTH_DETAILS = """
CREATE TABLE health_details (
    identity TEXT PRIMARY KEY, says_hot INTEGER NOT NULL, reported_uncorrectable INTEGER, command_timeouts INTEGER,
    worn TEXT NOT NULL, power_on_hours INTEGER, start_stop_count INTEGER, failing_since REAL, last_failed REAL
) WITHOUT ROWID;
"""

# What the wallet holds, and what Chia farmed by its log, each with the time when it said so.
_SAID_WHEN = """
CREATE TABLE wallet_balance (
    one INTEGER PRIMARY KEY CHECK (one = 1), mojo TEXT NOT NULL, asked REAL NOT NULL
);
CREATE TABLE farming (log TEXT PRIMARY KEY, plots INTEGER NOT NULL, bytes INTEGER, said REAL NOT NULL);
"""

# The lowest four bits are the code of the format, 0: unknown. Testing plots have one of their own now.
_TESTING_PLOTS = "DELETE FROM plot_headers WHERE said & 15 = 0;\n"

_SAID_BY = """
ALTER TABLE farming ADD COLUMN source TEXT NOT NULL DEFAULT 'log' CHECK (source IN ('log', 'harvester RPC'));
"""

# A row for each run of a script. The clocks are CLOCK_MONOTONIC, which count only within the boot that `boot` names.
_RUNS = """
CREATE TABLE runs (
    seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, script TEXT NOT NULL, mode TEXT NOT NULL,
    scheduled INTEGER NOT NULL, version TEXT NOT NULL, pid INTEGER NOT NULL, process_started INTEGER NOT NULL,
    boot TEXT NOT NULL, begun REAL NOT NULL, begun_clock REAL NOT NULL, ended REAL, ended_clock REAL,
    outcome TEXT NOT NULL, status INTEGER
);
CREATE INDEX runs_by_script ON runs (script, mode, seq);
"""

# Identities are bytes: a mountpoint may be no text.
_READ_ERRORS = """
CREATE TABLE read_errors (identity BLOB PRIMARY KEY, why TEXT NOT NULL, since REAL NOT NULL) WITHOUT ROWID;
"""

_FILE_SYSTEMS = """
CREATE TABLE file_systems (mountpoint BLOB PRIMARY KEY, uuid TEXT NOT NULL) WITHOUT ROWID;
"""

# The fingerprint of the key whose wallet has confirmed a coin.
_WALLET_KEY = """
ALTER TABLE coins ADD COLUMN wallet_key INTEGER;
"""

# What each NAS said last that it can take: a plotter asks only those again that may get the next plot.
_ROOM_OF_NAS = """
CREATE TABLE nas_rooms (nas TEXT PRIMARY KEY, bytes INTEGER NOT NULL, heard REAL NOT NULL) WITHOUT ROWID;
"""

# What lay in each directory is kept in one row instead of one for each plot: what was known of headers is read anew.
# `drive_readings`: what drives answered last; identities, and what they answered, may hold bytes that are no text.
_COMPACT_COUNTS = """
DROP TABLE plot_headers;
ALTER TABLE counted_drives ADD COLUMN counts TEXT NOT NULL DEFAULT '';
CREATE TABLE counted_directories (
    drive INTEGER NOT NULL, path BLOB NOT NULL, signature TEXT NOT NULL, gone_through REAL NOT NULL,
    facts TEXT NOT NULL, headers BLOB NOT NULL, PRIMARY KEY (drive, path)
);
CREATE TABLE drive_readings (
    identity BLOB PRIMARY KEY, mountpoint BLOB NOT NULL, device_number INTEGER NOT NULL, boot TEXT NOT NULL,
    since_boot REAL NOT NULL, time REAL NOT NULL, facts TEXT NOT NULL
) WITHOUT ROWID;
"""

MIGRATIONS = (
    Migration("the tables as they were when versions began to be counted", _UNNUMBERED),
    Migration("how a transfer ended, and why, are two columns", _TYPED_OUTCOMES),
    Migration("what else a disk says and counts", _HEALTH_DETAILS),
    Migration("what the wallet holds and what Chia farms, and when that was said", _SAID_WHEN),
    Migration("files of an unknown format are read again: some of them are testing plots", _TESTING_PLOTS),
    Migration("whether its log or Chia itself said what it farms", _SAID_BY),
    Migration("a record of every run", _RUNS),
    Migration("what could not be read below the root of a drive", _READ_ERRORS),
    Migration("which file system was read at a place, where udev does not tell it", _FILE_SYSTEMS),
    Migration("which key's wallet has confirmed a coin", _WALLET_KEY),
    Migration("what each NAS said last that it can take", _ROOM_OF_NAS),
    Migration("plots are counted by directory, and what drives answered is remembered", _COMPACT_COUNTS),
)
