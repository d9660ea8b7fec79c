"""The messages of a session: each survives the wire, and nothing hostile gets further than a ProtocolError."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from plotfarm.base.errors import ProtocolError
from plotfarm.transfer import messages
from plotfarm.transfer.bounds import Bound, Flag, Hashes, OneOf, OrNull, Pattern, Seconds, Text, Whole
from plotfarm.transfer.channel import SHORT_LINE_BYTES
from plotfarm.transfer.messages import Message

KINDS = messages.kinds()
PRINTABLE = st.characters(codec="utf-8").filter(lambda character: character.isprintable() and character != "\\")
HASH = st.text("0123456789abcdef", min_size=64, max_size=64)

# Allowed values of each sort of bound: what is decoded must be what was encoded.
ALLOWED: dict[type, Callable[[Any], SearchStrategy[Any]]] = {
    Whole: lambda bound: st.integers(bound.lowest, bound.highest),
    Seconds: lambda bound: st.floats(0, bound.highest),
    Text: lambda bound: st.text(PRINTABLE, max_size=bound.longest),
    Pattern: lambda bound: st.from_regex(bound.form, fullmatch=True).filter(lambda text: len(text) <= bound.longest),
    Flag: lambda _: st.booleans(),
    Hashes: lambda _: st.lists(HASH, max_size=5).map(tuple),
    OneOf: lambda bound: st.sampled_from(bound.enum),
    OrNull: lambda bound: st.none() | allowed(bound.bound),
}

NESTED: Any = 1
for _ in range(200):
    NESTED = [NESTED]

# Out of the bounds of every field, whatever its sort.
NEVER_ALLOWED = {
    "nested": NESTED,
    "object": {"a": 1},
    "list of lists": [[]],
    "a long list": ["0" * 64] * (messages.MOST_SEGMENTS + 1),
    "a list of texts": ["x", "../../etc"],
    "a list of numbers": [1] * 1000,
    "upper case": ["A" * 64],
    "a list with a line break": ["0" * 64 + "\n"],
    "NaN": float("nan"),
    "infinity": float("inf"),
    "below zero": -(2**63) - 1,
    "a fraction below zero": -0.5,
    "a large number": 2**64,
    "a long text": "x" * 5000,
}
SURROGATES = "\ud800\udcff"


def allowed(bound: Bound) -> SearchStrategy[Any]:
    return ALLOWED[type(bound)](bound)


def any_message() -> SearchStrategy[Message]:
    return st.sampled_from(list(KINDS.values())).flatmap(
        lambda kind: st.builds(kind, **{name: allowed(bound) for name, bound in messages.bounds(kind).items()})
    )


def values_of(kind: type[Message]) -> dict[str, Any]:
    """Allowed values for every field of a message."""
    examples: dict[type, Callable[[Any], Any]] = {
        Whole: lambda bound: max(bound.lowest, 1),
        Seconds: lambda _: 1.5,
        Text: lambda _: "x",
        Pattern: lambda bound: "0" * (bound.longest if "{" in bound.form else 4),
        Flag: lambda _: True,
        Hashes: lambda _: ["0" * 64],
        OneOf: lambda bound: next(iter(bound.enum)).value,
        OrNull: lambda _: None,
    }
    return {name: examples[type(bound)](bound) for name, bound in messages.bounds(kind).items()}


def line_of(name: str, values: dict[str, Any]) -> bytes:
    return json.dumps({"type": name, **values}).encode()


FIELDS = [(name, field) for name, kind in KINDS.items() for field in messages.bounds(kind)]


@given(any_message())
@settings(max_examples=300, deadline=None)
def test_every_message_survives_the_wire(message: Message) -> None:
    line = messages.encode(message)
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    assert line.isascii()
    assert messages.decode(line) == message


@pytest.mark.parametrize("name", KINDS)
def test_the_longest_message_of_each_kind_fits_its_line(name: str) -> None:
    """What the channel allows a line of the kind is enough for all that the bounds of its fields allow."""
    longest: dict[type, Callable[[Any], Any]] = {
        Whole: lambda bound: bound.highest if bound.highest > -bound.lowest else bound.lowest,
        Seconds: lambda bound: bound.highest - 1 / 3,
        Text: lambda bound: "\U0001f331" * bound.longest,
        Pattern: lambda bound: "0" * bound.longest,
        Flag: lambda _: False,
        Hashes: lambda bound: ("0" * 64,) * bound.most,
        OneOf: lambda bound: max(bound.enum, key=len),
        OrNull: lambda bound: longest[type(bound.bound)](bound.bound),
    }
    bounds = messages.bounds(KINDS[name])
    message = KINDS[name](**{field: longest[type(bound)](bound) for field, bound in bounds.items()})
    line = messages.encode(message)
    carries_hashes = any(isinstance(bound, Hashes) for bound in bounds.values())
    assert len(line) <= (messages.LONGEST_LINE_BYTES if carries_hashes else SHORT_LINE_BYTES)
    assert isinstance(messages.decode(line), KINDS[name])


@pytest.mark.parametrize(("name", "field"), FIELDS)
@pytest.mark.parametrize("hostile", NEVER_ALLOWED)
def test_hostile_values_of_every_field_are_refused(name: str, field: str, hostile: str) -> None:
    values = values_of(KINDS[name])
    messages.decode(line_of(name, values))
    with pytest.raises(ProtocolError):
        messages.decode(line_of(name, {**values, field: NEVER_ALLOWED[hostile]}))


@pytest.mark.parametrize(("name", "field"), FIELDS)
@pytest.mark.parametrize("digits", [400, 4000, 12_000])
def test_numbers_of_many_digits(name: str, field: str, digits: int) -> None:
    """More digits than Python converts, and fewer: 10**4000 cannot be compared with, shown, or stored anywhere."""
    line = line_of(name, {**values_of(KINDS[name]), field: "HERE"}).replace(b'"HERE"', b"1" + b"0" * digits)
    with pytest.raises(ProtocolError):
        messages.decode(line)


@pytest.mark.parametrize(("name", "field"), FIELDS)
def test_surrogates_and_control_characters_become_one_printable_line(name: str, field: str) -> None:
    hostile = f"{SURROGATES}\n\x1b[2J\u2028\u202e"
    line = line_of(name, {**values_of(KINDS[name]), field: hostile})
    if not isinstance(messages.bounds(KINDS[name])[field], Text):
        with pytest.raises(ProtocolError):
            messages.decode(line)
        return
    value = getattr(messages.decode(line), field)
    assert value.isprintable()
    value.encode()  # a lone surrogate would fail here, or when it is written


@pytest.mark.parametrize(("name", "field"), FIELDS)
def test_a_missing_field_is_refused(name: str, field: str) -> None:
    values = values_of(KINDS[name])
    del values[field]
    with pytest.raises(ProtocolError):
        messages.decode(line_of(name, values))


@pytest.mark.parametrize("name", KINDS)
def test_a_field_too_many_is_refused(name: str) -> None:
    with pytest.raises(ProtocolError):
        messages.decode(line_of(name, {**values_of(KINDS[name]), "address": "-lcid"}))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(st.sampled_from(FIELDS), JSON)
@settings(max_examples=500, deadline=None)
def test_any_value_is_read_or_refused(where: tuple[str, str], value: Any) -> None:
    name, field = where
    line = line_of(name, {**values_of(KINDS[name]), field: value})
    message = decoded(line)
    if message is not None:
        messages.decode(messages.encode(message))


@given(st.binary() | JSON.map(lambda value: json.dumps(value).encode()))
@settings(max_examples=500, deadline=None)
def test_whatever_the_line_is(line: bytes) -> None:
    decoded(line)


def decoded(line: bytes) -> Message | None:
    """The message, or None after a ProtocolError, which is one printable line."""
    refused = ""
    try:
        return messages.decode(line)
    except ProtocolError as error:
        refused = str(error)
    assert refused.isprintable()
    return None


LONGEST = messages.LONGEST_LINE_BYTES


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"[]",
        b"7",
        b"{}",
        b'{"type": 7}',
        b'{"type": null}',
        b'{"type": ["hello"]}',
        b'{"type": "\xff"}',
        b'{"type": "hello"',
        b"[" * LONGEST,
        b'{"a":' * (LONGEST // 5),
        b"9" * LONGEST,
        b'{"type": "partial", "segments": [' + b"{}," * (LONGEST // 3) + b"{}]}",
        b'{"type": "partial", "segments": ' + b"[" * 900 + b"]" * 900 + b"}",
        b'{"type": "partial", "segments": "' + b"0" * LONGEST + b'"}',
        b"\0" * LONGEST,
        b"\xef\xbb\xbf{}",
        b"\xff\xfe{\0}\0",
    ],
    ids=lambda line: line[:12].decode(errors="replace"),
)
def test_what_is_no_message(line: bytes) -> None:
    with pytest.raises(ProtocolError) as caught:
        messages.decode(line)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("depth", range(300, 1100, 20))
@pytest.mark.parametrize("around", ["[]", '{"a":}'])
def test_nesting_as_deep_as_the_parser_goes(depth: int, around: str) -> None:
    """What the parser still reads may be too deep for the message about it."""
    opening, closing = around[:-1], around[-1]
    line = f'{{"type": "ask", "size": {opening * depth}0{closing * depth}}}'
    with pytest.raises(ProtocolError):
        messages.decode(line.encode())


@pytest.mark.parametrize("version", [0, messages.VERSION - 1, messages.VERSION + 1, 10**6])
def test_other_versions_are_refused(version: int) -> None:
    with pytest.raises(ProtocolError):
        messages.check_version(messages.Hello(messages.SUITE, version))


def test_both_ends_of_one_version_agree() -> None:
    hello = messages.decode(messages.encode(messages.hello()))
    assert isinstance(hello, messages.Hello)
    messages.check_version(hello)


@given(st.text())
def test_a_text_is_cut_to_what_the_other_end_accepts(text: str) -> None:
    assert len(messages.text(text * 50)) <= messages.LONGEST_TEXT
