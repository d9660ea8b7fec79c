"""The main road: what is finished travels, verified; what is not stays, and is said to."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from farm_help import ON_THE_WAY, audit, big_plot, held_at, logs, names_and_digests, results, times_reached

from plotfarm.base.state import State
from testbed.farm import Farm, sha256
from testbed.plots import PlotShop, make_plot2

NewFarm = Callable[..., Farm]
PutV1 = Callable[[Path, str], Path]
LINE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} - \w+:\d+ - [\w<>]+: (DEBUG|INFO|WARNING|ERROR|CRITICAL) \S.*")


def test_every_kind_of_plot_arrives_and_the_unfinished_stays(farm: Farm, shop: PlotShop) -> None:
    sent = [shop.v1(farm.plots), shop.gplot(farm.plots), shop.compressed_style(farm.plots)]
    sent.append(big_plot(farm.plots, "unknown header", 3 * 2**20))
    cut, temporary = shop.unfinished(farm.plots)
    manifest = names_and_digests(farm)

    run = farm.plot_manager()

    assert (run.returncode, run.stderr) == (0, ""), logs(farm)
    lines = run.stdout.splitlines()
    assert len(lines) == len(sent)  # the results, and nothing else: cron mails what is printed
    assert all(" -> 127.0.0.1:" in line and "hashes equal" in line for line in lines)
    assert {path.name for path in farm.stored()} == {path.name for path in sent}
    assert set(farm.waiting()) == {cut, temporary}
    assert re.search(rf"Not sent: {re.escape(cut.name)}: .* bytes are there", farm.plotter.log_text())
    audit(farm, manifest)

    again = farm.plot_manager()

    assert (again.returncode, again.stdout, again.stderr) == (0, "", "")
    assert results(farm.nas) == ["stored"] * len(sent)
    audit(farm, manifest)


def test_plots_that_nobody_knows_or_farms_are_moved_and_the_latter_said_once(new_farm: NewFarm) -> None:
    farm = new_farm(plotter_settings={"plots.other_suffixes": ".drplot, .newplot"},
                    nas_settings={"plots.other_suffixes": ".drplot, .newplot"})  # fmt: skip
    farm.remember_small_plots()
    assert farm.drive_manager().returncode == 0  # begins to count arrivals
    for name in ("one.drplot", "two.newplot"):
        (farm.plots / name).write_bytes(os.urandom(2**20))
    make_plot2(farm.plots / "plot-k28-a.plot2")
    manifest = names_and_digests(farm)

    assert farm.plot_manager().returncode == 0, logs(farm)
    assert {path.name for path in farm.stored()} == {"one.drplot", "two.newplot", "plot-k28-a.plot2"}
    audit(farm, manifest)

    make_plot2(farm.plots / "plot-k28-b.plot2")
    for _ in range(2):
        assert farm.drive_manager().returncode == 0
        assert farm.plot_manager().returncode == 0
    said = r"plot-k28-a.plot2, from \S+, is stored, but no coming release of Chia farms a .plot2 plot"
    assert len(re.findall(said, farm.nas.log_text())) == 1
    assert "plot-k28-b.plot2, from" not in farm.nas.log_text()


def test_an_unknown_header_settles_first(new_farm: NewFarm) -> None:
    farm = new_farm(plotter_settings={"plotter.settle_seconds": 3600})
    plot = big_plot(farm.plots, "young", 2 * 2**20)
    assert farm.plot_manager().returncode == 0
    assert list(farm.waiting()) == [plot]
    an_hour_ago = plot.stat().st_mtime - 3700
    os.utime(plot, (an_hour_ago, an_hour_ago))
    manifest = names_and_digests(farm)
    assert farm.plot_manager().returncode == 0
    assert [path.name for path in farm.stored()] == [plot.name]
    audit(farm, manifest)


@pytest.mark.parametrize("plotter", ["nc.openbsd", "nc.traditional"])
@pytest.mark.parametrize("nas", ["nc.openbsd", "nc.traditional"])
def test_both_netcats_on_either_side(new_farm: NewFarm, put_v1: PutV1, plotter: str, nas: str) -> None:
    for program in {plotter, nas}:
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")
    farm = new_farm(plotter_settings={"transfer.netcat": plotter}, nas_settings={"transfer.netcat": nas})
    put_v1(farm.plots, "first")
    big_plot(farm.plots, "second")
    manifest = names_and_digests(farm)
    run = farm.plot_manager()
    assert (run.returncode, run.stderr) == (0, ""), logs(farm)
    assert len(farm.stored()) == 2
    audit(farm, manifest)


@pytest.mark.parametrize("verify", ["wire", "readback"])
def test_verify_notices_what_it_promises(new_farm: NewFarm, put_v1: PutV1, verify: str) -> None:
    """A drive that gives back other bytes than were written is noticed by readback, and only by it."""
    farm = new_farm(nas_settings={"transfer.verify": verify})
    put_v1(farm.plots, "honest")
    manifest = names_and_digests(farm)
    assert farm.plot_manager().returncode == 0, logs(farm)
    audit(farm, manifest)
    plot = put_v1(farm.plots, "bitten")
    manifest[plot.name] = sha256(plot)
    with held_at(farm, "after:SyncPart", where="nas") as held, open(farm.parts()[0], "r+b") as part:
        part.seek(1234567)
        part.write(b"\0\1\2\3")
        part.flush()
        os.fsync(part.fileno())
    assert held.manager.returncode == (0 if verify == "wire" else 1)
    if verify == "readback":
        assert results(farm.plotter) == results(farm.nas) == ["stored", "sample differed"]
        assert plot.exists()
        audit(farm, manifest)


def test_keep_source_sends_once_and_reads_once(new_farm: NewFarm, put_v1: PutV1) -> None:
    farm = new_farm(plotter_settings={"plotter.keep_source": True})
    put_v1(farm.plots, "kept")
    manifest = names_and_digests(farm)
    assert farm.plot_manager().returncode == 0
    assert len(farm.stored()) == 1
    assert len(farm.waiting()) == 1
    nas_log = farm.nas.log_text()
    again = farm.plot_manager()
    assert (again.returncode, again.stdout) == (0, "")
    assert farm.nas.log_text() == nas_log, "the NAS was asked again"
    audit(farm, manifest)


def test_a_dry_run_says_where_and_changes_nothing(farm: Farm, put_v1: PutV1) -> None:
    plot = put_v1(farm.plots, "dry")
    manifest = names_and_digests(farm)
    run = farm.plot_manager("--dry-run")
    assert run.returncode == 0, logs(farm)
    assert run.stdout.strip().endswith(f"would go to 127.0.0.1:{farm.drives[0] / plot.name}")
    assert farm.stored() == {}
    assert list(farm.waiting()) == [plot]
    assert State(farm.plotter.state).transfers() == State(farm.nas.state).transfers() == []
    audit(farm, manifest)


def test_the_testing_section_has_its_own_directory_size_and_lock(new_farm: NewFarm, put_v1: PutV1) -> None:
    farm = new_farm()
    trial = farm.root / "trial"
    trial.mkdir()
    farm.plotter.change({"testing.testing": True, "testing.plot_directory": trial, "testing.minimum_size": "2 MiB"})
    put_v1(farm.plots, "real")
    put_v1(trial, "trial")
    small = big_plot(trial, "small", 1 * 2**20 + 1)
    run = farm.plot_manager()
    assert run.returncode == 0, logs(farm)
    assert len(farm.stored()) == 1
    assert len(farm.waiting()) == 1, "the real directory is not touched"
    assert list(trial.iterdir()) == [small]
    assert (farm.plotter.locks / "plot_manager_testing.lock").exists()
    assert not (farm.plotter.locks / "plot_manager.lock").exists()


def test_what_is_remembered(farm: Farm, put_v1: PutV1) -> None:
    plot = put_v1(farm.plots, "remembered")
    size = plot.stat().st_size
    assert farm.plot_manager().returncode == 0
    (there,) = State(farm.nas.state).transfers()
    (here,) = State(farm.plotter.state).transfers()
    stored = farm.drives[0] / plot.name
    assert (there.plot, there.kind, there.bytes, there.ending) == (plot.name, "v1", size, "stored")
    assert (here.plot, here.kind, here.bytes, here.ending) == (plot.name, "v1", size, "stored")
    assert there.digest == here.digest != ""
    assert there.segments == here.segments != ""
    assert (there.target, here.target) == (str(stored), f"127.0.0.1:{stored}")
    assert here.source == str(plot)
    assert there.seconds > 0
    assert (there.k, here.k) == (18, 18)


def test_the_log_has_the_lines_of_the_original(farm: Farm, put_v1: PutV1) -> None:
    put_v1(farm.plots, "logged")
    assert farm.plot_manager().returncode == 0
    for side, script in ((farm.plotter, "plot_manager"), (farm.nas, "receive_plot")):
        lines = (side.logs / f"{script}.log").read_text().splitlines()
        assert len(lines) > 5
        assert [line for line in lines if not LINE.fullmatch(line)] == []
    assert "Plot Sizes Match, we have a good plot move!" in farm.plotter.log_text()


def test_a_second_run_meets_the_first(farm: Farm, put_v1: PutV1) -> None:
    put_v1(farm.plots, "slow")
    manifest = names_and_digests(farm)
    with held_at(farm, ON_THE_WAY):
        second = farm.plot_manager()
        assert (second.returncode, second.stdout, second.stderr) == (0, "", "")
        assert times_reached(farm.nas, "before:Place") == 1, "the second run offered the plot too"
    audit(farm, manifest)
    assert len(farm.stored()) == 1


def test_what_finishes_during_the_run_is_sent_in_it(farm: Farm, put_v1: PutV1) -> None:
    put_v1(farm.plots, "early")
    with held_at(farm, ON_THE_WAY) as held:
        late = put_v1(farm.root, "late")
        late.rename(farm.plots / late.name)
        manifest = names_and_digests(farm)
    assert held.manager.returncode == 0
    audit(farm, manifest)


def test_the_chosen_drive_comes_first(new_farm: NewFarm, put_v1: PutV1) -> None:
    farm = new_farm()
    farm.nas.change({"plotting_drives.current_plotting_drive": farm.drives[1]})
    put_v1(farm.plots, "preferred")
    assert farm.plot_manager().returncode == 0
    assert [path.parent for path in farm.stored()] == [farm.drives[1]]


def test_several_plot_directories(new_farm: NewFarm, put_v1: PutV1) -> None:
    farm = new_farm()
    second, missing = farm.root / "second", farm.root / "missing"
    second.mkdir()
    farm.plotter.change({"plotter.plot_directories": f"{farm.plots}, {missing}, {second}"})
    put_v1(farm.plots, "one")
    put_v1(second, "two")
    run = farm.plot_manager()
    assert len(farm.stored()) == 2, logs(farm)
    assert run.returncode == 1
    assert run.stderr == f"the plot directory {missing} cannot be read: No such file or directory\n"


@pytest.mark.parametrize("damage", ["garbage", "a directory of that name"])
def test_without_the_state_database_plots_still_move(farm: Farm, put_v1: PutV1, damage: str) -> None:
    for side in (farm.plotter, farm.nas):
        side.state.mkdir()
        if damage == "garbage":
            (side.state / "state.sqlite").write_bytes(b"no database at all " * 1000)
        else:
            (side.state / "state.sqlite").mkdir()
    put_v1(farm.plots, "stateless")
    manifest = names_and_digests(farm)
    run = farm.plot_manager()
    assert run.returncode == 0, run.stderr + logs(farm)
    assert len(farm.stored()) == 1
    audit(farm, manifest)


def test_without_a_log_directory_the_job_still_runs(farm: Farm, put_v1: PutV1) -> None:
    for side in (farm.plotter, farm.nas):
        side.logs.write_text("not a directory")
    put_v1(farm.plots, "unlogged")
    manifest = names_and_digests(farm)
    run = farm.plot_manager()
    assert run.returncode == 0
    assert f"cannot write the logs in {farm.plotter.logs}" in run.stderr
    assert len(farm.stored()) == 1
    audit(farm, manifest)


def test_a_wrong_configuration_ends_with_two(farm: Farm) -> None:
    farm.plotter.change({"transfer.verify": "perhaps"})
    run = farm.plot_manager()
    assert run.returncode == 2
    assert "[transfer] verify" in run.stderr
    assert "perhaps" in run.stderr
