"""Which drive is next: decisions on readings that were taken before, no drive is touched here."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from plotfarm.base.units import format_bytes
from plotfarm.drives.model import Arrival, Reading, Verdict
from plotfarm.drives.offlined import is_offlined
from plotfarm.drives.quarantine import Quarantined
from plotfarm.plots.parts import FoundPart

DEFAULT_PLOT_BYTES = 108_995_911_228  # a k32 plot as chiapos makes it
NEWEST_ARRIVALS = 20
IN_QUARANTINE = "in quarantine"  # why a verdict says no; reports.explain knows more words for it


@dataclass(frozen=True)
class Choice:
    """What was decided about the plot drive, with everything that it was decided on."""

    current: str  # mountpoint that is configured; "" if none is
    chosen: Verdict | None
    verdicts: tuple[Verdict, ...]  # of every drive, also those that were never asked
    policy: str
    plot_bytes: int
    arriving: bool  # a plot is on its way to the configured drive


def arriving_plot_bytes(sizes: Sequence[int]) -> int:
    """Return the size to plan with: the largest of the newest 20 (newest first), a k32 before any came."""
    return max(sizes[:NEWEST_ARRIVALS], default=DEFAULT_PLOT_BYTES)


def judge(
    readings: Sequence[Reading],
    arrivals: Sequence[Arrival],
    offlined: Collection[str],
    plot_bytes: int,
    minimum_free_bytes: int,
    unfit: Mapping[str, str] | None = None,
    quarantined: Mapping[str, Quarantined] | None = None,
) -> list[Verdict]:
    """Return for each reading, in their order, whether a plot of `plot_bytes` can go there.

    `arrivals` are those that were under way before the readings were taken; the parts in these tell what is on a drive
    already, so that it is never counted twice. `offlined`: entries as drives.offlined reads them; `unfit`:
    identity -> why a drive should get no plots although it answers; `quarantined`: identity -> the same of one that
    lost data (Quarantine.active).
    """
    still_to_come: dict[int, int] = {}
    for reading in readings:
        here = [arrival for arrival in arrivals if arrival.identity == reading.drive.identity]
        number = reading.drive.device_number  # declared directories may share one file system and its room
        still_to_come[number] = still_to_come.get(number, 0) + sum(_still_to_come(one, reading) for one in here)
    verdicts = []
    for reading in readings:
        here = [arrival for arrival in arrivals if arrival.identity == reading.drive.identity]
        room = reading.free_bytes - still_to_come[reading.drive.device_number] - minimum_free_bytes
        quarantine = (quarantined or {}).get(reading.drive.identity)
        problem = _problem(reading, here, offlined, quarantine, unfit or {})
        verdict = _verdict(reading, room, plot_bytes, problem, bool(here))
        verdicts.append(replace(verdict, quarantine=quarantine))
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
    unfit: Mapping[str, str],
) -> str:
    if is_offlined(reading.drive, offlined):
        return "offlined"
    if any(not arrival.alive for arrival in here):
        return "not answering: a writer that was ended still hangs there"
    if reading.problem and reading.was_asked:
        return reading.problem
    if quarantine is not None:
        return IN_QUARANTINE
    return reading.problem or unfit.get(reading.drive.identity, "")


def _verdict(reading: Reading, room: int, plot_bytes: int, problem: str, busy: bool) -> Verdict:
    plots = max(0, room // plot_bytes) if not reading.problem else 0
    if problem:
        usable, why = False, problem
    elif plots == 0:
        short = f"{format_bytes(max(0, room))} of the {format_bytes(plot_bytes)} that one takes"
        usable, why = False, f"full: room for 0 plots ({short})"
    else:
        usable, why = True, f"room for {plots} plot{'s' if plots != 1 else ''}"
    if busy and not problem:
        why += "; a plot is arriving there now"
    room_bytes = room if not reading.problem else 0
    return Verdict(reading.drive, usable, why, reading.free_bytes, room_bytes, plots, reading.total_bytes, busy)


def in_order(verdicts: Sequence[Verdict], policy: str, current: str) -> list[Verdict]:
    """Return the drives for a new stream, in the order in which a receiver tries them; busy ones left out.

    The configured drive (`current`, a mountpoint) is the first preference; then `fill` takes the lowest
    drive first and `spread` the one with the most room. `verdicts` come lowest drive first.
    """
    candidates = [verdict for verdict in verdicts if verdict.usable and not verdict.busy]
    if policy == "spread":
        return _most_room_first(candidates, current)
    return sorted(candidates, key=lambda verdict: verdict.drive.mountpoint != current)


def select(verdicts: Sequence[Verdict], policy: str, current: str, transfer_running_on_current: bool) -> Verdict | None:
    """Return the drive that should be the configured one, its `why` saying what took it; None if none can be.

    `fill` takes the lowest drive with room, so a drive that was emptied is filled again; `spread` the one
    with the most room. While a plot arrives on the configured drive, that stays.
    """
    if transfer_running_on_current:
        for verdict in verdicts:
            if verdict.drive.mountpoint == current:
                return replace(verdict, why=f"taken: a plot is arriving there now ({_room(verdict)})")
    candidates = [verdict for verdict in verdicts if verdict.usable]
    if not candidates:
        return None
    if policy == "spread":
        best = _most_room_first(candidates, current)[0]
        return replace(best, why=f"taken: the most room ({_room(best)})")
    return replace(candidates[0], why=f"taken: the lowest drive with room ({_room(candidates[0])})")


def _room(verdict: Verdict) -> str:
    return f"{verdict.room_plots} plot{'s' if verdict.room_plots != 1 else ''}"


def _most_room_first(candidates: Sequence[Verdict], current: str) -> list[Verdict]:
    """Sort by room; the configured drive stays first while it is within one plot of the best."""
    ordered = sorted(candidates, key=lambda verdict: -verdict.room_bytes)
    most = ordered[0].room_plots if ordered else 0

    def stays(verdict: Verdict) -> bool:
        return verdict.drive.mountpoint == current and verdict.room_plots >= most - 1

    return sorted(ordered, key=lambda verdict: not stays(verdict))
