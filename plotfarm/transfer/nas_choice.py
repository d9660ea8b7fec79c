"""Which NAS the next plot goes to: decisions on values, the same for the same plotter, plot and answers.

Several plotters see the same room and none of them sees what the others are about to send. If each took the very best
NAS, all would take the same one. So of NAS that are nearly equal two are drawn by lot, and the lots of each plotter
are its own; see `_drawn`. Only those two have to be asked anew, so that it costs no more to have many NAS.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from plotfarm.transfer.messages import Capacity

_ASKED_AHEAD = 4  # so many NAS are asked at once where the first that can take the plot gets it
_FEW_PLOTS = 10  # a difference in room that is less than what a few plotters send in a moment
_DRIFT = 0.02  # so much less room than is expected of a NAS that is not asked is as good
_NEARLY = 0.1  # nor may NAS that count as equal differ by more than this share of the most room

# host -> a number from 0 to 1, the lower the earlier it is drawn
Lot = Callable[[str], float]


@dataclass(frozen=True)
class Answer:
    """What a NAS said that it can take, corrected by what this plotter has sent since."""

    capacity: Capacity
    size: int  # bytes of the plots that it is about
    heard: float  # time.monotonic

    def holds(self, size: int, oldest: float) -> bool:
        """Tell whether it is about plots that are no smaller, and was heard at `oldest` (time.monotonic) or later."""
        return size <= self.size and self.heard >= oldest

    def after_sending(self) -> Answer:
        """Return it with the room and the drive taken off that another plot gets."""
        plots = max(0, self.capacity.plots - 1)
        streams = max(0, self.capacity.streams - 1)
        return replace(self, capacity=replace(self.capacity, plots=plots, streams=streams))

    def after_arrival(self) -> Answer:
        """Return it with the drive free again that a plot has arrived on."""
        return replace(self, capacity=replace(self.capacity, streams=self.capacity.streams + 1))


@dataclass(frozen=True)
class NasView:
    """A NAS as a plotter sees it before it sends another plot."""

    host: str
    plots: int  # of this size that it can take, by its last answer less what was sent since; see is_awaited
    streams: int  # how many more may begin there now, likewise
    active: int  # streams of this plotter that are under way to it
    limit: int  # the most of them
    last_used: float  # when the last plot was sent there, in seconds from any moment; -inf: none yet
    arriving: float = 0.0  # plots of this size that others are bringing there, by its last answer
    is_awaited: bool = False  # its answer is to come yet, or is too old: `plots` is what is expected
    is_unknown: bool = False  # likewise, and nothing is expected


def lots(plotter: str, plot: str) -> Lot:
    """Return the lots that a plotter draws for a plot: the same ones again each time."""

    def drawn(host: str) -> float:
        seed = "\0".join((plotter, plot, host)).encode(errors="surrogateescape")
        return int.from_bytes(hashlib.blake2b(seed, digest_size=6).digest(), "big") / 2.0**48

    return drawn


def to_ask(views: Sequence[NasView], policy: str, lot: Lot, plots: int = 1) -> list[str]:
    """Return the awaited NAS whose answers the choice depends on, those that matter most first.

    `views` come in the order of the configuration. `plots`: so many are waiting, and will be chosen for by the same
    lot one after the other, each as soon as it can be.
    """
    candidates = _candidates(views)
    if policy == "most_free":
        unknown = [view for view in candidates if view.is_unknown]
        return [view.host for view in (*unknown, *_drawn(candidates, lot, plots + 1)) if view.is_awaited]
    ahead = itertools.takewhile(lambda view: view.is_awaited or not view.streams, _ordered(candidates, policy, lot))
    return [view.host for view in ahead if view.is_awaited][:_ASKED_AHEAD]


def next_nas(views: Sequence[NasView], policy: str, lot: Lot) -> str | None:
    """Return the host for the next plot, None if it has to wait: for an answer, or for its turn.

    `views` come in the order of the configuration. One stream may always wait for its turn at a NAS whose drives
    are all busy with other plotters: there it keeps its place.
    """
    candidates = _candidates(views)
    if policy == "most_free":
        drawn = _drawn(candidates, lot, 2)
        if not drawn or any(view.is_awaited for view in drawn) or any(view.is_unknown for view in candidates):
            return None
        return min(drawn, key=lambda view: (view.active, view.arriving)).host

    ordered = _ordered(candidates, policy, lot)
    if any(view.is_awaited for view in ordered):
        # Nobody behind one whose answer is to come gets the plot: that one may have a drive that is free.
        ahead = itertools.takewhile(lambda view: not view.is_awaited, ordered)
        return next((view.host for view in ahead if view.streams > 0), None)
    return next((view.host for view in _free(ordered)), None)


def _candidates(views: Sequence[NasView]) -> list[NasView]:
    """Return the NAS that can take the plot, or may be able to."""
    return [view for view in views if view.active < view.limit and (view.is_awaited or view.plots > 0)]


def _free(known: Sequence[NasView]) -> list[NasView]:
    """Return those with a drive that is free; if there are none, those where nothing of this plotter waits yet."""
    return [view for view in known if view.streams > 0] or [view for view in known if view.active == 0]


def _ordered(views: Sequence[NasView], policy: str, lot: Lot) -> list[NasView]:
    """Return the NAS in the order in which they get plots, where room does not matter."""
    if policy == "round_robin":
        return sorted(views, key=lambda view: (view.last_used, lot(view.host)))
    return list(views)


def _drawn(candidates: Sequence[NasView], lot: Lot, count: int) -> list[NasView]:
    """Return the first `count` NAS of those with the most room, or so little less that it may be otherwise by now.

    Of these come first those with the fewest plots of this plotter under way, and of them those that the lot draws.
    Between the first two it is: the one will get the plot that others are bringing less to. Two, because what is known
    is old: if every plotter took the one that had the least to do when they all asked, that one would have the most to
    do. Where no room is expected anywhere it is all of them.
    """
    known = [view for view in candidates if not view.is_unknown]
    able = [view for view in known if view.is_awaited or view.streams > 0] or _free(known)
    most = max((view.plots for view in able), default=0)
    if not most:
        return able
    unseen = _FEW_PLOTS + sum(view.arriving for view in candidates)
    if any(view.is_awaited and view.plots == most for view in able):
        unseen = max(unseen, most * _DRIFT)  # or all would be asked whenever all have become fuller
    least = most - min(unseen, most * _NEARLY)
    nearly_equal = [view for view in able if view.plots >= least]

    return sorted(nearly_equal, key=lambda view: (view.active, lot(view.host)))[:count]
