"""The effects on a source and on the session, as both ends carry them out on the model."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Any

from plotfarm.base.disk_error import Call
from plotfarm.transfer import effects as e
from plotfarm.transfer.messages import Failing, Ready
from plotfarm.transfer.outcomes import Failure
from tests.simulation.actor import Actor, Source
from tests.simulation.disk import Disk
from tests.simulation.filesystem import Drive
from tests.simulation.held import BLOCKED, MORE, call, hash_of
from tests.simulation.session import BUFFERED_BLOCKS, NAS, PLOTTER, OtherEndGone
from tests.simulation.world import Violation, World


def source_call(which: Call, do: Callable[..., Any], *arguments: Any) -> Any:
    """Return what a call on a source returns, its error as SourceError."""
    try:
        return do(*arguments)
    except OSError as error:
        raise e.SourceError(which, error.errno or 0, f"{which.value}: {error.errno}") from None


class SourceEffects:
    """Carries out the effects of a plotter, and those of a session."""

    def __init__(self, world: World, disk: Disk) -> None:
        self.world = world
        self.disk = disk

    # ---- Looking --------------------------------------------------------------------------------------------

    def look_at_source(self, actor: Actor, effect: e.LookAtSource) -> e.SourceLook:
        source = self._source(actor)
        identity = source_call(Call.STAT, actor.identity)
        there = actor.plotter.directory.inode(source.name)
        source.is_marked = source.is_time_set
        return e.SourceLook(identity, there is source.inode, source.inode.links)

    def hash_source(self, actor: Actor, effect: e.HashSource) -> tuple[str, ...]:
        source = self._source(actor)
        count = source.inode.size if effect.segments is None else effect.segments
        tokens = [self._read(source, index) for index in range(count)]
        if effect.segments is None:
            source.hashed = tuple(tokens)
        return tuple([hash_of(token) for token in tokens])

    def _read(self, source: Source, index: int) -> int:
        self.world.reads[-1] += 1
        token = source_call(Call.READ, source.drive.read, source.handle, index)
        if token is None:
            raise e.SourceError(Call.READ, 0, "it is shorter than it was")
        return int(token)

    # ---- Removing -------------------------------------------------------------------------------------------

    def lease_source(self, actor: Actor, effect: e.LeaseSource) -> e.Lease:
        source = self._source(actor)
        if not actor.plotter.directory.has_leases:
            return e.Lease.UNSUPPORTED
        key = self.world.key(source.drive, source.inode)
        if key in self.world.writers:
            return e.Lease.WRITER
        self.world.leases[key] = False
        source.is_leased = True
        return e.Lease.HELD

    def lease_holds(self, actor: Actor, effect: e.LeaseHolds) -> bool:
        source = self._source(actor)
        return not self.world.leases.get(self.world.key(source.drive, source.inode), False)

    def choose_time(self, actor: Actor, effect: e.ChooseTime) -> int:
        return 10**12 + self.world.token() * 1000

    def remember_time(self, actor: Actor, effect: e.RememberTime) -> None:
        actor.plotter.memory.times[self._source(actor).name] = (effect.old, effect.new)

    def forget_time(self, actor: Actor, effect: e.ForgetTime) -> None:
        actor.plotter.memory.times.pop(self._source(actor).name, None)

    def set_source_time(self, actor: Actor, effect: e.SetSourceTime) -> None:
        source = self._source(actor)
        source.is_time_set = True
        source_call(Call.SET_TIME, actor.plotter.directory.set_time, source.name, effect.mtime_ns)

    def unlink_source(self, actor: Actor, effect: e.UnlinkSource) -> bool:
        source = self._source(actor)
        directory = actor.plotter.directory
        if directory.inode(source.name) is not source.inode or actor.identity() != effect.expected:
            return False
        self._check_unlink(actor, source)
        source_call(Call.UNLINK, directory.unlink, source.name)
        return True

    def _check_unlink(self, actor: Actor, source: Source) -> None:
        """Only the very file that was hashed may go, and nothing else with it."""
        for drive, name in actor.plotter.directory.holders(source.name):
            inode = drive.names[name]
            if self.world.key(drive, inode) in self.world.in_pool:
                self.world.foreign.pop(self.world.key(drive, inode), None)
            elif inode is not source.inode:
                raise Violation(4, f"{name} on {drive.uuid} would go with the source")
        key = self.world.key(source.drive, source.inode)
        if source.hashed and source.inode.cached_content() != source.hashed and key not in self.world.rotten:
            raise Violation(4, "the source was changed after it was hashed")
        is_second_name = source.inode.links > 1
        is_excused = all(promise.excuse for promise in self.world.promises)
        if not source.hashed and not is_second_name and not is_excused:
            raise Violation(4, "the source was not hashed")

    def sync_source_directory(self, actor: Actor, effect: e.SyncSourceDirectory) -> None:
        source_call(Call.SYNC_DIRECTORY, actor.plotter.directory.sync)

    # ---- Moves on one host ----------------------------------------------------------------------------------

    def copy(self, actor: Actor, effect: e.Copy) -> Any:
        source = self._source(actor)
        drive, part = self.disk._part(actor)
        worker = self.disk._worker(actor)
        if not actor.begun:
            self.disk._begin(actor, worker, part, 0)
        if worker.position < effect.size:
            self.disk._write(drive, part, worker, self._read(source, worker.position))
            return MORE
        source.hashed = tuple(worker.written)
        return tuple([hash_of(token) for token in worker.written])

    def link_source(self, actor: Actor, effect: e.LinkSource) -> e.Naming:
        source = self._source(actor)
        _, drive = self.disk._held(actor)
        is_one_file_system = source.drive is drive and actor.plotter.directory.device is None
        if not is_one_file_system or not self.world.setup.has_links:
            return e.Naming.UNSUPPORTED
        return self.disk._name(actor, lambda: drive.link_open_file(source.handle, effect.plot))

    def compare_source(self, actor: Actor, effect: e.CompareSource) -> e.SourcePlace:
        source = self._source(actor)
        worker, drive = self.disk._held(actor)
        directory = actor.plotter.directory
        if directory.device is None and directory.branches[0] == (drive, ""):
            return e.SourcePlace.IN_DIRECTORY
        if worker.stored is not None and directory.device is None and worker.stored.inode is source.inode:
            worker.is_second_name = True
            return e.SourcePlace.SAME_FILE
        return e.SourcePlace.ELSEWHERE

    # ---- The session ----------------------------------------------------------------------------------------

    def send(self, actor: Actor, effect: e.Send) -> None:
        if type(effect.message).__name__ in ("Partial", "Have"):
            self._check_word(actor, effect.message)
        actor.session.send(1 - actor.end, effect.message)

    def _check_word(self, actor: Actor, message: Any) -> None:
        """What the NAS says of bytes must be what was read from it in this very journey."""
        worker = self.disk._worker(actor)
        read = None if worker.truth is None else tuple([hash_of(token) for token in worker.truth])
        if message.segments != read:
            raise Violation(9, f"{type(message).__name__} of {message.segments}, and read from the drive was {read}")

    def receive(self, actor: Actor, effect: e.Receive) -> Any:
        if not actor.session.has_news(actor.end):
            return BLOCKED
        return actor.session.receive(actor.end, effect.kinds)

    def connect(self, actor: Actor, effect: e.Connect) -> Any:
        session = actor.session
        if not actor.begun:
            self.disk.listen(actor, effect.segments, effect.arrival)
            actor.begun = True
            return MORE
        if session.has_begun:
            return session.attempt
        if session.waiting[NAS]:
            message = session.waiting[NAS].popleft()
            if type(message).__name__ != "Lost":
                raise e.Stopped(Failure.NOT_CONNECTED, "the plotter says something else")
            self.disk.listen(actor, effect.segments, effect.arrival)
            return MORE
        if session.has_left[PLOTTER]:
            raise OtherEndGone("the plotter is gone")
        return BLOCKED

    def pour_source(self, actor: Actor, effect: e.PourSource) -> Any:
        session = actor.session
        if not actor.begun:
            actor.begun = True
            if effect.ready.attempt != session.attempt or session.is_broken or not session.is_listening:
                return e.NotSent("refused")
            session.has_begun = True
            actor.position = len(effect.resumed)
            actor.tokens = []
            return MORE
        heard = self._heard(actor)
        if heard is not None:
            return heard
        if session.has_left[NAS]:
            raise OtherEndGone("the NAS is gone")
        if session.is_broken:
            return e.NotSent("ended early")
        if actor.position < effect.size:
            if len(session.data) >= BUFFERED_BLOCKS:
                return BLOCKED
            token = self._read(self._source(actor), actor.position)
            session.data.append(session.flipped or token)
            session.flipped = 0
            actor.tokens.append(token)
            actor.position += 1
            return MORE
        hashes = tuple([hash_of(token) for token in actor.tokens])
        self._source(actor).hashed = (*[int(each, 16) for each in effect.resumed], *actor.tokens)
        return e.SentAll(effect.resumed + hashes)

    def _heard(self, actor: Actor) -> e.NotSent | None:
        """Look at what the NAS says while bytes travel."""
        waiting = actor.session.waiting[PLOTTER]
        if not waiting:
            return None
        message = waiting[0]
        if isinstance(message, Failing | Ready):
            waiting.popleft()
            return e.NotSent("", message)
        return None

    def _source(self, actor: Actor) -> Source:
        source = actor.source
        assert source is not None
        if source.is_stale:
            raise e.SourceError(Call.STAT, errno.ESTALE, "the drive is gone")
        return source


__all__ = ["BLOCKED", "MORE", "Drive", "SourceEffects", "call"]
