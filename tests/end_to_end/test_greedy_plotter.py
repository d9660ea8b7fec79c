"""A plotter's key in wrong hands: it gets its quota, its share and a few processes, and nothing that is another's."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from evil_plotter import (
    LEAST_KEPT_BYTES,
    MIB,
    NAME,
    SEGMENT_BYTES,
    EvilPlotter,
    Watcher,
    content,
    flood,
    name,
    room_taken,
    shorten_segments,
    steal_key,
)
from fake_sender import FakeSender, receivers
from farm_help import audit, logs, names_and_digests, processes_of, times_reached, wait_for

from plotfarm.base.state import State
from testbed.farm import Farm

NewFarm = Callable[..., Farm]
PutV1 = Callable[[Path, str], Path]
MOST_MEMORY_BYTES = 64 * 10**6


def evil(farm: Farm) -> EvilPlotter:
    shorten_segments(farm)
    return EvilPlotter(farm, steal_key(farm))


# ---- Quotas ----


@pytest.mark.parametrize("names", ["other names", "one name, other sizes"])
def test_a_quota_counts_what_interrupted_arrivals_left(new_farm: NewFarm, names: str) -> None:
    farm = new_farm(nas_settings={"receiving.daily_quota": "8 MiB"})
    thief = evil(farm)
    before = room_taken(farm)
    refusals = []
    for number in range(10):
        plot = name(str(number) if names == "other names" else "same")
        answer = thief.leave_part(plot, content(number, 3 * MIB + number), 2 * MIB)
        assert answer is not None
        refusals.append(answer.get("refusal"))
        assert room_taken(farm) - before <= 8 * MIB
    assert refusals[0] is None
    assert refusals[-1] == "daily quota"
    assert len(farm.parts()) >= 2


def test_a_quota_counts_what_is_stored_and_what_is_kept(new_farm: NewFarm) -> None:
    farm = new_farm(nas_settings={"receiving.daily_quota": "8 MiB"})
    thief = evil(farm)
    thief.leave_part(name("kept"), content(1, 3 * MIB), 2 * MIB)
    with thief.session() as sender:
        stored = sender.deliver(name("stored"), content(2, 5 * MIB))
        refused = sender.offer(name("too much"), 2 * MIB)
        resumed = sender.offer(name("kept"), 3 * MIB)
    assert stored is not None
    assert stored["type"] == "stored"
    assert refused is not None
    assert refused["refusal"] == "daily quota"
    assert resumed is not None
    assert resumed["type"] == "partial", "what is kept counts once, so the rest of it may come"


def test_no_number_of_rows_pushes_stored_plots_out_of_the_quota(new_farm: NewFarm) -> None:
    """Each answer `have` is a row: so many that no history is kept for ever, and the quota is none of it."""
    farm = new_farm(nas_settings={"receiving.daily_quota": "4 MiB"})
    thief = evil(farm)
    own = content(1, 3 * MIB)
    with FakeSender(farm) as honest:
        honest.deliver(name("of another plotter"), content(2, MIB))
    with thief.session() as sender:
        sender.deliver(name("own"), own)
    _copy_last_row(farm, 120_000)
    with thief.session() as sender:
        have = sender.deliver(name("own"), own)
        assert have is not None
        assert have["type"] == "have"
        sender.say(type="done")
        refused = sender.offer(name("one more"), 2 * MIB)
    assert refused is not None
    assert refused["refusal"] == "daily quota"

    state = State(farm.nas.state)
    (row,) = state.transfers(plot=name("of another plotter"))
    assert row.ending == "stored"
    rows = state.database.rows("SELECT count(*) FROM transfers WHERE plotter = ?", (NAME,))
    state.close()
    assert rows[0][0] <= 50_001


def _copy_last_row(farm: Farm, count: int) -> None:
    """Let the NAS have answered so many times that it has the last plot."""
    database = sqlite3.connect(farm.nas.state / "state.sqlite")
    columns = [row[1] for row in database.execute("PRAGMA table_info(transfers)") if row[1] != "id"]
    row = dict(
        zip(
            columns,
            database.execute(f"SELECT {', '.join(columns)} FROM transfers ORDER BY id DESC LIMIT 1").fetchone(),
            strict=True,
        )
    )
    row["outcome"] = "have"
    marks = ", ".join("?" * len(columns))
    with database:
        database.executemany(
            f"INSERT INTO transfers ({', '.join(columns)}) VALUES ({marks})", [tuple(row.values())] * count
        )
    database.close()


# ---- Memory and processes ----


@pytest.mark.parametrize(
    "line",
    [
        b'{"type": "heartbeat", "phase": "pouring"}\n',
        b'{"type": "ask", "size": 1000}\n',
        b'{"type": "sent", "attempt": 9999, "size": 1000}\n',
        b'{"type": "lost", "attempt": 9999, "detail": "x"}\n',
        b'{"type": "have", "path": "/x", "segments": [' + b'"' + b"0" * 64 + b'", ' * 500 + b"\n",
        b"x" * 5000,
    ],
    ids=lambda line: line[:20].decode(),
)
@pytest.mark.parametrize("after", ["hello", "ready"])
def test_what_is_said_out_of_turn_is_not_kept(farm: Farm, line: bytes, after: str) -> None:
    thief = evil(farm)
    with thief.session() as sender, Watcher(farm) as watcher:
        if after == "ready":
            answer = sender.offer(name("flood"), 3 * MIB)
            assert answer is not None
            assert answer["type"] == "ready"
        taken = flood(sender, line, 400 * MIB, 20)
        wait_for(sender.is_over, "the end of the session")
    assert taken < 400 * MIB
    assert watcher.most_memory_bytes < MOST_MEMORY_BYTES
    wait_for(lambda: not receivers(farm), "the end of the receiver")
    assert "Traceback" not in farm.nas.log_text()


@pytest.mark.parametrize("hello", [None, b""], ids=["without hello", "with hello"])
def test_sessions_are_counted_from_their_first_moment(new_farm: NewFarm, put_v1: PutV1, hello: bytes | None) -> None:
    farm = new_farm(nas_settings={"receiving.sessions_per_plotter": 3, "transfer.silence_seconds": 20})
    thief = EvilPlotter(farm, steal_key(farm))
    put_v1(farm.plots, "honest")
    manifest = names_and_digests(farm)
    with contextlib.ExitStack() as stack:
        sessions = [stack.enter_context(thief.session(hello)) for _ in range(20)]
        wait_for(lambda: sum(each.is_over() for each in sessions) >= 13, "the end of those that are too many")
        wait_for(lambda: len(receivers(farm)) <= 3 + 4, "the end of their processes")
        run = farm.plot_manager()
        assert run.returncode == 0, logs(farm)
        assert len(farm.stored()) == 1
    wait_for(lambda: not processes_of(farm), "the end of all sessions")
    audit(farm, manifest)


def test_who_is_one_too_many_hears_why(new_farm: NewFarm) -> None:
    farm = new_farm(nas_settings={"receiving.sessions_per_plotter": 1})
    with FakeSender(farm) as first, FakeSender(farm) as second:
        for sender in (first, second):
            sender.say(type="ask", size=MIB)
        answers = [first.hear(), second.hear()]
    assert sorted(str(answer and answer["type"]) for answer in answers) == ["capacity", "refused"]
    (refused,) = [answer for answer in answers if answer is not None and answer["type"] == "refused"]
    assert refused["refusal"] == "sessions"


# ---- Kept parts ----


@pytest.fixture
def kept(new_farm: NewFarm) -> tuple[Farm, bytes, Path]:
    """A farm with a part of eight segments, left by the plotter with the usual key; the plot; the part."""
    farm = new_farm(nas_settings={"transfer.stall_seconds": 3})
    shorten_segments(farm)
    whole = content(1, 12 * SEGMENT_BYTES)
    with FakeSender(farm) as sender:
        ready = sender.offer(name("kept"), len(whole))
        assert ready is not None
        sender.pour(ready, whole[: 8 * SEGMENT_BYTES])
        failed = sender.hear()
    assert failed is not None
    assert failed["is_resumable"]
    wait_for(lambda: not processes_of(farm), "the end of the session")
    (part,) = farm.parts()
    return farm, whole, part


@pytest.mark.parametrize("how", ["gone at partial", "nobody connects", "lost", "gone at ready", "no byte"])
def test_a_part_outlives_a_resume_that_does_not_get_going(kept: tuple[Farm, bytes, Path], how: str) -> None:
    farm, whole, part = kept
    with FakeSender(farm) as sender:
        _begin_to_resume(sender, len(whole), how)
    wait_for(lambda: not processes_of(farm), "the end of the session")
    assert farm.parts() == [part]
    assert part.stat().st_size == 8 * SEGMENT_BYTES
    with FakeSender(farm) as sender:
        partial = sender.offer(name("kept"), len(whole))
    assert partial is not None
    assert len(partial["segments"]) == 8


def _begin_to_resume(sender: FakeSender, size: int, how: str) -> None:
    partial = sender.offer(name("kept"), size)
    assert partial is not None
    assert partial["type"] == "partial"
    if how == "gone at partial":
        return
    sender.say(type="continue", segments=8)
    ready = sender.hear()
    assert ready is not None
    assert ready["segments"] == 8
    if how == "nobody connects":
        failed = sender.hear()
        assert failed is not None
        assert (failed["failure"], failed["is_resumable"]) == ("not connected", True)
    elif how == "lost":
        for _ in range(3):
            sender.say(type="lost", attempt=ready["attempt"], detail="x")
            ready = sender.hear()
            assert ready is not None
            if ready["type"] != "ready":
                break
    elif how == "no byte":
        sender.pour(ready, b"")
        sender.hear()


@pytest.mark.parametrize("what", ["an offer", "a dry run", "another size", "the whole plot", "a wrong header"])
def test_a_key_does_not_touch_the_part_of_another(kept: tuple[Farm, bytes, Path], what: str) -> None:
    farm, whole, part = kept
    before = part.read_bytes()
    thief = EvilPlotter(farm, steal_key(farm))
    with thief.session() as sender:
        if what == "the whole plot":
            stored = sender.deliver(name("kept"), whole)
            assert stored is not None
            assert stored["type"] == "stored"
        elif what == "a wrong header":
            answer = sender.offer(name("kept"), len(whole), "v1")
            assert answer is not None
            sender.pour(answer, whole)
            sender.hear()
        else:
            size = len(whole) + (what == "another size")
            answer = sender.offer(name("kept"), size, is_dry_run=what == "a dry run")
            assert answer is not None
            assert answer["type"] in ("ready", "placed"), "somebody else's part is none of its business"
    wait_for(lambda: not processes_of(farm), "the end of the session")
    assert part in farm.parts()
    assert part.read_bytes() == before


# ---- Its share ----


def _drip(thief: EvilPlotter, speed: int, until: threading.Event) -> int:
    """Send a large plot with so many bytes a second, and offer it again whenever it was ended; returns how often."""
    begun = 0
    while not until.is_set():
        with thief.session() as sender, contextlib.suppress(OSError, TimeoutError):
            answer = sender.offer(name("slow"), 2**34, patience_seconds=5)
            if answer is not None and answer["type"] == "partial":
                sender.say(type="continue", segments=len(answer["segments"]))
                answer = sender.hear()
            if answer is None or answer["type"] != "ready":
                continue
            begun += 1
            with sender.connect(answer) as data:
                data.settimeout(0.5)
                while not until.wait(0.1) and not sender.is_over():
                    data.sendall(b"\x07" * max(1, speed // 10))
                    sender.say(type="heartbeat", phase="pouring")
    return begun


@pytest.mark.parametrize(("speed", "pipe"), [(10, "netcat"), (1_500_000, "direct"), (4_000_000, "direct")])
def test_a_slow_arrival_does_not_hold_a_drive_that_others_wait_for(
    new_farm: NewFarm, put_v1: PutV1, speed: int, pipe: str
) -> None:
    """Slower than anything that is worth a drive it is ended soon; otherwise it has its share, and no more."""
    farm = new_farm(
        drives=1,
        settings={"transfer.pipe": pipe, "transfer.stall_seconds": 4},
        nas_settings={"receiving.yield_seconds": 1},
    )
    thief = EvilPlotter(farm, steal_key(farm))
    for number in range(2):
        put_v1(farm.plots, f"honest {number}")
    manifest = names_and_digests(farm)
    is_over = threading.Event()
    dripping = threading.Thread(target=_drip, args=(thief, speed, is_over))
    dripping.start()
    try:
        wait_for(lambda: times_reached(farm.nas, "token:seen"), "the slow arrival")
        begun = time.monotonic()
        run = farm.plot_manager(timeout=90)
        seconds = time.monotonic() - begun
    finally:
        is_over.set()
        dripping.join()
    assert run.returncode == 0, run.stderr + logs(farm)
    assert seconds < 45
    audit(farm, manifest, parts=True)


# ---- What the owner reads ----


@pytest.mark.parametrize("is_dry_run", [True, False])
def test_offers_do_not_fill_the_owners_table_of_plot_directories(farm: Farm, is_dry_run: bool) -> None:
    thief = evil(farm)
    with thief.session() as sender:
        for number in range(40):
            directory = f"/\x1b[31m{number} call this number now\n" + "x" * 100
            room = {"is_dry_run": is_dry_run, "plot_directory": directory, "free_bytes": 1, "hours_left": 0.1}
            for plot, size in ((name(str(number)) + "?", MIB), (name(str(number)), 2**40)):
                answer = sender.offer(plot, size, **room)
                assert answer is not None
    state = State(farm.nas.state)
    rooms = state.rooms(since=0)
    state.close()
    assert len(rooms) <= (0 if is_dry_run else 8)
    assert all(room.directory.isprintable() and len(room.directory) < 700 for room in rooms)


def test_many_offers_that_lead_to_nothing_are_answered_slowly(farm: Farm) -> None:
    """Each costs a look at every drive and lines in the log; an honest plotter has no use for hundreds of them."""
    thief = evil(farm)
    answered = 0
    with thief.session() as sender:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            assert sender.offer("no name", MIB) is not None
            answered += 1
    assert answered < 50 + 20 + 5
    with FakeSender(farm) as honest:
        begun = time.monotonic()
        for number in range(60):
            stored = honest.deliver(name(f"honest {number}"), content(number, 1000))
            assert stored is not None
            assert stored["type"] == "stored"
        assert time.monotonic() - begun < 60


def test_the_part_of_a_thief_goes_in_time(new_farm: NewFarm) -> None:
    """What he leaves is removed like everybody's, and its room does not come back to haunt the quota."""
    farm = new_farm(nas_settings={"receiving.daily_quota": "4 MiB", "receiving.part_age_hours": 0})
    thief = evil(farm)
    farm.remember_small_plots()
    thief.leave_part(name("left"), content(1, 3 * MIB), 2 * MIB)
    (part,) = farm.parts()
    assert os.stat(part).st_size >= LEAST_KEPT_BYTES
    wait_for(lambda: not processes_of(farm), "the end of the session")
    for _ in range(2):
        farm.drive_manager()
    assert farm.parts() == []
    with thief.session() as sender:
        stored = sender.deliver(name("other"), content(2, 3 * MIB))
    assert stored is not None
    assert stored["type"] == "stored"
