"""The plot drives of a NAS as the receiving side of a transfer asks for them: refuse, find, reserve, record."""

from __future__ import annotations

import functools
import logging
import os
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from plotfarm.base.config.sections import Config
from plotfarm.base.locks import Lock, LockBusy
from plotfarm.base.state import Room, State, Transfer, TransferOutcome
from plotfarm.base.units import format_bytes
from plotfarm.drives.choose import in_order, judge, room_in_all
from plotfarm.drives.model import NO_FILE, Arrival, Drive, Reading, Verdict
from plotfarm.drives.mounts import Survey, as_mountpoint, survey
from plotfarm.drives.offlined import is_offlined, read_offlined
from plotfarm.drives.opening import is_still_mounted, open_mounted
from plotfarm.drives.probe import probe
from plotfarm.drives.quarantine import Quarantine, Quarantined, QuarantineReason
from plotfarm.drives.reservations import Reservations
from plotfarm.drives.sessions import Session
from plotfarm.jobs.arrival_limits import ArrivalLimits
from plotfarm.jobs.fitness import unfit_drives
from plotfarm.jobs.stale_parts import remove_parts
from plotfarm.plots import formats
from plotfarm.plots.names import escaped, refuse_name
from plotfarm.plots.parts import FoundPart, PartFacts, new_arrival_id, parse_part_name
from plotfarm.reports import reasons
from plotfarm.transfer.disk import Site
from plotfarm.transfer.effects import (
    NotPublished,
    Placement,
    Publishing,
    QuarantineDrive,
    RecordEffect,
    RecordFailed,
    RecordStored,
    RefusedPlacement,
    RemoveOtherParts,
    ReservedPlacement,
    StoredPlacement,
)
from plotfarm.transfer.hashing import plot_hash
from plotfarm.transfer.messages import Capacity, Offer, text
from plotfarm.transfer.outcomes import Failure, How, Refusal
from plotfarm.transfer.storage import Assignment

_LOG = logging.getLogger(__name__)
_MAY_BE_STORED = (Failure.OUTCOME_UNKNOWN, Failure.HANGS, Failure.INTERNAL)  # after it was noted
_REASONS = {
    Failure.IO_ERROR: QuarantineReason.IO_ERROR,
    Failure.HOLES: QuarantineReason.HOLES,
    Failure.SAMPLE_DIFFERED: QuarantineReason.SAMPLE_DIFFERED,
}


@dataclass(frozen=True)
class _View:
    """The drives as they are just now, and what is arriving on them."""

    survey: Survey
    readings: list[Reading]
    arrivals: list[Arrival]
    current: str  # mountpoint
    offlined: Collection[str]
    quarantined: Mapping[str, Quarantined]


class DriveStorage:
    """The plot drives of this host, as the receiving side of a transfer sees them."""

    def __init__(self, config: Config, state: State, plotter: str, session: Session | None = None) -> None:
        """`session`: of a plotter that comes over the network; None: this host itself moves plots."""
        self._config = config
        self._state = state
        self._plotter = plotter
        self._is_own_host = session is None
        self._reservations = Reservations(config.paths.locks)
        self._quarantine = Quarantine(state.database)
        self._limits = ArrivalLimits(config, state, plotter, session)
        self._refused: set[str] = set()  # drives that lost data, also where the database cannot hold that
        self._offer: Offer | None = None  # the last one
        self._view: _View | None = None  # of that
        self._drives: dict[str, Drive] = {}  # by identity, every one that was ever assigned
        self._noted: set[tuple[str, str]] = set()  # plot and drive of attempts that noted that they publish
        self.welcome = self._limits.welcome
        self.is_waiting = self._limits.is_waiting
        self.changes = self._limits.changes

    # ---- What there is ----

    def _look(self, names: Sequence[str] = ()) -> _View:
        """Ask every drive once, for its room and for plots of these names; those that get no plots are not touched."""
        config = self._config
        current = as_mountpoint(config.plotting_drives.current_plotting_drive)
        found = survey(config.drives, current, self._state.known_drives())
        self._drives |= {drive.identity: drive for drive in found.drives}
        with self._reservations.mutex():
            arrivals = self._reservations.arrivals()
        offlined = read_offlined(config.paths.state)
        quarantined = self._quarantine.active(found.drives)
        left_alone = {drive.identity for drive in found.drives if is_offlined(drive, offlined)}
        readings = probe(
            found.drives,
            names,
            config.drives.probe_seconds,
            config.paths.locks,
            leave_out=left_alone | set(quarantined) | self._refused,
        )
        return _View(found, readings, arrivals, current, offlined, quarantined)

    def _judge(self, view: _View, size: int) -> list[Verdict]:
        verdicts = judge(
            view.readings,
            view.arrivals,
            view.offlined,
            size,
            self._config.drives.minimum_free_bytes,
            unfit_drives(self._config, self._state),
            view.quarantined,
        )
        # A part that is alive is written to, also by another checkout, whose locks are elsewhere.
        written = {reading.drive.identity for reading in view.readings if any(part.is_alive for part in reading.parts)}
        return [replace(verdict, busy=verdict.busy or verdict.drive.identity in written) for verdict in verdicts]

    def capacity(self, size: int) -> Capacity:
        """Tell how many plots of a size fit on the drives, how many may arrive now, and why if none."""
        view = self._look()
        verdicts = self._judge(view, size)
        usable = [verdict for verdict in verdicts if verdict.usable]
        resumable = self._resumable_drives(size, verdicts, view)
        free = sum(not verdict.busy for verdict in usable) + len(resumable)
        plots = room_in_all(usable) + len(resumable)
        detail = "" if plots else _no_room(size, verdicts, view.survey, frozenset())
        if detail:
            _LOG.warning("Asked for room: %s", detail)
        return Capacity(plots, self._limits.free_arrivals(view.arrivals, free), text(detail))

    def _resumable_drives(self, size: int, verdicts: Sequence[Verdict], view: _View) -> set[str]:
        """Return the drives without room for a plot that have room for the rest of one, whose part lies there."""
        full = {verdict.drive.identity for verdict in verdicts if not verdict.usable}
        return {
            reading.drive.identity
            for reading in view.readings
            for part in reading.parts
            if reading.drive.identity in full
            and self._is_own_dead_part(part, size)
            and self._with_room_for_rest(reading.drive, part, size, view)
        }

    def _is_own_dead_part(self, part: FoundPart, size: int) -> bool:
        """Tell whether a part can be resumed by this plotter with a plot of this size."""
        is_own = part.facts is not None and (part.facts.plotter, part.facts.size) == (self._plotter, size)
        return is_own and not part.is_alive and part.links == 1

    # ---- Where a plot goes ----

    def place(self, offer: Offer, excluded: frozenset[str]) -> Assignment:
        """Refuse the offer, find the plot already here, or reserve the best drive for it."""
        if offer is not self._offer:  # one that waits for its turn is placed again and again
            self._offer = offer
            self._limits.wish()
        if refused := _refuse_offer(offer):
            return Assignment(refused)
        self._record_room(offer)
        self._view = view = self._look([offer.name])
        return self._find(offer, view, excluded) or self._assign(offer, view, excluded)

    def _record_room(self, offer: Offer) -> None:
        if offer.is_dry_run or offer.free_bytes is None:
            return
        reading = (offer.free_bytes, offer.waiting_bytes, offer.hours_left)
        self._state.record_room(Room(self._plotter, offer.plot_directory, time.time(), *reading))

    def _find(self, offer: Offer, view: _View, excluded: frozenset[str]) -> Assignment | None:
        """Tell whether a plot of this name is here or on its way."""
        for arrival in view.arrivals:
            if arrival.plot == offer.name and arrival.alive and self._is_same_plot(arrival):
                return _refused(Refusal.ARRIVING, "it is arriving already")
            if arrival.plot == offer.name and arrival.publishing and not arrival.alive:
                return _refused(Refusal.PUBLISHING, "it may appear yet on a drive that hangs")

        found = [reading for reading in view.readings if reading.found.get(offer.name, NO_FILE) != NO_FILE]
        found.sort(key=lambda reading: reading.found[offer.name] != offer.size)
        for reading in found:
            drive = reading.drive
            if drive.identity not in excluded:
                path = os.path.join(drive.mountpoint, offer.name)
                return Assignment(StoredPlacement(drive.name, drive.identity, path), _site(drive))
        return self._perhaps_elsewhere(offer, view)

    def _is_same_plot(self, arrival: Arrival) -> bool:
        """Tell whether an arrival of this name is to be waited for: a plotter is not kept waiting by another's word."""
        return self._is_own_host or arrival.plotter == self._plotter

    def _perhaps_elsewhere(self, offer: Offer, view: _View) -> Assignment | None:
        """Refuse a plot that was stored, or may be, by the records, on a drive that cannot be asked now."""
        places = {
            os.path.dirname(transfer.target)
            for transfer in self._state.transfers(plot=offer.name, limit=20)
            if transfer.outcome is not TransferOutcome.FAILED
        }
        perhaps = self._state.publishing(offer.name)
        taken = {arrival.identity for arrival in view.arrivals}
        for reading in view.readings:
            drive = reading.drive
            is_recorded = drive.mountpoint in places or drive.identity in perhaps
            if not is_recorded or is_offlined(drive, view.offlined):
                continue
            if drive.identity in view.quarantined or drive.identity in self._refused:
                detail = f"it may be stored on {drive.name}, which is in quarantine"
                return _refused(Refusal.QUARANTINED, detail)
            if reading.problem:
                detail = f"it may be stored on {drive.name}, which cannot be asked now: {reading.problem}"
                return _refused(Refusal.DRIVE_SILENT, detail)
            if offer.name not in reading.found and drive.identity not in taken:
                self._state.forget_publishing(offer.name, drive.identity)  # it is not there, and nobody publishes
        return None

    def _assign(self, offer: Offer, view: _View, excluded: frozenset[str]) -> Assignment:
        """Reserve the drive with the plot's own part, or the best one."""
        verdicts = self._judge(view, offer.size)
        # Something that is no file would be in the plot's way there, when all of it has come.
        unusable = {each.drive.identity for each in view.readings if each.found.get(offer.name) == NO_FILE}
        usable = [
            verdict
            for verdict in in_order(verdicts, self._config.drives.policy, view.current)
            if verdict.drive.identity not in excluded | unusable
        ]
        own = self._own_part(offer, view, excluded | unusable)
        if own is not None:
            drive, part = own
            if fitting := self._with_room_for_rest(drive, part, offer.size, view):
                others = [verdict for verdict in usable if verdict.drive.identity != drive.identity]
                usable = [fitting, *others]
            else:
                own = None  # the rest does not fit there: elsewhere, at once
        is_busy = any(each.usable and each.busy and each.drive.identity not in excluded | unusable for each in verdicts)
        assigned = self._reserve(offer, usable, view, own)
        if assigned is not None:
            return assigned
        refusal = Refusal.BUSY if is_busy or usable else Refusal.NO_DRIVE
        return _refused(refusal, _no_room(offer.size, verdicts, view.survey, excluded))

    def _own_part(self, offer: Offer, view: _View, excluded: frozenset[str]) -> tuple[Drive, FoundPart] | None:
        """Return the largest part of this very plot that an interrupted arrival has left."""
        facts = PartFacts(self._plotter, offer.size, offer.id)
        found = [
            (reading.drive, part)
            for reading in view.readings
            for part in reading.parts
            if part.plot == offer.name and part.facts == facts and not part.is_alive and part.links == 1
        ]
        found = [(drive, part) for drive, part in found if drive.identity not in excluded]
        return max(found, key=lambda own: own[1].size, default=None)

    def _with_room_for_rest(self, drive: Drive, part: FoundPart, size: int, view: _View) -> Verdict | None:
        """Return the verdict on the drive of a part if the rest of it can come now: what is there has its room."""
        readings = [reading for reading in view.readings if reading.drive.identity == drive.identity]
        rest = max(1, size - part.allocated_bytes)
        verdicts = self._judge(replace(view, readings=readings), rest)
        return next((verdict for verdict in verdicts if verdict.usable and not verdict.busy), None)

    def _reserve(
        self, offer: Offer, usable: Sequence[Verdict], view: _View, own: tuple[Drive, FoundPart] | None
    ) -> Assignment | None:
        """Take the lock of the first drive that nobody else has taken meanwhile, if it is this plot's turn.

        None if it is not, or if all are taken.
        """
        for verdict in usable:
            drive = verdict.drive
            part = own[1].name if own is not None and own[0] == drive else ""
            parsed = parse_part_name(part)
            arrival = parsed[1] if parsed is not None else new_arrival_id()
            path = os.path.join(drive.mountpoint, offer.name)
            placement = ReservedPlacement(drive.name, drive.identity, path, part, arrival)
            if offer.is_dry_run:
                return Assignment(placement, _site(drive))

            with self._reservations.mutex():
                lock = self._lock(offer, drive, arrival, usable, view)
            if isinstance(lock, RefusedPlacement):
                return Assignment(lock)
            if lock is not None:
                return Assignment(placement, _site(drive), lock, drive.device_number)
        return None

    def _lock(
        self, offer: Offer, drive: Drive, arrival: str, usable: Sequence[Verdict], view: _View
    ) -> Lock | RefusedPlacement | None:
        """Reserve a drive, in the mutex, after looking again at what may have changed since the drives were asked."""
        if is_offlined(drive, read_offlined(self._config.paths.state)) or self._quarantine.active([drive]):
            return None
        arrivals = self._reservations.arrivals()
        if any(other.plot == offer.name and other.alive and self._is_same_plot(other) for other in arrivals):
            return RefusedPlacement(Refusal.ARRIVING, "it is arriving already")
        if refused := self._limits.over_quota(offer, arrivals, view.readings):
            return refused  # looked at here, where no other session can pass at the same time
        taken = {other.identity for other in arrivals}
        free = len({each.drive.identity for each in usable} - taken)
        if not self._limits.is_our_turn(arrivals, self._limits.free_arrivals(arrivals, free)):
            return None
        try:
            return self._reservations.take(
                drive,
                plot=offer.name,
                bytes=offer.size,
                written_bytes=0,
                format=offer.format,
                plotter=self._plotter,
                arrival_id=arrival,
            )
        except LockBusy:
            return None

    # ---- While it arrives ----

    def is_wanted_by_others(self) -> bool:
        """Tell whether another plot waits for a drive."""
        with self._reservations.mutex():
            return self._limits.is_wanted_by_others()

    def must_yield(self, assignment: Assignment) -> bool:
        """Tell whether this arrival has to make room for a plotter that has waited for its share."""
        with self._reservations.mutex():
            return self._limits.must_yield(_identity(assignment.placement), self._reservations.arrivals())

    # ---- The records ----

    def record(self, effect: RecordEffect, offer: Offer, assignment: Assignment, seconds: float) -> None:
        """Remember, or do, what an effect says of an offer that has this assignment, so long after it was made."""
        identity = _identity(assignment.placement)
        match effect:
            case Publishing():
                if assignment.lock is not None:
                    assignment.lock.update(publishing=True)
                self._state.note_publishing(offer.name, identity)
                self._noted.add((offer.name, identity))

            case NotPublished():
                self._end_publishing(offer.name, identity)

            case QuarantineDrive():
                drive = self._drives[identity]
                _LOG.error("Drive %s goes into quarantine: %s: %s", drive.name, effect.failure.value, effect.call)
                self._refused.add(identity)
                reason = _REASONS[effect.failure]
                self._quarantine.add(drive, reason, call=effect.call, errno=effect.number, plot=offer.name)

            case RecordStored():
                _LOG.info("Stored: %s (%s)", effect.path, effect.how)
                if effect.how is How.STORED:
                    self._limits.is_granted()
                    self._state.count_received(self._plotter, offer.size)
                ended = replace(self._transfer(offer, seconds), outcome=TransferOutcome(effect.how), target=effect.path)
                if effect.segments:  # none if it only got another name
                    ended = replace(ended, digest=plot_hash(effect.segments), segments=" ".join(effect.segments))
                self._state.record_transfer(ended)
                self._end_publishing(offer.name, identity)

            case RecordFailed():
                _LOG.error("Failed: %s: %s", offer.name, effect.detail)
                # A note of an earlier attempt stays: this one may have failed because the drive is away.
                if (offer.name, identity) in self._noted and effect.failure not in _MAY_BE_STORED:
                    self._end_publishing(offer.name, identity)
                self._noted.discard((offer.name, identity))
                ended = self._transfer(offer, seconds)
                ended = replace(ended, reason=effect.failure.value, detail=text(effect.detail))
                self._state.record_transfer(ended)

            case RemoveOtherParts():
                self._remove_other_parts(effect.plot)

    def _end_publishing(self, plot: str, identity: str) -> None:
        """Forget that the plot may be on the drive: how that ended is known."""
        self._state.forget_publishing(plot, identity)
        self._noted.discard((plot, identity))

    def _transfer(self, offer: Offer, seconds: float) -> Transfer:
        """Return what is known of a transfer that has just ended, however it did."""
        return Transfer(
            finished=time.time(),
            plot=offer.name,
            kind=offer.format,
            source=offer.plot_directory,
            target="",
            plotter=self._plotter,
            bytes=offer.size,
            seconds=seconds,
            digest="",
            segments="",
            outcome=TransferOutcome.FAILED,
            k=offer.k or 0,
        )

    def _remove_other_parts(self, plot: str) -> None:
        """Remove what interrupted arrivals of this plot, from this plotter, have left on the drives."""
        for reading in self._view.readings if self._view is not None else ():
            names = [
                part.name
                for part in reading.parts
                if part.plot == plot and part.facts is not None and part.facts.plotter == self._plotter
            ]
            if names:
                remove_parts(reading.drive, names, self._config.drives.probe_seconds)


def _refuse_offer(offer: Offer) -> RefusedPlacement | None:
    if reason := refuse_name(offer.name):
        return RefusedPlacement(Refusal.NAME, f"{escaped(offer.name)}: {reason}")
    if not formats.is_known(offer.format):
        detail = f"plots of the format {offer.format} are not known here: upgrade this NAS"
        return RefusedPlacement(Refusal.FORMAT, detail)
    return None


def _refused(refusal: Refusal, detail: str) -> Assignment:
    return Assignment(RefusedPlacement(refusal, detail))


def _identity(placement: Placement) -> str:
    assert not isinstance(placement, RefusedPlacement)
    return placement.identity


def _site(drive: Drive) -> Site:
    return Site(
        drive.mountpoint,
        functools.partial(open_mounted, drive),
        functools.partial(is_still_mounted, drive),
    )


def _no_room(size: int, verdicts: Sequence[Verdict], found: Survey, excluded: frozenset[str]) -> str:
    """Say why no drive can take the plot, drives with the same reason together."""
    by_reason: dict[str, list[str]] = {}
    for verdict in (*verdicts, *found.passed_over):
        why = reasons.briefly(verdict, size)
        if verdict.usable and verdict.busy:
            why = "a plot is arriving there"
        elif verdict.drive.identity in excluded:
            why = "it just failed"
        by_reason.setdefault(why, []).append(verdict.drive.name)
    listed = "; ".join(f"{', '.join(names)}: {why}" for why, names in by_reason.items())
    return f"no drive can take {format_bytes(size)} now ({listed or 'there is no plot drive: check [drives]'})"
