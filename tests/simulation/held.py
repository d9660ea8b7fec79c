"""What a drive's worker holds on the model: the drive, its part, the stored plot; and the effects on the last."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Any

from plotfarm.base.disk_error import Call, DiskError
from plotfarm.transfer import effects as e
from plotfarm.transfer.outcomes import Failure
from tests.simulation.actor import Actor
from tests.simulation.filesystem import Drive, Handle
from tests.simulation.host import Host
from tests.simulation.hosts import Worker
from tests.simulation.inodes import HOLE, Inode
from tests.simulation.world import Violation, World

BLOCKED: Any = object()  # nothing can be done before another end does something
MORE: Any = object()  # one step was done, others follow


def call(which: Call, do: Callable[..., Any], *arguments: Any) -> Any:
    """Return what a call on a drive returns, its error as DiskError."""
    try:
        return do(*arguments)
    except OSError as error:
        raise DiskError(which, error.errno or 0) from None


def hash_of(token: int | None) -> str:
    """Return the hash of a segment of one block."""
    return f"{token or 0:x}"


class Held:
    """Carries out the effects on a stored plot."""

    def __init__(self, world: World, host: Host) -> None:
        self.world = world
        self.host = host

    def _refuse_another_name(self, actor: Actor) -> None:
        worker, drive = self._held(actor)
        if not self._is_only_name(worker, drive):
            raise e.Stopped(Failure.PART_CHANGED, "it was moved, removed, or has a second name")

    @staticmethod
    def _is_only_name(worker: Worker, drive: Drive) -> bool:
        part = worker.part
        return part is not None and part.inode.links == 1 and drive.names.get(worker.part_name) is part.inode

    # ---- Inside ---------------------------------------------------------------------------------------------

    def _read(self, drive: Drive, handle: Handle) -> list[int]:
        if not drive.has_direct:
            handle.inode.drop_clean_pages()
        count = handle.inode.size
        return [call(Call.READ, drive.read, handle, index, drive.has_direct) or HOLE for index in range(count)]

    @staticmethod
    def _truth(drive: Drive, handle: Handle) -> tuple[int, ...]:
        """Return what a file has where it was read: on the drive, or in the cache where nothing gets past that."""
        return handle.inode.disk_content() if drive.has_direct else handle.inode.cached_content()

    def _worker(self, actor: Actor) -> Worker:
        assert actor.worker is not None
        return actor.worker

    def _held(self, actor: Actor) -> tuple[Worker, Drive]:
        worker = self._worker(actor)
        if worker.drive is None:
            raise e.Stopped(Failure.UNMOUNTED, "no drive is held")
        return worker, worker.drive

    def _part(self, actor: Actor) -> tuple[Drive, Handle]:
        worker, drive = self._held(actor)
        if worker.part is None:
            raise Violation(8, "a part is to be changed that is not held")
        return drive, worker.part

    @staticmethod
    def _injected(drive: Drive, which: Call) -> None:
        if which in drive.faults:
            raise DiskError(which, drive.faults.pop(which)[0])

    # ---- A stored plot --------------------------------------------------------------------------------------

    def open_stored(self, actor: Actor, effect: e.OpenStored) -> e.Fit:
        worker, drive = self._held(actor)
        try:
            handle = drive.open(effect.plot)
        except OSError as error:
            if error.errno == errno.ENOENT:
                return e.Fit.GONE
            if error.errno == errno.ELOOP:
                return e.Fit.OTHER
            raise DiskError(Call.OPEN, error.errno or 0) from None
        if worker.stored is not None:
            drive.close(worker.stored)
        worker.stored = handle
        self._look(worker, handle.inode)
        return e.Fit.SAME_SIZE if handle.inode.size == effect.size else e.Fit.OTHER

    def sync_stored(self, actor: Actor, effect: e.SyncStored) -> None:
        worker, drive = self._held(actor)
        assert worker.stored is not None
        call(Call.FSYNC, drive.fsync, worker.stored)

    def read_stored(self, actor: Actor, effect: e.ReadStored) -> tuple[str, ...]:
        worker, drive = self._held(actor)
        assert worker.stored is not None
        content = self._read(drive, worker.stored)
        worker.truth = self._truth(drive, worker.stored)
        return tuple([hash_of(token) for token in content])

    def look_at_stored(self, actor: Actor, effect: e.LookAtStored) -> e.StoredLook:
        worker, drive = self._held(actor)
        handle = call(Call.OPEN, drive.open, effect.plot)
        look = e.StoredLook(handle.inode.size, handle.inode.mtime)
        drive.close(handle)
        self.check_stored(worker, handle.inode)
        actor.session.looks += 1
        worker.is_known = True
        return look

    def check_stored(self, worker: Worker, inode: Inode) -> None:
        """Stop if what has the plot's name is not the file that was published or read here."""
        if worker.seen is None or worker.seen[0] is not inode:
            raise e.Stopped(Failure.PART_CHANGED, "another file has the name now")

    def _look(self, worker: Worker, inode: Inode) -> None:
        worker.seen = (inode, inode.size, inode.mtime)
