"""One run that moves plots of this host: what waits, what is on its way, and what came of it."""

from __future__ import annotations

import logging
import select
import socket
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import replace

from plotfarm.base.config.sections import Config
from plotfarm.base.errors import PlotfarmError, TransferFailed
from plotfarm.base.locks import Lock
from plotfarm.base.state import State
from plotfarm.base.units import format_bytes, format_duration, format_speed
from plotfarm.drives.smart.disks import spinning_disk
from plotfarm.jobs.drive_storage import DriveStorage
from plotfarm.jobs.finished_plots import FinishedPlots
from plotfarm.jobs.moving import Moving
from plotfarm.plots.names import escaped
from plotfarm.plots.parts import new_arrival_id
from plotfarm.plots.plotfile import Candidate, PlotFile
from plotfarm.reports.dry_run import Planned, planned
from plotfarm.reports.progress import Bars, Screen
from plotfarm.transfer.effects import (
    RecordFailed,
    RefusedPlacement,
    RemoveOtherParts,
    ReservedPlacement,
    StoredPlacement,
)
from plotfarm.transfer.hashing import configured_segment_bytes, plot_hash
from plotfarm.transfer.messages import Offer
from plotfarm.transfer.move import Load
from plotfarm.transfer.outcomes import Delivered, Failed, Failure, How
from plotfarm.transfer.publish import Verify
from plotfarm.transfer.storage import Assignment

_LOG = logging.getLogger(__name__)
_GIVE_UP_AFTER = 3  # failures in a row: it is not the plot then
_LOCK_UPDATE_SECONDS = 1.0
_RETRY_SECONDS = 10.0  # a drive may also become free because an arrival over the network has ended


class MovingRun:
    """One run: what waits, what is on its way, and what came of it."""

    def __init__(
        self, config: Config, lock: Lock, state: State, plots: FinishedPlots, screen: Screen, dry_run: bool
    ) -> None:
        self._config, self._lock, self._state, self._dry_run = config, lock, state, dry_run
        self._settings = config.local_plots
        self._screen = screen
        self._plots = plots
        self._mover = socket.gethostname()
        self._storage = DriveStorage(config, state, self._mover)
        self._queue: deque[Candidate] = deque()
        self._moves: list[Moving] = []
        self._excluded: dict[str, set[str]] = {}  # plot -> identities of drives that could not take it
        self._moved = self._moved_before = self._failed_in_a_row = 0
        self._bars = Bars(None)
        self.planned: list[Planned] = []  # by a dry run
        self._noted = self._next_start = 0.0  # time.monotonic()

    def move(self, candidates: Sequence[Candidate]) -> int:
        """Move until nothing that is finished is left, also what finishes meanwhile; returns how many were moved."""
        self._queue.extend(candidates)
        try:
            with self._screen.bars() as self._bars:
                while self._start_moves():
                    self._follow()
        finally:
            for move in self._moves:
                move.end()
        if self._failed_in_a_row >= _GIVE_UP_AFTER:
            self._plots.fail(f"{_GIVE_UP_AFTER} moves in a row failed: the rest waits for the next run")
        return self._moved

    def _start_moves(self) -> bool:
        """Begin what can begin; True if anything is on its way then.

        Looking for a place asks every drive, so it is done when something may have changed, not at every word.
        """
        if self._moves and time.monotonic() < self._next_start:
            return True
        self._next_start = time.monotonic() + _RETRY_SECONDS
        while True:
            for candidate in list(self._queue):
                if len(self._moves) >= self._settings.moves or self._failed_in_a_row >= _GIVE_UP_AFTER:
                    break
                if not self._is_disk_busy(candidate):
                    self._queue.remove(candidate)
                    if not self._start(candidate):
                        self._queue.appendleft(candidate)
                        break
            if self._moves or self._failed_in_a_row >= _GIVE_UP_AFTER or self._moved == self._moved_before:
                return bool(self._moves)
            self._moved_before = self._moved
            self._queue.extend(self._plots.again())

    def _is_disk_busy(self, candidate: Candidate) -> bool:
        """Tell whether enough plots are read from the spinning disk that this one lies on."""
        disk = spinning_disk(candidate.identity.device)
        same = sum(spinning_disk(move.plot.identity.device) == disk for move in self._moves)
        return bool(disk) and same >= self._settings.moves_from_one_disk

    def _start(self, candidate: Candidate) -> bool:
        """Begin to move one plot if it may travel; False if it has to wait until a drive is free again."""
        try:
            plot = self._plots.finished(candidate)
            return plot is None or self._begin(plot)
        except PlotfarmError as error:
            self._fail(f"{escaped(candidate.name)}: {error}", candidate)
            return True

    def _begin(self, plot: PlotFile) -> bool:
        """Find a place for the plot and begin to move it; False if it has to wait; TransferFailed if there is none."""
        offer = self._offer(plot)
        assignment = self._place(offer)
        placement = assignment.placement
        if isinstance(placement, RefusedPlacement):
            if self._moves and not placement.refusal.is_final:
                return False
            raise TransferFailed(placement.detail)
        if self._dry_run:
            is_stored = isinstance(placement, StoredPlacement)
            would = Planned(plot.name, plot.size, "", placement.path, is_stored)
            self.planned.append(would)
            self._screen.result(planned(would))
            return True

        _LOG.info("Processing Plot: %s to %s", plot.path, placement.path)
        load = Load(
            plot=plot.name,
            identity=plot.identity,
            plot_id=plot.header.plot_id,
            mover=self._mover,
            keep_source=self._config.plotter.keep_source,
            verify=Verify(self._config.transfer.verify),
            segment_bytes=configured_segment_bytes(),
        )
        speed = self._settings.max_mb_per_second * 1e6
        self._moves.append(Moving(plot, offer, assignment, load, self._storage, self._state, speed))
        self._bars.add(plot.name, plot.size, placement.drive)
        return True

    def _place(self, offer: Offer) -> Assignment:
        """Find a place for the plot. What an interrupted copy has left there goes first: a copy begins anew."""
        excluded = frozenset(self._excluded.setdefault(offer.name, set()))
        assignment = self._storage.place(offer, excluded)
        placement = assignment.placement
        if offer.is_dry_run or not isinstance(placement, ReservedPlacement) or not placement.part:
            return assignment

        self._storage.record(RemoveOtherParts(offer.name), offer, assignment, 0.0)
        fresh = replace(placement, part="", arrival=new_arrival_id())
        return replace(assignment, placement=fresh)

    def _offer(self, plot: PlotFile) -> Offer:
        return Offer(
            name=plot.name,
            size=plot.size,
            format=plot.header.kind.value,
            k=plot.header.k or None,
            id=plot.header.plot_id,
            is_dry_run=self._dry_run,
            patience_seconds=0.0,
            streams=1,
            plot_directory=escaped(str(plot.directory)),
            free_bytes=None,
            waiting_bytes=0,
            hours_left=None,
        )

    def _follow(self) -> None:
        """Wait for the next words of any process; one whose bytes stand still is ended."""
        stall = self._config.transfer.stall_seconds
        due = min(move.moved for move in self._moves) + stall
        ready, _, _ = select.select(self._moves, [], [], max(0.0, due - time.monotonic()))
        for move in list(self._moves):
            if move in ready:
                outcome = move.follow()
                self._bars.update(move.plot.name, move.done)
                if outcome is not None:
                    self._see_to(move, outcome)
            elif time.monotonic() - move.moved >= stall:
                detail = f"no byte for {stall:g} seconds after {move.done} of {move.plot.size}"
                failed = Failed(Failure.HANGS, f"stalled: {detail}", move.drive)
                move.record(RecordFailed(failed.failure, failed.detail))
                self._see_to(move, failed)
        if time.monotonic() - self._noted > _LOCK_UPDATE_SECONDS:
            self._noted = time.monotonic()
            self._lock.update(plots=[move.plot.name for move in self._moves], progress=time.time())

    def _see_to(self, move: Moving, outcome: Delivered | Failed) -> None:
        """Do what the end of a move asks for."""
        self._moves.remove(move)
        self._bars.remove(move.plot.name)
        move.end()
        self._next_start = 0.0
        if isinstance(outcome, Delivered):
            self._delivered(move, outcome)
        elif outcome.failure.is_of_drive and outcome.failure is not Failure.HANGS:
            # Nothing is lost: the plot tries another drive at once, and this one no more in this run.
            _LOG.error("Drive %s is skipped: %s", move.drive, outcome.detail)
            self._excluded[move.plot.name].add(move.identity)
            self._queue.appendleft(move.plot)
        else:
            self._fail(f"{escaped(move.plot.name)}: {outcome.detail}", move.plot)

    def _delivered(self, move: Moving, delivered: Delivered) -> None:
        """Say that a plot is moved."""
        self._moved += 1
        self._failed_in_a_row = 0
        size, seconds = move.plot.size, move.seconds
        how = "renamed"
        if delivered.segments:
            how = f"{format_duration(seconds)}, {format_speed(size, seconds)}"
        if delivered.how is How.HAVE:
            how = "was there already"
        hashed = f", hash {plot_hash(delivered.segments)}" if delivered.segments else ""
        _LOG.info(
            "Plot Sizes Match, we have a good plot move! %s is %s%s, %s (%s)",
            move.plot.name,
            delivered.path,
            hashed,
            format_bytes(size),
            how,
        )
        self._screen.result(f"{move.plot.name} -> {delivered.path}  ({how})")
        self._plots.settle_removal(move.plot, delivered)

    def _fail(self, message: str, plot: Candidate) -> None:
        self._failed_in_a_row += 1
        self._plots.fail(message, plot)
