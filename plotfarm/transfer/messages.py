"""The messages of a session: one JSON object a line, each a frozen dataclass with the bounds of its fields.

plotter -> NAS:  hello, ask, offer, continue, lost, sent, commit, reject, recheck, done, heartbeat
NAS -> plotter:  hello, capacity, placed, refused, have, partial, ready, arrived, stored, rechecked, failed, heartbeat

What the other end says is decoded here and nowhere else: whatever does not fit its bounds is a ProtocolError. A text
has become one printable line when it leaves this module. docs/protocol.md lists every field, checked by a test.
"""

from __future__ import annotations

import json
from dataclasses import Field, dataclass, field, fields
from typing import Any, TypeVar, cast

from plotfarm.base.errors import ProtocolError
from plotfarm.plots.names import escaped
from plotfarm.transfer.bounds import Bound, Flag, Hashes, OneOf, OrNull, Pattern, Seconds, Text, Whole
from plotfarm.transfer.outcomes import Failure, Phase, Refusal

VERSION = 3
SUITE = "chia-plot-manager"
LARGEST_PLOT_BYTES = 8 * 2**40
MOST_SEGMENTS = 8192
LONGEST_LINE_BYTES = MOST_SEGMENTS * 68 + 16384
LONGEST_TEXT = 300
_SHOWN = 80


def _bound(bound: Bound) -> Any:
    return field(metadata={"bound": bound})


_SIZE = Whole(1, LARGEST_PLOT_BYTES)
_ATTEMPT = Whole(1, 10_000)
_ARRIVAL = Pattern("[0-9a-f]{16}", 16)
_DETAIL = Text(LONGEST_TEXT)
_PATH = Text(1000)
_TIME = Whole(-(2**63), 2**63 - 1)
_HASHES = Hashes(MOST_SEGMENTS)
_PHASE = OneOf(Phase)
_REFUSAL = OneOf(Refusal)
_FAILURE = OneOf(Failure)


# ---- Messages -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Message:
    """One message of a session."""


@dataclass(frozen=True)
class Hello(Message):
    """The first message of each end."""

    suite: str = _bound(Text(40))
    version: int = _bound(Whole(0, 10**6))


@dataclass(frozen=True)
class Heartbeat(Message):
    """The sender is alive, and in this phase."""

    phase: Phase = _bound(_PHASE)


@dataclass(frozen=True)
class Ask(Message):
    """The question how many plots of `size` bytes the NAS can take."""

    size: int = _bound(_SIZE)


@dataclass(frozen=True)
class Capacity(Message):
    """The NAS can take so many plots of the size, so many at once; `detail` says why if that is none."""

    plots: int = _bound(Whole(0, 10**9))
    streams: int = _bound(Whole(0, 10**6))
    arriving_bytes: int = _bound(Whole())  # of the plots that others are bringing now; `plots` leaves their room out
    detail: str = _bound(_DETAIL)


@dataclass(frozen=True)
class Offer(Message):
    """A plot that waits to be taken: its name, its size in bytes, and what its header says."""

    name: str = _bound(Text(400))
    size: int = _bound(_SIZE)
    format: str = _bound(Text(20))
    k: int | None = _bound(OrNull(Whole(1, 255)))
    id: str = _bound(Pattern("[0-9a-f]*", 128))
    is_dry_run: bool = _bound(Flag())
    patience_seconds: float = _bound(Seconds(3600))  # for so long it may wait for its turn
    streams: int = _bound(Whole(1, 1000))  # so many plots this plotter may send at once
    plot_directory: str = _bound(Text(200))
    free_bytes: int | None = _bound(OrNull(Whole()))  # in that directory
    waiting_bytes: int = _bound(Whole())  # of the plots that wait there
    hours_left: float | None = _bound(OrNull(Seconds(10**6)))  # until it is full


@dataclass(frozen=True)
class Placed(Message):
    """The answer to a dry run: where the plot would go, or lies already."""

    path: str = _bound(_PATH)
    drive: str = _bound(Text(200))
    is_stored: bool = _bound(Flag())


@dataclass(frozen=True)
class Refused(Message):
    """The plot is not taken."""

    refusal: Refusal = _bound(_REFUSAL)
    detail: str = _bound(_DETAIL)


@dataclass(frozen=True)
class Partial(Message):
    """The hashes of the whole segments of an interrupted arrival, as read from the drive just now."""

    segments: tuple[str, ...] = _bound(_HASHES)


@dataclass(frozen=True)
class Continue(Message):
    """The first `segments` segments are equal at both ends: go on behind them."""

    segments: int = _bound(Whole(0, MOST_SEGMENTS))


@dataclass(frozen=True)
class Ready(Message):
    """The NAS listens: where to send the token and then the plot's bytes. The address is the plotter's business."""

    port: int = _bound(Whole(1024, 65535))
    token: str = _bound(Pattern("[0-9a-f]{32}", 32))
    drive: str = _bound(Text(200))
    arrival: str = _bound(_ARRIVAL)
    segments: int = _bound(Whole(0, MOST_SEGMENTS))  # that are there already
    attempt: int = _bound(_ATTEMPT)


@dataclass(frozen=True)
class Lost(Message):
    """The data connection of this attempt was refused or ended early."""

    attempt: int = _bound(_ATTEMPT)
    detail: str = _bound(_DETAIL)


@dataclass(frozen=True)
class Sent(Message):
    """All bytes went into the data connection of this attempt."""

    attempt: int = _bound(_ATTEMPT)
    size: int = _bound(_SIZE)


@dataclass(frozen=True)
class Arrived(Message):
    """So many bytes are in the part, with these hashes."""

    size: int = _bound(_SIZE)
    segments: tuple[str, ...] = _bound(_HASHES)


@dataclass(frozen=True)
class Commit(Message):
    """The hashes of both ends are equal: publish the plot."""


@dataclass(frozen=True)
class Reject(Message):
    """The hashes differ from this segment on."""

    segment: int = _bound(Whole(0, MOST_SEGMENTS))


@dataclass(frozen=True)
class Stored(Message):
    """The plot of this arrival is published, durably."""

    arrival: str = _bound(_ARRIVAL)
    path: str = _bound(_PATH)
    segments: tuple[str, ...] = _bound(_HASHES)


@dataclass(frozen=True)
class Have(Message):
    """A plot of this name and size is on a drive: its hashes, as read from the drive just now."""

    path: str = _bound(_PATH)
    segments: tuple[str, ...] = _bound(_HASHES)


@dataclass(frozen=True)
class Recheck(Message):
    """Look at the stored plot anew; the answer carries the same number, so that an older one is not taken for it."""

    number: int = field(default=1, metadata={"bound": _ATTEMPT})


@dataclass(frozen=True)
class Rechecked(Message):
    """The size in bytes and the modification time of the stored plot, in nanoseconds of Unix time."""

    number: int = _bound(_ATTEMPT)
    size: int = _bound(Whole())
    mtime_ns: int = _bound(_TIME)


@dataclass(frozen=True)
class Done(Message):
    """The plotter has no more to ask about the stored plot."""


@dataclass(frozen=True)
class Failing(Message):
    """The arrival failed. The message `failed`; the outcome is Failed."""

    failure: Failure = _bound(_FAILURE)
    detail: str = _bound(_DETAIL)
    is_resumable: bool = _bound(Flag())


_KINDS: dict[str, type[Message]] = {
    "hello": Hello,
    "heartbeat": Heartbeat,
    "ask": Ask,
    "capacity": Capacity,
    "offer": Offer,
    "placed": Placed,
    "refused": Refused,
    "partial": Partial,
    "continue": Continue,
    "ready": Ready,
    "lost": Lost,
    "sent": Sent,
    "arrived": Arrived,
    "commit": Commit,
    "reject": Reject,
    "stored": Stored,
    "have": Have,
    "recheck": Recheck,
    "rechecked": Rechecked,
    "done": Done,
    "failed": Failing,
}
_NAMES = {message: name for name, message in _KINDS.items()}

M = TypeVar("M", bound=Message)


def kinds() -> dict[str, type[Message]]:
    """Return every message by the name that it has on the wire."""
    return dict(_KINDS)


def bounds(message: type[Message]) -> dict[str, Bound]:
    """Return the bounds of a message's fields."""
    return {each.name: _bound_of(each) for each in fields(message)}


def name_of(message: type[Message]) -> str:
    """Return the name that a message has on the wire."""
    return _NAMES[message]


def encode(message: Message) -> bytes:
    """Return one message as the bytes of its line."""
    return json.dumps({"type": _NAMES[type(message)], **message.__dict__}).encode() + b"\n"


def decode(line: bytes) -> Message:
    """Return the message in a line; ProtocolError if it is none, or a field is out of its bounds."""
    values = _json_object(line)
    kind = values.pop("type", None)
    message = _KINDS.get(kind) if isinstance(kind, str) else None
    if message is None:
        raise ProtocolError(f"no message is called {_shown(kind)}")

    expected = bounds(message)
    if values.keys() != expected.keys():
        odd = sorted(values.keys() ^ expected.keys())[0]
        raise ProtocolError(f"the message {kind!r} has not the fields it should have: {_shown(odd)}")
    read = {}
    for name, bound in expected.items():
        try:
            read[name] = bound.read(values[name])
        except ValueError:
            raise ProtocolError(f"{kind}.{name} is out of bounds: {_shown(values[name])}") from None
    return message(**read)


def text(value: str) -> str:
    """Return a text for a message's field, cut to what the other end accepts."""
    return value if len(value) <= LONGEST_TEXT else value[: LONGEST_TEXT - 3] + "..."


def hello() -> Hello:
    """Return this end's `hello`."""
    return Hello(SUITE, VERSION)


def check_version(message: Hello) -> None:
    """ProtocolError with the remedy if the other end speaks another version."""
    if message.version != VERSION:
        older = "the other end" if message.version < VERSION else "this end"
        raise ProtocolError(
            f"the two ends speak different versions (this end {VERSION}, the other {message.version}): upgrade {older}"
        )


def out_of_turn(message: Message) -> ProtocolError:
    """Return the error for a message that may not come now."""
    return ProtocolError(f"the other end sent {name_of(type(message))!r} out of turn")


def _bound_of(each: Field[Any]) -> Bound:
    return cast(Bound, each.metadata["bound"])


def _json_object(line: bytes) -> dict[str, Any]:
    try:
        values = json.loads(line)
    except (ValueError, RecursionError):
        values = None
    if not isinstance(values, dict):
        raise ProtocolError(f"no message: {_shown(line[:_SHOWN].decode(errors='replace'))}")
    return values


def _shown(value: object) -> str:
    """Return what was received, short and on one line."""
    try:
        shown = str(value)[: _SHOWN + 1]
    except (ValueError, RecursionError):  # more digits than Python converts, or lists in lists in lists
        shown = "a very large value"
    return escaped(shown if len(shown) <= _SHOWN else shown[:_SHOWN] + "...")
