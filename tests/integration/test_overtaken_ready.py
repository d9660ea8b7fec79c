"""Strangers at the port of a netcat cost a `ready` each: the plotter needs the last one, and blames no NAS for it."""

from __future__ import annotations

import json
import os

import pytest

from plotfarm.base.errors import ProtocolError
from plotfarm.transfer.channel import MOST_OVERTAKEN, MOST_UNDELIVERED, Channel
from plotfarm.transfer.messages import Hello, Ready


def ready(attempt: int) -> bytes:
    fields = {"port": 4040, "token": "0" * 32, "drive": "drive1", "arrival": "0" * 16, "segments": 0}
    return json.dumps({"type": "ready", **fields, "attempt": attempt}).encode() + b"\n"


@pytest.fixture
def channel() -> tuple[Channel, int]:
    """A channel that was greeted, and where to write what it hears."""
    ours, theirs = os.pipe()
    _, nowhere = os.pipe()
    channel = Channel(ours, nowhere, 10.0, 60.0, "the NAS")
    os.write(theirs, b'{"type": "hello", "suite": "chia-plot-manager", "version": 3}\n')
    assert isinstance(channel.receive_one(1), Hello)
    return channel, theirs


def test_only_the_last_ready_counts(channel: tuple[Channel, int]) -> None:
    heard, theirs = channel
    for attempt in range(1, 100):
        os.write(theirs, ready(attempt))
    (last,) = heard.pending()
    assert isinstance(last, Ready)
    assert last.attempt == 99


def test_they_do_not_come_without_end(channel: tuple[Channel, int]) -> None:
    heard, theirs = channel
    for attempt in range(1, MOST_OVERTAKEN + MOST_UNDELIVERED + 2):
        os.write(theirs, ready(attempt))
    with pytest.raises(ProtocolError):
        heard.pending()
