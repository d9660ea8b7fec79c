"""What the scripts print, as whole processes: into closed pipes, in other encodings, at terminals, and from cron."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from plotfarm.base.locks import Lock
from testbed.farm import Farm
from testbed.plots import CHECKOUT
from testbed.pseudo_terminal import Shown, Watched, run_in_terminal

REPORTS = (["-pr"], ["-ct"], ["-dr"], ["-ud"], ["--explain"], ["--status"], ["-pr", "--json"], ["-h"])


@pytest.fixture
def farm(tmp_path: Path) -> Farm:
    made = Farm(tmp_path / "farm", nas_settings={"system_settings.server_name": "nas\u00e901"})
    made.remember_small_plots()
    return made


def command(farm: Farm, script: str, *arguments: str) -> list[str]:
    side = farm.plotter if script == "plot_manager.py" else farm.nas
    return [str(CHECKOUT / script), "--config", str(side.config), *arguments]


def at_terminal(farm: Farm, width: int, script: str, *arguments: str, **environment: str) -> Shown:
    given = {**farm.cron_environment(), "LANG": "C.UTF-8", **environment}
    return run_in_terminal(command(farm, script, *arguments), given, width, farm.home)


def log(farm: Farm) -> str:
    file = farm.nas.logs / "error.log"
    return file.read_text() if file.exists() else ""


# ---- Closed pipes ----


@pytest.mark.parametrize("arguments", REPORTS, ids=" ".join)
def test_a_reader_who_wants_no_more_is_no_fault(farm: Farm, arguments: list[str]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        command(farm, "drive_manager.py", *arguments),
        env=farm.cron_environment(), cwd=farm.home, stdout=writer, stderr=subprocess.PIPE, text=True, check=False,
    )  # fmt: skip
    os.close(writer)
    assert (done.returncode, done.stderr, log(farm)) == (0, "", "")


def test_what_a_job_has_to_do_is_done_although_nobody_reads_what_it_says(farm: Farm) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    subprocess.run(
        command(farm, "drive_manager.py", "-off", "drive2"),
        env=farm.cron_environment(), stdout=writer, stderr=writer, check=True,
    )  # fmt: skip
    os.close(writer)
    explained = json.loads(farm.drive_manager("--explain", "--json").stdout)["data"]
    assert [one["reason"] for one in explained["drives"]] == ["has_room", "offlined", "has_room"]


def test_the_usual_pipeline(farm: Farm) -> None:
    line = " ".join(command(farm, "drive_manager.py", "-pr"))
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", f"{line} | head -1"],
        env=farm.cron_environment(), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr, log(farm)) == (0, "", "")
    assert done.stdout.startswith("#####")


def test_a_disk_that_is_full_is_said_in_one_line(farm: Farm) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            command(farm, "drive_manager.py", "-pr"),
            env=farm.cron_environment(), stdout=full, stderr=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr == "drive_manager: what was to be printed cannot be written: No space left on device\n"
    assert "Traceback" not in log(farm)


def test_an_output_that_was_never_open(farm: Farm) -> None:
    line = " ".join(command(farm, "drive_manager.py", "-pr"))
    done = subprocess.run(["bash", "-c", f"{line} >&- 2>&-"], env=farm.cron_environment(), check=False)
    assert (done.returncode, log(farm)) == (0, "")


# ---- Encodings ----


@pytest.mark.parametrize("encoding", ["ascii", "iso-8859-1", "utf-8"])
@pytest.mark.parametrize("arguments", REPORTS[:6], ids=" ".join)
def test_what_an_encoding_cannot_show_is_escaped(farm: Farm, arguments: list[str], encoding: str) -> None:
    farm.give_smart()
    done = subprocess.run(
        command(farm, "drive_manager.py", *arguments),
        env=farm.cron_environment({"PYTHONIOENCODING": encoding}), cwd=farm.home, capture_output=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr, log(farm)) == (0, b"", "")
    text = done.stdout.decode(encoding)
    if arguments[0] in ("-pr", "-ct", "-dr", "-ud"):
        assert ("nas\u00e901" if encoding != "ascii" else r"nas\xe901") in text
    if arguments == ["-ct"]:
        assert ("31\u00b0C" if encoding != "ascii" else r"31\xb0C") in text


# ---- Terminals ----


@pytest.mark.parametrize(("width", "encoding"), [(60, "ascii"), (80, "iso-8859-1"), (130, "utf-8"), (200, "utf-8")])
@pytest.mark.parametrize("arguments", REPORTS[:6], ids=" ".join)
def test_a_report_fits_its_terminal(farm: Farm, arguments: list[str], width: int, encoding: str) -> None:
    farm.give_smart()
    shown = at_terminal(farm, width, "drive_manager.py", *arguments, PYTHONIOENCODING=encoding)
    text = shown.decoded(encoding)
    assert shown.returncode == 0, text
    assert max(map(len, text.splitlines())) <= width, text
    if arguments[0] in ("-ct", "--explain"):
        assert all(drive.name in text for drive in farm.drives)


@pytest.mark.parametrize("script", ["drive_manager.py", "plot_manager.py", "move_local_plots.py", "coin_monitor.py"])
def test_the_help_and_complaints_fit_too(farm: Farm, script: str) -> None:
    for width in (60, 130):
        given = {**farm.cron_environment(), "LANG": "C.UTF-8"}
        shown = run_in_terminal([CHECKOUT / script, "-h"], given, width)
        assert shown.returncode == 0
        assert "exit status:" in shown.text
        assert max(map(len, shown.text.splitlines())) <= width
        wrong = run_in_terminal([CHECKOUT / script, "--config", f"/nowhere/{'very/' * 30}"], given, width)
        assert wrong.returncode == 2
        assert max(map(len, wrong.text.splitlines())) <= width


def test_wide_shows_all_columns_whatever_the_width(farm: Farm) -> None:
    farm.give_smart()
    narrow = at_terminal(farm, 50, "drive_manager.py", "-ct").text
    wide = at_terminal(farm, 50, "drive_manager.py", "-ct", "--wide").text
    assert "Model" not in narrow.splitlines()[3]
    assert "Model" in wide.splitlines()[3]
    assert farm.drive_manager("--wide").returncode == 2


@pytest.mark.parametrize(
    ("environment", "has_colour"), [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)]
)
def test_colours_at_a_terminal(farm: Farm, environment: Mapping[str, str], has_colour: bool) -> None:
    assert (b"\x1b[" in at_terminal(farm, 80, "drive_manager.py", "-pr", **environment).raw) == has_colour
    piped = farm.drive_manager("-pr", environment={"FORCE_COLOR": "1", **environment}).stdout
    assert ("\x1b[" in piped) == ("NO_COLOR" not in environment)


def test_the_status_can_be_watched_in_a_narrow_terminal(farm: Farm) -> None:
    with Watched(command(farm, "drive_manager.py", "--status", "--watch"), farm.cron_environment(), 60) as watched:
        watched.wait_for(b"no plot is on its way")
        watched.press(b"\x03")
        assert watched.returncode() == 0
    assert b"Traceback" not in watched.shown


# ---- What is said of a run ----


def test_normal_mode_says_at_a_terminal_what_it_did_and_is_silent_under_cron(farm: Farm) -> None:
    first = at_terminal(farm, 200, "drive_manager.py")
    assert first.text.startswith(f"The plot drive is {farm.drives[0]} now (it was none): ")
    assert at_terminal(farm, 200, "drive_manager.py").text.startswith(
        f"The plot drive is {farm.drives[0]}, and it stays"
    )
    under_cron = farm.drive_manager()
    assert (under_cron.returncode, under_cron.stdout, under_cron.stderr) == (0, "", "")


def test_a_second_run_says_so(farm: Farm) -> None:
    with Lock(farm.nas.locks / "drive_manager.lock"):
        assert "is running already" in at_terminal(farm, 80, "drive_manager.py").text
        assert farm.drive_manager().stdout == ""


def test_where_there_is_no_drive_the_mounted_file_systems_are_shown_and_what_they_do_not_fit(farm: Farm) -> None:
    farm.nas.change({"drives.directories": ""})
    text = " ".join(farm.drive_manager("--explain").stdout.split())
    assert "No plot drives found" in text
    assert f"The configuration that was read: {farm.nas.config}" in text
    assert "/proc (proc)" in text
    facts = json.loads(farm.drive_manager("--explain", "--json").stdout)["data"]
    mounted = {line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()}
    assert {one["mountpoint"] for one in facts["file_systems"]} >= {"/", "/proc"} & mounted
    disks = [one for one in facts["file_systems"] if one["unmet"] != "no_disk"]
    assert all(one["mountpoint"] in text for one in disks)
    assert all(one["patterns"] == [str(farm.root / "nas/mounts/*")] for one in disks if one["unmet"] == "mounts")


# ---- Dry runs ----


def test_a_dry_run_with_nothing_to_send_says_so_and_tries_the_way(tmp_path: Path) -> None:
    with Farm(tmp_path / "farm") as farm:
        farm.remember_small_plots()
        run = farm.plot_manager("--dry-run")
        assert (run.returncode, run.stderr) == (0, ""), farm.plotter.log_text()
        first, second = run.stdout.splitlines()
        assert first == "No finished plot: nothing would be sent."
        assert second.startswith("127.0.0.1 answers, and can take ")
        facts = json.loads(farm.plot_manager("--dry-run", "--json").stdout)
        assert facts["data"]["nas"][0]["reachable"] is True
        farm.sshd.stop()
        run = farm.plot_manager("--dry-run")
        assert run.returncode == 1
        assert "127.0.0.1 cannot be reached: " in run.stdout
        farm.sshd.start()


def test_a_dry_run_on_the_nas_with_nothing_to_move_says_so(farm: Farm) -> None:
    plots = farm.root / "local"
    plots.mkdir()
    farm.nas.change({"local_plots.plot_directories": plots})
    assert farm.move_local_plots("--dry-run").stdout == "No finished plot: nothing would be moved.\n"
    facts = json.loads(farm.move_local_plots("--dry-run", "--json").stdout)
    assert (facts["report"], facts["role"], facts["data"]["plots"]) == ("dry_run", "nas", [])
    assert farm.move_local_plots("--json").returncode == 2
