"""A modelled drive: names, open files, room, faults and power cuts, without a single system call.

It is as nasty as Linux is allowed to be: the lowest free inode number is given away at once, a write-back error is
told once and the page then reads as good, an fsync that failed is followed by one that succeeds, and a power cut
keeps any subset of what was not made durable. Errors are OSError, as the real calls raise them.

One directory a drive. Sizes and offsets are in blocks, block contents are tokens above 0, or `ZEROS`.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

from plotfarm.base.disk_error import Call
from tests.simulation.inodes import HOLE, ZEROS, Choose, Inode
from tests.simulation.names import Names
from tests.simulation.open_files import OpenFiles
from tests.simulation.state import Handle, State, Status, apply

__all__ = ["HOLE", "ZEROS", "Drive", "Handle", "Status", "all_power_cuts"]


class Drive(Names, OpenFiles):
    """A file system with one directory. Who holds this object holds that directory open, wherever it is mounted."""

    __slots__ = ()

    def fail_next(self, call: Call, number: int, is_done: bool = False) -> None:
        """Let the next such call fail with this errno, once; `is_done`: it has its effect all the same."""
        self.faults[call] = (number, is_done)

    def flip(self, inode: Inode, index: int, token: int) -> None:
        """Let a block rot: the drive holds another token; a page in the cache stays as it was."""
        inode.disk[index] = token
        inode.durable[index] = token

    def remount_read_only(self) -> None:
        """Refuse changes from now on, of open files too, as a kernel does that found an error."""
        self.is_read_only = True

    def flush(self) -> None:
        """Write dirty pages back, as the kernel does at any time; an error waits for whoever syncs the file."""
        for inode in self.inodes.values():
            if inode.dirty:
                inode.write_back(self._take_fault(Call.WRITE_BACK))

    def drop_caches(self) -> None:
        """Let the page cache forget every clean page."""
        for inode in self.inodes.values():
            inode.drop_clean_pages()

    def sync(self) -> None:
        """Make everything durable, as `sync` does on a drive without faults."""
        self.flush()
        for inode in self.inodes.values():
            inode.make_durable()
        self._commit(None)

    def power_cut(self, choice: int | random.Random | Choose) -> None:
        """Go on as after a power cut and a mount: no file is open, and of what was not synced some is kept.

        A number chooses by its digits: 0 keeps nothing. Numbers and generators of random numbers repeat.
        """
        choose = _chooser(choice)
        names = dict(self.durable_names)
        for change in self.pending:
            if choose(2):
                apply(names, change)
        self._become(_survivors(names), choose)

    def after_power_cut(self, choice: int | random.Random | Choose) -> Drive:
        """Return what this drive would be after a power cut; it stays as it is."""
        other = self._twin()
        other.pending = self.pending
        other.durable_names = self.durable_names
        other.power_cut(choice)
        return other

    def copy(self) -> Drive:
        """Return a drive of the same state that nobody has opened a file of."""
        other = self._twin()
        copies: dict[int, Inode] = {}

        def copied(inode: Inode) -> Inode:
            if id(inode) not in copies:
                copies[id(inode)] = inode.copy()
            return copies[id(inode)]

        for name, inode in self.names.items():
            other.names[name] = copied(inode)
            other.names[name].links += 1
        other.inodes = {inode.number: inode for inode in other.names.values()}
        other.durable_names = {name: copied(inode) for name, inode in self.durable_names.items()}
        other.pending = [
            tuple([(name, None if inode is None else copied(inode)) for name, inode in change])
            for change in self.pending
        ]
        other.free = other.capacity - sum(inode.allocated.bit_count() for inode in other.inodes.values())
        return other

    def is_sure(self, name: str, content: tuple[int, ...]) -> bool:
        """Tell whether the name has this content now, and after every power cut, on the drive."""
        inode = self.durable_names.get(name)
        if inode is None or self.names.get(name) is not inode or inode.durable_content() != content:
            return False
        is_settled = not any(changed == name for change in self.pending for changed, _ in change)
        return is_settled and inode.is_durable()

    def _become(self, names: dict[str, Inode], choose: Choose) -> None:
        """Start anew with these names and what is left of their files."""
        left: dict[int, Inode] = {}
        self.names = {}
        for name, inode in names.items():
            if inode.number not in left:
                left[inode.number] = inode.after_power_cut(choose)
            left[inode.number].links += 1
            self.names[name] = left[inode.number]
        self.inodes = left
        self.durable_names = dict(self.names)
        self.pending = []
        self.free = self.capacity - sum(inode.allocated.bit_count() for inode in left.values())
        self.is_read_only = False

    def _twin(self) -> Drive:
        """Return an empty drive of the same kind."""
        other = Drive.__new__(Drive)
        for field in State.__slots__:
            setattr(other, field, getattr(self, field))
        other.inodes = {}
        other.names = {}
        other.durable_names = {}
        other.pending = []
        other.faults = {}
        return other


def all_power_cuts(drive: Drive) -> Iterator[Drive]:
    """Yield the drive after each power cut that is possible now: counts through all choices like an odometer."""
    digits: list[int] = []
    while True:
        radixes: list[int] = []

        def choose(options: int, radixes: list[int] = radixes) -> int:
            radixes.append(options)
            if len(radixes) > len(digits):
                digits.append(0)
            return digits[len(radixes) - 1]

        yield drive.after_power_cut(choose)
        while digits and digits[-1] + 1 == radixes[len(digits) - 1]:
            digits.pop()
        if not digits:
            return
        digits[-1] += 1


def _survivors(names: dict[str, Inode]) -> dict[str, Inode]:
    """Leave out names of files whose number was given to a newer one: that file can be there only if they are gone."""
    newest: dict[int, int] = {}
    for inode in names.values():
        newest[inode.number] = max(newest.get(inode.number, 0), inode.generation)
    return {name: inode for name, inode in names.items() if newest[inode.number] == inode.generation}


def _chooser(choice: int | random.Random | Choose) -> Choose:
    if isinstance(choice, random.Random):
        return choice.randrange
    if not isinstance(choice, int):
        return choice
    rest = choice

    def choose(options: int) -> int:
        nonlocal rest
        rest, digit = divmod(rest, options)
        return digit

    return choose
