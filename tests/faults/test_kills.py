"""kill -9 of every process of a transfer, at every named state where it exists."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from testbed.plots import PlotShop
from tests.faults.scene import one_plot

ENDS = ("plot_manager", "stream", "ssh", "ssh master", "sshd session", "receiver")  # there for the whole conversation
WRITING = (*ENDS, "writer")
FLOWING = (*WRITING, "sending nc", "listening nc")

# side that stops itself, state, and who can be killed there
STATES = [
    ("plotter", "offer:sent", ENDS),
    ("nas", "offer:received", ENDS),
    ("nas", "part:created", WRITING),
    ("nas", "listening", (*WRITING, "listening nc")),
    ("nas", "token:seen", FLOWING),
    ("plotter", "bytes:half", FLOWING),
    ("nas", "bytes:half", FLOWING),
    ("plotter", "sent:sent", ("plot_manager", "stream", "ssh", "ssh master")),
    ("nas", "digest:equal", WRITING),
    ("nas", "part:synced", WRITING),
    ("nas", "publish:renamed", WRITING),
    ("nas", "publish:synced", WRITING),
    ("nas", "stored:recorded", ENDS),
    ("nas", "stored:sent", ("ssh master", "sshd session", "receiver")),
    ("plotter", "stored:received", ("plot_manager", "stream", "ssh master")),
    ("plotter", "source:removed", ("plot_manager", "ssh master")),
]
ALWAYS = {
    ("part:created", "writer"), ("listening", "listening nc"), ("token:seen", "receiver"),
    ("bytes:half", "plot_manager"), ("bytes:half", "sending nc"),
    ("bytes:half", "stream"), ("stored:received", "stream"), ("bytes:half", "ssh master"),
    ("digest:equal", "sshd session"), ("part:synced", "writer"), ("publish:renamed", "writer"),
    ("publish:renamed", "plot_manager"), ("stored:recorded", "receiver"), ("stored:received", "plot_manager"),
    ("source:removed", "plot_manager"), ("offer:received", "ssh"),
}  # fmt: skip


def _cases() -> Sequence[object]:
    cases = []
    for side, state, victims in STATES:
        for victim in victims:
            shown_always = (state, victim) in ALWAYS and (state, side) != ("bytes:half", "nas")
            marks = () if shown_always else pytest.mark.long
            cases.append(pytest.param(side, state, victim, marks=marks, id=f"{side} at {state}: {victim}"))
    return cases


@pytest.mark.parametrize(("side", "state", "victim"), _cases())
def test_kill_at(side: str, state: str, victim: str, tmp_path: Path, shop: PlotShop, pipe: str) -> None:
    if victim.endswith(" nc") and pipe == "direct":
        pytest.skip("there is no netcat in a direct pipe")
    with one_plot(tmp_path, shop) as scene:
        scene.start_and_stop_at(side, state)
        scene.victim(victim).kill()
        scene.rest_and_finish()


@pytest.mark.parametrize("state", ["bytes:half", "part:synced"])
def test_a_writer_dies_with_its_receiver(state: str, tmp_path: Path, shop: PlotShop) -> None:
    with one_plot(tmp_path, shop) as scene:
        writer = scene.start_and_stop_at("nas", state)
        scene.victim("receiver").kill()
        writer.wait(5)  # it is stopped, and nobody wakes it: the kernel ends it
        scene.rest_and_finish()
