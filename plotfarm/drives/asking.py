"""Asking one drive for its room, for its parts, for plots that may lie on it, and for all of its plots.

Everything here touches the drive and may block for ever: it is called in the probe's helper.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from plotfarm.base.disk_error import DiskError
from plotfarm.drives.effort import Effort, OutOfTimeError
from plotfarm.drives.file_system_uuid import uuid_on
from plotfarm.drives.model import NO_FILE, Drive, DriveUnusable, NoParts, has_uuid
from plotfarm.drives.mount_identity import mount_identity
from plotfarm.drives.mount_table import Mount, mount_of
from plotfarm.drives.opening import named_disk, open_mounted
from plotfarm.drives.reasons import Reason, Why, why_of_error
from plotfarm.drives.root_parts import look_for_parts
from plotfarm.plots.names import escaped
from plotfarm.plots.parts import FoundPart, PartFacts

if TYPE_CHECKING:
    from plotfarm.drives.counted import CountedDirectory


def ask_drive(
    drive: Drive, names: Collection[str], table: Sequence[Mount], no_parts: NoParts | None = None
) -> dict[str, Any]:
    """Return the fields of a drive's Reading, as JSON can carry them; without its plots.

    `no_parts`: as drives.root_parts takes it.
    """
    try:
        directory = open_mounted(drive, table)
    except DriveUnusable as error:
        return _problem(error.why)
    try:
        room = os.statvfs(directory)
        size = {
            "total_bytes": room.f_blocks * room.f_frsize,
            "free_bytes": room.f_bavail * room.f_frsize,
            "has_inodes": room.f_files == 0 or room.f_favail > 0,  # 0: that file system has no table of them
            "disk": named_disk(directory) if drive.directory_mode else "",
            "mount": mount_identity(drive),
            "uuid": _uuid(drive, directory, table),
        }
        why = _why_not_writable(drive, directory, room, table)
        if why is not None:
            return {**size, **_problem(why)}
        found = _look_for(names, directory)
        parts, without = look_for_parts(directory, no_parts)
        return {
            **size,
            "found": found,
            "parts": [asdict(part) for part in parts],
            "no_parts": asdict(without) if without else None,
        }
    except OSError as error:
        return _problem(why_of_error(error))
    except DiskError as error:
        return _problem(why_of_error(OSError(error.number, "")))
    finally:
        os.close(directory)


def _uuid(drive: Drive, directory: int, table: Sequence[Mount]) -> str:
    """Return the UUID of a drive that is known by its place only."""
    mount = mount_of(directory, table)
    if drive.directory_mode or has_uuid(drive.identity) or mount is None:
        return ""
    return uuid_on(directory, mount)


def ask_for_names(drive: Drive, names: Collection[str], table: Sequence[Mount]) -> dict[str, Any]:
    """Return which plots of these names lie on a drive, in the same form, and nothing else of it."""
    try:
        directory = open_mounted(drive, table)
    except DriveUnusable as error:
        return _problem(error.why)
    try:
        return {"found": _look_for(names, directory)}
    except OSError as error:
        return _problem(why_of_error(error))
    finally:
        os.close(directory)


def _problem(why: Why) -> dict[str, Any]:
    return {"problem": asdict(why)}


def _why_not_writable(drive: Drive, directory: int, room: os.statvfs_result, table: Sequence[Mount]) -> Why | None:
    """Return why nothing can be written to an open directory, None if it can: the drive itself is not asked."""
    mount = mount_of(directory, table)
    if mount is not None and mount.is_shut_down:
        return Why(Reason.IO_ERROR, "its file system was shut down after errors")
    if room.f_flag & os.ST_RDONLY or (mount is not None and mount.read_only):
        return Why(Reason.MEANT_READ_ONLY if drive.is_meant_read_only else Reason.READ_ONLY)
    if not os.access(".", os.W_OK | os.X_OK, dir_fd=directory, effective_ids=True):
        return Why(Reason.NO_PERMISSION)
    return None


def part_of(carried: Mapping[str, Any]) -> FoundPart:
    """Make one of the `parts` of `ask_drive` of what JSON carried of it."""
    facts = carried["facts"]
    return FoundPart(**{**carried, "facts": None if facts is None else PartFacts(**facts)})


def _look_for(names: Collection[str], directory: int) -> dict[str, int]:
    found: dict[str, int] = {}
    for name in names:
        try:
            facts = os.stat(name, dir_fd=directory, follow_symlinks=False)
        except FileNotFoundError:
            continue
        if not stat.S_ISREG(facts.st_mode):
            found[name] = NO_FILE
        else:
            found[name] = facts.st_size
    return found


def ask_for_plots(
    drive: Drive,
    known: Mapping[str, CountedDirectory],
    elsewhere: Collection[str],
    table: Sequence[Mount],
    effort: Effort,
) -> Iterator[dict[str, Any]]:
    """Yield what drives.counting finds, as JSON can carry it: `directory`, `count`, `read_error`, or `uncounted`.

    A later count replaces an earlier one. `read_error` is why something below could not be read, or None if all could.
    """
    from plotfarm.drives.below import PlaceError  # only where plots are counted
    from plotfarm.drives.counted import Count, CountedDirectory
    from plotfarm.drives.counting import count_plots

    try:
        directory = open_mounted(drive, table)
    except DriveUnusable as error:
        yield _uncounted(error.why)
        return
    counted = False
    try:
        for news in count_plots(directory, drive.mountpoint, known, elsewhere, effort):
            if isinstance(news, CountedDirectory):
                yield {"directory": news.to_json()}
            elif isinstance(news, Count):
                counted = True
                yield {"count": asdict(news)}
            else:
                yield {"read_error": asdict(news.error) if news.error else None}
    except OutOfTimeError:
        if not counted:
            yield _uncounted(Why(Reason.NOT_COUNTED_IN_TIME))
    except OSError as error:
        why = why_of_error(error)
        if isinstance(error, PlaceError) and error.place and why.reason is Reason.IO_ERROR:
            why = Why(Reason.IO_ERROR, f"{why.detail} in {escaped(error.place)}")
        yield {"read_error": asdict(why)} if counted else _uncounted(why)  # a count by names is kept
    finally:
        os.close(directory)


def _uncounted(why: Why) -> dict[str, Any]:
    return {"uncounted": asdict(why)}
