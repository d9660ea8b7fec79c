"""The rules of what carries the effects out, taken out of the model's own: a driver without them would be seen."""

from __future__ import annotations

from tests.simulation.rules import DISK, HELD, HOST, PUBLISH, RECEIVE, REMOVAL, RUNNER, SOURCE, Change, Mutation
from tests.simulation.setup import Alias, Setup, Start, Verify

CARRIER_RULES = [
    Mutation(
        "results of write-back",
        (Change(DISK, "            call(Call.WRITE_BACK, drive.write_back, part)", "            _drop(drive, part)"),),
        Setup(verify=Verify.WIRE, has_direct=False),
        ("write back: EIO",),
    ),
    Mutation(
        "publish the open file, not its name",
        (Change(DISK, "lambda: drive.link_open_file(part, effect.plot)", "lambda: _link_name(drive, part, effect)"),),
        faults=("cp -a over part",),
    ),
    Mutation(
        "`have` is read",
        (
            Change(
                HELD,
                "        content = self._read(drive, worker.stored)\n",
                "        return tuple([f'{token:x}' for token in (11, 12, 13, 14, 15, 16)])\n",
            ),
        ),
        Setup(start=Start.STORED_ROTTEN),
    ),
    Mutation(
        "resume reads",
        (
            Change(
                DISK,
                "        content = self._read(drive, part)\n        worker = self._worker(actor)\n",
                "        return ('b', 'c', 'd', 'e', 'f')\n        worker = self._worker(actor)\n",
            ),
        ),
        Setup(start=Start.PART_ROTTEN),
    ),
    Mutation(
        "a look before the unlink",
        (
            Change(REMOVAL, "    if not again.is_at_its_path or again != marked or now != expected:", "    if False:"),
            Change(SOURCE, " or actor.identity() != effect.expected:", ":"),
        ),
        Setup(alias=Alias.OWN_NFS),
        ("dd source",),
    ),
    Mutation(
        "unlink by identity",
        (
            Change(
                SOURCE,
                "if directory.inode(source.name) is not source.inode or actor.identity() != effect.expected:",
                "if False:",
            ),
        ),
        faults=("mv another over source",),
    ),
    Mutation(
        "no writer while it is removed",
        (Change(SOURCE, "        if not actor.plotter.directory.has_leases:", "        if True:"),),
        faults=("dd and touch source", "dd source"),
    ),
    Mutation(
        "the stored plot is the file that was published",
        (
            Change(HELD, "        if worker.seen is None or worker.seen[0] is not inode:", "        if False:"),
            Change(RECEIVE, "(message.number != 1 or look == expected)", "True"),
        ),
        faults=("mv another over stored",),
    ),
    Mutation(
        "a part with two names is left alone",
        (
            Change(HELD, "part.inode.links == 1 and drive.names.get(worker.part_name) is part.inode", "True"),
            Change(DISK, "inode.links == 1 and drive.names.get(effect.name) is inode and", ""),
            Change(HOST, "inode.locked_by is None and inode.links == 1:", "inode.locked_by is None:"),
            Change(
                HOST,
                "            return StoredPlacement(path, drive.uuid",
                "            continue\n            return StoredPlacement(path, drive.uuid",
            ),
        ),
        Setup(start=Start.PART_ROTTEN),
        ("unlink: EIO", "dd source"),
    ),
    Mutation(
        "the lock is inherited",
        (
            Change(
                RUNNER,
                "        if worker is not None and not worker.is_hung:\n",
                "        if worker is not None:\n            _unlock(worker)\n"
                "        if worker is not None and not worker.is_hung:\n",
            ),
            Change(
                HOST,
                "        return {worker.identity for worker in self.world.workers if worker.is_hung}",
                "        return set()",
            ),
        ),
        Setup(start=Start.PART),
        ("kill, effect done two runs later",),
    ),
    Mutation(
        "the drive stays reserved while it hangs",
        (
            Change(HOST, "if worker.is_writer}", "if worker.is_writer and not worker.is_hung}"),
            Change(
                HOST,
                "        return {worker.identity for worker in self.world.workers if worker.is_hung}",
                "        return set()",
            ),
            Change(HOST, "        if self._arrives(offer.name):", "        if False:"),
            Change(HOST, "        if offer.name in memory.publishing:", "        if False:"),
        ),
        faults=("hang two runs", "kill, effect done two runs later"),
    ),
    Mutation(
        "what may appear yet goes nowhere else",
        (
            Change(HOST, "        if offer.name in memory.publishing:", "        if False:"),
            Change(HOST, "        if self._arrives(offer.name):", "        if False:"),
            Change(HOST, "        if places:", "        if False:"),
        ),
        faults=("hang two runs", "hang to the next run"),
    ),
    Mutation(
        "where a plot may be published is noted durably",
        (
            Change(
                HOST,
                "        self.world.memory.perhaps[actor.worker.offered, actor.worker.identity] = True\n",
                "",
            ),
        ),
        faults=("kill, effect done", "unmounted"),
    ),
    Mutation(
        "a drive that failed is not believed",
        (
            Change(PUBLISH, "_PART_IS_SPOILT = (Failure.IO_ERROR, ", "_PART_IS_SPOILT = ("),
            Change(HOST, "        self.world.memory.quarantined.setdefault(identity, failure)\n", ""),
        ),
        faults=("fsync: EIO",),
    ),
    Mutation(
        "age is running time",
        (
            Change(
                HOST,
                "                    since = self.world.now\n",
                "                    since = drive.clock // 10**8\n",
            ),
            Change(HOST, "self.world.now - since >= oldest", "drive.clock // 10**8 - since >= oldest"),
        ),
        Setup(start=Start.PART),
        ("kill", "clock forward"),
    ),
    Mutation(
        "parts that are alive are left alone",
        (
            Change(
                HOST, "        if inode.locked_by is not None or inode.links != 1 or", "        if inode.links != 1 or"
            ),
        ),
        faults=("second checkout cleans up",),
    ),
    Mutation(
        "foreign parts are left alone",
        (
            Change(
                HOST,
                "            parsed = parse_part_name(name) if",
                "            parsed = (name, name[:14]) if name.endswith('.part') and",
            ),
            Change(HOST, ' and "committed" not in inode.attributes:', ":"),
        ),
        faults=("second checkout cleans up",),
    ),
    Mutation(
        "the quota counts parts",
        (Change(HOST, "        return blocks\n", "        return 0\n"),),
        Setup(start=Start.PART, quota=10),
        ("hang two runs", "unmounted"),
    ),
    Mutation(
        "a drive is known by its UUID",
        (Change(DISK, "        if drive is None or drive.uuid != worker.identity:", "        if drive is None:"),),
        faults=("other drive mounted",),
    ),
    Mutation(
        "a source that stays gets its time back",
        (Change(RUNNER, "if inode is not None and inode.mtime in (old, new):", "if False:"),),
        Setup(alias=Alias.POOL_SSD),
        ("kill",),
    ),
]
