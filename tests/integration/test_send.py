"""The plotter's side of a session on a real plot, against a NAS that is played here: how a plot goes, or does not."""

from __future__ import annotations

import socket
import time

import pytest

from plotfarm.transfer import messages
from plotfarm.transfer.channel import OtherEndGone
from plotfarm.transfer.messages import (
    Arrived,
    Commit,
    Continue,
    Done,
    Failing,
    Partial,
    Ready,
    Recheck,
    Refused,
    Reject,
    Sent,
)
from plotfarm.transfer.outcomes import Delivered, Failed, Failure, How, NotTaken, Refusal, Removal
from plotfarm.transfer.sender import Observer
from tests.integration.played_nas import (
    ARRIVAL,
    CONTENT,
    MIB,
    SILENCE_SECONDS,
    TOKEN,
    Nas,
    Scene,
    expect_untouched,
    hashes,
)

# ---- A plot that goes ----


@pytest.mark.parametrize("scene", ["direct", "netcat"], indirect=True)
def test_a_plot_goes_and_its_source_is_removed(scene: Scene) -> None:
    def play(nas: Nas) -> None:
        nas.take()
        nas.publish()
        nas.recheck()

    with scene(play) as (plotter, nas):
        outcome = plotter.deliver()
        assert outcome == Delivered("/mnt/drive1/x.plot", hashes(CONTENT), How.STORED, Removal.REMOVED)
        assert not plotter.plot.exists()
        assert plotter.notes.open == {}
    assert nas.received == TOKEN.encode() + CONTENT
    assert sum(isinstance(message, Recheck) for message in nas.heard) == 2, "before and after its time was changed"


def test_a_source_that_shall_stay_is_not_touched(scene: Scene) -> None:
    def play(nas: Nas) -> None:
        nas.take()
        nas.publish()
        nas.hear(Done)

    with scene(play) as (plotter, _):
        outcome = plotter.deliver(keep=True)
        assert isinstance(outcome, Delivered)
        assert outcome.removal is Removal.KEPT
        expect_untouched(plotter)


class _SlowDisk(Observer):
    """Each chunk takes its time, as from a disk that other programs keep busy."""

    def moved(self, done: int) -> None:
        time.sleep(1.5 * SILENCE_SECONDS * 512 * 1024 / len(CONTENT))


@pytest.mark.parametrize("scene", ["netcat"], indirect=True)
def test_a_slow_source_does_not_silence_the_plotter(scene: Scene) -> None:
    """The pipe is never full then, so heartbeats must not depend on waiting for it."""

    def play(nas: Nas) -> None:
        nas.say(Ready(nas.port, TOKEN, "drive1", ARRIVAL, 0, 1))
        nas.hear(Sent)  # which fails if the plotter falls silent
        nas.publish()
        nas.recheck()

    with scene(play) as (plotter, _):
        begun = time.monotonic()
        assert isinstance(plotter.deliver(_SlowDisk()), Delivered)
        assert time.monotonic() - begun > SILENCE_SECONDS


def test_only_what_is_equal_at_both_ends_is_resumed(scene: Scene) -> None:
    def play(nas: Nas) -> None:
        own = hashes(CONTENT)
        nas.say(Partial((own[0], own[1], "0" * 64)))
        assert nas.hear(Continue) == Continue(2)
        nas.take(segments=2)
        nas.publish()
        nas.recheck()

    with scene(play) as (plotter, nas):
        assert isinstance(plotter.deliver(), Delivered)
    assert nas.received == TOKEN.encode() + CONTENT[2 * MIB :]


def test_a_drive_that_failed_meanwhile_leads_to_another_part(scene: Scene) -> None:
    def play(nas: Nas) -> None:
        nas.say(Partial(hashes(CONTENT)[:2]))
        assert nas.hear(Continue) == Continue(2)
        nas.say(Partial(()))
        assert nas.hear(Continue) == Continue(0)
        nas.take()
        nas.publish()
        nas.recheck()

    with scene(play) as (plotter, nas):
        assert isinstance(plotter.deliver(), Delivered)
    assert nas.received == TOKEN.encode() + CONTENT


def test_a_connection_to_a_strangers_listener_costs_one_attempt(scene: Scene) -> None:
    def play(nas: Nas) -> None:
        with socket.create_server(("127.0.0.1", 0)) as other:
            port = other.getsockname()[1]
        nas.say(Ready(port, TOKEN, "drive1", ARRIVAL, 0, 1))
        assert type(nas.hear(messages.Lost)) is messages.Lost
        nas.take()
        nas.publish()
        nas.recheck()

    with scene(play) as (plotter, _):
        assert isinstance(plotter.deliver(), Delivered)


# ---- A NAS that refuses or fails ----


def test_a_refusal_comes_back_as_it_was_said(scene: Scene) -> None:
    with scene(lambda nas: nas.say(Refused(Refusal.BUSY, "all drives are taken"))) as (plotter, _):
        assert plotter.deliver() == NotTaken(Refusal.BUSY, "all drives are taken")
        expect_untouched(plotter)


def test_a_failure_in_the_midst_of_the_bytes_is_heard_at_once(scene: Scene) -> None:
    def play(nas: Nas) -> None:
        nas.say(Ready(nas.port, TOKEN, "drive1", ARRIVAL, 0, 1))
        nas.say(Failing(Failure.DRIVE_FULL, "no room", True))

    with scene(play) as (plotter, _):
        assert plotter.deliver(_SlowDisk()) == Failed(Failure.DRIVE_FULL, "no room", "drive1", True)
        expect_untouched(plotter)


def test_bytes_that_arrive_otherwise_are_rejected(scene: Scene) -> None:
    other = hashes(CONTENT[: 2 * MIB] + b"flip" + CONTENT[2 * MIB + 4 :])

    def play(nas: Nas) -> None:
        nas.take()
        nas.say(Arrived(len(CONTENT), other))
        assert nas.hear(Commit, Reject) == Reject(2)
        nas.say(Failing(Failure.REJECTED, "the hashes differ", True))

    with scene(play) as (plotter, _):
        outcome = plotter.deliver()
        assert isinstance(outcome, Failed)
        assert (outcome.failure, outcome.drive) == (Failure.REJECTED, "drive1")
        expect_untouched(plotter)


def test_a_nas_that_dies_after_the_commit_may_have_the_plot(scene: Scene) -> None:
    def play(nas: Nas) -> None:
        nas.take()
        nas.say(Arrived(len(CONTENT), hashes(CONTENT)))
        nas.hear(Commit)
        nas.go_away()

    with scene(play) as (plotter, _):
        outcome = plotter.deliver()
        assert isinstance(outcome, Failed)
        assert outcome.failure is Failure.OUTCOME_UNKNOWN
        expect_untouched(plotter)


def test_a_nas_that_dies_while_bytes_travel_ends_the_session(scene: Scene) -> None:
    def play(nas: Nas) -> None:
        nas.say(Ready(nas.port, TOKEN, "drive1", ARRIVAL, 0, 1))
        nas.go_away()

    with scene(play) as (plotter, _):
        with pytest.raises(OtherEndGone):
            plotter.deliver(_SlowDisk())
        assert plotter.sender.is_broken
        expect_untouched(plotter)
