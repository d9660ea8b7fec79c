"""What can be done with the open files of a modelled drive."""

from __future__ import annotations

import errno

from plotfarm.base.disk_error import Call
from tests.simulation.inodes import HOLE, ZEROS, Inode
from tests.simulation.state import Handle, State, Status, error


class OpenFiles(State):
    """Reading, writing and syncing of a drive's files."""

    __slots__ = ()

    def duplicate(self, handle: Handle) -> Handle:
        """Return the same open file description with one more descriptor, as a forked child has it."""
        handle.copies += 1
        return handle

    def close(self, handle: Handle) -> None:
        """Close one descriptor; with the last one the lock goes, and a file without names."""
        if handle.copies == 0:
            raise error(errno.EBADF)
        handle.copies -= 1
        if handle.copies == 0:
            inode = handle.inode
            inode.holders -= 1
            if inode.locked_by is handle:
                inode.locked_by = None
            self._forget_if_unused(inode)
        self._may_fail(Call.CLOSE)

    def fstat(self, handle: Handle) -> Status:
        """Return what stat tells of an open file."""
        self._may_fail(Call.STAT)
        return self._status(handle.inode)

    def write(self, handle: Handle, index: int, token: int, direct: bool = False) -> None:
        """Write a block: into the page cache, or `direct` to the drive.

        EINVAL where the file system has no O_DIRECT.
        """
        if direct and not self.has_direct:
            raise error(errno.EINVAL)
        if not handle.is_writable:
            raise error(errno.EBADF)
        inode = handle.inode
        if direct and self.buffers_direct and Call.WRITE in self.faults:
            self._fail_buffered(inode, index, token)
        late = self._change(Call.WRITE)
        if direct and inode.dirty >> index & 1:
            self._write_back_first(inode, index)
        self._take_room(inode, 1 << index)
        if direct:
            inode.write_direct(index, token)
        else:
            inode.write_cached(index, token)
        inode.mtime = inode.ctime = self._now()
        if late:
            raise error(late)

    def read(self, handle: Handle, index: int, direct: bool = False) -> int | None:
        """Read a block from the page cache, or `direct` from the drive; HOLE for zeros, None behind the end."""
        inode = handle.inode
        if direct:
            if not self.has_direct:
                raise error(errno.EINVAL)
            if inode.dirty >> index & 1:
                self._write_back_first(inode, index)
        elif index in inode.cache:
            return inode.cached_token(index)
        self._may_fail(Call.READ)
        if index >= inode.size:
            return None
        token = inode.disk.get(index, HOLE)
        if not direct:
            inode.cache[index] = token
        return max(token, HOLE)

    def truncate(self, handle: Handle, size: int) -> None:
        """Set the size; blocks behind it are given back, those that are new are holes."""
        if not handle.is_writable:
            raise error(errno.EINVAL)
        late = self._change(Call.TRUNCATE)
        inode = handle.inode
        before = inode.allocated.bit_count()
        inode.cut(size)
        self.free += before - inode.allocated.bit_count()
        inode.mtime = inode.ctime = self._now()
        if late:
            raise error(late)

    def fallocate(self, handle: Handle, size: int) -> None:
        """Reserve the room of the first `size` blocks and keep the file's size; ENOSPC keeps what it got.

        Learned: it changes the time of the content too. On tmpfs, what is allocated a second time becomes zeros that
        were written, which no search for holes finds.
        """
        if not handle.is_writable:
            raise error(errno.EBADF)
        late = self._change(Call.ALLOCATE)
        inode = handle.inode
        for index in range(size):
            if self.is_tmpfs and inode.allocated >> index & 1 and not inode.has_data(index):
                inode.disk[index] = ZEROS
            self._take_room(inode, 1 << index, is_overwriting=False)
        inode.mtime = inode.ctime = self._now()
        if late:
            raise error(late)

    def seek_hole(self, handle: Handle) -> int:
        """Return the first hole, or the size. Learned: ENXIO for an empty file, as offset 0 is behind its end."""
        self._may_fail(Call.SEEK)
        if handle.inode.size == 0:
            raise error(errno.ENXIO)
        return handle.inode.first_hole(self.sees_cached_holes)

    def write_back(self, handle: Handle) -> None:
        """Send dirty pages to the drive and wait, as sync_file_range: not durable, and an error is told once."""
        self._write_back(handle.inode)
        self._tell_errors(handle)

    def fsync(self, handle: Handle) -> None:
        """Make a file durable: its blocks, size, times, attributes, and the names that were given to it.

        A write-back error is raised once for each open file, and the next fsync is good. If the fsync itself is made
        to fail, what the drive had in its cache never becomes durable, though reads show it.
        """
        inode = handle.inode
        failure = self._take_fault(Call.FSYNC)
        if failure:
            inode.lose_flush()
            raise error(failure)
        if self.is_read_only:
            if inode.dirty or not inode.is_durable():
                raise error(errno.EROFS)
            return
        self._write_back(inode)
        self._tell_errors(handle)
        inode.make_durable()
        if self.pending:
            self._commit(inode)

    def set_mtime(self, handle: Handle, value: int) -> None:
        """Set the time of the last change of the content."""
        late = self._change(Call.SET_TIME)
        handle.inode.mtime = value
        handle.inode.ctime = self._now()
        if late:
            raise error(late)

    def setxattr(self, handle: Handle, name: str, value: bytes) -> None:
        """Set an extended attribute; EOPNOTSUPP where there are none."""
        if not self.has_attributes:
            raise error(errno.EOPNOTSUPP)
        late = self._change(Call.XATTR)
        handle.inode.attributes = handle.inode.attributes | {name: value}
        handle.inode.ctime = self._now()
        if late:
            raise error(late)

    def getxattr(self, handle: Handle, name: str) -> bytes:
        """Return an extended attribute; ENODATA if there is none of that name."""
        if not self.has_attributes:
            raise error(errno.EOPNOTSUPP)
        if name not in handle.inode.attributes:
            raise error(errno.ENODATA)
        return handle.inode.attributes[name]

    def lock(self, handle: Handle) -> bool:
        """Take the lock of the whole file for this open file description; False if another has it."""
        self._may_fail(Call.LOCK)
        if not handle.is_writable:
            raise error(errno.EBADF)
        if handle.inode.locked_by is None:
            handle.inode.locked_by = handle
        return handle.inode.locked_by is handle

    def is_locked(self, handle: Handle) -> bool:
        """Tell whether another open file description has the lock; takes nothing."""
        return handle.inode.locked_by not in (None, handle)

    def _take_room(self, inode: Inode, block: int, is_overwriting: bool = True) -> None:
        if inode.allocated & block:
            needs_room = self.copies_on_write and is_overwriting and block.bit_length() - 1 in inode.disk
            if needs_room and self.free == 0:
                raise error(errno.ENOSPC)
            return
        if self.free == 0:
            raise error(errno.ENOSPC)
        self.free -= 1
        inode.allocated |= block

    def _write_back(self, inode: Inode, only: int = -1) -> int:
        if not inode.dirty & only:
            return 0
        failure = self._take_fault(Call.WRITE_BACK)
        inode.write_back(failure, only)
        return failure

    def _fail_buffered(self, inode: Inode, index: int, token: int) -> None:
        number = self._take_fault(Call.WRITE)
        self._take_room(inode, 1 << index)
        inode.write_cached(index, token)
        inode.write_back(number, 1 << index)
        inode.mtime = inode.ctime = self._now()
        raise error(number)

    def _write_back_first(self, inode: Inode, index: int) -> None:
        """Write a dirty page back before its block is read or written past the cache; that call gets the error."""
        failure = self._write_back(inode, 1 << index)
        if failure:
            raise error(failure)

    def _tell_errors(self, handle: Handle) -> None:
        inode = handle.inode
        if handle.seen_errors != inode.errors:
            handle.seen_errors = inode.errors
            inode.error_seen = True
            raise error(inode.error_number)
