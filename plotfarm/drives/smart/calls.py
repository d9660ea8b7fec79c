"""One call of smartctl: limited in time and size, and never more than one at a time for a disk.

A disk that is dying can hold its smartctl in the kernel, where nothing ends it. Such a call is left behind. The
disk's lock is the standard input of smartctl, the only file of ours that sudo hands on, so the kernel holds it for
as long as the call lasts, and the next run does not leave another one behind.
"""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from plotfarm.base.errors import PlotfarmError
from plotfarm.base.lock_files import LockRefused
from plotfarm.base.lock_waits import LockTimeout
from plotfarm.base.locks import Lock, LockBusy
from plotfarm.drives.model import lock_name

_MOST_BYTES = 4 << 20  # smartctl says a few kilobytes
_END_SECONDS = 0.5  # what can be ended is gone by then
DYING = "the drive may be dying, see dmesg"


class NoAnswer(PlotfarmError):
    """smartctl said nothing of use; the message says why."""


@dataclass(frozen=True)
class Answer:
    """What smartctl said, on both its outputs, and its exit status: a mask of bits, see smartctl(8)."""

    text: str
    status: int


def call(argv: Sequence[str], disk: str, timeout_seconds: float, lock_directory: Path) -> Answer:
    """Have smartctl asked about a disk, after waiting for others who ask it. Raises NoAnswer."""
    deadline = time.monotonic() + timeout_seconds
    lock = Lock(lock_directory / lock_name("smart", disk))
    try:
        _take(lock, deadline)
        return _run(argv, deadline, timeout_seconds, lock)
    except OSError as error:
        raise NoAnswer(f"{error.filename or argv[0]}: {error.strerror}") from None
    except LockRefused as error:
        raise NoAnswer(str(error)) from None
    except LockTimeout:
        raise NoAnswer(f"another process has been asking it for {timeout_seconds:g} seconds: {DYING}") from None
    finally:
        lock.release()


def _take(lock: Lock, deadline: float) -> None:
    try:
        lock.acquire()
    except LockBusy as busy:
        if busy.holder.get("left_behind"):
            raise NoAnswer(f"an earlier smartctl still hangs there: {DYING}") from None
        lock.acquire(wait=True, limit_seconds=deadline - time.monotonic())


def _run(argv: Sequence[str], deadline: float, timeout_seconds: float, lock: Lock) -> Answer:
    process = subprocess.Popen(
        argv,
        stdin=lock.fileno(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, "LC_ALL": "C"},  # numbers are then written in one way
    )
    try:
        output = _read(process, deadline)
        status = process.wait(max(0.0, deadline - time.monotonic()))
    except (TimeoutError, subprocess.TimeoutExpired):
        raise NoAnswer(f"no answer within {timeout_seconds:g} seconds: {DYING}") from None
    finally:
        _end(process, lock)
    return Answer(output.decode(errors="replace"), status)


def _read(process: subprocess.Popen[bytes], deadline: float) -> bytes:
    assert process.stdout is not None, "it was started with a pipe"
    output, descriptor = bytearray(), process.stdout.fileno()
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    while len(output) <= _MOST_BYTES:
        if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
            raise TimeoutError
        piece = os.read(descriptor, 1 << 16)
        if not piece:
            return bytes(output)
        output += piece
    raise NoAnswer("smartctl went on talking for ever")


def _end(process: subprocess.Popen[bytes], lock: Lock) -> None:
    """End what has not ended. What cannot be ended, by us or at all, is left behind with the lock, and noted there."""
    if process.stdout is not None:
        process.stdout.close()
    if process.poll() is not None:
        return
    lock.update(left_behind=True)  # means nothing once nobody holds the lock
    for end in (process.terminate, process.kill):  # the first is handed on by sudo to smartctl
        with contextlib.suppress(PermissionError, subprocess.TimeoutExpired):
            end()
            process.wait(_END_SECONDS)
            return
