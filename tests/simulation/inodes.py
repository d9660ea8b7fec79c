"""One file of a modelled drive: what the page cache, the drive and a power cut would show of it.

A file is a row of blocks, and a block holds a token: a number that stands for its bytes. Three layers may disagree:

* `cache`: pages, as buffered reads see them; those in `dirty` have not been sent to the drive.
* `disk`: what the drive answers, from its own volatile cache or not: O_DIRECT reads see this.
* `durable`: what a power cut is sure to leave.

Sizes, block numbers and counts are in blocks. What real file systems taught is noted where the model follows it.
"""

from __future__ import annotations

from collections.abc import Callable

HOLE = 0  # never written, or allocated and not written: reads as zeros
ZEROS = -1  # zeros that were written: reads as zeros, and is no hole

Choose = Callable[[int], int]  # returns a number from 0 (the least is kept) below the one it is given


class Inode:
    """A file: names and open files point to it, and it goes when there are none left."""

    __slots__ = (
        "allocated",
        "attributes",
        "cache",
        "ctime",
        "dirty",
        "disk",
        "durable",
        "durable_allocated",
        "durable_attributes",
        "durable_mtime",
        "durable_size",
        "error_number",
        "error_seen",
        "errors",
        "generation",
        "holders",
        "links",
        "locked_by",
        "mtime",
        "number",
        "size",
        "stuck",
        "target",
    )

    def __init__(self, number: int, generation: int, now: int) -> None:
        self.number = number
        self.generation = generation
        self.links = 0
        self.holders = 0  # open file descriptions
        self.locked_by: object | None = None  # the open file description with the lock of the whole file
        self.target: str | None = None  # of a symbolic link

        self.size = 0
        self.mtime = now
        self.ctime = now
        self.attributes: dict[str, bytes] = {}  # replaced, never changed in place

        self.cache: dict[int, int] = {}
        self.dirty = 0  # bit i: page i is not on the drive yet
        self.disk: dict[int, int] = {}  # no entry: a hole
        self.allocated = 0  # bit i: block i has room of its own, written or not

        self.durable: dict[int, int] = {}
        self.durable_size = 0
        self.durable_mtime = now
        self.durable_attributes = self.attributes
        self.durable_allocated = 0
        self.stuck = 0  # bit i: the drive answers with it, and lost the order to keep it

        self.errors = 0  # write-backs that failed
        self.error_number = 0
        self.error_seen = False  # somebody was told of the last one

    def cached_token(self, index: int) -> int:
        """Return what a buffered read sees."""
        token = self.cache[index] if index in self.cache else self.disk.get(index, HOLE)
        return token if token > 0 else HOLE

    def newest(self, index: int) -> int:
        """Return what the drive would hold after a write-back without error."""
        return self.cache[index] if self.dirty >> index & 1 else self.disk.get(index, HOLE)

    def cached_content(self) -> tuple[int, ...]:
        """Return the file as buffered reads see it."""
        return tuple([self.cached_token(index) for index in range(self.size)])

    def disk_content(self) -> tuple[int, ...]:
        """Return the file as the drive holds it: as O_DIRECT reads see it if no page is dirty."""
        return tuple([max(self.disk.get(index, HOLE), HOLE) for index in range(self.size)])

    def durable_content(self) -> tuple[int, ...]:
        """Return the file as it was last made durable."""
        return tuple([max(self.durable.get(index, HOLE), HOLE) for index in range(self.durable_size)])

    def is_durable(self) -> bool:
        """Tell whether every power cut leaves the same content, and the content that is seen now.

        What was changed and changed back since the last fsync is taken for durable, although a drive may have written
        the state in between.
        """
        if self.size != self.durable_size:
            return False
        return all(self.newest(index) == self.durable.get(index, HOLE) for index in range(self.size))

    def write_cached(self, index: int, token: int) -> None:
        """Take a block into the page cache."""
        self.cache[index] = token
        self.dirty |= 1 << index
        self._written(index)

    def write_direct(self, index: int, token: int) -> None:
        """Take a block past the page cache, whose page of it is dropped."""
        self.cache.pop(index, None)
        self.dirty &= ~(1 << index)
        self.disk[index] = token
        self.stuck &= ~(1 << index)
        self._written(index)

    def _written(self, index: int) -> None:
        self.allocated |= 1 << index
        self.size = max(self.size, index + 1)

    def write_back(self, failure: int = 0, only: int = -1) -> None:
        """Send the dirty pages within the mask `only` to the drive.

        With an error number as `failure`, the first of them is lost: as on Linux its page is clean from then on and
        is still read as good, while the drive keeps what it had.
        """
        pages = self.dirty & only
        if not pages:
            return
        self.dirty &= ~pages
        if failure:
            self.note_lost(failure)
            pages &= pages - 1
        for index, token in self.cache.items():
            if pages >> index & 1:
                self.disk[index] = token
                self.stuck &= ~(1 << index)

    def note_lost(self, failure: int) -> None:
        """Record a failed write-back, for every open file and for the next one if nobody was told."""
        self.errors += 1
        self.error_number = failure
        self.error_seen = False

    def lose_flush(self) -> None:
        """Forget what a failed fsync was to make durable: no later fsync will do it, and none will say so."""
        self.dirty = 0
        for index in self.disk.keys() | self.durable.keys():
            if self.disk.get(index, HOLE) != self.durable.get(index, HOLE):
                self.stuck |= 1 << index

    def make_durable(self) -> None:
        """Let a power cut keep what the drive holds."""
        if self.stuck:
            kept = {index: token for index, token in self.disk.items() if not self.stuck >> index & 1}
            old = {index: token for index, token in self.durable.items() if self.stuck >> index & 1}
            self.durable = kept | old
        else:
            self.durable = self.disk.copy()
        self.durable_size = self.size
        self.durable_mtime = self.mtime
        self.durable_attributes = self.attributes
        self.durable_allocated = self.allocated

    def cut(self, size: int) -> None:
        """Give up the blocks from `size` on, and what was allocated behind the end if the file does not grow.

        Learned: a truncate to the same size gives allocated blocks behind the end back too (ext4, XFS, btrfs, tmpfs).
        """
        if size <= self.size:
            below = (1 << size) - 1
            self.cache = {index: token for index, token in self.cache.items() if index < size}
            self.disk = {index: token for index, token in self.disk.items() if index < size}
            self.dirty &= below
            self.allocated &= below
            self.stuck &= below
        self.size = size

    def drop_clean_pages(self) -> None:
        """Let the page cache forget what the drive has, and an error that no open file waits for."""
        self.cache = {index: token for index, token in self.cache.items() if self.dirty >> index & 1}
        if not self.holders:
            self.errors = 0

    def first_hole(self, sees_cached: bool) -> int:
        """Return where SEEK_HOLE ends: the first block without data, or the size.

        Learned: a page that is in the cache makes an allocated, never written block look like data on ext4 and XFS
        (`sees_cached`), also when its write-back failed or when it was only read. btrfs and tmpfs look at dirty pages.
        """
        for index in range(self.size):
            is_cached = sees_cached and index in self.cache and self.allocated >> index & 1
            if not is_cached and not self.has_data(index):
                return index
        return self.size

    def has_data(self, index: int) -> bool:
        """Tell whether a block was written, or is about to be."""
        return index in self.disk or bool(self.dirty >> index & 1)

    def copy(self) -> Inode:
        """Return a copy that nobody has open, and with no links counted."""
        other = Inode.__new__(Inode)
        for field in _COPIED:
            setattr(other, field, getattr(self, field))
        other.cache = self.cache.copy()
        other.disk = self.disk.copy()
        other.durable = self.durable.copy()
        other.links = 0
        other.holders = 0
        other.locked_by = None
        return other

    def after_power_cut(self, choose: Choose) -> Inode:
        """Return what is left of it: of all that was not made durable, each thing is there or not, as chosen.

        A block that was being rewritten may be old, zeros or new. The size is old, new, or reaches to the last new
        block that was kept.
        """
        left = Inode(self.number, self.generation, self.durable_mtime)
        left.target = self.target
        left.attributes = self.durable_attributes
        has_news = self.durable_attributes is not self.attributes or self.durable_mtime != self.mtime
        if has_news and choose(2):
            left.attributes = self.attributes
            left.mtime = self.mtime
        left.disk = self.durable.copy()
        left.size = self.durable_size
        if not self.is_durable():
            self._choose_blocks(left, choose)
        left.allocated = self.durable_allocated
        for index in left.disk:
            left.allocated |= 1 << index
        left.make_durable()
        return left

    def _choose_blocks(self, left: Inode, choose: Choose) -> None:
        has_new_size = self.size != self.durable_size and choose(2)
        if has_new_size:
            left.size = self.size
        for index in range(max(self.size, self.durable_size)):
            new = self.newest(index)
            old = self.durable.get(index, HOLE)
            if new == old:
                continue
            tokens = (old, new) if HOLE in (old, new) else (old, HOLE, new)
            token = tokens[choose(len(tokens))]
            left.disk[index] = token
            if token == HOLE:
                del left.disk[index]
            elif token == new and index >= left.size:
                left.size = index + 1
        for index in range(left.size, max(left.disk, default=0) + 1):
            left.disk.pop(index, None)


_COPIED = tuple(field for field in Inode.__slots__ if field not in ("holders", "links", "locked_by"))
