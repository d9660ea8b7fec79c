"""The messages: their rows and short texts, the same in plain text and HTML, whatever the facts are."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reports_samples import (
    FAILING,
    HOT,
    K32,
    MISSING,
    NOW,
    condition,
    drive_facts,
    empty_farm,
    farm,
    health,
    missing,
    one_drive,
)

from plotfarm.base import memory_trouble
from plotfarm.base.condition import AlertKind, Condition, Look, Severity
from plotfarm.base.config.sections import Chia, Coins, Config, Drives, Email, LocalPlots, Paths, Smart, Watch
from plotfarm.base.lock_waits import Holder, LockTimeout
from plotfarm.base.memory_trouble import Trouble as MemoryTrouble
from plotfarm.base.run_watch import MissedScript
from plotfarm.base.runs import Moment, Run, RunOutcome
from plotfarm.base.secret import Secret
from plotfarm.base.state import Room, State, Transfer, TransferOutcome
from plotfarm.base.units import format_bytes
from plotfarm.chia.coin_book import CoinBook
from plotfarm.chia.ledger import Entry, Status
from plotfarm.chia.log_reader import Broken, Place, Read, read_new
from plotfarm.drives.choose import Choice
from plotfarm.drives.conditions import (
    health_conditions,
    offline_conditions,
    quarantine_conditions,
    speed_conditions,
)
from plotfarm.drives.model import Reading, Verdict
from plotfarm.drives.presence import presence_conditions
from plotfarm.drives.quarantine import Quarantined, QuarantineReason
from plotfarm.drives.reasons import Reason, Why
from plotfarm.drives.speed import Speed
from plotfarm.jobs.after_run import memory_conditions, tell
from plotfarm.jobs.coin_sources import ask_wallet, watch_log
from plotfarm.jobs.deliver import refused_recipients
from plotfarm.jobs.drive_checks import part_left
from plotfarm.jobs.look_after import look_after
from plotfarm.jobs.move_plots import directories_on_drives
from plotfarm.jobs.plot_formats import not_farmed
from plotfarm.jobs.refusals import broken_configuration, unusable_packages
from plotfarm.jobs.run_records import lock_conditions, silence_condition
from plotfarm.jobs.sending_trouble import Trouble, mismatch_conditions, tell_of_trouble
from plotfarm.jobs.stock import Stock
from plotfarm.jobs.telling import Teller
from plotfarm.notify.alerts import AlertBook
from plotfarm.notify.channels.channel import Outcome, Result
from plotfarm.notify.delivery import Delivered
from plotfarm.notify.outbox import Row
from plotfarm.plots.formats import PlotFormat
from plotfarm.plots.parts import FoundPart
from plotfarm.reports import mails, words
from plotfarm.reports.facts import DriveFacts, ReceivedPlot, Unknown
from testbed import chia_logs
from testbed.wallet_server import WalletServer

GMAIL_BYTES = 102_000  # what Gmail shows of a mail
OUTER = ("html", "head", "meta", "title", "style", "body")
NEW_DRIVE_ROWS = [
    "Previous Plotting Drive",
    "# of Plots on Previous Plotting Drive",
    "New Plotting Drive (by mountpoint)",
    "New Plotting Drive (by device)",
    "Drive Size",
    "# of Plots we can put on this Drive",
    "Drive Serial Number",
    "Current Drive Temperature",
    "Last Smart Test Health Assessment",
    "Total Plots on chianas01",
    "Current Total Number of Plot Drives",
    "Number of k32 Plots until full",
    "Max # of Plots with current # of Drives",
    "Approx. # of Days to fill all Plot Drives",
]
DAILY_ROWS = [
    "Current Plotting Drive (by mountpoint)",
    "Current Plotting Drive (by device)",
    "Drive Size",
    "Drive Serial Number",
    "Current Drive Temperature",
    "Last Smart Test Health Assessment",
    "Total Plots on chianas01",
    "Current Total Number of Plot Drives",
    "Number of k32 Plots until full",
    "Max # of Plots with current # of Drives",
    "Plots Being Farmed as reported by Chia",
    "Total Plot Space in use as reported by Chia",
    "Total Plots Last 24 Hours",
    "Average Plots Per Hour",
    "Average Plotting Speed Last 24 Hours",
    "Approx. # of Days to fill all Plot Drives",
]


class Reader(HTMLParser):
    """Reads the text of a page, and checks that every element is closed in its turn."""

    def __init__(self, page):
        super().__init__()
        self.texts, self.open, self.tags = [], [], []
        self.feed(page)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not {"style", "title"} & set(self.open):
            self.texts.append(data)


def said(text):
    """The words of a text, without what only draws: leaders, bars, marks."""
    text = re.sub(r"\.{3,}|\[#*-*\]", " ", text).replace("\u00a0", " ")
    return {word.strip(",:") for word in text.split()} - {"", "-", "!", "!!"}


def rows_of(text):
    found = (re.fullmatch(r"(\S.*?)\.{3,}(.*)", line) for line in text.splitlines())
    return dict(match.groups() for match in found if match)


def received(number, **changes):
    plot = f"plot-k32-2026-11-24-01-{number % 60:02}-{'ab' * 32}.plot"
    mark = ReceivedPlot(NOW - 60 + number, plot, f"/mnt/enclosure0/front/column3/drive22/{plot}", K32, "chiaplot01")
    return replace(mark, **changes)


def changed(facts, previous=None, was="/mnt/enclosure0/front/column3/drive21"):
    return mails.plot_drive_changed(facts, previous, was)


def without_smart():
    only = drive_facts(0, 3, health=health(0, problem="smartctl is not installed", celsius=None, assessment=""))
    return one_drive(drives=(only,), current=only)


def without_chia():
    unknown = Unknown("/root/.chia/mainnet/log/debug.log says nothing of plots: chia configure --set-log-level INFO")
    return farm(chia_plots=unknown, chia_bytes=unknown)


def five_hundred_ill_drives():
    drives = [drive_facts(number % 44, 50, health=health(number % 44, assessment="FAIL")) for number in range(500)]
    offlined = [replace(one, verdict=replace(one.verdict, why=Why(Reason.OFFLINED))) for one in drives]
    return farm(drives=tuple(offlined), standing=tuple(replace(FAILING, about=str(number)) for number in range(500)))


FARMS = {
    "farm": farm(),
    "empty": empty_farm(),
    "one drive": one_drive(),
    "no smart": without_smart(),
    "0 plots a day": farm(made_plots=0, made_bytes=0),
    "no chia log": without_chia(),
    "first hour": farm(made_plots=1, made_bytes=K32, made_since=NOW - 60),
    "500 drives": farm(
        drives=tuple(replace(one, health=None) for one in farm().drives) + tuple(map(missing, [40] * 456))
    ),
}
MESSAGES = {
    **{f"daily, {name}": lambda facts=facts: mails.daily_update(facts) for name, facts in FARMS.items()},
    **{f"new drive, {name}": lambda facts=facts: changed(facts) for name, facts in FARMS.items()},
    "daily, 500 ill drives": lambda: mails.daily_update(five_hundred_ill_drives()),
    "first drive": lambda: changed(farm(), was=""),
    "one plot": lambda: mails.plots_received("nas", [received(1)]),
    "three plots": lambda: mails.plots_received("nas", [received(number) for number in range(3)]),
    "a plot and a testing plot": lambda: mails.plots_received("nas", [received(1), received(2, is_testing=True)]),
    "three testing plots": lambda: mails.plots_received("nas", [received(n, is_testing=True) for n in range(3)]),
    "two hundred plots": lambda: mails.plots_received("nas", [received(number) for number in range(200)]),
    "alert": lambda: mails.alert("nas", [MISSING], [], NOW),
    "alerts": lambda: mails.alert("nas", [MISSING, HOT, FAILING], [condition("no_smart", 3), HOT], NOW),
    "five hundred alerts": lambda: mails.alert("nas", [condition("missing", n % 44) for n in range(500)], [], NOW),
    "all clear": lambda: mails.alert("nas", [], [HOT], NOW),
    "test": lambda: mails.test("nas"),
}


@pytest.mark.parametrize("name", MESSAGES)
def test_text_and_html_say_the_same(name):
    message = MESSAGES[name]()
    page = Reader(message.html)
    assert said(" ".join(page.texts)) == said(message.text)
    assert len(message.html.encode()) < GMAIL_BYTES
    assert "\n" not in message.subject + message.short
    assert not re.search(r"\{[{%#]|\bNone\b|undefined|Shown\(", message.text + message.html + message.short)


@pytest.mark.parametrize("name", MESSAGES)
def test_html_is_one_column_of_tables_that_load_nothing(name):
    page = Reader(MESSAGES[name]().html)
    assert {tag for tag, _ in page.tags} <= {*OUTER, "table", "tr", "td", "div", "p", "b"}
    assert not [value for _, attributes in page.tags for key, value in attributes.items() if key in ("src", "href")]
    assert "max-width:640px" in MESSAGES[name]().html


@pytest.mark.parametrize("name", FARMS)
def test_the_rows_are_always_there_in_their_order(name):
    facts = FARMS[name]
    assert list(rows_of(changed(facts).text)) == NEW_DRIVE_ROWS
    rows = [row for row in rows_of(mails.daily_update(facts).text) if not row.startswith(("of these", "Space in use"))]
    assert rows == DAILY_ROWS


def test_the_new_drive_mail_has_the_values_of_both_drives():
    facts = farm()
    message = changed(facts, facts.drives[21])
    rows = rows_of(message.text)
    assert (message.kind, message.severity) == ("new_plot_drive", Severity.INFO)
    assert message.subject == "chianas01: new plot drive drive22"
    assert message.short == (
        "Plot Drive Updated: Was: /mnt/enclosure0/front/column3/drive21,  Now: /mnt/enclosure0/front/column3/drive22"
    )
    assert rows["Previous Plotting Drive"] == "/mnt/enclosure0/front/column3/drive21"
    assert rows["# of Plots on Previous Plotting Drive"] == "110"
    assert rows["New Plotting Drive (by device)"] == "/dev/sdx1"
    assert rows["Drive Size"] == "10.9 TiB"
    assert rows["# of Plots we can put on this Drive"] == "69"
    assert rows["Current Drive Temperature"] == "24°C"
    assert re.search(r"^Environment & Health$", message.text, re.MULTILINE)
    assert re.search(r"^Other Information$", message.text, re.MULTILINE)


def test_a_previous_drive_that_is_gone_or_never_was_has_no_plots_to_show():
    gone = changed(farm(), missing(20), "/mnt/enclosure0/front/column3/drive20")
    assert rows_of(gone.text)["# of Plots on Previous Plotting Drive"] == "unknown"
    assert rows_of(changed(farm(), None).text)["# of Plots on Previous Plotting Drive"] == "unknown"
    first = changed(farm(), None, "")
    assert rows_of(first.text)["Previous Plotting Drive"] == "none"
    assert rows_of(first.text)["# of Plots on Previous Plotting Drive"] == "n/a"
    assert first.short == "Plot Drive Updated: Was: none,  Now: /mnt/enclosure0/front/column3/drive22"


def test_the_daily_mail_has_the_values_of_the_farm():
    message = mails.daily_update(farm())
    rows = rows_of(message.text)
    assert (message.kind, message.severity) == ("daily_update", Severity.INFO)
    assert message.subject == "chianas01: 2351 plots, 79 in the last 24 hours"
    assert rows["Total Plots on chianas01"] == "2351"
    assert rows["of these k32 .plot (bladebit)"] == "20"
    assert rows["Total Plot Space in use as reported by Chia"] == "233 TiB"
    assert rows["Average Plotting Speed Last 24 Hours"] == "7.82 TiB/Day"
    assert rows["Approx. # of Days to fill all Plot Drives"] == "29"
    assert "3 to look at: drive20 disappeared" in message.short
    assert "!! drive14 (/dev/sdp1, serial ZHZ10866) is failing: SMART says FAILED, 1208" in message.text


def test_what_is_unknown_has_no_unit_and_its_reason_once():
    text = mails.daily_update(without_chia()).text
    assert rows_of(text)["Total Plot Space in use as reported by Chia"] == "unknown"
    assert text.count("says nothing of plots") == 1


def test_each_drive_has_a_bar_as_long_as_it_is_full():
    message = mails.daily_update(farm())
    lines = {line.split()[0]: line for line in message.text.splitlines() if re.match(r"drive\d+ ", line)}
    assert len(lines) == 44
    assert lines["drive0"].split(maxsplit=1)[1] == "[##########]  99%  110 plots  24°C"
    assert lines["drive22"].split(maxsplit=1)[1] == "[####------]  37%   41 plots  24°C  the plot drive"
    assert lines["drive23"].split(maxsplit=1)[1] == "[----------]   0%    0 plots  31°C"
    assert lines["drive20"].split() == ["drive20", "-", "-", "not", "mounted"]
    assert lines["drive31"].endswith("offlined")
    widths = [
        attributes["width"]
        for tag, attributes in Reader(message.html).tags
        if attributes.get("bgcolor", "").startswith("#") and "width" in attributes
    ]
    assert widths.count("99%") == 21
    assert widths.count("37%") == 1


def test_of_very_many_drives_those_are_listed_that_matter():
    drives = [drive_facts(number % 44, 50) for number in range(500)]
    drives[444] = missing(20)
    message = mails.daily_update(farm(drives=tuple(drives), current=None, standing=()))
    listed = re.findall(r"^drive\d+ .*", message.text, re.MULTILINE)
    assert len(listed) == 100
    assert listed[-1].endswith("not mounted")
    assert "And 400 more drives: as they should be." in message.text


def test_directories_on_one_file_system_count_their_space_once():
    first, second = drive_facts(0, 10), drive_facts(0, 10)
    message = mails.daily_update(farm(drives=(first, second), current=first, standing=()))
    assert "of 10.9 TiB" in message.text


def test_hostile_names_are_escaped_in_html_and_harmless_in_text():
    evil = '<img src=x onerror="alert(1)">\n{{ 7*7 }}\033[2J\udcff'
    place = replace(drive_facts(0, 3).drive, mountpoint=f"/mnt/{evil}", device=evil)
    verdict = replace(drive_facts(0, 3).verdict, drive=place, why=Why(Reason.IO_ERROR, evil))
    drive = DriveFacts(verdict, health(0, serial=evil, model=evil, problem=evil), {("v1", 32): 3})
    facts = farm(
        server=evil, plot_label=evil, drives=(drive,), current=drive, chia_plots=Unknown(evil),
        standing=(Condition(evil, evil, Severity.CRITICAL, {"why": evil, "drive": evil}),),
    )  # fmt: skip
    messages = [
        mails.daily_update(facts), changed(facts, drive, f"/mnt/{evil}"), mails.test(evil),
        mails.plots_received(evil, [received(1, plot=evil, path=f"/mnt/{evil}/x", plotter=evil)] * 2),
        mails.alert(evil, facts.standing, [condition("hot", 1, drive=evil)], NOW),
    ]  # fmt: skip
    for message in messages:
        assert "img" not in [tag for tag, _ in Reader(message.html).tags]
        assert "&lt;img src=x onerror=" in message.html
        for form in (message.subject, message.short, message.text, message.html):
            assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f\ud800-\udfff]", form)
            one_line = " ".join(form.split())
            assert one_line.count("{{ 7*7 }}") == one_line.count("7*7")
        assert "\n" not in message.subject + message.short
        assert said(" ".join(Reader(message.html).texts)) == said(message.text)


def test_one_received_plot_has_its_facts():
    message = mails.plots_received("chianas01", [received(1)])
    rows = rows_of(message.text)
    assert (message.kind, message.severity) == ("per_plot", Severity.INFO)
    assert message.short.startswith("chianas01: plot received: plot-k32-")
    assert message.short.endswith("in /mnt/enclosure0/front/column3/drive22")
    assert rows["Size"] == "101.4 GiB"
    assert rows["From"] == "chiaplot01"


def test_testing_plots_that_arrive_are_told_and_not_counted():
    mixed = [received(1), received(2, is_testing=True, bytes=5), received(3)]
    message = mails.plots_received("chianas01", mixed)
    assert message.subject == "chianas01: 2 plots and 1 testing plot received"
    assert f"received, {format_bytes(2 * K32)}" in message.short
    assert message.text.count("(a testing plot: not counted)") == 1
    only = mails.plots_received("chianas01", [received(1, is_testing=True)])
    assert only.subject.endswith("(a testing plot: not counted)")


def test_many_received_plots_are_one_message():
    message = mails.plots_received("chianas01", [received(number) for number in range(200)])
    assert message.subject == "chianas01: 200 plots received"
    assert message.short == "chianas01: 200 plots received, 19.8 TiB"
    assert "And 160 more, 19.8 TiB in all." in message.text


def test_sixteen_drives_that_disappear_are_one_message():
    raised = [condition("missing", number, plots=100 + number) for number in range(16)]
    message = mails.alert("chianas01", raised, [], NOW)
    assert (message.kind, message.severity) == ("alert", Severity.CRITICAL)
    assert message.subject == "chianas01: 16 plot drives disappeared"
    assert message.short.startswith("chianas01: 16 plot drives disappeared: drive0, drive1, drive2,")
    assert "1720 plots were on them" in message.text
    assert message.text.count("disappeared (serial") == 16


def test_the_severity_is_the_highest_and_a_clear_is_information():
    assert mails.alert("nas", [HOT, FAILING], []).severity is Severity.CRITICAL
    assert mails.alert("nas", [HOT], [FAILING]).severity is Severity.WARNING
    assert mails.alert("nas", [], [FAILING]).severity is Severity.INFO


def test_what_is_over_is_said_to_be_over():
    message = mails.alert("nas", [], [HOT, replace(HOT, about="uuid:2")])
    assert message.subject == "nas: 2 plot drives have cooled down"
    assert "drive9 has cooled down" in message.text
    assert "is hot" not in message.text


def test_a_short_text_has_no_character_that_makes_an_sms_cost_twice():
    assert mails.alert("nas", [HOT], []).short == "nas: drive9 is hot: 54 C"


def test_the_text_of_no_message_has_very_long_or_ragged_lines():
    for make in MESSAGES.values():
        text = make().text
        assert text == text.strip("\n") + "\n"
        assert "\n\n\n" not in text
        assert all(line == line.rstrip() for line in text.splitlines())


@settings(deadline=None, max_examples=30)
@given(
    total=st.integers(0, 10**20),
    free=st.integers(-(10**20), 10**20),
    celsius=st.none() | st.integers(-300, 10**6),
    made=st.integers(0, 10**9),
    since=st.none() | st.floats(-1e9, 1e10),
)
def test_absurd_numbers_break_nothing(total, free, celsius, made, since):
    verdict = Verdict(drive_facts(0, 0).drive, Why(Reason.HAS_ROOM), free, free, 3, total)
    drive = DriveFacts(verdict, health(0, celsius=celsius, last_read=since), {("v1", 32): made})
    facts = one_drive(drives=(drive,), current=drive, made_plots=made, made_bytes=made * K32, made_since=since)
    message = mails.daily_update(facts)
    assert said(" ".join(Reader(message.html).texts)) == said(message.text)
    assert re.search(r"drive0 .*", message.text)


def test_a_drive_that_says_it_uses_more_than_it_has_is_full():
    verdict = replace(drive_facts(0, 3).verdict, total_bytes=1, free_bytes=-(10**20))
    message = mails.daily_update(one_drive(drives=(DriveFacts(verdict, health(0), {("v1", 32): 3}),)))
    assert re.search(r"^drive0  \[#{10}\]  100%", message.text, re.MULTILINE)
    assert re.search(r"^Space in use\.+\[#{20}\] 100%, 1 B of 1 B$", message.text, re.MULTILINE)


# ---- Every condition that the jobs tell of has its words ----


def ill_drives():
    """The conditions of drives: hot, failing, with new errors, silent, slow, in quarantine, missing and hanging."""
    healths = [
        health(0, celsius=54, highest_celsius=57), health(1, assessment="FAIL", reallocated=7),
        health(2, pending=9), health(3, problem="it does not open"), health(4, assessment=""),
    ]  # fmt: skip
    drives = [drive_facts(number, 3).drive for number in range(5)]
    by_identity = {one.identity: each for one, each in zip(drives, healths, strict=True)}
    before = {drives[2].identity: [health(2, pending=1), healths[2]]}
    yield from health_conditions(drives, by_identity, before, {}, Smart())
    failed = replace(healths[1], failing_since=NOW - 7200, last_failed=NOW)
    offlining = Smart(offline_failing=True)
    yield from offline_conditions(drives[1:2], {drives[1].identity: failed}, [drives[1].identity], (), offlining)
    yield from speed_conditions(drives[:1], {drives[0].mountpoint: Speed(60e6, 20, is_slow=True)}, by_identity)
    for reason in QuarantineReason:
        entry = Quarantined(drives[0].identity, "drive0", reason, "fsync", 5, "a.plot", NOW, "sysfs:1", "boot")
        yield from quarantine_conditions(drives[:1], {drives[0].identity: entry}, by_identity)
    verdicts = [Verdict(drives[0], Why(reason, "a detail")) for reason in Reason]
    known = {one.identity for one in drives}
    yield from presence_conditions(verdicts, known, {drives[0].identity: 3}, by_identity, (), Watch())


def a_part_left():
    part = FoundPart("a.plot.0123456789abcdef.part", "a.plot", "0123456789abcdef", None, K32, K32, 12, 1, False, True)
    return part_left(drive_facts(0, 3).drive, part)


def told_by_jobs(directory):
    """The conditions that the jobs tell of on a host where all is wrong, as they were kept in the database."""
    mail = Email(password=Secret("hunter2"))
    config = Config(
        directory / "plot_manager_config", email=mail, paths=Paths(state=directory, logs=directory, locks=directory),
        watch=Watch(system_disk_free_bytes=10**30, trouble_minutes=0), chia=Chia(home=str(directory)),
    )  # fmt: skip
    config.path.write_text("")
    config.path.chmod(0o644)
    state = State(directory)
    state.record_room(Room("chiaplot01", "/plots", time.time(), 10**9, 0, 1.5))
    choice = Choice("", None, (), "same_drive", K32, False)
    readings = {one.identity: Reading(one, counts={("v1", 32): 90}) for one in (drive_facts(0, 3).drive,)}
    chia_log = directory / "log" / "debug.log"
    chia_log.parent.mkdir()
    chia_log.write_text("")
    (directory / "config").mkdir()
    (directory / "config" / "config.yaml").write_text("harvester: {plot_directories: [/plots]}")
    teller, book, told = Teller(config, state.database), AlertBook(state.database), []
    farming = (
        "{}.000 harvester chia.harvester.harvester: INFO     1 plots were eligible for farming 3e2c94e2d1... "
        "Found 0 proofs. Time: 0.26 s. Total 365 plots\n"
    )
    now = time.strftime("%Y-%m-%dT%H:%M:%S")
    for line in ("", farming.format("2024-01-04T21:12:29"), farming.format(now)):
        chia_log.write_text(line)
        look_after(config, state, Stock(choice, readings), teller, [], with_health=True)
        told += [one.condition for one in book.standing().values()]
    trouble = Trouble(silent={"chianas01": "no route to host"})
    trouble.hold(directory / "a.plot", K32, "the NAS has no room")
    trouble.waiting_for["chianas01"] = [time.time() - 4 * 3600, time.time()]
    tell_of_trouble(trouble, config, teller)
    for drive in ("drive1", "drive2"):
        state.record_transfer(rejected(f"chianas01:{drive}"))
    teller.see(mismatch_conditions(state), Look.MISMATCHES)
    tell("plot_manager.py", "no such host", config)
    told += [one.condition for one in book.standing().values()]
    state.close()
    return told


def rejected(target):
    return Transfer(
        finished=time.time(), plot="a.plot", kind="v1", source="/plots/a.plot", target=target, plotter="chiaplot01",
        bytes=K32, seconds=9.0, digest="", segments="", outcome=TransferOutcome.FAILED, reason="rejected",
    )  # fmt: skip


def refused():
    row = Row(1, 1, "email", "bob@example.org", 0, NOW, "alert", Severity.WARNING, "subject")
    return refused_recipients([Delivered(row, Outcome(Result.REFUSED, "550 no such user"))])[0]


def made_on_a_drive(directory):
    place = directory / "drive1"
    (place / "tmp").mkdir(parents=True)
    config = Config(
        directory / "plot_manager_config", paths=Paths(state=directory), drives=Drives(directories=(place,)),
        local_plots=LocalPlots((place / "tmp",)),
    )  # fmt: skip
    return directories_on_drives(config)


def trouble_with_coins(directory):
    """The conditions of coin_monitor.py: a log that cannot be read or stands still, a wallet that does not answer."""
    directory = directory / "coins"
    directory.mkdir()
    state = State(directory)
    teller, coins, log = Teller(Config(directory), state.database), CoinBook(state.database), directory / "debug.log"
    config = Config(directory, watch=Watch(trouble_minutes=0), coins=Coins(wallet="always"), chia=Chia(str(directory)))
    watch_log(log, read_new(log, None), config, teller, wallet_answers=False)
    told = [one.condition for one in AlertBook(state.database).standing().values()]
    chia = directory / "chia_wallet"
    shutil.copy("/bin/sleep", chia)
    process = subprocess.Popen([chia, "60"])
    damaged = Broken(directory / "debug.log.1.gz", 17, "it is no gzip file")
    read = Read(Place(0, 0, ""), True, 0, frozenset(), (damaged,))
    watch_log(log, ([], read), config, teller, wallet_answers=False)
    process.kill()
    process.wait()
    told += [one.condition for one in AlertBook(state.database).standing().values()]
    log.write_text(f"{chia_logs.prefix('2026-11-24T03:00:00.123', '2.7.5')}new coin state received (1-1/ 1)\n")
    watch_log(log, read_new(log, None), config, teller, wallet_answers=False)
    coins.write([Entry("a" * 64, "b" * 64, 10**12, 5, "payment", Status.RECEIVED, "")], NOW)
    assert ask_wallet(config, coins, teller) is None
    told += [one.condition for one in AlertBook(state.database).standing().values()]
    with WalletServer(directory / "config/ssl") as wallet:
        ask_wallet(
            replace(config, coins=Coins(wallet="always", wallet_host=wallet.address, wallet_port=wallet.port)),
            coins,
            teller,
        )
    told += [one.condition for one in AlertBook(state.database).standing().values()]
    state.close()
    return told


def unusable_memory():
    memory_trouble.note(Path("/state/state.sqlite"), MemoryTrouble.FULL, "database or disk is full")
    found = memory_conditions("plot_manager")
    memory_trouble.forget()
    return found


def stopped():
    """The conditions of what stops for good: a silent script, a held lock, and what cannot begin."""
    begun = Moment(NOW, 1000.0, "boot")
    run = Run("id", "plot_manager", "", True, "1.0", 1, 1, begun, outcome=RunOutcome.BUSY)
    good = replace(run, outcome=RunOutcome.DONE, ended=begun, status=0)
    timeout = LockTimeout(Path("/locks/arrivals.lock"), 20.0, Holder(123, "flock", "nobody"))
    return [
        silence_condition(MissedScript("plot_manager", 300.0, run, good)),
        *lock_conditions([timeout]),
        broken_configuration(Path("/etc/plot_manager_config"), "drive_manager", "[nas] hots: no key"),
        unusable_packages("drive_manager", "the .venv is older than requirements.txt"),
    ]


def test_each_kind_of_condition_has_words_for_the_facts_that_are_known_of_it(tmp_path, caplog):
    found = {one.kind: one for one in [*ill_drives(), *told_by_jobs(tmp_path), *refused(),
             *made_on_a_drive(tmp_path), *trouble_with_coins(tmp_path), *unusable_memory(), *stopped(),
             a_part_left(), not_farmed(PlotFormat.PLOT2, rejected(""))]}  # fmt: skip
    assert set(found) == set(AlertKind)
    for kind, one in found.items():
        assert kind in words._alert_words()
        message = mails.alert("nas", [one], [one], NOW)
        other = replace(one, about=f"{one.about} 2")
        for form in (mails.sentence(one), mails.sentence(one, over=True), message.subject, message.short,
                     message.text, mails.alert("nas", [one, other], [one, other], NOW).text):  # fmt: skip
            assert "unknown" not in form
            assert re.search(r"\w{3}", form)
        assert mails.sentence(one) != mails.sentence(one, over=True)
        assert said(" ".join(Reader(message.html).texts)) == said(message.text)
    assert "cannot be used" not in caplog.text


def test_the_words_of_what_is_not_about_a_drive():
    waiting = {"host": "chiaplot01", "why": "no drive can take a plot", "waiting": 1, "bytes": K32}
    not_sent = Condition(AlertKind.NOT_SENT, "plots", Severity.WARNING, waiting)
    path = "/etc/plot_manager_config"
    readable = Condition(AlertKind.CONFIG_READABLE, path, Severity.WARNING, {"path": path})
    places = {"mountpoints": "/mnt/drive1, /mnt/drive2"}
    not_listed = Condition(AlertKind.CHIA_NOT_LISTED, "drives", Severity.WARNING, places)
    assert mails.sentence(not_sent) == "1 plot (101.4 GiB) cannot be sent from chiaplot01: no drive can take a plot"
    assert mails.sentence(readable) == f"{path} holds passwords or tokens and can be read by other users"
    assert f"chmod 600 {path}, or write env:NAME" in " ".join(mails.alert("nas", [readable], []).text.split())
    assert mails.alert("nas", [not_listed], []).short == "nas: Chia does not farm 2 plot drives"
    for trouble in MemoryTrouble:
        facts = {"path": "/state.sqlite", "trouble": trouble.value, "why": "disk I/O error"}
        unusable = Condition(AlertKind.MEMORY_UNUSABLE, "plot_manager", Severity.CRITICAL, facts)
        is_newer = trouble is MemoryTrouble.NEWER
        did = "ends at once" if is_newer else "could not use /state.sqlite"
        assert mails.sentence(unusable) == f"plot_manager {did}: disk I/O error"
        headline = mails.alert("nas", [unusable], []).subject.partition("cannot be used: ")[2]
        assert headline and headline != trouble.value
    assert mails.sentence(refused()[0]) == "Messages to bob@example.org (email) are refused: 550 no such user"


# ---- Templates that the owner broke ----


@pytest.fixture
def own_templates(tmp_path, monkeypatch):
    """A copy of the templates, to be edited."""
    for template in words.TEMPLATES.iterdir():
        (tmp_path / template.name).write_text(template.read_text())
    monkeypatch.setattr(words, "TEMPLATES", tmp_path)
    forget()
    yield tmp_path
    forget()


def forget():
    words._environment.cache_clear()
    words._alert_words.cache_clear()
    words._compiled.cache_clear()


def break_it(path, how):
    path.unlink() if how == "gone" else path.write_text(how)


@pytest.mark.parametrize("how", ["gone", "{% if %}", "{{ 1 / 0 }}", "{{ nothing() }}", ""])
def test_a_broken_template_still_sends_the_plain_facts(own_templates, caplog, how):
    for template in own_templates.glob("*.jinja"):
        break_it(template, how)
    new, daily = changed(farm()), mails.daily_update(farm())
    assert new.short == (
        "Plot Drive Updated: Was: /mnt/enclosure0/front/column3/drive21,  Now: /mnt/enclosure0/front/column3/drive22"
    )
    assert "Total Number of Plots on chianas01:" in daily.text
    assert "drive20 disappeared" in mails.alert("nas", [MISSING], []).text
    assert received(1).path in mails.plots_received("nas", [received(1)]).text
    assert "test" in mails.test("nas").text
    assert "The template daily_update cannot be used" in caplog.text


def test_broken_html_costs_only_the_html(own_templates, caplog):
    (own_templates / "sheet.html").write_text("{% macro %}")
    message = mails.daily_update(farm())
    assert message.html == ""
    assert rows_of(message.text)["Total Plots on chianas01"] == "2351"
    assert "plain text only" in caplog.text


def test_words_that_were_edited_are_used(own_templates):
    template = own_templates / "new_plot_drive.jinja"
    template.write_text(template.read_text().replace("Drive Size", "How large it is"))
    message = changed(farm())
    assert rows_of(message.text)["How large it is"] == "10.9 TiB"
    assert "How large it is" in message.html
