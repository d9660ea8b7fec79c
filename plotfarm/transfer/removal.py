"""Removing the source of a plot that is stored: only the very file that was hashed, and only if it is another file.

A plot directory may lead to the drive where the plot is stored: by the same path, a bind mount, a pool over the
drives, or a network file system. No number tells that, so the source gets a modification time that nobody can guess,
and if the stored plot has it too then both are one file.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from dataclasses import dataclass

from plotfarm.plots.identity import Change, FileIdentity
from plotfarm.transfer.effects import (
    ChooseTime,
    ForgetTime,
    HashSource,
    Lease,
    LeaseHolds,
    LeaseSource,
    LookAtSource,
    RememberTime,
    SetSourceTime,
    SourceError,
    SourceLook,
    Steps,
    StoredLook,
    SyncSourceDirectory,
    UnlinkSource,
    do,
)
from plotfarm.transfer.outcomes import Removal

_NOT_PERMITTED = (errno.EPERM, errno.EACCES, errno.EROFS)
# To what file systems round times, in ns: SMB and NTFS, others, SFTP and HFS+, FAT.
_ROUNDED_TO = (100, 1_000, 1_000_000, 1_000_000_000, 2_000_000_000)


@dataclass(frozen=True)
class Hashed:
    """A source that was hashed: which file it was then, and the hashes of its segments."""

    identity: FileIdentity
    segments: tuple[str, ...]


@dataclass(frozen=True)
class Removed:
    """What became of the source; `detail` is the kernel's word, or ""."""

    removal: Removal
    detail: str = ""


# Looks at the stored plot anew; None if it cannot be looked at any more.
LookAgain = Callable[[], Steps[StoredLook | None]]


def remove_source(hashed: Hashed, look_again: LookAgain) -> Steps[Removed]:
    """Remove the source of a stored plot, durably; whenever anything is in doubt it stays as it is."""
    try:
        lease = yield from do(LeaseSource())
        if lease is Lease.WRITER:
            return Removed(Removal.CHANGED, "somebody has it open for writing")
        look = yield from do(LookAtSource())
        changed = yield from _changed(hashed, look)
        if changed is not None:
            return changed
        return (yield from _remove_if_another_file(look, look_again))
    except SourceError as error:
        return Removed(_removal_of(error), error.detail)


def _changed(hashed: Hashed, look: SourceLook) -> Steps[Removed | None]:
    """Tell whether the source is no longer the file that was hashed, by reading it again where that is in doubt."""
    if not look.is_at_its_path:
        return Removed(Removal.GONE, "another file, or none, has its name now")
    change = hashed.identity.change_to(look.identity)
    if change is Change.CONTENT:
        return Removed(Removal.CHANGED, "it changed after it was read")
    if change is Change.ONLY_CTIME and (yield from do(HashSource())) != hashed.segments:
        return Removed(Removal.CHANGED, "its bytes changed after they were read")
    return None


def _remove_if_another_file(look: SourceLook, look_again: LookAgain) -> Steps[Removed]:
    old = look.identity.mtime_ns
    before = yield from look_again()
    if before is None:
        return Removed(Removal.UNKNOWN, "the stored plot could not be looked at again")
    if before.size != look.identity.size:
        return Removed(Removal.SUSPECT, "the stored plot has another size by now")
    if is_same_time(before.mtime_ns, old):
        return Removed(Removal.SUSPECT, "the stored plot has the same modification time")

    new = yield from do(ChooseTime(but=old))
    yield from do(RememberTime(old, new))
    # Where no lease keeps writers away, setting the time would hide what they wrote since the last look.
    if (yield from do(LookAtSource())) != look:
        yield from do(ForgetTime())
        return Removed(Removal.CHANGED, "it changed after it was read")
    try:
        yield from do(SetSourceTime(new))
    except SourceError as error:
        yield from _restore_time(old)  # a pool may have set some of its files
        return Removed(Removal.SUSPECT, error.detail)

    marked = yield from do(LookAtSource())
    stays = yield from _compare_again(before, new, look_again)
    if stays is None:
        stays = yield from _unlink(look, marked, new)
    if stays is not None:
        yield from _restore_time(old)
        return stays
    yield from do(ForgetTime())
    return (yield from _look_back(look))


def is_same_time(seen: int, told: int) -> bool:
    """Tell whether a time (ns) may be another one as a coarser file system shows it: sshfs knows whole seconds."""
    return seen == told or any(seen % unit == 0 and abs(seen - told) < unit for unit in _ROUNDED_TO)


def _compare_again(before: StoredLook, new: int, look_again: LookAgain) -> Steps[Removed | None]:
    """Tell why the source has to stay, now that its time is `new`; None if the stored plot is another file."""
    after = yield from look_again()
    if after is None:
        return Removed(Removal.UNKNOWN, "the stored plot could not be looked at again")
    if is_same_time(after.mtime_ns, new):
        return Removed(Removal.SAME_FILE, "it is the very file that is stored")
    if after != before:
        return Removed(Removal.SUSPECT, "the stored plot changed meanwhile")
    if not (yield from do(LeaseHolds())):
        return Removed(Removal.CHANGED, "somebody has opened it for writing")
    return None


def _unlink(look: SourceLook, marked: SourceLook, new: int) -> Steps[Removed | None]:
    """Remove the source's name, if nobody touched it since it was marked with its new time; why it stays, if so."""
    again = yield from do(LookAtSource())
    expected = (look.identity.device, look.identity.inode, look.identity.size, new)
    now = (again.identity.device, again.identity.inode, again.identity.size, again.identity.mtime_ns)
    if not again.is_at_its_path or again != marked or now != expected:
        return Removed(Removal.CHANGED, "it changed while it was to be removed")
    try:
        is_unlinked = yield from do(UnlinkSource(again.identity))
    except SourceError as error:
        return Removed(_removal_of(error), error.detail)
    if not is_unlinked:
        return Removed(Removal.GONE, "another file, or none, has its name now")
    return None


def _look_back(look: SourceLook) -> Steps[Removed]:
    """After the removal: make it durable, and see that it was this file which lost a name."""
    detail = ""
    try:
        yield from do(SyncSourceDirectory())
    except SourceError as error:
        detail = error.detail  # after a power cut it may be there again, and is compared anew then
    after = yield from do(LookAtSource())
    if after.links >= look.links:
        return Removed(Removal.STILL_LINKED, f"it had {look.links} names before, and has {after.links} after")
    return Removed(Removal.REMOVED, detail)


def _restore_time(old: int) -> Steps[None]:
    """Give a source that stays its own time back; where that fails the next run tries again."""
    try:
        yield from do(SetSourceTime(old))
    except SourceError:
        return
    yield from do(ForgetTime())


def _removal_of(error: SourceError) -> Removal:
    return Removal.NOT_PERMITTED if error.number in _NOT_PERMITTED else Removal.UNKNOWN
