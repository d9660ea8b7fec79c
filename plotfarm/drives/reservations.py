"""Who is writing to which drive: one lock a drive, held by its receiver for as long as a plot arrives."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from plotfarm.base.locks import Lock, holder, is_alive, last_content

if TYPE_CHECKING:  # a session is counted, in the mutex, before anything that takes long to load
    from plotfarm.drives.model import Arrival, Drive

_PURPOSE = "drive"
_LARGEST = 2**63
_TRIES = 20  # a progress update takes microseconds; one of these tries falls between two of them


class Reservations:
    """The drive locks in one lock directory."""

    def __init__(self, lock_directory: Path) -> None:
        self.lock_directory = lock_directory
        self._served: dict[Path, tuple[int, str, float]] = {}  # a lock -> time of its file (ns), plotter, since when

    @contextlib.contextmanager
    def mutex(self, limit_seconds: float | None = None) -> Iterator[None]:
        """Keep others from looking and taking for a moment. Never touch a drive in it: that can hang.

        LockTimeout if somebody holds it for longer than `limit_seconds`; None: see Lock.acquire.
        """
        lock = Lock(self.lock_directory / "arrivals.lock")
        lock.acquire(wait=True, limit_seconds=limit_seconds)
        try:
            yield
        finally:
            lock.release()

    def path_for(self, drive: Drive) -> Path:
        """Return the drive's lock file."""
        from plotfarm.drives.model import lock_name

        return self.lock_directory / lock_name(_PURPOSE, drive.identity)

    def take(self, drive: Drive, **content: Any) -> Lock:
        """Reserve a drive, in the mutex; LockBusy if a plot is arriving there already.

        `content` is what `arrivals` tells others: plot, bytes, plotter; later `update` of the lock with
        written_bytes says how far it is.
        """
        lock = Lock(self.path_for(drive))
        lock.acquire(identity=drive.identity, **content)
        return lock

    def arrivals(self) -> list[Arrival]:
        """Return the plots that are arriving now, one for each drive lock that is held. Call in the mutex."""
        found = []
        for path in self.paths():
            content = _content(path)
            if content is not None:
                found.append(_arrival(content, path))
        return found

    def last_served(self) -> dict[str, float]:
        """Return when the newest arrival of each plotter began (Unix time), as far as the locks still tell it."""
        served: dict[str, float] = {}
        for path in self.paths():
            plotter, since = self._last_served_by(path)
            if plotter:
                served[plotter] = max(since, served.get(plotter, 0.0))
        return served

    def _last_served_by(self, path: Path) -> tuple[str, float]:
        """Return whom a lock served last, and since when; read again only when its file was written."""
        written = os.stat(path).st_mtime_ns
        known = self._served.get(path)
        if known is None or known[0] != written:
            content = last_content(path)
            plotter = content.get("plotter")
            since = content.get("since")
            if isinstance(plotter, str) and isinstance(since, float):
                known = (written, plotter, since)
            else:
                known = (written, "", 0.0)
            self._served[path] = known
        _, plotter, since = known
        return plotter, since

    def paths(self) -> list[Path]:
        """Return the locks of all drives that a plot ever arrived on, in the same order each time."""
        names = [name for name in os.listdir(self.lock_directory) if name.startswith(f"{_PURPOSE}-")]
        return [self.lock_directory / name for name in sorted(names) if name.endswith(".lock")]

    def unused_seconds(self, drive: Drive) -> float | None:
        """Return how long ago something was last written into the lock of a drive; None if that never was.

        Less than 0 if the clock was set back.
        """
        try:
            return time.time() - os.stat(self.path_for(drive)).st_mtime
        except FileNotFoundError:
            return None


def arriving_bytes(arrivals: Iterable[Arrival], plotter: str) -> int:
    """Return how many bytes all plots have that others than `plotter` are bringing now."""
    return sum(arrival.bytes for arrival in arrivals if arrival.alive and arrival.plotter != plotter)


def _content(path: Path) -> dict[str, Any] | None:
    """Return what the holder wrote, None if the lock is free; half-written content is read again."""
    content = holder(path)
    for _ in range(_TRIES):
        if content is None or "identity" in content:
            break
        content = holder(path)
    return content


def _arrival(content: dict[str, Any], path: Path) -> Arrival:
    from plotfarm.drives.model import Arrival

    return Arrival(
        plot=str(content.get("plot", "")),
        bytes=_whole(content, "bytes"),
        written_bytes=_whole(content, "written_bytes"),
        identity=str(content.get("identity", unquote(path.stem.removeprefix(f"{_PURPOSE}-")))),
        plotter=str(content.get("plotter", "")),
        since=_number(content, "since"),
        alive=is_alive(content),
        publishing=content.get("publishing") is True,
        offset=_whole(content, "offset"),
        progress=_number(content, "progress"),
        arrival_id=str(content.get("arrival_id", "")),
        format=str(content.get("format", "")),
    )


def _number(content: dict[str, Any], key: str) -> float:
    """Return a number of a lock's content; 0 if it is none, for anything may stand there."""
    value = content.get(key)
    if isinstance(value, int | float) and -_LARGEST <= value <= _LARGEST:  # which NaN is not
        return float(value)
    return 0.0


def _whole(content: dict[str, Any], key: str) -> int:
    return int(_number(content, key))
