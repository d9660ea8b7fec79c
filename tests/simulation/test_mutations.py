"""The simulation is not blind: without any one of its rules, a journey loses a plot, or breaks something else."""

from __future__ import annotations

import pytest

from plotfarm.base.errors import ProtocolError
from plotfarm.plots.identity import FileIdentity
from plotfarm.transfer.effects import LookAtSource, PourSource, Receive, SentAll, SourceLook
from plotfarm.transfer.messages import Arrived, Offer, Ready, Stored
from plotfarm.transfer.outcomes import Outcome, Phase
from plotfarm.transfer.send import Wanted, deliver
from tests.mutations import MUTATIONS, catch, row, without
from tests.simulation.rules import SEND, Change, Mutation

QUICK = [each for each in MUTATIONS if not each.faults or (len(each.faults) == 1 and each.setup.is_move)]
QUICK += [each for each in MUTATIONS if each.name in ("a recheck has a number", "`arrived` is compared")]
LONG = [each for each in MUTATIONS if each not in QUICK]


@pytest.mark.parametrize("mutation", QUICK, ids=lambda mutation: mutation.name)
def test_a_rule_that_is_taken_out_is_missed(mutation: Mutation) -> None:
    failure = catch(mutation)
    print(row(mutation, failure))
    assert failure is not None


@pytest.mark.long
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("mutation", LONG, ids=lambda mutation: mutation.name)
def test_a_further_rule_that_is_taken_out_is_missed(mutation: Mutation) -> None:
    test_a_rule_that_is_taken_out_is_missed(mutation)


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_the_text_of_every_rule_is_where_it_is_looked_for(mutation: Mutation) -> None:
    with without(mutation):
        pass


def say_that_another_plot_is_stored() -> Outcome:
    """Play a NAS that answers a plot's commit with the `stored` of another arrival."""
    identity = FileIdentity(1, 2, 6, 3, 4)
    offer = Offer("a.plot", 6, "v1", 32, "", False, 0, 1, "", None, 0, None)
    ready = Ready(4000, "0" * 32, "drive", "a" * 16, 0, 1)
    hashes = ("11", "12")
    answers = iter([ready, Arrived(6, hashes), Stored("b" * 16, "/d/a.plot", hashes)])
    steps = deliver(offer, Wanted(identity, keep_source=True, segment_bytes=3))
    result: object = None
    while True:
        try:
            effect = steps.send(result)
        except StopIteration as stop:
            outcome: Outcome = stop.value
            return outcome
        result = None
        if isinstance(effect, LookAtSource):
            result = SourceLook(identity, True, 1)
        elif isinstance(effect, PourSource):
            result = SentAll(hashes)
        elif isinstance(effect, Receive) and effect.phase is not Phase.IDLE:
            result = next(answers)


def test_what_was_stored_must_be_this_arrival() -> None:
    with pytest.raises(ProtocolError):
        say_that_another_plot_is_stored()


def test_without_that_rule_the_plotter_believes_it() -> None:
    rule = "    if (stored.arrival, stored.segments) != (ready.arrival, segments):"
    with without(Mutation("`stored` names the arrival", (Change(SEND, rule, "    if False:"),))):
        assert say_that_another_plot_is_stored() is not None
