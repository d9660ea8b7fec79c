"""The process that asks the drives: forked by `drives.probe`, and left to itself while a drive keeps a thread of it.

It asks in as many threads as that takes; its first thread never touches a drive, so it always notices which of the
others does not get on.
"""

from __future__ import annotations

import contextlib
import fcntl
import gc
import json
import math
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, NoReturn

from plotfarm.base.lock_files import LockRefused
from plotfarm.drives.asking import ask_drive, ask_for_names, ask_for_plots
from plotfarm.drives.counted import CountedDirectory
from plotfarm.drives.effort import Effort
from plotfarm.drives.model import Drive, NoParts
from plotfarm.drives.mount_table import read_mount_table
from plotfarm.drives.probe_turn import Turn
from plotfarm.drives.reasons import Reason, Why

_STANDARD_STREAMS = 3
_PATIENCE_SECONDS = 0.005  # so long may a drive keep the next one waiting
_SILENT_SECONDS = 1.0  # who has waited for so long marks the drive as silent: nobody else waits for it then
_LAST_WORDS_SECONDS = 0.25  # counting ends so long before its limit, so that the count still gets through
_LOOK_SECONDS = 0.1  # how often it is looked whether the threads get on


class Purpose(StrEnum):
    """What a drive is asked for, each under a lock of its own. The value begins the name of the lock."""

    ASK = "probe"
    COUNT = "count"


@dataclass(frozen=True)
class Task:
    """What the helper process works on."""

    drives: Sequence[Drive]
    names: Sequence[str]
    only_names: Collection[str]  # identities of drives that are asked for the names and nothing else
    no_parts: Mapping[str, NoParts]  # by identity; other drives are listed for parts in any case
    until: float  # of time.monotonic: for the answers of all drives
    lock_directory: Path
    writing_end: int
    # What is known of the directories, by identity and path (drives.counted); None: nothing is counted.
    known: Mapping[str, Mapping[str, CountedDirectory]] | None = None
    count_until: float = 0.0  # of time.monotonic
    stall_seconds: float = 0.0  # a count that does not get on for so long is given up


def run_helper(task: Task) -> NoReturn:
    """Be the helper process: ask every drive, then end without the clean-up of the parent's copy."""
    try:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        # The parent's rubbish would be tidied up here too, and close by their numbers files that are others by now.
        gc.disable()
        _ask_all(_Work(task, _keep_only(task.writing_end)))
    finally:
        os._exit(0)


def _keep_only(descriptor: int) -> int:
    """Close all inherited files but one: a hanging helper must hold nobody's lock, pipe or terminal."""
    # Out of the way first, since it may itself be one of the numbers that are set below.
    descriptor = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, _STANDARD_STREAMS + 1)
    null = os.open(os.devnull, os.O_RDWR)
    for stream in range(_STANDARD_STREAMS):
        os.dup2(null, stream)
    os.dup2(descriptor, _STANDARD_STREAMS)
    os.closerange(_STANDARD_STREAMS + 1, os.sysconf("SC_OPEN_MAX"))
    return _STANDARD_STREAMS


# ---- What the threads share -------------------------------------------------------------------------


@dataclass
class _Visit:
    """A thread that is inside a drive, which may keep it for ever."""

    purpose: Purpose
    index: int
    turn: Turn
    effort: Effort
    limit_seconds: float  # without progress; then it is waited for no longer
    silent_since: float | None  # Unix time: it has kept somebody since then who was ended; None: it kept nobody
    begun: float = field(default_factory=time.time)
    entered: float = field(default_factory=time.monotonic)
    is_marked: bool = False

    def look(self, now: float) -> None:
        """Mark the drive if it does not get on; see that it does where it did not before."""
        if now - self.effort.moved >= _SILENT_SECONDS:
            self.mark()
        elif self.effort.moved > self.entered:
            self.clear()

    def mark(self) -> None:
        if not self.is_marked:
            self.is_marked = True
            self.turn.mark(self.begun)

    def clear(self) -> None:
        if self.is_marked:
            self.is_marked = False
            self.turn.clear()


class _Work:
    """What is to be done yet, who is inside a drive, and which answers are waited for."""

    def __init__(self, task: Task, writing_end: int) -> None:
        self.task = task
        self.table = read_mount_table()
        self.todo = deque(range(len(task.drives)))  # indexes of drives that nobody asks yet
        self.to_count: deque[int] = deque()  # of those that answered, to be counted when all were asked
        self.begun = 0
        self.all_begun = threading.Event()
        self.is_over = threading.Event()  # no answer is waited for any more
        self.inside: dict[threading.Thread, _Visit] = {}
        self.lock = threading.Lock()  # of `inside` and what is waited for
        self.counts: list[Effort] = []  # all that were begun
        self._sending = threading.Lock()
        self._writing_end = writing_end
        purposes = [Purpose.ASK] if task.known is None else [Purpose.ASK, Purpose.COUNT]
        self._expected = {(purpose, index) for purpose in purposes for index in self.todo}

    @property
    def left(self) -> int:
        """How much is to be begun yet."""
        return len(self.todo) + len(self.to_count)

    def is_in_time(self) -> bool:
        """Tell whether anything may still be begun or waited for."""
        return time.monotonic() < max(self.task.until, self.task.count_until)

    def say(self, **facts: Any) -> None:
        """Send a line to the parent, which may be gone."""
        data = json.dumps(facts).encode() + b"\n"
        with self._sending, contextlib.suppress(BrokenPipeError):
            while data:
                data = data[os.write(self._writing_end, data) :]

    def is_expected(self, purpose: Purpose, index: int) -> bool:
        """Tell whether an answer is still waited for."""
        with self.lock:
            return (purpose, index) in self._expected

    def expect_no_more(self, purpose: Purpose, index: int) -> None:
        """Wait for an answer no longer: it was given, or comes too late."""
        with self.lock:
            self._expected.discard((purpose, index))
            if not self._expected:
                self.is_over.set()


# ---- The first thread: it starts the others, and sees how they get on -------------------------------


def _ask_all(work: _Work) -> None:
    """Ask one drive after the other, and start another thread whenever the others do not get on.

    A healthy drive answers in microseconds: one thread is then much faster than one for each drive.
    """
    said = (0, 0)
    while not work.is_over.is_set() and work.is_in_time():
        if work.left:
            work.all_begun.clear()
            threading.Thread(target=_worker, args=(work,), daemon=True).start()
            while work.left and _gets_on(work):
                said = _look_after(work, said)
        else:
            work.is_over.wait(_LOOK_SECONDS)
        said = _look_after(work, said)

    with work.lock:
        hanging = list(work.inside)
        for visit in work.inside.values():
            visit.mark()
    if hanging:
        work.say(end=True)
    # Threads that only wait for an earlier probe end with this process; those inside a drive are awaited.
    for thread in hanging:
        thread.join()


def _gets_on(work: _Work) -> bool:
    """Wait a moment and tell whether the threads began something, or keep the processor busy.

    In that case more of them would be slower: they would take turns at every file of a directory.
    """
    begun = work.begun
    used = time.process_time()
    work.all_begun.wait(_PATIENCE_SECONDS)
    return work.begun > begun or time.process_time() - used > _PATIENCE_SECONDS / 2


def _look_after(work: _Work, said: tuple[int, int]) -> tuple[int, int]:
    """Mark drives that keep a thread, give up those that keep it too long, and say how far the counts are.

    `said`: how many files and headers that were when it was said last; returns how many they are now.
    """
    now = time.monotonic()
    with work.lock:
        visits = list(work.inside.values())
        for visit in visits:
            visit.look(now)
    for visit in visits:
        if now - visit.effort.moved >= visit.limit_seconds and work.is_expected(visit.purpose, visit.index):
            work.say(index=visit.index, **_gave_up(visit))
            work.expect_no_more(visit.purpose, visit.index)
            if visit.purpose is Purpose.ASK and work.task.known is not None:
                work.expect_no_more(Purpose.COUNT, visit.index)
    files = sum(effort.files for effort in work.counts)
    headers = sum(effort.headers for effort in work.counts)
    if (files, headers) != said:
        work.say(files=files, headers=headers)
    return files, headers


def _gave_up(visit: _Visit) -> dict[str, Any]:
    if visit.purpose is Purpose.ASK:
        return {"silent_since": visit.silent_since} if visit.silent_since is not None else {"silent": True}
    return {"uncounted": asdict(Why(Reason.NOT_COUNTED_IN_TIME))}


# ---- The other threads ------------------------------------------------------------------------------


def _worker(work: _Work) -> None:
    while work.is_in_time() and (step := _next_step(work)):
        ask, index = step
        ask(work, index)
    work.all_begun.set()


def _next_step(work: _Work) -> tuple[Callable[[_Work, int], None], int] | None:
    """Return what to do next with which drive; None if everything was begun."""
    work.begun += 1
    for ask, indexes in ((_ask, work.todo), (_count, work.to_count)):
        with contextlib.suppress(IndexError):  # another thread may have been quicker
            return ask, indexes.popleft()
    return None


def _ask(work: _Work, index: int) -> None:
    task, drive = work.task, work.task.drives[index]
    try:
        with Turn(task.lock_directory, Purpose.ASK, drive.identity) as turn:
            facts = _ask_in_turn(work, index, turn)
    except (OSError, LockRefused) as error:
        facts = {"problem": asdict(_no_lock(error))}
    if not work.is_expected(Purpose.ASK, index):
        return  # it was given up; whoever asks next gets the answer
    work.say(index=index, **facts)
    if task.known is not None:
        if "problem" in facts or "silent_since" in facts:
            work.expect_no_more(Purpose.COUNT, index)
        else:
            work.to_count.append(index)
    work.expect_no_more(Purpose.ASK, index)


def _ask_in_turn(work: _Work, index: int, turn: Turn) -> dict[str, Any]:
    task, drive = work.task, work.task.drives[index]
    if not turn.is_taken():
        work.say(index=index, waiting=True)
        if not turn.take(task.until):
            return {"silent_since": turn.silent_since()}
    since = turn.silent_since()  # whoever asked before was ended while it waited
    limit = _SILENT_SECONDS if since is not None else task.until - time.monotonic()
    with _inside(work, Purpose.ASK, index, turn, Effort(math.inf), limit, since):
        if drive.identity in task.only_names:
            return ask_for_names(drive, task.names, work.table)
        return ask_drive(drive, task.names, work.table, task.no_parts.get(drive.identity))


def _count(work: _Work, index: int) -> None:
    task, drive = work.task, work.task.drives[index]
    try:
        with Turn(task.lock_directory, Purpose.COUNT, drive.identity) as turn:
            _count_in_turn(work, index, turn)
    except (OSError, LockRefused) as error:
        work.say(index=index, uncounted=asdict(_no_lock(error)))
    work.expect_no_more(Purpose.COUNT, index)


def _count_in_turn(work: _Work, index: int, turn: Turn) -> None:
    task, drive = work.task, work.task.drives[index]
    if not turn.is_taken() and not turn.take(min(task.count_until, time.monotonic() + task.stall_seconds)):
        work.say(index=index, uncounted=asdict(Why(Reason.COUNT_UNDER_WAY)))
        return
    known = (task.known or {}).get(drive.identity, {})
    elsewhere = {*(mount.mountpoint for mount in work.table), *(other.mountpoint for other in task.drives)}
    effort = Effort(task.count_until - _LAST_WORDS_SECONDS)
    work.counts.append(effort)
    with _inside(work, Purpose.COUNT, index, turn, effort, task.stall_seconds, turn.silent_since()):
        for news in ask_for_plots(drive, known, elsewhere, work.table, effort):
            work.say(index=index, **news)


@contextlib.contextmanager
def _inside(
    work: _Work, purpose: Purpose, index: int, turn: Turn, effort: Effort, limit: float, since: float | None
) -> Iterator[None]:
    """Be inside a drive; `since`: its mark says that it has been silent since then."""
    thread = threading.current_thread()
    visit = _Visit(purpose, index, turn, effort, limit, since)
    if since is not None:
        visit.begun = since
        visit.is_marked = True
    with work.lock:
        work.inside[thread] = visit
    try:
        yield
    finally:
        with work.lock:
            del work.inside[thread]
            visit.clear()


def _no_lock(error: OSError | LockRefused) -> Why:
    why = error.strerror if isinstance(error, OSError) else str(error)
    return Why(Reason.PROBE_BROKEN, f"its lock cannot be opened: {why}")
