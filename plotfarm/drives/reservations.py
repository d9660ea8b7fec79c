"""Who is writing to which drive: one lock a drive, held by its receiver for as long as a plot arrives."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from plotfarm.base.locks import Lock, holder, is_alive, last_content
from plotfarm.drives.model import Arrival, Drive, lock_name

_PURPOSE = "drive"
_TRIES = 20  # a progress update takes microseconds; one of these tries falls between two of them


class Reservations:
    """The drive locks in one lock directory."""

    def __init__(self, lock_directory: Path) -> None:
        self.lock_directory = lock_directory

    @contextlib.contextmanager
    def mutex(self) -> Iterator[None]:
        """Keep others from looking and taking for a moment. Never touch a drive in it: that can hang."""
        lock = Lock(self.lock_directory / "arrivals.lock")
        lock.acquire(wait=True)
        try:
            yield
        finally:
            lock.release()

    def path_for(self, drive: Drive) -> Path:
        """Return the drive's lock file."""
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
        for path in sorted(self.lock_directory.glob(f"{_PURPOSE}-*.lock")):
            content = _content(path)
            if content is not None:
                found.append(_arrival(content, path))
        return found

    def last_served(self) -> dict[str, float]:
        """Return when the newest arrival of each plotter began (Unix time), as far as the locks still tell it."""
        served: dict[str, float] = {}
        for path in self.lock_directory.glob(f"{_PURPOSE}-*.lock"):
            content = last_content(path)
            plotter, since = content.get("plotter"), content.get("since")
            if isinstance(plotter, str) and isinstance(since, float):
                served[plotter] = max(since, served.get(plotter, 0.0))
        return served


def _content(path: Path) -> dict[str, Any] | None:
    """Return what the holder wrote, None if the lock is free; half-written content is read again."""
    content = holder(path)
    for _ in range(_TRIES):
        if content is None or "identity" in content:
            break
        content = holder(path)
    return content


def _arrival(content: dict[str, Any], path: Path) -> Arrival:
    return Arrival(
        plot=str(content.get("plot", "")),
        bytes=int(content.get("bytes", 0)),
        written_bytes=int(content.get("written_bytes", 0)),
        identity=str(content.get("identity", unquote(path.stem.removeprefix(f"{_PURPOSE}-")))),
        plotter=str(content.get("plotter", "")),
        since=float(content.get("since", 0.0)),
        alive=is_alive(content),
        publishing=content.get("publishing") is True,
        offset=int(content.get("offset", 0)),
        progress=float(content.get("progress", 0.0)),
        arrival_id=str(content.get("arrival_id", "")),
        format=str(content.get("format", "")),
    )
