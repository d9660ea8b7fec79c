"""What counts as a coin received."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plotfarm.chia.coins import CoinState, WalletCoin
from plotfarm.chia.ledger import Entry, Ledger, Status
from testbed.chia_logs import FARMER, STRANGER, parent_of

XCH = 10**12
HEIGHT = 5_200_000


PAYMENT = parent_of(STRANGER, 1)


def state(identity="a", parent=PAYMENT, mojo=XCH, created=HEIGHT, spent=None, wallet=None):
    return CoinState("2026-11-24T03:00:00.123", identity, parent, mojo, created, spent, wallet)


def book(*states, before=None):
    """Take states in, on top of what was known before; returns id -> status of all."""
    known = dict(before or {})
    ledger = Ledger(known.get, lambda parent: [one for one in known.values() if one.parent == parent])
    for one in states:
        ledger.take(one)
    return {**known, **ledger.changed}


def statuses(entries):
    return {identity: entry.status.value for identity, entry in entries.items()}


def test_a_payment_and_a_reward_are_received():
    found = book(state("a"), state("b", parent_of(FARMER, HEIGHT), 125_005_000_000))
    assert statuses(found) == {"a": "received", "b": "received"}
    assert (found["b"].kind, found["b"].fees_mojo) == ("farmer", 5_000_000)
    assert found["a"].fees_mojo == 0


def test_the_same_coin_on_five_peers_is_one():
    assert len(book(*[state("a")] * 5)) == 1


def test_a_coin_that_is_spent_was_received_all_the_same():
    found = book(state("a"), state("a", spent=HEIGHT + 5))
    assert statuses(found) == {"a": "received"}


def test_a_coin_that_was_spent_before_it_was_seen_is_not_told_as_new():
    assert statuses(book(state("a", spent=HEIGHT + 5))) == {"a": "spent"}


@pytest.mark.parametrize("spent_first", [True, False])
@pytest.mark.parametrize("in_one_run", [True, False])
def test_what_comes_out_of_a_coin_of_ones_own_is_change(spent_first, in_one_run):
    payment, change = state("a", spent=HEIGHT + 5), state("b", parent="a", created=HEIGHT + 5)
    states = [payment, change] if spent_first else [change, payment]
    found = (
        book(state("a"), *states) if in_one_run else book(states[1], before=book(states[0], before=book(state("a"))))
    )
    assert statuses(found) == {"a": "received", "b": "change"}


def test_change_of_a_coin_that_was_never_seen_before_is_found_out_later():
    before = book(state("b", parent="a"))
    assert statuses(before) == {"b": "received"}
    assert statuses(book(state("a", spent=HEIGHT), before=before)) == {"a": "spent", "b": "change"}


def test_a_coin_of_another_wallet_is_no_xch_whenever_that_is_said():
    assert statuses(book(state("a", wallet=7))) == {"a": "asset"}
    assert statuses(book(state("a"), state("a", wallet=7))) == {"a": "asset"}
    assert statuses(book(state("a"), state("a", wallet=1))) == {"a": "received"}


def test_dust_is_no_payment_but_a_small_reward_is_one():
    assert statuses(book(state("a", mojo=999_999))) == {"a": "dust"}
    assert statuses(book(state("a", mojo=1_000_000))) == {"a": "received"}
    assert statuses(book(state("a", parent_of(FARMER, 1), 5))) == {"a": "received"}


def test_a_reorganisation_takes_a_coin_back_and_brings_it_again():
    taken = book(state("a"), state("a", created=None))
    assert statuses(taken) == {"a": "reverted"}
    again = book(state("a", created=HEIGHT + 1), before=taken)
    assert statuses(again) == {"a": "received"}
    assert again["a"].height == HEIGHT + 1


def test_a_coin_that_nobody_knew_cannot_vanish():
    assert book(state("a", created=None)) == {}


def test_a_claim_is_told_by_its_amount():
    assert book(state("a", mojo=875_000_000_000))["a"].kind == "claim"


def of_wallet(identity="a", mojo=XCH, kind="payment", parent=PAYMENT):
    return WalletCoin(identity, parent, mojo, HEIGHT, 1_795_000_000.0, kind, confirmed=True)


def confirmed(entries, coin):
    ledger = Ledger(entries.get, lambda parent: [])
    ledger.confirm(coin)
    return {**entries, **ledger.changed}


def test_the_wallet_knows_better():
    entry = confirmed({}, of_wallet())["a"]
    assert (entry.parent, entry.in_wallet, entry.kind) == (PAYMENT, True, "payment")
    dust = book(state("a", mojo=5))
    assert confirmed(dust, of_wallet(mojo=5))["a"].status is Status.RECEIVED
    claim = book(state("a", mojo=875_000_000_000))
    entry = confirmed(claim, of_wallet(mojo=875_000_000_000))["a"]
    assert (entry.kind, entry.in_wallet, entry.time) == ("claim", True, "2026-11-24T03:00:00.123")


def test_a_reward_is_one_if_the_wallet_or_the_network_says_so():
    assert confirmed({}, of_wallet(kind="farmer"))["a"].kind == "farmer"
    assert confirmed({}, of_wallet(parent=parent_of(FARMER, 5)))["a"].kind == "farmer"


def test_what_the_wallet_has_no_more_is_taken_back_and_comes_again():
    known = confirmed({}, of_wallet())
    ledger = Ledger(known.get, lambda parent: [])
    ledger.lose("a")
    lost = dict(ledger.changed)
    assert (lost["a"].status, lost["a"].in_wallet) == (Status.REVERTED, False)
    assert confirmed(lost, of_wallet())["a"].status is Status.RECEIVED


def test_what_the_wallet_has_confirmed_is_not_made_change_by_the_log():
    known = confirmed(book(state("b", parent="a")), of_wallet("b", parent="a"))
    assert statuses(book(state("a", spent=HEIGHT), before=known))["b"] == "received"


STATES = st.builds(
    state, identity=st.sampled_from("abcd"), parent=st.sampled_from(["a", "b", "x", parent_of(FARMER, 5)]),
    created=st.sampled_from([None, 1, 2]), spent=st.sampled_from([None, None, 3]), wallet=st.sampled_from([None, 1, 2]),
)  # fmt: skip


@given(st.lists(STATES, max_size=12), st.integers(0, 12))
def test_it_does_not_matter_where_one_run_ends_and_the_next_begins(states, cut):
    assert book(*states) == book(*states[cut:], before=book(*states[:cut]))


def as_a_chain_has_it(steps):
    """Return states in an order that a chain can bring: what is gone was there, and what is spent is."""
    exists, parents, states = {}, {}, []
    for identity, step in steps:
        before = {"b": "a", "c": "b"}.get(identity)  # it comes out of that one, if that one is there
        parent = parents.setdefault(identity, before if exists.get(before) else PAYMENT)
        if step == "created" and not exists.get(identity):
            exists[identity] = HEIGHT + len(states)
            states.append(state(identity, parent, created=exists[identity]))
        elif step == "gone" and exists.get(identity):
            exists[identity] = 0
            states.append(state(identity, parent, created=None))
        elif step == "spent" and exists.get(identity):
            states.append(state(identity, parent, created=exists[identity], spent=HEIGHT + 100))
    return states


STEPS = st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["created", "gone", "spent"])), max_size=16)


@given(STEPS.map(as_a_chain_has_it), st.integers(0, 16))
def test_a_log_that_is_read_again_brings_nothing_new(states, begin):
    once = book(*states)
    again = book(*states[begin:], before=once)
    arrived = [identity for identity, entry in again.items() if entry.status is Status.RECEIVED]
    assert all(once[identity].status is Status.RECEIVED for identity in arrived)
    assert statuses(book(*states, before=once)) == statuses(once)


def test_an_entry_needs_no_parent():
    assert Entry("a", "", XCH, HEIGHT, "farmer", Status.RECEIVED, "").fees_mojo == XCH - 125_000_000_000
