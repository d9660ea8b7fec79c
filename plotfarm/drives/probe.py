"""Asking drives for their room, although a dying one may never answer and cannot be interrupted.

One forked helper asks all drives, in as many threads as it takes, and the parent listens until the
deadline. A drive that has not answered by then is "not answering", whatever becomes of the helper: it goes
as soon as its last drive answers. It is not killed at the deadline, because threads share one table of open
files: one thread that hangs for ever would keep the locks of all others that were ended with it.

`probe` forks, so it is called before the process has threads of its own.
"""

from __future__ import annotations

import fcntl
import json
import os
import select
import signal
import stat
import threading
import time
from collections import deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from plotfarm.base.units import format_duration
from plotfarm.drives.model import Drive, DriveUnusable, Reading, lock_name
from plotfarm.drives.mount_table import Mount, read_mount_table
from plotfarm.drives.opening import open_mounted
from plotfarm.plots.names import PART_SUFFIX

_WAITING = "waiting"
_STANDARD_STREAMS = 3
_PATIENCE_SECONDS = 0.005  # so long may a drive keep the next one waiting


def probe(
    drives: Sequence[Drive], names: Collection[str], deadline_seconds: float, lock_directory: Path
) -> list[Reading]:
    """Return a reading for each drive, in the same order, after `deadline_seconds` at the latest.

    `names`: plots to look for; a reading says which of NAME and NAME.part are there. At most one probe of a
    drive is under way on this host: a later one waits for it, up to the deadline.
    """
    if not drives:
        return []
    lock_directory.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + deadline_seconds
    wanted = [name for plot in names for name in (plot, plot + PART_SUFFIX)]
    reading_end, writing_end = os.pipe()
    helper = os.fork()
    if helper == 0:
        _run_helper(_Helper(drives, wanted, deadline, lock_directory, writing_end))
    os.close(writing_end)
    try:
        answers, ended = _listen(reading_end, deadline)
    finally:
        os.close(reading_end)
    # A helper that still hangs is left to itself: waiting for it could take for ever.
    os.waitpid(helper, 0 if ended else os.WNOHANG)
    silent = "the probe broke down" if ended else f"not answering within {format_duration(deadline_seconds)}"
    return [_reading(drive, answers.get(index), silent) for index, drive in enumerate(drives)]


def _listen(reading_end: int, deadline: float) -> tuple[dict[int, dict[str, Any]], bool]:
    """Return drive index -> its last answer, and whether the helper has ended."""
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
        answers[answer.pop("index")] = answer
    return answers, ended


def _reading(drive: Drive, answer: dict[str, Any] | None, silent: str) -> Reading:
    if answer is None:
        return Reading(drive, silent)
    if answer.get(_WAITING):
        return Reading(drive, "not answering (an earlier probe of it still hangs)")
    return Reading(drive, **answer)


@dataclass
class _Helper:
    """What the helper process works on."""

    drives: Sequence[Drive]
    names: Sequence[str]
    deadline: float  # of time.monotonic()
    lock_directory: Path
    writing_end: int


def _run_helper(helper: _Helper) -> NoReturn:
    """Be the helper process: ask every drive, then end without the clean-up of the parent's copy."""
    try:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_DFL)
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
    while work.todo and time.monotonic() < helper.deadline:
        threads.append(threading.Thread(target=_worker, args=(helper, work), daemon=True))
        left = len(work.todo) + 1
        threads[-1].start()
        while work.todo and len(work.todo) < left:
            left = len(work.todo)
            work.all_begun.wait(_PATIENCE_SECONDS)
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
    all_begun: threading.Event = field(default_factory=threading.Event)
    sending: threading.Lock = field(default_factory=threading.Lock)
    inside: set[threading.Thread] = field(default_factory=set)  # those that a drive may keep for ever


def _worker(helper: _Helper, work: _Work) -> None:
    while time.monotonic() < helper.deadline:
        try:
            index = work.todo.popleft()
        except IndexError:
            work.all_begun.set()
            return
        _ask(helper, work, index)


def _ask(helper: _Helper, work: _Work, index: int) -> None:
    drive = helper.drives[index]
    name = helper.lock_directory / lock_name("probe", drive.identity)
    try:
        lock = os.open(name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
    except OSError as error:
        _answer(helper, work, index, problem=f"its probe lock cannot be opened: {error.strerror}")
        return
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _answer(helper, work, index, waiting=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        if time.monotonic() >= helper.deadline:
            return
        work.inside.add(threading.current_thread())
        facts = ask_drive(drive, helper.names, work.table)
        work.inside.discard(threading.current_thread())
    finally:
        os.close(lock)
    _answer(helper, work, index, **facts)


def _answer(helper: _Helper, work: _Work, index: int, **facts: Any) -> None:
    data = json.dumps({"index": index, **facts}).encode() + b"\n"
    with work.sending:
        while data:
            data = data[os.write(helper.writing_end, data) :]


def ask_drive(drive: Drive, names: Collection[str], table: Sequence[Mount]) -> dict[str, Any]:
    """Return the fields of a drive's Reading, as JSON can carry them. May block for ever."""
    try:
        directory = open_mounted(drive, table)
    except DriveUnusable as error:
        return {"problem": error.reason}
    try:
        if not os.access(".", os.W_OK | os.X_OK, dir_fd=directory, effective_ids=True):
            return {"problem": "this user may not write there"}
        room = os.statvfs(directory)
        if room.f_flag & os.ST_RDONLY:
            return {"problem": "mounted read-only"}
        return {
            "total_bytes": room.f_blocks * room.f_frsize,
            "free_bytes": room.f_bavail * room.f_frsize,
            **_look_for(names, directory),
        }
    except OSError as error:
        return {"problem": f"answers with an error: {error.strerror}"}
    finally:
        os.close(directory)


def _look_for(names: Collection[str], directory: int) -> dict[str, dict[str, int]]:
    found: dict[str, int] = {}
    allocated: dict[str, int] = {}
    for name in names:
        try:
            facts = os.stat(name, dir_fd=directory, follow_symlinks=False)
        except FileNotFoundError:
            continue
        if stat.S_ISREG(facts.st_mode):
            found[name] = facts.st_size
            allocated[name] = facts.st_blocks * 512  # stat(2): always in units of 512 bytes
    return {"found": found, "allocated": allocated}
