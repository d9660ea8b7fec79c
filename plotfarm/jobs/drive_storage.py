"""The plot drives of a NAS as the receiving side of a transfer asks for them: refuse, find, reserve, record."""

from __future__ import annotations

import functools
import logging
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from plotfarm.base.config.sections import Config
from plotfarm.base.locks import Lock, LockBusy
from plotfarm.base.state import Room, State, Transfer
from plotfarm.base.units import format_bytes
from plotfarm.drives.choose import in_order, judge
from plotfarm.drives.model import Arrival, Drive, Reading, Verdict
from plotfarm.drives.mounts import Survey, as_mountpoint, survey
from plotfarm.drives.offlined import is_offlined, read_offlined
from plotfarm.drives.opening import is_still_mounted, open_mounted
from plotfarm.drives.probe import probe
from plotfarm.drives.reservations import Reservations, leftover_plots
from plotfarm.jobs.arrival_limits import ArrivalLimits
from plotfarm.jobs.fitness import unfit_drives
from plotfarm.jobs.leftovers import remove_leftovers
from plotfarm.plots.names import PART_SUFFIX, escaped, refuse_name
from plotfarm.transfer.protocol import Capacity, Offer
from plotfarm.transfer.storage import Arrived, Present, Refused, Reserved
from plotfarm.transfer.unfinished import Part, UnfinishedArrivals
from plotfarm.transfer.writer import Place, Recorded

_LOG = logging.getLogger(__name__)
_KINDS = ("v1", "bladebit", "plot2", "gplot", "unknown")


@dataclass(frozen=True)
class _View:
    """The drives as they are just now, and what is arriving on them."""

    survey: Survey
    readings: list[Reading]
    arrivals: list[Arrival]
    current: str  # mountpoint


class DriveStorage:
    """The plot drives of this host, as the receiving side of a transfer sees them."""

    def __init__(self, config: Config, state: State, plotter: str) -> None:
        self._config, self._state, self._plotter = config, state, plotter
        self._reservations = Reservations(config.paths.locks)
        self._unfinished = UnfinishedArrivals(state.database)
        self._limits = ArrivalLimits(config, state, plotter)
        self.welcome, self.settled, self.changes = self._limits.welcome, self._limits.settled, self._limits.changes

    def _look(self, names: Sequence[str] = ()) -> _View:
        """Ask every drive once, for its room and for plots of these names."""
        config = self._config
        current = as_mountpoint(config.plotting_drives.current_plotting_drive)
        found = survey(config.drives, current, self._state.known_drives())
        with self._reservations.mutex():
            arrivals = self._reservations.arrivals()
        every = [*names, *(arrival.plot for arrival in arrivals)]
        readings = probe(found.drives, every, config.drives.probe_seconds, config.paths.locks)
        return _View(found, readings, arrivals, current)

    def _judge(self, view: _View, size: int) -> list[Verdict]:
        config = self._config
        offlined, unfit = read_offlined(config.paths.state), unfit_drives(config, self._state)
        return judge(view.readings, view.arrivals, offlined, size, config.drives.minimum_free_bytes, unfit)

    def room(self, size: int) -> Capacity:
        """Tell how many plots of a size fit on the drives, how many may arrive now, and why if none."""
        view = self._look()
        verdicts = self._judge(view, size)
        usable = [verdict for verdict in verdicts if verdict.usable]
        free = sum(not verdict.busy for verdict in usable)
        plots = sum(verdict.room_plots for verdict in usable)
        why = "" if plots else _no_room(size, verdicts, view.survey, set())
        if why:
            _LOG.warning("Asked for room: %s", why)
        return Capacity(plots, self._limits.free_arrivals(view.arrivals, free), why)

    def settle(self, offer: Offer, leave_out: set[str]) -> Reserved | Present | Refused:
        """Refuse the offer, find the plot already here, or reserve the best drive for it."""
        refused = self._refuse_offer(offer)
        if refused:
            return refused
        parts = self._unfinished.all()
        part = self._part_of(offer, parts)
        if not offer.dry_run:
            remove_leftovers(self._config, self._state, plot=offer.name, but_on=part.identity if part else "")
        view = self._look([offer.name])
        answer = self._find(offer, view)
        if answer:
            return answer
        verdicts = self._judge(view, offer.size)
        usable = [
            verdict for verdict in in_order(verdicts, self._config.drives.policy, view.current)
            if verdict.drive.identity not in leave_out
        ]  # fmt: skip
        if part and part.identity not in leave_out:
            usable = [*self._with_room_of_part(part, view), *usable]
        busy = any(each.usable and each.busy and each.drive.identity not in leave_out for each in verdicts)
        reserved = self._reserve(offer, usable, part, parts)
        why = _no_room(offer.size, verdicts, view.survey, leave_out)
        return reserved or Refused(why, busy=busy or bool(usable))

    def _refuse_offer(self, offer: Offer) -> Refused | None:
        if reason := refuse_name(offer.name):
            return Refused(f"{escaped(offer.name)}: {reason}", retry=False)
        if offer.kind not in _KINDS:
            return Refused(f"plots of kind {escaped(offer.kind)} are not known here: upgrade this NAS", retry=False)
        if offer.free_bytes is not None:
            reading = (offer.free_bytes, offer.waiting_bytes, offer.hours_left)
            self._state.record_room(Room(self._plotter, offer.plot_directory, time.time(), *reading))
        return None

    def _with_room_of_part(self, part: Part, view: _View) -> list[Verdict]:
        """Return the drive of an interrupted arrival if the rest of it can come: what is there has its room already."""
        readings = [reading for reading in view.readings if reading.drive.identity == part.identity]
        there = sum(reading.allocated.get(part.plot + PART_SUFFIX, 0) for reading in readings)
        verdicts = self._judge(replace(view, readings=readings), max(1, part.bytes - there))
        return [verdict for verdict in verdicts if verdict.usable and not verdict.busy]

    def _part_of(self, offer: Offer, parts: Mapping[str, Part]) -> Part | None:
        """Return what an interrupted arrival has left of this very plot."""
        part = parts.get(offer.name)
        same = part and (part.bytes, part.plot_id, part.plotter) == (offer.size, offer.id, self._plotter)
        return part if same and not offer.dry_run else None

    def _find(self, offer: Offer, view: _View) -> Present | Refused | None:
        """Tell whether a plot of this name is here or on its way."""
        for arrival in view.arrivals:
            if arrival.plot == offer.name and arrival.alive:
                return Refused(f"it is arriving already, from {arrival.plotter}", perhaps_here=True)
            if arrival.plot == offer.name and arrival.publishing:
                return Refused(
                    "it may appear yet on a drive that hangs, and is taken once it answers", perhaps_here=True
                )
        past = [
            transfer for transfer in self._state.transfers(plot=offer.name, limit=20)
            if transfer.result in ("stored", "have")
        ]  # fmt: skip
        for reading in view.readings:
            if offer.name in reading.found:
                recorded = _recorded(past, os.path.join(reading.drive.mountpoint, offer.name))
                return Present(_place(reading.drive), reading.drive.name, reading.found[offer.name], recorded)
        silent = {reading.drive.mountpoint: reading.problem for reading in view.readings if reading.problem}
        for transfer in past:
            place = os.path.dirname(transfer.target)
            if place in silent:
                why = f"it was stored on {place}, and that drive cannot be asked now: {silent[place]}"
                return Refused(why, perhaps_here=True)
        return None

    def _reserve(
        self, offer: Offer, usable: Sequence[Verdict], part: Part | None, parts: Mapping[str, Part]
    ) -> Reserved | Refused | None:
        """Take the lock of the first drive that nobody else has taken meanwhile, if it is this plot's turn.

        None if it is not, or if all are taken.
        """
        for verdict in usable:
            drive = verdict.drive
            if offer.dry_run:
                return Reserved(_place(drive), drive.name, drive.identity, None)
            with self._reservations.mutex():
                if is_offlined(drive, read_offlined(self._config.paths.state)):
                    continue  # taken offline a moment ago
                arrivals = self._reservations.arrivals()
                if any(other.plot == offer.name and other.alive for other in arrivals):
                    return None
                if refused := self._limits.over_quota(offer, arrivals, list(parts.values())):
                    return refused  # looked at here, where no other session can pass at the same time
                taken = {arrival.identity for arrival in arrivals}
                free = len({each.drive.identity for each in usable} - taken)
                if not self._limits.is_our_turn(arrivals, self._limits.free_arrivals(arrivals, free)):
                    return None
                try:
                    lock = self._reservations.take(
                        drive, plot=offer.name, bytes=offer.size, written_bytes=0, plotter=self._plotter
                    )
                except LockBusy:
                    continue
            return self._prepared(offer, drive, lock, part)
        return None

    def _prepared(self, offer: Offer, drive: Drive, lock: Lock, part: Part | None) -> Reserved:
        """Say in the lock whose NAME.part may lie on the drive, and tell which of those may stay."""
        left = leftover_plots(lock.previous)
        resumable = {plot for plot, each in self._unfinished.all().items() if each.identity == drive.identity}
        kept = tuple(plot for plot in left if plot in resumable and plot != offer.name)
        leftovers = tuple(plot for plot in left if plot not in kept and plot != offer.name)
        lock.update(parts=[*kept, *leftovers, offer.name])
        here = part if part and part.identity == drive.identity else None
        if here is None:
            self._unfinished.forget(offer.name)
        return Reserved(
            _place(drive), drive.name, drive.identity, lock, leftovers, kept,
            here.segments if here else (), here.inode if here else 0, drive.device_number,
        )  # fmt: skip

    def known_good(self, offer: Offer, reserved: Reserved, segments: tuple[str, ...], inode: int) -> None:
        """Record that these segments of an arrival would survive anything."""
        self._unfinished.note(Part(offer.name, reserved.identity, self._plotter, offer.size, offer.id, inode, segments))

    def stored(self, arrived: Arrived) -> None:
        """Record the transfer: the reports count it, and drive_manager.py tells of it."""
        self._unfinished.forget(arrived.offer.name)
        self._record(arrived.offer, arrived.path, arrived.seconds, arrived.result, arrived)

    def failed(self, offer: Offer, reason: str, seconds: float) -> None:
        """Record an arrival that came to nothing."""
        self._record(offer, "", seconds, reason, None)

    def _record(self, offer: Offer, path: str, seconds: float, result: str, arrived: Arrived | None) -> None:
        self._state.record_transfer(
            Transfer(
                finished=time.time(), plot=offer.name, kind=offer.kind, source=offer.plot_directory, target=path,
                plotter=self._plotter, bytes=offer.size, seconds=seconds, result=result,
                digest=arrived.digest if arrived else "", segments=" ".join(arrived.segments) if arrived else "",
                inode=arrived.inode if arrived else 0, mtime_ns=arrived.mtime_ns if arrived else 0, k=offer.k or 0,
            )
        )  # fmt: skip


def _recorded(past: Sequence[Transfer], path: str) -> Recorded | None:
    for transfer in past:
        if transfer.target == path and transfer.digest:  # a plot that only got another name here has none
            return Recorded(transfer.inode, transfer.mtime_ns, transfer.digest, tuple(transfer.segments.split()))
    return None


def _place(drive: Drive) -> Place:
    return Place(
        drive.mountpoint, drive.file_system,
        functools.partial(open_mounted, drive), functools.partial(is_still_mounted, drive),
    )  # fmt: skip


def _no_room(size: int, verdicts: Sequence[Verdict], found: Survey, leave_out: set[str]) -> str:
    """Say why no drive can take the plot, drives with the same reason together."""
    reasons: dict[str, list[str]] = {}
    for verdict in (*verdicts, *found.passed_over):
        why = "it just failed" if verdict.drive.identity in leave_out else verdict.why
        why = "a plot is arriving there" if verdict.usable and verdict.busy else why
        reasons.setdefault(why, []).append(verdict.drive.name)
    listed = "; ".join(f"{', '.join(names)}: {why}" for why, names in reasons.items())
    return f"no drive can take {format_bytes(size)} now ({listed or 'there is no plot drive: check [drives]'})"
