"""Every report on farms of 1, 45 and 240 drives: no line wider than the terminal, nothing lost, in any encoding."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from reports_samples import K32, NOW, drive_facts, farm, health
from rich.cells import cell_len

from plotfarm.base.condition import Condition, Severity
from plotfarm.base.config.sections import Coins, Smart
from plotfarm.base.runs import Moment, Run, RunOutcome
from plotfarm.base.state import Transfer, TransferOutcome
from plotfarm.chia.coin_book import Holding, Total
from plotfarm.chia.ledger import Entry
from plotfarm.chia.ledger import Status as CoinStatus
from plotfarm.drives.candidates import MountedFileSystem, Unmet
from plotfarm.drives.choose import Choice, Selected, Taken
from plotfarm.drives.model import Drive, Verdict
from plotfarm.drives.reasons import Reason, Why
from plotfarm.drives.speed import Speed
from plotfarm.reports import coins, explain, mails, plot_report, status, temperatures
from plotfarm.reports.coins import CoinFacts
from plotfarm.reports.facts import ChiaSaid, FarmFacts
from plotfarm.reports.last_runs import LastRun
from plotfarm.reports.mail_text import folded
from plotfarm.reports.status import Running, Status
from plotfarm.reports.terminal import Terminal

WIDTHS = (60, 80, 130, 200)
ENCODINGS = ("ascii", "iso-8859-1", "utf-8")
DRIVES = (1, 45, 240)
PLOT = "plot-k32-2026-11-23-18-47-" + "ab" * 32 + ".plot"
NO_SUDO = "no permission: sudo does not let this user start smartctl, see README.md for the line that it takes"


def name(number):
    return f"drive{number}" if number % 60 else f"dr\u00efve \u78c1{number}"


def place(number):
    return f"/mnt/enclosure{number // 45}/front/column{number // 6}/{name(number)}"


def a_drive(number, changes):
    facts = drive_facts(number % 44, 110 if number % 3 else 20)
    drive = Drive(place(number), f"/dev/sd{number}", f"uuid:{number}", 2049 + number, "xfs")
    verdict = replace(facts.verdict, drive=drive, **changes.get("verdict", {}))
    return replace(facts, verdict=verdict, health=health(number, **changes.get("health", {})))


CHANGES = (
    {},
    {"health": {"problem": NO_SUDO, "assessment": "", "celsius": None}},
    {"verdict": {"why": Why(Reason.NOT_ANSWERING, "10 s"), "total_bytes": 0}},
    {"verdict": {"why": Why(Reason.IO_ERROR, "Structure needs cleaning")}, "health": {"reallocated": 8256}},
    {"health": {"celsius": 54}},
    {"health": {"asleep": True}},
)


def a_run(script, outcome, status, ended=True):
    begun = Moment(NOW - 180, 100.0, "boot")
    return Run(
        "0-1",
        script,
        "",
        True,
        "1.0.0",
        7,
        8,
        begun,
        Moment(NOW - 170, 110.0, "boot") if ended else None,
        outcome,
        status,
    )


RUNS = (
    LastRun(a_run("drive_manager", RunOutcome.DONE, 0), False, a_run("drive_manager", RunOutcome.DONE, 0)),
    LastRun(a_run("plot_manager", RunOutcome.UNENDED, None, ended=False), False, None),
    LastRun(a_run("coin_monitor", RunOutcome.FAILED, 1), False, a_run("coin_monitor", RunOutcome.DONE, 0)),
)


def farm_of(count):
    drives = tuple(a_drive(number, CHANGES[number % 6] if count > 1 else {}) for number in range(count))
    silent = [
        Condition(
            "not_answering",
            drive.drive.identity,
            Severity.CRITICAL,
            {"drive": drive.drive.name, "device": drive.drive.device, "why": "not answering within 10 s", "plots": 3},
        )
        for drive in drives
        if drive.verdict.why.reason is Reason.NOT_ANSWERING
    ]
    said = ChiaSaid("log", NOW - 4 * 86400, True)
    return farm(
        server="chianas01.example.org",
        drives=drives,
        current=drives[0],
        standing=tuple(silent),
        chia_said=said,
        made_since=NOW - 6 * 3600,
        last_runs=RUNS,
    )


def choice_of(facts: FarmFacts):
    verdicts = tuple(drive.verdict for drive in facts.drives)
    return Choice(place(3), Selected(verdicts[0], Taken.LOWEST), verdicts, "fill", K32, False)


def status_of(facts: FarmFacts):
    places = [drive.drive.mountpoint for drive in facts.drives]
    running = [
        Running(PLOT, "plotter1", where, K32, K32 * 6 // 10, 2**33, NOW - 300, NOW - number, number % 7 != 1, 1.9e8)
        for number, where in enumerate(places[:16])
    ]
    stored = Transfer(
        NOW - 60, PLOT, "v1", "/p", f"{places[0]}/{PLOT}", "p1", K32, 560, "d" * 64, "", TransferOutcome.STORED
    )
    failed = replace(
        stored, target="", outcome=TransferOutcome.FAILED, reason="interrupted", detail="r\u00easet by peer"
    )
    speeds = {where: Speed(1.81e8, 7, number % 5 == 0) for number, where in enumerate(places)}
    return Status("chianas01", NOW, 120.0, running, [stored, failed], 3, 3 * K32, speeds, RUNS)


def coins_of(count):
    entries = [
        Entry(f"{number:064x}", "", 10**12, 9, "pool", CoinStatus.RECEIVED, f"2026-{1 + number % 9:02}-11T10:00:00")
        for number in range(count)
    ]
    total = Total(count, 10**12 * count, Holding(5, NOW))
    return CoinFacts(
        "b\u00e4uerin", NOW, entries, [], total, Coins(price=9.5, currency="\u20ac"), 45.0, entries[:50], True, RUNS
    )


def reports(count, terminal):
    facts = farm_of(count)
    return {
        "-pr": plot_report.as_text(facts, terminal),
        "-ct": temperatures.as_text(facts, Smart(), terminal),
        "-dr": folded(mails.daily_update(facts).text, terminal),
        "--explain": explain.as_text(choice_of(facts), terminal),
        "--status": status.as_text(status_of(facts), terminal),
        "--report": coins.as_text(coins_of(count), terminal),
    }


def squeezed(text):
    """A text without its spaces and line ends, so that what was wrapped can be found."""
    return re.sub(r"\s", "", text)


@pytest.mark.parametrize("count", DRIVES)
@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("width", WIDTHS)
def test_no_line_is_wider_than_the_terminal_and_every_drive_is_there(width, encoding, count):
    terminal = Terminal(width=width, encoding=encoding)
    facts = farm_of(count)
    for option, text in reports(count, terminal).items():
        text.encode(encoding)
        widest = max(text.splitlines(), key=cell_len)
        assert cell_len(widest) <= width, (option, widest)
        if option in ("-ct", "--explain", "--status"):
            words = squeezed(text)
            assert all(squeezed(terminal.shown(drive.drive.name)) in words for drive in facts.drives), option


def test_colours_move_nothing():
    for width in WIDTHS:
        plain = reports(45, Terminal(width=width))
        coloured = reports(45, Terminal(width=width, colour=True))
        assert {option: re.sub(r"\x1b\[[\d;]*m", "", text) for option, text in coloured.items()} == plain
        assert "\x1b[" in coloured["-ct"] and "\x1b[" in coloured["--explain"] and "\x1b[" in coloured["--status"]


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_without_a_width_every_value_is_there(encoding):
    terminal = Terminal(encoding=encoding)
    facts = farm_of(240)
    shown = reports(240, terminal)
    for drive in facts.drives:
        for option, values in (
            ("-ct", (drive.health.serial, drive.drive.device, drive.drive.name)),
            ("--explain", (drive.drive.name, drive.drive.mountpoint)),
            ("--status", (drive.drive.mountpoint,)),
        ):
            assert all(terminal.shown(value) in shown[option] for value in values), option
    assert shown["--explain"].count("\n") < 250


def test_what_concerns_many_drives_is_one_sentence_with_a_list():
    facts = farm_of(240)
    for text in (plot_report.as_text(facts), mails.daily_update(facts).text):
        words = " ".join(text.split())
        assert words.count("not answering within 10 s") == 1
        assert "drive2, drive8, drive14" in words
    assert " ".join(temperatures.as_text(facts, Smart()).split()).count(NO_SUDO) == 1


def test_a_plot_that_is_on_its_way_takes_two_lines_at_eighty_columns():
    entry = Running(PLOT, "chiaplot01", "nas1:drive7", K32, K32 * 6 // 10, 0, NOW - 300, NOW, True, 1.9e8)
    text = status.as_text(Status("chiaplot01", NOW, 120.0, [entry], []), Terminal(width=80))
    assert len(text.splitlines()) == 3
    assert "[############--------]" in text
    stored = Transfer(
        NOW - 60, PLOT, "v1", "/p", f"/mnt/hdd7/{PLOT}", "p1", K32, 560, "d" * 64, "", TransferOutcome.STORED
    )
    text = status.as_text(Status("nas", NOW, 120.0, [], [stored]), Terminal(width=80))
    assert len(text.splitlines()) == 5
    assert "abababababab.plot" not in text.partition("\n    ")[2], "the name is said once"


NO_DRIVES = Choice("", None, (), "fill", K32, False)
MOUNTED = (
    MountedFileSystem("/", "/dev/nvme0n1p2", "ext4", Unmet.MOUNTS, ("/mnt/enclosure*/*/*/drive*",)),
    MountedFileSystem("/mnt/enclosure0/front/column0/drive0", "/dev/nvme1n1", "xfs", Unmet.DEVICES, ("/dev/sd*",)),
    MountedFileSystem("/mnt/usb\u00e9/drive1", "/dev/sdq1", "ext4", Unmet.MOUNTS, ("/mnt/enclosure*/*/*/drive*",)),
    MountedFileSystem("/proc", "proc", "proc", Unmet.NO_DISK),
)


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("width", [*WIDTHS, None])
def test_where_no_drive_is_found_every_file_system_is_shown_with_what_it_does_not_fit(width, encoding):
    terminal = Terminal(width=width, encoding=encoding)
    text = explain.as_text(NO_DRIVES, terminal, MOUNTED, "/etc/plot_manager/plot_manager_config")
    words = " ".join(text.split())
    text.encode(encoding)
    assert width is None or max(map(cell_len, text.splitlines())) <= width
    assert "No plot drives found" in text
    assert squeezed("The configuration that was read: /etc/plot_manager/plot_manager_config") in squeezed(words)
    for one in MOUNTED:
        assert terminal.shown(one.mountpoint) in words
    assert "its mountpoint fits none of [drives] mounts = /mnt/enclosure*/*/*/drive*" in words
    assert "its device fits none of [drives] devices = /dev/sd*" in words


def test_hostile_names_stay_on_their_line():
    bad = "drive\n7\x1b[2J\u202e\udcff"
    verdict = Verdict(Drive(f"/mnt/{bad}", "/dev/\x1b", "uuid:1", 1, "xfs"), Why(Reason.IO_ERROR, bad))
    choice = Choice("", None, (verdict,), "fill", K32, False)
    found = (MountedFileSystem(f"/mnt/{bad}", bad, bad, Unmet.MOUNTS, (bad,)),)
    for width in (60, 200, None):
        text = explain.as_text(choice, Terminal(width=width))
        text += explain.as_text(NO_DRIVES, Terminal(width=width), found, bad)
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e\ud800-\udfff]", text)
