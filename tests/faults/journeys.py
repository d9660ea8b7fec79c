"""Every kind of journey that a plot can make, and the points at which one can be stopped: learned from a real one.

Which effects there are is read from the modules that yield them, and when each comes is read from the log of a real
journey, so a new effect is covered without a word here; one that no journey has fails the tests.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from types import ModuleType

from plotfarm.plots.formats import read_header
from plotfarm.plots.parts import PartFacts, new_arrival_id, part_name, write_facts
from plotfarm.transfer import move, publish, receive, removal, send
from plotfarm.transfer.effects import Effect
from testbed.fault_library import Rule
from testbed.plots import PlotShop
from tests.faults.local_scene import LocalScene, local_scene
from tests.faults.scene import Scene, one_plot
from tests.faults.wire import Fault, Harm
from tests.faults.wired_scene import LATE, one_wired_plot, preloaded_local_scene

SEGMENT_BYTES = 256 * 1024  # a k18 plot has 17 of them
_PLOTTER = "127.0.0.1"  # by this name the NAS knows the plotter of a farm on loopback
_REACHED = re.compile(r"State: (before|after):(\w+)$", re.MULTILINE)


class Side(StrEnum):
    """A process that carries a journey out."""

    PLOTTER = "plotter"
    NAS = "nas"
    MOVER = "mover"


_MODULES: dict[Side, Sequence[ModuleType]] = {
    Side.PLOTTER: (send, removal),
    Side.NAS: (receive, publish),
    Side.MOVER: (move, publish, removal),
}


def effects(side: Side) -> list[str]:
    """Return the names of all effects that the journeys of a side can yield, in order."""
    found = set()
    for module in _MODULES[side]:
        found |= {name for name, value in vars(module).items() if _is_effect(value)}
    return sorted(found)


def _is_effect(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, Effect) and value is not Effect


# ---- Journeys over the network ----------------------------------------------------------------------

Opener = Callable[[Path, PlotShop], AbstractContextManager[Scene]]


@contextlib.contextmanager
def _stores(root: Path, shop: PlotShop) -> Iterator[Scene]:
    with one_plot(root, shop) as made:
        made.set_segments(SEGMENT_BYTES)
        yield made


@contextlib.contextmanager
def _stores_and_reads_back(root: Path, shop: PlotShop) -> Iterator[Scene]:
    with one_plot(root, shop, transfer__verify="readback") as made:
        yield made


@contextlib.contextmanager
def _resumes(root: Path, shop: PlotShop) -> Iterator[Scene]:
    with _stores(root, shop) as made:
        (plot,) = made.farm.plots.iterdir()
        leave_part(plot, made.drives[0], _PLOTTER, 7 * SEGMENT_BYTES + 1000)
        yield made


@contextlib.contextmanager
def _finds_it_stored(root: Path, shop: PlotShop) -> Iterator[Scene]:
    with _stores(root, shop) as made:
        (plot,) = made.farm.plots.iterdir()
        copy(plot, made.drives[1])
        yield made


@contextlib.contextmanager
def _differs(root: Path, _: PlotShop) -> Iterator[Scene]:
    with one_wired_plot(root) as made:
        made.wire.faults = [Fault(Harm.FLIP, LATE)]
        yield made


@contextlib.contextmanager
def _meets_a_broken_drive(root: Path, _: PlotShop) -> Iterator[Scene]:
    with one_wired_plot(root, nas_rules=[Rule(["fsync"], "*.part")]) as made:
        yield made


@contextlib.contextmanager
def _cannot_link(root: Path, _: PlotShop) -> Iterator[Scene]:
    with one_wired_plot(root, nas_rules=[Rule(["link"], "*.plot", error=errno.EPERM, count=0)]) as made:
        yield made


# ---- Journeys on one host ---------------------------------------------------------------------------


@contextlib.contextmanager
def _copies(root: Path, shop: PlotShop) -> Iterator[LocalScene]:
    with local_scene(root) as made:
        made.add(shop.v1(made.far))
        yield made


@contextlib.contextmanager
def _copies_and_reads_back(root: Path, shop: PlotShop) -> Iterator[LocalScene]:
    with local_scene(root, transfer__verify="readback") as made:
        made.add(shop.v1(made.far))
        yield made


@contextlib.contextmanager
def _links(root: Path, shop: PlotShop) -> Iterator[LocalScene]:
    with local_scene(root) as made:
        made.add(shop.v1(made.near))
        yield made


@contextlib.contextmanager
def _copied_before(root: Path, shop: PlotShop) -> Iterator[LocalScene]:
    with _copies(root, shop) as made:
        (plot,) = made.far.iterdir()
        copy(plot, made.drives[1])
        yield made


@contextlib.contextmanager
def _linked_before(root: Path, shop: PlotShop) -> Iterator[LocalScene]:
    with _links(root, shop) as made:
        (plot,) = made.near.iterdir()
        os.link(plot, made.drives[1] / plot.name)
        yield made


@contextlib.contextmanager
def _copies_to_a_broken_drive(root: Path, shop: PlotShop) -> Iterator[LocalScene]:
    with preloaded_local_scene(root) as made:
        made.add(shop.v1(made.far))
        made.preload(Rule(["fsync"], "*.part"))
        yield made


@contextlib.contextmanager
def _copies_without_links(root: Path, shop: PlotShop) -> Iterator[LocalScene]:
    with preloaded_local_scene(root) as made:
        made.add(shop.v1(made.far))
        made.preload(Rule(["link"], "*.plot", error=errno.EPERM, count=0))
        yield made


# By name; what is common comes first.
NETWORK: dict[str, Opener] = {
    "stores": _stores,
    "resumes": _resumes,
    "finds it stored": _finds_it_stored,
    "differs": _differs,
    "meets a broken drive": _meets_a_broken_drive,
    "cannot link": _cannot_link,
    "stores and reads back": _stores_and_reads_back,
}
LOCAL: dict[str, Opener] = {
    "copies": _copies,
    "links": _links,
    "copied before": _copied_before,
    "linked before": _linked_before,
    "copies to a broken drive": _copies_to_a_broken_drive,
    "copies without links": _copies_without_links,
    "copies and reads back": _copies_and_reads_back,
}
# After these a drive is in quarantine: what lies there is left alone until somebody lifts that.
QUARANTINING = ("meets a broken drive", "copies to a broken drive")


def leave_part(plot: Path, drive: Path, plotter: str, size: int) -> Path:
    """Leave the first bytes of a plot in a part, as an interrupted arrival does."""
    content = plot.read_bytes()
    path = drive / part_name(plot.name, new_arrival_id())
    with open(path, "wb") as file:
        file.write(content[:size])
        write_facts(file.fileno(), PartFacts(plotter, len(content), read_header(content, len(content)).plot_id))
    return path


def copy(plot: Path, drive: Path) -> None:
    """Store a plot on a drive already, at another time than it was made."""
    shutil.copyfile(plot, drive / plot.name)
    when = time.time() - 86400
    os.utime(drive / plot.name, (when, when))


# ---- Points -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Point:
    """A moment in a kind of journey, on one side: `number` counts from 1 how often that state was reached by then."""

    journey: str
    side: Side
    when: str  # before, after
    effect: str
    number: int

    @property
    def state(self) -> str:
        """What a process that is to stop itself there is told."""
        return f"{self.when}:{self.effect}#{self.number}"


_seen: dict[tuple[str, Side], list[Point]] = {}  # learned once in a run of the tests


def points(side: Side, effect: str, when: str, shop: PlotShop, *, only_first: bool) -> list[Point]:
    """Return where in all kinds of journeys that is; `only_first`: only in the first kind that has it."""
    found: list[Point] = []
    for journey in LOCAL if side is Side.MOVER else NETWORK:
        here = [point for point in _points_of(journey, side, shop) if (point.effect, point.when) == (effect, when)]
        found += here
        if here and only_first:
            break
    return found


def _points_of(journey: str, side: Side, shop: PlotShop) -> list[Point]:
    if (journey, side) not in _seen:
        opener = (LOCAL if side is Side.MOVER else NETWORK)[journey]
        with tempfile.TemporaryDirectory(prefix="journey-") as root, opener(Path(root), shop) as made:
            made.run_again()
            made.rest()
            _note(journey, made)
    return _seen[journey, side]


def _note(journey: str, made: Scene) -> None:
    if isinstance(made, LocalScene):
        _seen[journey, Side.MOVER] = list(_read(journey, Side.MOVER, made.farm.nas.log_text()))
        return
    _seen[journey, Side.NAS] = list(_read(journey, Side.NAS, made.farm.nas.log_text()))
    _seen[journey, Side.PLOTTER] = list(_read(journey, Side.PLOTTER, made.farm.plotter.log_text()))


def _read(journey: str, side: Side, log: str) -> Iterator[Point]:
    times: Counter[tuple[str, str]] = Counter()
    for when, effect in _REACHED.findall(log):
        times[when, effect] += 1
        yield Point(journey, side, when, effect, times[when, effect])
