"""The NAS's side of a conversation: plots come in, one after the other.

The conversation never touches a drive itself, so that it always answers and always notices when the plotter is
gone; what touches the drive is a worker that it can kill.
"""

from __future__ import annotations

import contextlib
import logging
import os
import time
from dataclasses import asdict

from plotfarm.base.checkpoints import reached
from plotfarm.base.config.sections import Config
from plotfarm.base.errors import PlotfarmError, ProtocolError, TransferFailed
from plotfarm.base.units import format_bytes
from plotfarm.plots.header import read_header
from plotfarm.plots.names import escaped
from plotfarm.transfer import protocol
from plotfarm.transfer.channel import Channel, OtherEndGone
from plotfarm.transfer.digest import SEGMENT_BYTES
from plotfarm.transfer.door import Door
from plotfarm.transfer.pace import Lookups, Pace
from plotfarm.transfer.protocol import Message, Offer
from plotfarm.transfer.storage import Arrived, DriveFailed, Present, Refused, Reserved, Storage
from plotfarm.transfer.worker import Worker
from plotfarm.transfer.writer import FromPipe, Task, digest_stored, store

_LOG = logging.getLogger(__name__)
_CONNECT_SECONDS = 30.0  # a plotter that can reach the port does so in far less
_LOCK_UPDATE_SECONDS = 1.0
_LOOK_AGAIN_SECONDS = 10.0  # a drive may also become usable without an arrival that ends


class Receiver:
    """One conversation with a plotter over `channel`."""

    def __init__(self, channel: Channel, config: Config, storage: Storage, address: str) -> None:
        self._channel, self._settings, self._storage = channel, config.transfer, storage
        self._receiving, self._address, self._locks = config.receiving, address, config.paths.locks
        self._version = protocol.HIGHEST_VERSION
        self._started = time.monotonic()

    def run(self) -> None:
        """Take plots in until the plotter has no more; PlotfarmError if one came to nothing after it was accepted."""
        self._channel.send(protocol.hello())
        self._version = protocol.agree(self._next("hello"))
        if refused := self._storage.welcome():
            return self._refuse(refused)
        message: Message | None = self._next("offer", "ask")
        while message is not None:
            if message["type"] == "ask":
                self._channel.send(self._storage.room(max(1, protocol.integer(message, "size"))).encode())
            else:
                self._take(Offer.read(message))
            message = self._next_if_any("offer", "ask")
        return None

    def _take(self, offer: Offer) -> None:
        """Answer one offer, and take the plot in if it is wanted."""
        self._started = time.monotonic()
        reached("offer:received")
        _LOG.info("Offered: %s, %s", escaped(offer.name), format_bytes(offer.size))
        try:
            self._answer(offer)
        except OtherEndGone as error:
            self._storage.failed(offer, str(error), time.monotonic() - self._started)
            raise
        except PlotfarmError as error:
            self._storage.failed(offer, str(error), time.monotonic() - self._started)
            self._channel.send(protocol.encode("failed", reason=str(error), offset=0))
            raise
        finally:
            self._storage.settled(True)

    def _next(self, *kinds: str) -> Message:
        message = self._channel.wait_for_one(self._settings.silence_seconds)
        if message is None:
            raise OtherEndGone(f"the plotter sent no {' or '.join(kinds)}")
        if message["type"] not in kinds:
            raise ProtocolError(f"the plotter sent {message['type']!r} instead of {' or '.join(map(repr, kinds))}")
        return message

    def _next_if_any(self, *kinds: str) -> Message | None:
        """Return the next message, or None if the plotter ends the conversation here, where it may."""
        try:
            return self._next(*kinds)
        except OtherEndGone as error:
            _LOG.debug("The conversation is over: %s", error)
            return None

    def _refuse(self, refused: Refused, what: str = "") -> None:
        _LOG.warning("Refused: %s%s", what, refused.reason)
        self._channel.send(protocol.encode("refused", **asdict(refused)))

    def _answer(self, offer: Offer) -> None:
        """Refuse the plot, say that it is here, or take it in at the first place that turns out to work."""
        leave_out: set[str] = set()
        while True:
            answer = self._settle(offer, leave_out)
            if isinstance(answer, Refused):
                return self._refuse(answer, f"{escaped(offer.name)}: ")
            path = os.path.join(answer.place.directory, offer.name)
            if offer.dry_run:
                present = isinstance(answer, Present)
                return self._channel.send(protocol.encode("place", path=path, drive=answer.drive, present=present))
            if isinstance(answer, Present):
                return self._have(offer, answer, path)
            try:
                return self._take_in(offer, answer, path)
            except DriveFailed as error:
                _LOG.error("Drive %s is passed over: %s", answer.drive, error)
                leave_out.add(answer.identity)

    def _settle(self, offer: Offer, leave_out: set[str]) -> Reserved | Present | Refused:
        """Decide what happens to an offer; while others are arriving it waits for its turn, as long as it may."""
        deadline = time.monotonic() + offer.patience_seconds
        while True:
            changes = self._storage.changes()  # before looking: what ends meanwhile is heard of
            answer = self._storage.settle(offer, leave_out)
            left = deadline - time.monotonic()
            if not (isinstance(answer, Refused) and answer.busy and left > 0):
                return answer
            self._storage.settled(False)
            messages, _ = self._channel.wait([changes], min(left, _LOOK_AGAIN_SECONDS))
            if messages:
                raise ProtocolError(f"the plotter sent {messages[0]['type']!r} out of turn")

    def _have(self, offer: Offer, present: Present, path: str) -> None:
        """Answer that the plot is here, with its digest: the answer to a `stored` that was lost."""
        _LOG.info("Already here: %s", path)
        if present.size != offer.size:  # another file under this name: its digest would say nothing more
            return self._channel.send(protocol.encode("have", path=path, size=present.size, digest=""))
        recorded = None if self._settings.verify == "readback" else present.recorded
        worker = Worker(lambda endpoint: digest_stored(present.place, offer.name, offer.size, recorded, endpoint))
        try:
            digest = self._hear(worker, "digested")
        finally:
            worker.end()
        self._storage.stored(self._arrived(offer, path, digest, digest, "have"))
        return self._channel.send(protocol.encode("have", path=path, size=offer.size, digest=digest["digest"]))

    def _take_in(self, offer: Offer, reserved: Reserved, path: str) -> None:
        """Take the plot in at a reserved place and answer `stored`."""
        assert reserved.lock is not None
        with contextlib.ExitStack() as cleanup:
            cleanup.callback(reserved.lock.release)
            task = self._task(offer, reserved)
            worker = Worker(lambda endpoint: store(task, endpoint), keep=[reserved.lock.fileno()])
            cleanup.callback(_end_tidily, worker, reserved)
            try:
                prepared = self._hear(worker, "prepared")
            except TransferFailed as error:
                raise DriveFailed(str(error)) from None
            offset = self._agree_on_offset(reserved, prepared["offset"])
            reserved.lock.update(offset=offset, written_bytes=offset)
            door = Door(self._channel, self._settings, self._address, self._locks)
            limit = min(_CONNECT_SECONDS, self._settings.stall_seconds)
            connection = door.let_in(reserved.drive, offset, limit, cleanup)
            worker.endpoint.send("take", descriptor=connection, offset=offset)
            arrived = self._follow(worker, offer, reserved, door, prepared["inode"])
            worker.endpoint.send("sync")
            self._hear(worker, "synced")
            # A rename that hangs cannot be taken back, not even by SIGKILL: until it is known how it ended,
            # this plot must not go to another drive too.
            reserved.lock.update(publishing=True)
            worker.endpoint.send("publish")
            published = self._hear(worker, "published")
        self._storage.stored(self._arrived(offer, path, arrived, published, "stored"))
        reached("stored:recorded")
        self._channel.send(protocol.encode("stored", path=path, digest=arrived["digest"]))
        reached("stored:sent")
        _LOG.info("Stored: %s", path)

    def _task(self, offer: Offer, reserved: Reserved) -> Task:
        pace = Pace(self._settings.max_mb_per_second * 1e6)
        lookups = Lookups(reserved.device_number, self._receiving.lookup_milliseconds)
        known = reserved.known if self._version > 1 else ()
        cargo = FromPipe(
            lambda data: _refuse_header(offer, data), (pace.rest, lookups.rest), known, reserved.inode, offer.streams
        )
        readback = self._settings.verify == "readback"
        return Task(offer.name, offer.size, reserved.place, readback, reserved.leftovers, cargo)

    def _agree_on_offset(self, reserved: Reserved, offset: int) -> int:
        """Offer the plotter to go on behind what is here of an interrupted arrival; returns where it begins."""
        if not offset:
            return 0
        known = reserved.known[: offset // SEGMENT_BYTES]
        self._channel.send(protocol.encode("partial", offset=offset, segments=known))
        message = self._channel.wait_for_one()  # it may have to read its plot first; silence ends that too
        if message is None or message["type"] != "continue":
            raise ProtocolError("the plotter did not say where to continue")
        agreed = protocol.integer(message, "offset")
        if agreed % SEGMENT_BYTES or agreed > offset:
            raise ProtocolError(f"the plotter wants to continue at {agreed}, and there are {offset} bytes")
        if agreed:
            _LOG.info("Going on at %s of an interrupted arrival", format_bytes(agreed))
        else:
            _LOG.info("Beginning anew: the plot is not the one whose arrival was interrupted")
        return agreed

    def _arrived(self, offer: Offer, path: str, digest: Message, file: Message, result: str) -> Arrived:
        seconds = time.monotonic() - self._started
        return Arrived(
            offer, path, digest["digest"], tuple(digest["segments"]), seconds, file["inode"], file["mtime_ns"], result
        )

    def _hear(self, worker: Worker, kind: str) -> Message:
        """Wait for the worker to say `kind`, keeping the conversation alive; TransferFailed if it fails or stalls."""
        moved, done = time.monotonic(), -1
        while True:
            left = moved + self._settings.stall_seconds - time.monotonic()
            messages, ready = self._channel.wait([worker.endpoint.fileno()], max(0.0, left))
            if messages:
                raise ProtocolError(f"the plotter sent {messages[0]['type']!r} out of turn")
            if not ready:
                raise TransferFailed(f"the drive has not moved for {self._settings.stall_seconds:g} seconds: it hangs")
            answer = worker.hear()
            if answer["type"] == kind:
                return answer
            if answer.get("done", done) != done:
                moved, done = time.monotonic(), answer["done"]

    def _follow(self, worker: Worker, offer: Offer, reserved: Reserved, door: Door, inode: int) -> Message:
        """Follow the bytes until both ends have counted and digested them, and compare; returns the worker's word.

        A transfer may take as long as it moves: only its own bytes standing still end it.
        """
        assert reserved.lock is not None
        sent: Message | None = None
        arrived: Message | None = None
        moved, noted, done, heard = time.monotonic(), 0.0, 0, door.heard
        while sent is None or arrived is None:
            left = moved + self._settings.stall_seconds - time.monotonic()
            messages, ready = (heard, []) if heard else self._channel.wait([worker.endpoint.fileno()], max(0.0, left))
            heard = []
            if not messages and not ready:
                raise TransferFailed(
                    f"stalled: no byte for {self._settings.stall_seconds:g} seconds after {done} of {offer.size}"
                )
            for message in messages:
                if message.get("attempt") != door.attempt:
                    continue  # about an earlier data connection, overtaken by this one
                if message["type"] == "lost":
                    raise TransferFailed(f"the plotter lost the data connection after {done} of {offer.size} bytes")
                sent = message if message["type"] == "sent" else sent
            if ready:
                answer = worker.hear()
                arrived = answer if answer["type"] == "arrived" else arrived
                if answer["type"] == "segments":
                    self._storage.known_good(offer, reserved, tuple(answer["segments"]), inode)
                    reached("segment:recorded")
                if answer.get("done", done) > done:
                    moved, done = time.monotonic(), answer["done"]
            if time.monotonic() - noted > _LOCK_UPDATE_SECONDS:
                noted = time.monotonic()
                reserved.lock.update(written_bytes=done, progress=time.time())
        size, digest = protocol.integer(sent, "size"), protocol.text(sent, "digest")
        if (size, digest) != (offer.size, arrived["digest"]):
            raise TransferFailed(
                f"not the bytes that were sent: {offer.size} bytes with digest {arrived['digest'][:16]} arrived, "
                f"{size} with {digest[:16]} were sent; nothing was kept"
            )
        return arrived


def _end_tidily(worker: Worker, reserved: Reserved) -> None:
    """End the writer; if it left no NAME.part, the lock's content need not say so."""
    if worker.end() and reserved.lock is not None:
        reserved.lock.update(parts=list(reserved.kept))


def _refuse_header(offer: Offer, data: bytes) -> str | None:
    """Say why a plot whose bytes begin with `data` is not the one that was offered, or None if it is."""
    header = read_header(data, offer.size)
    if header.kind != offer.kind:
        return f"the bytes are of a {header.kind} plot, but a {offer.kind} plot was offered"
    if offer.id and header.plot_id and header.plot_id != offer.id:
        return "the bytes are of another plot than was offered"
    return None
