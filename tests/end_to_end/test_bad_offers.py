"""A sender that lies, errs or babbles: the NAS says why it takes nothing, and executes and publishes nothing."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fake_sender import FakeSender, digest_of
from farm_help import audit, held_locks, processes_of, wait_for

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
    wait_for(lambda: not processes_of(shared_farm), "the end of the conversation")
    assert shared_farm.parts() == []
    wait_for(lambda: not held_locks(shared_farm), "the release of every lock")
    assert "Traceback" not in shared_farm.nas.log_text()[logged:]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("", "the name is empty"),
        ("a b.plot", "the name contains a space"),
        ("a'b\".plot", "the name contains '"),
        ("$(touch trace).plot", "the name contains a space"),
        ("$(id).plot", "the name contains $"),
        ("`id`.plot", "the name contains `"),
        ("a\nb.plot", "the name contains a line break"),
        ("a\0b.plot", "the name contains a NUL byte"),
        ("-rf.plot", "begins with '-'"),
        (".hidden.plot", "begins with '.'"),
        ("../../etc/passwd.plot", "the name contains a '/'"),
        ("/etc/cron.d/x.plot", "the name contains a '/'"),
        ("..", "begins with '.'"),
        ("\udcff\udcfe.plot", "not valid UTF-8"),
        ("pl\u00f6t.plot", "only letters, digits"),
        ("x" * 250 + ".plot", "at most 250 are allowed"),
        ("plot.exe", "does not end with"),
        ("x.plot.part", "does not end with"),
    ],
)
def test_names_that_may_not_arrive(shared_farm: Farm, name: str, reason: str) -> None:
    with FakeSender(shared_farm) as sender:
        answer = sender.offer(name, len(CONTENT))
    assert answer is not None
    assert (answer["type"], answer["retry"]) == ("refused", False)
    assert reason in answer["reason"]
    assert answer["reason"].isprintable()
    assert shared_farm.stored() == {}


@pytest.mark.parametrize(
    ("size", "said"),
    [
        (0, "an offer of 0 bytes"),
        (-1, "without a number 'size'"),
        (2**63, "an offer of 9223372036854775808 bytes"),
        (10**400, "an offer of 1000"),
        (1.5, "without a number 'size'"),
        ("4096", "without a number 'size'"),
        (None, "without a number 'size'"),
        (True, "without a number 'size'"),
        ([1], "without a number 'size'"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_sizes_that_make_no_sense(shared_farm: Farm, size: object, said: str) -> None:
    with FakeSender(shared_farm) as sender:
        assert sender.offer(NAME, size) is None
        status, errors = sender.last_words()
    assert status == 1
    assert said in errors
    assert len(errors) < 1000


def test_a_plot_larger_than_every_drive(shared_farm: Farm) -> None:
    with FakeSender(shared_farm) as sender:
        answer = sender.offer(NAME, 2**63 - 1)
    assert answer is not None
    assert answer["type"] == "refused"
    assert "no drive can take 8192.0 PiB now" in answer["reason"]


@pytest.mark.parametrize("kind", ["gigahorse9", "", "\x1b[2J"])
def test_a_kind_that_is_not_known(shared_farm: Farm, kind: str) -> None:
    with FakeSender(shared_farm) as sender:
        answer = sender.offer(NAME, len(CONTENT), kind)
    assert answer is not None
    assert (answer["type"], answer["retry"]) == ("refused", False)
    assert "are not known here: upgrade this NAS" in answer["reason"]
    assert answer["reason"].isprintable()


@pytest.mark.parametrize(
    "fields",
    [{"kind": None}, {"kind": ["v1"]}, {"name": None}, {"name": 7}, {"name": {"a": 1}}, {"waiting_bytes": "x"}],
)
def test_fields_of_a_wrong_type(shared_farm: Farm, fields: dict[str, object]) -> None:
    with FakeSender(shared_farm) as sender:
        sender.say(**{"type": "offer", "name": NAME, "size": 5, "kind": "unknown", **fields})
        assert sender.hear() is None
        status, errors = sender.last_words()
    assert (status, len(errors.splitlines())) == (1, 1)
    assert "message 'offer' without a" in errors


@pytest.mark.parametrize(
    "fields",
    [
        {"k": "thirty-two", "id": 12, "plot_directory": ["x"], "free_bytes": "much", "hours_left": "soon"},
        {"k": 10**300, "id": "x" * 500_000, "free_bytes": 2**70, "waiting_bytes": 2**70, "hours_left": 1e308},
        {"free_bytes": 5, "hours_left": 10**400},
        {"free_bytes": 5, "hours_left": float("nan")},
        {"free_bytes": 5, "plot_directory": "/plots/\udcff\udcfe", "waiting_bytes": 7},
        {"free_bytes": 5, "plot_directory": "/plots/\0/x"},
        {"shoe_size": 47, "streams": {"not": "yet"}, "dry_run": "perhaps"},
    ],
)
def test_unknown_and_strange_extras_do_not_matter(shared_farm: Farm, fields: dict[str, object]) -> None:
    with FakeSender(shared_farm) as sender:
        ready = sender.offer(NAME, len(CONTENT), **fields)
        assert ready is not None, sender.last_words()
        assert ready["type"] == "ready"
        sender.pour(ready, CONTENT)
        sender.say(type="sent", attempt=ready["attempt"], size=len(CONTENT), digest=digest_of(CONTENT), why="x")
        stored = sender.hear()
    assert stored is not None
    assert stored["type"] == "stored", stored
    assert [path.name for path in shared_farm.stored()] == [NAME]


def test_an_honest_conversation_in_other_words(shared_farm: Farm) -> None:
    """Everything at once, without waiting for an answer; a newer suite; fields that nobody knows."""
    newer = {"type": "hello", "lowest": 1, "highest": 9, "suite": "other", "features": ["direct"]}
    with FakeSender(shared_farm, hello=newer) as sender:
        ready = sender.offer(NAME, len(CONTENT), new_field=1)
        assert ready is not None
        sender.say(type="beat", mood="good")
        sender.pour(ready, CONTENT)
        sender.say(type="sent", attempt=ready["attempt"], size=len(CONTENT), digest=digest_of(CONTENT))
        stored = sender.hear()
    assert stored is not None
    assert (stored["type"], stored["digest"]) == ("stored", digest_of(CONTENT))
    (path,) = shared_farm.stored()
    assert path.read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("hello", "said"),
    [
        ({"type": "hello", "lowest": 0, "highest": 0}, "upgrade the other end"),
        ({"type": "hello", "lowest": 3, "highest": 9}, "upgrade this end"),
        ({"type": "hello", "lowest": 1}, "without a number 'highest'"),
        ({"type": "hello", "lowest": "1", "highest": "9"}, "without a number 'lowest'"),
    ],
)
def test_versions_that_do_not_meet(shared_farm: Farm, hello: dict[str, object], said: str) -> None:
    with FakeSender(shared_farm, hello=hello) as sender:
        assert sender.hear() is None
        status, errors = sender.last_words()
    assert status == 1
    assert said in errors


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (b'{"type": "offer", "name": "x.plot"\n', "sent what is no message"),
        (b"\xff\xfe\x00garbage\n", "sent what is no message"),
        (b"[1, 2, 3]\n", "sent what is no message"),
        (b'{"no": "type"}\n', "sent what is no message"),
        (b"[" * 200_000 + b"\n", "sent what is no message"),
        (b'{"type": "beat"}\n' * 5000 + b'{"type": "sent"}\n', "'sent' instead of 'offer'"),
        (b"x" * 2_000_000, "sent a line without an end"),
        (b'{"type": "offer", "name": "' + b"x" * 2_000_000 + b'"}\n', "sent a line"),
    ],
)
def test_babble_after_hello(shared_farm: Farm, words: bytes, said: str) -> None:
    with FakeSender(shared_farm) as sender:
        sender.say_raw(words)
        assert sender.hear() is None
        status, errors = sender.last_words()
    assert status == 1
    assert said in errors
    assert len(errors) < 2000


def test_no_hello_at_all(shared_farm: Farm) -> None:
    with FakeSender(shared_farm, hello=None) as sender:
        sender.say(type="offer", name=NAME, size=5, kind="unknown")
        assert sender.hear() is None
        status, errors = sender.last_words()
    assert status == 1
    assert "the plotter" in errors


def _lies(content: bytes) -> list[tuple[str, bytes, dict[str, object], str]]:
    flipped = bytes([content[0]]) + content[1:-1] + bytes([content[-1] ^ 1])
    honest = {"size": len(content), "digest": digest_of(content)}
    return [
        ("another digest", content, {**honest, "digest": digest_of(flipped)}, "not the bytes that were sent"),
        ("another size", content, {**honest, "size": len(content) + 1}, "not the bytes that were sent"),
        ("a flipped bit", flipped, honest, "not the bytes that were sent"),
        ("too little", content[:-1], honest, "the data connection ended after"),
        ("nothing", b"", honest, "the data connection ended after 0 of"),
        ("no digest", content, {"size": len(content)}, "without a text 'digest'"),
    ]


@pytest.mark.parametrize(("what", "content", "said", "reason"), _lies(CONTENT), ids=lambda value: str(value)[:16])
def test_what_was_sent_is_not_what_arrived(
    shared_farm: Farm, what: str, content: bytes, said: dict[str, object], reason: str
) -> None:
    with FakeSender(shared_farm) as sender:
        ready = sender.offer(NAME, len(CONTENT))
        assert ready is not None
        sender.pour(ready, content)
        sender.say(type="sent", attempt=ready["attempt"], **said)
        answer = sender.hear()
    assert answer is not None, what
    assert answer["type"] == "failed"
    assert reason in answer["reason"]
    assert shared_farm.stored() == {}


def test_more_bytes_than_offered_are_not_taken(shared_farm: Farm) -> None:
    with FakeSender(shared_farm) as sender:
        ready = sender.offer(NAME, len(CONTENT))
        assert ready is not None
        sender.pour(ready, CONTENT + b"and much more" * 100_000)
        sender.say(type="sent", attempt=ready["attempt"], size=len(CONTENT), digest=digest_of(CONTENT))
        sender.hear()
    assert [path.read_bytes() for path in shared_farm.stored()] in ([], [CONTENT])


@pytest.mark.parametrize(
    ("kind", "content", "reason"),
    [
        ("v1", CONTENT, "the bytes are of a unknown plot, but a v1 plot was offered"),
        ("gplot", b"#!/bin/sh\nid\n" + CONTENT, "the bytes are of a unknown plot"),
    ],
)
def test_a_header_that_is_not_what_was_offered(shared_farm: Farm, kind: str, content: bytes, reason: str) -> None:
    with FakeSender(shared_farm) as sender:
        ready = sender.offer(NAME, len(content), kind)
        assert ready is not None
        sender.pour(ready, content)
        sender.say(type="sent", attempt=ready["attempt"], size=len(content), digest=digest_of(content))
        answer = sender.hear()
    assert answer is not None
    assert answer["type"] == "failed"
    assert reason in answer["reason"]
    assert shared_farm.stored() == {}


@pytest.mark.parametrize(
    ("offered", "reason"),
    [
        ({"kind": "v1", "id": "ab" * 32}, "the bytes are of another plot than was offered"),
        ({"kind": "unknown"}, "the bytes are of a v1 plot, but a unknown plot was offered"),
    ],
)
def test_another_plot_than_offered(
    shared_farm: Farm, put_v1: Callable[[Path, str], Path], tmp_path: Path, offered: dict[str, str], reason: str
) -> None:
    content = put_v1(tmp_path, "smuggled").read_bytes()
    with FakeSender(shared_farm) as sender:
        ready = sender.offer(NAME, len(content), **offered)
        assert ready is not None
        sender.pour(ready, content)
        answer = sender.hear()
    assert answer is not None
    assert answer["type"] == "failed"
    assert reason in answer["reason"]
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
            answer = sender.offer(NAME, len(CONTENT))
            if answer is not None and answer["type"] == "ready":
                sender.pour(answer, CONTENT)
                sender.say(type="sent", attempt=answer["attempt"], size=len(CONTENT), digest=digest_of(CONTENT))
                answer = sender.hear()
        assert answer is not None
        assert answer["type"] in ("stored", "failed", "refused"), answer
        assert os.lstat(planted).st_ino == before.st_ino
        assert os.lstat(planted).st_mode == before.st_mode
        assert victim.read_text() == "precious"
        assert sorted(path.name for path in tmp_path.iterdir()) == ["victim"]
        assert answer["type"] == "stored", answer  # another drive takes it
    finally:
        planted.rmdir() if kind == "a directory" else planted.unlink()
    audit(shared_farm, {path.name: digest for path, digest in shared_farm.stored().items()})
