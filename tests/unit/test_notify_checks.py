"""Checks: nothing is raised that nobody looks at again, and nothing is said to be well that is not known to be."""

from __future__ import annotations

import pytest

from plotfarm.base.condition import Condition, Severity
from plotfarm.base.database import Database
from plotfarm.notify.alerts import AlertBook, compare
from plotfarm.notify.checks import NotCoveredError, check, looked_at, over_silently

DRIVE6 = Condition("missing", "drive6", Severity.CRITICAL)
DRIVE7 = Condition("read_only", "drive7", Severity.CRITICAL)
KINDS = ("missing", "read_only")


@pytest.fixture
def book():
    database = Database(None)
    yield AlertBook(database)
    database.close()


def evaluate(book, *checks):
    """Return the abouts of what is raised and of what is over, and write both down."""
    standing = book.standing()
    present = [condition for one in checks for condition in one.found]
    changes = compare(standing, present, looked_at(checks, standing), 100.0, over_silently(checks, standing))
    if changes:
        assert book.apply(changes)
    return [one.about for one in changes.raised], [one.about for one in changes.cleared]


@pytest.mark.parametrize(
    ("kinds", "about"),
    [(("read_only",), None), ((), None), (KINDS, ("drive7",)), (KINDS, ()), (("miss",), ("drive6",))],
)
def test_what_a_check_does_not_cover_cannot_be_found_by_it(kinds, about):
    with pytest.raises(NotCoveredError, match="missing about drive6"):
        check(kinds, [DRIVE6], about=about)


def test_whatever_was_raised_is_over_when_its_check_finds_it_no_more(book):
    assert evaluate(book, check(KINDS, [DRIVE6]), check(["hot"], [])) == (["drive6"], [])
    assert evaluate(book, check(KINDS, [DRIVE6])) == ([], [])
    assert evaluate(book, check(["hot"], [])) == ([], []), "another check says nothing about it"
    assert evaluate(book, check(KINDS, [], about=["drive7"])) == ([], []), "nor one that looked at another drive"
    assert evaluate(book, check(KINDS, [])) == ([], ["drive6"])
    assert book.standing() == {}


def test_that_something_is_over_is_said_only_of_what_is_known_to_be_well(book):
    evaluate(book, check(KINDS, [DRIVE6, DRIVE7]))
    assert evaluate(book, check(KINDS, [], well=["drive7"])) == ([], ["drive7"])
    assert book.standing() == {}, "but it no longer stands"


def test_what_turns_into_something_else_is_not_over(book):
    evaluate(book, check(KINDS, [DRIVE7], well=[]))
    gone = Condition("missing", "drive7", Severity.CRITICAL)
    assert evaluate(book, check(KINDS, [gone], well=["drive6"])) == (["drive7"], [])
    assert set(book.standing()) == {("missing", "drive7")}
