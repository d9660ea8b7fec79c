"""When each plot of a fleet begins and ends, as the kernel tells of the drives, and what all processes take."""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import struct
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from plotfarm.plots.parts import parse_part_name

_IN_MODIFY, _IN_CREATE = 0x2, 0x100
_HEAD = struct.Struct("iIII")  # of an event: watch, mask, cookie, length of the name behind it
_SAMPLE_SECONDS = 0.5  # each sample takes time from the same processors
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass
class Moments:
    """When the first byte of each plot was on a drive, and when it had its name (time.monotonic)."""

    begun: dict[str, float] = field(default_factory=dict)
    stored: dict[str, float] = field(default_factory=dict)


class DriveWatch:
    """Hears of all that happens on some drives, in a thread: inotify(7)."""

    def __init__(self, drives: Iterable[Path]) -> None:
        self.moments = Moments()
        self._watch: int = _libc.inotify_init1(os.O_CLOEXEC)
        for drive in drives:
            if _libc.inotify_add_watch(self._watch, os.fsencode(drive), _IN_MODIFY | _IN_CREATE) < 0:
                raise SystemExit("too many directories to watch: raise fs.inotify.max_user_watches")
        self._over, self._end = os.pipe()
        self._thread = threading.Thread(target=self._listen)
        self._thread.start()

    def _listen(self) -> None:
        while True:
            ready, _, _ = select.select([self._watch, self._over], [], [])
            if self._watch not in ready:
                return
            self._take_in(os.read(self._watch, 1 << 18), time.monotonic())

    def _take_in(self, events: bytes, now: float) -> None:
        at = 0
        while at < len(events):
            _, mask, _, length = _HEAD.unpack_from(events, at)
            at += _HEAD.size
            name = os.fsdecode(events[at : at + length].rstrip(b"\0"))
            at += length
            part = parse_part_name(name)
            if part is not None and mask & _IN_MODIFY:
                self.moments.begun.setdefault(part[0], now)
            elif part is None and mask & _IN_CREATE:
                self.moments.stored.setdefault(name, now)

    def close(self) -> None:
        """Stop listening."""
        os.close(self._end)
        self._thread.join()
        os.close(self._over)
        os.close(self._watch)


@dataclass
class Peak:
    """The most that was seen at one end at one moment."""

    processes: int = 0
    memory_bytes: int = 0  # PSS: what several processes share is counted once


class ProcessWatch:
    """Looks at all processes of both ends now and then."""

    def __init__(self, plotters: Sequence[int], servers: Sequence[int]) -> None:
        self._roots = {"plotters": plotters, "nas": servers}
        self.peaks = {end: Peak() for end in self._roots}
        self._looked = 0.0

    def look_if_due(self) -> None:
        """Look, unless that was just done."""
        if time.monotonic() - self._looked < _SAMPLE_SECONDS:
            return
        for end, roots in self._roots.items():
            processes = [process for root in roots for process in _below(root)]
            peak = self.peaks[end]
            peak.processes = max(peak.processes, len(processes))
            peak.memory_bytes = max(peak.memory_bytes, sum(_pss(process.pid) for process in processes))
        self._looked = time.monotonic()


def _below(root: int) -> list[psutil.Process]:
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(root)
        return [process, *process.children(recursive=True)]
    return []


def _pss(pid: int) -> int:
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0
