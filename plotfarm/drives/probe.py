"""Asking drives for their room and plots, although a dying one may never answer and cannot be interrupted.

One forked helper asks all drives, in as many threads as it takes, and the parent listens until the
deadline. A drive that has not answered by then is "not answering", whatever becomes of the helper: it goes
as soon as its last drive answers. It is not killed at the deadline, because threads share one table of open
files: one thread that hangs for ever would keep the locks of all others that were ended with it.

A drive that answered is counted afterwards, under a lock of its own: counting may take long where headers are
read for the first time, and must not keep others from asking whether the drive has room.

`probe` forks, so it is called before the process has threads of its own.
"""

from __future__ import annotations

import contextlib
import fcntl
import gc
import json
import os
import select
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from plotfarm.base.lock_files import LockRefused, open_lock_file
from plotfarm.base.units import format_duration
from plotfarm.drives.asking import ask_drive, ask_for_plots, part_of
from plotfarm.drives.model import Drive, Reading, lock_name
from plotfarm.drives.mount_table import Mount, read_mount_table
from plotfarm.drives.reasons import Reason, Why, why_of_json

if TYPE_CHECKING:
    from plotfarm.drives.inventory import Inventory

_WAITING = "waiting"
_STANDARD_STREAMS = 3
_PATIENCE_SECONDS = 0.005  # so long may a drive keep the next one waiting
_LAST_WORDS_SECONDS = 0.25  # headers are read until then before the deadline, so that the count still gets through


def probe(
    drives: Sequence[Drive],
    names: Collection[str],
    deadline_seconds: float,
    lock_directory: Path,
    plots: Inventory | None = None,
    leave_out: Collection[str] = (),
) -> list[Reading]:
    """Return a reading for each drive, in the same order, after `deadline_seconds` at the latest.

    `names`: plots to look for; a reading says which of them are there, and which parts, of whatever plot. At most one
    probe of a drive is under way on this host: a later one waits for it, up to the deadline. With `plots` the plot
    files on each drive are counted too; the headers that it remembers are not read again, and it remembers the new
    ones. `leave_out`: identities of drives that are not touched; their readings say that they were not asked.
    """
    asked = [drive for drive in drives if drive.identity not in leave_out]
    answered = iter(_probe(asked, names, deadline_seconds, lock_directory, plots) if asked else ())
    return [
        Reading(drive, Why(Reason.NOT_ASKED), was_asked=False) if drive.identity in leave_out else next(answered)
        for drive in drives
    ]


def _probe(
    drives: Sequence[Drive],
    names: Collection[str],
    deadline_seconds: float,
    lock_directory: Path,
    plots: Inventory | None,
) -> list[Reading]:
    lock_directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    deadline = time.monotonic() + deadline_seconds
    known = plots.headers(drive.identity for drive in drives) if plots is not None else None
    reading_end, writing_end = os.pipe()
    helper = os.fork()
    if helper == 0:
        _run_helper(_Helper(drives, tuple(names), deadline, lock_directory, writing_end, known))
    os.close(writing_end)
    try:
        answers, ended = _listen(reading_end, deadline)
    finally:
        os.close(reading_end)
    # A helper that still hangs is left to itself: waiting for it could take for ever.
    os.waitpid(helper, 0 if ended else os.WNOHANG)
    in_vain = Why(Reason.NOT_ANSWERING, format_duration(deadline_seconds))
    silent = Why(Reason.PROBE_BROKEN) if ended else in_vain
    readings = [_reading(drive, answers.get(index), silent) for index, drive in enumerate(drives)]
    if plots is None:
        return readings
    counts = {index: answer["count"] for index, answer in answers.items() if "count" in answer}
    plots.remember_counts({drives[index].identity: count for index, count in counts.items()}, time.time())
    return [_with_plots(reading, counts.get(index, {})) for index, reading in enumerate(readings)]


def _listen(reading_end: int, deadline: float) -> tuple[dict[int, dict[str, Any]], bool]:
    """Return drive index -> what it answered in the end, and whether the helper has ended."""
    buffer = b""
    ended = False
    while not ended:
        ready, _, _ = select.select([reading_end], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            break
        data = os.read(reading_end, 1 << 20)
        buffer += data
        ended = not data
    answers: dict[int, dict[str, Any]] = {}
    for line in buffer.split(b"\n")[:-1]:
        answer = json.loads(line)
        index = answer.pop("index")
        if "count" in answer:
            before = answers[index].get("count", {})
            news = {part: [*before.get(part, ()), *answer["count"].get(part, ())] for part in ("learnt", "gone")}
            answers[index]["count"] = {**answer["count"], **news}
        else:
            answers[index] = answer
    return answers, ended


def _reading(drive: Drive, answer: Mapping[str, Any] | None, silent: Why) -> Reading:
    if answer is None:
        return Reading(drive, silent)
    if answer.get(_WAITING):
        return Reading(drive, Why(Reason.PROBE_HANGS))
    facts = {name: value for name, value in answer.items() if name not in ("count", "parts", "problem")}
    problem = why_of_json(answer["problem"]) if "problem" in answer else None
    return Reading(drive, problem, **facts, parts=tuple(part_of(carried) for carried in answer.get("parts", ())))


def _with_plots(reading: Reading, count: Mapping[str, Any]) -> Reading:
    if "counts" not in count:
        if "uncounted" in count:
            return replace(reading, uncounted=why_of_json(count["uncounted"]))
        return replace(reading, uncounted=reading.problem or Why(Reason.NOT_COUNTED_IN_TIME))
    return replace(
        reading,
        counts={(kind, k): files for kind, k, files in count["counts"]},
        plots=count["plots"],
        plot_bytes=count["plot_bytes"],
        headers_missing=count["headers_missing"],
    )


@dataclass
class _Helper:
    """What the helper process works on."""

    drives: Sequence[Drive]
    names: Sequence[str]
    deadline: float  # of time.monotonic()
    lock_directory: Path
    writing_end: int
    known: Mapping[str, Mapping[int, int]] | None  # headers that were read before; None: plots are not asked for


def _run_helper(helper: _Helper) -> NoReturn:
    """Be the helper process: ask every drive, then end without the clean-up of the parent's copy."""
    try:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        # The parent's rubbish would be tidied up here too, and close by their numbers files that are others by now.
        gc.disable()
        helper.writing_end = _keep_only(helper.writing_end)
        _ask_all(helper)
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


def _ask_all(helper: _Helper) -> None:
    """Ask one drive after the other, and start another thread whenever the others do not get on.

    A healthy drive answers in microseconds: one thread is then much faster than one for each drive.
    """
    work = _Work(deque(range(len(helper.drives))), read_mount_table())
    threads: list[threading.Thread] = []
    while work.left and time.monotonic() < helper.deadline:
        threads.append(threading.Thread(target=_worker, args=(helper, work), daemon=True))
        threads[-1].start()
        while work.left and _gets_on(work):
            pass
    for thread in threads:
        thread.join(max(0.0, helper.deadline - time.monotonic()))
    # Threads that only wait for an earlier probe end with this process; those inside a drive are awaited.
    for thread in list(work.inside):
        thread.join()


@dataclass
class _Work:
    """What the threads of the helper share."""

    todo: deque[int]  # indexes of drives that nobody asks yet
    table: Sequence[Mount]
    to_count: deque[int] = field(default_factory=deque)  # of those that answered, to be counted when all were asked
    begun: int = 0
    all_begun: threading.Event = field(default_factory=threading.Event)
    sending: threading.Lock = field(default_factory=threading.Lock)
    inside: set[threading.Thread] = field(default_factory=set)  # those that a drive may keep for ever

    @property
    def left(self) -> int:
        """How much is to be begun yet."""
        return len(self.todo) + len(self.to_count)


def _gets_on(work: _Work) -> bool:
    """Wait a moment and tell whether the threads began something, or keep the processor busy.

    In that case more of them would be slower: they would take turns at every file of a directory.
    """
    begun, used = work.begun, time.process_time()
    work.all_begun.wait(_PATIENCE_SECONDS)
    return work.begun > begun or time.process_time() - used > _PATIENCE_SECONDS / 2


def _worker(helper: _Helper, work: _Work) -> None:
    while time.monotonic() < helper.deadline and (step := _next_step(work)):
        ask, index = step
        ask(helper, work, index)
    work.all_begun.set()


def _next_step(work: _Work) -> tuple[Callable[[_Helper, _Work, int], None], int] | None:
    """Return what to do next with which drive; None if everything was begun."""
    work.begun += 1
    for ask, indexes in ((_ask, work.todo), (_count, work.to_count)):
        with contextlib.suppress(IndexError):  # another thread may have been quicker
            return ask, indexes.popleft()
    return None


def _ask(helper: _Helper, work: _Work, index: int) -> None:
    try:
        with _turn(helper, work, index, "probe", waiting=True) as in_time:
            if not in_time:
                return
            facts = ask_drive(helper.drives[index], helper.names, work.table)
    except (OSError, LockRefused) as error:
        facts = {"problem": asdict(_no_lock(error))}
    _answer(helper, work, index, **facts)
    if helper.known is not None:
        work.to_count.append(index)


def _count(helper: _Helper, work: _Work, index: int) -> None:
    drive, until = helper.drives[index], helper.deadline - _LAST_WORDS_SECONDS
    known = (helper.known or {}).get(drive.identity, {})
    elsewhere = {*(mount.mountpoint for mount in work.table), *(other.mountpoint for other in helper.drives)}
    busy = {"uncounted": asdict(Why(Reason.COUNT_UNDER_WAY))}
    try:
        with _turn(helper, work, index, "count", count=busy):
            for count in ask_for_plots(drive, known, elsewhere, work.table, until):
                _answer(helper, work, index, count=count)
    except (OSError, LockRefused) as error:
        _answer(helper, work, index, count={"uncounted": asdict(_no_lock(error))})


def _no_lock(error: OSError | LockRefused) -> Why:
    why = error.strerror if isinstance(error, OSError) else str(error)
    return Why(Reason.PROBE_BROKEN, f"its lock cannot be opened: {why}")


@contextlib.contextmanager
def _turn(helper: _Helper, work: _Work, index: int, purpose: str, **busy: Any) -> Iterator[bool]:
    """Be the only one on this host who asks a drive for this; yields whether there is still time to.

    `busy` is answered if that takes waiting, which ends with this process. OSError or LockRefused if the lock cannot
    be opened.
    """
    lock = open_lock_file(helper.lock_directory / lock_name(purpose, helper.drives[index].identity))
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _answer(helper, work, index, **busy)
            fcntl.flock(lock, fcntl.LOCK_EX)
        work.inside.add(threading.current_thread())
        yield time.monotonic() < helper.deadline
    finally:
        work.inside.discard(threading.current_thread())
        os.close(lock)


def _answer(helper: _Helper, work: _Work, index: int, **facts: Any) -> None:
    data = json.dumps({"index": index, **facts}).encode() + b"\n"
    with work.sending:
        while data:
            data = data[os.write(helper.writing_end, data) :]
