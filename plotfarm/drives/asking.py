"""Asking one drive for its room, for its parts, for plots that may lie on it, and for all of its plots.

Everything here touches the drive and may block for ever: it is called in the probe's helper.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from plotfarm.base.disk_error import DiskError
from plotfarm.drives.model import NO_FILE, Drive, DriveUnusable
from plotfarm.drives.mount_identity import mount_identity
from plotfarm.drives.mount_table import Mount
from plotfarm.drives.opening import named_disk, open_mounted
from plotfarm.plots.parts import FoundPart, PartFacts, list_parts


def ask_drive(drive: Drive, names: Collection[str], table: Sequence[Mount]) -> dict[str, Any]:
    """Return the fields of a drive's Reading, as JSON can carry them; without its plots."""
    try:
        directory = open_mounted(drive, table)
    except DriveUnusable as error:
        return {"problem": error.reason}
    try:
        if not os.access(".", os.W_OK | os.X_OK, dir_fd=directory, effective_ids=True):
            return {"problem": "this user may not write there"}
        room = os.statvfs(directory)
        if room.f_flag & os.ST_RDONLY:
            return {"problem": "mounted read-only"}
        return {
            "total_bytes": room.f_blocks * room.f_frsize,
            "free_bytes": room.f_bavail * room.f_frsize,
            "disk": named_disk(directory) if drive.directory_mode else "",
            "found": _look_for(names, directory),
            "parts": [asdict(part) for part in list_parts(directory)],
            "mount": mount_identity(drive),
        }
    except OSError as error:
        return {"problem": f"answers with an error: {error.strerror}"}
    except DiskError as error:
        return {"problem": f"answers with an error: {os.strerror(error.number)}"}
    finally:
        os.close(directory)


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
    drive: Drive, known: Mapping[int, int], elsewhere: Collection[str], table: Sequence[Mount], until: float
) -> Iterator[dict[str, Any]]:
    """Yield the counts of drives.counting, or why there are none as `uncounted`."""
    from plotfarm.drives.counting import OutOfTimeError, count_plots  # only where plots are counted

    try:
        directory = open_mounted(drive, table)
    except DriveUnusable as error:
        yield {"uncounted": error.reason}
        return
    counted = False
    try:
        for count in count_plots(directory, drive.mountpoint, known, elsewhere, until):
            yield count
            counted = True
    except OutOfTimeError:
        yield {"uncounted": "its directories could not be listed in time"}
    except OSError as error:
        if not counted:
            yield {"uncounted": f"answers with an error: {error.strerror}"}
    finally:
        os.close(directory)
