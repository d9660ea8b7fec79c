"""What must hold after every step, and at the end, in the model's own terms: nothing here uses the product.

Exceptions, each of them set by the fault that makes it (see faults.py), never by a journey:

* A person's deed, or rot, on the only copy of a plot ends its promise (`Promise.excuse`).
* A file whose bytes a person or the drive changed where the chosen `verify` does not look counts as whole (`excused`).
* A part that a person cuts or extends after the last look at its size may get the plot's name as it is; it does not
  count as whole, so the source has to stay (`tolerated`). Parts that a person copied or moved away, or that a
  power cut brought back, count for no quota: when room is granted nobody sees them (`uncounted`).
* Two changes within one tick of the clock have one time: what is written in the tick of the last look is not seen.
* A time that was given back may be odd again after a power cut, or if the database that remembered it is gone.
* What comes under the plot's name into another branch of a pool while the source is removed goes with it (`in_pool`):
  that is how the pool removes.
* A source without a lease (NFS, FUSE) that is written in the instant in which its time is set may go (`rotten`).
* A plot may be stored twice if what its NAS remembers was lost (`doubles`), or if a person gave it two names.
"""

from __future__ import annotations

from tests.simulation.filesystem import Drive
from tests.simulation.host import Host, facts_of
from tests.simulation.hosts import Promise
from tests.simulation.inodes import Inode
from tests.simulation.setup import Alias
from tests.simulation.world import Violation, World

_ODD_TIME = 10**12
_SHARED = (Alias.SAME, Alias.POOL, Alias.NFS)


def is_final(name: str) -> bool:
    """Tell whether a name on a drive of the NAS is that of a finished plot."""
    return name.endswith(".plot") and "/" not in name


def is_safe(world: World, promise: Promise) -> bool:
    """Tell whether a plot is whole under one of its names, whatever a power cut would leave now."""
    for drive in world.drives:
        for name, inode in drive.durable_names.items():
            if name.rpartition("/")[2] not in promise.names:
                continue
            if (drive.uuid, inode.generation) in world.excused:
                if drive.names.get(name) is inode:
                    return True
            elif drive.is_sure(name, promise.content):
                return True
    return False


def check(world: World, host: Host) -> None:
    """Raise a Violation if something does not hold now."""
    for promise in world.promises:
        if not promise.excuse and not is_safe(world, promise):
            raise Violation(1, f"plot {promise.content} is neither at its source nor under its name")
    seen = set()
    for drive in world.drives[1:3]:
        for name, inode in drive.names.items():
            seen.add((drive.uuid, inode.generation))
            if is_final(name):
                _check_final(world, drive, name, inode)
        for change in drive.pending:
            for name, changed in change:
                if changed is not None and is_final(name):
                    _check_final(world, drive, name, changed)
    for key, content in world.foreign.items():
        if key not in seen:
            raise Violation(6, f"a foreign file {content} on {key[0]} is gone")
    held = [id(worker.part.inode) for worker in world.workers if worker.part is not None and not worker.is_dead]
    if len(held) != len(set(held)):
        raise Violation(8, "two hold one part")
    for plotter in world.plotters:
        if _held(world, plotter.name) > world.setup.quota:
            raise Violation(7, f"{plotter.name} holds more than its quota")


def _check_final(world: World, drive: Drive, name: str, inode: Inode) -> None:
    """A finished plot has the bytes of a plot of that name, in the cache and on the drive, also after a power cut."""
    key = (drive.uuid, inode.generation)
    if key in world.excused or key in world.tolerated:
        return
    content = inode.durable_content()
    if key in world.foreign:
        is_right = content == world.foreign[key]
    else:
        is_right = any(name in each.names and content == each.content for each in world.promises)
    if not is_right or inode.cached_content() != content or not inode.is_durable():
        raise Violation(2, f"{name} on {drive.uuid} has {inode.cached_content()}, durable {content}")


def _held(world: World, plotter: str) -> int:
    blocks = 0
    for drive in world.nas_drives:
        for name, inode in drive.names.items():
            if name.endswith(".part"):
                facts = facts_of(drive, inode)
                if facts is not None and facts.plotter == plotter and world.key(drive, inode) not in world.uncounted:
                    blocks += inode.allocated.bit_count()
    return blocks


# ---- The end ------------------------------------------------------------------------------------------------


def check_end(world: World) -> None:
    """Raise a Violation if, long after the last fault, something is left that a later run should have settled."""
    for promise in world.promises:
        if not promise.excuse:
            _check_delivered(world, promise)
    for drive in world.nas_drives:
        for name, inode in drive.names.items():
            key = (drive.uuid, inode.generation)
            if name.endswith(".part") and key in world.own_parts and not _may_stay(world, inode):
                raise Violation(3, f"the part {name} is left on {drive.uuid}")
    for drive in world.drives:
        for name, inode in drive.names.items():
            if inode.locked_by is not None or inode.holders:
                raise Violation(3, f"{name} on {drive.uuid} is still held")
            is_plot = name.endswith(".plot")  # another name that a person gave to a source keeps the time
            if inode.mtime >= _ODD_TIME and is_plot and not world.doubles & {"times", "moved", "memory"}:
                raise Violation(3, f"{name} on {drive.uuid} has an odd time")
    if world.workers:
        raise Violation(3, "a drive is still reserved")


def _may_stay(world: World, inode: Inode) -> bool:
    """What both ends agreed on never goes by age; a person has to say what becomes of it if its plot is gone."""
    return "committed" in inode.attributes or inode.links > 1


def _check_delivered(world: World, promise: Promise) -> None:
    stored = 0
    is_excused = False
    for drive in world.nas_drives:
        for name, inode in drive.names.items():
            if is_final(name) and name in promise.names:
                stored += inode.durable_content() == promise.content
                is_excused |= (drive.uuid, inode.generation) in world.excused
    left = [
        name
        for plotter in world.plotters
        for name in plotter.directory.names()
        if name in promise.names and _content(plotter.directory.inode(name)) == promise.content
    ]
    if world.setup.alias in _SHARED:
        return
    is_hard = world.setup.alias is Alias.POOL_SSD or world.setup.second_plotter  # for an owner to sort out
    if is_hard and _is_told(world, promise):
        return
    if world.setup.keep_source and left and _is_disturbed(world, promise):
        return
    if stored == 0 and not is_excused:
        raise Violation(3, f"plot {promise.content} never arrived")
    if stored > 1 and not world.doubles:
        raise Violation(3, f"plot {promise.content} is stored {stored} times")
    if left and not world.setup.keep_source and not _is_told(world, promise):
        raise Violation(3, f"the source of {promise.content} is left, and nobody is told")


def _is_disturbed(world: World, promise: Promise) -> bool:
    return bool(world.tolerated) or world.is_taken or promise is not world.promises[0]


def _is_told(world: World, promise: Promise) -> bool:
    return any(name in plotter.memory.set_aside for plotter in world.plotters for name in promise.names)


def _content(inode: Inode | None) -> tuple[int, ...]:
    return () if inode is None else inode.cached_content()
