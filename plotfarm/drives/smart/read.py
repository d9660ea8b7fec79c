"""Reading the SMART data of many disks: each once, side by side, and a disk that hangs costs only its own row."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from plotfarm.base.config.loader import CHECKOUT
from plotfarm.base.config.sections import Smart
from plotfarm.base.errors import PlotfarmError
from plotfarm.drives.health import Health
from plotfarm.drives.smart.answers import health_from, without
from plotfarm.drives.smart.calls import DYING, NoAnswer, call
from plotfarm.drives.smart.command import arguments, permission_remedy, smartctl_words
from plotfarm.drives.smart.disks import type_of

_AT_ONCE = 32
_PATIENCE_SECONDS = 1.0  # a disk that takes longer no longer keeps others waiting: another one is asked besides
_GRACE_SECONDS = 1.5  # in which a call that takes too long is ended


def read_health(
    disks: Collection[str], settings: Smart, now: float, lock_directory: Path = CHECKOUT / "locks"
) -> dict[str, Health]:
    """Return disk -> what it says about itself; a Health with a `problem` for those that say nothing.

    `disks`: paths of whole disks; `now`: Unix time, for the readings; `lock_directory`: of [paths] locks. It takes
    as long as the slowest disk, a little more than settings.timeout_seconds at most once all were begun.
    """
    if not disks:
        return {}
    try:
        words = smartctl_words(settings.smartctl)
        lock_directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except PlotfarmError as error:
        return {disk: without(disk, now, str(error)) for disk in disks}
    except OSError as error:
        return {disk: without(disk, now, f"{lock_directory}: {error.strerror}") for disk in disks}
    return _read_all(_Reader(words, settings, now, lock_directory, _names(disks, settings)), sorted(disks))


def _names(disks: Collection[str], settings: Smart) -> dict[str, list[str]]:
    """Return disk -> all its paths, as far as the configuration asks for types by them."""
    if not settings.device_types:
        return {}
    from plotfarm.drives.mounts import device_names

    links = device_names()
    return {disk: [disk, *links.get(disk, ())] for disk in disks}


@dataclass(frozen=True)
class _Reader:
    """What each thread needs to read a disk."""

    words: Sequence[str]
    settings: Smart
    now: float
    lock_directory: Path
    names: Mapping[str, Sequence[str]]

    def read(self, disk: str) -> Health:
        kind = type_of(self.names.get(disk, ()), self.settings.device_types)
        argv = [*self.words, *arguments(disk, kind, self.settings.wake_drives)]
        try:
            answer = call(argv, disk, self.settings.timeout_seconds, self.lock_directory)
        except NoAnswer as error:
            return without(disk, self.now, str(error))
        return health_from(answer, disk, self.now, permission_remedy(self.words))


def _read_all(reader: _Reader, disks: Sequence[str]) -> dict[str, Health]:
    """Read every disk in a thread of its own, some at a time.

    The threads are daemons: one that a disk holds for ever does not keep the process from ending.
    """
    limit = reader.settings.timeout_seconds + _GRACE_SECONDS
    healths: dict[str, Health] = {}
    answers: queue.SimpleQueue[Health] = queue.SimpleQueue()
    todo, begun = deque(disks), dict[str, float]()  # begun: when, for those that have not answered
    while todo or begun:
        now = time.monotonic()
        waited_for = sum(now <= since + _PATIENCE_SECONDS for since in begun.values())
        for _ in range(min(len(todo), _AT_ONCE - waited_for)):
            disk = todo.popleft()
            begun[disk] = now
            threading.Thread(target=lambda disk=disk: answers.put(reader.read(disk)), daemon=True).start()
        first_overdue = max(0.0, min(begun.values()) + limit - now)
        with contextlib.suppress(queue.Empty):
            health = answers.get(timeout=min(_PATIENCE_SECONDS, first_overdue))
            if begun.pop(health.disk, None) is not None:  # else it comes too late
                healths[health.disk] = health
        now = time.monotonic()
        for disk in [disk for disk, since in begun.items() if now >= since + limit]:
            del begun[disk]
            healths[disk] = without(disk, reader.now, f"no answer within {limit:g} seconds: {DYING}")
    return healths
