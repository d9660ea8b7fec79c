"""Carrying out a plot's move on one host, in a process of its own that the run follows.

What touches the disks is done there; what is to be remembered is told to the run, which says when it is on record.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plotfarm.base.disk_error import Call, calling
from plotfarm.transfer.disk import Disk, Site, link_open_file
from plotfarm.transfer.effects import (
    CompareSource,
    Copy,
    DiskEffect,
    Effect,
    LinkSource,
    Naming,
    RecordEffect,
    ReservedPlacement,
    SourceEffect,
    SourcePlace,
    StoredPlacement,
    play,
)
from plotfarm.transfer.hashing import forget_read
from plotfarm.transfer.move import Load, move
from plotfarm.transfer.outcomes import Delivered, Failed, Failure
from plotfarm.transfer.pace import Pace, rester
from plotfarm.transfer.pour import Stream, file_filler, pour, reporter
from plotfarm.transfer.publish import Verify
from plotfarm.transfer.source import Source
from plotfarm.transfer.stream import Log, RelayedNotes, TimeNote, log_through
from plotfarm.transfer.worker import Endpoint, Worker, WorkerGone


@dataclass(frozen=True)
class Order:
    """One plot to move: what, from where (open as `source`), to where, and how fast at most (0: no limit)."""

    load: Load
    path: Path
    source: int
    placement: ReservedPlacement | StoredPlacement
    site: Site
    bytes_per_second: float


@dataclass(frozen=True)
class Advanced:
    """So many bytes are copied, read or compared."""

    done: int


@dataclass(frozen=True)
class ToRecord:
    """An effect that the run carries out: something is to be remembered."""

    effect: RecordEffect


class Mover:
    """The run's side of one move; `end` it in any case."""

    def __init__(self, order: Order, keep: Collection[int]) -> None:
        """Begin the move; the process holds the descriptors in `keep` too."""
        self._worker = Worker(lambda endpoint: _serve(order, endpoint), [order.source, *keep])
        self.moved = time.monotonic()  # when it got on last
        self.done = 0  # bytes

    def fileno(self) -> int:
        """Return the descriptor to poll: ready when `receive` has something."""
        return self._worker.endpoint.fileno()

    def receive(self) -> Advanced | ToRecord | TimeNote | Delivered | Failed:
        """Return what the process says: how it gets on, what is to be remembered, or the outcome."""
        try:
            said, _ = self._worker.endpoint.receive()
        except WorkerGone:
            return Failed(Failure.INTERNAL, "the process that moves the plot was ended from outside")
        if not isinstance(said, Advanced) or said.done != self.done:
            self.moved = time.monotonic()
        if isinstance(said, Log):
            said.write()
            return Advanced(self.done)
        if isinstance(said, Advanced):
            self.done = said.done
        answer: Advanced | ToRecord | TimeNote | Delivered | Failed = said
        return answer

    def recorded(self) -> None:
        """Tell the process that what it wanted to be remembered is on record."""
        self._worker.endpoint.noted()

    def end(self) -> None:
        """End the process, whatever it is doing; one that hangs with a drive stays behind with its locks."""
        self._worker.end()


def _serve(order: Order, endpoint: Endpoint) -> None:
    """Be the process: make the move and say what came of it."""
    log_through(endpoint)
    report = reporter(lambda done: endpoint.send(Advanced(done)))
    source = Source(order.source, order.path, order.load.segment_bytes, RelayedNotes(endpoint), report)
    disk = Disk(order.site, order.load.segment_bytes, report)
    hands = _Hands(order, source, disk, endpoint, report)
    try:
        outcome: Delivered | Failed = play(move(order.load, order.placement), hands.carry_out)
    except WorkerGone:
        raise
    except Exception as error:  # a bug: the run says so, and both files stay
        outcome = Failed(Failure.INTERNAL, f"unexpected {type(error).__name__}: {error}", order.placement.drive)
    endpoint.send(outcome)


class _Hands:
    """Carries out every effect of a move."""

    def __init__(
        self, order: Order, source: Source, disk: Disk, endpoint: Endpoint, report: Callable[[int], None]
    ) -> None:
        self._order = order
        self._source = source
        self._disk = disk
        self._endpoint = endpoint
        self._report = report

    def carry_out(self, effect: Effect[Any]) -> Any:
        """Carry out one effect and return its result."""
        match effect:
            case Copy():
                return self._copy(effect)
            case LinkSource():
                return self._link(effect)
            case CompareSource():
                return self._compare()
            case DiskEffect():
                return self._disk.carry_out(effect)
            case SourceEffect():
                return self._source.carry_out(effect)
            case RecordEffect():
                return self._endpoint.have_noted(ToRecord(effect))
        raise TypeError(f"nobody carries out {type(effect).__name__}")

    def _copy(self, effect: Copy) -> tuple[str, ...]:
        source = self._source.descriptor
        rest = rester(Pace(self._order.bytes_per_second).rest)
        before = 0

        def after(done: int) -> None:
            nonlocal before
            forget_read(source, done, done - before, effect.size)
            before = done
            rest(done)

        stream = Stream(
            size=effect.size,
            resumed=(),
            segment_bytes=self._order.load.segment_bytes,
            is_sampled=self._order.load.verify is Verify.SAMPLE,
            rest=after,
        )
        poured = pour(file_filler(source), self._disk.part, stream, self._report)
        self._disk.samples = poured.samples
        return poured.segments

    def _link(self, effect: LinkSource) -> Naming:
        return link_open_file(self._source.descriptor, effect.plot, self._disk.directory)

    def _compare(self) -> SourcePlace:
        with calling(Call.STAT):
            directory, own = os.fstat(self._disk.directory), os.fstat(self._source.directory)
            if os.path.samestat(directory, own):
                return SourcePlace.IN_DIRECTORY
            stored = self._disk.stored
            if stored is not None and os.path.samestat(os.fstat(stored), os.fstat(self._source.descriptor)):
                return SourcePlace.SAME_FILE
        return SourcePlace.ELSEWHERE
