"""Whatever a log or an RPC says: no error, and no input takes longer than a second."""

from __future__ import annotations

import contextlib
import json
import random
import time
from pathlib import Path

import pytest

from plotfarm.chia.coins import CoinState, Reader
from plotfarm.chia.farm_log import Farmed, Unreadable, farmed
from plotfarm.chia.log_form import form_of
from plotfarm.chia.rpc import Refused, checked
from plotfarm.chia.wallet import coin_of
from testbed.wallet_server import transaction

LOGS = sorted((Path(__file__).parents[1] / "data/chia_logs").glob("*.log"))
WHOLE = [path.read_bytes() for path in LOGS]
PIECES = [
    b"\0" * 300, b"\xef\xbb\xbf", b"\r\n", b"\n", b"\xff\xfe", b": " * 200, b"1" * 2000, b"1.1" * 700, b" " * 2000,
    b"amount: " * 300, b"plots were eligible for farming " * 100, b"Total 5 plots", b"} at 5", b"None", b"Some(9)",
    b"2026-11-24T03:00:00.123+02:00 wallet x: INFO ", b"99:99:99.9 a b: INFO ", b"coin: ", b"coin state: ",
]  # fmt: skip
COUNT = 10_000


def some_log(chance: random.Random) -> bytes:
    """Return a real log with some of its bytes cut out, doubled, or replaced by something strange."""
    text = bytearray(chance.choice(WHOLE))
    for _ in range(chance.randint(1, 6)):
        at = chance.randrange(len(text) + 1)
        cut = min(len(text), at + chance.choice([0, 1, 40, 700]))
        text[at:cut] = chance.choice([*PIECES, bytes(text[at:cut]) * 2, chance.randbytes(9)])
    return bytes(text)


@pytest.mark.parametrize("part", range(4))
def test_logs(tmp_path, part):
    chance = random.Random(part)
    log = tmp_path / "debug.log"
    slowest = 0.0
    for _ in range(COUNT // 4):
        text = some_log(chance)
        log.write_bytes(text)
        begun = time.process_time()
        for event in Reader().read([line + b"\n" for line in text.split(b"\n")]):
            assert not isinstance(event, CoinState) or len(event.id) == 64
        assert isinstance(farmed(log), Farmed | Unreadable)
        form_of(log)
        slowest = max(slowest, time.process_time() - begun)
    assert slowest < 1


_PREFIX = b"2026-11-24T03:00:00.123 2.7.5 wallet chia.wallet.wallet_node    : INFO     "
_LONG_BYTES = 30_000  # where the time grows with the square of it, this takes ten seconds
STARTS = [
    b"", _PREFIX, _PREFIX + b"Adding coin: ", _PREFIX + b"Confirmed balance amount is ",
    _PREFIX + b"1 plots were eligible for farming ", _PREFIX + b"_plot_refresh_callback: event done ",
]  # fmt: skip


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize(
    "piece",
    [*(one for one in PIECES if b"\n" not in one), b"a", b"0x", b"'", b"\xc3", b"}", b"2026-11-24T03:00:00.123 "],
)
def test_a_line_takes_no_longer_than_its_length(tmp_path, start, piece):
    line = start + piece * (_LONG_BYTES // len(piece))
    log = tmp_path / "debug.log"
    log.write_bytes(line + b"\n")
    begun = time.process_time()
    assert not [event for event in Reader().read([line + b"\n"]) if isinstance(event, CoinState)]
    assert isinstance(farmed(log), Farmed | Unreadable)
    form_of(log)
    assert time.process_time() - begun < 1


def some_value(chance: random.Random) -> object:
    return chance.choice(
        [None, True, -1, 0, 1.5, 1e308, 2**64, 2**300, "", "0x" + "a" * 64, "A" * 64, "\ud800", [], {}, [[]], [{}, {}]]
    )


def test_answers_of_a_wallet():
    chance = random.Random(5)
    sensible = 0
    for _ in range(COUNT):
        row = transaction(f"{chance.randrange(2**256):064x}", chance.randrange(2**64), chance.choice([0, 2, 3]))
        for _ in range(chance.randint(0, 2)):
            inside = chance.choice([row, row["additions"][0] if row["additions"] else row])
            if isinstance(inside, dict) and inside:
                inside[chance.choice(list(inside))] = some_value(chance)
            if not isinstance(row["additions"], list) or not row["additions"]:
                break
        begun = time.process_time()
        sensible += coin_of(row) is not None
        assert time.process_time() - begun < 1
    assert COUNT / 5 < sensible < COUNT


def test_answers_that_are_no_answers():
    chance = random.Random(6)
    whole = json.dumps({"success": True, "transactions": [transaction("a" * 64, 5)]}).encode()
    for _ in range(COUNT):
        text = bytearray(whole)
        at = chance.randrange(len(text))
        text[at : at + chance.choice([0, 1, 30])] = chance.choice([*PIECES, b"[" * 3000, b'"', b"}", b"{"])
        begun = time.process_time()
        with contextlib.suppress(Refused):
            assert isinstance(checked("get_transactions", bytes(text)), dict)
        assert time.process_time() - begun < 1
