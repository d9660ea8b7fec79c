"""Everything that can go wrong before, in or after an effect, by name, and before which effects it can.

What a fault does is in killing.py, harm.py and deeds.py: functions of the simulation and the actor whose effect comes
next. They return an exception to throw in place of the effect, or None to go on.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Any, NamedTuple

from plotfarm.base.disk_error import Call
from plotfarm.transfer import effects as e
from plotfarm.transfer.outcomes import Failure
from tests.simulation import harm, killing
from tests.simulation.actor import Actor
from tests.simulation.deeds import PART_DEEDS, STORED_DEEDS, Deed, another_plot
from tests.simulation.excuses import find_part
from tests.simulation.killing import Apply
from tests.simulation.runner import Simulation
from tests.simulation.session import NAS, PLOTTER
from tests.simulation.setup import BLOCKS, PLOT
from tests.simulation.source_deeds import SOURCE_DEEDS

Applies = Callable[[Simulation, Actor, type], bool]


class Fault(NamedTuple):
    """One thing that can go wrong."""

    name: str
    applies: Applies
    apply: Apply


_ERRORS: dict[type[e.Effect[Any]], tuple[tuple[Call, int], ...]] = {
    e.OpenPart: ((Call.OPEN, errno.EIO), (Call.LOCK, errno.EIO)),
    e.CreatePart: (
        (Call.CREATE, errno.EIO),
        (Call.CREATE, errno.ENOSPC),
        (Call.CREATE, errno.EDQUOT),
        (Call.CREATE, errno.EROFS),
        (Call.LOCK, errno.EIO),
        (Call.XATTR, errno.ENOSPC),
        (Call.XATTR, errno.EIO),
    ),
    e.AllocatePart: ((Call.ALLOCATE, errno.ENOSPC), (Call.ALLOCATE, errno.EDQUOT), (Call.ALLOCATE, errno.EIO)),
    e.SyncPart: (
        (Call.FSYNC, errno.EIO),
        (Call.FSYNC, errno.ENOSPC),
        (Call.FSYNC, errno.EDQUOT),
        (Call.WRITE_BACK, errno.EIO),
        (Call.WRITE_BACK, errno.ENOSPC),
    ),
    e.ReadPart: ((Call.READ, errno.EIO),),
    e.TruncatePart: ((Call.TRUNCATE, errno.EIO), (Call.TRUNCATE, errno.EROFS)),
    e.TrimPart: ((Call.TRUNCATE, errno.EIO), (Call.TRUNCATE, errno.EROFS)),
    e.RemovePart: ((Call.UNLINK, errno.EIO), (Call.UNLINK, errno.EROFS)),
    e.CommitPart: ((Call.XATTR, errno.EIO), (Call.XATTR, errno.ENOSPC)),
    e.FirstHole: ((Call.SEEK, errno.EIO),),
    e.CheckSamples: ((Call.READ, errno.EIO),),
    e.LinkPart: ((Call.LINK, errno.EIO), (Call.LINK, errno.ENOSPC), (Call.LINK, errno.EMLINK)),
    e.RenamePart: ((Call.RENAME, errno.EIO), (Call.RENAME, errno.ENOSPC)),
    e.UnlinkPart: ((Call.UNLINK, errno.EIO), (Call.UNLINK, errno.EROFS)),
    e.SyncDirectory: ((Call.SYNC_DIRECTORY, errno.EIO), (Call.SYNC_DIRECTORY, errno.ENOSPC)),
    e.OpenStored: ((Call.OPEN, errno.EIO), (Call.OPEN, errno.EACCES)),
    e.SyncStored: ((Call.FSYNC, errno.EIO), (Call.FSYNC, errno.ENOSPC)),
    e.ReadStored: ((Call.READ, errno.EIO),),
    e.LookAtStored: ((Call.OPEN, errno.EIO),),
    e.Pour: (
        (Call.WRITE, errno.EIO),
        (Call.WRITE, errno.ENOSPC),
        (Call.WRITE, errno.EDQUOT),
        (Call.WRITE_BACK, errno.EIO),
        (Call.WRITE_BACK, errno.ENOSPC),
    ),
    e.Copy: (
        (Call.WRITE, errno.EIO),
        (Call.WRITE, errno.ENOSPC),
        (Call.WRITE_BACK, errno.EIO),
    ),
    e.LinkSource: ((Call.LINK, errno.EIO), (Call.LINK, errno.EMLINK)),
}
_SOURCE_ERRORS: dict[type[e.Effect[Any]], tuple[tuple[Call, int], ...]] = {
    e.LookAtSource: ((Call.STAT, errno.EIO),),
    e.HashSource: ((Call.READ, errno.EIO),),
    e.PourSource: ((Call.READ, errno.EIO),),
    e.Copy: ((Call.READ, errno.EIO),),
    e.LeaseSource: ((Call.LOCK, errno.EIO),),
    e.RememberTime: ((Call.WRITE, errno.EIO),),
    e.ForgetTime: ((Call.WRITE, errno.EIO),),
    e.SetSourceTime: ((Call.SET_TIME, errno.EPERM), (Call.SET_TIME, errno.EIO), (Call.SET_TIME, errno.EROFS)),
    e.UnlinkSource: ((Call.UNLINK, errno.EACCES), (Call.UNLINK, errno.EIO), (Call.UNLINK, errno.EROFS)),
    e.SyncSourceDirectory: ((Call.SYNC_DIRECTORY, errno.EIO),),
}
_LATE = (Call.LINK, Call.RENAME, Call.UNLINK, Call.XATTR, Call.TRUNCATE, Call.SET_TIME, Call.CREATE)
_POUR_STOPS = (Failure.STALLED, Failure.TOO_SLOW, Failure.YIELDED, Failure.WRONG_HEADER, Failure.INTERRUPTED)
POWER_CHOICES = (0, -1, 1, 2, 3, 5, 6)


def _is(*kinds: type[e.Effect[Any]]) -> Applies:
    return lambda sim, actor, kind: kind in kinds


def _is_disk(sim: Simulation, actor: Actor, kind: type) -> bool:
    return issubclass(kind, e.DiskEffect)


def _is_source(sim: Simulation, actor: Actor, kind: type) -> bool:
    return issubclass(kind, e.SourceEffect)


def _always(sim: Simulation, actor: Actor, kind: type) -> bool:
    return True


def _at_nas(sim: Simulation, actor: Actor, kind: type) -> bool:
    return actor.end == NAS or sim.world.setup.is_move


def _holds_drive(sim: Simulation, actor: Actor, kind: type) -> bool:
    return actor.worker is not None and actor.worker.drive is not None


def _process_faults() -> list[Fault]:
    faults = [
        Fault("kill", _always, killing.kill_own),
        Fault("kill the other end", _always, killing.kill_other),
        Fault("kill both", _always, killing.kill_both),
        Fault("kill, effect done", _is_disk, killing.kill_and_finish),
        Fault("kill, effect done 4 steps later", _is_disk, killing.finish_later(0, 4, is_killed=True)),
        Fault("kill, effect done in the next run", _is_disk, killing.finish_later(1, 8, is_killed=True)),
        Fault("kill, effect done two runs later", _is_disk, killing.finish_later(2, 30, is_killed=True)),
        Fault("hang 3 steps", _is_disk, killing.finish_later(0, 3, is_killed=False)),
        Fault("hang to the next run", _is_disk, killing.finish_later(1, 5, is_killed=False)),
        Fault("hang two runs", _is_disk, killing.finish_later(2, 40, is_killed=False)),
        Fault("kill the worker", _is_disk, killing.kill_worker(is_done=False)),
        Fault("kill the worker, effect done", _is_disk, killing.kill_worker(is_done=True)),
    ]
    for choice in POWER_CHOICES:
        faults.append(Fault(f"power cut at the NAS, {choice}", _always, killing.power(True, False, choice)))
    for choice in (0, -1):
        faults.append(Fault(f"power cut at the plotter, {choice}", _always, killing.power(False, True, choice)))
        faults.append(Fault(f"power cut at both, {choice}", _always, killing.power(True, True, choice)))
    return faults


def _wire_faults() -> list[Fault]:
    faults = [
        Fault("message lost", _is(e.Send, e.Connect), harm.lose),
        Fault("session cut", _is(e.Send, e.Receive, e.Connect, e.Pour, e.PourSource), harm.close),
        Fault("message repeated", _is(e.Send), harm.repeat),
        Fault("message delayed", _is(e.Receive), harm.delay),
        Fault("bit flipped", _is(e.PourSource), harm.flip),
        Fault("data connection cut", _is(e.PourSource, e.Pour), harm.break_data),
        Fault("data connection refused", _is(e.PourSource), harm.refuse_data),
        Fault("stranger connects", lambda s, a, kind: kind is e.Connect and a.session.has_begun, harm.stranger),
        Fault("no port", _is(e.Connect), harm.stopped(Failure.NO_PORT)),
        Fault("not connected", _is(e.Connect), harm.stopped(Failure.NOT_CONNECTED)),
    ]
    faults += [Fault(failure.value, _is(e.Pour), harm.stopped(failure)) for failure in _POUR_STOPS]
    return faults


def _drive_faults() -> list[Fault]:
    faults = [Fault("open: EIO", _is(e.OpenDrive), harm.open_drive_error)]
    seen: dict[tuple[Call, int, bool], list[type[e.Effect[Any]]]] = {}
    for kind, calls in _ERRORS.items():
        for call, number in calls:
            for is_done in (False, True) if call in _LATE and number == errno.EIO else (False,):
                seen.setdefault((call, number, is_done), []).append(kind)
    for (call, number, is_done), kinds in seen.items():
        name = f"{call.value}: {errno.errorcode[number]}" + (", done" if is_done else "")
        faults.append(Fault(name, _is(*kinds), harm.error(call, number, is_done, at_source=False)))
    for kind, calls in _SOURCE_ERRORS.items():
        for call, number in calls:
            name = f"source {kind.__name__} {call.value}: {errno.errorcode[number]}"
            faults.append(Fault(name, _is(kind), harm.source_error(call, number)))
            if call in _LATE:
                faults.append(Fault(f"{name}, done", _is(kind), harm.error(call, number, True, at_source=True)))
    faults += [
        Fault("read-only", lambda s, a, kind: _holds_drive(s, a, kind) and _at_nas(s, a, kind), harm.read_only),
        Fault("source read-only", _is_source, harm.source_read_only),
        Fault("unmounted", lambda s, a, kind: a.worker is not None, harm.unmount),
        Fault("other drive mounted", lambda s, a, kind: a.worker is not None, harm.swap),
        Fault("room taken", lambda s, a, kind: _holds_drive(s, a, kind), harm.take_room),
        Fault("wrong write", _is(e.Pour, e.Send, e.Copy, e.SyncPart), harm.wrong_write),
        Fault("part rots", lambda s, a, kind: _has_part(s), harm.rotting("part")),
        Fault("stored plot rots", lambda s, a, kind: _has_stored(s), harm.rotting("stored")),
        Fault("source rots", lambda s, a, kind: a.source is not None, harm.rotting("source")),
    ]
    return faults


def _host_faults() -> list[Fault]:
    return [
        Fault("database gone", _at_nas, harm.lose_memory(is_old=False)),
        Fault("database old", _at_nas, harm.lose_memory(is_old=True)),
        Fault("plotter's database gone", lambda s, a, kind: a.end == PLOTTER, harm.lose_plotter_memory),
        Fault("lock torn", _at_nas, harm.tear_lock),
        Fault("clock forward", _always, harm.clock(10**9)),
        Fault("clock back", _always, harm.clock(-900)),
        Fault("coarse clock", _always, harm.coarse_clock),
        Fault("second checkout cleans up", _at_nas, harm.second_checkout),
    ]


def _has_part(sim: Simulation) -> bool:
    return find_part(sim) is not None


def _has_stored(sim: Simulation) -> bool:
    return any(PLOT in drive.names for drive in sim.world.nas_drives)


def _deed_faults() -> list[Fault]:
    faults = []
    for deed in PART_DEEDS:
        faults.append(_deed("part", deed, lambda s, a, kind: _has_part(s)))
    for deed in STORED_DEEDS:
        faults.append(_deed("stored", deed, lambda s, a, kind: _has_stored(s)))
    for deed in SOURCE_DEEDS:
        faults.append(_deed("source", deed, lambda s, a, kind: a.source is not None))
    for size in (BLOCKS, BLOCKS - 1):
        for place in (0, 1):
            faults.append(
                Fault(f"another plot of {size} blocks appears on drive {place + 1}", _at_nas, another_plot(place, size))
            )
    return faults


def _deed(what: str, deed: Deed, applies: Applies) -> Fault:
    return Fault(f"{deed.name} {what}", applies, deed.apply)


def all_faults() -> list[Fault]:
    """Return every fault there is."""
    return _process_faults() + _wire_faults() + _drive_faults() + _host_faults() + _deed_faults()
