"""The words of the conversation: what is understood, what is ignored, what is refused."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plotfarm.base.errors import ProtocolError
from plotfarm.transfer import protocol
from plotfarm.transfer.protocol import Offer

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
FIELDS = [
    "name", "size", "kind", "k", "id", "dry_run", "plot_directory", "free_bytes", "waiting_bytes", "hours_left",
    "patience_seconds", "streams",
]  # fmt: skip


def test_a_message_is_one_line() -> None:
    line = protocol.encode("offer", name="a\nb\u2028c\udcff.plot")
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    assert line.isascii()
    assert protocol.decode(line) == {"type": "offer", "name": "a\nb\u2028c\udcff.plot"}


@given(st.binary())
def test_decoding_never_raises(line: bytes) -> None:
    message = protocol.decode(line)
    assert message is None or isinstance(message["type"], str)


@pytest.mark.parametrize("line", [b"", b"[]", b"7", b'{"type": 7}', b"{}", b"[" * 100_000, b"9" * 100_000, b"\xff"])
def test_what_is_no_message(line: bytes) -> None:
    assert protocol.decode(line) is None


@pytest.mark.parametrize(
    ("lowest", "highest", "expected"),
    [(1, 1, 1), (1, 9, 2), (0, 1, 1), (0, 9, 2), (2, 9, 2), (0, 0, "the other end"), (3, 9, "this end")],
)
def test_versions(lowest: int, highest: int, expected: int | str) -> None:
    message = {"type": "hello", "lowest": lowest, "highest": highest}
    if isinstance(expected, int):
        assert protocol.agree(message) == expected
    else:
        with pytest.raises(ProtocolError, match=f"upgrade {expected}"):
            protocol.agree(message)


def test_both_ends_of_this_version_agree() -> None:
    message = protocol.decode(protocol.hello())
    assert message is not None
    assert protocol.agree(message) == protocol.HIGHEST_VERSION


@pytest.mark.parametrize("value", [-1, 1.0, "1", None, True, [1]])
def test_numbers_that_are_none(value: object) -> None:
    with pytest.raises(ProtocolError, match="without a number 'size'"):
        protocol.integer({"type": "offer", "size": value}, "size")


def test_an_offer_survives_the_road() -> None:
    offer = Offer("x.plot", 5, "v1", 32, "ab", True, "/plots", 7, 8, 9.5, 60.0, 4)
    message = protocol.decode(protocol.encode("offer", **offer.__dict__, later="unknown"))
    assert message is not None
    assert Offer.read(message) == offer


@given(st.dictionaries(st.sampled_from(FIELDS), JSON))
def test_an_offer_is_read_or_refused(fields: dict[str, object]) -> None:
    """Whatever stands in it: no other error, and what is read fits into a database and on a line."""
    message = {"type": "offer", "name": "x.plot", "size": 5, "kind": "v1", **fields}
    try:
        offer = Offer.read(message)
    except ProtocolError:
        return
    assert 0 < offer.size < 2**63
    assert offer.plot_directory.isprintable() or offer.plot_directory == ""
    numbers = (offer.free_bytes, offer.waiting_bytes, offer.hours_left, offer.streams)
    assert all(number is None or 0 <= number < 2**63 for number in numbers)


@pytest.mark.parametrize("hours", [10**400, float("inf"), float("nan"), -1, "3", None])
def test_hours_that_are_none(hours: object) -> None:
    text = json.dumps({"type": "offer", "name": "x.plot", "size": 5, "kind": "v1", "hours_left": hours})
    message = protocol.decode(text.encode())
    assert message is not None
    assert Offer.read(message).hours_left is None
