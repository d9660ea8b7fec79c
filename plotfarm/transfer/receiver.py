"""Carrying out the NAS's side of a session: messages, the data connection, and a process for each drive.

The session never touches a drive itself, so that it always answers, and always notices when the plotter is gone.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import stat
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from plotfarm.base.config.sections import Config
from plotfarm.base.disk_error import DiskError
from plotfarm.base.errors import PlotfarmError, TransferFailed
from plotfarm.base.units import format_bytes
from plotfarm.transfer import messages
from plotfarm.transfer.channel import Channel, OtherEndGone
from plotfarm.transfer.disk_worker import Arriving, DiskWorker, Progress
from plotfarm.transfer.door import Door
from plotfarm.transfer.effects import (
    Connect,
    DiskEffect,
    Effect,
    Place,
    Placement,
    Pour,
    ReadPart,
    ReadStored,
    Receive,
    RecordEffect,
    RefusedPlacement,
    Release,
    ReservedPlacement,
    Send,
    Stopped,
    play,
)
from plotfarm.transfer.following import Following, refuse_header
from plotfarm.transfer.hashing import configured_segment_bytes
from plotfarm.transfer.limits import Limits
from plotfarm.transfer.messages import Ask, Done, Hello, Lost, Message, Offer, Refused, Sent
from plotfarm.transfer.outcomes import Failure, Phase, Refusal
from plotfarm.transfer.pace import Lookups, Pace
from plotfarm.transfer.publish import Verify
from plotfarm.transfer.receive import Terms, receive
from plotfarm.transfer.storage import Assignment, Storage

_LOG = logging.getLogger(__name__)
_CONNECT_SECONDS = 30.0  # a plotter that can reach the port does so in far less
_LOCK_UPDATE_SECONDS = 1.0
_LONGEST_IDLE_SECONDS = 7 * 86400.0  # between two plots of one run
_MOST_LATE = 4  # words about a data connection that were on their way when this end gave it up
_LOOK_AGAIN_SECONDS = 10.0  # a drive may also become usable without an arrival that ends
_PHASES: dict[type[Effect[Any]], Phase] = {
    Place: Phase.PLACING,
    Connect: Phase.CONNECTING,
    Pour: Phase.POURING,
    ReadPart: Phase.READING_PART,
    ReadStored: Phase.READING_STORED,
}


@dataclass(frozen=True)
class Endpoints:
    """The addresses of the data connection: where the NAS listens, and whom it lets in."""

    listen: str
    client: str


@dataclass
class _Arrival:
    """What the session is at: the offer, and what is held for it."""

    offer: Offer
    started: float = field(default_factory=time.monotonic)
    assignment: Assignment | None = None
    worker: DiskWorker | None = None
    connection: int = -1
    listener: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)
    noted: float = 0.0  # time.monotonic when the lock was updated last


class Receiver:
    """One session with a plotter over `channel`."""

    def __init__(self, channel: Channel, config: Config, storage: Storage, endpoints: Endpoints, plotter: str) -> None:
        self._channel = channel
        self._config = config
        self._settings = config.transfer
        self._storage = storage
        self._door = Door(channel, config.transfer, endpoints.listen, endpoints.client, config.paths.locks)
        self._limits = Limits(config.transfer.silence_seconds, config.transfer.stall_seconds)
        self._terms = Terms(Verify(config.transfer.verify), configured_segment_bytes(), plotter)
        self._gone: TransferFailed | None = None  # why there is nobody to speak to any more
        self._late_words = 0  # so many may still come about a data connection that this end gave up
        self._is_cutting = False  # nobody is heard until the bytes that came are dealt with; heartbeats go on

    def run(self) -> None:
        """Take plots in until the plotter has no more; PlotfarmError if the session could not go on.

        The plotter was greeted with `hello`.
        """
        greeting = self._channel.receive((Hello,), self._settings.silence_seconds)
        assert isinstance(greeting, Hello)
        messages.check_version(greeting)
        if refused := self._storage.welcome():
            _LOG.warning("Refused: %s", refused.detail)
            self._channel.receive((Ask, Offer), self._settings.silence_seconds)
            return self._channel.send(Refused(refused.refusal, messages.text(refused.detail)))

        while (message := self._next_wish()) is not None:
            if isinstance(message, Ask):
                self._channel.send(self._storage.capacity(message.size))
            elif isinstance(message, Offer):
                self._take(message)
        return None

    def _next_wish(self) -> Message | None:
        """Return the next question or offer; None when the plotter ends the session here, where it may."""
        self._channel.phase = Phase.IDLE
        try:
            message: Message = Done()
            for _ in range(_MOST_LATE):
                message = self._channel.receive((Ask, Offer, Sent, Lost), _LONGEST_IDLE_SECONDS)
                if isinstance(message, Ask | Offer):
                    return message
        except OtherEndGone as error:
            _LOG.debug("The session is over: %s", error)
            return None
        raise messages.out_of_turn(message)

    def _take(self, offer: Offer) -> None:
        """Answer one offer; whatever happens, nothing is held afterwards."""
        _LOG.info("Offered: %s, %s", offer.name, format_bytes(offer.size))
        self._late_words = 0
        arrival = _Arrival(offer)
        try:
            play(receive(offer, self._terms), lambda effect: self._carry_out(effect, arrival))
        finally:
            self._storage.is_waiting(False)
            self._door.let_port_go()
            self._release(arrival)

    def _carry_out(self, effect: Effect[Any], arrival: _Arrival) -> Any:
        self._channel.phase = _PHASES.get(type(effect), Phase.PUBLISHING)
        match effect:
            case Send():
                return self._send(effect)
            case Receive():
                return self._receive(effect, arrival)
            case Place():
                return self._place(effect, arrival)
            case Connect():
                return self._connect(effect, arrival)
            case Pour():
                return self._pour(effect, arrival)
            case DiskEffect():
                return self._on_disk(effect, arrival)
            case Release():
                return self._release(arrival)
            case RecordEffect():
                assert arrival.assignment is not None
                seconds = time.monotonic() - arrival.started
                return self._storage.record(effect, arrival.offer, arrival.assignment, seconds)
        raise PlotfarmError(f"nobody carries out {type(effect).__name__}")

    # ---- What the plotter says ----

    def _send(self, effect: Send) -> None:
        if self._gone is not None:
            raise self._gone
        self._channel.send(effect.message)

    def _receive(self, effect: Receive, arrival: _Arrival) -> Message:
        if self._gone is not None:
            raise self._gone
        try:
            return self._channel.receive(effect.kinds, self._limits.seconds(effect.phase, arrival.offer.size))
        except TransferFailed as error:
            self._gone = error
            raise

    # ---- Where the plot goes ----

    def _place(self, effect: Place, arrival: _Arrival) -> Placement:
        """Decide where the plot goes; while others are arriving it waits for its turn, as long as it may."""
        deadline = time.monotonic() + effect.offer.patience_seconds
        while True:
            changes = self._storage.changes()  # before looking: what ends meanwhile is heard of
            assignment = self._find_place(effect)
            placement = assignment.placement
            left = deadline - time.monotonic()
            is_to_wait = isinstance(placement, RefusedPlacement) and placement.refusal.is_for_now and left > 0
            if not is_to_wait:
                break
            self._storage.is_waiting(True)
            said, _ = self._channel.wait([changes], min(left, _LOOK_AGAIN_SECONDS))
            if said:
                raise messages.out_of_turn(said[0])

        self._storage.is_waiting(False)
        if isinstance(placement, RefusedPlacement):
            _LOG.warning("Refused: %s: %s", effect.offer.name, placement.detail)
            return placement
        arrival.assignment = assignment
        if not effect.offer.is_dry_run:
            assert assignment.site is not None
            keep = [assignment.lock.fileno()] if assignment.lock is not None else []
            arrival.worker = DiskWorker(assignment.site, self._arriving(effect.offer, assignment), keep)
        return placement

    def _find_place(self, effect: Place) -> Assignment:
        """Reserve a drive, once a port for the plot's bytes is held: without one it waits as for a drive."""
        if effect.offer.is_dry_run:
            return self._storage.place(effect.offer, effect.excluded)
        if not self._door.hold_port():
            ports = self._settings.ports
            detail = f"no port of {ports.start}-{ports.stop - 1} is free: widen [transfer] ports"
            return Assignment(RefusedPlacement(Refusal.BUSY, detail))
        assignment = self._storage.place(effect.offer, effect.excluded)
        if not isinstance(assignment.placement, ReservedPlacement):
            self._door.let_port_go()
        return assignment

    def _arriving(self, offer: Offer, assignment: Assignment) -> Arriving:
        pace = Pace(self._settings.max_mb_per_second * 1e6)
        lookups = Lookups(assignment.device_number, self._config.receiving.lookup_milliseconds)
        return Arriving(
            segment_bytes=self._terms.segment_bytes,
            is_sampled=self._terms.verify is Verify.SAMPLE,
            streams=offer.streams,
            refuse_header=lambda data: refuse_header(offer, data),
            rests=(pace.rest, lookups.rest),
        )

    # ---- The drive ----

    def _on_disk(self, effect: DiskEffect[Any], arrival: _Arrival) -> Any:
        """Have the drive's process carry an effect out; Stopped with HANGS if it makes no progress."""
        assert arrival.worker is not None
        arrival.worker.begin(effect)
        return self._result(arrival)

    def _result(self, arrival: _Arrival) -> Any:
        assert arrival.worker is not None
        moved = time.monotonic()
        done = -1
        while True:
            left = moved + self._settings.stall_seconds - time.monotonic()
            if left <= 0:
                detail = f"the drive has not moved for {self._settings.stall_seconds:g} seconds"
                raise Stopped(Failure.HANGS, detail)
            if not self._wait_for_worker(arrival.worker, left):
                continue
            answer = arrival.worker.receive()
            if not isinstance(answer, Progress):
                return answer.value
            if answer.done != done:
                moved = time.monotonic()
                done = answer.done

    def _wait_for_worker(self, worker: DiskWorker, seconds: float) -> bool:
        """Wait for the drive's process, and keep the session alive meanwhile if there still is one."""
        if self._gone is not None:
            return worker.wait(seconds)
        try:
            if self._is_cutting:
                self._channel.keep_alive()
                return worker.wait(min(seconds, self._settings.beat_seconds / 2))
            said, ready = self._channel.wait([worker.fileno()], seconds)
            self._let_late_words_pass(said)
        except TransferFailed as error:
            self._gone = error  # the step on the drive is finished all the same
            return False
        return bool(ready)

    def _let_late_words_pass(self, said: Sequence[Message]) -> None:
        """Raise what may not be said now.

        Once this end has given up a data connection, a few words about it may still be on their way.
        """
        for message in said:
            if not isinstance(message, Sent | Lost) or self._late_words <= 0:
                raise messages.out_of_turn(message)
            self._late_words -= 1

    # ---- The bytes ----

    def _connect(self, effect: Connect, arrival: _Arrival) -> int:
        limit = min(_CONNECT_SECONDS, self._settings.stall_seconds)
        try:
            attempt, arrival.connection = self._door.open(
                effect.arrival, effect.drive, effect.segments, limit, arrival.listener
            )
        except TransferFailed as error:
            self._gone = error
            raise
        return attempt

    def _pour(self, effect: Pour, arrival: _Arrival) -> Any:
        """Follow the bytes until they have arrived and the plotter says that they are sent, or something ends them."""
        assert arrival.worker is not None
        arrival.worker.begin(effect, arrival.connection)
        following = Following(effect, self._settings.stall_seconds, self._config.receiving.lowest_mb_per_second * 1e6)
        try:
            while not following.is_over:
                said, ready = self._channel.wait([arrival.worker.fileno()], following.seconds_left())
                for message in said:
                    following.hear(message)
                if ready:
                    self._hear_worker(arrival.worker, following)
                self._note_progress(arrival, following.done)
                following.check(self._storage, arrival.assignment)
        except DiskError:
            self._late_words = _MOST_LATE
            raise
        except Stopped as stopped:
            self._late_words = _MOST_LATE
            if following.is_worker_busy:
                self._cut(arrival, stopped)
            raise
        except TransferFailed as error:
            self._gone = error
            if following.is_worker_busy:
                self._cut(arrival, Stopped(Failure.INTERRUPTED, "the plotter is gone"))
            raise
        finally:
            arrival.listener.close()
        return following.segments

    def _hear_worker(self, worker: DiskWorker, following: Following) -> None:
        try:
            answer = worker.receive()
        except (DiskError, Stopped):
            following.is_worker_busy = False
            raise
        if isinstance(answer, Progress):
            following.moved(answer.done)
        else:
            following.arrived(answer.value)

    def _cut(self, arrival: _Arrival, why: Stopped) -> None:
        """End the data connection and wait until the drive's process has dealt with what came."""
        assert arrival.worker is not None
        with contextlib.suppress(OSError):
            if stat.S_ISSOCK(os.fstat(arrival.connection).st_mode):
                socket.socket(fileno=os.dup(arrival.connection)).shutdown(socket.SHUT_RDWR)
        arrival.listener.close()
        self._is_cutting = True
        try:
            self._result(arrival)
        except Stopped as stopped:
            if stopped.failure is Failure.HANGS:
                raise
        finally:
            self._is_cutting = False
        _LOG.info("The data connection was ended: %s", why.detail)

    def _note_progress(self, arrival: _Arrival, done: int) -> None:
        assert arrival.assignment is not None and arrival.assignment.lock is not None
        if time.monotonic() - arrival.noted > _LOCK_UPDATE_SECONDS:
            arrival.noted = time.monotonic()
            arrival.assignment.lock.update(written_bytes=done, progress=time.time())

    def _release(self, arrival: _Arrival) -> None:
        arrival.listener.close()
        if arrival.worker is not None:
            arrival.worker.end()
            arrival.worker = None
        if arrival.assignment is not None and arrival.assignment.lock is not None:
            arrival.assignment.lock.release()
        arrival.assignment = None
