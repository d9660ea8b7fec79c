"""The rules of the journeys as texts: what takes each of them out, and which faults show that it is gone."""

from __future__ import annotations

from dataclasses import dataclass

from tests.simulation.setup import SETUPS, Alias, Setup, Start, Verify

RECEIVE = "plotfarm.transfer.receive"
SEND = "plotfarm.transfer.send"
REMOVAL = "plotfarm.transfer.removal"
PUBLISH = "plotfarm.transfer.publish"
MOVE = "plotfarm.transfer.move"
OUTCOMES = "plotfarm.transfer.outcomes"
DISK = "tests.simulation.disk"
HELD = "tests.simulation.held"
HOST = "tests.simulation.host"
SOURCE = "tests.simulation.plotter"
RUNNER = "tests.simulation.runner"


@dataclass(frozen=True)
class Change:
    """A text in a module, and what it becomes."""

    module: str
    old: str
    new: str


@dataclass(frozen=True)
class Mutation:
    """A rule that is taken out: `faults` are the ones that show it, on this farm; none if the plain run does."""

    name: str
    changes: tuple[Change, ...]
    setup: Setup = SETUPS[0]
    faults: tuple[str, ...] = ()


RULES = [
    Mutation("fsync of the part", (Change(PUBLISH, "    yield from do(SyncPart())\n", ""),)),
    Mutation(
        "fsync of the directory", (Change(PUBLISH, "        yield from do(SyncDirectory())\n", "        pass\n"),)
    ),
    Mutation(
        "alias test",
        (
            Change(
                REMOVAL,
                "    if is_same_time(after.mtime_ns, new):",
                "    return None\n    if is_same_time(after.mtime_ns, new):",
            ),
        ),
        Setup(alias=Alias.POOL_SSD),
    ),
    Mutation(
        "alias test of a local move",
        (
            Change(
                REMOVAL,
                "    if is_same_time(after.mtime_ns, new):",
                "    return None\n    if is_same_time(after.mtime_ns, new):",
            ),
        ),
        Setup(is_move=True, alias=Alias.POOL_SSD),
    ),
    Mutation(
        "equal times are suspect",
        (
            Change(REMOVAL, "    if is_same_time(before.mtime_ns, old):", "    if False:"),
            Change(
                REMOVAL,
                "    if is_same_time(after.mtime_ns, new):",
                "    return None\n    if is_same_time(after.mtime_ns, new):",
            ),
        ),
        Setup(alias=Alias.NFS),
    ),
    Mutation(
        "`arrived` is compared",
        (Change(SEND, "    if arrived.size != offer.size or difference is not None:", "    if False:"),),
        faults=("bit flipped",),
    ),
    Mutation(
        "the one who deletes commits",
        (
            Change(
                RECEIVE,
                "        answer = yield from do(Receive((Commit, Reject), Phase.COMPARING))",
                "        answer = Commit()",
            ),
        ),
        faults=("bit flipped",),
    ),
    Mutation(
        "`have` is compared", (Change(SEND, "    if own != have.segments:", "    if False:"),), Setup(start=Start.OTHER)
    ),
    Mutation(
        "`have` is made durable",
        (Change(RECEIVE, "        yield from do(SyncStored())\n        yield from do(SyncDirectory())\n", ""),),
        faults=("kill",),
    ),
    Mutation(
        "the plotter compares what is resumed",
        (Change(SEND, "    return own[:equal]\n", "    return partial.segments[:count]\n"),),
        Setup(start=Start.PART_ROTTEN),
    ),
    Mutation(
        "the source is checked again",
        (Change(REMOVAL, "    change = hashed.identity.change_to(look.identity)", "    change = Change.NONE"),),
        faults=("dd source", "truncate source"),
    ),
    Mutation(
        "a new ctime means that it is hashed again",
        (Change(REMOVAL, "    if change is Change.ONLY_CTIME and", "    if False and"),),
        faults=("dd and touch source",),
    ),
    Mutation(
        "a look before the time is set",
        (Change(REMOVAL, "    if (yield from do(LookAtSource())) != look:", "    if False:"),),
        Setup(alias=Alias.OWN_NFS),
        ("dd source",),
    ),
    Mutation(
        "a recheck has a number",
        (Change(SEND, " or answer.number != number", ""),),
        Setup(alias=Alias.POOL_SSD),
        ("message repeated",),
    ),
    Mutation(
        "the stored plot is as it was when it was read",
        (Change(RECEIVE, "(message.number != 1 or look == expected)", "True"),),
        faults=("dd stored",),
    ),
    Mutation(
        "holes are looked for",
        (Change(PUBLISH, "    if hole != arrival.size:", "    if False:"),),
        Setup(verify=Verify.WIRE),
        ("truncate -s 0 part",),
    ),
    Mutation(
        "the part's size is looked at",
        (Change(PUBLISH, "    if size != arrival.size:", "    if False:"),),
        faults=("extend part",),
    ),
    Mutation(
        "a sample is read back",
        (Change(PUBLISH, "    if verify is Verify.SAMPLE and", "    if False and"),),
        faults=("wrong write", "dd sampled part"),
    ),
    Mutation(
        "all is read back",
        (Change(PUBLISH, "    if verify is Verify.READBACK and", "    if False and"),),
        Setup(verify=Verify.READBACK),
        ("wrong write", "dd 0 part"),
    ),
    Mutation(
        "nothing is written after the link",
        (
            Change(PUBLISH, "    yield from do(SyncPart())\n", ""),
            Change(
                PUBLISH,
                "    if named is Naming.NAMED:\n",
                "    if named is Naming.NAMED:\n        yield from do(SyncPart())\n",
            ),
        ),
    ),
    Mutation(
        "errors mean what their call says",
        (
            Change(
                OUTCOMES,
                "    if error.call in _DATA:",
                "    if error.number in _NO_ROOM:\n        return Meaning.DRIVE_FULL\n    if error.call in _DATA:",
            ),
        ),
        faults=("fsync: ENOSPC",),
    ),
    Mutation(
        "the second name is there before the first goes",
        (Change(MOVE, "    if (yield from _look(load)) is None or look.links < 2:", "    if False:"),),
        Setup(is_move=True, alias=Alias.OTHER_DIRECTORY),
        ("rm stored",),
    ),
    Mutation(
        "a moved plot's name is durable before the first goes",
        (Change(MOVE, "    yield from do(SyncStored())\n    yield from do(SyncDirectory())\n\n", ""),),
        Setup(is_move=True, alias=Alias.OTHER_DIRECTORY),
    ),
]
