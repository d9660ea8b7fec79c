"""One random sequence of operations on the model and on a real directory, and what may differ after a power cut."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.simulation.filesystem import Drive, Handle
from tests.simulation.inodes import Inode
from tests.simulation.real import BLOCK_BYTES, RealDirectory
from tests.simulation.state import apply
from tests.simulation.steps import Past, Side, Step, next_step

MOST_CHANGES = 10  # of names: 1024 outcomes to look at


class Difference(Exception):
    """The model and the real file system do not agree."""


@dataclass
class Tally:
    """What was compared."""

    sequences: int = 0
    steps: int = 0
    after_power_cut: int = 0
    lost_something: int = 0  # after a power cut
    not_enumerable: int = 0  # after a power cut, with too many changes of names


@dataclass(frozen=True)
class Left:
    """What a power cut left of one name."""

    names: frozenset[str]  # of the same file
    content: tuple[int | None, ...]
    attribute: bytes | None
    target: str | None


@dataclass
class Sequence:
    """One random sequence on both sides, in a directory of its own."""

    seed: str
    model: Side
    real: Side
    steps: list[Step] = field(default_factory=list)
    past: dict[int, Past] = field(default_factory=dict)

    @property
    def drive(self) -> Drive:
        """Return the modelled side."""
        assert isinstance(self.model.directory, Drive)
        return self.model.directory

    @property
    def path(self) -> Path:
        """Return the directory of the real side."""
        assert isinstance(self.real.directory, RealDirectory)
        return self.real.directory.path

    def run(self, count: int) -> None:
        """Run random steps; Difference at the first result that differs."""
        rng = random.Random(self.seed)
        for _ in range(count):
            step = next_step(rng, self.model)
            self.steps.append(step)
            expected = self.model.run(step)
            found = self.real.run(step)
            if expected != found:
                raise self.difference("result", expected, found)
            self._remember()

    def _remember(self) -> None:
        inodes = set(self.drive.names.values()) | {handle.inode for handle in self._handles()}
        for inode in inodes:
            past = self.past.get(id(inode))
            if past is None or past.durable is not inode.durable:
                past = self.past[id(inode)] = Past.of(inode)
            past.look()

    def _handle(self, slot: int) -> Handle:
        handle = self.model.files[slot]
        assert isinstance(handle, Handle)
        return handle

    def _handles(self) -> list[Handle]:
        return [self._handle(slot) for slot in self.model.files]

    def compare_ends(self) -> None:
        """Compare names, links, sizes, holes and contents of both sides, of open files without a name too."""
        for step in self._look_at_all():
            self.steps.append(step)
            expected = self.model.run(step)
            found = self.real.run(step)
            if expected != found:
                raise self.difference("end", expected, found)

    def _look_at_all(self) -> Iterator[Step]:
        yield Step("list")
        yield from self._look_at_open(sorted(self.model.files))
        for slot in sorted(self.model.files):
            yield Step("close", slot)
        for name in sorted(self.drive.names):
            yield Step("stat", None, (name,))
            if self.drive.names[name].target is None:
                yield Step("open", 0, (name,))
                yield from self._look_at_open([0])
                yield Step("close", 0)

    def _look_at_open(self, slots: list[int]) -> Iterator[Step]:
        for slot, call in itertools.product(slots, ("fstat", "seek_hole", "getxattr")):
            yield Step(call, slot, ("user.test",) if call == "getxattr" else ())
        for slot in slots:
            blocks = range(self._handle(slot).inode.size + 1)
            if self.drive.has_direct:
                yield from [Step("read", slot, (index, True)) for index in blocks]
            yield from [Step("read", slot, (index, False)) for index in blocks]
            yield Step("seek_hole", slot)

    def difference(self, what: str, expected: object, found: object) -> Difference:
        """Return the error that shows how it came to this."""
        steps = "\n  ".join(str(step) for step in self.steps)
        return Difference(f"{what} of seed {self.seed}: model {expected}, real {found}\n  {steps}")

    def check_power_cut(self, tally: Tally) -> None:
        """Check that what a power cut left is one of the outcomes that the model allows."""
        changes = self.drive.pending
        if len(changes) > MOST_CHANGES:
            tally.not_enumerable += 1
            return
        left = _read_left(self.path)
        tally.after_power_cut += 1
        tally.lost_something += self._is_less(left)
        reasons = []
        for kept in itertools.product((False, True), repeat=len(changes)):
            names = dict(self.drive.durable_names)
            for change in itertools.compress(changes, kept):
                apply(names, change)
            reason = self._why_not(names, left)
            if reason is None:
                return
            reasons.append(reason)
        raise self.difference("power cut", sorted(set(reasons)), left)

    def _is_less(self, left: dict[str, Left]) -> bool:
        files = {name: inode for name, inode in self.drive.names.items() if inode.target is None}
        now = {name: inode.cached_content() for name, inode in files.items()}
        return now != {name: found.content for name, found in left.items() if found.target is None}

    def _why_not(self, names: dict[str, Inode], left: dict[str, Left]) -> str | None:
        if names.keys() != left.keys():
            return f"names {sorted(names)}"
        for name, inode in names.items():
            found = left[name]
            same = {other for other, its in names.items() if its is inode}
            if same != found.names:
                return f"{name} is {sorted(same)}"
            reason = self._why_not_content(inode, found)
            if reason is not None:
                return f"{name}: {reason}"
        return None

    def _why_not_content(self, inode: Inode, found: Left) -> str | None:
        if inode.target is not None:
            return None if found.target == inode.target else "another target"
        past = self.past[id(inode)]
        size = len(found.content)
        if not min(past.sizes) <= size <= max(past.sizes):
            return f"sizes {past.sizes}"
        if found.attribute not in [values.get("user.test") for values in past.attributes]:
            return f"attributes {past.attributes}"
        for index, token in enumerate(found.content):
            if token not in past.tokens[index]:
                return f"block {index} is {past.tokens[index]}"
        return None


def _read_left(path: Path) -> dict[str, Left]:
    directory = RealDirectory(path)
    status = {name: directory.stat(name) for name in directory.list()}
    left = {}
    for name, mine in status.items():
        names = frozenset(other for other, its in status.items() if its.st_ino == mine.st_ino)
        if (path / name).is_symlink():
            left[name] = Left(names, (), None, str((path / name).readlink()))
            continue
        file: Any = directory.open(name)
        blocks = range(-(-mine.st_size // BLOCK_BYTES))
        content = tuple([directory.read(file, index) for index in blocks])
        try:
            attribute = directory.getxattr(file, "user.test")
        except OSError:
            attribute = None
        left[name] = Left(names, content, attribute, None)
        directory.close(file)
    directory.leave()
    return left
