"""plot_manager.py: sends every finished plot to a NAS, one after the other, and removes what is safely there."""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Sequence
from dataclasses import replace

from plotfarm.base.config.sections import Config
from plotfarm.base.errors import ConfigurationError, NasUnavailable, TransferFailed
from plotfarm.base.locks import Lock, LockBusy, refuse_network_directory
from plotfarm.base.processes import run_as_batch
from plotfarm.base.ssh import remove_leftovers
from plotfarm.base.state import State, Transfer
from plotfarm.base.units import format_bytes, format_duration
from plotfarm.jobs.finished_plots import FinishedPlots
from plotfarm.jobs.nas_link import NasLink
from plotfarm.jobs.sending_trouble import tell_of_trouble
from plotfarm.jobs.telling import Teller
from plotfarm.plots.names import escaped
from plotfarm.plots.plotfile import Candidate, PlotFile, PlotFileError
from plotfarm.reports.progress import Screen
from plotfarm.transfer.protocol import Offer
from plotfarm.transfer.send import Delivered, PlotRefused
from plotfarm.transfer.source import open_source, remove_source

_LOG = logging.getLogger(__name__)
_GIVE_UP_AFTER = 3  # failures in a row: it is not the plot then
_LOCK_UPDATE_SECONDS = 1.0


def run(config: Config, *, dry_run: bool) -> int:
    """Send what is finished; 0 if all went well or another run is at it, 1 if a plot or a NAS failed."""
    refuse_network_directory(config.paths.locks)
    name = "plot_manager_testing.lock" if config.testing.testing else "plot_manager.lock"
    lock = Lock(config.paths.locks / name)
    try:
        lock.acquire()
    except LockBusy as busy:
        _LOG.info("Checkfile Exists, We are currently Running a Transfer, Exiting")
        _LOG.debug("%s: %s", busy, busy.holder)
        Screen().say("A transfer is already running: nothing to do.")
        return 0
    with lock:
        _LOG.debug("Checkfile Does Not Exist")
        run_as_batch()
        remove_leftovers(config.paths.locks)
        state = State(config.paths.state)
        try:
            return SendingRun(config, lock, state, dry_run).run()
        finally:
            state.close()


class SendingRun:
    """One run: the plots, the NAS, and what came of it."""

    def __init__(self, config: Config, lock: Lock, state: State, dry_run: bool) -> None:
        self._config, self._lock, self._state, self._dry_run = config, lock, state, dry_run
        testing = config.testing
        directories = (testing.plot_directory,) if testing.testing else config.plotter.plot_directories
        if not directories:
            raise ConfigurationError(
                f"{config.path}: [plotter] plot_directories is empty: name the directories of your finished plots"
            )
        self._screen = Screen()
        minimum_bytes = testing.minimum_size_bytes if testing.testing else 0
        self._plots = FinishedPlots(directories, config, state, self._screen, minimum_bytes)
        self._trouble = self._plots.trouble
        self._links = {host: NasLink(host, config) for host in config.nas.hosts}
        self._sent = 0
        self._failed_in_a_row = 0

    def run(self) -> int:
        """Send until nothing that is finished is left, also what finishes meanwhile."""
        teller = None if self._dry_run else Teller(self._config, self._state.database)
        candidates = self._plots.begin(teller)
        try:
            while self._one_pass(candidates):
                candidates = self._plots.again()
        finally:
            for link in self._links.values():
                link.close()
        if teller is not None:
            tell_of_trouble(self._trouble, self._config, teller)
        return self._finish()

    def _one_pass(self, candidates: Sequence[Candidate]) -> bool:
        """Consider each plot; True if it is worth looking for more that finished meanwhile."""
        sent_before = self._sent
        for candidate in candidates:
            self._consider(candidate)
            if self._failed_in_a_row >= _GIVE_UP_AFTER or not self._usable_links():
                return False
        return self._sent > sent_before

    def _usable_links(self) -> list[NasLink]:
        return [link for link in self._links.values() if not link.unavailable]

    def _consider(self, candidate: Candidate) -> None:
        """Send one plot if it may travel; whatever is wrong with it stays with it."""
        shown = escaped(candidate.name)
        try:
            if plot := self._plots.finished(candidate):
                self._send(plot)
                self._failed_in_a_row = 0
        except NasUnavailable as error:  # told of as such, and not for each plot
            self._plots.fail(f"{shown}: {error}")
        except (PlotRefused, PlotFileError, TransferFailed) as error:
            self._failed_in_a_row += isinstance(error, TransferFailed)
            self._plots.fail(f"{shown}: {error}", candidate)

    def _send(self, plot: PlotFile) -> None:
        """Offer the plot to the NAS that may have it already, else to each in order until one takes it."""
        _LOG.info("We will process this plot next: %s", plot.name)
        links = self._usable_links()
        last = self._state.journal_nas(str(plot.path))
        if last in self._links:
            links = [self._links[last]]
            if links[0].unavailable:
                raise NasUnavailable(f"it may be on {last} already, which cannot be asked now")
        refusals: list[str] = []
        silent: list[str] = []
        for link in links:
            try:
                self._send_to(link, plot)
                self._trouble.reached.add(link.host)
                return
            except PlotRefused as error:
                self._trouble.reached.add(link.host)
                self._state.journal_remove(str(plot.path))
                if not error.retry:
                    raise
                refusals.append(f"{link.host}: {error}")
            except NasUnavailable as error:
                self._trouble.silent[link.host] = str(error)
                silent.append(str(error))
        if refusals:
            raise PlotRefused("; ".join(refusals + silent), retry=True)
        raise NasUnavailable("; ".join(silent) or "no NAS can be reached")

    def _send_to(self, link: NasLink, plot: PlotFile) -> None:
        offer = self._offer(plot)
        link.open()
        if self._dry_run:
            path, present = link.where(offer)
            verb = "is already at" if present else "would go to"
            self._screen.result(f"{plot.name} ({format_bytes(plot.size)}) {verb} {link.host}:{path}")
            _LOG.info("Dry run: %s %s %s:%s", plot.name, verb, link.host, path)
            return
        _LOG.info("Processing Plot: %s", plot.path)
        started = time.monotonic()
        source = open_source(plot)
        self._state.journal_write(str(plot.path), link.host)
        try:
            with self._screen.progress(plot.name, plot.size, link.host) as bar:
                noted = 0.0

                def moved(done: int) -> None:
                    nonlocal noted
                    now = time.monotonic()
                    if now - noted > _LOCK_UPDATE_SECONDS:
                        noted = now
                        self._lock.update(
                            plot=plot.name, nas=link.host, bytes=plot.size, done=done, progress=time.time()
                        )
                        bar(done)

                delivered = link.deliver(offer, source, moved)
        except TransferFailed as error:
            self._record(plot, link, None, time.monotonic() - started, str(error))
            link.end_stale_listeners()
            raise
        finally:
            os.close(source)
        self._settle(plot, link, delivered, time.monotonic() - started)

    def _settle(self, plot: PlotFile, link: NasLink, delivered: Delivered, seconds: float) -> None:
        """Remember a plot that is stored and equal, and remove its source unless it shall stay."""
        self._record(plot, link, delivered, seconds, delivered.how)
        if self._config.plotter.keep_source:
            self._plots.keep(plot)
        else:
            _LOG.info("Removing: %s", plot.path)
            remove_source(plot)
        self._state.journal_remove(str(plot.path))
        self._sent += 1
        speed = f"{format_duration(seconds)}, {format_bytes(plot.size / max(seconds, 1e-6))}/s"
        how = "was there already" if delivered.how == "have" else speed
        _LOG.info(
            "Plot Sizes Match, we have a good plot move! %s is %s:%s, digest %s, %s (%s)",
            plot.name, link.host, delivered.path, delivered.digest.plot, format_bytes(plot.size), how,
        )  # fmt: skip
        self._screen.result(f"{plot.name} -> {link.host}:{delivered.path}  ({how}, digests equal)")

    def _record(self, plot: PlotFile, link: NasLink, delivered: Delivered | None, seconds: float, result: str) -> None:
        self._state.record_transfer(
            Transfer(
                finished=time.time(), plot=plot.name, kind=plot.header.kind, source=str(plot.path),
                target=f"{link.host}:{delivered.path}" if delivered else "", plotter=socket.gethostname(),
                bytes=plot.size, seconds=seconds, digest=delivered.digest.plot if delivered else "",
                segments=" ".join(delivered.digest.segments) if delivered else "", result=result,
                inode=plot.inode, mtime_ns=plot.mtime_ns, k=plot.header.k or 0,
            )
        )  # fmt: skip

    def _offer(self, plot: PlotFile) -> Offer:
        offer = Offer(
            name=plot.name, size=plot.size, kind=plot.header.kind, k=plot.header.k, id=plot.header.plot_id,
            dry_run=self._dry_run, plot_directory=str(plot.directory),
        )  # fmt: skip
        room = self._plots.rooms.get(plot.directory)
        if room is None:
            return offer
        return replace(offer, free_bytes=room.free_bytes, waiting_bytes=room.waiting_bytes, hours_left=room.hours_left)

    def _finish(self) -> int:
        plots = self._plots
        if self._failed_in_a_row >= _GIVE_UP_AFTER:
            plots.fail(f"{_GIVE_UP_AFTER} transfers in a row failed: the rest waits for the next run")
        if not (self._sent or plots.failed or self._dry_run):
            _LOG.info("Nothing to send (%d waiting)", plots.waiting)
            self._screen.say(f"Nothing to send{f' ({plots.waiting} waiting)' if plots.waiting else ''}.")
        return 1 if plots.failed else 0
