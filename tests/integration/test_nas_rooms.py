"""What a plotter remembers of the room on its NAS from one run to the next."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from plotfarm.base.state import State
from plotfarm.transfer.nas_rooms import NasRooms, RoomSaid

HOUR = 3600.0


@pytest.fixture
def rooms(tmp_path: Path) -> NasRooms:
    return NasRooms(State(tmp_path).database)


def test_the_newest_word_of_each_nas_is_remembered(rooms: NasRooms) -> None:
    now = time.time()
    rooms.remember([RoomSaid("nas1", 5 * 10**14, now - 60), RoomSaid("root@nas2", 7, now - 60)])
    rooms.remember([RoomSaid("nas1", 4 * 10**14, now)])
    assert sorted(rooms.lately(HOUR), key=lambda room: room.nas) == [
        RoomSaid("nas1", 4 * 10**14, now),
        RoomSaid("root@nas2", 7, now - 60),
    ]


def test_what_is_too_old_or_from_the_future_is_not(rooms: NasRooms) -> None:
    now = time.time()
    rooms.remember([RoomSaid("old", 1, now - HOUR - 1), RoomSaid("future", 1, now + HOUR)])
    assert rooms.lately(HOUR) == []


def test_a_nas_may_say_what_it_likes(rooms: NasRooms) -> None:
    rooms.remember([RoomSaid("boasting", 10**9 * 8 * 2**40, time.time())])
    (said,) = rooms.lately(HOUR)
    assert said.bytes > 10**18
