"""The NAS's side of the looks at a stored plot before its source goes: what is said, and until when it listens."""

from __future__ import annotations

from typing import Any

from plotfarm.transfer.effects import (
    Effect,
    Fit,
    LookAtStored,
    OpenStored,
    Place,
    ReadStored,
    Receive,
    RecordStored,
    RemoveOtherParts,
    Send,
    StoredLook,
    StoredPlacement,
    play,
)
from plotfarm.transfer.messages import Done, Failing, Have, Message, Offer, Recheck, Rechecked
from plotfarm.transfer.publish import Verify
from plotfarm.transfer.receive import Terms, receive

SIZE = 1000
OFFER = Offer("plot-k32-x.plot", SIZE, "v1", 32, "ab" * 32, False, 60.0, 1, "/plots", None, 0, None)
BEFORE, CHANGED = StoredLook(SIZE, 10**18), StoredLook(SIZE, 10**18 + 1)


def told(looks: list[StoredLook], said: list[Message]) -> tuple[list[Message], list[Effect[Any]]]:
    """Play the offer of a plot that is there; returns what the NAS says and does, and takes from both lists."""
    answers: list[Message] = []
    done: list[Effect[Any]] = []

    def carry_out(effect: Effect[Any]) -> object:
        done.append(effect)
        match effect:
            case Place():
                return StoredPlacement("drive1", "uuid:1", f"/mnt/drive1/{OFFER.name}")
            case OpenStored():
                return Fit.SAME_SIZE
            case LookAtStored():
                return looks.pop(0)
            case ReadStored():
                return ("ab" * 32,)
            case Receive():
                return said.pop(0)
            case Send():
                answers.append(effect.message)
        return None

    play(receive(OFFER, Terms(Verify.SAMPLE, 1000, "plotter")), carry_out)
    return answers, done


def test_a_plot_that_stays_as_it_is_is_recorded_and_its_parts_go() -> None:
    answers, done = told([BEFORE, BEFORE, BEFORE], [Recheck(1), Recheck(2), Done()])
    assert [type(answer) for answer in answers] == [Have, Rechecked, Rechecked]
    assert RemoveOtherParts(OFFER.name) in done
    assert any(isinstance(effect, RecordStored) for effect in done)


def test_after_a_look_that_fails_it_waits_for_the_plotter_to_be_done() -> None:
    """Or `done` would come where it may not, and end the session for every plot behind this one."""
    said: list[Message] = [Recheck(1), Done()]
    answers, done = told([BEFORE, CHANGED], said)
    assert [type(answer) for answer in answers] == [Have, Failing]
    assert said == []
    assert not any(isinstance(effect, RecordStored | RemoveOtherParts) for effect in done)


def test_a_look_that_failed_is_not_made_good_by_a_later_one() -> None:
    answers, done = told([BEFORE, CHANGED, BEFORE], [Recheck(1), Recheck(2), Done()])
    assert [type(answer) for answer in answers] == [Have, Failing, Failing]
    assert not any(isinstance(effect, RecordStored | RemoveOtherParts) for effect in done)
