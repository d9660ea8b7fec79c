"""Which plots in some directories may travel, and what there is to say of the others."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from pathlib import Path

from plotfarm.base.config.sections import Config
from plotfarm.base.state import Room, State
from plotfarm.jobs.plot_room import filling_check, watch_room
from plotfarm.jobs.sending_trouble import Trouble
from plotfarm.jobs.telling import Teller
from plotfarm.plots.names import escaped, refuse_name
from plotfarm.plots.plotfile import Candidate, Listing, PlotFile, find_plots, judge_whole, look
from plotfarm.plots.removable import why_not_removable
from plotfarm.reports.dry_run import StayingPlot
from plotfarm.reports.progress import Screen
from plotfarm.reports.transfer_words import removal_text
from plotfarm.transfer.outcomes import Delivered, Removal

_LOG = logging.getLogger(__name__)
# What no later run can do better until a user has done something.
_UNREMOVABLE = (Removal.SAME_FILE, Removal.SUSPECT, Removal.NOT_PERMITTED, Removal.STILL_LINKED)


class FinishedPlots:
    """The plots of one run: each is looked at once, and what is wrong with one stays with it."""

    def __init__(
        self, directories: Sequence[Path], config: Config, state: State, screen: Screen, minimum_bytes: int = 0
    ) -> None:
        self._directories, self._config, self._state, self._screen = directories, config, state, screen
        self._minimum_bytes = minimum_bytes
        self._tried: set[tuple[Path, int]] = set()
        self.trouble = Trouble()
        self.waiting = 0  # plots that are not finished
        self.failed = 0
        self.not_taken: list[StayingPlot] = []  # in this run, and why
        self.failures: list[str] = []
        self.rooms: dict[Path, Room] = {}  # what is free in each directory

    def begin(self, teller: Teller | None) -> list[Candidate]:
        """Return the plots that are there, oldest first, and say of directories what is odd or will be full soon.

        Without a `teller` that is only printed and logged.
        """
        listing = find_plots(self._directories)
        self._report_oddities(listing)
        plotter = self._config.plotter
        self.rooms, warnings = watch_room(self._directories, listing.candidates, self._state, plotter)
        for warning in warnings:
            _LOG.warning("%s", warning)
            self._screen.complain(warning)
        if teller is not None:  # now, and not after a run that may last for hours
            # Only of its own directories: those of plotters are looked at by drive_manager.py.
            own = filling_check(list(self.rooms.values()), plotter.warn_hours_left, is_all=False)
            teller.evaluate([own])
        return self._in_order(self._new(listing))

    def again(self) -> list[Candidate]:
        """Return the plots that have come since."""
        return self._in_order(self._new(find_plots(self._directories)))

    def _in_order(self, candidates: list[Candidate]) -> list[Candidate]:
        """Sort by how often each has failed, then oldest first: three plots that nobody can read stop no other."""
        return sorted(
            candidates, key=lambda each: (self._state.failures(str(each.path), each.facts), each.mtime_ns, each.name)
        )

    def _new(self, listing: Listing) -> list[Candidate]:
        new = [each for each in listing.candidates if (each.path, each.mtime_ns) not in self._tried]
        self._tried |= {(each.path, each.mtime_ns) for each in new}
        return new

    def finished(self, candidate: Candidate) -> PlotFile | None:
        """Return the plot if it may travel: if it is whole, and not known to be kept; PlotFileError if it is odd."""
        keeps = self._config.plotter.keep_source
        if keeps and self._state.is_kept(str(candidate.path), candidate.facts):
            _LOG.debug("Sent before and kept (keep_source): %s", escaped(candidate.name))
            return None
        if not keeps and (why := self._why_unremovable(candidate)):
            self._hold(candidate, why)
            return None
        plot = look(candidate.directory, candidate.name)
        return plot if self._is_whole(plot) else None

    def _why_unremovable(self, candidate: Candidate) -> str:
        """Return why a plot could not be removed once it is stored; found out before it is sent. "" if it can be."""
        known = self._state.why_unremovable(str(candidate.path), candidate.facts)
        return known or why_not_removable(candidate.path)

    def _hold(self, plot: Candidate, why: str) -> None:
        """Say that a plot stays until somebody does something: an alert is active meanwhile, and cron is quiet."""
        shown = escaped(plot.name)
        self.waiting += 1
        _LOG.warning("Not sent: %s: %s", shown, why)
        self.trouble.hold(plot.path, plot.size, f"{shown}: {why}")
        self._leave(shown, why)

    def _leave(self, shown: str, why: str) -> None:
        """Say of a plot that it does not travel in this run."""
        self.not_taken.append(StayingPlot(shown, why))
        self._screen.say(f"not sent     {shown}: {why}")

    def settle_removal(self, plot: PlotFile, delivered: Delivered) -> None:
        """Record what became of the source of a plot that is stored; what a user has to put right is said once."""
        path = str(plot.path)
        self._state.forget_failures(path)
        if delivered.removal is Removal.KEPT:
            return self._state.note_kept(path, plot.facts)
        if delivered.removal is Removal.REMOVED:
            _LOG.info("Removed: %s%s", path, f" ({delivered.detail})" if delivered.detail else "")
            return None
        message = f"{escaped(plot.name)} is stored, and stays here too: {removal_text(delivered.removal)}"
        if delivered.detail:
            message = f"{message} ({delivered.detail})"
        if delivered.removal in _UNREMOVABLE:
            self._state.note_unremovable(path, plot.facts, message)
        return self.fail(message, plot)

    def fail(self, message: str, stuck: Candidate | None = None) -> None:
        """Note and say what went wrong; `stuck` is the plot that stays for it."""
        self.failed += 1
        self.failures.append(message)
        _LOG.error("%s", message)
        self._screen.complain(message)
        if stuck is not None:
            self._state.count_failure(str(stuck.path), stuck.facts)
            self.trouble.hold(stuck.path, stuck.size, message)

    def finish(self, verb: str, *, is_quiet: bool) -> int:
        """Say that there was nothing to do, unless something else was said; 1 if anything failed, else 0."""
        if not (is_quiet or self.failed):
            _LOG.info("Nothing to %s (%d waiting)", verb, self.waiting)
            self._screen.say(f"Nothing to {verb}{f' ({self.waiting} waiting)' if self.waiting else ''}.")
        return 1 if self.failed else 0

    def _report_oddities(self, listing: Listing) -> None:
        for shown, reason in listing.passed_over:
            _LOG.warning("Passed over: %s: %s", shown, reason)
            self.not_taken.append(StayingPlot(shown, reason))
            self._screen.say(f"passed over  {shown}: {reason}")
        for plot in listing.misnamed:
            why = f"{escaped(plot.name)} is not touched: {refuse_name(plot.name)}"
            self.trouble.hold(plot.path, plot.size, why)
        for problem in listing.problems:
            self.fail(problem)

    def _is_whole(self, plot: PlotFile) -> bool:
        """Tell whether the plot may travel, and say why if not."""
        shown, now, observed = escaped(plot.name), time.time(), None
        if plot.mtime_ns / 1e9 > now:  # the clock jumped: only what was seen since the boot counts
            observed = self._state.unchanged_seconds(str(plot.path), (plot.size, plot.mtime_ns, plot.identity.inode))
        settle = self._config.plotter.settle_seconds
        whole = judge_whole(plot, settle, now, observed_seconds=observed, minimum_bytes=self._minimum_bytes)
        if not whole.is_whole:
            self.waiting += 1
            _LOG.log(logging.WARNING if whole.needs_somebody else logging.INFO, "Not sent: %s: %s", shown, whole.why)
            if whole.needs_somebody:
                self.trouble.hold(plot.path, plot.size, f"{shown}: {whole.why}")
            self._leave(shown, whole.why)
        return whole.is_whole
