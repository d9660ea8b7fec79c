"""What waits to be sent, in a real database: nothing is lost, nobody gets it twice, and it never grows for ever."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from notify_host import CHECKOUT, FARMER, PARTNER, message

from plotfarm.base.condition import Severity
from plotfarm.base.database import Database
from plotfarm.notify import outbox as module
from plotfarm.notify.message import Message
from plotfarm.notify.outbox import Outbox

NOW = 1_800_000_000.0
MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0
BOTH = (("email", FARMER), ("sms", "+12025550143"))


@pytest.fixture
def database(tmp_path):
    database = Database(tmp_path)
    yield database
    database.close()


@pytest.fixture
def outbox(database):
    return Outbox(database)


def counts(database):
    return dict(database.rows("SELECT result, count(*) FROM outbox GROUP BY result"))


def subjects(outbox, now=NOW):
    return [row.subject for row in outbox.due(now)]


def test_what_is_put_is_due_at_once_for_each_recipient(outbox, tmp_path):
    assert not outbox.has_due(NOW)
    sent = Message("alert", Severity.CRITICAL, "gone", "short", "text\n", "<p>html</p>")
    assert outbox.put(sent, [*BOTH, BOTH[0]], NOW)
    other = Outbox(Database(tmp_path))
    assert other.has_due(NOW)
    rows = other.due(NOW)
    assert [(row.channel, row.recipient) for row in rows] == list(BOTH)
    assert {other.message(row) for row in rows} == {sent}
    assert {(row.kind, row.severity, row.subject, row.put, row.attempts) for row in rows} == {
        ("alert", Severity.CRITICAL, "gone", NOW, 0)
    }


def test_a_message_for_nobody_leaves_no_trace(outbox, database):
    assert outbox.put(message(), [], NOW)
    assert not outbox.has_due(NOW)
    assert database.rows("SELECT * FROM messages") == []


def test_the_most_serious_come_first_and_then_the_oldest(outbox):
    order = [("a", Severity.INFO), ("b", Severity.CRITICAL), ("c", Severity.WARNING), ("d", Severity.CRITICAL)]
    for subject, severity in order:
        outbox.put(message(subject, severity), BOTH[:1], NOW)
    assert subjects(outbox) == ["b", "d", "c", "a"]


def test_what_is_claimed_is_due_again_after_a_pause_that_grows(outbox):
    outbox.put(message(), BOTH[:1], NOW)
    now = NOW
    for minutes in (1, 2, 5, 15, 30, 60, 60):
        [row] = outbox.due(now)
        assert outbox.claim(row, now)
        assert not outbox.has_due(now + minutes * MINUTE - 1)
        now += minutes * MINUTE
        assert outbox.has_due(now)
    assert outbox.due(now)[0].attempts == 7


def test_only_one_of_two_processes_can_claim_a_row(outbox, tmp_path):
    outbox.put(message(), BOTH[:1], NOW)
    other = Outbox(Database(tmp_path))
    [here], [there] = outbox.due(NOW), other.due(NOW)
    assert other.claim(there, NOW)
    assert not outbox.claim(here, NOW)
    assert not other.claim(there, NOW), "nor the same one twice"
    [later] = outbox.due(NOW + MINUTE)
    other.end(there, "sent", NOW)
    assert not outbox.claim(later, NOW + MINUTE), "what has been sent is not sent again"


def test_what_cannot_be_noted_cannot_be_claimed(outbox, database):
    outbox.put(message(), BOTH[:1], NOW)
    [row] = outbox.due(NOW)
    database.write("PRAGMA query_only = ON")
    assert not outbox.claim(row, NOW)
    assert not outbox.put(message(), BOTH, NOW)
    database.write("PRAGMA query_only = OFF")
    assert outbox.claim(row, NOW)
    assert subjects(outbox, NOW + MINUTE) == ["drive6 is hot"], "of what could not be put nothing is left"


def test_what_waits_is_due_when_it_is_told_and_not_before(outbox, database):
    outbox.put(message(), BOTH[:1], NOW)
    outbox.wait(outbox.due(NOW)[0], NOW + HOUR, "quiet\udc80 hours")
    assert not outbox.has_due(NOW + HOUR - 1)
    assert [row.attempts for row in outbox.due(NOW + HOUR)] == [0]
    assert database.rows("SELECT why FROM outbox") == [("quiet\\udc80 hours",)]


def test_what_has_ended_is_never_due_again(outbox, database):
    for result in ("sent", "refused", "dropped", "given up", "sent"):
        outbox.put(message(result), BOTH[:1], NOW)
        outbox.end(outbox.due(NOW)[0], result, NOW, "why")
    outbox.put(message(), BOTH, NOW)
    assert subjects(outbox, NOW) == ["drive6 is hot"] * 2
    assert counts(database) == {"waiting": 2, "sent": 2, "refused": 1, "dropped": 1, "given up": 1}


# ---- The clock ----


@pytest.mark.parametrize("jump", [-HOUR, -DAY, -365 * DAY, 365 * DAY])
def test_a_clock_that_jumps_holds_no_message_back_for_long(outbox, jump):
    outbox.put(message(), BOTH[:1], NOW)
    [row] = outbox.due(NOW)
    for attempts in range(7):
        outbox.claim(row._replace(attempts=attempts), NOW)
    assert not outbox.has_due(NOW), "it waits for an hour"
    soonest = next(seconds for seconds in range(0, 10_000, 60) if outbox.has_due(NOW + jump + seconds))
    assert soonest <= 2 * HOUR


def test_a_next_try_far_ahead_was_set_by_a_wrong_clock(outbox):
    outbox.put(message(), BOTH[:1], NOW + 400 * DAY)
    assert outbox.has_due(NOW)
    assert subjects(outbox) == ["drive6 is hot"]


# ---- Bounds ----


def test_what_ended_long_ago_is_forgotten_and_texts_are_kept_only_for_what_waits(outbox, database):
    outbox.put(message("old"), BOTH, NOW - 20 * DAY)
    for row in outbox.due(NOW):
        outbox.end(row, "sent", NOW - 15 * DAY)
    outbox.put(message("recent"), BOTH, NOW)
    [first, _] = outbox.due(NOW)
    outbox.end(first, "sent", NOW)
    outbox.put(message("done"), BOTH[:1], NOW)
    outbox.end(outbox.due(NOW)[-1], "sent", NOW)
    outbox.tidy(NOW)
    assert database.rows("SELECT subject, text FROM messages ORDER BY id") == [
        ("recent", "text: recent\n"), ("done", ""),
    ]  # fmt: skip
    assert counts(database)["sent"] == 2
    [waiting] = outbox.due(NOW)
    assert outbox.message(waiting) == message("recent")


def test_what_ended_in_the_future_by_a_wrong_clock_is_forgotten_as_well(outbox, database):
    outbox.put(message(), BOTH[:1], NOW)
    outbox.end(outbox.due(NOW)[0], "sent", NOW + 1000 * DAY)
    outbox.tidy(NOW)
    assert counts(database)["sent"] == 1
    outbox.tidy(NOW + 15 * DAY)
    assert database.rows("SELECT (SELECT count(*) FROM outbox), (SELECT count(*) FROM messages)") == [(0, 0)]


def test_what_has_ended_does_not_grow_for_ever(outbox, database, monkeypatch):
    monkeypatch.setattr(module, "MOST_ENDED", 3)
    for number in range(6):
        outbox.put(message(str(number)), BOTH[:1], NOW)
        outbox.end(outbox.due(NOW)[0], "sent", NOW)
    outbox.put(message("waits"), BOTH[:1], NOW)
    outbox.tidy(NOW)
    assert database.rows("SELECT subject FROM messages ORDER BY id") == [("3",), ("4",), ("5",), ("waits",)]


def test_too_many_for_one_recipient_crowd_out_the_oldest_of_the_least_serious(outbox, database, monkeypatch, caplog):
    monkeypatch.setattr(module, "MOST_WAITING", 3)
    outbox.put(message("critical", Severity.CRITICAL), BOTH, NOW)
    outbox.put(message("old", Severity.INFO), BOTH[:1], NOW)
    outbox.put(message("new", Severity.INFO), BOTH[:1], NOW)
    assert caplog.text == ""
    outbox.put(message("warning", Severity.WARNING), BOTH[:1], NOW)
    assert subjects(outbox) == ["critical", "critical", "warning", "new"], "the other recipient has room"
    outbox.put(message("more", Severity.CRITICAL), BOTH[:1], NOW)
    outbox.put(message("most", Severity.CRITICAL), BOTH[:1], NOW)
    outbox.put(message("late news", Severity.INFO), BOTH[:1], NOW)
    assert subjects(outbox) == ["critical", "critical", "more", "most"]
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 4
    assert {line.split(":")[0] for line in lines} == {f"3 messages wait for {FARMER} by email"}
    assert {subject for (subject,) in database.rows("SELECT subject FROM messages")} == {"critical", "more", "most"}


def test_the_end_of_every_run_is_one_look_into_an_index(outbox, database):
    """However many ended rows there are, has_due() does not read them."""
    query = f"SELECT 1 FROM outbox WHERE {module._DUE} LIMIT 1"
    plan = " ".join(row[3] for row in database.rows(f"EXPLAIN QUERY PLAN {query}", (NOW, NOW)))
    assert "outbox_waiting" in plan
    assert "SCAN outbox" not in plan.replace("SCAN outbox USING", "")


# ---- Hostile texts, and disks that fail ----


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(*[st.text(st.characters(), max_size=20)] * 4)
def test_any_text_is_stored_and_comes_back_fit_to_be_sent(subject, short, text, html):
    database = Database(None)
    outbox = Outbox(database)
    hostile = Message("alert", Severity.WARNING, subject, short, text, html)
    assert outbox.put(hostile, BOTH[:1], NOW)
    [row] = outbox.due(NOW)
    back = outbox.message(row)
    for before, after in zip(
        (subject, short, text, html), (back.subject, back.short, back.text, back.html), strict=True
    ):
        assert after == before.encode("utf-8", "backslashreplace").decode()
    database.close()


def test_no_text_is_part_of_a_statement(outbox, database):
    evil = "'); DROP TABLE outbox; --\n\0\x1b[2J"
    outbox.put(replace(message(evil), html=evil), [("email", evil)], NOW)
    [row] = outbox.due(NOW)
    assert (row.subject, row.recipient) == (evil, evil)
    outbox.end(row, "refused", NOW, evil)
    assert counts(database)["refused"] == 1


def test_a_state_directory_that_cannot_be_used_leaves_an_outbox_in_ram(tmp_path, caplog):
    (tmp_path / "state").write_text("a file where the directory should be")
    database = Database(tmp_path / "state")
    outbox = Outbox(database)
    assert not database.is_lasting
    assert "this run remembers nothing" in caplog.text
    assert outbox.put(message(), BOTH, NOW)
    assert outbox.claim(outbox.due(NOW)[0], NOW)


def test_a_damaged_database_stops_nobody(tmp_path, caplog):
    (tmp_path / "state.sqlite").write_bytes(os.urandom(8192))
    outbox = Outbox(Database(tmp_path))
    assert outbox.put(message(), BOTH, NOW), "in RAM"
    assert "cannot be used" in caplog.text


def test_a_database_that_cannot_be_written_any_more_raises_nothing(outbox, database, caplog):
    outbox.put(message(), BOTH, NOW)
    [row, _] = outbox.due(NOW)
    database.rows("PRAGMA query_only = ON")
    assert not outbox.put(message(), BOTH, NOW)
    assert outbox.has_due(NOW)
    assert not outbox.claim(row, NOW)
    outbox.wait(row, NOW)
    outbox.end(row, "sent", NOW)
    outbox.tidy(NOW)
    assert "A message could not be stored: drive6 is hot" in caplog.text


PUTTER = """
import sys
from pathlib import Path
from plotfarm.base.condition import Severity
from plotfarm.base.database import Database
from plotfarm.notify.message import Message
from plotfarm.notify.outbox import Outbox
outbox = Outbox(Database(Path(sys.argv[1])))
for number in range(50):
    subject = f"{sys.argv[2]}-{number}"
    assert outbox.put(Message("alert", Severity.INFO, subject, subject, subject), [("email", sys.argv[3])], 1.8e9)
"""


def test_several_processes_put_at_once_and_nothing_is_lost(outbox, tmp_path):
    putters = [
        subprocess.Popen(
            [sys.executable, "-c", PUTTER, tmp_path, name, FARMER if name == "a" else PARTNER], cwd=CHECKOUT
        )
        for name in ("a", "b", "c")
    ]
    assert [putter.wait(60) for putter in putters] == [0, 0, 0]
    assert sorted(subjects(outbox)) == sorted(f"{name}-{number}" for name in "abc" for number in range(50))
    assert {outbox.message(row).text == row.subject for row in outbox.due(NOW)} == {True}
