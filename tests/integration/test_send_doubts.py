"""The plotter's side of a session against a NAS that lies, and when its source has to stay."""

from __future__ import annotations

import os

import pytest

from plotfarm.base.errors import ProtocolError
from plotfarm.transfer.effects import SourceError
from plotfarm.transfer.messages import (
    Arrived,
    Commit,
    Continue,
    Done,
    Have,
    Partial,
    Ready,
    Recheck,
    Rechecked,
    Reject,
    Stored,
)
from plotfarm.transfer.outcomes import Delivered, How, NotTaken, Refusal, Removal
from plotfarm.transfer.sender import Observer
from tests.integration.played_nas import (
    ARRIVAL,
    CONTENT,
    MIB,
    OLD,
    STORED_TIME,
    TOKEN,
    Nas,
    Play,
    Scene,
    expect_untouched,
    hashes,
    have,
)

SECOND = 10**9

# ---- A NAS that lies ----


def _arrived_before_it_was_sent(nas: Nas) -> None:
    nas.say(Arrived(len(CONTENT), hashes(CONTENT)))


def _stored_before_it_was_sent(nas: Nas) -> None:
    nas.say(Stored(ARRIVAL, "/mnt/drive1/x.plot", hashes(CONTENT)))


def _another_arrival(nas: Nas) -> None:
    nas.take()
    nas.publish(arrival="f" * 16)


def _other_hashes_in_the_end(nas: Nas) -> None:
    nas.take()
    nas.say(Arrived(len(CONTENT), hashes(CONTENT)))
    nas.hear(Commit)
    nas.say(Stored(ARRIVAL, "/mnt/drive1/x.plot", hashes(CONTENT)[:-1]))


def _resumes_behind_what_was_agreed_on(nas: Nas) -> None:
    nas.say(Partial(hashes(CONTENT)[:1]))
    nas.hear(Continue)
    nas.say(Ready(nas.port, TOKEN, "drive1", ARRIVAL, 3, 1))


@pytest.mark.parametrize(
    "play",
    [
        _arrived_before_it_was_sent,
        _stored_before_it_was_sent,
        _another_arrival,
        _other_hashes_in_the_end,
        _resumes_behind_what_was_agreed_on,
    ],
)
def test_a_lie_ends_the_session_and_the_source_stays(scene: Scene, play: Play) -> None:
    with scene(play) as (plotter, _):
        with pytest.raises(ProtocolError):
            plotter.deliver()
        assert plotter.sender.is_broken
        expect_untouched(plotter)


@pytest.mark.parametrize("port", [22, 0, 70_000, "4040", None])
def test_no_port_leads_elsewhere(scene: Scene, port: object) -> None:
    def play(nas: Nas) -> None:
        nas.say(Ready(port, TOKEN, "drive1", ARRIVAL, 0, 1))  # type: ignore[arg-type]

    with scene(play) as (plotter, _):
        with pytest.raises(ProtocolError, match="out of bounds"):
            plotter.deliver()
        expect_untouched(plotter)


# ---- A plot that is there, and whether it is another file ----


def test_a_plot_that_is_there_and_equal_needs_no_sending(scene: Scene) -> None:
    def play(nas: Nas) -> None:
        have(nas)
        nas.recheck()

    with scene(play) as (plotter, _):
        assert plotter.deliver() == Delivered("/mnt/drive1/x.plot", hashes(CONTENT), How.HAVE, Removal.REMOVED)
        assert not plotter.plot.exists()


def test_another_plot_of_that_name_is_left_to_a_user(scene: Scene) -> None:
    def play(nas: Nas) -> None:
        nas.say(Have("/mnt/drive1/x.plot", (*hashes(CONTENT)[:-1], "0" * 64)))
        assert nas.hear(Reject) == Reject(3)

    with scene(play) as (plotter, _):
        outcome = plotter.deliver()
        assert isinstance(outcome, NotTaken)
        assert outcome.refusal is Refusal.OTHER_FILE
        assert "/mnt/drive1/x.plot is another plot of this name" in outcome.detail
        expect_untouched(plotter)


@pytest.mark.parametrize("how", [How.STORED, How.HAVE])
def test_one_file_under_two_paths_is_never_removed(scene: Scene, how: How) -> None:
    """The NAS sees on its file, the second time, the very time that was set on the source."""

    def play(nas: Nas) -> None:
        if how is How.STORED:
            nas.take()
            nas.publish()
        else:
            have(nas)
        times = iter([STORED_TIME])
        nas.recheck(lambda: next(times, plotter.plot.stat().st_mtime_ns))

    with scene(play) as (plotter, _):
        outcome = plotter.deliver()
        assert isinstance(outcome, Delivered)
        assert (outcome.how, outcome.removal) == (how, Removal.SAME_FILE)
        expect_untouched(plotter)


def test_equal_times_are_suspect_enough(scene: Scene) -> None:
    def play(nas: Nas) -> None:
        have(nas)
        nas.recheck(lambda: OLD)

    with scene(play) as (plotter, _):
        outcome = plotter.deliver()
        assert isinstance(outcome, Delivered)
        assert outcome.removal is Removal.SUSPECT
        expect_untouched(plotter)


@pytest.mark.parametrize("unit", [100, SECOND, 2 * SECOND])
def test_a_time_that_may_be_the_same_one_rounded_is_suspect_enough(scene: Scene, unit: int) -> None:
    """The NAS sees its file through sshfs, say, which knows whole seconds, and remembers them for a while."""

    def play(nas: Nas) -> None:
        have(nas)
        nas.recheck(lambda: old - old % unit)

    with scene(play) as (plotter, _):
        old = OLD + SECOND + 123_456_789
        os.utime(plotter.plot, ns=(old, old))
        outcome = plotter.deliver()
        assert isinstance(outcome, Delivered)
        assert outcome.removal is Removal.SUSPECT
        assert plotter.plot.read_bytes() == CONTENT


def test_an_answer_to_an_older_question_is_not_believed(scene: Scene) -> None:
    def play(nas: Nas) -> None:
        have(nas)
        nas.hear(Recheck)
        nas.say(Rechecked(1, len(CONTENT), STORED_TIME))
        nas.hear(Recheck)
        nas.say(Rechecked(1, len(CONTENT), STORED_TIME))
        nas.hear(Done)

    with scene(play) as (plotter, _):
        outcome = plotter.deliver()
        assert isinstance(outcome, Delivered)
        assert outcome.removal is Removal.UNKNOWN
        expect_untouched(plotter)


def test_a_nas_that_goes_away_before_the_test_leaves_the_source(scene: Scene) -> None:
    def play(nas: Nas) -> None:
        have(nas)
        nas.hear(Recheck)
        nas.go_away()

    with scene(play) as (plotter, _):
        outcome = plotter.deliver()
        assert isinstance(outcome, Delivered)
        assert outcome.removal is Removal.UNKNOWN
        expect_untouched(plotter)


# ---- A source that changes ----


def test_a_source_that_was_written_to_meanwhile_stays(scene: Scene) -> None:
    def play(nas: Nas) -> None:
        nas.take()
        nas.say(Arrived(len(CONTENT), hashes(CONTENT)))
        nas.hear(Commit)
        with open(plotter.plot, "r+b") as file:
            file.write(b"somebody was here")
        nas.say(Stored(ARRIVAL, "/mnt/drive1/x.plot", hashes(CONTENT)))
        nas.recheck()

    with scene(play) as (plotter, _):
        outcome = plotter.deliver()
        assert isinstance(outcome, Delivered)
        assert outcome.removal is Removal.CHANGED
        assert plotter.plot.read_bytes().startswith(b"somebody was here")
        assert plotter.notes.open == {}


def test_a_source_whose_time_was_set_back_after_a_write_stays(scene: Scene) -> None:
    """Only its ctime tells, so it is read once more."""

    def play(nas: Nas) -> None:
        nas.take()
        nas.say(Arrived(len(CONTENT), hashes(CONTENT)))
        nas.hear(Commit)
        with open(plotter.plot, "r+b") as file:
            file.write(b"somebody was here")
        os.utime(plotter.plot, ns=(OLD, OLD))
        nas.say(Stored(ARRIVAL, "/mnt/drive1/x.plot", hashes(CONTENT)))
        nas.recheck()

    with scene(play) as (plotter, _):
        outcome = plotter.deliver()
        assert isinstance(outcome, Delivered)
        assert outcome.removal is Removal.CHANGED
        assert plotter.plot.read_bytes().startswith(b"somebody was here")


def test_a_source_that_was_replaced_meanwhile_stays(scene: Scene) -> None:
    def play(nas: Nas) -> None:
        nas.take()
        nas.say(Arrived(len(CONTENT), hashes(CONTENT)))
        nas.hear(Commit)
        plotter.plot.rename(plotter.plot.with_name("moved"))
        plotter.plot.write_bytes(b"another plot")
        nas.say(Stored(ARRIVAL, "/mnt/drive1/x.plot", hashes(CONTENT)))
        nas.recheck()

    with scene(play) as (plotter, _):
        outcome = plotter.deliver()
        assert isinstance(outcome, Delivered)
        assert outcome.removal is Removal.GONE
        assert plotter.plot.read_bytes() == b"another plot"


def test_a_source_that_is_cut_while_it_is_sent_is_its_own_fault(scene: Scene) -> None:
    class Cutting(Observer):
        def began(self, drive: str, offset: int) -> None:
            os.truncate(plotter.plot, MIB)

    def play(nas: Nas) -> None:
        nas.say(Ready(nas.port, TOKEN, "drive1", ARRIVAL, 0, 1))

    with scene(play) as (plotter, _), pytest.raises(SourceError, match="became shorter"):
        plotter.deliver(Cutting())
