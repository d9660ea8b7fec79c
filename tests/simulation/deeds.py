"""What people do to parts, stored plots and sources at any moment, and rot; and which promise ends with it.

A deed that destroys the only copy of a plot ends its promise. One that changes bytes where the chosen `verify` has
nothing more to look at makes the file count as whole: nobody can promise more. All others must do no harm.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import NamedTuple

from tests.simulation.actor import Actor
from tests.simulation.excuses import (
    after_last_look,
    change_stored,
    excuse_block,
    excuse_stored,
    find_part,
    find_source,
    find_stored,
    promise_source,
    settle,
    tolerate,
    worker_of,
)
from tests.simulation.filesystem import Drive
from tests.simulation.hosts import Promise
from tests.simulation.inodes import Inode
from tests.simulation.runner import Simulation
from tests.simulation.setup import BLOCKS, PLOT, SAMPLED, Alias

Act = Callable[[Simulation, Drive, str, Inode], None]
FOREIGN_CONTENT = (71, 72, 73, 74, 75, 76)
THIRD_CONTENT = (61, 62, 63, 64, 65, 66)


class Deed(NamedTuple):
    """Something that a person does, by the name of the command."""

    name: str
    apply: Callable[[Simulation, Actor], None]


# ---- Acts -----------------------------------------------------------------------------------------------------


def write(drive: Drive, name: str, index: int, token: int) -> None:
    handle = drive.open(name, is_writable=True)
    drive.write(handle, index, token)
    drive.close(handle)


def truncate(drive: Drive, name: str, size: int) -> None:
    handle = drive.open(name, is_writable=True)
    drive.truncate(handle, size)
    drive.close(handle)


def create(drive: Drive, name: str, content: tuple[int, ...]) -> Inode:
    handle = drive.create(name)
    for index, token in enumerate(content):
        drive.write(handle, index, token)
    drive.fsync(handle)
    drive.close(handle)
    return handle.inode


def rm(sim: Simulation, drive: Drive, name: str, inode: Inode) -> None:
    drive.unlink(name)


def _mv(sim: Simulation, drive: Drive, name: str, inode: Inode) -> None:
    drive.rename(name, "elsewhere.bin")
    sim.world.uncounted.add(sim.world.key(drive, inode))  # a power cut brings it back, when another has taken its place


def _mv_to_final(sim: Simulation, drive: Drive, name: str, inode: Inode) -> None:
    sim.world.tolerated.add(sim.world.key(drive, inode))  # a person named it, whatever it holds
    sim.world.doubles.add("named by a person")
    if PLOT not in drive.names:
        drive.rename(name, PLOT)


def _ln_to_final(sim: Simulation, drive: Drive, name: str, inode: Inode) -> None:
    sim.world.tolerated.add(sim.world.key(drive, inode))
    sim.world.doubles.add("named by a person")
    if PLOT not in drive.names:
        drive.link(name, PLOT)


def _truncate_to(size: int) -> Act:
    def act(sim: Simulation, drive: Drive, name: str, inode: Inode) -> None:
        truncate(drive, name, min(size, inode.size))
        tolerate(sim, drive, inode, is_longer=False)

    return act


def _extend(sim: Simulation, drive: Drive, name: str, inode: Inode) -> None:
    truncate(drive, name, inode.size + 1)
    tolerate(sim, drive, inode, is_longer=True)


def _dd_part(index: int) -> Act:
    def act(sim: Simulation, drive: Drive, name: str, inode: Inode) -> None:
        if index < inode.size:
            write(drive, name, index, sim.world.token())
            excuse_block(sim, worker_of(sim, inode), index)

    return act


def _replace_part(sim: Simulation, drive: Drive, name: str, inode: Inode) -> None:
    drive.unlink(name)
    if drive.free >= BLOCKS:
        made = create(drive, name, FOREIGN_CONTENT)
        made.attributes = inode.attributes  # cp -a
        sim.world.own_parts.add(sim.world.key(drive, made))
        sim.world.uncounted.add(sim.world.key(drive, made))


def _part_deed(name: str, act: Act) -> Deed:
    def apply(sim: Simulation, actor: Actor) -> None:
        found = find_part(sim)
        if found is None or found[0].is_read_only:
            return
        try_to(lambda: act(sim, *found))
        _after(sim, name, *found)

    return Deed(name, apply)


def _after(sim: Simulation, deed: str, drive: Drive, name: str, inode: Inode) -> None:
    """A part that has the plot's name already is the stored plot."""
    world = sim.world
    if drive.names.get(PLOT) is inode and inode.cached_content() not in [each.content for each in world.promises]:
        world.tolerated.add(world.key(drive, inode))
        world.is_taken = True
        after_last_look(sim)
        settle(sim, f"{deed} of the stored plot")


def try_to(act: Callable[[], None]) -> None:
    with contextlib.suppress(OSError):  # no room for that
        act()


PART_DEEDS = [
    _part_deed("rm", rm),
    _part_deed("mv", _mv),
    _part_deed("mv to the plot's name", _mv_to_final),
    _part_deed("ln to the plot's name", _ln_to_final),
    _part_deed("truncate -s 0", _truncate_to(0)),
    _part_deed("truncate to 2", _truncate_to(2)),
    _part_deed("extend", _extend),
    _part_deed("dd 0", _dd_part(0)),
    _part_deed("dd sampled", _dd_part(SAMPLED[0])),
    _part_deed("cp -a over", _replace_part),
]


# ---- Stored plots ---------------------------------------------------------------------------------------------


def _stored_deed(name: str, act: Act) -> Deed:
    def apply(sim: Simulation, actor: Actor) -> None:
        found = find_stored(sim)
        if found is None or found[0].is_read_only:
            return
        drive, _, inode = found
        if sim.world.foreign.pop(sim.world.key(drive, inode), None) is not None:
            sim.world.tolerated.add(sim.world.key(drive, inode))  # it may come back after a power cut
        try_to(lambda: act(sim, *found))
        sim.world.is_taken = True
        sim.world.doubles.add("taken")  # a power cut may undo it
        after_last_look(sim)
        settle(sim, f"{name} of the stored plot")
        for plotter in sim.world.plotters:
            shown = plotter.directory.inode(PLOT)
            if shown is not None and drive.names.get(PLOT) is shown:
                promise_source(sim, drive, PLOT, shown)
        if sim.world.setup.keep_source:
            sim.world.promises[0].excuse = "a person keeps the source, and took the stored plot away"

    return Deed(name, apply)


def _dd_stored(sim: Simulation, drive: Drive, name: str, inode: Inode) -> None:
    if inode.size:
        write(drive, name, 0, sim.world.token())
    change_stored(sim, drive, inode)


def _truncate_stored(sim: Simulation, drive: Drive, name: str, inode: Inode) -> None:
    truncate(drive, name, min(3, inode.size))
    sim.world.tolerated.add(sim.world.key(drive, inode))


def _replace_stored(sim: Simulation, drive: Drive, name: str, inode: Inode) -> None:
    drive.unlink(name)
    if drive.free < BLOCKS:
        return
    made = create(drive, name, FOREIGN_CONTENT)
    drive.fsync_directory()
    if not any(plotter.directory.inode(name) is made for plotter in sim.world.plotters):
        sim.world.foreign[sim.world.key(drive, made)] = FOREIGN_CONTENT


STORED_DEEDS = [
    _stored_deed("rm", rm),
    _stored_deed("mv", _mv),
    _stored_deed("mv another over", _replace_stored),
    _stored_deed("dd", _dd_stored),
    _stored_deed("truncate", _truncate_stored),
]


def another_plot(place: int, size: int) -> Callable[[Simulation, Actor], None]:
    """Let a person copy another plot of the name to a drive of the NAS."""

    def apply(sim: Simulation, actor: Actor) -> None:
        drive = sim.world.nas_drives[place]
        if PLOT in drive.names or drive.free < size or drive.is_read_only:
            return
        made = create(drive, PLOT, FOREIGN_CONTENT[:size])
        key = sim.world.key(drive, made)
        sim.world.foreign[key] = FOREIGN_CONTENT[:size]
        if sim.world.setup.alias is Alias.POOL_SSD:
            sim.world.in_pool.add(key)

    return apply


# ---- Rot ------------------------------------------------------------------------------------------------------


def rot(sim: Simulation, actor: Actor, which: str) -> None:
    """Let the second block of a part, the stored plot or the source rot on its drive."""
    index = SAMPLED[0]
    found = {"part": find_part, "stored": find_stored}[which](sim) if which != "source" else find_source(actor)
    if found is None or index >= found[2].size:
        return
    drive, full, inode = found
    name = full.rpartition("/")[2]
    token = sim.world.token()
    if sim.world.foreign.pop(sim.world.key(drive, inode), None) is not None:
        sim.world.tolerated.add(sim.world.key(drive, inode))
    drive.flip(inode, index, token)
    inode.drop_clean_pages()
    if which == "part" and drive.names.get(PLOT) is not inode:
        excuse_block(sim, worker_of(sim, inode), index)
    elif which != "source":
        excuse_stored(sim, drive, inode)
        sim.world.rotten.add(sim.world.key(drive, inode))
        sim.world.promises.append(Promise(inode.cached_content(), {PLOT, name}, excuse="that is what rot made of it"))
        if any(plotter.directory.inode(PLOT) is inode for plotter in sim.world.plotters):
            sim.world.excused.discard(sim.world.key(drive, inode))
        settle(sim, "the stored plot rotted")
    else:
        sim.world.rotten.add(sim.world.key(drive, inode))
        settle(sim, "the source rotted")
        sim.world.promises.append(Promise(inode.cached_content(), {PLOT, name}, excuse="that is what rot made of it"))
