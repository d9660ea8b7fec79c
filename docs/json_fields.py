"""What stands in the JSON of every command: writes json.schema.json, and the tables of json.md.

To write both anew: `.venv/bin/python docs/json_fields.py`. A test compares what stands in the files with what this
would write, and every command's output with the schema.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(CHECKOUT))

from plotfarm.base.condition import AlertKind, Severity  # noqa: E402
from plotfarm.base.runs import RunOutcome  # noqa: E402
from plotfarm.base.state import TransferOutcome  # noqa: E402
from plotfarm.drives.candidates import Unmet  # noqa: E402
from plotfarm.drives.quarantine import QuarantineReason  # noqa: E402
from plotfarm.drives.reasons import Reason  # noqa: E402
from plotfarm.notify.channels import Result  # noqa: E402
from plotfarm.reports.envelope import SCHEMA, Report, Role  # noqa: E402

SCHEMA_FILE = CHECKOUT / "docs" / "json.schema.json"
DOCUMENT = CHECKOUT / "docs" / "json.md"
Json = dict[str, Any]


@dataclass(frozen=True)
class Field:
    """One field: what a JSON Schema says of it, what a person reads of its type and unit, and what it means."""

    schema: Json
    unit: str
    means: str
    is_nullable: bool = False
    below: Mapping[str, Field] | None = None  # the fields of an object, or of each object of a list

    def or_null(self) -> Field:
        """Return the same where it may be not known."""
        return replace(self, is_nullable=True)


Fields = Mapping[str, Field]


def text(means: str) -> Field:
    """Return a text."""
    return Field({"type": "string"}, "text", means)


def one_of(values: object, means: str) -> Field:
    """Return a text that is one of the values of an enum, or of some texts."""
    texts = [str(getattr(value, "value", value)) for value in values if str(getattr(value, "value", value))]  # type: ignore[attr-defined]
    return Field({"enum": texts}, ", ".join(f"`{one}`" for one in texts), means)


def flag(means: str) -> Field:
    """Return true or false."""
    return Field({"type": "boolean"}, "true, false", means)


def count(means: str, unit: str = "number") -> Field:
    """Return a whole number from 0 on."""
    return Field({"type": "integer", "minimum": 0}, unit, means)


def size(means: str) -> Field:
    """Return a number of bytes."""
    return count(means, "bytes")


def number(means: str, unit: str) -> Field:
    """Return a number that may have a fraction."""
    return Field({"type": "number"}, unit, means)


def degrees(means: str) -> Field:
    """Return a temperature."""
    return Field({"type": "integer"}, "°C", means)


def moment(means: str) -> Field:
    """Return a time."""
    pattern = r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z$"
    return Field({"type": "string", "pattern": pattern}, "time (ISO 8601, UTC)", means)


def mojo(means: str) -> Field:
    """Return an amount as text, since it may not fit into the numbers of a program."""
    return Field({"type": "string", "pattern": r"^-?\d+$"}, "mojo, as text", means)


def xch(means: str) -> Field:
    """Return an amount as text."""
    return Field({"type": "string", "pattern": r"^-?\d+(\.\d+)?$"}, "XCH, as text", means)


def made_of(fields: Fields, means: str) -> Field:
    """Return an object."""
    return Field(object_schema(fields), "object", means, below=fields)


def list_of(fields: Fields, means: str) -> Field:
    """Return a list of objects."""
    return Field({"type": "array", "items": object_schema(fields)}, "list of objects", means, below=fields)


def plain_list(item: Field, means: str) -> Field:
    """Return a list of plain values."""
    return Field({"type": "array", "items": item.schema}, f"list of {item.unit}", means)


def explained(name: str, field: Field) -> dict[str, Field]:
    """Return a field that may be null, and its neighbour that says why."""
    why = text(f"why `{name}` is not known or not the whole truth; null: nothing to say").or_null()
    return {name: field.or_null(), f"{name}_why": why}


def object_schema(fields: Fields) -> Json:
    """Return the schema of an object that has just these fields."""
    return {
        "type": "object",
        "properties": {name: schema_of(field) for name, field in fields.items()},
        "required": list(fields),
        "additionalProperties": False,
    }


def schema_of(field: Field) -> Json:
    """Return the schema of a field with its meaning."""
    described = {"description": f"{field.means} ({field.unit})"}
    if field.is_nullable:
        return {**described, "anyOf": [field.schema, {"type": "null"}]}
    return {**described, **field.schema}


BY_KIND = {
    "kind": text("the format, by its short name: v1, bladebit, gigahorse, gplot, plot2, unknown ..."),
    "k": count("the k-size").or_null(),
    "plots": count("plot files"),
}
PLACE = {
    "name": text("what people call the drive: the last part of its mountpoint"),
    "mountpoint": text("where it is mounted, or was when it was seen last"),
    "device": text("its partition, such as /dev/sdb1").or_null(),
    "identity": text("what it is known by: `uuid:...`, `mount:...` or `directory:...`"),
}
ROOM = {
    "usable": flag("whether it takes plots"),
    "reason": one_of(Reason, "why it takes plots or takes none"),
    "why": text("the same in words"),
    "total_bytes": size("its size").or_null(),
    "free_bytes": size("what is free for an ordinary user").or_null(),
    "room_plots": count("how many plots of the arriving size still fit").or_null(),
}
ASSESSMENT = one_of(("PASS", "FAIL"), "what SMART says of its health")
DRIVE = {
    **PLACE,
    "serial": text("serial number of its disk").or_null(),
    **ROOM,
    **explained("plots", count("plot files on it")),
    "testing_plots": count("testing plots on it, which are in no other number").or_null(),
    "plots_by_kind": list_of(BY_KIND, "the same by format and k-size"),
    "stored_bytes": size("what its plot files take together").or_null(),
    **explained("celsius", degrees("its temperature; asleep: the last that was read")),
    **explained("assessment", ASSESSMENT),
}
LAST_RUN = {
    "script": text("which script"),
    "mode": text("the option that it was started with; null: normal mode").or_null(),
    "run_id": text("what the run is called in the log and in heartbeats"),
    "scheduled": flag("whether it had no terminal, as under cron"),
    "version": text("the version of this suite then"),
    "begun": moment("when it began"),
    "ended": moment("when it ended").or_null(),
    "seconds": number("how long it took", "seconds").or_null(),
    "running": flag("whether its process is still at it"),
    "outcome": one_of(RunOutcome, "how it ended"),
    "exit_status": Field({"type": "integer"}, "number", "its exit status").or_null(),
    "last_good": moment("when the newest one began that ended with status 0").or_null(),
}
LAST_RUNS = {"last_runs": list_of(LAST_RUN, "the newest run of each script of this host in each mode")}
ALERT = {
    "kind": one_of(AlertKind, "what it is"),
    "about": text("what it is about: the identity of a drive, a path, a host"),
    "severity": one_of(Severity, "how bad it is"),
    "text": text("the same in words"),
}
PLOT_REPORT = {
    **explained("plots", count("plot files on all drives that answered")),
    "testing_plots": count("testing plots on them, which are in no other number"),
    **explained("chia_plots", count("plots that Chia farms")),
    **explained("chia_bytes", size("what they take together")),
    "chia_said": moment("when Chia was seen to farm last").or_null(),
    "chia_source": text("where that is from: log or harvester RPC").or_null(),
    **explained("drives_present", count("drives that answered")),
    **explained("room_plots", count("how many plots of the arriving size still fit")),
    **explained("maximum_plots", count("`plots` and `room_plots` together")),
    **explained("plots_last_24_hours", count("plots that arrived")),
    **explained("bytes_last_24_hours", size("what they take together")),
    **explained("plots_per_hour", number("the pace of the last 24 hours", "plots an hour")),
    **explained("bytes_per_day", number("the pace of the last 24 hours", "bytes a day")),
    **explained("days_to_fill", number("when the drives are full at this pace", "days")),
    "recorded_since": moment("when the first arrival was recorded").or_null(),
    "arriving_plot_bytes": size("the size of the plots that arrive, which room is counted for"),
    "arriving_plot_label": text("what they are: k32, k28 .gplot ..."),
    "current_drive": made_of(DRIVE, "the plot drive").or_null(),
    "current_drive_why": text("why there is none").or_null(),
    "plots_by_kind": list_of(BY_KIND, "all plot files by format and k-size"),
    "drives": list_of(DRIVE, "all drives in natural order, also those that should be here and are not"),
    "alerts": list_of(ALERT, "what the owner should know of now"),
    **LAST_RUNS,
}
TEMPERATURE = {
    **PLACE,
    "disk": text("the whole disk, such as /dev/sdb").or_null(),
    "serial": text("its serial number").or_null(),
    "model": text("its model").or_null(),
    "mounted": flag("whether the drive is mounted"),
    **explained("celsius", degrees("its temperature; asleep: the last that was read")),
    "heat": one_of(("warning", "critical"), "whether that is too much; null: it is not").or_null(),
    "asleep": flag("whether it was left in standby").or_null(),
    "highest_celsius": degrees("the highest temperature that was ever read here").or_null(),
    "assessment": ASSESSMENT.or_null(),
    "reallocated": count("reallocated sectors").or_null(),
    "pending": count("pending sectors").or_null(),
    "uncorrectable": count("uncorrectable sectors").or_null(),
    "crc_errors": count("CRC errors: they come from the cable").or_null(),
    "reported_uncorrectable": count("uncorrectable errors that the host was told of").or_null(),
    "command_timeouts": count("command timeouts").or_null(),
    "damage": one_of(("damaged", "worn"), "what its counters say, whatever it says itself").or_null(),
    "worn": text("which attributes have reached the end of the disk's life").or_null(),
    "says_hot": flag("whether it is too hot by its own limit").or_null(),
    "power_on_hours": count("for how long it has run", "hours").or_null(),
    "start_stop_count": count("how often it was started").or_null(),
    "last_read": moment("when SMART data was read last").or_null(),
    "arrival_bytes_per_second": number("how fast plots arrive: the median", "bytes a second").or_null(),
    "arrivals_slow": flag("whether that is not half as fast as on the others").or_null(),
}
TEMPERATURES = {
    "warning_celsius": degrees("from which temperature on a drive is hot"),
    "critical_celsius": degrees("from which it is much too hot"),
    "drives": list_of(TEMPERATURE, "all drives in natural order, also those that should be here and are not"),
    **LAST_RUNS,
}
QUARANTINE = {
    "reason": one_of(QuarantineReason, "what was lost"),
    "call": text("the system call that failed").or_null(),
    "error": text("what it said").or_null(),
    "plot": text("the plot that was being written").or_null(),
    "since": moment("when it began"),
}
EXPLAIN = {
    "configured_mountpoint": text("the plot drive that is configured").or_null(),
    "chosen_mountpoint": text("the one that the next run of normal mode chooses; null: none").or_null(),
    "policy": text("`[drives] policy`"),
    "arriving_plot_bytes": size("the size of the plots that arrive, which room is counted for"),
    "arriving": flag("whether a plot is arriving on the configured drive"),
    "drives": list_of(
        {
            **PLACE,
            "file_system": text("xfs, ext4 ...").or_null(),
            **ROOM,
            "room_bytes": Field(
                {"type": "integer"}, "bytes", "free, less what is still to arrive and what must stay free"
            ).or_null(),
            "busy": flag("whether a plot is arriving there"),
            "chosen": flag("whether it is the plot drive"),
            "quarantine": made_of(QUARANTINE, "why it gets no plots although it answers").or_null(),
        },
        "all drives in natural order, also those that should be here and are not",
    ),
    "file_systems": list_of(
        {
            "mountpoint": text("where it is mounted"),
            "device": text("what is mounted there"),
            "file_system": text("xfs, ext4, proc ..."),
            "unmet": one_of(Unmet, "the condition of a plot drive that it does not meet; null: it is one").or_null(),
            "patterns": plain_list(text(""), "the patterns that it does not fit"),
        },
        "all that is mounted on this host",
    ),
    "limits_too_low": plain_list(text(""), "limits of this host that many plotters would meet, in words"),
    **LAST_RUNS,
}
STATUS = {
    "running": list_of(
        {
            "plot": text("file name"),
            "source": text("who sends it"),
            "target": text("where it goes, as far as that is known; it may be empty"),
            "bytes": size("its size"),
            "done_bytes": size("of these have arrived"),
            "resumed_bytes": size("of these were there from an interrupted try"),
            "since": moment("when it began").or_null(),
            "last_progress": moment("when a byte moved last").or_null(),
            "alive": flag("whether the process that carries it is there"),
            "bytes_per_second": number("how fast it is", "bytes a second").or_null(),
            "seconds_left": number("how long it takes yet at this speed", "seconds").or_null(),
        },
        "plots on their way",
    ),
    "waiting_plots": count("finished plots that wait; null: nobody counts them here").or_null(),
    "waiting_bytes": size("what they take together").or_null(),
    "drives": list_of(
        {
            "name": PLACE["name"],
            "mountpoint": PLACE["mountpoint"],
            "arrival_bytes_per_second": number("how fast plots arrive: the median", "bytes a second"),
            "arrivals": count("how many it is the median of, 20 at most"),
            "arrivals_slow": flag("whether that is not half as fast as on the others"),
        },
        "drives on which plots have arrived; empty on a plotter",
    ),
    "last": list_of(
        {
            "plot": text("file name"),
            "kind": BY_KIND["kind"],
            "k": BY_KIND["k"],
            "source": text("path on the sending host"),
            "target": text("path on the receiving host").or_null(),
            "plotter": text("who sent it").or_null(),
            "bytes": size("its size"),
            "seconds": number("how long it took", "seconds"),
            "finished": moment("when it ended"),
            "hash": text("of the whole plot").or_null(),
            "segment_hashes": plain_list(text(""), "BLAKE3 of each GiB, hexadecimal"),
            "outcome": one_of(TransferOutcome, "how it ended; `have`: it was there already"),
            "reason": text("why it failed").or_null(),
            "detail": text("the same in words").or_null(),
        },
        "the last ten that ended, newest first",
    ),
    **LAST_RUNS,
}
DRY_RUN = {
    "busy": flag("whether another run is at it, so that nothing was tried"),
    "plots": list_of(
        {
            "plot": text("file name"),
            "bytes": size("its size"),
            "nas": text("where it would go; null: it stays on this host").or_null(),
            "target": text("the path it would get, or has"),
            "already_there": flag("whether it is stored there already"),
        },
        "plots that would travel",
    ),
    "not_taken": list_of(
        {"plot": text("what it is called"), "why": text("why it stays")}, "what lies there and does not travel now"
    ),
    "failures": plain_list(text("text"), "what went wrong, in words"),
    "nas": list_of(
        {
            "nas": text("as it stands in `[nas] hosts`"),
            "reachable": flag("whether it has answered"),
            "room_plots": count("how many plots it can take").or_null(),
            "arriving_plot_bytes": size("of this size").or_null(),
            "why": text("why it cannot be reached, or can take none").or_null(),
        },
        "what the NAS answer; they are asked only where no plot would travel",
    ),
}
TOTALS = {
    "received_mojo": mojo("received in all; null: neither Chia's log nor its wallet was ever read").or_null(),
    "received_xch": xch("the same").or_null(),
    "wallet": made_of(
        {"mojo": mojo("what it holds"), "xch": xch("the same"), "asked": moment("when it was asked")},
        "what the wallet holds; null: it was never asked",
    ).or_null(),
    "expected_days_to_win": number("in how many days a block is to be expected", "days").or_null(),
}
PERIOD = {
    "period": text("2026-11, 2026-11-24 or unknown"),
    "coins": count("coins received"),
    "mojo": mojo("what they are together"),
    "xch": xch("the same"),
}
COINS = {
    **TOTALS,
    "currency": text("`[coins] currency`; null: no price is set").or_null(),
    "price": number("`[coins] price`", "currency for one XCH").or_null(),
    "coins": list_of(
        {
            "id": text("64 hexadecimal digits"),
            "kind": text("farmer, pool, claim or payment"),
            "mojo": mojo("its amount"),
            "xch": xch("the same"),
            "height": count("the block that it is in").or_null(),
            "time": moment("when it came; null: its log had no dates").or_null(),
            "local_time": text("the same as it stands in the log"),
            "in_wallet": flag("whether the wallet has confirmed it"),
        },
        "coins received, oldest first",
    ),
    "blocks": list_of({"local_time": text("as it stands in the log"), "hash": text("of the block")}, "blocks found"),
    "by_month": list_of(PERIOD, "the coins of each month"),
    "by_day": list_of(PERIOD, "the coins of each day"),
    **LAST_RUNS,
}
TEST = {
    "channel": text("email, sms, pb or services"),
    "recipient": text("whom; null: the channel is not set up").or_null(),
    "result": one_of(Result, "what came of it"),
    "why": text("why it was not sent").or_null(),
}
RECIPIENTS = {"recipients": count("how many the message was sent on its way to; 0: it is switched off")}

DATA: Mapping[Report, Fields] = {
    Report.PLOT_REPORT: PLOT_REPORT,
    Report.TEMPERATURES: TEMPERATURES,
    Report.DAILY_REPORT: {**PLOT_REPORT, **RECIPIENTS},
    Report.DAILY_NUMBERS: {
        "plots": count("plot files on all drives that answered"),
        "plots_last_24_hours": count("plots that arrived"),
        "plots_since_last_reading": count("plots that arrived since `-ud` was run before, or in 24 hours"),
        "seconds_since_last_reading": number("how long ago that was; null: it never was", "seconds").or_null(),
    },
    Report.EXPLAIN: EXPLAIN,
    Report.STATUS: STATUS,
    Report.DRY_RUN: DRY_RUN,
    Report.COINS: COINS,
    Report.COIN_SUMMARY: {
        **TOTALS,
        "coins_last_24_hours": count("coins received"),
        "xch_last_24_hours": xch("what they are together"),
        **RECIPIENTS,
    },
    Report.NOTIFICATION_TEST: {
        "alerting": flag("`[notifications] alerting`: whether anything but this test is ever sent"),
        "tests": list_of(TEST, "one for each recipient of each channel"),
    },
    Report.LISTENERS: {
        "pids": plain_list(count("", "process ids"), "stale listeners that were found"),
        "ended": flag("whether they were ended"),
    },
}
COMMANDS = {
    Report.PLOT_REPORT: "drive_manager.py -pr --json",
    Report.TEMPERATURES: "drive_manager.py -ct --json",
    Report.DAILY_REPORT: "drive_manager.py -dr --json",
    Report.DAILY_NUMBERS: "drive_manager.py -ud --json",
    Report.EXPLAIN: "drive_manager.py --explain --json",
    Report.STATUS: "drive_manager.py --status --json, plot_manager.py --status --json",
    Report.DRY_RUN: "plot_manager.py --dry-run --json, move_local_plots.py --dry-run --json",
    Report.COINS: "coin_monitor.py --report --json",
    Report.COIN_SUMMARY: "coin_monitor.py --summary --json",
    Report.NOTIFICATION_TEST: "drive_manager.py --test_notifications --json, coin_monitor.py ...",
    Report.LISTENERS: "kill_nc.sh --json",
}
ENVELOPE = {
    "schema": Field({"const": SCHEMA}, "number", "the version of this interface"),
    "report": one_of(Report, "which report it is, and so what stands in `data`"),
    "host": text("the host that says it: `[system_settings] server_name`, or its own name"),
    "role": one_of(Role, "what that host is for, by the command"),
    "version": text("the version of this suite"),
    "time": moment("when the facts were so"),
    "data": Field({"type": "object"}, "object", "the facts, by the report"),
}


def schema() -> Json:
    """Return the JSON Schema of every document."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "What the commands of Chia Plot Manager say with --json",
        **object_schema(ENVELOPE),
        "allOf": [
            {
                "if": {"properties": {"report": {"const": report.value}}},
                "then": {"properties": {"data": {"$ref": f"#/$defs/{report.value}"}}},
            }
            for report in DATA
        ],
        "$defs": {report.value: object_schema(fields) for report, fields in DATA.items()},
    }


def tables() -> str:
    """Return a section for the envelope, and one for each report."""
    return "\n".join(_sections())


def _sections() -> Iterator[str]:
    yield "## The envelope"
    yield ""
    yield from _table(ENVELOPE)
    for report, fields in DATA.items():
        yield ""
        yield f"## `{report.value}`"
        yield ""
        yield ", ".join(f"`{command}`" for command in COMMANDS[report].split(", "))
        yield ""
        if report is Report.DAILY_REPORT:
            yield "All that `plot_report` has, and:"
            yield ""
            fields = RECIPIENTS
        yield from _table(fields)


def _table(fields: Fields) -> Iterator[str]:
    yield "| field | type or unit | meaning |"
    yield "|---|---|---|"
    yield from _rows(fields, "")


def _rows(fields: Fields, prefix: str) -> Iterator[str]:
    for name, field in fields.items():
        if name.endswith("_why") and name.removesuffix("_why") in fields:
            continue  # it stands beside the field that it explains
        unit = f"{field.unit}, or null" if field.is_nullable else field.unit
        reason = f", `{prefix}{name}_why`" if f"{name}_why" in fields else ""
        yield f"| `{prefix}{name}`{reason} | {unit} | {field.means} |"
        if field.below is DRIVE and name == "current_drive":
            yield f"| `{prefix}{name}.…` | | as in `drives[]` |"
        elif field.below is not None:
            mark = "[]" if "items" in field.schema else ""
            yield from _rows(field.below, f"{prefix}{name}{mark}.")


def written(document: str) -> str:
    """Return the document with its tables written anew."""
    begin, end = "<!-- fields: made by docs/json_fields.py -->\n", "\n<!-- end of fields -->"
    before, _, rest = document.partition(begin)
    _, _, after = rest.partition(end)
    return f"{before}{begin}{tables().strip()}{end}{after}"


def schema_text() -> str:
    """Return the content of json.schema.json."""
    return json.dumps(schema(), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    SCHEMA_FILE.write_text(schema_text(), encoding="utf-8")
    DOCUMENT.write_text(written(DOCUMENT.read_text(encoding="utf-8")), encoding="utf-8")
