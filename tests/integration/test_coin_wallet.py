"""The wallet's RPC over real TLS with client certificates, and whatever it may answer."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_coin_monitor import HEIGHT, TIME, XCH, Farmer

from plotfarm.base.database import Database
from plotfarm.chia.coin_book import CoinBook
from plotfarm.chia.farm_log import Unreadable
from plotfarm.chia.ledger import Entry, Status
from plotfarm.chia.wallet import read_wallet
from testbed import chia_logs
from testbed.certificates import Authority
from testbed.chia_logs import PUZZLE, STRANGER, coin_id, parent_of
from testbed.mail_server import MailServer
from testbed.wallet_server import WalletServer, transaction


@pytest.fixture
def wallet(tmp_path) -> Iterator[WalletServer]:
    with WalletServer(tmp_path / "chia/config/ssl") as server:
        yield server


def parent(number):
    return f"{number:064x}"


def identity(number, mojo):
    return coin_id(parent(number), PUZZLE, mojo)


def test_what_was_received_is_told(wallet):
    wallet.transactions = [transaction(parent(2), 7, 3), transaction(parent(1), XCH, confirmed=False)]
    wallet.balance = 5 * XCH
    reading = read_wallet(wallet.wallet_address())
    assert (reading.synced, reading.balance_mojo) == (True, 5 * XCH)
    assert [(coin.id, coin.mojo, coin.kind, coin.confirmed) for coin in reading.coins] == [
        (identity(2, 7), 7, "farmer", True), (identity(1, XCH), XCH, "payment", False),
    ]  # fmt: skip


def test_pages_are_read_until_one_holds_only_what_is_known(wallet):
    wallet.transactions = [transaction(parent(number), 1) for number in range(120)]
    assert len(read_wallet(wallet.wallet_address()).coins) == 120
    assert sum(what == "get_transactions" for what, _ in wallet.asked) == 3
    wallet.asked.clear()
    read_wallet(wallet.wallet_address(), {identity(number, 1) for number in range(3, 120)})
    assert sum(what == "get_transactions" for what, _ in wallet.asked) == 2


def refused(wallet, **changes):
    reading = read_wallet(replace(wallet.wallet_address(), **changes))
    assert isinstance(reading, Unreadable), reading
    assert reading.remedy
    return reading.why


def test_a_stranger_is_refused_on_either_side(wallet, tmp_path):
    stranger = Authority(tmp_path / "stranger")
    certificate, key = stranger.certificate_for("chia.net")
    assert "encrypted" in refused(wallet, certificate=certificate, key=key) or wallet.asked == []
    assert "encrypted" in refused(wallet, authority=stranger.certificate)
    assert wallet.asked == []


def test_files_that_are_missing_or_mixed_up_are_named(wallet, tmp_path):
    assert "nothing.crt" in refused(wallet, certificate=tmp_path / "nothing.crt")
    assert "nothing.key" in refused(wallet, key=tmp_path / "nothing.key")
    assert refused(wallet, key=wallet.certificate)
    assert "nothing.pem" in refused(wallet, authority=tmp_path / "nothing.pem")
    assert wallet.asked == []


def test_nobody_there(wallet):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        assert "cannot be asked" in refused(wallet, port=closed.getsockname()[1])
    assert "cannot be asked" in refused(wallet, host="no-such-host.invalid")


def test_a_wallet_that_hangs_is_left_after_the_limit(wallet):
    wallet.hangs = threading.Event()
    begun = time.monotonic()
    assert "in time" in refused(wallet, timeout_seconds=0.5)
    assert time.monotonic() - begun < 3
    wallet.hangs.set()


@pytest.mark.parametrize("answer", [
    b"", b"no json", b"[]", b"{}", b'{"success": false, "error": "not \x1b[2J now"}', b'{"success": true}',
    b"[" * 100_000,
    b'{"success": true, "transactions": 5}', b"\xff\xfe", b'"' + b"a" * 17_000_000,
])  # fmt: skip
def test_bad_answers_are_told_of(wallet, answer):
    wallet.answers["get_transactions"] = answer
    why = refused(wallet)
    assert "\x1b" not in why
    assert len(why) < 400


def test_a_status_that_is_no_answer(wallet):
    wallet.status = 500
    assert "status 500" in refused(wallet)


@pytest.mark.parametrize("change", [
    {"additions": []}, {"additions": None}, {"additions": [7]}, {"additions": [{}]}, {"additions": [{}, {}]},
    *({"additions": [{**transaction(parent(1), 5)["additions"][0], **part}]} for part in (
        {"amount": -1}, {"amount": "5"}, {"amount": 2**64}, {"amount": True}, {"puzzle_hash": "abc"},
        {"parent_coin_info": None})),
    {"confirmed_at_height": None}, {"created_at_time": "now"}, {"created_at_time": 1e300}, {"type": 1}, {"type": "0"},
])  # fmt: skip
def test_a_row_that_makes_no_sense_costs_itself(wallet, change):
    wallet.transactions = [{**transaction(parent(1), 5), **change}, transaction(parent(2), 6)]
    assert [coin.mojo for coin in read_wallet(wallet.wallet_address()).coins] == [6]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3), max_leaves=6,
)  # fmt: skip


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=JSON, row=st.dictionaries(st.sampled_from(["additions", "amount", "type", "created_at_time"]), JSON))
def test_no_answer_makes_it_raise(wallet, rows, row):
    wallet.answers["get_transactions"] = json.dumps({"success": True, "transactions": rows}).encode()
    read_wallet(wallet.wallet_address())
    wallet.answers["get_transactions"] = json.dumps({"success": True, "transactions": [row]}).encode()
    assert read_wallet(wallet.wallet_address()).coins == ()
    wallet.answers.clear()


# ---- With coin_monitor.py ----

MINE = coin_id(parent_of(STRANGER, 1), PUZZLE, XCH)


@pytest.fixture
def farmer(tmp_path, wallet) -> Iterator[Farmer]:
    with MailServer() as server:
        made = Farmer(tmp_path, server)
        made.configure(f"[coins]\nwallet = always\nwallet_port = {wallet.port}\nwallet_host = 127.0.0.1\n")
        made.run()
        yield made


def test_a_wallet_whose_certificate_cannot_be_checked_is_not_asked_and_that_is_told(tmp_path, wallet):
    elsewhere = wallet.authority.rename(wallet.directory / "authority.crt")
    files = f"wallet_certificate = {wallet.certificate}\nwallet_key = {wallet.key}\n"
    coins = f"[coins]\nwallet_port = {wallet.port}\nwallet_host = 127.0.0.1\n{files}"
    with MailServer() as server:
        farmer = Farmer(tmp_path, server)
        farmer.configure(coins)
        farmer.run()
        assert wallet.asked == []
        assert farmer.mails(1) == ["farmer01: The wallet cannot be asked for coins"]
        told = server.received[0].part("plain")
        assert str(wallet.authority) in told
        assert "wallet_authority" in told

        farmer.configure(f"{coins}wallet_authority = {elsewhere}\n")
        farmer.run()
        assert wallet.asked
        assert farmer.mails(2)[1] == "farmer01: The wallet can be asked again"


def test_a_coin_is_told_when_the_wallet_has_confirmed_it_and_once(farmer, wallet):
    farmer.receive(1)
    farmer.run()
    assert farmer.waiting() == 0
    wallet.transactions = [transaction(parent_of(STRANGER, 1), XCH, confirmed=False)]
    farmer.run()
    assert farmer.server.received == []
    wallet.transactions = [transaction(parent_of(STRANGER, 1), XCH, height=HEIGHT)]
    for _ in range(2):
        farmer.run()
    assert farmer.mails(1) == ["farmer01: 1 XCH received (payment)"]
    assert TIME.replace("T", " ") in farmer.server.received[0].part("plain")


def test_a_coin_that_no_log_has_is_told_too(farmer, wallet):
    wallet.transactions = [transaction(parent(5), 2 * XCH, 3)]
    farmer.run()
    assert farmer.mails(1) == ["farmer01: 2 XCH received (farmer reward, 1.75 of it fees)"]


def test_the_log_counts_while_the_wallet_is_away_and_nothing_is_told_twice(farmer, wallet):
    wallet.synced = False
    farmer.receive(1)
    farmer.run()
    assert sorted(farmer.mails(2)) == [
        "farmer01: 1 XCH received (payment)",
        "farmer01: The wallet cannot be asked for coins",
    ]
    wallet.synced, wallet.transactions = True, [transaction(parent_of(STRANGER, 1), XCH)]
    for _ in range(2):
        farmer.run()
    assert farmer.mails(3)[2] == "farmer01: The wallet can be asked again"
    assert farmer.waiting() == 0


def test_what_log_and_wallet_disagree_on_is_shown(farmer):
    farmer.receive(1)
    farmer.run()
    farmer.run()
    assert f"not known to the wallet: 1 XCH, payment, {TIME}, {MINE}" in farmer.run("--report").stdout


def test_the_first_answer_of_a_wallet_is_the_past(tmp_path, wallet):
    wallet.transactions = [transaction(parent(number), XCH) for number in range(3)]
    with MailServer() as server:
        farmer = Farmer(tmp_path, server)
        farmer.configure(f"[coins]\nwallet = always\nwallet_port = {wallet.port}\nwallet_host = 127.0.0.1\n")
        farmer.run()
        farmer.write(chia_logs.noise(TIME))
        wallet.transactions.insert(0, transaction(parent(9), XCH))
        farmer.run()
        assert farmer.mails(1) == ["farmer01: 1 XCH received (payment)"]
        assert "4 XCH" in server.received[0].part("plain")


def test_a_name_that_the_wallet_makes_up_anew_is_no_new_coin(farmer, wallet):
    wallet.transactions = [transaction(parent(5), 2 * XCH)]
    farmer.run()
    wallet.transactions = [transaction(parent(5), 2 * XCH)]  # after a resync, with another name
    farmer.run()
    assert len(farmer.mails(1)) == 1
    assert json.loads(farmer.run("--report", "--json").stdout)["data"]["received_xch"] == "2"


def test_coins_that_were_told_under_made_up_names_are_recognised_and_doubles_are_said(farmer, wallet):
    book = CoinBook(Database(farmer.base / "state"))
    old = [
        Entry(f"{number:064x}", "", mojo, HEIGHT, "payment", Status.RECEIVED, TIME, told=True, in_wallet=True)
        for number, mojo in ((1, 3 * XCH), (2, 3 * XCH), (3, 7 * XCH), (4, 5 * XCH))
    ]
    book.write(old, time.time())
    book._database.write("UPDATE chia_logs SET tail = '' WHERE path = 'wallet'")
    wallet.transactions = [
        transaction(parent(5), 3 * XCH), transaction(parent(6), 7 * XCH), transaction(parent(7), XCH),
    ]  # fmt: skip
    for _ in range(2):
        farmer.run()
    told = farmer.mails(1)
    assert told == ["farmer01: 1 XCH received (payment)"]
    assert "it was counted twice" in " ".join(farmer.server.received[0].part("plain").split())
    facts = json.loads(farmer.run("--report", "--json").stdout)["data"]
    assert facts["received_xch"] == "16", "what no coin of the wallet is like stays as it is"
    assert farmer.text().count("Counted twice") == 1


def test_what_the_wallet_holds_is_shown_beside_what_was_received(farmer, wallet):
    wallet.transactions = [transaction(parent(1), 3 * XCH)]
    wallet.balance = XCH
    farmer.run()
    text = farmer.run("--report").stdout
    assert "Received in all (XCH):" in text
    assert "In the wallet on " in text
    facts = json.loads(farmer.run("--report", "--json").stdout)["data"]
    assert (facts["received_xch"], facts["wallet"]["xch"]) == ("3", "1")
    assert farmer.mails(1)
    assert "In the wallet at" in farmer.server.received[0].part("plain")


def test_what_a_reorganisation_took_from_the_wallet_is_taken_back(farmer, wallet):
    wallet.transactions = [transaction(parent(1), 3 * XCH), transaction(parent(2), 4 * XCH)]
    farmer.run()
    wallet.transactions = wallet.transactions[1:]
    wallet.height = HEIGHT - 1  # it begins anew: it has not come so far yet
    farmer.run()
    assert json.loads(farmer.run("--report", "--json").stdout)["data"]["received_xch"] == "7"
    wallet.height = HEIGHT + 1
    farmer.run()
    assert json.loads(farmer.run("--report", "--json").stdout)["data"]["received_xch"] == "4"
    assert farmer.mails(2)[1] == "farmer01: 1 coin taken back"


def test_a_reorganisation_may_take_the_only_coin_back(farmer, wallet):
    wallet.transactions = [transaction(parent(1), 3 * XCH)]
    farmer.run()
    wallet.transactions = []
    wallet.height = HEIGHT - 1  # it has not come so far yet
    farmer.run()
    assert json.loads(farmer.run("--report", "--json").stdout)["data"]["received_xch"] == "3"
    wallet.height = HEIGHT + 1
    farmer.run()
    assert json.loads(farmer.run("--report", "--json").stdout)["data"]["received_xch"] == "0"
    assert farmer.mails(2)[1] == "farmer01: 1 coin taken back"
    wallet.transactions = [transaction(parent(1), 3 * XCH)]
    farmer.run()
    assert json.loads(farmer.run("--report", "--json").stdout)["data"]["received_xch"] == "3"


@pytest.mark.parametrize("fingerprint", [987_654_321, None, "none"])
def test_the_wallet_of_another_key_takes_nothing_back(farmer, wallet, fingerprint):
    wallet.transactions = [transaction(parent(1), 3 * XCH)]
    farmer.run()
    wallet.transactions = []
    wallet.fingerprint = fingerprint
    farmer.run()
    farmer.run()
    assert json.loads(farmer.run("--report", "--json").stdout)["data"]["received_xch"] == "3"
    assert len(farmer.mails(1)) == 1


def test_each_key_takes_back_its_own(farmer, wallet):
    wallet.transactions = [transaction(parent(1), 3 * XCH)]
    farmer.run()
    wallet.fingerprint = 987_654_321
    wallet.transactions = [transaction(parent(2), XCH)]
    farmer.run()
    assert json.loads(farmer.run("--report", "--json").stdout)["data"]["received_xch"] == "4"
    wallet.transactions = []
    farmer.run()
    assert json.loads(farmer.run("--report", "--json").stdout)["data"]["received_xch"] == "3"


def test_the_wallet_is_asked_by_itself_where_it_can_be(tmp_path, wallet):
    with MailServer() as server:
        farmer = Farmer(tmp_path, server)
        farmer.configure(f"[coins]\nwallet_port = {wallet.port}\nwallet_host = 127.0.0.1\n")
        farmer.run()
        assert wallet.asked
        wallet.transactions = [transaction(parent(1), XCH)]
        farmer.run()
        assert farmer.mails(1) == ["farmer01: 1 XCH received (payment)"]
        wallet.synced = False
        farmer.run()
        assert farmer.mails(2)[1] == "farmer01: The wallet cannot be asked for coins"
        farmer.configure("[coins]\nwallet = never\n")
        wallet.asked.clear()
        farmer.run()
        assert not wallet.asked


def test_a_log_without_versions_that_names_no_coin_is_an_alert_until_it_names_one(tmp_path):
    with MailServer() as server:
        farmer = Farmer(tmp_path, server)
        harvester = f"{TIME} harvester chia.harvester.harvester: INFO     Found 0 V1 proofs\n"
        farmer.log.write_text(harvester)
        assert farmer.run().returncode == 0
        farmer.write(f"{TIME} wallet chia.wallet.wallet_node: INFO     new coin state received (1-1/ 1)\n")
        farmer.run()
        assert farmer.mails(1) == ["farmer01: Chia's log names no coin: none will be seen"]
        farmer.write(harvester * 10_000)  # so that the coin stands too far back
        farmer.run()
        farmer.write(harvester)
        farmer.run()
        assert farmer.waiting() == 0
        assert len(farmer.mails(1)) == 1
        farmer.write(chia_logs.debug_state(TIME, parent_of(STRANGER, 1), XCH, version=""))
        farmer.run()
        assert set(farmer.mails(3)[1:]) == {"farmer01: Coins are seen again", "farmer01: 1 XCH received (payment)"}


def test_a_wallet_that_never_answered_is_no_alert_but_a_log_that_names_no_coin_is(tmp_path):
    with MailServer() as server:
        farmer = Farmer(tmp_path, server)
        farmer.log.write_text(
            f"{chia_logs.prefix(TIME, '2.7.5', 'harvester chia.harvester.harvester')}Found 0 V1 proofs\n"
        )
        assert farmer.run().returncode == 0
        assert farmer.mails(1) == ["farmer01: Chia's log names no coin: none will be seen"]
        plain = " ".join(server.received[0].part("plain").split())
        assert "[coins] wallet" in plain
        assert "--set-log-level DEBUG" in plain
        farmer.write(chia_logs.debug_state(TIME, parent_of(STRANGER, 1), XCH))
        farmer.run()
        assert set(farmer.mails(3)[1:]) == {"farmer01: Coins are seen again", "farmer01: 1 XCH received (payment)"}
