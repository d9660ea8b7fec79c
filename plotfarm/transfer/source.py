"""The plot that is to be moved: opened once and held, so that only this very file is ever removed."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

from plotfarm.base import kernel
from plotfarm.base.disk_error import Call, DiskError
from plotfarm.base.errors import TransferFailed
from plotfarm.plots.identity import Change, FileIdentity
from plotfarm.plots.names import escaped
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
    SourceEffect,
    SourceError,
    SourceLook,
    SyncSourceDirectory,
    UnlinkSource,
)
from plotfarm.transfer.hashing import SourceShort, hash_source

_SECOND = 10**9
# A time between 2001 and 2017: no plot was made then, and none looks as if it came from the future.
_EARLIEST, _LATEST = 10**9, 1_500_000_000


def open_source(path: Path, identity: FileIdentity) -> int:
    """Open a plot for reading; TransferFailed if it is not the file that was looked at, or must not be removed."""
    shown = escaped(str(path))
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise TransferFailed(f"{shown} cannot be opened: {error.strerror}") from None
    if kernel.is_overlay(descriptor):
        os.close(descriptor)
        raise TransferFailed(
            f"{shown} lies on an overlay file system, where a file cannot be told from its copies: name the directory "
            "where it really lies"
        )
    if identity.change_to(FileIdentity.of(os.fstat(descriptor))) is Change.CONTENT:
        os.close(descriptor)
        raise TransferFailed(f"{shown} changed before it was sent")
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_SEQUENTIAL)
    return descriptor


class TimeNotes:
    """Where it is remembered that a source's time was changed for a moment; this one remembers nothing."""

    def remember(self, path: Path, old: int, new: int) -> None:
        """Remember durably that the time of `path` goes from `old` to `new` (ns of Unix time)."""

    def forget(self, path: Path) -> None:
        """Forget it: the time is `old` again, or the file is gone."""


class Source:
    """The source of one journey, open as `descriptor`; `on_progress` hears how many bytes were read."""

    def __init__(
        self,
        descriptor: int,
        path: Path,
        segment_bytes: int,
        notes: TimeNotes,
        on_progress: Callable[[int], None] = lambda done: None,
    ) -> None:
        self.descriptor = descriptor
        self._path = path
        self._segment_bytes = segment_bytes
        self._notes = notes
        self._on_progress = on_progress
        with _calling(Call.OPEN, path):
            self._directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._is_leased = False
        self._carriers: dict[type[SourceEffect[Any]], Callable[[Any], Any]] = {
            LookAtSource: self._look,
            HashSource: self._hash,
            LeaseSource: self._lease,
            LeaseHolds: self._lease_holds,
            ChooseTime: self._choose_time,
            RememberTime: self._remember_time,
            SetSourceTime: self._set_time,
            ForgetTime: self._forget_time,
            UnlinkSource: self._unlink,
            SyncSourceDirectory: self._sync_directory,
        }

    def carry_out(self, effect: SourceEffect[Any]) -> Any:
        """Carry out one effect and return its result; SourceError as its class says."""
        return self._carriers[type(effect)](effect)

    @property
    def directory(self) -> int:
        """The source's directory, open."""
        return self._directory

    def close(self) -> None:
        """Let go of the source and of its lease."""
        os.close(self._directory)
        os.close(self.descriptor)

    def _look(self, _: LookAtSource) -> SourceLook:
        with _calling(Call.STAT, self._path):
            status = os.fstat(self.descriptor)
        return SourceLook(FileIdentity.of(status), self._named() == FileIdentity.of(status), status.st_nlink)

    def _named(self) -> FileIdentity | None:
        """Return what the source's name leads to now, without following a link."""
        try:
            return FileIdentity.of(os.stat(self._path.name, dir_fd=self._directory, follow_symlinks=False))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _error(Call.STAT, self._path, error) from error

    def _hash(self, effect: HashSource) -> tuple[str, ...]:
        with _calling(Call.STAT, self._path):
            size = os.fstat(self.descriptor).st_size
        try:
            return hash_source(
                self.descriptor, size, self._on_progress, effect.segments, segment_bytes=self._segment_bytes
            )
        except DiskError as error:
            detail = f"{escaped(str(self._path))} cannot be read: {os.strerror(error.number)}"
            raise SourceError(Call.READ, error.number, detail) from error
        except SourceShort as error:
            raise SourceError(Call.READ, errno.ENODATA, f"{escaped(str(self._path))}: {error}") from error

    def _lease(self, _: LeaseSource) -> Lease:
        try:
            fcntl.fcntl(self.descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        except OSError as error:
            return Lease.WRITER if error.errno in (errno.EAGAIN, errno.EBUSY) else Lease.UNSUPPORTED
        self._is_leased = True
        return Lease.HELD

    def _lease_holds(self, _: LeaseHolds) -> bool:
        return not self._is_leased or fcntl.fcntl(self.descriptor, fcntl.F_GETLEASE) == fcntl.F_RDLCK

    def _choose_time(self, effect: ChooseTime) -> int:
        while True:
            chosen = (_EARLIEST + secrets.randbelow(_LATEST - _EARLIEST)) * _SECOND
            if abs(chosen - effect.but) > 10 * _SECOND:
                return chosen

    def _remember_time(self, effect: RememberTime) -> None:
        self._notes.remember(self._path, effect.old, effect.new)

    def _forget_time(self, _: ForgetTime) -> None:
        self._notes.forget(self._path)

    def _set_time(self, effect: SetSourceTime) -> None:
        with _calling(Call.SET_TIME, self._path):
            accessed = os.fstat(self.descriptor).st_atime_ns
            os.utime(self._path.name, ns=(accessed, effect.mtime_ns), dir_fd=self._directory, follow_symlinks=False)

    def _unlink(self, effect: UnlinkSource) -> bool:
        if self._named() != effect.expected:
            return False
        with _calling(Call.UNLINK, self._path):
            os.unlink(self._path.name, dir_fd=self._directory)
        return True

    def _sync_directory(self, _: SyncSourceDirectory) -> None:
        with _calling(Call.SYNC_DIRECTORY, self._path):
            os.fsync(self._directory)


def restore_time(path: Path, old: int, new: int) -> bool:
    """Give a file the time `old` back if it still has `new`: a run died before it could.

    Also if it shows `old`: a pool shows the time of one of its branches only. False if it is not known yet whether that
    is done: the directory may just not be mounted.
    """
    try:
        status = os.stat(path, follow_symlinks=False)
        if status.st_mtime_ns in (new, old):
            os.utime(path, ns=(status.st_atime_ns, old), follow_symlinks=False)
    except FileNotFoundError:
        return _is_in_use(path.parent)
    except OSError:
        return False
    return True


def _is_in_use(directory: Path) -> bool:
    """Tell whether anything lies in a directory: an empty one may be the mountpoint of what is not mounted."""
    try:
        return bool(os.listdir(directory))
    except OSError:
        return False


@contextlib.contextmanager
def _calling(call: Call, path: Path) -> Any:
    try:
        yield
    except OSError as error:
        raise _error(call, path, error) from error


def _error(call: Call, path: Path, error: OSError) -> SourceError:
    return SourceError(call, error.errno or 0, f"{escaped(str(path))}: {call.value}: {error.strerror}")
