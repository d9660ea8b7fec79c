"""The plot drives of a NAS as the receiving side of a transfer asks for them: refuse, find, reserve, record."""

from __future__ import annotations

import functools
import logging
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from plotfarm.base.config.sections import Config
from plotfarm.base.lock_waits import LockTimeout
from plotfarm.base.locks import Lock, LockBusy
from plotfarm.base.meanwhile import Meanwhile
from plotfarm.base.state import Room, State, TransferOutcome
from plotfarm.base.units import format_bytes
from plotfarm.drives.choose import in_order, judge, room_in_all
from plotfarm.drives.model import NO_FILE, Arrival, Drive, Verdict
from plotfarm.drives.mounts import Survey
from plotfarm.drives.offlined import is_offlined, read_offlined
from plotfarm.drives.opening import is_still_mounted, open_mounted
from plotfarm.drives.quarantine import Quarantine
from plotfarm.drives.reservations import Reservations, arriving_bytes
from plotfarm.drives.sessions import Session
from plotfarm.jobs.arrival_limits import ArrivalLimits
from plotfarm.jobs.arrival_records import ArrivalRecords, identity_of
from plotfarm.jobs.drive_looks import DriveLooks, View
from plotfarm.jobs.fitness import unfit_drives
from plotfarm.jobs.stale_parts import remove_parts
from plotfarm.plots import formats
from plotfarm.plots.names import escaped, refuse_name
from plotfarm.plots.parts import FoundPart, PartFacts, new_arrival_id, parse_part_name
from plotfarm.reports import reasons
from plotfarm.transfer.disk import Site
from plotfarm.transfer.effects import (
    RecordEffect,
    RefusedPlacement,
    RemoveOtherParts,
    ReservedPlacement,
    StoredPlacement,
)
from plotfarm.transfer.messages import Capacity, Offer, text
from plotfarm.transfer.outcomes import Refusal
from plotfarm.transfer.storage import Assignment

_LOG = logging.getLogger(__name__)
# Drives that are asked at first for a plot: one that is free by its lock and has room is mostly the first.
_CANDIDATES = 8
_RENEW_SECONDS = 30.0  # a drive may also become usable without an arrival that ends
_GLANCE_SECONDS = 1.0  # a plot that is arriving waits no longer to hear whether others want its drive


@dataclass(frozen=True)
class _Waiting:
    """An offer that waits for its turn: what it was told, and which drives could take it if nobody else had them."""

    excluded: frozenset[str]
    told: RefusedPlacement
    drives: frozenset[str]  # identities
    own: frozenset[str]  # what was arriving then from the same plotter, by arrival ids
    since: float  # time.monotonic

    @property
    def refusal(self) -> Refusal:
        """Why it waits."""
        return self.told.refusal


class DriveStorage:
    """The plot drives of this host, as the receiving side of a transfer sees them."""

    def __init__(
        self,
        config: Config,
        state: State,
        plotter: str,
        session: Session | None = None,
        meanwhile: Meanwhile | None = None,
    ) -> None:
        """`session`: of a plotter that comes over the network; None: this host itself moves plots.

        `meanwhile`: what is done while drives are waited for.
        """
        self._meanwhile = meanwhile
        self._config = config
        self._state = state
        self._plotter = plotter
        self._is_own_host = session is None
        self._reservations = Reservations(config.paths.locks)
        self._quarantine = Quarantine(state.database)
        self._looks = DriveLooks(config, state, self._reservations, meanwhile)
        self._limits = ArrivalLimits(config, state, plotter, session)
        self._offer: Offer | None = None  # the last one
        self._view: View | None = None  # of that
        self._could: frozenset[str] = frozenset()  # drives that could take it if nobody else had them, by identity
        self._waiting: _Waiting | None = None  # while the offer waits
        self._records = ArrivalRecords(state, plotter, self._limits, self._looks)
        self.welcome = self._limits.welcome
        self.is_waiting = self._limits.is_waiting
        self.changes = self._limits.changes

    # ---- What there is ----

    def _judge(self, view: View, size: int) -> list[Verdict]:
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
        return [replace(each, busy=True) if each.drive.identity in written else each for each in verdicts]

    def capacity(self, size: int) -> Capacity:
        """Tell how many plots of a size fit on the drives, how many may arrive now, and why if none."""
        view = self._looks.capacities()
        verdicts = self._judge(view, size)
        if view.believed and not any(verdict.usable for verdict in verdicts):
            view = self._looks.capacities(0.0)  # somebody may have made room: nobody is turned away by memory
            verdicts = self._judge(view, size)
        usable = [verdict for verdict in verdicts if verdict.usable]
        resumable = self._resumable_drives(size, verdicts, view)
        free = sum(not verdict.busy for verdict in usable) + len(resumable)
        plots = room_in_all(usable) + len(resumable)
        detail = "" if plots else _no_room(size, verdicts, view.survey, frozenset())
        if detail:
            _LOG.warning("Asked for room: %s", detail)
        return Capacity(
            plots=plots,
            streams=self._limits.free_arrivals(view.arrivals, free),
            arriving_bytes=arriving_bytes(view.arrivals, self._plotter),
            detail=text(detail),
        )

    def _resumable_drives(self, size: int, verdicts: Sequence[Verdict], view: View) -> set[str]:
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
            self._waiting = None
            self._limits.wish()
        waiting = self._waiting
        if waiting is not None and waiting.excluded == excluded and not self._is_worth_a_look(offer, waiting):
            return Assignment(waiting.told)
        self._could = frozenset()
        assignment = Assignment(refused) if (refused := _refuse_offer(offer)) else self._place(offer, excluded)
        told = assignment.placement
        self._waiting = None
        if isinstance(told, RefusedPlacement) and told.refusal.is_for_now and self._view is not None:
            own = self._own_arrivals(self._view.arrivals)
            self._waiting = _Waiting(excluded, told, self._could, own, time.monotonic())
        return assignment

    def _place(self, offer: Offer, excluded: frozenset[str]) -> Assignment:
        self._record_room(offer)
        memory = self._looks.remembered()
        best = in_order(self._judge(memory, offer.size), self._config.drives.policy, memory.current)
        candidates = [verdict.drive.identity for verdict in best if verdict.drive.identity not in excluded]
        assignment = self._place_on(offer, memory, candidates[:_CANDIDATES], excluded)
        if assignment is None and len(candidates) > _CANDIDATES:
            assignment = self._place_on(offer, memory, candidates, excluded)
        if assignment is None and not self._could:  # nobody is turned away by memory
            assignment = self._place_on(offer, memory, list(memory.believed), excluded)
        assert self._view is not None
        return assignment or self._refuse(offer, self._view, excluded)

    def _place_on(
        self, offer: Offer, memory: View, candidates: Sequence[str], excluded: frozenset[str]
    ) -> Assignment | None:
        """Place an offer on one of these drives, by their identities, or on one of which nothing is known.

        None if none of them can be reserved.
        """
        self._view = view = self._looks.of_plot(memory, offer.name, candidates)
        return self._find(offer, view, excluded) or self._assign(offer, view, excluded)

    def _is_worth_a_look(self, offer: Offer, waiting: _Waiting) -> bool:
        """Tell whether an offer that waits may be taken by now: seen by locks, so that no drive is asked for that."""
        if self._may_be_taken(waiting):
            return True
        if time.monotonic() - waiting.since < _RENEW_SECONDS:
            return False
        self._waiting = replace(waiting, since=time.monotonic(), drives=self._drives_by_now(offer, waiting))
        return self._may_be_taken(self._waiting)

    def _may_be_taken(self, waiting: _Waiting) -> bool:
        with self._reservations.mutex():
            arrivals = self._reservations.arrivals()
            if waiting.refusal is not Refusal.BUSY:  # its own plotter has too much
                return self._own_arrivals(arrivals) != waiting.own
            free = len(waiting.drives - {arrival.identity for arrival in arrivals})
            return self._limits.is_our_turn(arrivals, self._limits.free_arrivals(arrivals, free))

    def _drives_by_now(self, offer: Offer, waiting: _Waiting) -> frozenset[str]:
        """Return which drives could take an offer that waits: they may have become others without any arrival."""
        try:
            with Lock(self._config.paths.locks / "renew.lock"):
                view = self._looks.capacities(_RENEW_SECONDS)
        except LockBusy:  # another session that waits asks the drives just now
            return waiting.drives
        verdicts = self._judge(view, offer.size)
        could = {each.drive.identity for each in verdicts if each.usable} - waiting.excluded
        return frozenset(could | self._resumable_drives(offer.size, verdicts, view))

    def _own_arrivals(self, arrivals: Sequence[Arrival]) -> frozenset[str]:
        return frozenset(arrival.arrival_id for arrival in arrivals if arrival.plotter == self._plotter)

    def _record_room(self, offer: Offer) -> None:
        if offer.is_dry_run or offer.free_bytes is None:
            return
        reading = (offer.free_bytes, offer.waiting_bytes, offer.hours_left)
        self._state.record_room(Room(self._plotter, offer.plot_directory, time.time(), *reading))

    def _find(self, offer: Offer, view: View, excluded: frozenset[str]) -> Assignment | None:
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

    def _perhaps_elsewhere(self, offer: Offer, view: View) -> Assignment | None:
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
            if drive.identity in view.quarantined or drive.identity in self._looks.refused:
                detail = f"it may be stored on {drive.name}, which is in quarantine"
                return _refused(Refusal.QUARANTINED, detail)
            if reading.problem:
                detail = f"it may be stored on {drive.name}, which cannot be asked now: {reading.problem}"
                return _refused(Refusal.DRIVE_SILENT, detail)
            if offer.name not in reading.found and drive.identity not in taken:
                self._state.forget_publishing(offer.name, drive.identity)  # it is not there, and nobody publishes
        return None

    def _assign(self, offer: Offer, view: View, excluded: frozenset[str]) -> Assignment | None:
        """Reserve the drive with the plot's own part, or the best one of those that were asked."""
        verdicts = self._judge(view, offer.size)
        out = excluded | _places_without(offer.name, view)
        could = {each.drive.identity for each in verdicts if each.usable} - out
        ordered = in_order(verdicts, self._config.drives.policy, view.current)
        usable = [each for each in ordered if each.drive.identity not in out | view.believed]
        own = self._own_part(offer, view, out)
        if own is not None:
            drive, part = own
            if fitting := self._with_room_for_rest(drive, part, offer.size, view):
                others = [verdict for verdict in usable if verdict.drive.identity != drive.identity]
                usable = [fitting, *others]
                could.add(drive.identity)
            else:
                own = None  # the rest does not fit there: elsewhere, at once

        self._could = frozenset(could)
        return self._reserve(offer, usable, view, own)

    def _refuse(self, offer: Offer, view: View, excluded: frozenset[str]) -> Assignment:
        """Say why no drive takes the plot now."""
        verdicts = self._judge(view, offer.size)
        detail = _no_room(offer.size, verdicts, view.survey, excluded)
        return _refused(Refusal.BUSY if self._could else Refusal.NO_DRIVE, detail)

    def _own_part(self, offer: Offer, view: View, excluded: frozenset[str]) -> tuple[Drive, FoundPart] | None:
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

    def _with_room_for_rest(self, drive: Drive, part: FoundPart, size: int, view: View) -> Verdict | None:
        """Return the verdict on the drive of a part if the rest of it can come now: what is there has its room."""
        readings = [reading for reading in view.readings if reading.drive.identity == drive.identity]
        rest = max(1, size - part.allocated_bytes)
        verdicts = self._judge(replace(view, readings=readings), rest)
        return next((verdict for verdict in verdicts if verdict.usable and not verdict.busy), None)

    def _reserve(
        self, offer: Offer, usable: Sequence[Verdict], view: View, own: tuple[Drive, FoundPart] | None
    ) -> Assignment | None:
        """Take the lock of the first drive that nobody else has taken meanwhile, if it is this plot's turn.

        None if all are taken.
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
                lock = self._lock(offer, drive, arrival, view)
            if isinstance(lock, RefusedPlacement):
                return Assignment(lock)
            if lock is not None:
                return Assignment(placement, _site(drive), lock, drive.device_number)
        return None

    def _lock(self, offer: Offer, drive: Drive, arrival: str, view: View) -> Lock | RefusedPlacement | None:
        """Reserve a drive, in the mutex, after looking again at what may have changed since the drives were asked."""
        if is_offlined(drive, read_offlined(self._config.paths.state)) or self._quarantine.active([drive]):
            return None
        arrivals = self._reservations.arrivals()
        if any(other.plot == offer.name and other.alive and self._is_same_plot(other) for other in arrivals):
            return RefusedPlacement(Refusal.ARRIVING, "it is arriving already")
        if refused := self._limits.over_quota(offer, arrivals, view.readings):
            return refused  # looked at here, where no other session can pass at the same time
        taken = {other.identity for other in arrivals}
        free = len(self._could - taken)
        if not self._limits.is_our_turn(arrivals, self._limits.free_arrivals(arrivals, free)):
            return RefusedPlacement(Refusal.BUSY, "other plots have waited for the free drives longer")
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
        try:
            with self._reservations.mutex(_GLANCE_SECONDS):
                return self._limits.is_wanted_by_others()
        except LockTimeout:  # the plot goes on; whoever wants to begin anything tells of the lock
            return False

    def must_yield(self, assignment: Assignment) -> bool:
        """Tell whether this arrival has to make room for a plotter that has waited for its share."""
        try:
            with self._reservations.mutex(_GLANCE_SECONDS):
                return self._limits.must_yield(identity_of(assignment.placement), self._reservations.arrivals())
        except LockTimeout:
            return False

    # ---- The records ----

    def record(self, effect: RecordEffect, offer: Offer, assignment: Assignment, seconds: float) -> None:
        """Remember, or do, what an effect says of an offer that has this assignment, so long after it was made."""
        if isinstance(effect, RemoveOtherParts):
            self._remove_other_parts(effect.plot)
        else:
            self._records.record(effect, offer, assignment, seconds)

    def _remove_other_parts(self, plot: str) -> None:
        """Remove what interrupted arrivals of this plot, from this plotter, have left on the drives."""
        for reading in self._view.readings if self._view is not None else ():
            names = [
                part.name
                for part in reading.parts
                if part.plot == plot and part.facts is not None and part.facts.plotter == self._plotter
            ]
            if names:
                remove_parts(reading.drive, names, self._config.drives.probe_seconds, self._meanwhile)


def _refuse_offer(offer: Offer) -> RefusedPlacement | None:
    if reason := refuse_name(offer.name):
        return RefusedPlacement(Refusal.NAME, f"{escaped(offer.name)}: {reason}")
    if not formats.is_known(offer.format):
        detail = f"plots of the format {offer.format} are not known here: upgrade this NAS"
        return RefusedPlacement(Refusal.FORMAT, detail)
    return None


def _places_without(name: str, view: View) -> set[str]:
    """Return the drives where something has a plot's name that is no file: it would be in the way in the end."""
    return {each.drive.identity for each in view.readings if each.found.get(name) == NO_FILE}


def _refused(refusal: Refusal, detail: str) -> Assignment:
    return Assignment(RefusedPlacement(refusal, detail))


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
