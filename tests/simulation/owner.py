"""What the owner of a farm does who was told that a plot does not go, and when there is nothing left to do."""

from __future__ import annotations

from typing import Any

from tests.simulation.killing import cut_power
from tests.simulation.runner import Simulation
from tests.simulation.setup import Alias
from tests.simulation.world import Violation


def is_settled(sim: Simulation) -> bool:
    """Tell whether a further run would find nothing to do."""
    world = sim.world
    if list(world.mounts.values()) != world.nas_drives:
        return False
    for plotter in world.plotters:
        for name in plotter.directory.names():
            aside = plotter.memory.set_aside.get(name)
            if aside is None or aside[0] != Simulation._look(plotter, name):
                return False
        if plotter.memory.times:
            return False
    has_parts = any(
        sim.world.key(drive, inode) in world.own_parts
        for drive in world.nas_drives
        for _, _, inode in sim.host.parts(drive)
    )
    return not has_parts and not world.workers


def is_waiting(sim: Simulation) -> bool:
    """Tell whether plots wait for a person."""
    return any(plotter.directory.names() for plotter in sim.world.plotters)


def check_told(sim: Simulation) -> None:
    """Plots that do not go must have been told of, and are not read again and again."""
    world = sim.world
    if is_settled(sim) or not is_waiting(sim):
        return
    if not world.alerts and not any(plotter.memory.set_aside for plotter in world.plotters):
        raise Violation(3, "a plot does not go, and nobody is told")
    if world.reads[-1] and world.reads[-2] and world.reads[-3]:
        raise Violation(10, f"the source is read again and again: {world.reads}")


def help_out(sim: Simulation) -> None:
    """Do what a person does who was told: right drives, room, no file in the way; and start the NAS anew."""
    world = sim.world
    for path, drive in zip(world.mounts, world.nas_drives, strict=True):
        world.mounts[path] = drive
    for drive in world.drives:
        drive.sync()
    cut_power(sim, True, True, 0)
    for plotter in world.plotters:
        for name, (_, why) in list(plotter.memory.set_aside.items()):
            if why not in ("same file", "kept", "same place"):
                del plotter.memory.set_aside[name]
                _clear_the_way(sim, name)
    waiting = set()
    for plotter in world.plotters:
        for name in plotter.directory.names():
            source = plotter.directory.inode(name)
            waiting.add((name, 0 if source is None else source.size))
    for drive in world.nas_drives:
        if "filler" in drive.names:
            drive.unlink("filler")
        for name, plot, inode in sim.host.parts(drive):
            is_forgotten = "committed" in inode.attributes and (plot, inode.size) not in waiting
            if inode.links > 1 or is_forgotten:  # nothing of the suite touches a part with a second name, or all bytes
                drive.unlink(name)


def _clear_the_way(sim: Simulation, name: str) -> None:
    """Rename what has the name of a plot that still waits and is another; touch the plot if it is the same."""
    world = sim.world
    sources = [plotter.directory.inode(name) for plotter in world.plotters]
    waiting = [source.cached_content() for source in sources if source is not None]
    for plotter, source in zip(world.plotters, sources, strict=True):
        if source is None:
            continue
        shared = [drive for drive, prefix in plotter.directory.branches if not prefix]
        for drive in world.nas_drives:
            inode = drive.names.get(name)
            if inode is None or drive in shared or inode.cached_content() in waiting:
                continue
            other = f"other-{world.token()}-{name}"
            drive.rename(name, other)
            if len(world.plotters) > 1:
                world.doubles.add("owner")
            drive.fsync_directory()
            for promise in world.promises:
                promise.names.add(other)
        if world.setup.alias in (Alias.OWN, Alias.OWN_NFS):
            source.mtime += 7


def fingerprint(sim: Simulation) -> Any:
    """Return all of a farm's state that decides what comes, between two runs, without clocks and numbers."""
    world = sim.world
    drives = []
    for drive in world.drives:
        names = []
        for name, inode in sorted(drive.names.items()):
            key = (drive.uuid, inode.generation)
            seen = world.memory.seen_parts.get((drive.uuid, name)) if name.endswith(".part") else None
            names.append(
                (
                    name if not name.endswith(".part") else "part",
                    inode.cached_content(),
                    inode.disk_content(),
                    inode.durable_content(),
                    inode.allocated.bit_count(),
                    inode.links,
                    tuple(sorted(inode.attributes)),
                    key in world.excused,
                    key in world.foreign,
                    key in world.own_parts,
                    None if seen is None else (seen[0] == inode.size, world.now - seen[1]),
                    inode.mtime >= 10**12,
                    inode.locked_by is not None,
                    drive.durable_names.get(name) is inode,
                )
            )
        drives.append((tuple(names), len(drive.pending), drive.free, drive.is_read_only, drive.tick))
    plotters = tuple(
        [
            (tuple(sorted(p.memory.times)), tuple(sorted([(n, a[1]) for n, a in p.memory.set_aside.items()])))
            for p in world.plotters
        ]
    )
    return (
        tuple(drives),
        plotters,
        tuple([(p.content, tuple(sorted(p.names)), bool(p.excuse)) for p in world.promises]),
        tuple([None if drive is None else drive.uuid for drive in world.mounts.values()]),
        tuple(sorted(world.memory.quarantined)),
        tuple(sorted(world.memory.stored.items())),
        tuple(sorted(world.memory.publishing.items())),
        tuple(sorted(world.memory.perhaps)),
        tuple([(w.identity, w.is_hung, w.is_writer) for w in world.workers]),
        bool(world.alerts),
        bool(world.doubles),
        len(world.deferred),
    )
