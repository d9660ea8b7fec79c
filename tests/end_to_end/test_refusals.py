"""What stands in the way is one clear line with its remedy, and nothing is lost."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
from fake_sender import FakeSender
from farm_help import audit, logs, names_and_digests

from plotfarm.drives.model import MARKER
from testbed.farm import Farm
from testbed.plots import v1_name

NewFarm = Callable[..., Farm]
PutV1 = Callable[[Path, str], Path]


def _replaced(options: list[str], old: str, new: str) -> str:
    assert old in " ".join(options)
    return shlex.join([new if option == old else option for option in options])


def refusal(farm: Farm, size: int) -> str:
    """Offer one more plot and return why it is refused, "" if it is not."""
    with FakeSender(farm) as sender:
        answer = sender.offer(v1_name("one more", k=32), size)
    assert answer is not None
    return str(answer.get("refusal", ""))


def _sshd_is_down(farm: Farm) -> None:
    farm.sshd.stop()


def _host_key_is_unknown(farm: Farm) -> None:
    known = farm.sshd.directory / "known_hosts"
    known.write_text("")


def _key_is_not_accepted(farm: Farm) -> None:
    options = farm.sshd.client_options(farm.sshd.make_key("stranger"))
    farm.plotter.change({"nas.ssh_options": shlex.join(options)})


def _name_is_unknown(farm: Farm) -> None:
    farm.plotter.change({"nas.hosts": "no-such-nas.invalid"})


def _command_is_missing(farm: Farm) -> None:
    (farm.root / "receive_plot.sh").unlink()


def _nas_is_misconfigured(farm: Farm) -> None:
    farm.nas.change({"drives.polizy": "fill"})


def _command_is_something_else(farm: Farm) -> None:
    (farm.root / "receive_plot.sh").write_text("#!/bin/sh\ncat > /dev/null\n")


@pytest.mark.parametrize(
    ("what", "said"),
    [
        (_sshd_is_down, ["cannot reach 127.0.0.1 by ssh", "Connection refused", "is sshd running there?"]),
        (_host_key_is_unknown, ["Host key verification failed", "log in once by hand to accept the host's key"]),
        (_key_is_not_accepted, ["Permission denied", "authorized_keys line in the README"]),
        (_name_is_unknown, ["cannot reach no-such-nas.invalid by ssh", "check the name in [nas] hosts"]),
        (_command_is_missing, ["receive_plot.sh", "[nas] receive_command"]),
        (_nas_is_misconfigured, ["[drives] polizy", "policy"]),
        (_command_is_something_else, ["[nas] receive_command"]),
    ],
)
def test_a_nas_that_cannot_be_used(
    new_farm: NewFarm, put_v1: PutV1, what: Callable[[Farm], None], said: list[str]
) -> None:
    farm = new_farm()
    farm.plotter.change({"transfer.silence_seconds": 2})
    put_v1(farm.plots, "patient")
    put_v1(farm.plots, "patient too")
    manifest = names_and_digests(farm)
    what(farm)
    run = farm.plot_manager()
    assert run.returncode == 1
    assert run.stdout == ""
    assert "Traceback" not in run.stderr + logs(farm)
    for words in said:
        assert words in run.stderr
    assert len(run.stderr.splitlines()) <= 2, run.stderr
    audit(farm, manifest)
    assert len(farm.waiting()) == 2


def test_a_missing_command_without_a_restricted_key(new_farm: NewFarm, put_v1: PutV1) -> None:
    farm = new_farm(restricted=False)
    farm.plotter.change({"nas.receive_command": "/opt/plot manager/receive_plot.sh"})
    put_v1(farm.plots, "patient")
    run = farm.plot_manager()
    assert run.returncode == 1
    assert "/opt/plot manager/receive_plot.sh" in run.stderr
    assert "[nas] receive_command" in run.stderr


def test_without_a_restricted_key_the_road_is_the_same(new_farm: NewFarm, put_v1: PutV1) -> None:
    farm = new_farm(restricted=False)
    put_v1(farm.plots, "free")
    manifest = names_and_digests(farm)
    assert farm.plot_manager().returncode == 0, logs(farm)
    assert len(farm.stored()) == 1
    audit(farm, manifest)


def test_a_nas_without_room(new_farm: NewFarm, put_v1: PutV1) -> None:
    farm = new_farm(nas_settings={"drives.minimum_free": "900 TiB"})
    put_v1(farm.plots, "too large")
    manifest = names_and_digests(farm)
    run = farm.plot_manager()
    assert refusal(farm, 4 * 2**20) == "no drive"
    assert "drive1, drive2, drive3: " in run.stderr, "it says of each drive why"
    assert run.returncode == 1  # it waits for a later run
    audit(farm, manifest)
    assert len(farm.waiting()) == 1


def test_offlined_and_missing_drives_are_passed_over(farm: Farm, put_v1: PutV1) -> None:
    farm.nas.state.mkdir()
    (farm.nas.state / "offlined_drives").write_text("drive1\n")
    (farm.drives[1] / MARKER).unlink()
    put_v1(farm.plots, "third")
    manifest = names_and_digests(farm)
    assert farm.plot_manager().returncode == 0, logs(farm)
    assert [path.parent for path in farm.stored()] == [farm.drives[2]]
    (farm.drives[2] / MARKER).unlink()
    put_v1(farm.plots, "nowhere")
    manifest |= names_and_digests(farm)
    run = farm.plot_manager()
    assert refusal(farm, 4 * 2**20) == "no drive"
    assert "drive1: offlined" in run.stderr
    assert "drive2, drive3: " in run.stderr
    audit(farm, manifest)
    assert len(farm.waiting()) == 1


def test_the_daily_quota(new_farm: NewFarm, put_v1: PutV1) -> None:
    farm = new_farm(nas_settings={"receiving.daily_quota": "10 MB"})
    for seed in ("one", "two", "three"):
        put_v1(farm.plots, seed)
    manifest = names_and_digests(farm)
    run = farm.plot_manager()
    assert len(farm.stored()) == 2, logs(farm)
    assert len(farm.waiting()) == 1
    assert run.returncode == 1
    assert refusal(farm, 4 * 2**20) == "daily quota"
    assert refusal(farm, 2**20) == "", "what is left of it may be used"
    audit(farm, manifest)
