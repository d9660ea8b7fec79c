"""Which plot goes to which NAS, over which link, and when: what plot_manager.py does before a stream has a plot."""

from __future__ import annotations

import logging
import select
import socket
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from plotfarm.base.config.sections import Config
from plotfarm.base.errors import NasUnavailable, PlotfarmError
from plotfarm.jobs.nas import Link, Nas, close_links
from plotfarm.jobs.rounds import Rounds
from plotfarm.plots.plotfile import PlotFile
from plotfarm.transfer.messages import Capacity
from plotfarm.transfer.nas_choice import lots, next_nas, to_ask
from plotfarm.transfer.nas_rooms import RoomSaid
from plotfarm.transfer.outcomes import NotTaken
from plotfarm.transfer.stream import OnTheWay, SessionLost, Stream, StreamGone, Unavailable

_LOG = logging.getLogger(__name__)
_ANSWER_SECONDS = 10.0  # so long a choice waits for an answer: a busy NAS with many drives takes a while
_GREETING_SECONDS = 1.0  # so long at least it waits for a connection while others stand
_GREETING_SECONDS_OF_SILENT = 0.3  # likewise, where nobody answered in the last run
_LONGEST_WAIT_SECONDS = 1.0


@dataclass
class Job:
    """A plot that is finished, and what became of it so far."""

    plot: PlotFile
    assigned_nas: str | None = None  # the NAS that may have it already
    refusals: dict[str, str] = field(default_factory=dict)  # NAS -> reason
    waits: dict[str, int] = field(default_factory=dict)  # NAS -> how often it waited there for its turn in vain
    link_failures: int = 0
    lot: str = ""  # by which the NAS are drawn for it: plots that wait at the same time have the same one


class NoNasTakesIt(PlotfarmError):
    """Every NAS that could be asked refuses the plot; the message says why."""


@dataclass(frozen=True)
class Berth:
    """A stream that waits for a plot."""

    nas: Nas
    link: Link
    stream: Stream


class Dispatch:
    """All NAS of a run.

    `silent` says why some could not be asked; those in `refusing` were reached, and ended in an error.
    """

    def __init__(self, config: Config, last_used: Mapping[str, float] | None = None) -> None:
        """`last_used`: NAS -> when it got a plot last, in seconds from now, so negative."""
        self._policy = config.nas.policy
        self._rounds = Rounds(config.nas.answer_seconds)
        self._plotter = socket.gethostname()
        self.all = {host: Nas(host, config) for host in config.nas.hosts}
        self.silent: dict[str, str] = {}
        self.refusing: set[str] = set()
        self.answered: set[str] = set()  # NAS that have said what they can take, and were not lost since
        self._asking: dict[Stream, tuple[Nas, Link]] = {}
        self._begun = time.monotonic()
        self._slowest_handshake = 0.0
        self._lot = ""  # of plots that begin to wait now; "": of the next one
        for host, moment in (last_used or {}).items():
            if host in self.all:
                self.all[host].last_used = moment

    @property
    def is_waiting(self) -> bool:
        """Whether an answer or a connection is on its way."""
        return bool(self._asking) or any(link.opening for nas in self.all.values() for link in nas.links)

    def expect_silence(self, hosts: Iterable[str]) -> None:
        """Have these NAS asked anew, and waited for no longer than others take to greet: they were silent before."""
        for host in hosts:
            if host in self.all:
                self.all[host].was_silent = True
                self.all[host].expect(None, 0.0)

    def expect_rooms(self, rooms: Iterable[RoomSaid]) -> None:
        """Have only those NAS asked that may get the next plot, by what they said in earlier runs."""
        started = time.time() - time.monotonic()
        for room in rooms:
            if room.nas in self.all:
                self.all[room.nas].expect(room.bytes, room.heard - started)

    def rooms(self) -> list[RoomSaid]:
        """Return what the NAS have said in this run, less what was sent since, for the next one."""
        started = time.time() - time.monotonic()
        answered = [self.all[host] for host in self.answered]
        return [
            RoomSaid(nas.host, room, started + nas.expected_since)
            for nas in answered
            if (room := nas.expected_bytes()) is not None
        ]

    def berth(self, job: Job, waiting: int = 1) -> Berth | None:
        """Return the stream that a plot goes to, None while it has to wait. `waiting`: so many could begin now.

        NoNasTakesIt if all refuse it, NasUnavailable if none can be reached that might.
        """
        hosts = [job.assigned_nas] if job.assigned_nas in self.all else list(self.all)
        able = [nas for host, nas in self.all.items() if host in hosts and nas.is_usable and host not in job.refusals]
        if not able:
            self._give_up(job, hosts)
        if job.assigned_nas in self.all:
            return self._stream_to(able[0]) if able[0].has_place else None
        # Whatever a NAS says that it can take: after a wait in vain it is the others' turn.
        fewest = min(job.waits.get(nas.host, 0) for nas in able)
        able = [nas for nas in able if job.waits.get(nas.host, 0) == fewest]
        host = self._choose(job, able, waiting)
        return self._stream_to(self.all[host]) if host is not None else None

    def _choose(self, job: Job, able: Sequence[Nas], waiting: int) -> str | None:
        """Return the NAS for a plot, None if it has to wait; ask those of whom it must be known what they can take."""
        oldest = self._rounds.oldest(time.monotonic())
        views = [nas.view(job.plot.size, oldest) for nas in able]
        self._lot = self._lot or job.plot.name
        job.lot = job.lot or self._lot
        lot = lots(self._plotter, job.lot)
        waited_for = [view for view in views if not (view.is_awaited and self._is_late(self.all[view.host]))]
        in_vain = [view.host for view in views if view not in waited_for]
        questions = to_ask(waited_for, self._policy, lot, waiting)
        for asked in [*questions, *in_vain]:
            self._ask(self.all[asked], job.plot.size)
        self._rounds.go_on(bool(questions), time.monotonic())

        host = next_nas(waited_for, self._policy, lot)
        if not any(view.is_awaited or view.plots for view in views):
            job.refusals |= {nas.host: nas.why or "it has no room" for nas in able}
        return host

    def _is_late(self, nas: Nas) -> bool:
        """Tell whether nobody waits for the answer of a NAS any more, until it comes."""
        if nas.awaited_since is not None and time.monotonic() >= nas.awaited_since + self._patience(nas):
            nas.is_late = True
        return nas.is_late

    def _patience(self, nas: Nas) -> float:
        """Return for how many seconds a NAS is waited for: longer than an answer takes, or than others take to greet.

        A busy NAS with many drives takes a while to answer. One that has taken the connection and says nothing, while
        others have long greeted, does not.
        """
        if nas.is_connected or not self._slowest_handshake:
            return _ANSWER_SECONDS
        shortest = _GREETING_SECONDS_OF_SILENT if nas.was_silent else _GREETING_SECONDS
        return min(_ANSWER_SECONDS, max(shortest, 2 * self._slowest_handshake))

    def ask_all(self, size: int, seconds: float) -> None:
        """Ask every NAS what it can take of plots of this size, and wait for the answers, so long at most."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            unknown = [nas for nas in self.all.values() if nas.is_usable and nas.said is None]
            if not unknown:
                return
            for nas in unknown:
                self._ask(nas, size)
            self.wait([])

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
        if nas.asking is not None:
            return
        if nas.awaited_since is None:
            nas.awaited_since = time.monotonic()
        berth = self._stream_to(nas)
        if berth is not None:
            nas.size = size
            nas.asking = berth.stream
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
        connections = [connection for _, _, connection in opening if not connection.is_pausing]
        watched: list[Any] = [*busy, *self._asking, *connections]
        ready, _, _ = select.select(watched, [], [], self._longest_wait())
        for nas, link, connection in opening:
            if connection in ready or time.monotonic() >= connection.wake_at:
                self._follow_opening(nas, link)
        for stream in [each for each in ready if each in self._asking]:
            self._hear_answer(stream)
        return [stream for stream in busy if stream in ready]

    def _longest_wait(self) -> float:
        """Return in how many seconds at the latest there is something to do."""
        now = time.monotonic()
        moments = [now + _LONGEST_WAIT_SECONDS]
        for nas in self.all.values():
            moments += [max(now, link.opening.wake_at) for link in nas.links if link.opening is not None]
            if nas.awaited_since is not None:
                moments.append(nas.awaited_since + self._patience(nas))
        return min(moment for moment in moments if moment >= now) - now

    def _follow_opening(self, nas: Nas, link: Link) -> None:
        """See how the opening of a connection goes."""
        try:
            if seconds := link.follow_opening():
                self._slowest_handshake = max(self._slowest_handshake, seconds)
        except NasUnavailable as error:
            self._note_silent(nas, str(error))

    def _hear_answer(self, stream: Stream) -> None:
        """Take what a NAS says that it can take."""
        nas, link = self._asking[stream]
        answer = stream.receive()
        if isinstance(answer, OnTheWay):
            return
        del self._asking[stream]
        nas.asking = None
        match answer:
            case Capacity():
                self._note_answer(nas, answer)
            case NotTaken():
                self.answered.add(nas.host)
                if not nas.narrow(link, stream):
                    self._note_answer(nas, Capacity(0, 0, 0, answer.detail))
            case Unavailable():
                self.lose(nas, link, stream, answer.detail, is_refusal=answer.is_refusal)
            case SessionLost() | StreamGone():
                self.lose(nas, link, stream, answer.detail)

    def _note_answer(self, nas: Nas, answer: Capacity) -> None:
        nas.answered(answer)
        self.answered.add(nas.host)
        self.silent.pop(nas.host, None)

    def taken(self, nas: Nas, size: int) -> None:
        """Note that a plot of `size` bytes went to a NAS."""
        self._lot = ""
        nas.taken(time.monotonic() - self._begun, size)

    def lose(self, nas: Nas, link: Link, stream: Stream, why: str, *, is_refusal: bool = False) -> None:
        """End a stream that could not go on; its link is left out for a while, unless others still use it."""
        if stream in link.streams:
            link.end_stream(stream)
        if not any(other.is_busy for other in link.streams):
            link.leave_out()
            self._note_silent(nas, why, is_refusal=is_refusal)

    def _note_silent(self, nas: Nas, why: str, *, is_refusal: bool = False) -> None:
        _LOG.warning("%s: %s", nas.host, why)
        if not nas.is_usable:
            nas.awaited_since = None
            self.silent[nas.host] = why
            self.refusing.discard(nas.host)
            self.refusing |= {nas.host} if is_refusal else set()
            self.answered.discard(nas.host)

    def note_unanswered(self) -> None:
        """Note at the end of a run the NAS that have not answered until now, which nobody has waited for."""
        self._give_time_to_greet()
        now = time.monotonic()
        for nas in self.all.values():
            since = nas.opening_since
            if since is not None and not nas.is_connected:
                self._note_unanswered(nas, f"ssh has not connected in {now - since:.1f} seconds")
            elif nas.is_late and nas.awaited_since is not None:
                self._note_unanswered(nas, f"it has not said in {now - nas.awaited_since:.0f} seconds what it can take")

    def _note_unanswered(self, nas: Nas, why: str) -> None:
        _LOG.warning("%s: %s", nas.host, why)
        self.silent.setdefault(nas.host, f"{nas.host}: {why}")

    def _give_time_to_greet(self) -> None:
        """Let connections that have just begun come up: a run that ends at once says nothing about them."""
        while young := [
            (nas, link, link.opening)
            for nas in self.all.values()
            for link in nas.links
            if link.opening is not None and not nas.is_connected and link.opening.seconds < _GREETING_SECONDS
        ]:
            connections = [connection for _, _, connection in young if not connection.is_pausing]
            left = _GREETING_SECONDS - max(connection.seconds for _, _, connection in young)
            select.select(connections, [], [], max(0.01, left))
            for nas, link, _ in young:
                self._follow_opening(nas, link)

    def close(self) -> None:
        """End every stream and connection, all of them at the same time."""
        close_links([link for nas in self.all.values() for link in nas.links])
