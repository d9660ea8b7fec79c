"""Every command's --json, from real processes on a farm, holds to docs/json.schema.json."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from testbed.farm import Farm
from testbed.plots import CHECKOUT, copy_as, make_v1, v1_name

VALIDATOR = Draft202012Validator(json.loads((CHECKOUT / "docs" / "json.schema.json").read_text(encoding="utf-8")))
NAS = (["-pr"], ["-ct"], ["-dr"], ["-ud"], ["--explain"], ["--status"])


@pytest.fixture(scope="module")
def farm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Farm]:
    """A farm to which one plot has travelled, and where another one waits."""
    root = tmp_path_factory.mktemp("json")
    whole = make_v1(root / v1_name("whole"))
    with Farm(root / "farm", nas_settings={"system_settings.server_name": "nas01"}) as made:
        made.give_smart()
        copy_as(whole, made.plots, "travels")
        done = made.plot_manager()
        assert done.returncode == 0, made.plotter.log_text()
        copy_as(whole, made.plots, "waits")
        yield made


def checked(run: subprocess.CompletedProcess[str], report: str, role: str) -> Any:
    document = json.loads(run.stdout)
    VALIDATOR.validate(document)
    assert run.stdout.isascii()
    assert (document["report"], document["role"]) == (report, role)
    return document


@pytest.mark.parametrize("arguments", NAS, ids=" ".join)
def test_the_reports_of_the_nas(farm: Farm, arguments: list[str]) -> None:
    names = {"-pr": "plot_report", "-ct": "check_temps", "-dr": "daily_report", "-ud": "update_daily"}
    name = names.get(arguments[0], arguments[0].removeprefix("--"))
    document = checked(farm.drive_manager(*arguments, "--json"), name, "nas")
    assert document["host"] == "nas01"
    if "drives" in document["data"] and arguments != ["--status"]:
        assert [one["name"] for one in document["data"]["drives"]] == ["drive1", "drive2", "drive3"]


def test_the_reports_of_the_plotter(farm: Farm) -> None:
    status = checked(farm.plot_manager("--status", "--json"), "status", "plotter")["data"]
    assert [one["outcome"] for one in status["last"]] == ["stored"]
    assert status["last"][0]["k"] == 18
    dry = checked(farm.plot_manager("--dry-run", "--json"), "dry_run", "plotter")["data"]
    assert [one["nas"] for one in dry["plots"]] == ["127.0.0.1"]


def test_the_reports_of_coins_and_the_tests_of_messages(farm: Farm) -> None:
    checked(farm.coin_monitor("--report", "--json"), "coin_report", "farmer")
    checked(farm.coin_monitor("--summary", "--json"), "coin_summary", "farmer")
    checked(farm.coin_monitor("--test_notifications", "--json"), "test_notifications", "farmer")
    checked(farm.drive_manager("--test_notifications", "--json"), "test_notifications", "nas")


def test_a_dry_run_of_moves(farm: Farm) -> None:
    farm.nas.change({"local_plots.plot_directories": farm.plots})
    dry = checked(farm.move_local_plots("--dry-run", "--json"), "dry_run", "nas")["data"]
    assert len(dry["plots"]) == 1
    assert dry["plots"][0]["nas"] is None


def test_listeners(farm: Farm) -> None:
    done = subprocess.run(
        [CHECKOUT / "kill_nc.sh", "--dry-run", "--json"],
        env=farm.cron_environment({"PATH": os.environ["PATH"]}), capture_output=True, text=True, check=True,
    )  # fmt: skip
    checked(done, "kill_nc", "nas")


def test_240_drives(tmp_path: Path) -> None:
    farm = Farm(tmp_path / "farm", drives=240)
    farm.remember_small_plots()
    for arguments in NAS:
        document = json.loads(farm.drive_manager(*arguments, "--json").stdout)
        VALIDATOR.validate(document)
        if arguments[0] in ("-pr", "-ct", "-dr", "--explain"):
            assert len(document["data"]["drives"]) == 240
