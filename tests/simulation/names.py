"""What can be done with the names of a modelled drive."""

from __future__ import annotations

import errno

from plotfarm.base.disk_error import Call
from tests.simulation.inodes import Inode
from tests.simulation.state import Change, Handle, State, Status, error

FIRST_INODE = 12


class Names(State):
    """The directory of a drive."""

    __slots__ = ()

    def list(self) -> list[str]:
        """Return the names in order."""
        self._may_fail(Call.LIST)
        return sorted(self.names)

    def create(self, name: str, exclusive: bool = True) -> Handle:
        """Make a file and open it for writing; one that exists is opened, or EEXIST if it must be new."""
        if name in self.names:
            if exclusive:
                raise error(errno.EEXIST)
            return self.open(name, is_writable=True)
        late = self._change(Call.CREATE)
        inode = self._new_inode()
        self._set_names(((name, inode),))
        if late:
            raise error(late)
        return Handle(inode, is_writable=True)

    def symlink(self, target: str, name: str) -> None:
        """Make a symbolic link to a name of this drive."""
        late = self._change(Call.LINK)
        if name in self.names:
            raise error(errno.EEXIST)
        inode = self._new_inode()
        inode.target = target
        self._set_names(((name, inode),))
        if late:
            raise error(late)

    def open(self, name: str, nofollow: bool = True, is_writable: bool = False) -> Handle:
        """Open a file. ELOOP for a symbolic link that is not to be followed."""
        self._may_fail(Call.OPEN)
        inode = self._find(name)
        if inode.target is not None:
            if nofollow:
                raise error(errno.ELOOP)
            inode = self._find(inode.target)
        if is_writable and self.is_read_only:
            raise error(errno.EROFS)
        return Handle(inode, is_writable)

    def link_open_file(self, handle: Handle, name: str) -> None:
        """Give an open file one more name; EEXIST if it is taken, ENOENT if the file has no name left."""
        self._link(handle.inode, name)

    def link(self, old: str, new: str) -> None:
        """Give a file one more name; never replaces."""
        self._link(self._find(old), new)

    def unlink(self, name: str) -> None:
        """Remove a name; the file goes with its last name and its last open file."""
        self._find(name)
        late = self._change(Call.UNLINK)
        self._set_names(((name, None),))
        if late:
            raise error(late)

    def unlink_if_same(self, handle: Handle, name: str) -> bool:
        """Remove a name if it still is the open file; False if it is not, or is gone."""
        if self.names.get(name) is not handle.inode:
            return False
        self.unlink(name)
        return True

    def rename_noreplace(self, old: str, new: str) -> None:
        """Rename; EEXIST if the new name is taken, also by the same file."""
        self._find(old)
        if new in self.names:
            raise error(errno.EEXIST)
        self.rename(old, new)

    def rename(self, old: str, new: str) -> None:
        """Rename, and replace what has the new name: as `mv -f`.

        Learned: two names of one file both stay, and nothing is done. A power cut may leave neither the replaced file
        under its name nor the new one: btrfs takes the replaced name off the log of an earlier fsync, and any later
        fsync of another file writes that log.
        """
        inode = self._find(old)
        late = self._change(Call.RENAME)
        if self.names.get(new) is not inode:
            inode.ctime = self._now()
            if new in self.names:
                self._set_names(((new, None),))
            self._set_names(((old, None), (new, inode)))
        if late:
            raise error(late)

    def stat(self, name: str) -> Status:
        """Return what stat tells of a name, without following it."""
        self._may_fail(Call.STAT)
        return self._status(self._find(name))

    def fsync_directory(self) -> None:
        """Make all names durable.

        An error leaves them in doubt, and the next success counts: a file system whose journal failed answers no
        more, it does not forget.
        """
        self._may_fail(Call.SYNC_DIRECTORY)
        if self.is_read_only and self.pending:
            raise error(errno.EROFS)
        self._commit(None)

    def _find(self, name: str) -> Inode:
        inode = self.names.get(name)
        if inode is None:
            raise error(errno.ENOENT)
        return inode

    def _new_inode(self) -> Inode:
        number = FIRST_INODE
        while number in self.inodes:
            number += 1
        self.generation += 1
        inode = Inode(number, self.generation, self._now())
        self.inodes[number] = inode
        return inode

    def _link(self, inode: Inode, name: str) -> None:
        late = self._change(Call.LINK)
        if name in self.names:
            raise error(errno.EEXIST)
        if inode.links == 0:
            raise error(errno.ENOENT)
        inode.ctime = self._now()
        self._set_names(((name, inode),))
        if late:
            raise error(late)

    def _set_names(self, change: Change) -> None:
        self.pending.append(change)
        replaced = [self.names.pop(name, None) for name, _ in change]
        for name, inode in change:
            if inode is not None:
                self.names[name] = inode
                inode.links += 1
        for before in replaced:
            if before is not None:
                before.links -= 1
                before.ctime = self._now()
                self._forget_if_unused(before)
