"""A sender that lies, errs or babbles: the NAS says why it takes nothing, and executes and publishes nothing."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fake_sender import HELLO, OFFER, FakeSender, Message, segments_of
from farm_help import audit, held_locks, processes_of, stopped, wait_for

from plotfarm.base.checkpoints import STOP_AT
from plotfarm.base.state import State, Transfer
from testbed.farm import Farm
from testbed.plots import v1_name

CONTENT = b"\x07" + bytes(range(256)) * 8192
NAME = v1_name("by a fake sender", k=32)


@pytest.fixture(autouse=True)
def nothing_left(shared_farm: Farm) -> Iterator[None]:
    """After each test: no unfinished file, no process, no lock, and an empty set of drives to begin with."""
    for drive in shared_farm.drives:
        for path in drive.glob("plot-*"):
            path.unlink()
    logged = len(shared_farm.nas.log_text())
    yield
    wait_for(lambda: not processes_of(shared_farm), "the end of the session")
    assert shared_farm.parts() == []
    wait_for(lambda: not held_locks(shared_farm), "the release of every lock")
    assert "Traceback" not in shared_farm.nas.log_text()[logged:]


def assert_ended_in_one_line(sender: FakeSender) -> None:
    """Check that the session has ended with a word, not with a crash, and not with a page."""
    assert sender.hear() is None
    status, errors = sender.last_words()
    assert status == 1
    (line,) = errors.splitlines()
    assert line.startswith("receive_plot: ")
    assert line.isprintable()
    assert len(line) < 1000


def last_transfer(farm: Farm) -> Transfer:
    state = State(farm.nas.state)
    try:
        return state.transfers(limit=1)[0]
    finally:
        state.close()


@pytest.mark.parametrize(
    "name",
    [
        "",
        "a b.plot",
        "a'b\".plot",
        "$(touch trace).plot",
        "$(id).plot",
        "`id`.plot",
        "a\nb.plot",
        "a\0b.plot",
        "-rf.plot",
        ".hidden.plot",
        "../../etc/passwd.plot",
        "/etc/cron.d/x.plot",
        "..",
        "\udcff\udcfe.plot",
        "pl\u00f6t.plot",
        "x" * 250 + ".plot",
        "plot.exe",
        "x.plot.part",
        "x.plot.0123456789abcdef.part",
    ],
)
def test_names_that_may_not_arrive(shared_farm: Farm, name: str) -> None:
    with FakeSender(shared_farm) as sender:
        answer = sender.offer(name, len(CONTENT))
    assert answer is not None
    assert (answer["type"], answer["refusal"]) == ("refused", "name")
    assert answer["detail"].isprintable()
    assert shared_farm.stored() == {}


@pytest.mark.parametrize("question", ["ask", "offer"])
@pytest.mark.parametrize(
    "size",
    [0, -1, 2**63, 2**63 - 1, 10**400, 1.5, 1e308, float("nan"), "4096", None, True, [1]],
    ids=lambda value: str(value)[:20],
)
def test_sizes_that_make_no_sense(shared_farm: Farm, size: object, question: str) -> None:
    with FakeSender(shared_farm) as sender:
        if question == "ask":
            sender.say(type="ask", size=size)
        else:
            sender.say(**{**OFFER, "name": NAME, "size": size})
        assert_ended_in_one_line(sender)


@pytest.mark.parametrize("field", ["size", "streams", "free_bytes", "waiting_bytes", "hours_left", "k"])
def test_a_number_of_ten_thousand_digits(shared_farm: Farm, field: str) -> None:
    """Python itself refuses to read or to show a number of so many digits."""
    digits = b"1" + b"0" * 10_000
    with FakeSender(shared_farm) as sender:
        ask = b'{"type": "ask", "size": %s}\n' % digits
        fields = {**OFFER, "name": NAME, "size": len(CONTENT), field: 987654321}
        offer = _json(fields).replace(b"987654321", digits)
        sender.say_raw(ask if field == "size" else offer)
        assert_ended_in_one_line(sender)


def test_a_plot_larger_than_every_drive(shared_farm: Farm) -> None:
    with FakeSender(shared_farm) as sender:
        answer = sender.offer(NAME, 8 * 2**40)
    assert answer is not None
    assert (answer["type"], answer["refusal"]) == ("refused", "no drive")


@pytest.mark.parametrize("kind", ["gigahorse9", "", "\x1b[2J"])
def test_a_format_that_is_not_known(shared_farm: Farm, kind: str) -> None:
    with FakeSender(shared_farm) as sender:
        answer = sender.offer(NAME, len(CONTENT), kind)
    assert answer is not None
    assert (answer["type"], answer["refusal"]) == ("refused", "format")
    assert answer["detail"].isprintable()


@pytest.mark.parametrize(
    "fields",
    [
        {"format": None},
        {"format": ["v1"]},
        {"name": None},
        {"name": 7},
        {"name": {"a": 1}},
        {"name": "x" * 401},
        {"waiting_bytes": "x"},
        {"waiting_bytes": 2**70},
        {"k": "thirty-two"},
        {"k": 10**300},
        {"id": 12},
        {"id": "x" * 10_000},
        {"id": "\udcff"},
        {"plot_directory": ["x"]},
        {"plot_directory": "x" * 1000},
        {"free_bytes": "much"},
        {"free_bytes": 2**70},
        {"hours_left": "soon"},
        {"hours_left": 10**400},
        {"hours_left": 1e308},
        {"hours_left": float("nan")},
        {"patience_seconds": 1e9},
        {"patience_seconds": -1},
        {"streams": {"not": "yet"}},
        {"is_dry_run": "perhaps"},
        {"shoe_size": 47},
        {"type": "Offer"},
        {"type": "stored"},
        {"type": None},
    ],
    ids=lambda fields: "-".join(f"{name}-{value}"[:30] for name, value in fields.items()),
)
def test_fields_that_are_out_of_bounds(shared_farm: Farm, fields: dict[str, object]) -> None:
    with FakeSender(shared_farm) as sender:
        sender.say(**{**OFFER, "name": NAME, "size": len(CONTENT), **fields})
        assert_ended_in_one_line(sender)
    assert shared_farm.stored() == {}


@pytest.mark.parametrize("left_out", ["name", "size", "format", "is_dry_run", "hours_left"])
def test_fields_that_are_missing(shared_farm: Farm, left_out: str) -> None:
    fields = {**OFFER, "name": NAME, "size": len(CONTENT)}
    del fields[left_out]
    with FakeSender(shared_farm) as sender:
        sender.say(**fields)
        assert_ended_in_one_line(sender)


@pytest.mark.parametrize("directory", ["/plots/\udcff\udcfe", "/plots/\0/x", "\x1b]0;owned\x07", "/plots/\u202e"])
def test_strange_texts_are_kept_as_one_printable_line(shared_farm: Farm, directory: str) -> None:
    with FakeSender(shared_farm) as sender:
        stored = sender.deliver(NAME, CONTENT, plot_directory=directory, free_bytes=5, waiting_bytes=7)
    assert stored is not None
    assert stored["type"] == "stored", stored
    state = State(shared_farm.nas.state)
    rooms = state.rooms(since=0)
    state.close()
    assert rooms[-1].directory.isprintable()
    assert all(line.isprintable() for line in shared_farm.nas.log_text().splitlines())


def test_an_honest_session_in_other_words(shared_farm: Farm) -> None:
    """Fields in another order, heartbeats in between, and `sent` before the bytes."""
    with FakeSender(shared_farm) as sender:
        sender.say(type="heartbeat", phase="idle")
        backwards = dict(reversed(list({**OFFER, "name": NAME, "size": len(CONTENT)}.items())))
        sender.say(**backwards)
        ready = sender.hear()
        assert ready is not None
        sender.say(size=len(CONTENT), attempt=ready["attempt"], type="sent")
        sender.say(type="heartbeat", phase="pouring")
        sender.pour(ready, CONTENT)
        arrived = sender.hear()
        assert arrived == {"type": "arrived", "size": len(CONTENT), "segments": segments_of(CONTENT)}
        sender.say(type="commit")
        stored = sender.hear()
        assert stored is not None
        sender.say(type="recheck", number=7)
        rechecked = sender.hear()
        sender.say(type="done")
    (path,) = shared_farm.stored()
    expected = {"arrival": ready["arrival"], "path": str(path), "segments": segments_of(CONTENT)}
    assert stored == {"type": "stored", **expected}
    assert rechecked == {"type": "rechecked", "number": 7, "size": len(CONTENT), "mtime_ns": path.stat().st_mtime_ns}
    assert path.read_bytes() == CONTENT


@pytest.mark.parametrize(
    "fields",
    [
        {"version": 1},
        {"version": 2},
        {"version": 4},
        {"version": "3"},
        {"version": None},
        {"version": 10**30},
        {"suite": ["x"]},
        {"suite": "x" * 1000},
        {"lowest": 3, "highest": 3},
    ],
    ids=lambda fields: "-".join(f"{name}-{value}"[:30] for name, value in fields.items()),
)
def test_greetings_that_do_not_fit(shared_farm: Farm, fields: dict[str, object]) -> None:
    with FakeSender(shared_farm, hello={**HELLO, **fields}) as sender:
        assert_ended_in_one_line(sender)


@pytest.mark.parametrize(
    "words",
    [
        b'{"type": "offer", "name": "x.plot"\n',
        b"\xff\xfe\x00garbage\n",
        b"[1, 2, 3]\n",
        b'{"no": "type"}\n',
        b"[" * 200_000 + b"\n",
        b"[" * 10_000 + b"\n",
        b'{"type": "beat"}\n',
        b'{"type": "heartbeat", "phase": "dancing"}\n',
        b'{"type": "heartbeat", "phase": "idle"}\n' * 5000,
        b'{"type": "sent", "attempt": 1, "size": 5}\n' * 100,
        b'{"type": "commit"}\n',
        b'{"type": "done"}\n',
        b'{"type": "hello", "suite": "chia-plot-manager", "version": 3}\n',
        b'{"type": "ready", "port": 4040, "token": "00", "drive": "x", "arrival": "0", "segments": 0, "attempt": 1}\n',
        b"x" * 2_000_000,
        b'{"type": "offer", "name": "' + b"x" * 2_000_000 + b'"}\n',
        b'{"type": "have", "path": "/x", "segments": [' + b'"ab", ' * 500_000,
        b'{"type": "ask", "size": 5}\n' * 100_000,
    ],
    ids=lambda words: repr(words[:40]),
)
def test_babble_after_hello(shared_farm: Farm, words: bytes) -> None:
    with FakeSender(shared_farm) as sender:
        sender.say_raw(words)
        while (answer := sender.hear()) is not None:
            assert answer["type"] == "capacity"
        assert_ended_in_one_line(sender)


def test_no_hello_at_all(shared_farm: Farm) -> None:
    """What comes before a greeting may be the noise of a login script, but not for ever."""
    with FakeSender(shared_farm, hello=None) as sender:
        sender.say(**{**OFFER, "name": NAME, "size": 5})
        assert_ended_in_one_line(sender)


def test_noise_before_hello_has_an_end(shared_farm: Farm) -> None:
    with FakeSender(shared_farm, hello=None) as sender:
        sender.say_raw(b"last login: never\n" * 10_000)
        assert_ended_in_one_line(sender)


# ---- Bytes that are not those that were offered ---------------------------------------------------


@pytest.mark.parametrize("content", [CONTENT[:-1], b""], ids=["too little", "nothing"])
def test_less_arrives_than_was_offered(shared_farm: Farm, content: bytes) -> None:
    with FakeSender(shared_farm) as sender:
        ready = sender.offer(NAME, len(CONTENT))
        assert ready is not None
        sender.pour(ready, content)
        sender.say(type="sent", attempt=ready["attempt"], size=len(CONTENT))
        answer = sender.hear()
    assert answer is not None
    assert (answer["type"], answer["failure"], answer["is_resumable"]) == ("failed", "interrupted", False)
    assert shared_farm.stored() == {}
    assert last_transfer(shared_farm).ending == "interrupted"


@pytest.mark.parametrize("answer_to_it", ["reject", "silence"])
def test_a_flipped_bit_is_not_published(shared_farm: Farm, answer_to_it: str) -> None:
    """The NAS says what has arrived, and nothing has a name before the plotter has agreed to it."""
    flipped = CONTENT[:-1] + bytes([CONTENT[-1] ^ 1])
    with FakeSender(shared_farm) as sender:
        ready = sender.offer(NAME, len(CONTENT))
        assert ready is not None
        arrived = sender.send(ready, flipped)
        assert arrived is not None
        assert arrived["segments"] == segments_of(flipped) != segments_of(CONTENT)
        assert shared_farm.stored() == {}
        if answer_to_it == "reject":
            sender.say(type="reject", segment=0)
            failed = sender.hear()
            assert failed is not None
            assert (failed["type"], failed["failure"]) == ("failed", "rejected")
    wait_for(lambda: not processes_of(shared_farm), "the end of the session")
    assert shared_farm.stored() == {}


@pytest.mark.parametrize(
    "lie", [{"size": len(CONTENT) + 1}, {"attempt": 9_999}, {"size": 0}], ids=["longer", "another attempt", "0"]
)
def test_sent_that_is_not_true(shared_farm: Farm, lie: dict[str, object]) -> None:
    with FakeSender(shared_farm) as sender:
        ready = sender.offer(NAME, len(CONTENT))
        assert ready is not None
        sender.pour(ready, CONTENT)
        sender.say(**{"type": "sent", "attempt": ready["attempt"], "size": len(CONTENT), **lie})
        if "attempt" in lie:  # taken for a word about another connection: the NAS waits for the right one
            sender.say(type="sent", attempt=ready["attempt"], size=len(CONTENT))
            arrived = sender.hear()
            assert arrived is not None
            assert arrived["type"] == "arrived"
        else:
            assert_ended_in_one_line(sender)
    wait_for(lambda: not processes_of(shared_farm), "the end of the session")
    assert shared_farm.stored() == {}


def test_more_bytes_than_offered_are_not_taken(shared_farm: Farm) -> None:
    with FakeSender(shared_farm) as sender:
        ready = sender.offer(NAME, len(CONTENT))
        assert ready is not None
        with sender.connect(ready) as data:
            data.sendall(CONTENT + b"and much more" * 20_000)
            sender.say(type="sent", attempt=ready["attempt"], size=len(CONTENT))
            arrived = sender.hear()
        assert arrived is not None
        assert arrived["segments"] == segments_of(CONTENT)
        sender.say(type="commit")
        stored = sender.hear()
    assert stored is not None
    assert stored["type"] == "stored"
    assert [path.read_bytes() for path in shared_farm.stored()] == [CONTENT]


@pytest.mark.parametrize(("kind", "content"), [("v1", CONTENT), ("gplot", b"#!/bin/sh\nid\n" + CONTENT)])
def test_a_header_that_is_not_what_was_offered(shared_farm: Farm, kind: str, content: bytes) -> None:
    with FakeSender(shared_farm) as sender:
        ready = sender.offer(NAME, len(content), kind)
        assert ready is not None
        answer = sender.send(ready, content)
    assert answer is not None
    assert (answer["type"], answer["failure"]) == ("failed", "wrong header")
    assert shared_farm.stored() == {}


def test_a_late_word_about_bytes_that_were_given_up_keeps_nobody_from_hearing_why(shared_farm: Farm) -> None:
    """That all is sent may still be on its way when the NAS has given up: the sender hears why all the same."""
    shared_farm.set_nas_environment({STOP_AT: "before:RemovePart"})
    try:
        with FakeSender(shared_farm) as sender:
            ready = sender.offer(NAME, len(CONTENT), "gplot")
            assert ready is not None
            sender.pour(ready, CONTENT)
            receiver = wait_for(lambda: stopped(shared_farm), "a receiver that deals with the part")
            sender.say(type="sent", attempt=ready["attempt"], size=len(CONTENT))
            receiver.resume()
            answer = sender.hear()
    finally:
        shared_farm.set_nas_environment({})
    assert answer is not None
    assert (answer["type"], answer["failure"]) == ("failed", "wrong header")


@pytest.mark.parametrize("offered", [{"format": "v1", "id": "ab" * 32}, {"format": "unknown"}])
def test_another_plot_than_offered(
    shared_farm: Farm, put_v1: Callable[[Path, str], Path], tmp_path: Path, offered: dict[str, str]
) -> None:
    content = put_v1(tmp_path, "smuggled").read_bytes()
    with FakeSender(shared_farm) as sender:
        sender.say(**{**OFFER, "name": NAME, "size": len(content), **offered})
        ready = sender.hear()
        assert ready is not None
        sender.pour(ready, content)
        answer = sender.hear()
    assert answer is not None
    assert (answer["type"], answer["failure"]) == ("failed", "wrong header")
    assert shared_farm.stored() == {}


@pytest.mark.parametrize("kind", ["to a file", "to nowhere", "to a directory", "a directory", "a pipe"])
@pytest.mark.parametrize("suffix", ["", ".part"])
def test_something_planted_under_the_name(shared_farm: Farm, tmp_path: Path, kind: str, suffix: str) -> None:
    """What lies on the drive under the name, or under NAME.part, is neither followed nor replaced."""
    victim = tmp_path / "victim"
    victim.write_text("precious")
    planted = shared_farm.drives[0] / f"{NAME}{suffix}"
    if kind == "a directory":
        planted.mkdir()
    elif kind == "a pipe":
        os.mkfifo(planted)
    else:
        planted.symlink_to({"to a file": victim, "to a directory": tmp_path}.get(kind, tmp_path / "new"))
    before = os.lstat(planted)
    try:
        with FakeSender(shared_farm) as sender:
            answer = sender.deliver(NAME, CONTENT)
        assert answer is not None
        assert os.lstat(planted).st_ino == before.st_ino
        assert os.lstat(planted).st_mode == before.st_mode
        assert victim.read_text() == "precious"
        assert sorted(path.name for path in tmp_path.iterdir()) == ["victim"]
        assert answer["type"] == "stored", answer  # another drive takes it
    finally:
        planted.rmdir() if kind == "a directory" else planted.unlink()
    audit(shared_farm, {path.name: digest for path, digest in shared_farm.stored().items()})


def _json(message: Message) -> bytes:
    return json.dumps(message).encode() + b"\n"
