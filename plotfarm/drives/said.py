"""What the header of a plot said, as one number: code of the format | k << 4 | group size << 12.

The number is kept in the database: what it means never changes.
"""

from __future__ import annotations

import errno
import os
import re
import stat

from plotfarm.plots.formats import PlotFormat, of_code, of_suffix, read_header

UNREADABLE = 15  # in place of the code: the drive has an error there

_START_BYTES = 4096  # kind, k and group size stand in the first 60; reading more would push plots out of memory
_DISK_ERRORS = (errno.EIO, errno.EUCLEAN, errno.EBADMSG)  # the latter two: what the drive gave back makes no sense
_K_IN_NAME = re.compile(r"(?:^|[-.])k(1[89]|[234]\d|50)(?=[-.])")


def said_by(name: str, directory: int | None) -> int | None:
    """Read the header of one file; None if that is to be tried again."""
    try:
        file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=directory)
    except OSError as error:
        return UNREADABLE if error.errno in _DISK_ERRORS else None
    try:
        facts = os.fstat(file)
        if not stat.S_ISREG(facts.st_mode):
            return None
        header = read_header(os.pread(file, _START_BYTES, 0), facts.st_size)
        k = 0 if header.problem or header.k is None else header.k
        return _as_number(header.kind, k, header.group_size or 0)
    except OSError:
        return UNREADABLE
    finally:
        os.close(file)


def by_name(name: str) -> int:
    """Return what the name alone says of a file."""
    return _as_number(of_suffix(os.path.splitext(name)[1]), _k_of(name))


def completed(said: int | None, name: str) -> int:
    """Add what the header did not say; None: it is not known."""
    if said is None or said == UNREADABLE:
        return by_name(name)
    return said if k_of(said) else said | _k_of(name) << 4


def kind_of(said: int) -> PlotFormat:
    """Return the format of a file."""
    return of_code(said & 15)


def k_of(said: int) -> int:
    """Return the k-size of a file; 0: not known."""
    return said >> 4 & 255


def plots_of(said: int) -> int:
    """Return how many plots a file holds: none if it is a testing plot."""
    return max(1, said >> 12) if kind_of(said).entry.is_plot else 0


def plot_bytes_of(said: int, size: int) -> int:
    """Return how many bytes of a file are those of plots: none if it is a testing plot."""
    return size if kind_of(said).entry.is_plot else 0


def _as_number(kind: PlotFormat, k: int, group_size: int = 0) -> int:
    return kind.entry.code | k << 4 | group_size << 12


def _k_of(name: str) -> int:
    found = _K_IN_NAME.search(name)
    return int(found[1]) if found else 0
