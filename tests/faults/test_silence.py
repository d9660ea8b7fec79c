"""What stops without ending: a stopped process, and a link that goes down without a word."""

from __future__ import annotations

import contextlib
import signal
from pathlib import Path

import pytest

from testbed.farm import Farm
from testbed.network import SeparateHost, why_no_separate_host
from testbed.plots import PlotShop
from tests.faults.scene import LIMITS, Scene, one_plot, resume, scene, unknown_plot, wait_for

SOON = 12.0  # silence and stall limits, what the clean-up takes, and a busy machine
LARGE_BYTES = 40 * 2**20  # more than the pipes and both socket buffers hold


def receiving(made: Scene) -> list[str]:
    """Return what is left of the NAS's side, sshd's own processes left out."""
    return [role for role in made.roles() if role in ("receiver", "writer", "listening nc", "script")]


def test_a_stream_is_stopped(tmp_path: Path, shop: PlotShop) -> None:
    with one_plot(tmp_path, shop) as made:
        stopped = made.start_and_stop_at("plotter", "bytes:half")
        wait_for(lambda: not receiving(made), "the receiver does not give up", made, SOON)
        assert made.farm.parts() == []
        assert "the plotter has been silent for" in made.farm.nas.log_text()
        resume(stopped)
        assert made.status() == 1
        made.rest_and_finish()


@pytest.mark.parametrize("state", ["listening", "stored:recorded"])
def test_receiver_is_stopped(state: str, tmp_path: Path, shop: PlotShop) -> None:
    with one_plot(tmp_path, shop) as made:
        receiver = made.start_and_stop_at("nas", state)
        assert made.status() == 1  # by itself, while the receiver is still stopped
        assert "127.0.0.1 has been silent for" in made.farm.plotter.log_text()
        made.audit()
        resume(receiver)
        made.rest_and_finish()


@pytest.mark.parametrize("state", ["bytes:half", "publish:renamed"])
def test_writer_is_stopped(state: str, tmp_path: Path, shop: PlotShop) -> None:
    # While the receiver tries to end the writer, which takes up to 4 seconds, it sends no beat.
    with one_plot(tmp_path, shop, transfer__silence_seconds=8) as made:
        made.start_and_stop_at("nas", state)
        assert made.status() == 1
        assert "the NAS could not take it" in made.farm.plotter.log_text(), made.logs()
        wait_for(lambda: not made.busy(), "the stopped writer is not ended", made, SOON)  # nobody wakes it
        made.rest_and_finish()


@pytest.mark.pipe("netcat")
@pytest.mark.parametrize("role", ["sending nc", "listening nc"])
def test_netcat_is_stopped(role: str, tmp_path: Path) -> None:
    with Farm(tmp_path / "farm", settings=LIMITS) as farm, scene(farm) as made:
        made.add(unknown_plot(farm.plots, role, LARGE_BYTES))
        plot_manager = made.start_and_stop_at("plotter", "bytes:half")
        made.victim(role).send_signal(signal.SIGSTOP)
        resume(plot_manager)
        assert made.status() == 1
        assert "stalled: no byte" in made.logs()
        wait_for(lambda: not made.busy(), f"the stopped {role} is not ended", made, SOON)  # nobody wakes it
        made.rest_and_finish()


@pytest.mark.root
def test_link_goes_down_without_a_word(tmp_path: Path) -> None:
    reason = why_no_separate_host()
    if reason:
        pytest.skip(reason)
    with SeparateHost() as host, contextlib.ExitStack() as opened:
        with host.inside():
            farm = opened.enter_context(Farm(tmp_path / "farm", settings=LIMITS, address=host.address))
        with scene(farm) as made:
            made.add(unknown_plot(farm.plots, "link", LARGE_BYTES))
            plot_manager = made.start_and_stop_at("plotter", "bytes:half")
            host.link("down")
            resume(plot_manager)
            assert made.status() == 1
            wait_for(lambda: not receiving(made), "the receiver does not give up", made, SOON)
            assert farm.parts() == []
            made.audit()
            host.link("up")
            made.rest_and_finish()
