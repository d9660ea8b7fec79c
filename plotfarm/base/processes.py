"""Starting other programs: argument lists only, a limit on every wait, and no child outlives its parent."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Any

from plotfarm.base.errors import CommandFailed

_REAP_SECONDS = 1.0

# cron's PATH is often only /usr/bin:/bin.
SEARCH_PATH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin", "/sbin"])


@dataclass(frozen=True)
class Completed:
    """A program that ended: its status (negative: the signal that ended it) and its output as text."""

    status: int
    output: str
    errors: str


def run_as_batch(niceness: int = 0, io_priority: str = "normal") -> None:
    """Have the scheduler treat this process, and those it starts, as batch work: sched(7), SCHED_BATCH.

    They interrupt others less, so plotting and harvesting go first, and move more at one go when their turn comes.
    `niceness` (0-19) leaves them more of the processors; `io_priority` `idle` the disks while anybody else wants them.
    """
    os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    if niceness:
        os.setpriority(os.PRIO_PROCESS, 0, max(niceness, os.getpriority(os.PRIO_PROCESS, 0)))
    if io_priority == "idle":
        import psutil  # takes a while, and is seldom wanted

        psutil.Process().ionice(psutil.IOPRIO_CLASS_IDLE)


def find_program(name: str) -> str | None:
    """Return the absolute path of a program, also where cron's PATH does not reach, or None."""
    return shutil.which(name, path=SEARCH_PATH)


def spawn(
    argv: Sequence[str],
    *,
    stdin: int | IO[Any] | None = subprocess.DEVNULL,
    stdout: int | IO[Any] | None = subprocess.DEVNULL,
    stderr: int | IO[Any] | None = None,
    environment: Mapping[str, str] | None = None,
) -> subprocess.Popen[bytes]:
    """Start a program that the kernel kills with this process, also when this one is killed with SIGKILL.

    `setpriv` (util-linux) sets the parent-death signal and becomes the program, so the pid is the
    program's own. CommandFailed if the program is not installed.
    """
    if find_program(argv[0]) is None:
        raise CommandFailed(f"{argv[0]} is not installed or not on the PATH")
    wrapped = ["setpriv", "--pdeathsig", "KILL", "--", *argv]
    return subprocess.Popen(
        wrapped, stdin=stdin, stdout=stdout, stderr=stderr, bufsize=0, env={**os.environ, **(environment or {})}
    )


def run(
    argv: Sequence[str],
    *,
    timeout_seconds: float,
    input_text: str | None = None,
    environment: Mapping[str, str] | None = None,
) -> Completed:
    """Run a short command to its end; CommandFailed if it cannot be started or takes too long.

    A command that does not even end when it is killed, because a dying disk holds it in the kernel, is left behind.
    """
    try:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.PIPE if input_text is not None else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",  # whatever the locale is: mails are written, and most programs speak it
            errors="replace",
            env={**os.environ, **environment} if environment else None,
        )
    except FileNotFoundError:
        raise CommandFailed(f"{argv[0]} is not installed or not on the PATH") from None
    except OSError as error:
        raise CommandFailed(f"{argv[0]} cannot be started: {error.strerror}") from None
    try:
        output, errors = process.communicate(input_text, timeout_seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.communicate(timeout=_REAP_SECONDS)
        raise CommandFailed(f"{argv[0]} did not end within {timeout_seconds:g} seconds") from None
    except BaseException:
        process.kill()
        raise
    return Completed(process.returncode, output, errors)


def end(process: subprocess.Popen[bytes], grace_seconds: float = 2.0) -> int:
    """End a child and reap it: first politely, then with SIGKILL. Returns its status."""
    if process.poll() is None:
        process.terminate()
        try:
            return process.wait(grace_seconds)
        except subprocess.TimeoutExpired:
            process.kill()
    return process.wait()


def tail(text: str, lines: int = 4) -> str:
    """Return the last lines of a program's output on one line, for an error message."""
    return " | ".join(line.strip() for line in text.splitlines()[-lines:] if line.strip())
