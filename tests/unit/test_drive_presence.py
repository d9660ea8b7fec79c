"""What the owner is told of drives that are gone or cannot be used, for every reason that there is."""

from __future__ import annotations

import errno
import json
from dataclasses import asdict, replace

import pytest

from plotfarm.base.condition import Condition, Look, Severity
from plotfarm.base.config.sections import Watch
from plotfarm.drives.health import Health
from plotfarm.drives.model import Drive, Verdict
from plotfarm.drives.presence import Silence, presence_conditions, response
from plotfarm.drives.reasons import Reason, Why, why_of_error, why_of_json
from plotfarm.reports.reasons import briefly, counted, mood
from plotfarm.reports.words import of_condition, of_kind

DRIVE = Drive("/mnt/enclosure0/drive6", "/dev/sda1", "uuid:6", 2049, "ext4")
GOOD = Health("/dev/sda", 0.0, serial="S6", model="M6")
NAMES = {
    "drive": "drive6", "mountpoint": "/mnt/enclosure0/drive6", "device": "/dev/sda1", "serial": "S6", "model": "M6",
}  # fmt: skip
WARNING, CRITICAL = Severity.WARNING, Severity.CRITICAL
AT_ONCE, AFTER_A_WHILE = 0, 120

# What each reason raises, or why it raises nothing.
RAISED = {
    Reason.HAS_ROOM: Silence.IN_ORDER,
    Reason.FULL: Silence.TOGETHER,
    Reason.TOO_SMALL: Silence.TOGETHER,
    Reason.OFFLINED: Silence.WANTED,
    Reason.SYSTEM_DISK: Silence.WANTED,
    Reason.PROGRAM_DISK: Silence.WANTED,
    Reason.DUPLICATE: Silence.WANTED,
    Reason.NOT_ASKED: Silence.NOT_DRIVES,
    Reason.QUARANTINED: Silence.ANOTHER_CHECK,
    Reason.FAILING: Silence.ANOTHER_CHECK,
    Reason.WORN: Silence.ANOTHER_CHECK,
    Reason.HOT: Silence.ANOTHER_CHECK,
    Reason.NOT_MOUNTED: ("missing", CRITICAL, AFTER_A_WHILE),
    Reason.NO_MARKER: ("missing", CRITICAL, AFTER_A_WHILE),
    Reason.WRONG_DRIVE: ("wrong_drive", CRITICAL, AT_ONCE),
    Reason.MEANT_READ_ONLY: Silence.WANTED,
    Reason.READ_ONLY: ("read_only", CRITICAL, AT_ONCE),
    Reason.IO_ERROR: ("io_error", CRITICAL, AT_ONCE),
    Reason.NO_PERMISSION: ("no_permission", WARNING, AT_ONCE),
    Reason.NOT_ANSWERING: ("not_answering", CRITICAL, AFTER_A_WHILE),
    Reason.PROBE_HANGS: ("not_answering", CRITICAL, AFTER_A_WHILE),
    Reason.WRITER_HANGS: ("not_answering", CRITICAL, AFTER_A_WHILE),
    Reason.PROBE_BROKEN: ("probe_broken", WARNING, AFTER_A_WHILE),
    Reason.NOT_COUNTED_IN_TIME: Silence.NOT_DRIVES,
    Reason.COUNT_UNDER_WAY: Silence.NOT_DRIVES,
}
ABSENT = (Reason.NOT_MOUNTED, Reason.NO_MARKER, Reason.WRONG_DRIVE)


def seen(why, drive=DRIVE, known=("uuid:6",), plots=None, offlined=()):
    verdict = Verdict(drive, why if isinstance(why, Why) else Why(why))
    count = {"uuid:6": 431} if plots is None else plots
    return presence_conditions([verdict], known, count, {"uuid:6": GOOD}, offlined, Watch(missing_minutes=2))


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_raises_an_alert_or_says_why_not(reason):
    expected, found = RAISED[reason], seen(Why(reason, "a detail"))
    if isinstance(expected, Silence):
        assert response(reason) is expected
        assert found == []
        return

    kind, severity, patience = expected
    facts = {**NAMES, "reason": reason.value, "why": str(Why(reason, "a detail")), "plots": 431}
    assert found == [Condition(kind, "uuid:6", severity, facts, patience_seconds=patience)]
    assert kind in Look.PRESENCE.kinds


def test_no_kind_of_alert_is_without_a_reason():
    assert {expected[0] for expected in RAISED.values() if isinstance(expected, tuple)} == Look.PRESENCE.kinds


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_has_words_and_a_colour(reason):
    verdict = Verdict(DRIVE, Why(reason, "a detail"))
    for words in (reason.label, str(verdict.why), str(Why(reason)), briefly(verdict, 10), counted([verdict])):
        assert words and words.isprintable() and "a detail: " not in words
    assert mood(reason) in ("", "dim", "warning", "critical")


@pytest.mark.parametrize("reason", [reason for reason in Reason if isinstance(RAISED[reason], tuple)])
def test_every_alert_has_words_of_its_own(reason, caplog):
    (condition,) = seen(Why(reason, "a detail"))
    for over in (False, True):
        said, together = of_condition(condition, over), of_kind([condition, condition], over)
        for words in (said.headline, said.sentence, together.headline):
            assert "unknown" not in words and len(words) > 10
        assert "drive6" in said.headline and together.headline.split("; ")[0].count("2 plot drives")
        assert over or together.advice
    assert caplog.text == "", "a template is broken"


@pytest.mark.parametrize("reason", Reason)
def test_a_reason_goes_through_json(reason):
    why = Why(reason, "a détail \n")
    assert why_of_json(json.loads(json.dumps(asdict(why)))) == why


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        (errno.EROFS, Reason.READ_ONLY),
        (errno.EIO, Reason.IO_ERROR),
        (errno.ESTALE, Reason.IO_ERROR),
        (errno.EUCLEAN, Reason.IO_ERROR),
        (errno.ENOTCONN, Reason.IO_ERROR),
        (errno.EACCES, Reason.NO_PERMISSION),
        (errno.EPERM, Reason.NO_PERMISSION),
        (errno.ENOENT, Reason.NOT_MOUNTED),
        (errno.ENOTDIR, Reason.NOT_MOUNTED),
        (None, Reason.IO_ERROR),
    ],
)
def test_what_a_failed_call_says(number, reason):
    assert why_of_error(OSError(number, "") if number else OSError("a word")).reason is reason


@pytest.mark.parametrize("reason", ABSENT)
def test_a_missing_drive_without_plots_is_a_warning(reason):
    (missing,) = seen(reason, plots={"uuid:6": 0})
    assert (missing.severity, missing.facts["plots"]) == (WARNING, 0)
    (never_counted,) = seen(reason, plots={})
    assert (never_counted.severity, never_counted.facts["plots"]) == (CRITICAL, None)


@pytest.mark.parametrize("reason", Reason)
def test_only_what_was_never_here_is_not_missing(reason):
    is_raised = isinstance(RAISED[reason], tuple) and reason not in ABSENT
    assert bool(seen(reason, known=())) == is_raised


@pytest.mark.parametrize("entry", ["uuid:6", "drive6", "/mnt/enclosure0/drive6", "/dev/sda1"])
@pytest.mark.parametrize("reason", Reason)
def test_an_offlined_drive_is_not_told_of(entry, reason):
    assert seen(reason, offlined=[entry]) == []


def test_names_are_fit_to_be_shown():
    strange = replace(DRIVE, mountpoint="/mnt/a\nb\x1b[2J\udcff", device="/dev/mapper/x\u202e")
    (missing,) = seen(Why(Reason.WRONG_DRIVE, "mount:/a\nb"), drive=strange)
    assert all(value.isprintable() for value in missing.facts.values() if isinstance(value, str))
    assert missing.facts["drive"] == r"a\nb\x1b[2J\xff"
