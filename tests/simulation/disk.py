"""The effects on a drive of the NAS, as the worker carries them out: what their docstrings promise, on the model."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Any

from plotfarm.base.disk_error import Call, DiskError
from plotfarm.base.errors import ProtocolError
from plotfarm.plots.parts import PartFacts, part_name
from plotfarm.transfer import effects as e
from plotfarm.transfer.messages import Lost, Sent
from plotfarm.transfer.outcomes import Failure
from tests.simulation.actor import Actor
from tests.simulation.filesystem import Drive, Handle
from tests.simulation.held import BLOCKED, MORE, Held, call, hash_of
from tests.simulation.host import facts_of
from tests.simulation.hosts import Worker
from tests.simulation.inodes import HOLE
from tests.simulation.session import NAS, PLOTTER
from tests.simulation.setup import BLOCKS, SAMPLED


class Disk(Held):
    """Carries out the effects of one drive's worker."""

    # ---- Holding --------------------------------------------------------------------------------------------

    def open_drive(self, actor: Actor, effect: e.OpenDrive) -> None:
        worker = self._worker(actor)
        drive = self.world.mounts[worker.path]
        if drive is None or drive.uuid != worker.identity:
            raise e.Stopped(Failure.UNMOUNTED, "it is not the drive")
        self._injected(drive, Call.OPEN)
        worker.drive = drive

    def open_part(self, actor: Actor, effect: e.OpenPart) -> bool:
        worker, drive = self._held(actor)
        try:
            handle = drive.open(effect.name, True, True)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ELOOP):
                return False
            raise DiskError(Call.OPEN, error.errno or 0) from None
        inode = handle.inode
        try:
            is_ours = call(Call.LOCK, drive.lock, handle)
        except DiskError:
            drive.close(handle)
            raise
        fits = inode.links == 1 and drive.names.get(effect.name) is inode and facts_of(drive, inode) == effect.facts
        if not is_ours or not fits:
            drive.close(handle)
            return False
        worker.part = handle
        worker.part_name = effect.name
        worker.has_lock = True
        return True

    def create_part(self, actor: Actor, effect: e.CreatePart) -> None:
        worker, drive = self._held(actor)
        name = part_name(effect.plot, effect.arrival)
        handle = call(Call.CREATE, drive.create, name)
        worker.part = handle
        worker.part_name = name
        self.world.own_parts.add(self.world.key(drive, handle.inode))
        if not call(Call.LOCK, drive.lock, handle):
            raise e.Stopped(Failure.PART_CHANGED, "somebody else took it")
        worker.has_lock = True
        self._set_attribute(drive, handle, "facts", effect.facts)

    def allocate_part(self, actor: Actor, effect: e.AllocatePart) -> None:
        drive, part = self._part(actor)
        call(Call.ALLOCATE, drive.fallocate, part, effect.size)

    def commit_part(self, actor: Actor, effect: e.CommitPart) -> None:
        drive, part = self._part(actor)
        self._refuse_another_name(actor)
        self._set_attribute(drive, part, "committed", b"1")

    def _set_attribute(self, drive: Drive, part: Handle, name: str, value: PartFacts | bytes) -> None:
        try:
            drive.setxattr(part, name, value)  # type: ignore[arg-type]
        except OSError as error:
            if error.errno != errno.EOPNOTSUPP:
                raise DiskError(Call.XATTR, error.errno or 0) from None

    # ---- Bytes ----------------------------------------------------------------------------------------------

    def sync_part(self, actor: Actor, effect: e.SyncPart) -> None:
        drive, part = self._part(actor)
        call(Call.FSYNC, drive.fsync, part)

    def read_part(self, actor: Actor, effect: e.ReadPart) -> tuple[str, ...]:
        drive, part = self._part(actor)
        content = self._read(drive, part)
        worker = self._worker(actor)
        worker.has_checked = effect.size is not None
        worker.kept = len(content)
        worker.truth = self._truth(drive, part)
        return tuple([hash_of(token) for token in content])

    def truncate_part(self, actor: Actor, effect: e.TruncatePart) -> None:
        drive, part = self._part(actor)
        self._refuse_another_name(actor)
        call(Call.TRUNCATE, drive.truncate, part, effect.segments)

    def trim_part(self, actor: Actor, effect: e.TrimPart) -> int:
        worker, drive = self._held(actor)
        if worker.part is None:
            return 0
        self._refuse_another_name(actor)
        call(Call.TRUNCATE, drive.truncate, worker.part, worker.part.inode.size)
        worker.has_measured = True
        return worker.part.inode.size

    def remove_part(self, actor: Actor, effect: e.RemovePart) -> None:
        worker, drive = self._held(actor)
        if worker.part is not None and self._is_only_name(worker, drive):
            self._unlink(worker, drive)

    def first_hole(self, actor: Actor, effect: e.FirstHole) -> int:
        drive, part = self._part(actor)
        if part.inode.size == 0:
            return 0
        self._worker(actor).has_looked_for_holes = True
        hole: int = call(Call.SEEK, drive.seek_hole, part)
        return hole

    def check_samples(self, actor: Actor, effect: e.CheckSamples) -> bool:
        drive, part = self._part(actor)
        worker = self._worker(actor)
        content = self._read(drive, part)
        worker.has_checked = True
        chosen = [index for index in SAMPLED if worker.resumed <= index < len(worker.written)]
        return all(index < len(content) and content[index] == worker.written[index] for index in chosen)

    def is_mounted(self, actor: Actor, effect: e.IsMounted) -> bool:
        worker, drive = self._held(actor)
        return self.world.mounts[worker.path] is drive

    def pour(self, actor: Actor, effect: e.Pour) -> Any:
        """Write a block that has come; the last one in the page cache, as O_DIRECT cannot write an unaligned tail."""
        session = actor.session
        drive, part = self._part(actor)
        worker = self._worker(actor)
        if not actor.begun:
            self._begin(actor, worker, part, len(effect.resumed))
        if session.data:
            if worker.position >= effect.size:
                raise e.Stopped(Failure.WRONG_HEADER, "more than was offered")
            self._write(drive, part, worker, session.data.popleft())
            return MORE
        if session.waiting[NAS]:
            return self._heard(actor, effect, worker)
        if session.has_left[PLOTTER] or session.is_broken:
            raise e.Stopped(Failure.INTERRUPTED, "the data connection ended early")
        return BLOCKED

    def _heard(self, actor: Actor, effect: e.Pour, worker: Worker) -> Any:
        """Look at what the plotter says while bytes are expected."""
        session = actor.session
        message = session.waiting[NAS].popleft()
        if not isinstance(message, Sent | Lost):
            raise ProtocolError(f"{type(message).__name__} is not to be said now")
        if message.attempt != session.attempt:
            return MORE  # about a connection that is no more
        if isinstance(message, Lost) or worker.position != effect.size:
            raise e.Stopped(Failure.INTERRUPTED, "the data connection ended early")
        tail = [hash_of(token) for token in worker.written[len(effect.resumed) :]]
        return (*effect.resumed, *tail)

    def listen(self, actor: Actor, segments: int, arrival: str) -> None:
        """Say where the plotter is to connect."""
        attempt = actor.session.listen()
        ready = e.Ready(4000, "0" * 32, self._worker(actor).identity, arrival, segments, attempt)
        actor.session.send(PLOTTER, ready)

    def _begin(self, actor: Actor, worker: Worker, part: Handle, position: int) -> None:
        if part.inode.links != 1 or part.inode.size != position:
            raise e.Stopped(Failure.PART_CHANGED, "it has another name, or another size, by now")
        actor.begun = True
        worker.position = position
        worker.resumed = position
        worker.written = [part.inode.disk.get(index, HOLE) for index in range(position)]

    def _write(self, drive: Drive, part: Handle, worker: Worker, token: int) -> None:
        if part.inode.links > 1:
            raise e.Stopped(Failure.PART_CHANGED, "it has another name by now")
        index = worker.position
        is_direct = drive.has_direct and index < BLOCKS - 1
        call(Call.WRITE, drive.write, part, index, token, is_direct)
        if not is_direct and index % 2:
            call(Call.WRITE_BACK, drive.write_back, part)
        worker.position += 1
        worker.written.append(token)

    # ---- Names ----------------------------------------------------------------------------------------------

    def link_part(self, actor: Actor, effect: e.LinkPart) -> e.Naming:
        drive, part = self._part(actor)
        if not self.world.setup.has_links:
            return e.Naming.UNSUPPORTED
        return self._name(actor, lambda: drive.link_open_file(part, effect.plot))

    def rename_part(self, actor: Actor, effect: e.RenamePart) -> e.Naming:
        drive, part = self._part(actor)
        worker = self._worker(actor)
        self._refuse_another_name(actor)
        try:
            drive.rename_noreplace(worker.part_name, effect.plot)
        except OSError as error:
            if error.errno == errno.EEXIST:
                return e.Naming.TAKEN
            raise DiskError(Call.RENAME, error.errno or 0) from None
        self._look(worker, part.inode)
        return e.Naming.NAMED

    def _name(self, actor: Actor, link: Callable[[], None]) -> e.Naming:
        try:
            link()
        except OSError as error:
            if error.errno == errno.EEXIST:
                return e.Naming.TAKEN
            if error.errno == errno.ENOENT:
                raise e.Stopped(Failure.PART_CHANGED, "it has no name any more") from None
            if error.errno == errno.EMLINK:
                return e.Naming.UNSUPPORTED
            raise DiskError(Call.LINK, error.errno or 0) from None
        worker = self._worker(actor)
        worker.has_linked = True
        if worker.part is not None:
            self._look(worker, worker.part.inode)
        return e.Naming.NAMED

    def unlink_part(self, actor: Actor, effect: e.UnlinkPart) -> None:
        worker, drive = self._held(actor)
        self._unlink(worker, drive)

    def _unlink(self, worker: Worker, drive: Drive) -> None:
        part = worker.part
        assert part is not None
        if drive.names.get(worker.part_name) is part.inode:
            self.host.check_own(drive, worker.part_name, part.inode)
        call(Call.UNLINK, drive.unlink_if_same, part, worker.part_name)

    def sync_directory(self, actor: Actor, effect: e.SyncDirectory) -> None:
        _, drive = self._held(actor)
        call(Call.SYNC_DIRECTORY, drive.fsync_directory)
