"""What stops without ending: a stopped process, and a link that goes down without a word."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from plotfarm.transfer.outcomes import Failure
from testbed.farm import Farm
from testbed.network import SeparateHost, why_no_separate_host
from testbed.plots import PlotShop
from tests.faults.scene import LIMITS, Scene, one_plot, resume, scene, unknown_plot, wait_for

SOON = 12.0  # silence and stall limits, what the clean-up takes, and a busy machine
LARGE_BYTES = 40 * 2**20  # more than the pipes and both socket buffers hold
SLOW = {**LIMITS, "transfer.max_mb_per_second": 15}
BEGUN_BYTES = 8 * 2**20  # what is on the drive when something stops


def receiving(made: Scene) -> list[str]:
    """Return what is left of the NAS's side, sshd's own processes left out."""
    return [role for role in made.roles() if role in ("receiver", "disk worker", "listening nc", "script")]


@contextlib.contextmanager
def midway(root: Path, seed: str) -> Iterator[Scene]:
    """Give a farm with a large plot on its way."""
    with Farm(root / "farm", settings=SLOW) as farm, scene(farm) as made:
        made.add(unknown_plot(farm.plots, seed, LARGE_BYTES))
        made.start()
        made.wait_until_midway(BEGUN_BYTES)
        yield made
        farm.plotter.change({"transfer.max_mb_per_second": 0})
        farm.nas.change({"transfer.max_mb_per_second": 0})
        made.rest_and_finish()


def test_a_stream_is_stopped(tmp_path: Path) -> None:
    with midway(tmp_path, "stream") as made:
        stream = made.victim("stream")
        stream.suspend()
        wait_for(lambda: not receiving(made), "the receiver does not give up", made, SOON)
        assert made.parts() == []
        assert made.result(made.farm.nas) in (Failure.INTERRUPTED, Failure.STALLED), made.logs()
        resume(stream)
        assert made.status() == 1


@pytest.mark.parametrize(
    ("state", "failure"), [("listening", Failure.INTERRUPTED), ("after:RecordStored", Failure.OUTCOME_UNKNOWN)]
)
def test_receiver_is_stopped(state: str, failure: Failure, tmp_path: Path, shop: PlotShop) -> None:
    with one_plot(tmp_path, shop) as made:
        receiver = made.start_and_stop_at("nas", state)
        assert made.status() == 1  # by itself, while the receiver is still stopped
        assert made.result() == failure, made.logs()
        made.audit()
        resume(receiver)
        made.rest_and_finish()


@pytest.mark.parametrize(
    ("state", "failure"),
    [
        ("before:SyncPart", Failure.HANGS),
        ("before:LinkPart", Failure.OUTCOME_UNKNOWN),
        ("before:SyncDirectory", Failure.OUTCOME_UNKNOWN),
    ],
)
def test_disk_worker_is_stopped(state: str, failure: Failure, tmp_path: Path, shop: PlotShop) -> None:
    # While the receiver tries to end it, which takes up to 4 seconds, it sends no heartbeat.
    with one_plot(tmp_path, shop, transfer__silence_seconds=8) as made:
        receiver = made.start_and_stop_at("nas", state)
        made.victim("disk worker").suspend()
        resume(receiver)
        assert made.status() == 1
        assert made.result() == failure, made.logs()
        wait_for(lambda: not made.busy(), "the stopped disk worker is not ended", made, SOON)  # nobody wakes it
        made.rest_and_finish()


@pytest.mark.pipe("netcat")
@pytest.mark.parametrize("role", ["sending nc", "listening nc"])
def test_netcat_is_stopped(role: str, tmp_path: Path) -> None:
    with midway(tmp_path, role) as made:
        made.victim(role).suspend()
        assert made.status() == 1
        assert made.result(made.farm.nas) in (Failure.INTERRUPTED, Failure.STALLED), made.logs()
        wait_for(lambda: not made.busy(), f"the stopped {role} is not ended", made, SOON)  # nobody wakes it


@pytest.mark.root
def test_link_goes_down_without_a_word(tmp_path: Path) -> None:
    reason = why_no_separate_host()
    if reason:
        pytest.skip(reason)
    with SeparateHost() as host, contextlib.ExitStack() as opened:
        with host.inside():
            farm = opened.enter_context(Farm(tmp_path / "farm", settings=SLOW, address=host.address))
        with scene(farm) as made:
            made.add(unknown_plot(farm.plots, "link", LARGE_BYTES))
            made.start()
            made.wait_until_midway(BEGUN_BYTES)
            host.link("down")
            assert made.status() == 1
            wait_for(lambda: not receiving(made), "the receiver does not give up", made, SOON)
            assert made.parts() == []
            made.audit()
            host.link("up")
            made.rest_and_finish()
