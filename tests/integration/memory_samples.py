"""What a host may remember, with rows in every table, and all that is ever read of it."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

from plotfarm.base.condition import AlertKind, Condition, Severity
from plotfarm.base.config.sections import Coins
from plotfarm.base.state import Daily, Room, State, Transfer, TransferOutcome
from plotfarm.chia.coin_book import CoinBook
from plotfarm.chia.coins import Balance, Block
from plotfarm.chia.ledger import Entry, Status
from plotfarm.chia.log_reader import Place
from plotfarm.drives.counted import Count
from plotfarm.drives.health import Health
from plotfarm.drives.inventory import Inventory
from plotfarm.drives.quarantine import Quarantine
from plotfarm.drives.smart.records import HealthRecords
from plotfarm.drives.speed import speeds
from plotfarm.notify.alerts import AlertBook, Changes, Standing
from plotfarm.notify.message import Message
from plotfarm.notify.outbox import Outbox
from plotfarm.reports import coins as coin_words
from plotfarm.reports import status as status_words
from plotfarm.reports.coins import CoinFacts
from plotfarm.reports.status import Status as Sent
from plotfarm.reports.terminal import Terminal

NOW = 1_795_000_000.0  # the moment at which the samples were made, and are read
LOG = Path("/home/chia/.chia/mainnet/log/debug.log")
PLOT = "plot-k32-2026-11-18-12-00-" + "ab" * 32 + ".plot"
DIGEST = "d1" * 32
# How transfers end, why, and what a person was told.
ENDINGS = (
    (TransferOutcome.STORED, "", ""), (TransferOutcome.HAVE, "", ""),
    (TransferOutcome.FAILED, "rejected", "the hashes differ"),
    (TransferOutcome.FAILED, "I/O error", "write: Input/output error"),
    (TransferOutcome.FAILED, "outcome unknown", "it may appear yet"),
    (TransferOutcome.FAILED, "interrupted", "the connection ended"),
)  # fmt: skip
_BYTES_NO_TEXT = os.fsdecode(b"mount:/mnt/\xff")


def fill(state: State) -> None:
    """Remember something of everything. `time.time` must say NOW."""
    _fill_transfers(state)
    _fill_plots(state)
    _fill_drives(state)
    _fill_coins(state)
    _fill_messages(state)


def transfer(number: int, outcome: TransferOutcome, reason: str, detail: str) -> Transfer:
    """Return one transfer, as every version of the suite could remember it."""
    kinds = ("v1", "bladebit", "plot2", "gplot", "unknown")
    return Transfer(
        NOW - 3600.0 * (40 - number), f"{number}-{PLOT}", kinds[number % 5], f"/plots/{number}-{PLOT}",
        f"/mnt/enclosure1/drive{number % 3}/{number}-{PLOT}" if number % 4 else "", f"plotter{number % 2}",
        108_880_000_000 + number, 900.0 + number, DIGEST if outcome is TransferOutcome.STORED else "",
        f"{DIGEST} {DIGEST}" if outcome is TransferOutcome.STORED else "", outcome, reason, 32 - number % 2, detail,
    )  # fmt: skip


def _fill_transfers(state: State) -> None:
    for number in range(36):
        state.record_transfer(transfer(number, *ENDINGS[number % len(ENDINGS)]))
    state.newly_stored()  # begins to count
    state.record_transfer(transfer(36, TransferOutcome.STORED, "", ""))
    state.count_received("plotter1", 108_880_000_000)
    state.record_daily(Daily(NOW - 86400, 4777, 31))
    for number in range(5):
        room = Room("plotter1", "/plots", NOW - 60 * number, 10**12 - number, 108 * 10**9, 9.5 if number else None)
        state.record_room(room)


def _fill_plots(state: State) -> None:
    state.journal_write(f"/plots/{PLOT}", "nas1")
    state.note_publishing(PLOT, _BYTES_NO_TEXT)
    state.remember_time(f"/plots/{PLOT}", 1_700_000_000_000_000_001, 1_700_000_000_000_000_002)
    state.count_failure(f"/plots/{PLOT}", (1, 2, 3))
    state.count_failure(f"/plots/{PLOT}", (1, 2, 3))
    state.note_kept("/plots/kept.plot", (4, 5, 6))
    state.note_unremovable("/plots/stays.plot", (7, 8, 9), "it may not be removed")
    state.database.write("INSERT INTO observations VALUES ('/plots/future.plot', '(1, 2)', 'a-boot', 17.5)")


def _fill_drives(state: State) -> None:
    state.know_drives({"uuid:1": ("/mnt/enclosure1/drive1", "/dev/sda1"), "uuid:2": ("/mnt/enclosure1/drive2", "")})
    sound = Health(
        "/dev/sda", NOW, last_read=NOW, serial="ZHZ1", model="ST18000NM", assessment="PASS", celsius=38,
        highest_celsius=44, reallocated=0, pending=0, uncorrectable=0, crc_errors=3,
    )  # fmt: skip
    failing = Health("/dev/sdb", NOW, last_read=NOW, serial="ZHZ2", assessment="FAIL", reallocated=8256, pending=288)
    asleep = Health("/dev/sdc", NOW, asleep=True)
    silent = Health("/dev/sdd", NOW, problem="no SMART: it does not answer")
    HealthRecords(state.database).record({"uuid:1": sound, "uuid:2": failing, "uuid:3": asleep, "uuid:4": silent})
    Inventory(state.database).remember_counts({"uuid:1": Count((("v1", 32, 2),), 2, 217 * 10**9, 0)}, NOW)
    state.database.write(
        "INSERT INTO quarantined_drives VALUES (?, ?, 'io_error', 'fsync', 5, ?, ?, '8:1 /mnt', 'a-boot')",
        (os.fsencode(_BYTES_NO_TEXT), b"drive\xff", PLOT, NOW - 600),
    )


def _fill_coins(state: State) -> None:
    book = CoinBook(state.database)
    coins = [
        Entry("a1" * 32, "b1" * 32, 875_000_000_000, 6_400_000, "pool", Status.RECEIVED, "2026-11-10T12:00:00.000"),
        Entry("a2" * 32, "", 125_000_000_000, 6_400_000, "farmer", Status.RECEIVED, "2026-11-11T12:00:00.000", True),
        Entry("a3" * 32, "b3" * 32, 10**30, None, "payment", Status.REVERTED, "12:00:00.000", True, True),
        Entry("a4" * 32, "b4" * 32, 1, 7, "claim", Status.CHANGE, "2026-11-12T12:00:00.000"),
    ]
    book.write(coins, NOW)
    book.write_balance(Balance("2026-11-09T12:00:00.000", 2_000_000_000_000))
    book.write_block(Block("2026-11-10T11:59:00.000", "c1" * 32), NOW)
    book.write_place(LOG, Place(17, 4711, "5678"))
    book.meet_wallet(None)


def _fill_messages(state: State) -> None:
    hot = Condition(AlertKind.HOT, "uuid:1", Severity.CRITICAL, {"drive": "drive1", "celsius": 61}, 60.0, 3600.0)
    odd = Condition(AlertKind.MISSING, _BYTES_NO_TEXT, Severity.WARNING, {"why": None})
    standing = {
        ("hot", "uuid:1"): Standing(hot, NOW - 700, NOW - 600),
        ("missing", _BYTES_NO_TEXT): Standing(odd, NOW - 5, None),
    }
    AlertBook(state.database).apply(Changes((hot,), (), standing))
    outbox = Outbox(state.database)
    outbox.put(Message("alert", Severity.CRITICAL, "hot", "h", "text", "<p>"), [("email", "a@b"), ("pb", "1")], NOW)
    outbox.put(Message("per_plot", Severity.INFO, "plot", "p", "text"), [("sms", "+1")], NOW)
    rows = outbox.due(NOW)
    outbox.claim(rows[0], NOW)
    outbox.wait(rows[0], NOW + 60, "busy")
    outbox.end(rows[1], "sent", NOW)


def readings(state: State) -> dict[str, object]:
    """Return all that is ever read of a host's memory, by a name for each. `time.time` must say NOW."""
    health, book = HealthRecords(state.database), CoinBook(state.database)
    return {
        "received": state.received_bytes("plotter1"),
        "publishing": state.publishing(PLOT),
        "stored since": state.stored_since(NOW - 86400),
        "first stored": state.first_stored(),
        "newly stored": state.newly_stored(),
        "daily": state.last_daily(),
        "journal": state.journal_nas(f"/plots/{PLOT}"),
        "times": state.changed_times(),
        "failures": state.failures(f"/plots/{PLOT}", (1, 2, 3)),
        "kept": [state.is_kept("/plots/kept.plot", facts) for facts in ((4, 5, 6), (4, 5, 7))],
        "unremovable": state.why_unremovable("/plots/stays.plot", (7, 8, 9)),
        "observations": state.database.rows("SELECT * FROM observations"),
        "rooms": state.rooms(since=0),
        "known drives": state.known_drives(),
        # Older files do not say since when a disk says FAILED.
        "health": (
            {key: replace(one, failing_since=None, last_failed=None) for key, one in health.latest().items()},
            health.serials(),
            health.last_time(),
        ),
        "health readings": state.database.rows("SELECT * FROM health_readings"),
        "counts": [
            # Of which kinds they were was not remembered by every version.
            (identity, count.plots, count.bytes, count.time)
            for identity, count in Inventory(state.database).last_counts().items()
        ],
        "quarantine": Quarantine(state.database)._entries(),
        "alerts": AlertBook(state.database).standing(),
        "outbox": [(row, Outbox(state.database).message(row)) for row in Outbox(state.database).due(NOW + 120)],
        "messages": state.database.rows("SELECT * FROM outbox, messages WHERE messages.id = message"),
        "transfers": state.transfers(),
        "place": (book.place(LOG), book.knows_wallet(), book.last_balance(), book.children("b1" * 32)),
        **reports(state),
    }


def reports(state: State) -> dict[str, str]:
    """Return the reports that are made of a host's memory alone."""
    past = state.transfers()
    sent = Sent("nas1", NOW, 120.0, [], past, speeds=speeds(past))
    book = CoinBook(state.database)
    facts = CoinFacts("farmer", NOW, book.received(), book.blocks(), book.total(), Coins())
    return {
        "status": status_words.as_text(sent),
        "status in colour": status_words.as_text(sent, Terminal(colour=True)),
        "status as JSON": json.dumps(status_words.data(sent), indent=2),
        "coins": coin_words.as_text(facts),
        "coins as JSON": json.dumps(coin_words.data(facts), indent=2),
        "coins as CSV": coin_words.as_csv(facts),
    }
