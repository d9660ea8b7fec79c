"""The plot drives of a NAS as the receiving side of a transfer asks for them: refuse, find, reserve, record."""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Sequence

from plotfarm.base.config.sections import Config
from plotfarm.base.locks import LockBusy
from plotfarm.base.state import Room, State, Transfer
from plotfarm.base.units import format_bytes
from plotfarm.drives.choose import in_order, judge
from plotfarm.drives.model import Arrival, Drive, Reading, Verdict
from plotfarm.drives.mounts import Survey, as_mountpoint, survey
from plotfarm.drives.offlined import is_offlined, read_offlined
from plotfarm.drives.opening import is_still_mounted, open_mounted
from plotfarm.drives.probe import probe
from plotfarm.drives.reservations import Reservations, leftover_plots
from plotfarm.jobs.fitness import unfit_drives
from plotfarm.jobs.leftovers import remove_leftovers
from plotfarm.plots.names import escaped, refuse_name
from plotfarm.transfer.protocol import Offer
from plotfarm.transfer.storage import Arrived, Present, Refused, Reserved
from plotfarm.transfer.writer import Place, Recorded

_DAY_SECONDS = 86400.0
_KINDS = ("v1", "bladebit", "plot2", "gplot", "unknown")


class DriveStorage:
    """The plot drives of this host, as the receiving side of a transfer sees them."""

    def __init__(self, config: Config, state: State, plotter: str) -> None:
        self._config, self._state, self._plotter = config, state, plotter
        self._reservations = Reservations(config.paths.locks)

    def settle(self, offer: Offer, leave_out: set[str]) -> Reserved | Present | Refused:
        """Refuse the offer, find the plot already here, or reserve the best drive for it."""
        refused = self._refuse_offer(offer)
        if refused:
            return refused
        config = self._config
        if not offer.dry_run:
            remove_leftovers(config, plot=offer.name)
        current = as_mountpoint(config.plotting_drives.current_plotting_drive)
        found = survey(config.drives, current, self._state.known_drives())
        with self._reservations.mutex():
            arrivals = self._reservations.arrivals()
        names = [offer.name, *(arrival.plot for arrival in arrivals)]
        readings = probe(found.drives, names, config.drives.probe_seconds, config.paths.locks)
        answer = self._find(offer, readings, arrivals) or self._over_quota(offer, arrivals)
        if answer:
            return answer
        offlined, unfit = read_offlined(config.paths.state), unfit_drives(config, self._state)
        verdicts = judge(readings, arrivals, offlined, offer.size, config.drives.minimum_free_bytes, unfit)
        usable = [
            verdict for verdict in in_order(verdicts, config.drives.policy, current)
            if verdict.drive.identity not in leave_out
        ]  # fmt: skip
        return self._reserve(offer, usable) or Refused(_no_room(offer, verdicts, found, leave_out))

    def _refuse_offer(self, offer: Offer) -> Refused | None:
        if reason := refuse_name(offer.name):
            return Refused(f"{escaped(offer.name)}: {reason}", retry=False)
        if offer.kind not in _KINDS:
            return Refused(f"plots of kind {escaped(offer.kind)} are not known here: upgrade this NAS", retry=False)
        if offer.free_bytes is not None:
            reading = (offer.free_bytes, offer.waiting_bytes, offer.hours_left)
            self._state.record_room(Room(self._plotter, offer.plot_directory, time.time(), *reading))
        return None

    def _over_quota(self, offer: Offer, arrivals: Sequence[Arrival]) -> Refused | None:
        """Refuse what would take this plotter over its daily quota; what is still arriving from it counts too."""
        quota = self._config.receiving.daily_quota_bytes
        if not quota:
            return None
        used = self._state.stored_bytes_since(self._plotter, time.time() - _DAY_SECONDS)
        used += sum(arrival.bytes for arrival in arrivals if arrival.plotter == self._plotter)
        if used + offer.size <= quota:
            return None
        came = f"{format_bytes(used)} came from {self._plotter}"
        return Refused(f"the quota of {format_bytes(quota)} in 24 hours is used up ({came})")

    def _find(self, offer: Offer, readings: Sequence[Reading], arrivals: Sequence[Arrival]) -> Present | Refused | None:
        """Tell whether a plot of this name is here or on its way."""
        for arrival in arrivals:
            if arrival.plot == offer.name and arrival.alive:
                return Refused(f"it is arriving already, from {arrival.plotter}")
            if arrival.plot == offer.name and arrival.publishing:
                return Refused("it may appear yet on a drive that hangs: it is taken once that drive answers")
        past = [
            transfer for transfer in self._state.transfers(plot=offer.name, limit=20)
            if transfer.result in ("stored", "have")
        ]  # fmt: skip
        for reading in readings:
            if offer.name in reading.found:
                recorded = _recorded(past, os.path.join(reading.drive.mountpoint, offer.name))
                return Present(_place(reading.drive), reading.drive.name, reading.found[offer.name], recorded)
        silent = {reading.drive.mountpoint: reading.problem for reading in readings if reading.problem}
        for transfer in past:
            place = os.path.dirname(transfer.target)
            if place in silent:
                return Refused(f"it was stored on {place}, and that drive cannot be asked now: {silent[place]}")
        return None

    def _reserve(self, offer: Offer, usable: Sequence[Verdict]) -> Reserved | None:
        """Take the lock of the first drive that nobody else has taken meanwhile."""
        for verdict in usable:
            drive = verdict.drive
            if offer.dry_run:
                return Reserved(_place(drive), drive.name, drive.identity, None)
            with self._reservations.mutex():
                if is_offlined(drive, read_offlined(self._config.paths.state)):
                    continue  # taken offline a moment ago
                if any(other.plot == offer.name and other.alive for other in self._reservations.arrivals()):
                    return None
                try:
                    lock = self._reservations.take(
                        drive, plot=offer.name, bytes=offer.size, written_bytes=0, plotter=self._plotter
                    )
                except LockBusy:
                    continue
            leftovers = leftover_plots(lock.previous)
            lock.update(parts=[*leftovers, offer.name])
            return Reserved(_place(drive), drive.name, drive.identity, lock, leftovers)
        return None

    def stored(self, arrived: Arrived) -> None:
        """Record the transfer: the reports count it, and drive_manager.py tells of it."""
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


def _no_room(offer: Offer, verdicts: Sequence[Verdict], found: Survey, leave_out: set[str]) -> str:
    """Say why no drive can take the plot, drives with the same reason together."""
    reasons: dict[str, list[str]] = {}
    for verdict in (*verdicts, *found.passed_over):
        why = "it just failed" if verdict.drive.identity in leave_out else verdict.why
        why = "a plot is arriving there" if verdict.usable and verdict.busy else why
        reasons.setdefault(why, []).append(verdict.drive.name)
    listed = "; ".join(f"{', '.join(names)}: {why}" for why, names in reasons.items())
    return f"no drive can take {format_bytes(offer.size)} now ({listed or 'there is no plot drive: check [drives]'})"
