"""Carrying out the effects of a journey on a real drive, in the process that may hang with it.

One directory, one part and at most one stored file are held open. Names are only trusted where they still lead to what
is held, and nothing is written to, or cut from, a part that has another name by now.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from plotfarm.base import kernel
from plotfarm.base.disk_error import Call, DiskError, calling
from plotfarm.base.errors import PlotfarmError
from plotfarm.plots.parts import lock_part, mark_committed, part_name, read_facts, write_facts
from plotfarm.transfer.direct_io import first_hole, hash_back
from plotfarm.transfer.effects import (
    AllocatePart,
    CheckSamples,
    CommitPart,
    CreatePart,
    DiskEffect,
    FirstHole,
    Fit,
    IsMounted,
    LinkPart,
    LookAtStored,
    Naming,
    OpenDrive,
    OpenPart,
    OpenStored,
    ReadPart,
    ReadStored,
    RemovePart,
    RenamePart,
    Stopped,
    StoredLook,
    SyncDirectory,
    SyncPart,
    SyncStored,
    TrimPart,
    TruncatePart,
    UnlinkPart,
)
from plotfarm.transfer.outcomes import Failure
from plotfarm.transfer.samples import Sample, SampleDiffers, check_samples

_NO_LINKS = (errno.EXDEV, errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)
_PLOT_MODE = 0o644  # the harvester that reads the plot may run as another user
_NO_RENAMES = (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP)


@dataclass(frozen=True)
class Site:
    """A drive as a place for plots: its directory, opened and checked by functions that may block."""

    directory: str
    open_directory: Callable[[], int]  # a directory descriptor; PlotfarmError if the drive is not usable
    is_still_there: Callable[[int], bool]  # whether that descriptor is still what the path leads to


class Disk:
    """The drive of one journey. `on_progress` hears how many bytes were read or written."""

    def __init__(self, site: Site, segment_bytes: int, on_progress: Callable[[int], None]) -> None:
        self._site = site
        self._segment_bytes = segment_bytes
        self._on_progress = on_progress
        self._directory = -1
        self._part = -1
        self._part_name = ""
        self._stored = -1
        self.is_allocated = False  # there is room for all of the part, by the file system's word
        self.samples: tuple[Sample, ...] = ()  # of the bytes that arrived; whoever writes them notes them here
        self._carriers: dict[type[DiskEffect[Any]], Callable[[Any], Any]] = {
            OpenDrive: self._open_drive,
            OpenPart: self._open_part,
            CreatePart: self._create_part,
            AllocatePart: self._allocate,
            SyncPart: self._sync_part,
            ReadPart: self._read_part,
            TruncatePart: self._truncate,
            TrimPart: self._trim,
            RemovePart: self._remove,
            CommitPart: self._commit,
            FirstHole: self._first_hole,
            CheckSamples: self._check_samples,
            IsMounted: self._is_mounted,
            LinkPart: self._link,
            RenamePart: self._rename,
            UnlinkPart: self._unlink,
            SyncDirectory: self._sync_directory,
            OpenStored: self._open_stored,
            SyncStored: self._sync_stored,
            ReadStored: self._read_stored,
            LookAtStored: self._look_at_stored,
        }

    def carry_out(self, effect: DiskEffect[Any]) -> Any:
        """Carry out one effect and return its result; DiskError or Stopped as its class says."""
        return self._carriers[type(effect)](effect)

    @property
    def directory(self) -> int:
        """The directory of the drive that is held; after OpenDrive."""
        return self._directory

    @property
    def part(self) -> int:
        """The part that is held; after OpenPart or CreatePart."""
        return self._part

    @property
    def stored(self) -> int | None:
        """The stored file that is held, None if there is none; after OpenStored."""
        return self._stored if self._stored >= 0 else None

    # ---- The drive ----

    def _open_drive(self, _: OpenDrive) -> None:
        try:
            self._directory = self._site.open_directory()
        except PlotfarmError as error:
            raise Stopped(Failure.UNMOUNTED, str(error)) from None

    def _is_mounted(self, _: IsMounted) -> bool:
        return self._site.is_still_there(self._directory)

    def _sync_directory(self, _: SyncDirectory) -> None:
        with calling(Call.SYNC_DIRECTORY):
            os.fsync(self._directory)

    # ---- The part ----

    def _open_part(self, effect: OpenPart) -> bool:
        flags = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            descriptor = os.open(effect.name, flags, dir_fd=self._directory)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ELOOP, errno.ENXIO, errno.EACCES, errno.EPERM, errno.EISDIR):
                return False
            raise DiskError(Call.OPEN, error.errno or 0) from error

        self._part_name = effect.name
        with calling(Call.STAT):
            is_regular = stat.S_ISREG(os.fstat(descriptor).st_mode)
        is_ours = is_regular and lock_part(descriptor) and read_facts(descriptor) == effect.facts
        if not is_ours or not self._is_only_name(descriptor):
            os.close(descriptor)
            return False
        self._part = descriptor
        return True

    def _create_part(self, effect: CreatePart) -> None:
        name = part_name(effect.plot, effect.arrival)
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with calling(Call.CREATE), _readable_for_all():
            self._part = os.open(name, flags, _PLOT_MODE, dir_fd=self._directory)
        self._part_name = name
        if not lock_part(self._part):
            raise Stopped(Failure.PART_CHANGED, "somebody else has taken the part that was just made")
        write_facts(self._part, effect.facts)  # without them it cannot be resumed, which loses nothing

    def _allocate(self, effect: AllocatePart) -> None:
        with calling(Call.ALLOCATE):
            if not kernel.is_in_memory(self._part):
                self.is_allocated = kernel.allocate_keeping_size(self._part, effect.size)

    def _sync_part(self, _: SyncPart) -> None:
        with calling(Call.FSYNC):
            os.fsync(self._part)

    def _read_part(self, effect: ReadPart) -> tuple[str, ...]:
        size = effect.size
        if size is None:
            with calling(Call.STAT):
                size = os.fstat(self._part).st_size
            size -= size % self._segment_bytes
            if size == 0:
                return ()
        return hash_back(self._part, 0, size, self._on_progress, segment_bytes=self._segment_bytes)

    def _truncate(self, effect: TruncatePart) -> None:
        self._refuse_another_name()
        with calling(Call.TRUNCATE):
            os.ftruncate(self._part, effect.segments * self._segment_bytes)

    def _trim(self, _: TrimPart) -> int:
        if self._part < 0:
            return 0
        self._refuse_another_name()
        with calling(Call.TRUNCATE):
            size = os.fstat(self._part).st_size
            os.ftruncate(self._part, size)
        return size

    def _commit(self, _: CommitPart) -> None:
        self._refuse_another_name()
        mark_committed(self._part)

    def _first_hole(self, _: FirstHole) -> int:
        return first_hole(self._part)

    def _check_samples(self, _: CheckSamples) -> bool:
        try:
            check_samples(self._part, self.samples, self._on_progress)
        except SampleDiffers:
            return False
        return True

    def _refuse_another_name(self) -> None:
        if not self._is_only_name(self._part):
            detail = f"{self._part_name} was moved, removed, or has a second name: it is left alone"
            raise Stopped(Failure.PART_CHANGED, detail)

    def _is_only_name(self, descriptor: int) -> bool:
        """Tell whether the part's name leads to this open file, and no other name does."""
        with calling(Call.STAT):
            status = os.fstat(descriptor)
        return status.st_nlink == 1 and self._leads_to(self._part_name, descriptor)

    def _leads_to(self, name: str, descriptor: int) -> bool:
        try:
            named = os.stat(name, dir_fd=self._directory, follow_symlinks=False)
        except FileNotFoundError:
            return False
        except OSError as error:
            raise DiskError(Call.STAT, error.errno or 0) from error
        return os.path.samestat(named, os.fstat(descriptor))

    # ---- Its name ----

    def _link(self, effect: LinkPart) -> Naming:
        return link_open_file(self._part, effect.plot, self._directory)

    def _rename(self, effect: RenamePart) -> Naming:
        self._refuse_another_name()
        try:
            kernel.rename_without_replacing(self._directory, self._part_name, effect.plot)
        except FileExistsError:
            return Naming.TAKEN
        except OSError as error:
            if error.errno in _NO_RENAMES:
                return Naming.UNSUPPORTED
            raise DiskError(Call.RENAME, error.errno or 0) from error
        if not self._leads_to(effect.plot, self._part):
            raise DiskError(Call.RENAME, errno.ESTALE)
        return Naming.NAMED

    def _unlink(self, _: UnlinkPart) -> None:
        if self._leads_to(self._part_name, self._part):
            with calling(Call.UNLINK), contextlib.suppress(FileNotFoundError):
                os.unlink(self._part_name, dir_fd=self._directory)

    def _remove(self, _: RemovePart) -> None:
        if self._part >= 0 and self._is_only_name(self._part):
            with calling(Call.UNLINK), contextlib.suppress(FileNotFoundError):
                os.unlink(self._part_name, dir_fd=self._directory)

    # ---- The stored plot ----

    def _open_stored(self, effect: OpenStored) -> Fit:
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            descriptor = os.open(effect.plot, flags, dir_fd=self._directory)
        except FileNotFoundError:
            return Fit.GONE
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.ENXIO, errno.EACCES, errno.EPERM):
                return Fit.OTHER
            raise DiskError(Call.OPEN, error.errno or 0) from error

        with calling(Call.STAT):
            status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_size != effect.size:
            os.close(descriptor)
            return Fit.OTHER
        if self._stored >= 0:
            os.close(self._stored)
        self._stored = descriptor
        return Fit.SAME_SIZE

    def _sync_stored(self, _: SyncStored) -> None:
        with calling(Call.FSYNC):
            os.fsync(self._stored)

    def _read_stored(self, effect: ReadStored) -> tuple[str, ...]:
        return hash_back(self._stored, 0, effect.size, self._on_progress, segment_bytes=self._segment_bytes)

    def _look_at_stored(self, effect: LookAtStored) -> StoredLook:
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        with calling(Call.OPEN):
            descriptor = os.open(effect.plot, flags, dir_fd=self._directory)
        try:
            with calling(Call.STAT):
                status = os.fstat(descriptor)
                held = os.fstat(self._stored if self._stored >= 0 else self._part)
                size, mtime_ns = kernel.size_and_time_anew(descriptor)
        finally:
            os.close(descriptor)
        if not os.path.samestat(status, held):
            raise Stopped(Failure.PART_CHANGED, f"{effect.plot} is another file than was stored")
        return StoredLook(size, mtime_ns)


@contextlib.contextmanager
def _readable_for_all() -> Iterator[None]:
    """Create files without the umask of whatever started this process.

    Not by a chmod afterwards: a default ACL of the directory goes on to count, and so does the mode of a whole mount.
    """
    before = os.umask(0)
    try:
        yield
    finally:
        os.umask(before)


def link_open_file(descriptor: int, name: str, directory: int) -> Naming:
    """Give an open file one more name, which never replaces anything: linkat(2). DiskError if it may have it or not."""
    try:
        os.link(f"/proc/self/fd/{descriptor}", name, dst_dir_fd=directory, follow_symlinks=True)
    except FileExistsError:
        return Naming.TAKEN
    except FileNotFoundError:  # it has no name at all any more
        raise Stopped(Failure.PART_CHANGED, "the part was removed meanwhile") from None
    except OSError as error:
        if error.errno in _NO_LINKS:
            return Naming.UNSUPPORTED
        raise DiskError(Call.LINK, error.errno or 0) from error
    return Naming.NAMED
