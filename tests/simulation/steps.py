"""Random operations for a modelled and a real directory, and what each side answered, in comparable words."""

from __future__ import annotations

import errno
import os
import random
from dataclasses import dataclass, field
from typing import Any

from tests.simulation.filesystem import ZEROS, Drive, Handle, Status
from tests.simulation.inodes import HOLE, Inode
from tests.simulation.real import BLOCK_BYTES, FIRST_SET_TIME, LAST_SET_TIME, RealDirectory, RealFile

NAMES = ("a", "b", "c", "d")
SLOTS = 3
BLOCKS = 6
_WEIGHTS = {
    "create": 6,
    "open": 5,
    "close": 4,
    "write": 16,
    "read": 6,
    "truncate": 4,
    "fallocate": 3,
    "seek_hole": 4,
    "write_back": 2,
    "drop_clean": 2,
    "fsync": 4,
    "fsync_directory": 2,
    "link_open_file": 3,
    "link": 2,
    "unlink": 3,
    "unlink_if_same": 2,
    "rename_noreplace": 2,
    "rename": 2,
    "stat": 2,
    "fstat": 4,
    "set_mtime": 1,
    "setxattr": 1,
    "getxattr": 1,
    "lock": 1,
    "is_locked": 1,
    "list": 1,
    "symlink": 0.3,
}
_CALLS = tuple(_WEIGHTS)
_CUMULATIVE = [sum(list(_WEIGHTS.values())[: place + 1]) for place in range(len(_WEIGHTS))]


@dataclass(frozen=True)
class Step:
    """One operation; `slot` names the open file that it is done with, or that it opens."""

    call: str
    slot: int | None = None
    arguments: tuple[Any, ...] = ()

    def __str__(self) -> str:
        where = "" if self.slot is None else f"[{self.slot}]"
        return f"{self.call}{where}{self.arguments}"


@dataclass
class Side:
    """A modelled or a real directory with its open files."""

    directory: Drive | RealDirectory
    files: dict[int, Handle | RealFile] = field(default_factory=dict)
    times: dict[int, tuple[int, int]] = field(default_factory=dict)

    def run(self, step: Step) -> object:
        """Carry a step out; return its result or the name of its error."""
        try:
            return self._run(step)
        except OSError as error:
            return errno.errorcode[error.errno or 0]

    def _run(self, step: Step) -> object:
        call: Any = getattr(self.directory, step.call, None)
        if step.call in ("create", "open"):
            assert step.slot is not None
            self.files[step.slot] = call(*step.arguments)
            return None
        if step.slot is None:
            answer = call(*step.arguments)
            return (*_sizes(answer), _set_time(answer)) if step.call == "stat" else answer
        file = self.files[step.slot]
        if step.call == "drop_clean":
            self._drop_clean(file)
            return None
        answer = call(file, *step.arguments)
        if step.call == "close":
            del self.files[step.slot]
            self.times.pop(step.slot, None)
        if step.call == "fstat":
            return self._changes(step.slot, answer)
        return answer

    def _drop_clean(self, file: Any) -> None:
        self.directory.write_back(file)
        if isinstance(self.directory, RealDirectory):
            self.directory.drop_clean(file)
        else:
            file.inode.drop_clean_pages()

    def _changes(self, slot: int, status: Any) -> object:
        """Return size, links, and which times differ from those of the last look."""
        times = _times(status)
        before = self.times.get(slot, times)
        self.times[slot] = times
        changed = tuple(new != old for new, old in zip(times, before, strict=True))
        return (*_sizes(status), _set_time(status), changed)

    def close_all(self) -> None:
        """Close every open file."""
        for file in self.files.values():
            self.directory.close(file)  # type: ignore[arg-type]
        self.files.clear()


def _sizes(status: Status | os.stat_result) -> tuple[int, int]:
    if isinstance(status, Status):
        return status.size, status.links
    return status.st_size // BLOCK_BYTES, status.st_nlink


def _times(status: Status | os.stat_result) -> tuple[int, int]:
    if isinstance(status, Status):
        return status.mtime, status.ctime
    return status.st_mtime_ns, status.st_ctime_ns


def _set_time(status: Status | os.stat_result) -> int | None:
    """Return the time of the last change if somebody set it."""
    mtime = status.mtime if isinstance(status, Status) else status.st_mtime_ns / 1e9
    return int(mtime) if FIRST_SET_TIME <= mtime <= LAST_SET_TIME else None


def next_step(rng: random.Random, side: Side) -> Step:
    """Return a random step that this side can carry out or has to refuse."""
    while True:
        call = rng.choices(_CALLS, cum_weights=_CUMULATIVE)[0]
        step = _step(rng, call, side)
        if step is not None:
            return step


def _step(rng: random.Random, call: str, side: Side) -> Step | None:
    match call:
        case "list" | "fsync_directory":
            return Step(call)
        case "link" | "rename" | "rename_noreplace" | "symlink":
            return Step(call, None, tuple(rng.sample(NAMES, 2)))
        case "stat" | "unlink":
            return Step(call, None, (rng.choice(NAMES),))
        case "create" | "open":
            free = [slot for slot in range(SLOTS) if slot not in side.files]
            flags = (True, rng.random() < 0.8) if call == "open" else (rng.random() < 0.7,)
            return Step(call, rng.choice(free), (rng.choice(NAMES), *flags)) if free else None
    if not side.files:
        return None
    slot = rng.choice(sorted(side.files))
    index = rng.randrange(BLOCKS)
    is_direct = rng.random() < 0.5 and _has_direct(side)
    match call:
        case "write":
            token = ZEROS if rng.random() < 0.1 else rng.randrange(1, 100)
            return Step(call, slot, (index, token, is_direct))
        case "read":
            return Step(call, slot, (index, is_direct))
        case "truncate":
            return Step(call, slot, (index,))
        case "fallocate":
            return Step(call, slot, (index + 1,))
        case "link_open_file" | "unlink_if_same":
            return Step(call, slot, (rng.choice(NAMES),))
        case "set_mtime":
            return Step(call, slot, (FIRST_SET_TIME + index,))
        case "setxattr":
            # Never twice the same: ext4 then changes nothing, not even ctime, where the others do.
            return Step(call, slot, ("user.test", rng.randbytes(8)))
        case "getxattr":
            return Step(call, slot, ("user.test",))
    return Step(call, slot)


def _has_direct(side: Side) -> bool:
    return isinstance(side.directory, Drive) and side.directory.has_direct


@dataclass
class Past:
    """What a file was since the model last called it durable: a power cut may leave any of it."""

    inode: Inode
    durable: dict[int, int]
    sizes: set[int]
    tokens: list[set[int]]
    attributes: list[dict[str, bytes]]

    @classmethod
    def of(cls, inode: Inode) -> Past:
        """Begin with what is durable."""
        tokens = [{max(inode.durable.get(index, HOLE), HOLE)} for index in range(BLOCKS)]
        return cls(inode, inode.durable, {inode.durable_size}, tokens, [inode.durable_attributes])

    def look(self) -> None:
        """Add what the file is now; between two things there may be zeros."""
        inode = self.inode
        self.sizes.add(inode.size)
        if inode.attributes is not self.attributes[-1]:
            self.attributes.append(inode.attributes)
        for index in range(BLOCKS):
            token = max(inode.newest(index), HOLE)
            if token not in self.tokens[index]:
                self.tokens[index] |= {HOLE, token}
