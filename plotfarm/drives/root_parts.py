"""Looking for parts on a drive, without listing a directory of thousands of plots in every minute.

Parts lie in the root of a drive. Whatever adds or renames a file there changes the ctime of that directory, which no
user can set: as long as it looks as it did when no part lay there, none does. That is believed only of a directory that
had been left alone for some seconds, since a clock has ticks, and for some minutes only.

Everything here touches the drive and may block for ever: it is called in the probe's helper.
"""

from __future__ import annotations

import os
import time

from plotfarm.drives.model import NoParts
from plotfarm.plots.parts import FoundPart, list_parts

_LEFT_ALONE_SECONDS = 5.0  # the times of a file system may be as coarse as 2 s
_LONGEST_BELIEF_SECONDS = 600.0


def look_for_parts(directory: int, known: NoParts | None) -> tuple[list[FoundPart], NoParts | None]:
    """Return the parts in the open root of a drive, and that there are none if that may be believed later on.

    `known`: what was found earlier since the host was started; None: the directory is listed in any case.
    DiskError and OSError if it cannot be.
    """
    status = os.fstat(directory)
    signature = f"{status.st_ino}:{status.st_mtime_ns}:{status.st_ctime_ns}"
    now = time.clock_gettime(time.CLOCK_BOOTTIME)
    if known is not None and known.signature == signature and 0 <= now - known.listed < _LONGEST_BELIEF_SECONDS:
        return [], known

    parts = list(list_parts(directory))
    changed = max(status.st_mtime_ns, status.st_ctime_ns) / 1e9
    if parts or changed >= time.time() - _LEFT_ALONE_SECONDS:
        return parts, None
    return parts, NoParts(signature, now)
