"""Models that are wrong in one thing each: the comparison with real drives has to find every one of them."""

from __future__ import annotations

from tests.simulation.filesystem import Drive, Handle


class _DurableAtOnce(Drive):
    __slots__ = ()

    def write(self, handle: Handle, index: int, token: int, direct: bool = False) -> None:
        super().write(handle, index, token, direct)
        if direct:
            handle.inode.make_durable()


class _NamesDurableAtOnce(Drive):
    __slots__ = ()

    def unlink(self, name: str) -> None:
        super().unlink(name)
        self._commit(None)


class _WriteBackIsDurable(Drive):
    __slots__ = ()

    def write_back(self, handle: Handle) -> None:
        super().write_back(handle)
        handle.inode.make_durable()


class _HolesWithoutCache(Drive):
    __slots__ = ()

    def seek_hole(self, handle: Handle) -> int:
        size = super().seek_hole(handle)
        holes = [index for index in range(handle.inode.size) if not handle.inode.has_data(index)]
        return min([size, *holes])


class _LinkReplaces(Drive):
    __slots__ = ()

    def link(self, old: str, new: str) -> None:
        self._find(old)
        if new in self.names and self.names[new] is not self.names[old]:
            self.unlink(new)
        super().link(old, new)


class _LockOutlivesClose(Drive):
    __slots__ = ()

    def close(self, handle: Handle) -> None:
        holder = handle.inode.locked_by
        super().close(handle)
        handle.inode.locked_by = holder


class _TruncateKeepsPages(Drive):
    __slots__ = ()

    def truncate(self, handle: Handle, size: int) -> None:
        before = dict(handle.inode.cache)
        super().truncate(handle, size)
        handle.inode.cache = before


WRONG: dict[str, type[Drive]] = {
    "nothing": Drive,
    "durable at once": _DurableAtOnce,
    "names durable at once": _NamesDurableAtOnce,
    "write-back is durable": _WriteBackIsDurable,
    "holes without cache": _HolesWithoutCache,
    "link replaces": _LinkReplaces,
    "lock outlives close": _LockOutlivesClose,
    "truncate keeps pages": _TruncateKeepsPages,
}
