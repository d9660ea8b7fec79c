"""How a session of a plotter looks at the drives: it asks those that matter, and believes of the rest what is known.

Whoever asks how much fits gets it from what the drives answered lately, mostly to the minutely run of
drive_manager.py. A plot goes only to a drive that was asked afresh for that very plot, and every drive that answers is
asked afresh whether it has the plot already.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from plotfarm.base.config.sections import Config
from plotfarm.base.meanwhile import Meanwhile
from plotfarm.base.state import State
from plotfarm.drives.model import Arrival, Drive, Reading
from plotfarm.drives.mounts import Survey, as_mountpoint, survey
from plotfarm.drives.offlined import is_offlined, read_offlined
from plotfarm.drives.probe import probe
from plotfarm.drives.quarantine import Quarantine, Quarantined
from plotfarm.drives.reasons import Reason, Why
from plotfarm.drives.remembered import LastReadings, Remembered
from plotfarm.drives.reservations import Reservations

_LOG = logging.getLogger(__name__)
OLDEST_SECONDS = 90.0  # so long a drive's answer is believed: the minutely run may be late
_CLOCK_SECONDS = 2.0  # times of files may be so coarse


@dataclass(frozen=True)
class View:
    """The drives as they are just now, and what is arriving on them."""

    survey: Survey
    readings: list[Reading]
    arrivals: list[Arrival]
    current: str  # mountpoint
    offlined: Collection[str]
    quarantined: Mapping[str, Quarantined]
    believed: frozenset[str] = frozenset()  # identities of drives whose room is known from earlier


class DriveLooks:
    """The looks of one session."""

    def __init__(
        self, config: Config, state: State, reservations: Reservations, meanwhile: Meanwhile | None = None
    ) -> None:
        """`meanwhile`: what is done while drives are waited for."""
        self._config = config
        self._meanwhile = meanwhile
        self._state = state
        self._reservations = reservations
        self._quarantine = Quarantine(state.database)
        self._last = LastReadings(state.database)
        self.refused: set[str] = set()  # drives that lost data, also where the database cannot hold that
        self.drives: dict[str, Drive] = {}  # by identity, every one that was ever seen

    def remembered(self, oldest_seconds: float = OLDEST_SECONDS) -> View:
        """Return what is known of the drives without touching any: those that have to be asked are not `believed`."""
        config = self._config
        current = as_mountpoint(config.plotting_drives.current_plotting_drive)
        found = survey(config.drives, current, self._state.known_drives())
        self.drives |= {drive.identity: drive for drive in found.drives}
        with self._reservations.mutex():
            arrivals = self._reservations.arrivals()
        view = View(
            survey=found,
            readings=[],
            arrivals=arrivals,
            current=current,
            offlined=read_offlined(config.paths.state),
            quarantined=self._quarantine.active(found.drives),
        )
        to_ask = [drive for drive in found.drives if not self._is_left_alone(view, drive)]
        known = {
            identity: answer.reading
            for identity, answer in self._last.of(to_ask).items()
            if self._is_believable(answer, arrivals, oldest_seconds)
        }
        readings = [
            known.get(drive.identity) or Reading(drive, Why(Reason.NOT_ASKED), was_asked=False)
            for drive in found.drives
        ]
        return replace(view, readings=readings, believed=frozenset(known))

    def _is_left_alone(self, view: View, drive: Drive) -> bool:
        """Tell whether a drive gets no plots whatever it would answer, so that it is not touched."""
        return is_offlined(drive, view.offlined) or drive.identity in view.quarantined or drive.identity in self.refused

    def _is_believable(self, answer: Remembered, arrivals: Sequence[Arrival], oldest_seconds: float) -> bool:
        """Tell whether a drive's room is what it was: it was asked lately, and no plot has come or gone since."""
        drive = answer.reading.drive
        if not 0 <= answer.age_seconds <= oldest_seconds or any(part.is_alive for part in answer.reading.parts):
            return False
        if any(arrival.identity == drive.identity for arrival in arrivals):
            return False
        unused = self._reservations.unused_seconds(drive)
        return unused is None or unused > answer.age_seconds + _CLOCK_SECONDS

    def capacities(self, oldest_seconds: float = OLDEST_SECONDS) -> View:
        """Return the drives with the room and the parts that are known; what is not known is asked now."""
        view = self.remembered(oldest_seconds)
        return self._asked(view, [], view.believed, frozenset())

    def of_plot(self, view: View, name: str, candidates: Collection[str]) -> View:
        """Ask every drive for a plot of this name, and all else of the `candidates` and of those that are not believed.

        `view`: as `remembered` returned it; so are the room and the parts of the drives that stay `believed`.
        """
        has_parts = {reading.drive.identity for reading in view.readings if reading.parts}
        return self._asked(view, [name], frozenset(), view.believed - set(candidates) - has_parts)

    def _asked(self, view: View, names: Sequence[str], leave_out: frozenset[str], only_names: frozenset[str]) -> View:
        """Ask the drives of a view, those of `leave_out` for nothing, and those of `only_names` only for the names."""
        drives = [reading.drive for reading in view.readings]
        left_alone = {drive.identity for drive in drives if self._is_left_alone(view, drive)}
        begun = time.clock_gettime(time.CLOCK_BOOTTIME)
        readings = probe(
            drives,
            names,
            self._config.drives.probe_seconds,
            self._config.paths.locks,
            leave_out=leave_out | left_alone,
            only_names=only_names,
            meanwhile=self._meanwhile,
        )
        believed = leave_out | only_names
        fully = len(drives) - len(left_alone | believed)
        _LOG.debug("Asked %d of %d drives for everything, and %d for names", fully, len(drives), len(only_names))
        merged = [_merged(now, before, believed) for now, before in zip(readings, view.readings, strict=True)]
        news = [
            now
            for now in readings
            if now.drive.identity not in view.believed and not any(part.is_alive for part in now.parts)
        ]
        self._last.remember(news, begun)
        return replace(view, readings=merged, believed=believed)


def _merged(now: Reading, before: Reading, believed: Collection[str]) -> Reading:
    """Return what a drive says now, with what is still believed of what it said before."""
    if now.drive.identity not in believed or (now.problem is not None and now.was_asked):
        return now
    return replace(before, found=now.found) if now.found else before
