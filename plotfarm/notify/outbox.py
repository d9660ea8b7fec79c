"""The outbox: each message is stored here before anybody tries to send it, and stays until its fate is known.

A row is one message to one recipient of one channel. Rows are noted one by one, so a process that dies loses nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from plotfarm.base.condition import Severity
from plotfarm.base.database import Database
from plotfarm.base.text import one_line
from plotfarm.notify.message import Message
from plotfarm.notify.policy import latest_next_try, next_pause

_LOG = logging.getLogger(__name__)
_KEEP_SECONDS = 14 * 86400
MOST_ENDED = 5000  # rows whose fate is known
MOST_WAITING = 500  # rows for each recipient

_DUE = "ended IS NULL AND (next_try <= ? OR next_try > ?)"
_TRIES_TO_NOTE = 3  # each of them waits a while for other processes


class Row(NamedTuple):
    """One message to one recipient that is due."""

    id: int
    message: int
    channel: str
    recipient: str
    attempts: int  # before this one
    put: float  # Unix time
    kind: str
    severity: Severity
    subject: str


class Outbox:
    """The messages of this host that are on their way. No method raises for what a disk may do."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, message: Message, targets: Sequence[tuple[str, str]], now: float) -> bool:
        """Store a message for these (channel, recipient); tells whether that worked. Inside a transaction: with it.

        No recipient has more than MOST_WAITING messages waiting: of more than that, the oldest of the least serious
        are given up, and the log says so.
        """
        if not targets:
            return True
        texts = (message.subject, message.short, message.text, message.html)
        rank = message.severity.rank
        database = self._database
        with database.transaction():
            stored = database.write(
                "INSERT INTO messages (put, kind, severity, subject, short, text, html) VALUES (?, ?, ?, ?, ?, ?, ?)",
                (now, message.kind, message.severity.value, *map(_storable, texts)),
            )
            ids = database.rows("SELECT last_insert_rowid()")
            stored = stored and database.write_many(
                "INSERT INTO outbox (message, channel, recipient, gravity, next_try) VALUES (?, ?, ?, ?, ?)",
                [(ids[0][0], channel, recipient, rank, now) for channel, recipient in dict.fromkeys(targets)],
            )
            for channel, recipient in targets if stored else ():
                self._crowd_out(channel, recipient)
        if not stored:
            _LOG.error("A message could not be stored: %s", one_line(message.subject))
        return stored

    def has_due(self, now: float) -> bool:
        """Tell whether there is a message to be sent now. One look into an index: for the end of every run."""
        return bool(self._database.rows(f"SELECT 1 FROM outbox WHERE {_DUE} LIMIT 1", (now, latest_next_try(now))))  # noqa: S608

    def due(self, now: float) -> list[Row]:
        """Return what is to be sent now, the most serious first, then the oldest.

        A next try that lies too far ahead was set by a clock that was wrong: it is due.
        """
        rows = self._database.rows(
            "SELECT outbox.id, message, channel, recipient, attempts, put, kind, severity, subject "  # noqa: S608
            f"FROM outbox JOIN messages ON messages.id = message WHERE {_DUE} ORDER BY gravity DESC, outbox.id",
            (now, latest_next_try(now)),
        )
        return [Row(*row)._replace(severity=Severity(row[7])) for row in rows]

    def message(self, row: Row) -> Message:
        """Return the message of a row."""
        texts = self._database.rows("SELECT short, text, html FROM messages WHERE id = ?", (row.message,))
        return Message(row.kind, row.severity, row.subject, *(texts[0] if texts else (row.subject, row.subject)))

    def claim(self, row: Row, now: float) -> bool:
        """Note, before anything is sent, that a row is being tried; False if it cannot be noted or another has it.

        So what cannot be noted is not sent either: not again and again while the disk is full. If this process dies,
        the row is due again after a pause.
        """
        claimed = self._database.write(
            "UPDATE outbox SET attempts = attempts + 1, next_try = ? WHERE id = ? AND attempts = ? AND ended IS NULL",
            (now + next_pause(row.attempts + 1), row.id, row.attempts),
        )
        return claimed and self._database.rows("SELECT changes()") == [(1,)]

    def wait(self, row: Row, until: float, why: str = "") -> None:
        """Note when a row is to be tried next, and why it was not sent."""
        self._note("UPDATE outbox SET next_try = ?, why = ? WHERE id = ?", (until, _storable(why), row.id))

    def end(self, row: Row, result: str, now: float, why: str = "") -> None:
        """Note the fate of a row: sent, refused, dropped or given up."""
        self._note(
            "UPDATE outbox SET ended = ?, result = ?, why = ? WHERE id = ?", (now, result, _storable(why), row.id)
        )

    def tidy(self, now: float) -> None:
        """Forget what ended long ago, and the texts of messages that nobody waits for."""
        database = self._database
        with database.transaction():
            database.write("UPDATE outbox SET ended = ? WHERE ended > ?", (now, now))  # the clock was set back
            database.write("DELETE FROM outbox WHERE ended < ?", (now - _KEEP_SECONDS,))
            database.write(
                "DELETE FROM outbox WHERE id IN "
                "(SELECT id FROM outbox WHERE ended IS NOT NULL ORDER BY id DESC LIMIT -1 OFFSET ?)",
                (MOST_ENDED,),
            )
            database.write("DELETE FROM messages WHERE id NOT IN (SELECT message FROM outbox)")
            database.write(
                "UPDATE messages SET short = '', text = '', html = '' WHERE text != '' "
                "AND id NOT IN (SELECT message FROM outbox WHERE ended IS NULL)"
            )

    def _note(self, statement: str, values: Iterable[object]) -> bool:
        """Write down what has happened already: if another process has the database for long, try again."""
        return any(self._database.write(statement, tuple(values)) for _ in range(_TRIES_TO_NOTE))

    def _crowd_out(self, channel: str, recipient: str) -> None:
        excess = self._database.rows(
            "SELECT id, message FROM outbox WHERE channel = ? AND recipient = ? AND ended IS NULL "
            "ORDER BY gravity DESC, id DESC LIMIT -1 OFFSET ?",
            (channel, recipient, MOST_WAITING),
        )
        for row_id, message in excess:
            self._database.write("DELETE FROM outbox WHERE id = ?", (row_id,))
            self._database.write(
                "DELETE FROM messages WHERE id = ? AND id NOT IN (SELECT message FROM outbox)", (message,)
            )
            _LOG.error(
                "%d messages wait for %s by %s: the oldest of the least serious is given up",
                MOST_WAITING, one_line(recipient), channel,
            )  # fmt: skip


def _storable(text: str) -> str:
    """Return a text that SQLite can hold, whatever bytes a file name brought into it."""
    return text.encode("utf-8", "backslashreplace").decode()
