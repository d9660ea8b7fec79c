"""Which drive is next: decisions on readings that were taken before, no drive is touched here."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from plotfarm.drives.model import Arrival, Reading, Verdict
from plotfarm.drives.offlined import is_offlined
from plotfarm.drives.quarantine import Quarantined
from plotfarm.drives.reasons import Reason, Why
from plotfarm.plots.parts import FoundPart

DEFAULT_PLOT_BYTES = 108_995_911_228  # a k32 plot as chiapos makes it
NEWEST_ARRIVALS = 20


class Taken(Enum):
    """What made a drive the plot drive."""

    ARRIVING = "arriving"  # it is the configured one, and a plot is arriving there
    MOST_ROOM = "most_room"
    LOWEST = "lowest"  # of those with room


@dataclass(frozen=True)
class Selected:
    """The drive that should be the configured one."""

    verdict: Verdict
    taken: Taken


@dataclass(frozen=True)
class Choice:
    """What was decided about the plot drive, with everything that it was decided on."""

    current: str  # mountpoint that is configured; "" if none is
    selected: Selected | None
    verdicts: tuple[Verdict, ...]  # of every drive, also those that were never asked
    policy: str
    plot_bytes: int
    arriving: bool  # a plot is on its way to the configured drive

    @property
    def chosen(self) -> Verdict | None:
        """The verdict on the drive that should be the configured one; None if none can be."""
        return self.selected.verdict if self.selected is not None else None


def arriving_plot_bytes(sizes: Sequence[int]) -> int:
    """Return the size to plan with: the largest of the newest 20 (newest first), a k32 before any came."""
    return max(sizes[:NEWEST_ARRIVALS], default=DEFAULT_PLOT_BYTES)


def judge(
    readings: Sequence[Reading],
    arrivals: Sequence[Arrival],
    offlined: Collection[str],
    plot_bytes: int,
    minimum_free_bytes: int,
    unfit: Mapping[str, Why] | None = None,
    quarantined: Mapping[str, Quarantined] | None = None,
) -> list[Verdict]:
    """Return for each reading, in their order, whether a plot of `plot_bytes` can go there.

    `arrivals` are those that were under way before the readings were taken; the parts in these tell what is on a drive
    already, so that it is never counted twice. `offlined`: entries as drives.offlined reads them; `unfit`:
    identity -> why a drive should get no plots although it answers; `quarantined`: identity -> the same of one that
    lost data (Quarantine.active).
    """
    arriving: dict[str, list[Arrival]] = {}
    for arrival in arrivals:
        arriving.setdefault(arrival.identity, []).append(arrival)
    still_to_come: dict[int, int] = {}
    for reading in readings:
        here = arriving.get(reading.drive.identity, [])
        number = reading.drive.device_number  # declared directories may share one file system and its room
        still_to_come[number] = still_to_come.get(number, 0) + sum(_still_to_come(one, reading) for one in here)
    verdicts = []
    for reading in readings:
        here = arriving.get(reading.drive.identity, [])
        room = reading.free_bytes - still_to_come[reading.drive.device_number] - minimum_free_bytes
        quarantine = (quarantined or {}).get(reading.drive.identity)
        why = _problem(reading, here, offlined, quarantine, unfit or {})
        if why is None:
            why = _by_room(reading, minimum_free_bytes, room, plot_bytes)
        verdicts.append(_verdict(reading, why, room, plot_bytes, bool(here), quarantine))
    return verdicts


def _still_to_come(arrival: Arrival, reading: Reading) -> int:
    """Return the bytes that an arrival will yet take: what its part has on the drive is gone from the free bytes."""
    allocated = [part.allocated_bytes for part in reading.parts if _is_part_of(part, arrival)]
    return max(0, arrival.bytes - min(allocated, default=arrival.written_bytes))


def _is_part_of(part: FoundPart, arrival: Arrival) -> bool:
    if arrival.arrival_id:
        return part.arrival == arrival.arrival_id
    return part.plot == arrival.plot and part.is_alive  # dead ones of that name are of arrivals before


def _problem(
    reading: Reading,
    here: Sequence[Arrival],
    offlined: Collection[str],
    quarantine: Quarantined | None,
    unfit: Mapping[str, Why],
) -> Why | None:
    """Return why a drive gets no plots whatever its room; None if only that matters."""
    if is_offlined(reading.drive, offlined):
        return Why(Reason.OFFLINED)
    if any(not arrival.alive for arrival in here):
        return Why(Reason.WRITER_HANGS)
    if reading.problem is not None and reading.was_asked:
        return reading.problem
    if quarantine is not None:
        return Why(Reason.QUARANTINED)
    return reading.problem or unfit.get(reading.drive.identity)


def _by_room(reading: Reading, minimum_free_bytes: int, room: int, plot_bytes: int) -> Why:
    """Return what the bytes for plots that are left, `room`, say."""
    if room < plot_bytes:
        empty = reading.total_bytes - minimum_free_bytes
        return Why(Reason.FULL if empty >= plot_bytes else Reason.TOO_SMALL)
    if not reading.has_inodes:
        return Why(Reason.FULL, "it has no inodes left for another file")
    return Why(Reason.HAS_ROOM)


def _verdict(
    reading: Reading, why: Why, room: int, plot_bytes: int, busy: bool, quarantine: Quarantined | None
) -> Verdict:
    is_writable = reading.problem is None and reading.has_inodes
    return Verdict(
        reading.drive,
        why,
        free_bytes=reading.free_bytes,
        room_bytes=room if is_writable else 0,
        room_plots=max(0, room // plot_bytes) if is_writable else 0,
        total_bytes=reading.total_bytes,
        busy=busy,
        quarantine=quarantine,
    )


def room_in_all(verdicts: Sequence[Verdict]) -> int:
    """Return how many plots fit on the drives that take plots; what shares a file system shares its room."""
    rooms: dict[int | str, int] = {}
    for verdict in verdicts:
        if verdict.usable:
            place = verdict.drive.device_number or verdict.drive.identity
            rooms[place] = max(rooms.get(place, 0), verdict.room_plots)
    return sum(rooms.values())


def in_order(verdicts: Sequence[Verdict], policy: str, current: str) -> list[Verdict]:
    """Return the drives for a new stream, in the order in which a receiver tries them; busy ones left out.

    The configured drive (`current`, a mountpoint) is the first preference; then `fill` takes the lowest
    drive first and `spread` the one with the most room. `verdicts` come lowest drive first.
    """
    candidates = [verdict for verdict in verdicts if verdict.usable and not verdict.busy]
    if policy == "spread":
        return _most_room_first(candidates, current)
    return sorted(candidates, key=lambda verdict: verdict.drive.mountpoint != current)


def select(
    verdicts: Sequence[Verdict], policy: str, current: str, transfer_running_on_current: bool
) -> Selected | None:
    """Return the drive that should be the configured one; None if none can be.

    `fill` takes the lowest drive with room, so a drive that was emptied is filled again; `spread` the one
    with the most room. While a plot arrives on the configured drive, that stays.
    """
    if transfer_running_on_current:
        for verdict in verdicts:
            if verdict.drive.mountpoint == current:
                return Selected(verdict, Taken.ARRIVING)
    candidates = [verdict for verdict in verdicts if verdict.usable]
    if not candidates:
        return None
    if policy == "spread":
        return Selected(_most_room_first(candidates, current)[0], Taken.MOST_ROOM)
    return Selected(candidates[0], Taken.LOWEST)


def _most_room_first(candidates: Sequence[Verdict], current: str) -> list[Verdict]:
    """Sort by room; the configured drive stays first while it is within one plot of the best."""
    ordered = sorted(candidates, key=lambda verdict: -verdict.room_bytes)
    most = ordered[0].room_plots if ordered else 0

    def stays(verdict: Verdict) -> bool:
        return verdict.drive.mountpoint == current and verdict.room_plots >= most - 1

    return sorted(ordered, key=lambda verdict: not stays(verdict))
