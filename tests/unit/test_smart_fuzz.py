"""Ten thousand answers that no smartctl ever gave: none may raise an error, or take long."""

from __future__ import annotations

import copy
import json
import random
import time
from pathlib import Path

import pytest

from plotfarm.base.config.sections import Smart
from plotfarm.drives.conditions import health_conditions
from plotfarm.drives.damage import damage_of
from plotfarm.drives.health import Assessment
from plotfarm.drives.model import Drive
from plotfarm.drives.smart.answers import health_from
from plotfarm.drives.smart.calls import Answer

SAMPLES = [path.read_text() for path in sorted((Path(__file__).parents[1] / "data" / "smartctl").iterdir())]
DOCUMENTS = [text for text in SAMPLES if text.startswith("{") and text.endswith("}\n")]
DRIVE = Drive("/mnt/drive1", "/dev/sdx1", "uuid:1", 2049, "ext4")
NOW = 1_700_000_000.0
LIMIT_SECONDS = 1.0
COUNTS = (
    "reallocated", "pending", "uncorrectable", "crc_errors", "reported_uncorrectable", "command_timeouts",
    "power_on_hours", "start_stop_count",
)  # fmt: skip
JUNK = (
    None, True, False, 0, -1, 1, 2**31, 2**63, 2**64, -(2**70), 0.5, 1e308, float("nan"), "", "0", "FAILED!",
    "now", "past", "\ud800", "\x1b[2J", "\u202e", "9" * 5000, " ", "10 (Average 12)", [], [None], {},
    {"value": "x"}, {"id": 5}, [[[[]]]],
)  # fmt: skip
NOISE = (
    "", "{", "}", "\x00", "\n", '"', "{\n", "SMART Health Status: WARNING\n", "result: UNKNOWN!\n", "read:\n",
    "\x1b[31m", "Device is in STANDBY mode, exit(2)\n", "sudo: no\n", "\ufeff",
    "self-assessment test result: FAILED!\n",
)  # fmt: skip


def judged(text, status):
    """Judge an answer as a run does; returns the health, within the limit."""
    begun = time.monotonic()
    said = health_from(Answer(text, status), "/dev/sdx", NOW, "a line")
    health_conditions([DRIVE], {"uuid:1": said}, {"uuid:1": [said]}, {}, Smart())
    assert time.monotonic() - begun < LIMIT_SECONDS
    return said


def assert_fit_to_be_shown(said):
    assert said.problem.isprintable()
    assert said.serial.isprintable()
    assert said.model.isprintable()
    assert damage_of(said).details().isprintable()
    assert max(map(len, (said.serial, said.model, said.worn))) <= 100
    assert len(said.problem) < 400
    assert said.assessment in set(Assessment)
    assert said.celsius is None or 1 <= said.celsius <= 120
    for name in COUNTS:
        value = getattr(said, name)
        assert value is None or (type(value) is int and 0 <= value < 2**63), name
    assert bool(said.problem) or said.asleep or said.last_read == NOW
    assert not said.problem or (said.assessment, said.last_read) == (Assessment.NOT_SAID, None)


def with_junk(chance, text):
    """Return a document with a few of its values replaced, removed or doubled."""
    document = json.loads(text)
    for _ in range(chance.randint(1, 6)):
        place = document
        while True:
            keys = list(place) if isinstance(place, dict) else list(range(len(place)))
            if not keys:
                break
            key = chance.choice(keys)
            if isinstance(place[key], dict | list) and chance.random() < 0.8:
                place = place[key]
                continue
            place[key] = copy.deepcopy(chance.choice(JUNK))
            break
    return json.dumps(document)


def with_noise(chance, text):
    """Return a text that was cut, spliced or garbled."""
    start, end = sorted(chance.choices(range(len(text) + 1), k=2))
    match chance.randrange(4):
        case 0:
            return text[:end]
        case 1:
            return text[:start] + chance.choice(NOISE) + text[end:]
        case 2:
            return chance.choice(NOISE) + text + chance.choice(NOISE)
        case _:
            return text[:start] + "".join(chr(chance.randrange(0x250)) for _ in range(20)) + text[start:]


@pytest.mark.parametrize("seed", range(10))
def test_a_thousand_answers_raise_no_error(seed):
    chance = random.Random(seed)
    for _ in range(1000):
        text = with_junk(chance, chance.choice(DOCUMENTS)) if chance.random() < 0.6 else chance.choice(SAMPLES)
        if chance.random() < 0.4:
            text = with_noise(chance, text)
        assert_fit_to_be_shown(judged(text, chance.choice((0, 0, 0, 1, 2, 4, 8, 32, 64, 216, -9, 127, 255))))


def scsi(*lines):
    device = {"device": {"protocol": "SCSI"}, "temperature": {"current": 30}}
    return json.dumps({**device, "smartctl": {"output": lines, "exit_status": 0}})


MEGABYTES = 4 << 20  # as much as is read of an answer


@pytest.mark.parametrize(
    "text",
    [
        "{" * MEGABYTES,
        '{"a":' * 500_000,
        "[" * MEGABYTES,
        '{"serial_number": "' + "\\u0007" * 600_000 + '"}',
        '{"serial_number": ' + "9" * MEGABYTES + "}",
        '{"ata_smart_attributes": {"table": [' + '{"id":5,"raw":{"string":"' + "1" * 3_000_000 + '"}}]}}',
        '{"ata_smart_attributes": {"table": [' + ",".join(['{"id":5,"when_failed":"now"}'] * 100_000) + "]}}",
        "Unknown USB bridge [" * 200_000,
        "please try adding '-d " * 190_000,
        "Unknown device type '" * 190_000,
        "Device is in " + " mode, exit(1" * 300_000,
        "Smartctl open device: " + " failed: " * 400_000,
        "SMART support is:" + " \n" * 2_000_000,
        "SMART Health Status: " * 190_000,
        "=== " + " ===" * 1_000_000 + "=",
        "\n" * MEGABYTES,
        scsi("# 1  " + "a  " * 1_000_000),
        scsi("SMART Self-test log", *["# 1  " + "a  " * 60] * 20_000),
        scsi(*["read: " + "1 " * 90] * 20_000),
        scsi("Temperature: " + "1" * 3_000_000),
    ],
    ids=range(20),
)
def test_no_answer_is_made_so_that_it_takes_long(text):
    for status in (0, 1):
        assert_fit_to_be_shown(judged(text, status))
