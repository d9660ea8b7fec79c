"""When a drive is listed for parts, and when what was found there still stands: on real directories."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from plotfarm.drives import root_parts
from plotfarm.drives.model import NoParts
from plotfarm.drives.root_parts import look_for_parts
from plotfarm.jobs import stock
from plotfarm.plots.parts import list_parts, part_name
from tests.integration.test_drive_looks import SIZE, Nas, offer, reserved

PART = part_name("plot-k32-left.plot", "00000000000000ab")


class Root:
    """The root of a drive, and how often it was listed."""

    def __init__(self, place: Path, patch: pytest.MonkeyPatch) -> None:
        self.place = place
        self.listed = 0
        self.descriptor = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
        patch.setattr(root_parts, "list_parts", self._list)

    def _list(self, directory: int) -> object:
        self.listed += 1
        return list_parts(directory)

    def look(self, known: NoParts | None) -> tuple[list[str], NoParts | None]:
        parts, without = look_for_parts(self.descriptor, known)
        return [part.name for part in parts], without

    def known(self) -> NoParts:
        """Return that there are no parts."""
        parts, without = self.look(None)
        assert parts == [] and without is not None
        return without


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Root]:
    monkeypatch.setattr(root_parts, "_LEFT_ALONE_SECONDS", -60.0)  # also what has changed just now
    made = Root(tmp_path, monkeypatch)
    yield made
    os.close(made.descriptor)


def test_a_root_that_looks_as_it_did_is_not_listed_again(root: Root) -> None:
    known = root.known()
    assert root.look(known) == ([], known)
    assert root.listed == 1


@pytest.mark.parametrize("change", ["new", "renamed", "by a link"])
def test_a_part_is_seen_however_it_came(root: Root, change: str) -> None:
    other = root.place / "other"
    other.touch()
    known = root.known()
    if change == "new":
        (root.place / PART).touch()
    elif change == "renamed":
        other.rename(root.place / PART)
    else:
        (root.place / PART).hardlink_to(other)
    os.utime(root.place, ns=(0, int(known.signature.split(":")[1])))  # the mtime can be set back, the ctime cannot
    assert root.look(known) == ([PART], None)


def test_where_parts_lie_is_always_listed(root: Root) -> None:
    (root.place / PART).touch()
    assert root.look(None) == root.look(None) == ([PART], None)
    (root.place / PART).unlink()
    assert root.look(root.known()) != ([PART], None)
    assert root.listed == 3


def test_what_changed_just_now_may_change_again_in_the_same_tick(root: Root, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(root_parts, "_LEFT_ALONE_SECONDS", 60.0)
    (root.place / "plot-k32-a.plot").touch()
    assert root.look(None) == ([], None)


@pytest.mark.parametrize("listed", [-3600.0, 3600.0])
def test_it_is_believed_for_some_minutes_only_of_the_time_that_the_host_runs(root: Root, listed: float) -> None:
    known = root.known()
    root.look(NoParts(known.signature, time.clock_gettime(time.CLOCK_BOOTTIME) + listed))
    assert root.listed == 2


def test_the_minutely_run_lists_only_what_changed_and_a_session_every_drive_that_it_asks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "listed"
    (tmp_path / "nas").mkdir()
    nas = Nas(tmp_path / "nas", 3)

    def listing(directory: int) -> object:  # in the helper process
        with log.open("a") as file:
            file.write(f"{os.path.basename(os.readlink(f'/proc/self/fd/{directory}'))}\n")
        return list_parts(directory)

    def listed() -> list[str]:
        names = sorted(log.read_text().split()) if log.exists() else []
        log.unlink(missing_ok=True)
        return names

    monkeypatch.setattr(root_parts, "_LEFT_ALONE_SECONDS", -60.0)
    monkeypatch.setattr(root_parts, "list_parts", listing)
    nas.look()
    assert listed() == ["drive1", "drive2", "drive3"]
    nas.look()
    assert listed() == []

    (nas.places[1] / PART).write_bytes(b"bytes")
    taken = stock.take_stock(nas.config, nas.state)
    assert listed() == ["drive2"]
    assert [len(taken.readings[drive.identity].parts) for drive in (nas.drive(1), nas.drive(2))] == [0, 1]

    placement = reserved(nas.session().place(offer(size=SIZE), frozenset()))
    assert placement.drive in {"drive1", "drive2", "drive3"}
    assert listed() == ["drive1", "drive2", "drive3"]
