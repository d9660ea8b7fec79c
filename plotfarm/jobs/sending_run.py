"""One run that sends: what waits, what is on its way, and what came of it."""

from __future__ import annotations

import logging
import os
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import replace

from plotfarm.base.config.sections import Config
from plotfarm.base.errors import NasUnavailable, TransferFailed
from plotfarm.base.locks import Lock
from plotfarm.base.state import State
from plotfarm.base.units import format_bytes
from plotfarm.drives.smart.disks import spinning_disk
from plotfarm.jobs.dispatch import Berth, Dispatch, Job, NoNasTakesIt
from plotfarm.jobs.finished_plots import FinishedPlots
from plotfarm.jobs.nas import EXPECTED_SECONDS
from plotfarm.jobs.restored_times import note_time
from plotfarm.jobs.sending import Sending
from plotfarm.jobs.sending_trouble import silent_before
from plotfarm.plots.names import escaped
from plotfarm.plots.plotfile import Candidate, PlotFile, PlotFileError
from plotfarm.reports.dry_run import Planned, planned
from plotfarm.reports.progress import Bars, Screen
from plotfarm.transfer.hashing import configured_segment_bytes, plot_hash
from plotfarm.transfer.messages import Offer, Placed
from plotfarm.transfer.nas_rooms import NasRooms
from plotfarm.transfer.outcomes import Delivered, Failed, Failure, NotTaken, Removal
from plotfarm.transfer.send import Wanted
from plotfarm.transfer.source import open_source
from plotfarm.transfer.stream import (
    End,
    OnTheWay,
    SessionLost,
    SourceFailed,
    Stream,
    StreamGone,
    TimeNote,
    Unavailable,
)

_LOG = logging.getLogger(__name__)
_GIVE_UP_AFTER = 3  # failures in a row: it is not the plot then
_LOCK_UPDATE_SECONDS = 1.0
_LOOK_SECONDS = 10.0  # for plots that have finished while others are on their way
_CLEANING_UP_SECONDS = 30.0  # a stream may still be leaving a NAS that is silent when it gets the next plot
_TURNS = 200  # so many transfers of the past tell which NAS had its turn when
_PATIENCE_SECONDS = 60.0  # so long a plot waits for its turn at a NAS before all are asked again


class SendingRun:
    """One run: what waits, what is on its way, and what came of it."""

    def __init__(
        self, config: Config, lock: Lock, state: State, plots: FinishedPlots, screen: Screen, dry_run: bool
    ) -> None:
        self._config, self._lock, self._state, self._dry_run = config, lock, state, dry_run
        self._screen = screen
        self._plots = plots
        self._trouble = plots.trouble
        self._dispatch = Dispatch(config, self._last_used())
        self._rooms = NasRooms(state.database)
        self._dispatch.expect_rooms(self._rooms.lately(EXPECTED_SECONDS))
        self._dispatch.expect_silence(silent_before(state.database))
        self._queue: deque[Candidate] = deque()
        self._jobs: deque[Job] = deque()
        self._sending: dict[Stream, Sending] = {}
        self._bars = Bars(None)
        self.planned: list[Planned] = []  # by a dry run
        self._streams = 1 if dry_run else config.plotter.streams
        self._sent = self._sent_before = self._failed_in_a_row = 0
        self._looked = self._begun = time.monotonic()
        self._noted = 0.0

    def send(self, candidates: Sequence[Candidate]) -> int:
        """Send until nothing that is finished is left, also what finishes meanwhile, or the time is over.

        Returns how many plots were sent.
        """
        self._queue.extend(candidates)
        try:
            with self._screen.bars() as self._bars:
                while self._begin_what_can() or self._sending:
                    self._follow()
            self._dispatch.note_unanswered()
            if not self._dry_run:
                self._rooms.remember(self._dispatch.rooms())
        finally:
            self._dispatch.close()
            for sending in self._sending.values():
                os.close(sending.source)

        reached = self._trouble.reached
        self._trouble.silent |= {host: why for host, why in self._dispatch.silent.items() if host not in reached}
        self._trouble.refusing |= self._dispatch.refusing & set(self._trouble.silent)
        self._trouble.answered |= self._dispatch.answered - set(self._trouble.silent)
        for host in reached:
            self._trouble.waiting_for.pop(host, None)
        if self._failed_in_a_row >= _GIVE_UP_AFTER:
            self._plots.fail(f"{_GIVE_UP_AFTER} transfers in a row failed: the rest waits for the next run")
        return self._sent

    def _last_used(self) -> dict[str, float]:
        """Return when each NAS got a plot last, in seconds from now: what goes round goes on where it was."""
        if self._config.nas.policy != "round_robin":
            return {}
        now = time.time()
        moments: dict[str, float] = {}
        for transfer in self._state.transfers(limit=_TURNS):
            for host in self._config.nas.hosts:
                if host not in moments and transfer.target.startswith(f"{host}:"):
                    moments[host] = min(0.0, transfer.finished - now)
        return moments

    # ---- What begins ----

    @property
    def _is_over(self) -> bool:
        """Whether nothing new may begin."""
        limit = self._config.plotter.longest_run_minutes * 60
        too_late = bool(limit) and time.monotonic() - self._begun > limit
        return too_late or self._failed_in_a_row >= _GIVE_UP_AFTER

    def _begin_what_can(self) -> bool:
        """Begin what can begin; True if something that waits may begin yet without one of those on their way ending."""
        if self._is_over:
            self._jobs.clear()
            return False
        self._fill()
        begun = True
        while begun and not self._is_over:
            begun = False
            for job in list(self._jobs):
                may_begin = job in self._jobs and len(self._sending) < self._streams
                if may_begin and not self._is_disk_busy(job.plot):
                    begun = self._try(job) or begun
            self._fill()
        return bool(self._jobs) and not self._sending

    def _fill(self) -> None:
        """Look at waiting plots until there are as many jobs as streams; look for new ones when none is left."""
        if not self._queue and self._is_time_to_look():
            self._looked, self._sent_before = time.monotonic(), self._sent
            self._queue.extend(self._plots.again())
        while self._queue and len(self._jobs) < self._streams:
            candidate = self._queue.popleft()
            try:
                if plot := self._plots.finished(candidate):
                    self._jobs.append(self._job(plot))
            except PlotFileError as error:
                self._plots.fail(f"{escaped(candidate.name)}: {error}", candidate)

    def _job(self, plot: PlotFile) -> Job:
        """Return what is to be done with a plot: the NAS that may have it already is asked first."""
        journaled = self._state.journal_nas(str(plot.path))
        if journaled is None:
            return Job(plot)
        host, since = journaled
        self._trouble.waiting_for.setdefault(host, []).append(since)
        return Job(plot, host)

    def _is_time_to_look(self) -> bool:
        if self._sending:
            return time.monotonic() - self._looked > _LOOK_SECONDS
        return self._sent > self._sent_before and not self._jobs

    def _is_disk_busy(self, plot: PlotFile) -> bool:
        """Tell whether enough plots are read from the spinning disk that this one lies on."""
        disk = spinning_disk(plot.identity.device)
        same = sum(spinning_disk(each.plot.identity.device) == disk for each in self._sending.values())
        return bool(disk) and same >= self._config.plotter.streams_from_one_disk

    def _try(self, job: Job) -> bool:
        """Begin to send a plot if a NAS is ready for it; True if its turn is over, well or not."""
        shown = escaped(job.plot.name)
        try:
            berth = self._dispatch.berth(job, min(len(self._jobs), self._streams - len(self._sending)))
            if berth is None:
                return bool(job.refusals) and not self._sending and not self._dispatch.is_waiting
            self._jobs.remove(job)
            self._send(job, berth)
        except NasUnavailable as error:  # told of as such, and not for each plot
            self._plots.fail(f"{shown}: {error}")
            self._jobs.remove(job)
            if not any(nas.is_usable for nas in self._dispatch.all.values()):
                self._jobs.clear()
                self._queue.clear()
        except NoNasTakesIt as error:
            self._jobs.remove(job)
            self._plots.fail(f"{shown}: refused by the NAS: {error}", job.plot)
        except TransferFailed as error:
            self._plots.fail(f"{shown}: {error}", job.plot)
        return True

    def _send(self, job: Job, berth: Berth) -> None:
        """Hand a plot to a stream; TransferFailed if it cannot be opened any more."""
        plot = job.plot
        offer = self._offer(plot)
        now = time.time()
        source = open_source(plot.path, plot.identity)
        self._sending[berth.stream] = Sending(job, berth, source, time.monotonic(), now, now)
        if self._dry_run:
            return berth.stream.place(offer)
        _LOG.info("Processing Plot: %s", plot.path)
        self._state.journal_write(str(plot.path), berth.nas.host)
        self._dispatch.taken(berth.nas, plot.size)
        self._bars.add(plot.name, plot.size, berth.nas.host)
        wanted = Wanted(plot.identity, self._config.plotter.keep_source, configured_segment_bytes())
        return berth.stream.deliver(offer, source, plot.path, wanted)

    def _offer(self, plot: PlotFile) -> Offer:
        offer = Offer(
            name=plot.name,
            size=plot.size,
            format=plot.header.kind.value,
            k=plot.header.k or None,
            id=plot.header.plot_id,
            is_dry_run=self._dry_run,
            patience_seconds=_PATIENCE_SECONDS,
            streams=min(self._streams, 1000),
            plot_directory=escaped(str(plot.directory))[:200],
            free_bytes=None,
            waiting_bytes=0,
            hours_left=None,
        )
        room = self._plots.rooms.get(plot.directory)
        if room is None:
            return offer
        return replace(offer, free_bytes=room.free_bytes, waiting_bytes=room.waiting_bytes, hours_left=room.hours_left)

    # ---- What is on its way ----

    def _follow(self) -> None:
        """Wait for what happens next, and see to it."""
        for stream in self._dispatch.wait(list(self._sending)):
            self._hear(self._sending[stream])
        transfer = self._config.transfer
        limit = transfer.silence_seconds + transfer.stall_seconds + _CLEANING_UP_SECONDS
        silent = [each for each in self._sending.values() if time.monotonic() - each.berth.stream.heard > limit]
        for sending in silent:
            detail = f"the process that sends it has said nothing for {limit:g} seconds"
            self._end_stream(sending.berth)
            self._lost(sending, SessionLost(detail))
        if time.monotonic() - self._noted > _LOCK_UPDATE_SECONDS:
            self._noted = time.monotonic()
            self._note()

    def _hear(self, sending: Sending) -> None:
        """Take what a stream says, and see to it."""
        said = sending.berth.stream.receive()
        if isinstance(said, TimeNote):
            note_time(self._state, said)
            sending.berth.stream.noted()
        elif isinstance(said, OnTheWay):
            sending.update(said)
            self._bars.update(sending.plot.name, sending.done)
        else:
            self._see_to(sending, said)

    def _see_to(self, sending: Sending, end: End) -> None:
        """Do what the end of a plot's journey asks for."""
        match end:
            case Delivered():
                self._delivered(sending, end)
            case Placed():
                self._placed(sending, end)
            case NotTaken():
                self._not_taken(sending, end)
            case Failed(failure=Failure.SOURCE):
                self._source_failed(sending, SourceFailed(end.detail))
            case Failed():
                self._failed(sending, end)
            case SourceFailed():
                self._source_failed(sending, end)
            case Unavailable():
                self._unavailable(sending, end)
            case SessionLost() | StreamGone():
                self._lost(sending, end)

    def _end(self, sending: Sending, *, well: bool) -> bool:
        """Let go of a plot that is no longer on its way; tells whether it still was."""
        if self._sending.pop(sending.berth.stream, None) is None:
            return False
        os.close(sending.source)
        sending.berth.nas.ended(well=well)
        if not self._dry_run:
            self._bars.remove(sending.plot.name)
        return True

    # ---- How it ended ----

    def _placed(self, sending: Sending, placed: Placed) -> None:
        self._end(sending, well=True)
        self._trouble.reached.add(sending.host)
        plot = sending.plot
        verb = "is already at" if placed.is_stored else "would go to"
        would = Planned(plot.name, plot.size, sending.host, placed.path, placed.is_stored)
        self.planned.append(would)
        self._screen.result(planned(would))
        _LOG.info("Dry run: %s %s %s:%s", plot.name, verb, sending.host, placed.path)

    def _delivered(self, sending: Sending, delivered: Delivered) -> None:
        """Remember a plot that is stored and equal, and what became of its source."""
        how = sending.how(delivered)
        self._end(sending, well=True)
        plot, host = sending.plot, sending.host
        self._trouble.reached.add(host)
        self._failed_in_a_row = 0
        self._state.record_transfer(sending.record_delivered(delivered))
        self._sent += 1
        _LOG.info(
            "Plot Sizes Match, we have a good plot move! %s is %s:%s, hash %s, %s (%s)",
            plot.name,
            host,
            delivered.path,
            plot_hash(delivered.segments),
            format_bytes(plot.size),
            how,
        )
        self._screen.result(f"{plot.name} -> {host}:{delivered.path}  ({how}, hashes equal)")
        self._plots.settle_removal(plot, delivered)
        if delivered.removal is not Removal.UNKNOWN:
            self._state.journal_remove(str(plot.path))

    def _not_taken(self, sending: Sending, answer: NotTaken) -> None:
        """Let a plot wait that may come later, try another NAS, or give it up for this run."""
        self._end(sending, well=False)
        job, berth, host = sending.job, sending.berth, sending.host
        shown = escaped(job.plot.name)
        waited = time.monotonic() - sending.started > _PATIENCE_SECONDS / 2
        self._trouble.reached.add(host)
        if answer.refusal.is_perhaps_here:  # it is asked again in the next run, and no other NAS meanwhile
            return self._plots.fail(f"{shown}: {host} may have it: {answer.detail}", job.plot)
        self._state.journal_remove(str(job.plot.path))
        job.assigned_nas = None
        if answer.refusal.is_final:
            return self._plots.fail(f"{shown}: refused by {host}: {answer.detail}", job.plot)
        others = answer.refusal.is_for_now and berth.nas.narrow(berth.link, berth.stream)
        if not (answer.refusal.is_for_now and (others or waited)):
            job.refusals[host] = answer.detail
        elif waited:
            job.waits[host] = job.waits.get(host, 0) + 1
        return self._jobs.appendleft(job)

    def _failed(self, sending: Sending, failed: Failed) -> None:
        """Record a failure that the NAS, or the comparison, has found; the session goes on."""
        self._end(sending, well=False)
        self._trouble.reached.add(sending.host)
        if not failed.failure.is_perhaps_here:
            self._state.journal_remove(str(sending.plot.path))
        self._state.record_transfer(sending.record_failed(failed.failure, failed.detail))
        self._fail(f"{escaped(sending.plot.name)}: {sending.host} could not take it: {failed.detail}", sending.plot)

    def _source_failed(self, sending: Sending, failed: SourceFailed) -> None:
        """Record what the plot itself is to blame for: it says nothing about the others, nor about the NAS."""
        self._end(sending, well=False)
        self._state.record_transfer(sending.record_failed(Failure.SOURCE, failed.detail))
        self._state.journal_remove(str(sending.plot.path))
        self._plots.fail(f"{escaped(sending.plot.name)}: {failed.detail}", sending.plot)

    def _unavailable(self, sending: Sending, unavailable: Unavailable) -> None:
        """Let a plot that was offered to nobody wait for another NAS or link."""
        self._end(sending, well=False)
        job, berth = sending.job, sending.berth
        self._dispatch.lose(berth.nas, berth.link, berth.stream, unavailable.detail, is_refusal=unavailable.is_refusal)
        if job.assigned_nas is None:
            self._state.journal_remove(str(job.plot.path))
        self._jobs.appendleft(job)

    def _lost(self, sending: Sending, lost: SessionLost | StreamGone) -> None:
        """Record a session that broke; the plot tries once more where the NAS has another link."""
        job, berth = sending.job, sending.berth
        if self._end(sending, well=False):
            self._state.record_transfer(sending.record_failed(Failure.INTERRUPTED, lost.detail))
        self._end_stream(berth)
        if isinstance(lost, SessionLost) and len(berth.nas.links) > 1:
            self._dispatch.lose(berth.nas, berth.link, berth.stream, lost.detail)
            job.link_failures += 1
            if job.link_failures == 1 and berth.nas.is_usable:
                job.assigned_nas = berth.nas.host
                self._jobs.appendleft(job)
                return
        self._fail(f"{escaped(job.plot.name)}: {lost.detail}", job.plot)

    def _end_stream(self, berth: Berth) -> None:
        if berth.stream in berth.link.streams:
            berth.link.end_stream(berth.stream)

    def _fail(self, message: str, plot: PlotFile) -> None:
        self._failed_in_a_row += 1
        self._plots.fail(message, plot)

    # ---- What is noted ----

    def _note(self) -> None:
        """Say in the lock what is on its way: --status reads it."""
        streams = [each.status() for each in self._sending.values()]
        waiting = [*(job.plot.size for job in self._jobs), *(candidate.size for candidate in self._queue)]
        self._lock.update(streams=streams, waiting=len(waiting), waiting_bytes=sum(waiting), progress=time.time())
