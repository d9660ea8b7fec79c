"""What the log says of coins, in every format that Chia has had."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plotfarm.chia.coins import Balance, Block, CoinState, Reader, coin_id
from plotfarm.chia.log_form import form_of
from plotfarm.chia.rewards import MAINNET, Network, block_rewards, expected_days, farmed_height
from testbed import chia_logs as log

LOGS = Path(__file__).parents[1] / "data/chia_logs"
TIME = "2026-11-24T03:00:00.123"
XCH = 10**12
REST = f"'parent_coin_info': '0x{'7' * 64}', 'puzzle_hash': '0x{'1' * 64}'}}"


def read(text):
    lines = [line + b"\n" for line in (text.encode() if isinstance(text, str) else text).split(b"\n")[:-1]]
    return list(Reader().read(lines))


FORMS = {
    "1.0": log.added("21:12:19.230", log.parent_of(log.FARMER, 100_000), XCH // 4),
    "1.1.3": log.added(TIME, log.parent_of(log.FARMER, 100_000), XCH // 4),
    "1.3": log.added(TIME, log.parent_of(log.FARMER, 100_000), XCH // 4, more=" wallet_id:1"),
    "1.4 added": log.added(TIME, log.parent_of(log.FARMER, 100_000), XCH // 4, more=" wallet_id:1 and type: 0"),
    "1.4": log.old_state(TIME, log.parent_of(log.FARMER, 100_000), XCH // 4),
    "1.8": log.state(TIME, log.parent_of(log.FARMER, 100_000), XCH // 4, 100_002, version=""),
    "2.7.4 state": log.debug_state(TIME, log.parent_of(log.FARMER, 100_000), XCH // 4, 100_002),
    "2.7.4 added": log.debug_added(TIME, log.parent_of(log.FARMER, 100_000), XCH // 4, 100_002),
    "zeros before": "\0" * 5000 + log.state(TIME, log.parent_of(log.FARMER, 100_000), XCH // 4, 100_002),
    "zeros behind": log.state(TIME, log.parent_of(log.FARMER, 100_000), XCH // 4, 100_002).replace("\n", "\0\0\n"),
    "a byte order mark": "\ufeff" + log.state(TIME, log.parent_of(log.FARMER, 100_000), XCH // 4, 100_002),
    "2.7": log.state(TIME, log.parent_of(log.FARMER, 100_000), XCH // 4, 100_002),
    "2.7 with a zone": log.state(f"{TIME}+01:00", log.parent_of(log.FARMER, 100_000), XCH // 4, 100_002),
    "carriage returns": log.state(TIME, log.parent_of(log.FARMER, 100_000), XCH // 4, 100_002).replace("\n", "\r\n"),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_coin_is_the_same_in_every_format(form):
    [coin] = read(FORMS[form])
    assert (coin.mojo, coin.created, coin.spent) == (XCH // 4, 100_002, None)
    assert coin.id == "2e669cc5c728859fafc78557485fd452dd064de9a640169873616a963f177c0d"
    assert coin.time == ("21:12:19.230" if form == "1.0" else TIME)
    assert coin.wallet in (None, 1)


SAMPLES = sorted(LOGS.glob("debug-*.log"))


@pytest.mark.parametrize("path", [one for one in SAMPLES if "info" not in one.name], ids=lambda path: path.stem)
def test_the_log_of_each_version_has_four_coins_and_a_block(path):
    reader = Reader()
    with path.open("rb") as file:
        events = list(reader.read(file))
    coins = {event.id: event for event in events if isinstance(event, CoinState)}
    assert [coin.mojo for coin in coins.values()] == [250_000_000_000, 1_750_000_000_000, 250_007_000_000, 987_654_321]
    assert [MAINNET.kind_of(coin.parent, coin.mojo, coin.created) for coin in coins.values()] == [
        "farmer", "pool", "farmer", "payment",
    ]  # fmt: skip
    assert sum(isinstance(event, Block) for event in events) == 1
    assert "INFO" in reader.levels
    assert form_of(path).names_coins


@pytest.mark.parametrize("name", ["debug-2.4.4", "debug-2.5.5", "debug-2.7.3", "debug-2.7.5"])
def test_without_the_version_in_its_lines_a_log_says_the_same(name, tmp_path):
    """As Chia writes them with log_backcompat."""
    text = (LOGS / f"{name}.log").read_bytes()
    version = name.removeprefix("debug-").encode()
    plain = tmp_path / "debug.log"
    plain.write_bytes(text.replace(b" " + version + b" ", b" "))
    assert version not in plain.read_bytes()
    events = []
    for path in (LOGS / f"{name}.log", plain):
        with path.open("rb") as file:
            events.append(list(Reader().read(file)))
    assert events[0] == events[1]
    assert len({event.id for event in events[1] if isinstance(event, CoinState)}) == 4
    assert (form_of(plain).version, form_of(plain).names_coins) == (None, True)


def test_without_the_version_it_shows_only_with_a_coin_that_it_names_none(tmp_path):
    plain = tmp_path / "debug.log"
    lines = (LOGS / "debug-2.7.5-info.log").read_bytes().replace(b" 2.7.5 ", b" ").splitlines(keepends=True)
    plain.write_bytes(b"".join(line for line in lines if b"wallet" not in line))
    assert form_of(plain).names_coins is None
    plain.write_bytes(b"".join(lines))
    assert form_of(plain).names_coins is False


def test_there_is_a_sample_of_each_form():
    assert len(SAMPLES) == 15


def test_a_log_of_today_at_the_usual_level_names_no_coin():
    path = LOGS / "debug-2.7.5-info.log"
    with path.open("rb") as file:
        assert not [event for event in Reader().read(file) if isinstance(event, CoinState)]
    form = form_of(path)
    assert (form.version, form.names_coins) == ((2, 7, 5), False)


def test_a_balance_and_a_block_are_read():
    line = ("2021-04-24T14:16:11.298 wallet chia.wallet.wallet_state_manager: INFO     Confirmed balance amount is "
            "9200000000000\n")  # fmt: skip
    assert read(line) == [Balance("2021-04-24T14:16:11.298", 9_200_000_000_000)]
    assert read(f"{log.prefix(TIME)}\N{FOUR LEAF CLOVER} Farmed unfinished_block {'de' * 32}, SP: 1\n") == [
        Block(TIME, "de" * 32)
    ]


def test_spent_and_vanished_coins_are_read_as_such():
    parent = log.parent_of(log.STRANGER, 1)
    spent, gone = read(log.state(TIME, parent, XCH, 5, 9) + log.state(TIME, parent, XCH, None))
    assert (spent.created, spent.spent) == (5, 9)
    assert (gone.created, gone.spent) == (None, None)


ALL = "".join(
    [log.noise(TIME), *FORMS.values(), log.noise(TIME), "Traceback (most recent call last):\n  File x\n"]
).encode()


def test_a_log_that_comes_byte_by_byte_gives_the_same_coins():
    whole = read(ALL)
    begin, found = 0, []
    for end in range(len(ALL) + 1):  # after each byte what is there is read on from where the last reading stopped
        reader, lines = Reader(), [line + b"\n" for line in ALL[begin:end].split(b"\n")[:-1]]
        found += list(reader.read(lines))
        begin += sum(map(len, lines)) - reader.open_bytes
    assert found == whole
    assert len(whole) == len(FORMS)


@given(st.lists(st.sampled_from([*FORMS.values(), log.noise(TIME), "\n", "  continued\n"]), max_size=8), st.data())
def test_a_record_cut_anywhere_disturbs_no_other(pieces, data):
    text = "".join(pieces).encode()
    cut = data.draw(st.integers(0, len(text)))
    lines = [line + b"\n" for line in text[:cut].split(b"\n")]
    whole = list(Reader().read(lines))[:-1]  # but for what was cut
    assert read(text)[: len(whole)] == whole


@given(st.binary(max_size=400))
def test_no_bytes_make_it_raise(data):
    line = f"{log.prefix(TIME)}request coin: ".encode() + data
    assert isinstance(read(line + b"\n" + data + b"\n"), list)


@given(st.text(max_size=60))
def test_a_coin_that_other_lines_speak_of_is_none(words):
    quoted = log.state(TIME, log.parent_of(log.FARMER, 1), XCH).strip().replace("request coin: ", f"{words} about ")
    assert [event for event in read(quoted.replace("\n", " ") + "\n") if isinstance(event, CoinState)] == []


@pytest.mark.parametrize("broken", [
    "request coin: CoinState { coin: Coin { parent_coin_info: 77, puzzle_hash: 11, amount: 5 }, spent_height: None }",
    "request coin: " + "a" * 200_000,
    f"Adding coin: {{'amount': {'9' * 23}, {REST} at 5",
    f"Adding coin: {{'amount': -5, {REST} at 5",
    f"Adding coin: {{'amount': 5, {REST} at many",
])  # fmt: skip
def test_what_makes_no_sense_is_no_coin_and_hides_none(broken):
    events = read(f"{log.prefix(TIME)}{broken}\n" + log.state(TIME, log.parent_of(log.FARMER, 1), XCH))
    assert [event.mojo for event in events] == [XCH]


def test_the_form_of_the_log_is_noticed():
    reader = Reader()
    list(reader.read([b"2026-11-24T03:00:00.1 2.7.3 full_node chia.full_node.full_node: WARNING  slow\n", b"junk\n"]))
    assert (reader.levels, reader.lines) == ({"WARNING"}, 2)


def test_the_genesis_of_the_network_decides_what_a_reward_is():
    simulator = Network("eb8c4d20b322be8d9fddbf9412016bdffe9a2901d7edb0e364e94266d0e095f7")
    assert simulator.kind_of(f"eb8c4d20b322be8d9fddbf9412016bdf{5:032x}", 5, 7) == "pool"
    assert simulator.kind_of(f"fe9a2901d7edb0e364e94266d0e095f7{5:032x}", 5, 7) == "farmer"
    assert simulator.kind_of(log.parent_of(log.FARMER, 5), 5, 7) == "payment"
    assert MAINNET.kind_of(f"fe9a2901d7edb0e364e94266d0e095f7{5:032x}", 5, 7) == "payment"


def test_ids_and_rewards():
    assert coin_id("77" * 32, "11" * 32, 123_456_789).startswith("ea355ab2")
    assert coin_id("00" * 32, "00" * 32, 128) != coin_id("00" * 32, "00" * 32, 0)
    assert block_rewards(0) == (250_000_000_000, 1_750_000_000_000)
    assert block_rewards(5_045_759) == (250_000_000_000, 1_750_000_000_000)
    assert block_rewards(5_045_760) == (125_000_000_000, 875_000_000_000)
    assert block_rewards(99_999_999) == (15_625_000_000, 109_375_000_000)
    assert farmed_height(log.parent_of(log.POOL, 4711)) == 4711
    assert MAINNET.kind_of("77" * 32, 875_000_000_000, 5_200_000) == "claim"
    assert MAINNET.kind_of("77" * 32, 1_750_000_000_000, 5_200_000) == "payment"
    assert expected_days(100, 100 * 4608) == 1
    assert expected_days(0, 5) is None
