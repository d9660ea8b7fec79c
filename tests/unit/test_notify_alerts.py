"""Conditions are told once when they begin and once when they are over, whatever happens in between."""

from __future__ import annotations

import functools
import string
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plotfarm.base.condition import AlertKind, Condition, Severity
from plotfarm.base.database import Database
from plotfarm.notify.alerts import AlertBook, Changes, Standing, compare

INFO, WARNING, CRITICAL = Severity.INFO, Severity.WARNING, Severity.CRITICAL
HOT = Condition(AlertKind.HOT, "drive6", WARNING, {"celsius": 51})
GRAVITY = {INFO: 0, WARNING: 1, CRITICAL: 2}


def after(standing, changes):
    """What stands when the changes have been applied."""
    assert changes.before == standing
    left = {key: one for key, one in standing.items() if key not in changes.gone}
    return left | dict(changes.kept)


def run(standing, conditions, now, looked_at=("hot", "missing")):
    changes = compare(standing, conditions, looked_at, now)
    return after(standing, changes), list(changes.raised), list(changes.cleared)


# ---- When it is told ----


def test_a_condition_is_told_when_it_begins_and_when_it_is_over_and_not_in_between():
    standing, raised, cleared = run({}, [HOT], 100.0)
    assert (raised, cleared) == ([HOT], [])
    assert standing == {("hot", "drive6"): Standing(HOT, 100.0, 100.0)}
    changes = compare(standing, [HOT], ["hot"], 160.0)
    assert not changes, "nothing to write, nothing to tell"
    standing, raised, cleared = run(standing, [], 220.0)
    assert (standing, raised, cleared) == ({}, [], [HOT])
    assert not compare(standing, [], ["hot"], 280.0)


def test_facts_change_silently_and_the_last_ones_are_told_at_the_end():
    hotter = replace(HOT, facts={"celsius": 55})
    standing, _, _ = run({}, [HOT], 100.0)
    changes = compare(standing, [hotter], ["hot"], 160.0)
    assert changes
    assert not changes.raised
    assert run(after(standing, changes), [], 220.0)[2] == [hotter]


def test_it_is_told_again_when_it_becomes_worse_but_not_when_it_becomes_better():
    standing, _, _ = run({}, [HOT], 100.0)
    worse = replace(HOT, severity=CRITICAL)
    standing, raised, _ = run(standing, [worse], 160.0)
    assert raised == [worse]
    standing, raised, cleared = run(standing, [HOT], 220.0)
    assert (raised, cleared) == ([], [])
    assert run(standing, [], 280.0)[2] == [HOT]


def test_it_is_told_as_worse_also_within_the_same_moment():
    standing, _, _ = run({}, [HOT], 100.0)
    worse = replace(HOT, severity=CRITICAL)
    assert run(standing, [worse], 100.0)[1] == [worse]


def test_patience():
    missing = Condition(AlertKind.MISSING, "drive6", CRITICAL, patience_seconds=120)
    standing, raised, _ = run({}, [missing], 100.0)
    assert raised == []
    standing, raised, _ = run(standing, [missing], 219.9)
    assert raised == []
    told, raised, _ = run(standing, [missing], 220.0)
    assert raised == [missing]
    assert run(told, [missing], 10_000.0)[1] == []
    assert run(standing, [], 219.9) == ({}, [], []), "what was over before it was told is told by nobody"


def test_it_is_repeated_if_that_is_wanted():
    standing, told_at = {}, []
    daily = replace(HOT, repeat_seconds=1000)
    for now in range(0, 3600, 60):
        standing, raised, _ = run(standing, [daily], float(now))
        told_at += [now] if raised else []
    assert told_at == [0, 1020, 2040, 3060]


def test_what_was_not_looked_at_does_not_clear():
    hot7, missing = replace(HOT, about="drive7"), Condition(AlertKind.MISSING, "drive6", CRITICAL)
    standing, _, _ = run({}, [HOT, hot7, missing], 100.0)
    assert run(standing, [], 160.0, ["something"]) == (standing, [], [])
    assert run(standing, [missing], 160.0, ["missing"])[2] == []
    assert run(standing, [], 160.0, ["missing"])[2] == [missing]
    assert run(standing, [missing], 160.0, [("hot", "drive7")])[2] == [hot7]


def test_of_two_about_the_same_the_worse_one_counts_in_whatever_order_they_come():
    worse = replace(HOT, severity=CRITICAL)
    for both in ([HOT, worse], [worse, HOT]):
        assert run({}, both, 100.0)[1] == [worse]


# ---- The clock ----


def test_a_clock_that_is_set_back_tells_nothing_anew():
    standing, _, _ = run({}, [replace(HOT, repeat_seconds=1000)], 1_000_000.0)
    standing, raised, _ = run(standing, [replace(HOT, repeat_seconds=1000)], 500.0)
    assert raised == []
    standing, raised, _ = run(standing, [replace(HOT, repeat_seconds=1000)], 1499.0)
    assert raised == []
    assert run(standing, [replace(HOT, repeat_seconds=1000)], 1500.0)[1] == [replace(HOT, repeat_seconds=1000)]
    assert run(standing, [], 600.0)[2] == [replace(HOT, repeat_seconds=1000)]


def test_a_clock_that_is_set_back_lets_patience_begin_anew_and_end():
    missing = Condition(AlertKind.MISSING, "drive6", CRITICAL, patience_seconds=120)
    standing, _, _ = run({}, [missing], 1_000_000.0)
    standing, raised, _ = run(standing, [missing], 500.0)
    assert raised == []
    assert run(standing, [missing], 619.0)[1] == []
    assert run(standing, [missing], 620.0)[1] == [missing]


# ---- Any sequence ----


ABOUT = st.sampled_from(["drive1", "drive2"])
KIND = st.sampled_from(["hot", "missing", "failing"])
CONDITION = st.builds(
    Condition, KIND, ABOUT, st.sampled_from(list(Severity)), st.dictionaries(st.just("n"), st.integers(0, 1)),
    st.sampled_from([0.0, 120.0]), st.sampled_from([0.0, 0.0, 300.0]),
)  # fmt: skip
LOOKED_AT = st.lists(st.one_of(KIND, st.tuples(KIND, ABOUT)), max_size=3)
STEP = st.tuples(
    st.lists(CONDITION, max_size=4), LOOKED_AT,
    st.one_of(st.just(60.0), st.just(0.0), st.floats(-1e6, 1e6, allow_nan=False)),
)  # fmt: skip


class Observer:
    """Hears what is told, and knows by counting on its own what may be told."""

    def __init__(self):
        self.told = {}  # key -> (when by the clock, the severity last seen)
        self.seen = {}  # key -> since when by the clock

    def hear(self, present, looked_at, changes, now):
        raised = {(one.kind, one.about): one for one in changes.raised}
        cleared = {(one.kind, one.about) for one in changes.cleared}
        assert len(raised) == len(changes.raised)
        assert len(cleared) == len(changes.cleared)
        assert not set(raised) & cleared
        for key, one in present.items():
            since = self.seen[key] = min(self.seen.get(key, now), now)
            if key not in self.told:
                assert (key in raised) == (now - since >= one.patience_seconds)
            else:
                when, severity = self.told[key]
                when = min(when, now)  # the waiting begins anew
                is_worse = GRAVITY[one.severity] > GRAVITY[severity]
                is_repeated = one.repeat_seconds > 0 and now - when >= one.repeat_seconds
                assert (key in raised) == (is_worse or is_repeated)
                self.told[key] = when, one.severity
            if key in raised:
                assert raised[key] == one
                self.told[key] = now, one.severity
        over = {key for key in self.seen if key not in present and (key[0] in looked_at or key in looked_at)}
        assert cleared == over & set(self.told)
        for key in over:
            del self.seen[key]
            self.told.pop(key, None)
        return set(raised) | cleared


@settings(max_examples=150, deadline=None)
@given(st.lists(STEP, max_size=12))
def test_over_any_sequence_each_is_told_once_and_cleared_once(steps):
    standing, observer, now = {}, Observer(), 1_800_000_000.0
    for conditions, looked_at, pause in steps:
        now = max(0.0, now + pause)
        worst = {}
        for one in sorted(conditions, key=lambda one: GRAVITY[one.severity]):
            worst[one.kind, one.about] = one
        changes = compare(standing, conditions, looked_at, now)
        told = observer.hear(worst, looked_at, changes, now)
        assert bool(changes) or not told
        standing = after(standing, changes)
        assert set(standing) == set(observer.seen)
        assert {key for key, one in standing.items() if one.told is not None} == set(observer.told)
        again = compare(standing, worst.values(), looked_at, now)
        assert not again, "the same once more changes nothing"


# ---- The book ----


@pytest.fixture
def database(tmp_path):
    database = Database(tmp_path)
    yield database
    database.close()


def write(database, book, conditions, looked_at=("hot",), now=100.0):
    changes = compare(book.standing(), conditions, looked_at, now)
    return database.carried_out(functools.partial(book.apply, changes))


def test_what_is_applied_stands_also_for_other_processes_and_after_a_restart(database, tmp_path):
    assert write(database, AlertBook(database), [HOT])
    assert AlertBook(Database(tmp_path)).standing() == {("hot", "drive6"): Standing(HOT, 100.0, 100.0)}
    assert write(database, AlertBook(database), [])
    assert AlertBook(Database(tmp_path)).standing() == {}


def test_who_compared_with_what_another_changed_meanwhile_writes_nothing(database, tmp_path):
    here, there = AlertBook(database), AlertBook(Database(tmp_path))
    changes_here, changes_there = (compare(book.standing(), [HOT], ["hot"], 100.0) for book in (here, there))
    assert there.apply(changes_there)
    assert not database.carried_out(lambda: here.apply(changes_here))
    assert not here.apply(changes_here)
    over = compare(here.standing(), [], ["hot"], 200.0)
    assert there.apply(compare(there.standing(), [replace(HOT, severity=CRITICAL)], ["hot"], 150.0))
    assert not here.apply(over)
    assert here.standing()["hot", "drive6"].condition.severity is CRITICAL


def test_nothing_that_cannot_be_written_counts_as_told(database):
    book = AlertBook(database)
    database.write("PRAGMA query_only = ON")
    assert not write(database, book, [HOT])
    database.write("PRAGMA query_only = OFF")
    assert book.standing() == {}
    assert write(database, book, [HOT])
    database.write("PRAGMA query_only = ON")
    assert not write(database, book, [])
    assert set(book.standing()) == {("hot", "drive6")}


def test_any_bytes_may_be_in_what_it_is_about(database):
    about = b"/mnt/dri\xffve\n'6\x00\x1b[2J".decode("utf-8", "surrogateescape")
    facts = {"drive": about, "plots": None, "share": 0.1, "bytes": 2**63}
    odd = Condition(AlertKind.MISSING, about, CRITICAL, facts, 1.5, 2)
    book = AlertBook(database)
    assert write(database, book, [odd])
    assert book.standing() == {("missing", about): Standing(odd, 100.0, None)}
    assert not compare(book.standing(), [odd], ["missing"], 100.0)
    assert write(database, book, [], ["missing"])
    assert book.standing() == {}


TEXT = st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from([chr(one) for one in range(0xDC80, 0xDD00)]))


@settings(max_examples=60, deadline=None)
@given(TEXT, st.dictionaries(st.text(string.ascii_letters), TEXT | st.integers() | st.floats(allow_nan=False)))
def test_what_comes_back_is_what_was_stored(about, facts):
    database = Database(None)
    book = AlertBook(database)
    odd = Condition(AlertKind.MISSING, about, INFO, facts)
    assert write(database, book, [odd])
    assert book.standing() == {("missing", about): Standing(odd, 100.0, 100.0)}
    assert write(database, book, [], ["missing"])
    assert book.standing() == {}
    database.close()


def test_nothing_to_change_is_no_change():
    assert not Changes()
    assert not compare({}, [], ["hot"], 0.0)
