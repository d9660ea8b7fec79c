"""The NAS's side of a plot's journey: one conversation, one plot.

The conversation never touches a drive itself, so that it always answers and always notices when the plotter is
gone; what touches the drive is a worker that it can kill.
"""

from __future__ import annotations

import contextlib
import logging
import os
import time
from pathlib import Path

from plotfarm.base.checkpoints import reached
from plotfarm.base.config.sections import TransferSettings
from plotfarm.base.errors import PlotfarmError, ProtocolError, TransferFailed
from plotfarm.base.locks import Lock
from plotfarm.base.units import format_bytes
from plotfarm.plots.header import read_header
from plotfarm.plots.names import escaped
from plotfarm.transfer import protocol
from plotfarm.transfer.channel import Channel, OtherEndGone
from plotfarm.transfer.door import Door
from plotfarm.transfer.protocol import Message, Offer
from plotfarm.transfer.storage import Arrived, DriveFailed, Present, Refused, Reserved, Storage
from plotfarm.transfer.worker import Worker
from plotfarm.transfer.writer import FromPipe, Task, digest_stored, store

_LOG = logging.getLogger(__name__)
_CONNECT_SECONDS = 30.0  # a plotter that can reach the port does so in far less
_LOCK_UPDATE_SECONDS = 1.0


class Receiver:
    """One conversation with a plotter over `channel`, about one plot."""

    def __init__(
        self, channel: Channel, settings: TransferSettings, storage: Storage, address: str, lock_directory: Path
    ) -> None:
        self._channel, self._settings, self._storage = channel, settings, storage
        self._address, self._locks = address, lock_directory
        self._started = time.monotonic()

    def run(self) -> None:
        """Take one plot in, or say why not; PlotfarmError if it came to nothing after it was accepted."""
        self._channel.send(protocol.hello())
        protocol.agree(self._next("hello"))
        offer = Offer.read(self._next("offer"))
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

    def _next(self, kind: str) -> Message:
        message = self._channel.wait_for_one(self._settings.silence_seconds)
        if message is None:
            raise OtherEndGone(f"the plotter sent no {kind}")
        if message["type"] != kind:
            raise ProtocolError(f"the plotter sent {message['type']!r} instead of {kind!r}")
        return message

    def _answer(self, offer: Offer) -> None:
        """Refuse the plot, say that it is here, or take it in at the first place that turns out to work."""
        leave_out: set[str] = set()
        while True:
            answer = self._storage.settle(offer, leave_out)
            if isinstance(answer, Refused):
                _LOG.warning("Refused: %s: %s", escaped(offer.name), answer.reason)
                return self._channel.send(protocol.encode("refused", reason=answer.reason, retry=answer.retry))
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
        readback = self._settings.verify == "readback"
        task = Task(
            offer.name, offer.size, reserved.place, readback, reserved.leftovers,
            FromPipe(lambda data: _refuse_header(offer, data)),
        )  # fmt: skip
        with contextlib.ExitStack() as cleanup:
            cleanup.callback(reserved.lock.release)
            worker = Worker(lambda endpoint: store(task, endpoint), keep=[reserved.lock.fileno()])
            cleanup.callback(_end_tidily, worker, reserved.lock)
            try:
                self._hear(worker, "prepared")
            except TransferFailed as error:
                raise DriveFailed(str(error)) from None
            door = Door(self._channel, self._settings.netcat, self._settings.ports, self._address, self._locks)
            limit = min(_CONNECT_SECONDS, self._settings.stall_seconds)
            worker.endpoint.send("take", descriptor=door.let_in(reserved.drive, limit, cleanup))
            arrived = self._follow(worker, offer, reserved, door)
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

    def _follow(self, worker: Worker, offer: Offer, reserved: Reserved, door: Door) -> Message:
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


def _end_tidily(worker: Worker, lock: Lock) -> None:
    """End the writer; if it left no NAME.part, the lock's content need not say so."""
    if worker.end():
        lock.update(parts=[])


def _refuse_header(offer: Offer, data: bytes) -> str | None:
    """Say why a plot whose bytes begin with `data` is not the one that was offered, or None if it is."""
    header = read_header(data, offer.size)
    if header.kind != offer.kind:
        return f"the bytes are of a {header.kind} plot, but a {offer.kind} plot was offered"
    if offer.id and header.plot_id and header.plot_id != offer.id:
        return "the bytes are of another plot than was offered"
    return None
