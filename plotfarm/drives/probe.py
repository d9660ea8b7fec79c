"""Asking drives for their room and plots, although a dying one may never answer and cannot be interrupted.

One forked helper (drives.probe_helper) asks all drives, and the parent listens until the deadline. A drive that has not
answered by then is "not answering", whatever becomes of the helper: it goes as soon as its last drive answers. It is
not killed at the deadline, because threads share one table of open files: one thread that hangs for ever would keep
the locks of all others that were ended with it. As long as it is there, it is what remembers that the drive is silent
(drives.probe_turn), and nobody waits for that drive again.

A drive that answered is counted afterwards, under a lock of its own: counting may take long where headers are
read for the first time, and must not keep others from asking whether the drive has room.

`probe` forks, so it is called before the process has threads of its own.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plotfarm.base.meanwhile import Meanwhile, wait_readable
from plotfarm.base.units import format_duration
from plotfarm.drives.asking import part_of
from plotfarm.drives.model import Drive, NoParts, Reading
from plotfarm.drives.probe_helper import Task, run_helper
from plotfarm.drives.reasons import Reason, Why, why_of_json

if TYPE_CHECKING:
    from plotfarm.drives.counted import Count, CountedDirectory
    from plotfarm.drives.inventory import Inventory

_LATE_SECONDS = 1.0  # so much later than it should a count may end, on a busy machine
_KEEP_BYTES = 2_000_000  # of directories that were gone through, before they are written down
_KEEP_SECONDS = 1.0

_left: set[int] = set()  # helpers of this process that were left to themselves, and may have ended since


@dataclass(frozen=True)
class Progress:
    """How far the counting of the plots is."""

    files: int  # gone through
    headers: int  # read for the first time
    drives: int  # that are done
    all_drives: int


@dataclass(frozen=True)
class Counting:
    """That plots are counted, too: what is remembered of them, for how long, and who wants to know how far it is."""

    inventory: Inventory
    longest_seconds: float = math.inf  # however long, as long as each drive gets on
    on_progress: Callable[[Progress], None] | None = None


def probe(
    drives: Sequence[Drive],
    names: Collection[str],
    deadline_seconds: float,
    lock_directory: Path,
    counting: Counting | None = None,
    leave_out: Collection[str] = (),
    only_names: Collection[str] = (),
    no_parts: Mapping[str, NoParts] | None = None,
    meanwhile: Meanwhile | None = None,
) -> list[Reading]:
    """Return a reading for each drive, in the same order, after `deadline_seconds` at the latest.

    `names`: plots to look for; a reading says which of them are there, and which parts, of whatever plot. At most one
    probe of a drive is under way on this host: a later one waits for it, but not for one that waits itself for a drive
    that is silent. With `counting` the plot files on each drive are counted too, for as long as that takes: only a
    drive that makes no progress for `deadline_seconds` is given up. `leave_out`: identities of drives that are not
    touched; their readings say that they were not asked. `only_names`: of those that are asked for the names only.
    `no_parts`: by identity, drives that need not be listed for parts while they look as they did (drives.root_parts).
    `meanwhile`: what is done while the drives are waited for.
    """
    asked = [drive for drive in drives if drive.identity not in leave_out]
    found: list[Reading] = []
    if asked:
        found = _Probe(asked, deadline_seconds, counting, meanwhile).run(
            names, only_names, no_parts or {}, lock_directory
        )
    answered = iter(found)
    return [
        Reading(drive, Why(Reason.NOT_ASKED), was_asked=False) if drive.identity in leave_out else next(answered)
        for drive in drives
    ]


class _Probe:
    """One probe, as the process sees it that wants to know."""

    def __init__(
        self,
        drives: Sequence[Drive],
        deadline_seconds: float,
        counting: Counting | None,
        meanwhile: Meanwhile | None,
    ) -> None:
        self._drives = drives
        self._meanwhile = meanwhile
        self._deadline_seconds = deadline_seconds
        self._counting = counting
        self._until = time.monotonic() + deadline_seconds
        self._count_until = time.monotonic() + counting.longest_seconds if counting else 0.0
        self._answers: dict[int, dict[str, Any]] = {}
        self._counts: dict[int, Count] = {}
        self._uncounted: dict[int, Why] = {}
        self._read_errors: dict[int, Why | None] = {}  # None: all could be read
        self._ended = False  # the helper has nothing more to say
        self._kept: list[tuple[str, CountedDirectory]] = []  # that are to be written down
        self._kept_bytes = 0
        self._kept_since = time.monotonic()

    def run(
        self,
        names: Collection[str],
        only_names: Collection[str],
        no_parts: Mapping[str, NoParts],
        lock_directory: Path,
    ) -> list[Reading]:
        """Have the drives asked; returns their readings."""
        lock_directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        _reap()
        known = None
        if self._counting is not None:
            known = self._counting.inventory.directories(drive.identity for drive in self._drives)
        reading_end, writing_end = os.pipe()
        helper = os.fork()
        if helper == 0:
            run_helper(
                Task(
                    drives=self._drives,
                    names=tuple(names),
                    only_names=only_names,
                    no_parts=no_parts,
                    until=self._until,
                    lock_directory=lock_directory,
                    writing_end=writing_end,
                    known=known,
                    count_until=self._count_until,
                    stall_seconds=self._deadline_seconds,
                )
            )
        os.close(writing_end)
        try:
            has_ended = self._listen(reading_end)
        finally:
            os.close(reading_end)
        _part_with(helper, has_ended)
        return self._readings(has_ended)

    def _listen(self, reading_end: int) -> bool:
        """Hear what the helper says until there is nothing more to wait for; tells whether it has ended."""
        heard = time.monotonic()
        rest = b""
        while not self._ended:
            if not wait_readable(reading_end, self._limit(heard), self._meanwhile):
                return False
            data = os.read(reading_end, 1 << 20)
            if not data:
                return True
            heard = time.monotonic()
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                self._hear(json.loads(line))
            self._write_down()
        return False

    def _limit(self, heard: float) -> float:
        """Return until when to wait (time.monotonic) if the helper was heard last at `heard`."""
        if self._counting is None:
            return self._until
        gets_on = heard + self._deadline_seconds + _LATE_SECONDS
        return max(self._until, min(gets_on, self._count_until + _LATE_SECONDS))

    def _hear(self, said: dict[str, Any]) -> None:
        if "end" in said:
            self._ended = True
        elif "files" in said:
            self._tell_progress(said["files"], said["headers"])
        elif "directory" in said:
            self._keep(said["index"], said["directory"])
        elif "count" in said:
            self._take_count(said["index"], said["count"])
        elif "read_error" in said:
            self._read_errors[said["index"]] = why_of_json(said["read_error"]) if said["read_error"] else None
        elif "uncounted" in said:
            self._uncounted[said["index"]] = why_of_json(said["uncounted"])
        else:
            self._answers[said.pop("index")] = said

    def _tell_progress(self, files: int, headers: int) -> None:
        if self._counting is not None and self._counting.on_progress is not None:
            done = len(self._counts.keys() | self._uncounted.keys())
            self._counting.on_progress(Progress(files, headers, done, len(self._drives)))

    # ---- What was counted ----

    def _keep(self, index: int, carried: Mapping[str, Any]) -> None:
        from plotfarm.drives.counted import CountedDirectory  # only where plots are counted

        directory = CountedDirectory.from_json(carried)
        self._kept.append((self._drives[index].identity, directory))
        self._kept_bytes += len(directory.headers)

    def _take_count(self, index: int, carried: Mapping[str, Any]) -> None:
        from plotfarm.drives.counted import Count  # likewise

        counts = tuple((str(kind), int(k), int(files)) for kind, k, files in carried["counts"])
        self._counts[index] = Count(**{**carried, "counts": counts, "gone": tuple(carried["gone"])})

    def _write_down(self, at_once: bool = False) -> None:
        """Write down what was learnt now and then: a run that is ended has not been in vain."""
        is_due = self._kept_bytes > _KEEP_BYTES or time.monotonic() > self._kept_since + _KEEP_SECONDS
        if self._counting is None or not (is_due or at_once):
            return
        self._counting.inventory.remember_directories(self._kept)
        self._kept = []
        self._kept_bytes = 0
        self._kept_since = time.monotonic()

    # ---- The readings ----

    def _readings(self, has_ended: bool) -> list[Reading]:
        in_vain = Why(Reason.NOT_ANSWERING, format_duration(self._deadline_seconds))
        silent = Why(Reason.PROBE_BROKEN) if has_ended else in_vain
        readings = [
            _reading(drive, self._answers.get(index), silent, in_vain) for index, drive in enumerate(self._drives)
        ]
        if self._counting is None:
            return readings
        self._write_down(at_once=True)
        counts = {self._drives[index].identity: count for index, count in self._counts.items()}
        errors = {**self._uncounted, **self._read_errors}
        by_identity = {self._drives[index].identity: why for index, why in errors.items()}
        self._counting.inventory.remember_counts(counts, time.time())
        self._counting.inventory.remember_read_errors(by_identity, time.time())
        return [self._with_plots(index, reading) for index, reading in enumerate(readings)]

    def _with_plots(self, index: int, reading: Reading) -> Reading:
        count = self._counts.get(index)
        if count is None:
            why = self._uncounted.get(index) or reading.problem or Why(Reason.NOT_COUNTED_IN_TIME)
            return replace(reading, uncounted=why)
        return replace(
            reading,
            counts={(kind, k): files for kind, k, files in count.counts},
            plots=count.plots,
            plot_bytes=count.plot_bytes,
            headers_missing=count.headers_missing,
        )


def _reading(drive: Drive, answer: Mapping[str, Any] | None, silent: Why, in_vain: Why) -> Reading:
    if answer is None:
        return Reading(drive, silent)
    if "silent" in answer:
        return Reading(drive, in_vain)
    if "waiting" in answer:
        return Reading(drive, Why(Reason.PROBE_HANGS))
    if "silent_since" in answer:
        return Reading(drive, Why(Reason.PROBE_HANGS, _moment(answer["silent_since"])))
    facts = {name: value for name, value in answer.items() if name not in ("parts", "no_parts", "problem")}
    problem = why_of_json(answer["problem"]) if "problem" in answer else None
    parts = tuple(part_of(carried) for carried in answer.get("parts", ()))
    no_parts = NoParts(**answer["no_parts"]) if answer.get("no_parts") else None
    return Reading(drive, problem, **facts, parts=parts, no_parts=no_parts)


def _moment(since: float | None) -> str:
    """Return a Unix time as people write it, in local time: the same in every report as long as the drive is silent."""
    return "" if since is None else time.strftime("%Y-%m-%d %H:%M", time.localtime(since))


def _part_with(helper: int, has_ended: bool) -> None:
    """Have a helper that has ended reaped; one that hangs is left to itself: waiting for it could take for ever."""
    if has_ended:
        os.waitpid(helper, 0)
    else:
        _left.add(helper)
        _reap()


def _reap() -> None:
    for helper in list(_left):
        with contextlib.suppress(ChildProcessError):
            if os.waitpid(helper, os.WNOHANG) == (0, 0):
                continue
        _left.discard(helper)
