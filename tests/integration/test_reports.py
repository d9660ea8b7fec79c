"""The reports of drive_manager.py as a person or cron starts them, from an empty farm to one that has everything."""

from __future__ import annotations

import json
import time
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from plotfarm.base.state import State, Transfer, TransferOutcome
from plotfarm.drives.model import MARKER
from testbed.farm import Farm
from testbed.mail_server import MailServer

REPORTS = (("-pr",), ("-ct",), ("-dr",), ("-ud",))
ROWS = (
    "Total Number of Plots on nas01:",
    "Total Number of Plots Chia is Farming:",
    "Total Amount of Drive Space (TiB) Chia is Farming:",
    "Total Number of Systemwide Plots Drives:",
    "Total Number of k32 Plots until full:",
    "Maximum # of plots when full:",
    "Plots completed in the last 24 Hours:",
    "Average Plots per Hours:",
    "Average Plotting Speed Last 24 Hours (TiB/Day):",
    "Appx Number of Days to fill all current plot drives:",
    "Current Plot Storage Drive:",
    "Temperature of Current Plot Drive:",
    "Latest Smart Drive Assessment of Plot Drive:",
)
HARVESTER = (
    "{:%Y-%m-%dT%H:%M:%S}.123 2.7.0 harvester chia.harvester.harvester: INFO     challenge_hash: 0123456789 ..."
    "{} plots were eligible for farming challenge. Found 0 proofs. Time: 0.1 s. Total {} plots\n"
)


@pytest.fixture
def farm(tmp_path: Path) -> Farm:
    """A NAS with three declared drives that has never seen a plot, without SMART data or Chia."""
    return Farm(tmp_path / "farm", nas_settings={"system_settings.server_name": "nas01"})


def arrived(farm: Farm, hours_ago: float, plots: int = 1) -> None:
    """Note that plots of 1 MiB arrived."""
    state = State(farm.nas.state)
    for number in range(plots):
        state.record_transfer(
            Transfer(time.time() - hours_ago * 3600, f"plot-k32-{number}.plot", "v1", "/plots", str(farm.drives[0]),
                     "rig", 2**20, 1.0, "", "", TransferOutcome.STORED, k=32)
        )  # fmt: skip
    state.close()


def put_plots(drive: Path, count: int) -> None:
    for number in range(count):
        (drive / f"plot-k32-2026-11-23-18-47-{number:064x}.plot").write_bytes(b"no header")


def report(farm: Farm, *arguments: str) -> str:
    done = farm.drive_manager(*arguments)
    assert (done.returncode, done.stderr) == (0, ""), done
    return done.stdout


def values(farm: Farm) -> list[str]:
    """Return the values of the plot report, in the order of ROWS."""
    lines = report(farm, "-pr").splitlines()
    found = [next(line for line in lines if row in line).partition(row)[2] for row in ROWS]
    return [value.strip(" #") for value in found]


@pytest.mark.parametrize("arguments", REPORTS, ids=" ".join)
def test_every_report_works_where_there_are_no_drives_at_all(farm, arguments):
    farm.nas.change({"drives.directories": ""})
    assert "nas01" in report(farm, *arguments)


@pytest.mark.parametrize("arguments", [("-pr",), ("-ct",), ("-dr",), ("-ud",)], ids=" ".join)
@pytest.mark.parametrize("drives", [0, 1, 3])
def test_every_report_is_json_too_whatever_there_is(farm, arguments, drives):
    farm.nas.change({"drives.directories": ", ".join(map(str, farm.drives[:drives]))})
    done = farm.drive_manager(*arguments, "--json")
    assert done.returncode == 0, done
    assert json.loads(done.stdout)["host"] == "nas01"


def test_the_rows_of_the_plot_report_stand_in_their_order(farm):
    text = report(farm, "-pr")
    places = [text.index(row) for row in ROWS]
    assert places == sorted(places)
    assert "\033" not in text


def test_a_farm_without_plots_speed_smart_or_chia_says_so_instead_of_dividing_by_zero(farm):
    farm.drive_manager()
    said = dict(zip(ROWS, values(farm), strict=True))
    assert said["Total Number of Plots on nas01:"] == "0"
    assert said["Total Number of Plots Chia is Farming:"].startswith("unknown")
    assert said["Plots completed in the last 24 Hours:"].startswith("n/a")  # nobody has counted yet
    assert said["Appx Number of Days to fill all current plot drives:"].startswith("n/a")
    assert said["Temperature of Current Plot Drive:"].startswith(("n/a", "unknown"))
    assert said["Latest Smart Drive Assessment of Plot Drive:"].startswith(("n/a", "unknown"))


def test_a_day_without_plots_is_a_zero_and_never_full(farm):
    arrived(farm, hours_ago=30)
    said = dict(zip(ROWS, values(farm), strict=True))
    assert said["Plots completed in the last 24 Hours:"] == "0"
    assert said["Average Plots per Hours:"].split()[0] in ("0", "0.0")
    assert said["Appx Number of Days to fill all current plot drives:"].startswith("n/a")


def test_the_html_of_the_daily_mail_can_be_printed(farm):
    printed = farm.drive_manager("-dr", "--html").stdout
    assert printed.lstrip().lower().startswith("<!doctype html")
    assert "nas01" in printed


def test_the_plot_report_counts_the_files_and_the_arrivals_of_24_hours(farm):
    farm.give_smart()
    put_plots(farm.drives[0], 5)
    put_plots(farm.drives[1], 2)
    arrived(farm, hours_ago=30, plots=7)
    arrived(farm, hours_ago=5, plots=3)
    farm.drive_manager()
    said = dict(zip(ROWS, values(farm), strict=True))
    assert said["Total Number of Plots on nas01:"].split()[0] == "7"
    assert said["Plots completed in the last 24 Hours:"] == "3"
    assert said["Average Plots per Hours:"] == "0.1"
    assert said["Total Number of Systemwide Plots Drives:"] == "3"
    assert "drive1" in said["Current Plot Storage Drive:"]
    assert said["Temperature of Current Plot Drive:"] == "31\N{DEGREE SIGN}C"
    assert said["Latest Smart Drive Assessment of Plot Drive:"] == "PASS"


def test_what_chia_farms_is_read_from_its_log_and_a_difference_is_told(farm):
    put_plots(farm.drives[0], 3)
    log = farm.home / ".chia/mainnet/log/debug.log"
    log.parent.mkdir(parents=True)
    now = datetime.now()
    log.write_text("".join(HARVESTER.format(now - timedelta(seconds=second), 1, 40) for second in range(9, -1, -1)))
    assert dict(zip(ROWS, values(farm), strict=True))["Total Number of Plots Chia is Farming:"].split()[0] == "40"
    farm.drive_manager()
    assert "40" in report(farm, "-dr")
    assert "Chia farms" in (farm.nas.logs / "drive_manager.log").read_text()


def test_what_a_silent_harvester_said_last_is_compared_with_nothing(farm):
    put_plots(farm.drives[0], 3)
    log = farm.home / ".chia/mainnet/log/debug.log"
    log.parent.mkdir(parents=True)
    log.write_text(HARVESTER.format(datetime.now() - timedelta(days=1), 1, 40))
    farm.drive_manager()
    told = (farm.nas.logs / "drive_manager.log").read_text()
    assert "has not looked for proofs since" in told
    assert "Chia farms 40" not in told


def test_a_harvester_that_ended_is_not_farming_until_it_writes_again(farm):
    log = farm.home / ".chia/mainnet/log/debug.log"
    log.parent.mkdir(parents=True)
    ended = datetime.now() - timedelta(days=4, hours=12)
    log.write_text(HARVESTER.format(ended, 1, 4777))
    farm.drive_manager()
    for rows in (values(farm), report(farm, "-dr").splitlines()):
        assert any(f"not farming since {ended:%Y-%m-%d %H:%M}" in row for row in rows)
    document = json.loads(report(farm, "-pr", "--json"))["data"]
    assert (document["chia_plots"], document["chia_bytes"], document["chia_source"]) == (None, None, "log")
    assert document["chia_said"] is not None
    log.unlink()  # rotated away: it is remembered all the same
    log.write_text("")
    farm.drive_manager()
    told = (farm.nas.logs / "drive_manager.log").read_text()
    assert told.count("has not looked for proofs since") == 1
    assert "This host farms again" not in told
    log.write_text(HARVESTER.format(datetime.now(), 1, 4778))
    farm.drive_manager()
    assert "This host farms again" in (farm.nas.logs / "drive_manager.log").read_text()
    assert any("4778 (log, " in row for row in values(farm))


def test_the_temperatures_of_all_drives_stand_in_natural_order_with_their_serial_numbers(farm):
    smartctl = farm.give_smart()
    lines = [line for line in report(farm, "-ct").splitlines() if "ZHZ" in line]
    assert [line.split()[1] for line in lines] == ["ZHZ00001", "ZHZ00002", "ZHZ00003"]
    facts = json.loads(report(farm, "-ct", "--json"))["data"]
    assert [drive["celsius"] for drive in facts["drives"]] == [31, 32, 33]
    assert len(smartctl.calls()) == 6


def test_a_drive_whose_smart_data_cannot_be_read_costs_only_its_own_row(farm):
    smartctl = farm.give_smart()
    smartctl.hangs("/dev/fake2", stubbornly=True)
    farm.nas.change({"smart.smartctl": smartctl.program, "smart.timeout_seconds": 0.5})
    text = report(farm, "-ct")
    assert "ZHZ00001" in text
    assert "ZHZ00003" in text
    assert "no SMART" in text


def test_the_daily_numbers_count_arrivals_once_however_often_they_are_taken(farm):
    arrived(farm, hours_ago=2, plots=4)
    put_plots(farm.drives[0], 4)
    first = json.loads(report(farm, "-ud", "--json"))["data"]
    again = json.loads(report(farm, "-ud", "--json"))["data"]
    assert (first["plots"], first["plots_last_24_hours"]) == (4, 4)
    assert (again["plots"], again["plots_last_24_hours"], again["plots_since_last_reading"]) == (4, 4, 0)
    for plot in list(farm.drives[0].glob("*.plot")):  # old plots make room for new ones
        plot.unlink()
    assert json.loads(report(farm, "-ud", "--json"))["data"]["plots_last_24_hours"] == 4
    assert "current_total_plots_midnight = 0" in farm.nas.config.read_text()
    assert "current_total_plots_daily = 4" in farm.nas.config.read_text()


def test_the_daily_report_says_that_it_is_switched_off(farm):
    assert "It was not sent" in report(farm, "-dr")


def test_mails_of_a_new_drive_of_arrivals_and_of_the_day(farm):
    with MailServer() as server:
        farm.give_smart()
        farm.nas.change({
            **server.settings, "notifications.new_plot_drive": True, "notifications.daily_update": True,
            "notifications.per_plot": True, "watch.system_disk_free": "1 MiB",
            "smart.smartctl": farm.root / "smart" / "smartctl",
        })  # fmt: skip
        farm.remember_small_plots()

        def mail(number: int) -> tuple[str, str, str]:
            deadline = time.monotonic() + 30
            while len(server.received) < number and time.monotonic() < deadline:
                time.sleep(0.02)
            newest = server.received[number - 1]
            return newest.mail["Subject"], newest.part("plain"), newest.part("html")

        farm.drive_manager()
        subject, text, html = mail(1)
        assert "drive1" in subject
        for part in (text, html):
            assert "ZHZ00001" in part
            assert str(farm.drives[0]) in part
        arrived(farm, hours_ago=0, plots=2)
        for _ in range(2):
            farm.drive_manager()
        assert "2 plots" in mail(2)[0]
        (farm.drives[0] / MARKER).unlink()
        farm.nas.change({"drives.directories": f"{farm.drives[1]}, {farm.drives[2]}"})
        printed = report(farm, "-dr")
        assert mail(3)[1].strip() in printed
        assert len(server.received) == 3
