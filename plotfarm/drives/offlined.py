"""Drives that a person took out of use: the file `offlined_drives` in the state directory.

One drive a line, by its identity (uuid:...), name (drive6), mountpoint or device; `#` starts a comment.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from plotfarm.base.errors import PlotfarmError
from plotfarm.drives.model import Drive

FILE_NAME = "offlined_drives"


def read_offlined(state_directory: Path) -> frozenset[str]:
    """Return the entries of the file, none if there is no file.

    PlotfarmError if it cannot be read: guessing could write to a drive that is being pulled out.
    """
    path = state_directory / FILE_NAME
    try:
        return parse_offlined(path.read_text(encoding="utf-8", errors="surrogateescape"))
    except FileNotFoundError:
        return frozenset()
    except OSError as error:
        raise PlotfarmError(f"cannot read which drives are offlined: {path}: {error.strerror}") from None


def parse_offlined(text: str) -> frozenset[str]:
    """Return the entries in the content of the file."""
    entries = (line.strip() for line in text.splitlines())
    return frozenset(entry for entry in entries if entry and not entry.startswith("#"))


def is_offlined(drive: Drive, entries: Collection[str]) -> bool:
    """Tell whether one of the entries means this drive."""
    return any(way in entries for way in (drive.identity, drive.name, drive.mountpoint, drive.device))
