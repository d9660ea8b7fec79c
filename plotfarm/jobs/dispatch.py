"""Which plot goes to which NAS, over which link, and when: what plot_manager.py does before a stream has a plot."""

from __future__ import annotations

import logging
import select
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from plotfarm.base.config.sections import Config
from plotfarm.base.errors import NasUnavailable, PlotfarmError
from plotfarm.jobs.nas import Link, Nas
from plotfarm.plots.plotfile import PlotFile
from plotfarm.transfer.messages import Capacity
from plotfarm.transfer.nas_choice import next_nas
from plotfarm.transfer.outcomes import NotTaken
from plotfarm.transfer.stream import OnTheWay, SessionLost, Stream, StreamGone, Unavailable

_LOG = logging.getLogger(__name__)
_GATHER_SECONDS = 10.0  # so long the first choice waits for the answers of all NAS: a busy one takes a while
_LONGEST_WAIT_SECONDS = 1.0


@dataclass
class Job:
    """A plot that is finished, and what became of it so far."""

    plot: PlotFile
    assigned_nas: str | None = None  # the NAS that may have it already
    refusals: dict[str, str] = field(default_factory=dict)  # NAS -> reason
    waits: dict[str, int] = field(default_factory=dict)  # NAS -> how often it waited there for its turn in vain
    link_failures: int = 0


class NoNasTakesIt(PlotfarmError):
    """Every NAS that could be asked refuses the plot; the message says why."""


@dataclass(frozen=True)
class Berth:
    """A stream that waits for a plot."""

    nas: Nas
    link: Link
    stream: Stream


class Dispatch:
    """All NAS of a run. `silent` says why those could not be reached that could not be."""

    def __init__(self, config: Config) -> None:
        self._policy = config.nas.policy
        self.all = {host: Nas(host, config) for host in config.nas.hosts}
        self.silent: dict[str, str] = {}
        self._asking: dict[Stream, tuple[Nas, Link]] = {}
        self._begun = time.monotonic()

    @property
    def is_waiting(self) -> bool:
        """Whether an answer or a connection is on its way."""
        return bool(self._asking) or any(link.opening for nas in self.all.values() for link in nas.links)

    def berth(self, job: Job) -> Berth | None:
        """Return the stream that a plot goes to, None while it has to wait.

        NoNasTakesIt if all refuse it, NasUnavailable if none can be reached that might.
        """
        hosts = [job.assigned_nas] if job.assigned_nas in self.all else list(self.all)
        able = [nas for host, nas in self.all.items() if host in hosts and nas.is_usable and host not in job.refusals]
        if not able:
            self._give_up(job, hosts)
        if job.assigned_nas in self.all:
            return self._stream_to(able[0]) if able[0].view().active < able[0].view().limit else None
        # Whatever a NAS says that it can take: after a wait in vain it is the others' turn.
        fewest = min(job.waits.get(nas.host, 0) for nas in able)
        able = [nas for nas in able if job.waits.get(nas.host, 0) == fewest]
        unknown = [nas for nas in able if nas.must_be_asked(job.plot.size)]
        for nas in unknown:
            self._ask(nas, job.plot.size)
        known = [nas for nas in able if nas not in unknown]
        if unknown and (not known or time.monotonic() - self._begun < _GATHER_SECONDS):
            return None
        views = [nas.view() for nas in known]
        host = next_nas(views, self._policy)
        if host is not None:
            return self._stream_to(self.all[host])
        if not unknown and not any(view.plots for view in views):
            job.refusals |= {nas.host: nas.why or "it has no room" for nas in known}
        return None

    def _give_up(self, job: Job, hosts: Sequence[str]) -> None:
        if not job.refusals:
            if job.assigned_nas in self.all:
                raise NasUnavailable(f"it may be on {job.assigned_nas} already, which cannot be asked now")
            reasons = [self.silent[host] for host in hosts if host in self.silent]
            raise NasUnavailable("; ".join(dict.fromkeys(reasons)) or "no NAS can be reached")
        reasons = [f"{host}: {reason}" for host, reason in job.refusals.items()]
        reasons += [self.silent[host] for host in hosts if host in self.silent and host not in job.refusals]
        raise NoNasTakesIt("; ".join(reasons))

    def _ask(self, nas: Nas, size: int) -> None:
        if any(asked is nas for asked, _ in self._asking.values()):
            return
        berth = self._stream_to(nas)
        if berth is not None:
            nas.size = size
            berth.stream.ask(size)
            self._asking[berth.stream] = (nas, berth.link)

    def _stream_to(self, nas: Nas) -> Berth | None:
        """Return an idle stream to a NAS; None while the way there is only being opened."""
        found = nas.idle_stream()
        if found is None:
            for problem in nas.open_links():
                self._note_silent(nas, problem)
            return None
        return Berth(nas, *found)

    def wait(self, busy: Sequence[Stream]) -> list[Stream]:
        """Wait for something to happen, a second at most; returns those of the `busy` streams that have a word to say.

        What other streams and connections have to say is taken care of.
        """
        opening = [
            (nas, link, link.opening) for nas in self.all.values() for link in nas.links if link.opening is not None
        ]
        watched: list[Any] = [*busy, *self._asking, *(connection for _, _, connection in opening)]
        ready, _, _ = select.select(watched, [], [], _LONGEST_WAIT_SECONDS)
        for nas, link, connection in opening:
            if connection in ready or time.monotonic() >= connection.deadline:
                try:
                    link.follow_opening()
                except NasUnavailable as error:
                    self._note_silent(nas, str(error))
        for stream in [each for each in ready if each in self._asking]:
            self._hear_answer(stream)
        return [stream for stream in busy if stream in ready]

    def _hear_answer(self, stream: Stream) -> None:
        """Take what a NAS says that it can take."""
        nas, link = self._asking[stream]
        answer = stream.receive()
        if isinstance(answer, OnTheWay):
            return
        del self._asking[stream]
        match answer:
            case Capacity():
                nas.answered(answer)
                self.silent.pop(nas.host, None)
            case NotTaken():
                if not nas.narrow(link, stream):
                    nas.answered(Capacity(0, 0, 0, answer.detail))
            case Unavailable() | SessionLost() | StreamGone():
                self.lose(nas, link, stream, answer.detail)

    def lose(self, nas: Nas, link: Link, stream: Stream, why: str) -> None:
        """End a stream that could not go on; its link is left out for a while, unless others still use it."""
        if stream in link.streams:
            link.end_stream(stream)
        if not any(other.is_busy for other in link.streams):
            for other in [each for each in self._asking if each in link.streams]:
                del self._asking[other]
            link.leave_out()
            self._note_silent(nas, why)

    def _note_silent(self, nas: Nas, why: str) -> None:
        _LOG.warning("%s: %s", nas.host, why)
        if not nas.is_usable:
            self.silent[nas.host] = why

    def close(self) -> None:
        """End every stream and connection."""
        for nas in self.all.values():
            nas.close()
