"""The conversation's words: one JSON object a line, in versions that hosts can be upgraded between one by one.

plotter -> NAS:  hello, ask, offer, continue, beat, lost, sent
NAS -> plotter:  hello, room, partial, ready | place | have | refused, beat, stored | failed

A conversation goes on with the next `ask` or `offer` after `room`, `place`, `have`, `refused` and `stored`; it
ends with `failed`. Version 1 had neither `ask` nor `partial`, and its NAS takes one plot a conversation.

Unknown fields are ignored; what comes before the first `hello` (a login script's greeting) is skipped.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from plotfarm.base.errors import ProtocolError
from plotfarm.plots.names import escaped

LOWEST_VERSION, HIGHEST_VERSION = 1, 2
LONGEST_LINE = 1024 * 1024  # a `stored` of a plot of many segments stays far below

Message = dict[str, Any]


def encode(kind: str, /, **fields: Any) -> bytes:
    """Return one message as the bytes of its line."""
    return json.dumps({"type": kind, **fields}).encode() + b"\n"


def decode(line: bytes) -> Message | None:
    """Return the message in a line, or None if the line is none."""
    try:
        message = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return message if isinstance(message, dict) and isinstance(message.get("type"), str) else None


def hello() -> bytes:
    """Return this end's `hello`."""
    return encode("hello", suite="chia-plot-manager", lowest=LOWEST_VERSION, highest=HIGHEST_VERSION)


def agree(message: Message) -> int:
    """Return the highest version that both ends speak; ProtocolError with the remedy if there is none."""
    lowest, highest = integer(message, "lowest"), integer(message, "highest")
    version = min(highest, HIGHEST_VERSION)
    if version < max(lowest, LOWEST_VERSION):
        older = "the other end" if highest < LOWEST_VERSION else "this end"
        raise ProtocolError(
            f"the two ends speak different versions (this end {LOWEST_VERSION}-{HIGHEST_VERSION}, the other "
            f"{lowest}-{highest}): upgrade {older}"
        )
    return version


def text(message: Message, field: str) -> str:
    """Return a text field; ProtocolError if it is missing or something else."""
    value = message.get(field)
    if not isinstance(value, str):
        raise ProtocolError(f"message {message['type']!r} without a text {field!r}")
    return value


def texts(message: Message, field: str) -> tuple[str, ...]:
    """Return a list of texts; ProtocolError if it is missing or something else."""
    value = message.get(field)
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise ProtocolError(f"message {message['type']!r} without a list {field!r}")
    return tuple(value)


def integer(message: Message, field: str) -> int:
    """Return a whole number that is not negative; ProtocolError if it is missing or something else."""
    value = message.get(field)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ProtocolError(f"message {message['type']!r} without a number {field!r}")
    return value


@dataclass(frozen=True)
class Offer:
    """What a plotter offers: a plot's name, its size in bytes, what its header says, and the room it has left."""

    name: str
    size: int
    kind: str
    k: int | None = None
    id: str = ""
    dry_run: bool = False
    plot_directory: str = ""
    free_bytes: int | None = None
    waiting_bytes: int = 0
    hours_left: float | None = None
    patience_seconds: float = 0.0  # for so long it may wait for its turn, before it is refused
    streams: int = 1  # so many plots this plotter may send at once

    @classmethod
    def read(cls, message: Message) -> Offer:
        """Read an `offer`; ProtocolError if a field that matters is missing or no sense can be made of it."""
        size = integer(message, "size")
        if not 0 < size < 2**63:
            raise ProtocolError(f"an offer of {str(size)[:30]} bytes")
        k, free, hours = message.get("k"), message.get("free_bytes"), message.get("hours_left")
        patience, streams = message.get("patience_seconds"), message.get("streams")
        return cls(
            name=text(message, "name"),
            size=size,
            kind=text(message, "kind"),
            k=k if isinstance(k, int) and 0 < k < 256 else None,
            id=str(message.get("id") or "")[:128],
            dry_run=message.get("dry_run") is True,
            plot_directory=escaped(str(message.get("plot_directory") or "")),
            free_bytes=free if isinstance(free, int) and 0 <= free < 2**63 else None,
            waiting_bytes=integer(message, "waiting_bytes") % 2**63 if "waiting_bytes" in message else 0,
            hours_left=float(hours) if isinstance(hours, int | float) and 0 <= hours < 1e9 else None,
            patience_seconds=float(patience) if isinstance(patience, int | float) and 0 < patience < 1e6 else 0.0,
            streams=streams if isinstance(streams, int) and 1 < streams < 1e6 else 1,
        )


@dataclass(frozen=True)
class Capacity:
    """What a NAS can take now: so many plots of the asked size, so many at once; `why` if that is none."""

    plots: int
    streams: int
    why: str = ""

    def encode(self) -> bytes:
        """Return the message `room`."""
        return encode("room", **asdict(self))

    @classmethod
    def read(cls, message: Message) -> Capacity:
        """Read a `room`; ProtocolError if a number is missing."""
        return cls(integer(message, "plots"), integer(message, "streams"), escaped(str(message.get("why") or "")))
