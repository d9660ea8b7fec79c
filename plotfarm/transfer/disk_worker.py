"""The process that works on a drive for a session: it carries out disk effects, one after the other.

The session asks from outside, so it goes on hearing the plotter whatever the drive does.
"""

from __future__ import annotations

import errno
import os
import select
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

from plotfarm.base.disk_error import Call, DiskError
from plotfarm.transfer.disk import Disk, Site
from plotfarm.transfer.effects import DiskEffect, Pour, Stopped
from plotfarm.transfer.outcomes import Failure
from plotfarm.transfer.pace import rester
from plotfarm.transfer.pour import Stream, connection_filler, pour, reporter, sizes_for
from plotfarm.transfer.worker import Endpoint, Worker, WorkerGone


@dataclass(frozen=True)
class Progress:
    """So many bytes are read or written."""

    done: int


@dataclass(frozen=True)
class Result:
    """The effect is carried out."""

    value: Any


@dataclass(frozen=True)
class Raised:
    """The effect failed."""

    error: DiskError | Stopped


@dataclass(frozen=True)
class Arriving:
    """How plots arrive: what is done with their bytes on the way (see pour.Stream)."""

    segment_bytes: int
    is_sampled: bool
    streams: int  # so many plots the plotter sends at once
    refuse_header: Callable[[bytes], str | None]
    rests: Sequence[Callable[[int], float]]  # each says for how many seconds to rest after so many bytes


class DiskWorker:
    """The session's side: a process that works on the drive at `site`, holding the descriptors in `keep`."""

    def __init__(self, site: Site, arriving: Arriving, keep: Collection[int]) -> None:
        self._worker = Worker(lambda endpoint: _serve(site, arriving, endpoint), keep)

    def fileno(self) -> int:
        """Return the descriptor to poll: ready when `receive` has something."""
        return self._worker.endpoint.fileno()

    def begin(self, effect: DiskEffect[Any], connection: int | None = None) -> None:
        """Have an effect carried out; for Pour, from this data connection. Stopped if the process is gone."""
        try:
            self._worker.endpoint.send(effect, connection)
        except WorkerGone:
            raise _gone() from None

    def receive(self) -> Progress | Result:
        """Return what the process says; DiskError or Stopped if the effect failed."""
        try:
            answer, _ = self._worker.endpoint.receive()
        except WorkerGone:
            raise _gone() from None
        if isinstance(answer, Raised):
            raise answer.error
        assert isinstance(answer, Progress | Result)
        return answer

    def wait(self, seconds: float) -> bool:
        """Wait for `receive` to have something; False if that takes longer."""
        return bool(select.select([self], [], [], max(0.0, seconds))[0])

    def end(self) -> None:
        """End the process; one that hangs with the drive is left behind with the locks that it holds."""
        self._worker.end()


def _gone() -> Stopped:
    return Stopped(Failure.INTERNAL, "the process that writes to the drive was ended from outside")


def _serve(site: Site, arriving: Arriving, endpoint: Endpoint) -> None:
    """Be that process: carry out what is asked until nobody asks any more."""
    disk = Disk(site, arriving.segment_bytes, reporter(lambda done: endpoint.send(Progress(done))))
    while True:
        effect, connection = endpoint.receive()
        answer: Result | Raised
        try:
            if isinstance(effect, Pour):
                assert connection is not None
                answer = Result(_pour(effect, connection, disk, arriving, endpoint))
            else:
                answer = Result(disk.carry_out(effect))
        except (DiskError, Stopped) as error:
            answer = Raised(error)
        except WorkerGone:
            raise
        except Exception as error:  # a bug: the session says so, and what lies on the drive stays
            answer = Raised(Stopped(Failure.INTERNAL, f"unexpected {type(error).__name__}: {error}"))
        endpoint.send(answer)


def _pour(effect: Pour, connection: int, disk: Disk, arriving: Arriving, endpoint: Endpoint) -> tuple[str, ...]:
    chunk_bytes, step_bytes = sizes_for(connection, disk.part, arriving.streams)
    stream = Stream(
        size=effect.size,
        resumed=effect.resumed,
        segment_bytes=arriving.segment_bytes,
        is_sampled=arriving.is_sampled,
        chunk_bytes=chunk_bytes,
        step_bytes=step_bytes,
        refuse_header=arriving.refuse_header,
        rest=rester(*arriving.rests),
    )
    report = reporter(lambda done: endpoint.send(Progress(done)))
    try:
        poured = pour(connection_filler(connection, step_bytes), disk.part, stream, report)
    except DiskError as error:
        if disk.is_allocated and error.call is Call.WRITE and error.number == errno.ENOSPC:
            # Room that was granted is not there: storage that is thinner than it says, and no drive that is full.
            raise DiskError(Call.WRITE_BACK, error.number) from error
        raise
    finally:
        os.close(connection)
    disk.samples = poured.samples
    endpoint.send(Progress(effect.size))
    return poured.segments
