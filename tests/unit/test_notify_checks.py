"""Checks: nothing is raised that nobody looks at again, and nothing is said to be well that is not known to be."""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path

import pytest

from plotfarm.base.condition import AlertKind, Condition, Look, Severity
from plotfarm.base.database import Database
from plotfarm.base.state import Room
from plotfarm.jobs.plot_room import filling_check
from plotfarm.notify.alerts import AlertBook, compare
from plotfarm.notify.checks import NotCoveredError, check, looked_at, over_silently
from plotfarm.reports import mails

PACKAGE = Path(mails.__file__).parents[1]
RAISED = [kind for kind in AlertKind if kind.look is not None]

DRIVE6 = Condition(AlertKind.MISSING, "drive6", Severity.CRITICAL)
DRIVE7 = Condition(AlertKind.READ_ONLY, "drive7", Severity.CRITICAL)


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
    ("look", "kinds", "about"),
    [
        (Look.PRESENCE, [AlertKind.READ_ONLY], None),
        (Look.PRESENCE, [], None),
        (Look.PRESENCE, None, ["drive7"]),
        (Look.PRESENCE, None, []),
        (Look.HEALTH, None, ["drive6"]),
        (Look.HEALTH, [AlertKind.MISSING], None),
    ],
)
def test_what_a_check_does_not_cover_cannot_be_found_by_it(look, kinds, about):
    with pytest.raises(NotCoveredError, match="missing about drive6"):
        check(look, [DRIVE6], kinds=kinds, about=about)


def test_whatever_was_raised_is_over_when_its_check_finds_it_no_more(book):
    assert evaluate(book, check(Look.PRESENCE, [DRIVE6]), check(Look.HEALTH, [])) == (["drive6"], [])
    assert evaluate(book, check(Look.PRESENCE, [DRIVE6])) == ([], [])
    assert evaluate(book, check(Look.HEALTH, [])) == ([], []), "another check says nothing about it"
    assert evaluate(book, check(Look.PRESENCE, [], about=["drive7"])) == ([], []), (
        "nor one that looked at another drive"
    )
    assert evaluate(book, check(Look.PRESENCE, [])) == ([], ["drive6"])
    assert book.standing() == {}


def test_that_something_is_over_is_said_only_of_what_is_known_to_be_well(book):
    evaluate(book, check(Look.PRESENCE, [DRIVE6, DRIVE7]))
    assert evaluate(book, check(Look.PRESENCE, [], well=["drive7"])) == ([], ["drive7"])
    assert book.standing() == {}, "but it no longer stands"


def test_what_turns_into_something_else_is_not_over(book):
    evaluate(book, check(Look.PRESENCE, [DRIVE7], well=[]))
    gone = Condition(AlertKind.MISSING, "drive7", Severity.CRITICAL)
    assert evaluate(book, check(Look.PRESENCE, [gone], well=["drive6"])) == (["drive7"], [])
    assert set(book.standing()) == {("missing", "drive7")}


# ---- Every kind ----


def members_named(enum):
    """Return name of the member -> modules of the package in which it is used."""
    found = defaultdict(set)
    for file in PACKAGE.rglob("*.py"):
        if file.name == "condition.py":
            continue
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == enum:
                found[node.attr].add(file.relative_to(PACKAGE).as_posix())
    return found


def kinds_that_are_made():
    """Return name of the kind -> modules of the package that make a condition of it."""
    found = defaultdict(set)
    for file in PACKAGE.rglob("*.py"):
        text = file.read_text()
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("Condition", "Alert"):
                first = node.args[0]
                if isinstance(first, ast.Attribute) and getattr(first.value, "id", "") == "AlertKind":
                    found[first.attr].add(file.relative_to(PACKAGE).as_posix())
    return found


@pytest.mark.parametrize("kind", RAISED)
def test_each_kind_is_raised_by_its_one_check_and_resolved_by_it_alone(book, kind):
    one = Condition(kind, "it", Severity.WARNING)
    for look in Look:
        if look is not kind.look:
            with pytest.raises(NotCoveredError):
                check(look, [one])

    assert evaluate(book, check(kind.look, [one])) == (["it"], [])
    others = [check(look, []) for look in Look if look is not kind.look]
    assert evaluate(book, *others) == ([], []), "no other check says that it is over"
    assert evaluate(book, check(kind.look, [])) == ([], ["it"])
    assert book.standing() == {}
    assert mails.sentence(one) != mails.sentence(one, over=True)


def test_each_look_is_taken_in_one_module_that_the_program_uses():
    taken = members_named("Look")
    taken["PRESENCE"].discard("reports/values.py")  # which only asks what belongs to it
    assert taken.keys() == {look.name for look in Look}
    assert {name: modules for name, modules in taken.items() if len(modules) != 1} == {}
    assert all(look.kinds for look in Look)


def test_each_kind_is_made_in_one_module():
    made = kinds_that_are_made()
    assert made.keys() == {kind.name for kind in AlertKind}
    assert {name: modules for name, modules in made.items() if len(modules) != 1} == {}


def test_a_nas_that_makes_plots_itself_says_nothing_of_the_disks_of_its_plotters(book):
    theirs = Room("plotter1", "/plots", 1.0, 10, 0, 0.5)
    own = Room("nas01", "/plots", 1.0, 10, 0, None)
    assert evaluate(book, filling_check([theirs, own], 2.0)) == (["plotter1:/plots"], [])
    assert evaluate(book, filling_check([own], 2.0, is_all=False)) == ([], [])
    assert evaluate(book, filling_check([own], 2.0)) == ([], ["plotter1:/plots"])


def test_what_no_check_looks_at_is_a_notice():
    assert [kind for kind in AlertKind if kind.look is None] == [AlertKind.NOT_FARMED]


def test_what_another_version_has_raised_is_left_alone(book):
    row = ("plague", '"drive6"', "critical", "{}", 0.0, 0.0, 1.0, 1.0)
    assert book._database.write("INSERT INTO conditions VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)
    assert book.standing() == {}
    assert evaluate(book, check(Look.PRESENCE, [DRIVE6])) == (["drive6"], [])
    assert set(book.standing()) == {(AlertKind.MISSING, "drive6")}
