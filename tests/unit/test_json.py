"""The JSON of every report holds to docs/json.schema.json, which docs/json.md tells field by field."""

from __future__ import annotations

import importlib.util
import json
import sys
from types import ModuleType

import pytest
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError
from reports_samples import NOW, empty_farm, farm, ten_drives
from test_reports_fit import MOUNTED, NO_DRIVES, choice_of, coins_of, farm_of, status_of

from plotfarm.base.config.sections import Smart
from plotfarm.plots.names import escaped
from plotfarm.reports import coins, dry_run, explain, plot_report, status, temperatures
from plotfarm.reports.dry_run import NasAnswer, Planned, StayingPlot
from plotfarm.reports.envelope import Report, Role, Sender, enveloped
from plotfarm.reports.status import Status
from testbed.plots import CHECKOUT


def load_fields() -> ModuleType:
    specification = importlib.util.spec_from_file_location("json_fields", CHECKOUT / "docs" / "json_fields.py")
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    before = list(sys.path)
    sys.modules["json_fields"] = module
    specification.loader.exec_module(module)
    sys.path[:] = before
    return module


FIELDS = load_fields()
SCHEMA = json.loads((CHECKOUT / "docs" / "json.schema.json").read_text(encoding="utf-8"))
VALIDATOR = Draft202012Validator(SCHEMA)
NAS = Sender("nas01", Role.NAS)


def document(report, data, sender=NAS):
    made = json.loads(enveloped(report, sender, data, NOW))
    VALIDATOR.validate(made)
    return made


def test_the_files_are_those_that_the_fields_make():
    assert (CHECKOUT / "docs" / "json.schema.json").read_text(encoding="utf-8") == FIELDS.schema_text()
    text = (CHECKOUT / "docs" / "json.md").read_text(encoding="utf-8")
    assert FIELDS.written(text) == text, "run docs/json_fields.py"


def test_the_schema_is_one_and_knows_every_report():
    Draft202012Validator.check_schema(SCHEMA)
    assert set(SCHEMA["$defs"]) == {report.value for report in Report}
    assert all(report in FIELDS.COMMANDS for report in Report)


@pytest.mark.parametrize("facts", [empty_farm(), farm(), ten_drives(), farm_of(1), farm_of(45), farm_of(240)])
def test_the_reports_of_drives(facts):
    document(Report.PLOT_REPORT, plot_report.data(facts))
    document(Report.DAILY_REPORT, {**plot_report.data(facts), "recipients": 2})
    document(Report.TEMPERATURES, temperatures.data(facts, Smart()))
    if facts.drives:
        document(Report.EXPLAIN, explain.data(choice_of(facts), MOUNTED, facts.last_runs, ["too few ports"]))
        document(Report.STATUS, status.data(status_of(facts)))


def test_what_knows_of_no_drive():
    made = document(Report.EXPLAIN, explain.data(NO_DRIVES, MOUNTED))
    assert made["data"]["file_systems"][1]["patterns"] == ["/dev/sd*"]
    document(Report.STATUS, status.data(Status("p", NOW, 1.0, [], [])), Sender("p", Role.PLOTTER))


def test_the_reports_of_coins():
    for count in (0, 1, 240):
        farmer = Sender("b\u00e4uerin", Role.FARMER)
        assert document(Report.COINS, coins.data(coins_of(count)), farmer)["host"] == "b\u00e4uerin"
        document(Report.COIN_SUMMARY, coins.summary_data(coins_of(count), 0), farmer)


def test_dry_runs():
    plots = [Planned("a.plot", 7, "nas1", "/mnt/a.plot", False), Planned("b.plot", 7, "", "/mnt/b.plot", True)]
    answers = [NasAnswer("nas1", 58, 7), NasAnswer("nas2", problem="it is down"), NasAnswer("nas3", 0, 7, "full")]
    made = document(Report.DRY_RUN, dry_run.data(plots, [StayingPlot("c", "too young")], ["d: broke"], answers))
    assert [one["reachable"] for one in made["data"]["nas"]] == [True, False, True]
    document(Report.DRY_RUN, dry_run.data([], [], [], is_busy=True))


def test_a_name_that_is_no_text_stays_json_in_ascii():
    name = "dri\udcffve"
    facts = farm_of(1)
    said = enveloped(Report.TEMPERATURES, Sender(name, Role.NAS), temperatures.data(facts, Smart()), NOW)
    assert said.isascii()
    assert json.loads(said)["host"] == name
    assert escaped(name) != name


@pytest.mark.parametrize(
    "change",
    [
        {"schema": 2}, {"report": "plots"}, {"host": None}, {"role": "miner"}, {"time": "yesterday"}, {"data": {}},
        {"more": 1},
    ],
)  # fmt: skip
def test_the_schema_refuses_what_is_something_else(change):
    made = document(Report.PLOT_REPORT, plot_report.data(farm()))
    with pytest.raises(ValidationError):
        VALIDATOR.validate({**made, **change})


@pytest.mark.parametrize(("field", "value"), [("plots", "371"), ("drives", 44), ("room_plots", -1), ("plots_why", 1)])
def test_the_schema_refuses_a_field_of_another_kind_and_one_that_is_missing(field, value):
    made = document(Report.PLOT_REPORT, plot_report.data(farm()))
    with pytest.raises(ValidationError):
        VALIDATOR.validate({**made, "data": {**made["data"], field: value}})
    del made["data"][field]
    with pytest.raises(ValidationError):
        VALIDATOR.validate(made)
